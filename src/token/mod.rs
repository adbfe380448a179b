//! The session token: who a request is from, signed.
//!
//! `base64url(payload) "." base64url(HMAC-SHA256)`, payload `{session_id, username, role, exp}`
//! (docs/SESSIONS.md). [`KeyRing::sign`] makes one, [`KeyRing::verify`] is the only way to get
//! [`Verified`] claims out of one. The front door and `session` call both. [`Principal`] is who a request
//! turned out to be from.
//!
//! Pure: `now` is passed in, keys and random ids come from `session`. Nothing here looks into a
//! store, so a token that verifies may still be revoked: ask `session::Sessions::verify`.

mod claims;
mod key;
mod mac;
mod principal;
mod ring;

pub use claims::{
    Claims, ClaimsError, MAX_PAYLOAD, NotAName, NotARole, Role, SessionId, UnixTime, Username,
};
pub use key::{MAX_KEY, MIN_KEY, SigningKey, WeakKey};
pub use mac::{Mac, TAG};
pub use principal::{Principal, Via};
pub use ring::{KeyRing, MAX_TOKEN, Previous, SignedBy, TokenError, Verified};

#[cfg(test)]
mod claims_tests;
#[cfg(test)]
mod key_tests;
#[cfg(test)]
mod tests;
