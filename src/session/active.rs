//! What [`super::Sessions`] answers: a session that may act, or why not.

use std::time::Duration;

use crate::{
    store::StoreError,
    token::{Role, SessionId, TokenError, UnixTime, Username},
};

use super::{NoRandomness, record::SessionRecord};

/// Bytes of a session's own settings.
pub(super) const MAX_CONFIG: usize = 16 << 10;

#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From the last activity (in fact from between half and all of it).
    pub lifetime: Duration,
    /// From the beginning, whatever the activity.
    pub max_lifetime: Duration,
    pub max_sessions: usize,
}

/// Why a request is not let in. The codes are for logs; the answer is 401 for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("there is no such session")]
    Unknown,
    #[error("the session was revoked")]
    Revoked,
    #[error("the session has expired")]
    Expired,
    /// Signed by our key, yet not what the session is: made by another program.
    #[error("the token and its session disagree")]
    Mismatch,
}

impl Refused {
    pub fn code(self) -> &'static str {
        match self {
            Self::Token(e) => e.code(),
            Self::Unknown => "session_unknown",
            Self::Revoked => "session_revoked",
            Self::Expired => "session_expired",
            Self::Mismatch => "session_mismatch",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    #[error("{max} sessions are open: revoke some, or raise session.max_sessions")]
    Full { max: usize },
    #[error("there is no session {0}: `airlock session list` shows them")]
    Unknown(SessionId),
    #[error("a session's config is a JSON object of at most {MAX_CONFIG} bytes")]
    Config,
}

/// A session that may act now. Only [`super::Sessions`] makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    pub(super) session_id: SessionId,
    pub(super) username: Username,
    pub(super) role: Role,
    pub(super) expires: UnixTime,
    pub(super) lifetime: u64,
    pub(super) token_expiries: Vec<UnixTime>,
    pub(super) fresh: Option<String>,
    pub(super) whole: bool,
}

impl Active {
    pub fn session_id(&self) -> SessionId {
        self.session_id
    }

    pub fn username(&self) -> &Username {
        &self.username
    }

    pub fn role(&self) -> Role {
        self.role
    }

    pub fn expires(&self) -> UnixTime {
        self.expires
    }

    /// Shown by a token of the session's own, as a login or `airlock session issue` gives; not by one
    /// that was made for ComfyUI and the plugin, nor by a chat's id.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// A token to go on with: the one shown is past half of its life, or of the previous key.
    pub fn fresh_token(&self) -> Option<&str> {
        self.fresh.as_deref()
    }
}

/// A new session and its token, which is shown to its owner and kept nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub token: String,
    pub session: SessionRecord,
}
