//! The key of a proxy port that other machines reach: `Proxy-Authorization`, as clients send it for
//! `http://key:KEY@host:port`.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    Doorkeeper, Identified, Unwelcome,
    shown::{Shown, of_text},
};
use crate::{
    config::Secret,
    net::Entry,
    policy::Reason,
    proxy::{arrival::Arrival, denial::Denial},
    session::Grant,
    token::{Principal, UnixTime, Via},
};

/// Who opened a connection, where that had to be said once for all of it.
#[derive(Debug)]
pub struct Visitor {
    pub principal: Arc<Principal>,
    /// It counts as an open request of its key for as long as it is open.
    _grant: Option<Grant>,
}

/// For a plain request, or one inside of an intercepted tunnel.
pub fn of(keeper: &Doorkeeper, arrival: &Arrival, now: UnixTime) -> Result<Identified, Unwelcome> {
    match &arrival.connection.visitor {
        Some(visitor) => Ok(Identified {
            principal: Some(visitor.principal.clone()),
            ..Identified::default()
        }),
        None => admit(keeper, arrival.proxy_key.as_ref(), now),
    }
}

/// Where nobody is asked: who says it all the same, for rules with `users` and limits. A key of another proxy is
/// none of ours.
pub fn unasked(
    keeper: &Doorkeeper,
    shown: Option<&Secret<String>>,
    now: UnixTime,
) -> Result<Option<Identified>, Unwelcome> {
    match shown.map(|_| admit(keeper, shown, now)) {
        Some(Ok(known)) => Ok(Some(known)),
        Some(Err(why)) if why.retry_after.is_some() => Err(why),
        Some(Err(_)) | None => Ok(None),
    }
}

/// For a CONNECT. `Ok(None)`: nobody is asked here, and nobody said it.
pub fn visitor(
    keeper: &Doorkeeper,
    shown: Option<&Secret<String>>,
) -> Result<Option<Visitor>, Denial> {
    let now = crate::session::now();
    let known = match keeper.asks(Entry::Explicit) {
        true => admit(keeper, shown, now),
        false => match unasked(keeper, shown, now) {
            Ok(Some(known)) => Ok(known),
            Ok(None) => return Ok(None),
            Err(why) => Err(why),
        },
    };
    match known {
        Ok(Identified {
            principal: Some(principal),
            grant,
            ..
        }) => Ok(Some(Visitor {
            principal,
            _grant: grant,
        })),
        Ok(_) => Err(Denial::early(Reason::ProxyLoginRequired, "no key")),
        Err(why) => {
            let words = "this proxy wants an API key: http://key:KEY@host:port";
            Err(Denial::early(why.reason, words))
        }
    }
}

fn admit(
    keeper: &Doorkeeper,
    shown: Option<&Secret<String>>,
    now: UnixTime,
) -> Result<Identified, Unwelcome> {
    let asked = || Unwelcome::from(Reason::ProxyLoginRequired);
    let text = shown
        .and_then(|s| secret_of(s.expose()))
        .ok_or_else(asked)?;
    let known = match of_text(&text) {
        Shown::Key(key) => match keeper.identity.keys.admit(key, now) {
            Ok(grant) => Identified::key(grant),
            Err(why) if why.retry_after().is_some() => return Err(why.into()),
            Err(_) => return Err(asked()),
        },
        Shown::Token(token) => match keeper.identity.sessions.verify(&token, now) {
            Ok(active) if active.is_whole() => Identified::session(active, Via::Bearer),
            Ok(_) | Err(_) => return Err(asked()),
        },
        Shown::Nothing | Shown::Other | Shown::Foreign | Shown::Unclear => return Err(asked()),
    };
    Ok(known)
}

/// The password of `Basic`, or what stands after `Bearer`.
fn secret_of(value: &str) -> Option<String> {
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    Some(pair.split_once(':')?.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_of_both_schemes_is_found() {
        for (value, want) in [
            ("Basic a2V5OmFpcmxvY2tfYV9i", Some("airlock_a_b")),
            ("basic a2V5OmE6Yg==", Some("a:b")),
            ("Bearer airlock_a_b", Some("airlock_a_b")),
            ("Basic !!!", None),
            ("Basic a2V5", None),
            ("Digest x", None),
            ("", None),
        ] {
            assert_eq!(secret_of(value).as_deref(), want, "{value}");
        }
    }
}
