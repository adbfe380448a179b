//! Who a request is from, judged before anything is done for it.
//!
//! [`judge`] is called by `pipeline` for every request: [`door`] for the front door, where people log in,
//! [`elsewhere`] for the entries of ComfyUI's Python side. What they find is a [`Principal`] for the
//! record, limits and whoever answers, and a session to make tokens of. [`carry`] says what of it goes on to
//! ComfyUI, [`chat`] ties the plugin's session ids to it as they pass, [`checkpoint`] its saved workflows, [`handed`] is what who asks gets to go on with, and [`refuse`] answers who may not
//! come in; [`leaving`] cuts what those have open whose session has ended. Nothing here writes to the disk but [`welcome`], which makes a session, and [`kept`], for what is somebody's for the first time.

mod carry;
mod chat;
mod checkpoint;
mod door;
mod elsewhere;
mod handed;
mod kept;
mod leaving;
mod proxy_key;
mod refuse;
mod shown;

#[cfg(test)]
mod at_the_door;

use std::{sync::Arc, time::Duration};

use pingora::http::RequestHeader;

pub use carry::{towards_comfyui, without_ours};
pub use chat::ChatWatch;
pub use checkpoint::{CheckpointWatch, asked as asks_for_checkpoints};
pub use door::welcome;
pub use handed::Handed;
pub use kept::Unkept;
pub use leaving::cut_who_left;
pub use proxy_key::{Visitor, visitor};
pub use refuse::refuse;
pub use shown::CHAT_ID;

use super::{arrival::Arrival, services::Services};
use crate::{
    net::Entry,
    page::CookieScope,
    policy::{Action, Reason},
    session::{Active, Deed, Foreign, Grant, Identity, KeyRefused, Refused},
    token::{Principal, TokenError, Via},
};

/// Who is let in where.
pub struct Doorkeeper {
    pub identity: Arc<Identity>,
    /// People log in at the front door.
    pub users_required: bool,
    /// Entries that other machines reach, and where a key has to be shown.
    pub asks: Vec<Entry>,
    /// To write deeds: one at a time, for all who wait.
    pub turn: tokio::sync::Mutex<()>,
}

impl Doorkeeper {
    fn asks(&self, entry: Entry) -> bool {
        match entry {
            Entry::FrontDoor => self.users_required,
            Entry::Explicit | Entry::Reverse | Entry::Transparent => self.asks.contains(&entry),
            // Our own requests.
            Entry::Models => false,
        }
    }

    /// Why what this one has open must end, if it must.
    pub fn ended(&self, principal: &Principal) -> Option<Reason> {
        let now = crate::session::now();
        let Principal {
            session, username, ..
        } = principal;
        match (session, principal.via) {
            (Some(id), _) => match self.identity.sessions.stands(*id, now) {
                Ok(()) => None,
                Err(Refused::Revoked) => Some(Reason::SessionRevoked),
                // Where nobody has to log in, the end of a session is no reason to stop anything.
                Err(other) => self.users_required.then(|| of_session(other)),
            },
            (None, Via::ApiKey) => {
                let stands = self.identity.keys.stands(username, now);
                stands.err().map(of_key)
            }
            (None, _) => None,
        }
    }
}

/// What was found out.
#[derive(Default)]
pub struct Identified {
    pub principal: Option<Arc<Principal>>,
    /// The session that may act, for tokens and for what is tied to it.
    pub active: Option<Active>,
    /// For the answer.
    pub handed: Option<Handed>,
    /// It is for the pages where one logs in and out.
    pub at_the_login: bool,
    /// A browser that nobody knows, where nobody has to be known: it may have a session.
    pub newcomer: Option<CookieScope>,
    /// What it takes for its user, to be on disk before it goes on.
    pub deed: Option<Deed>,
    /// An API key's open request.
    grant: Option<Grant>,
}

impl Identified {
    fn session(active: Active, via: Via) -> Self {
        let principal = Principal {
            session: Some(active.session_id()),
            username: active.username().clone(),
            role: active.role(),
            via,
        };
        Self {
            principal: Some(Arc::new(principal)),
            active: Some(active),
            ..Self::default()
        }
    }

    /// The same by a bearer that is the session's own token, at an entry of ours.
    fn bearer(active: Active) -> Self {
        let handed = active.fresh_token().and_then(Handed::token);
        Self {
            handed,
            ..Self::session(active, Via::Bearer)
        }
    }

