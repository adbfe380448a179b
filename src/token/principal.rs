//! Who a request is from, once that is known: the value that limits, the audit record and the
//! receipt go by.
//!
//! `proxy::identity` makes it, once per request, and puts it on the request's context and its
//! [`crate::handler::Exchange`]. Nothing that a client sent is in it: names and ids are those of a
//! session or of an API key that was found good.

use super::{Role, SessionId, Username};

/// A person, a program, or whoever sits at this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// `None`: a program with an API key, or nobody in particular where no login is asked for.
    pub session: Option<SessionId>,
    /// A user's name; for [`Via::ApiKey`] the name of the key.
    pub username: Username,
    pub role: Role,
    pub via: Via,
}

impl Principal {
    /// Whoever sits at this machine, where nobody has to log in.
    pub fn owner() -> Self {
        Self {
            session: None,
            username: Username::local(),
            role: Role::Admin,
            via: Via::Open,
        }
    }
}

/// How a request showed who it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// It did not have to: no login is asked for here, and this machine's owner is meant.
    Open,
    /// A browser's cookie.
    Cookie,
    /// One of our tokens in `Authorization`, whole: a program of the session's own.
    Bearer,
    ApiKey,
    /// The plugin's `X-Session-Id`, which a signed session had brought before.
    Chat,
    /// A short token that the front door had given to the plugin. Its key is one global of ComfyUI's
    /// process: with several people in it, this may name another of them.
    Plugin,
}

impl Via {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Cookie => "cookie",
            Self::Bearer => "bearer",
            Self::ApiKey => "api_key",
            Self::Chat => "chat",
            Self::Plugin => "plugin",
        }
    }
}
