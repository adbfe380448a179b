//! At the entries of ComfyUI's Python side: whose chat it is that an LLM or MCP request belongs to.
//!
//! The plugin's key is one global of its process, which people who chat at the same time overwrite. So
//! `X-Session-Id`, which the front door has tied to a signed session, says who it is; the bearer counts
//! only where it is a program's own. Where nobody has to log in, and for programs of this machine, what
//! shows nothing is let through as nobody's.

use pingora::http::RequestHeader;

use http::HeaderMap;

use super::{
    Doorkeeper, Handed, Identified, Unwelcome,
    shown::{Shown, chat_id, shown},
};
use crate::{
    net::Entry,
    policy::{Action, Reason},
    proxy::{arrival::Arrival, carries::Carries},
    session::{Active, Refused},
    token::{TokenError, UnixTime, Via},
};

pub fn judge(
    keeper: &Doorkeeper,
    arrival: &Arrival,
    request: &RequestHeader,
    action: Action,
    now: UnixTime,
) -> Result<Identified, Unwelcome> {
    let asks = keeper.asks(arrival.connection.entry);
    let admitted = match (asks, arrival.connection.entry) {
        // A proxy's key is in a header of its own, for the connection or for each request.
        (true, Entry::Explicit) => Some(super::proxy_key::of(keeper, arrival, now)?),
        (false, Entry::Explicit) => match &arrival.connection.visitor {
            Some(_) => Some(super::proxy_key::of(keeper, arrival, now)?),
            None => super::proxy_key::unasked(keeper, arrival.proxy_key.as_ref(), now)?,
        },
        (_, Entry::Reverse | Entry::Transparent | Entry::FrontDoor | Entry::Models) => None,
    };
    let asks = asks && admitted.is_none();
    if !asks && !arrival.carries.any(Carries::AUTHORIZATION | Carries::CHAT) {
        return Ok(admitted.unwrap_or_default());
    }
    let found = match action {
        Action::Respond(_) => of_the_plugin(keeper, &request.headers, asks, now)?,
        // A token for another host may have the form of ours: it is refused only where one is needed.
        Action::Forward | Action::Deny => {
            match of_the_plugin(keeper, &request.headers, asks, now) {
                Ok(found) => found,
                Err(why) if asks => return Err(why),
                Err(_) => Identified::default(),
            }
        }
    };
    let found = match (action, arrival.connection.entry) {
        (Action::Respond(_), Entry::Reverse) => found,
        // Somebody else's answer, or one under somebody else's name: its page would read the token.
        (Action::Respond(_) | Action::Forward | Action::Deny, _) => Identified {
            handed: None,
            ..found
        },
    };
    Ok(match (found.principal.is_some(), admitted) {
        (false, Some(admitted)) => admitted,
        (true, _) | (false, None) => found,
    })
}

/// `asks`: nobody comes in without a token or a key.
pub fn of_the_plugin(
    keeper: &Doorkeeper,
    headers: &HeaderMap,
    asks: bool,
    now: UnixTime,
) -> Result<Identified, Unwelcome> {
    let identity = &keeper.identity;
    let mut grant = None;
    let token = match shown(headers) {
        Shown::Token(token) => match identity.sessions.verify(&token, now) {
            Ok(active) => Some(active),
            Err(why) if asks || forged(why) => return Err(why.into()),
            Err(Refused::Revoked) if keeper.users_required => {
                return Err(Reason::SessionRevoked.into());
            }
            // The plugin keeps its key for as long as ComfyUI runs.
            Err(_) => None,
        },
        Shown::Key(key) => {
            grant = Some(identity.keys.admit(key, now)?);
            None
        }
        Shown::Unclear => return Err(Reason::TokenMalformed.into()),
        Shown::Nothing | Shown::Other | Shown::Foreign => None,
    };
    if asks && token.is_none() && grant.is_none() {
        return Err(Reason::LoginRequired.into());
    }
    let mut deed = None;
    if let Some(id) = chat_id(headers) {
        let own = token.as_ref().filter(|active| active.is_whole());
        match identity.sessions.bound(&id, now) {
            Ok(owner) if is_of_another(own, &owner) => return Err(Reason::SessionIdForeign.into()),
            Ok(owner) => {
                return Ok(Identified {
                    grant,
                    handed: own.and_then(Active::fresh_token).and_then(Handed::token),
                    ..Identified::session(owner, Via::Chat)
                });
            }
            Err(Refused::Revoked) if keeper.users_required => {
                return Err(Reason::SessionRevoked.into());
            }
            Err(_) => {}
        }
        // Nobody's yet, or of a session that is over: a program's own token may take it.
        if let Some(active) = own {
            deed = identity.sessions.bind(active, &id, now)?;
        }
    }
    let found = match (token, grant) {
        (Some(active), _) => match active.is_whole() {
            true => Identified::bearer(active),
            false => Identified::session(active, Via::Plugin),
        },
        (None, Some(grant)) => Identified::key(grant),
        (None, None) => Identified::default(),
    };
    Ok(Identified { deed, ..found })
}

/// None of our keys signed it as it is: nobody has such a token by mistake or by age.
fn forged(why: Refused) -> bool {
    match why {
        Refused::Token(TokenError::BadSignature | TokenError::BadPayload) | Refused::Mismatch => {
            true
        }
        Refused::Token(TokenError::Malformed | TokenError::Expired)
        | Refused::Unknown
        | Refused::Revoked
        | Refused::Expired => false,
    }
}

fn is_of_another(own: Option<&Active>, owner: &Active) -> bool {
    own.is_some_and(|active| active.username() != owner.username())
}