    fn key(grant: Grant) -> Self {
        let principal = Principal {
            session: None,
            username: grant.name().clone(),
            role: grant.role(),
            via: Via::ApiKey,
        };
        Self {
            principal: Some(Arc::new(principal)),
            grant: Some(grant),
            ..Self::default()
        }
    }

    fn owner() -> Self {
        Self {
            principal: Some(Arc::new(Principal::owner())),
            ..Self::default()
        }
    }
}

/// Why it may not come in, and when to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwelcome {
    pub reason: Reason,
    pub retry_after: Option<Duration>,
}

impl From<Reason> for Unwelcome {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            retry_after: None,
        }
    }
}

impl From<Refused> for Unwelcome {
    fn from(refused: Refused) -> Self {
        of_session(refused).into()
    }
}

impl From<Foreign> for Unwelcome {
    fn from(foreign: Foreign) -> Self {
        match foreign {
            Foreign::Others => Reason::SessionIdForeign.into(),
            Foreign::Full => Reason::SessionIdsFull.into(),
        }
    }
}

impl From<KeyRefused> for Unwelcome {
    fn from(refused: KeyRefused) -> Self {
        Self {
            reason: of_key(refused),
            retry_after: refused.retry_after(),
        }
    }
}

fn of_session(refused: Refused) -> Reason {
    match refused {
        Refused::Token(TokenError::Malformed) => Reason::TokenMalformed,
        Refused::Token(TokenError::BadSignature) => Reason::TokenBadSignature,
        Refused::Token(TokenError::BadPayload) => Reason::TokenBadPayload,
        Refused::Token(TokenError::Expired) => Reason::TokenExpired,
        Refused::Unknown => Reason::SessionUnknown,
        Refused::Revoked => Reason::SessionRevoked,
        Refused::Expired => Reason::SessionExpired,
        Refused::Mismatch => Reason::SessionMismatch,
    }
}

fn of_key(refused: KeyRefused) -> Reason {
    match refused {
        KeyRefused::Unknown => Reason::KeyUnknown,
        KeyRefused::Expired => Reason::KeyExpired,
        KeyRefused::TooMany(_) => Reason::KeyTooMany,
        KeyRefused::Busy => Reason::KeyBusy,
    }
}

/// Who a request is from, or why it goes no further. `action`: what the rules say to it.
pub fn judge(
    services: &Services,
    arrival: &Arrival,
    request: &RequestHeader,
    action: Action,
) -> Result<Identified, Unwelcome> {
    let now = crate::session::now();
    match (&arrival.door, &services.routes.door) {
        (Some(at), Some(route)) => {
            let visit = door::Visit {
                keeper: &services.doorkeeper,
                route,
                at,
                arrival,
                request,
            };
            visit.judge(now)
        }
        // Nothing arrives by a door that is not there.
        (Some(_), None) => Err(Reason::Internal.into()),
        (None, _) => elsewhere::judge(&services.doorkeeper, arrival, request, action, now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The codes of the pages SESSIONS.md and DENIALS.md are one vocabulary.
    #[test]
    fn a_refusal_has_the_same_code_in_a_session_and_as_a_reason() {
        let sessions = [
            Refused::Token(TokenError::Malformed),
            Refused::Token(TokenError::BadSignature),
            Refused::Token(TokenError::BadPayload),
            Refused::Token(TokenError::Expired),
            Refused::Unknown,
            Refused::Revoked,
            Refused::Expired,
            Refused::Mismatch,
        ];
        for refused in sessions {
            assert_eq!(of_session(refused).code(), refused.code());
            assert_eq!(of_session(refused).status(), 401, "{refused}");
        }
        for (refused, status) in [
            (KeyRefused::Unknown, 401),
            (KeyRefused::Expired, 401),
            (KeyRefused::TooMany(Duration::from_secs(2)), 429),
            (KeyRefused::Busy, 429),
        ] {
            let unwelcome = Unwelcome::from(refused);
            assert_eq!(unwelcome.reason.code(), refused.code());
            assert_eq!(unwelcome.reason.status(), status);
            assert_eq!(unwelcome.retry_after, refused.retry_after());
        }
        for foreign in [Foreign::Others, Foreign::Full] {
            assert_eq!(Unwelcome::from(foreign).reason.code(), foreign.code());
        }
    }
}
