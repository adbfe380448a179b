//! What a token says: the payload's JSON, read strictly.
//!
//! The names are a wire format: other programs that hold the secret may make and read tokens.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Bytes of a payload. The longest that we make is under 200.
pub const MAX_PAYLOAD: usize = 512;
const MAX_NAME: usize = 64;
/// The largest integer that every JSON reader keeps whole.
const MAX_TIME: u64 = (1 << 53) - 1;

/// Seconds since 1970.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixTime(pub u64);

impl UnixTime {
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.as_secs()).min(MAX_TIME))
    }

    /// Zero where `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

/// A session's name: a UUID of version 4, written in lower case with hyphens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Uuid);

impl SessionId {
    /// `None` for another version: ids are random, never a name or a time that one could guess.
    pub fn new(id: Uuid) -> Option<Self> {
        let random = id.get_version_num() == 4 && id.get_variant() == uuid::Variant::RFC4122;
        random.then_some(Self(id))
    }

    /// As [`std::fmt::Display`] writes it, which is slower.
    pub fn encode(self, buffer: &mut [u8]) -> &str {
        self.0.hyphenated().encode_lower(buffer)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct NotAName {
    what: &'static str,
}

impl FromStr for SessionId {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let error = NotAName {
            what: "is no session id: write a UUID of version 4, as `airlock session list` shows it",
        };
        // One spelling each: upper case, braces and `urn:` would be other names of one session.
        let plain = text.len() == 36
            && text
                .bytes()
                .all(|b| b == b'-' || b.is_ascii_digit() || b.is_ascii_lowercase());
        let id = plain.then(|| Uuid::try_parse(text).ok()).flatten();
        id.and_then(Self::new).ok_or(error)
    }
}

/// A user's name: 1 to 64 of `a-z 0-9 . _ - @`, the first a letter or digit.
///
/// One spelling each, so that two users cannot look alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Username(Box<str>);

impl Username {
    /// Whoever sits at this machine, where nobody has to log in. No user may have this name.
    pub fn local() -> Self {
        Self("local".into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Username {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-@".contains(&b);
        let begins = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if begins && text.len() <= MAX_NAME && text.bytes().all(plain) {
            return Ok(Self(text.into()));
        }
        Err(NotAName {
            what: "is no user name: write 1 to 64 of a-z, 0-9, '.', '_', '-' and '@', beginning \
                   with a letter or a digit",
        })
    }
}

/// What a user may do. Each may do what those after it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Everything: users, keys, installing models and nodes.
    Admin,
    /// Chats and runs workflows.
    User,
    /// Looks.
    Viewer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no role: write admin, user or viewer")]
pub struct NotARole;

impl Role {
    pub const ALL: [Self; 3] = [Self::Admin, Self::User, Self::Viewer];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
            Self::Viewer => "viewer",
        }
    }

    /// Whether a user of this role may do what `needed` may.
    pub fn covers(self, needed: Self) -> bool {
        let rank = |role| match role {
            Self::Viewer => 0,
            Self::User => 1,
            Self::Admin => 2,
        };
        rank(self) >= rank(needed)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = NotARole;

    fn from_str(text: &str) -> Result<Self, NotARole> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(NotARole)
    }
}

/// The names that are only parsed from text.
macro_rules! as_text {
    ($($kind:ty),*) => {$(
        impl Serialize for $kind {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $kind;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("text")
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$kind, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                d.deserialize_str(Text)
            }
        }
    )*};
}

as_text!(SessionId, Username, Role);

/// The payload.
///
/// A field that is not known here is refused: it would be a restriction or a right that this
/// version cannot honour. So is a field given twice, which two readers could read in two ways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    pub session_id: SessionId,
    pub username: Username,
    pub role: Role,
    /// From this second on the token is worth nothing.
    pub exp: UnixTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payload is not {{session_id, username, role, exp}}")]
pub struct ClaimsError;

impl Claims {
    /// Reads a payload. Only [`super::KeyRing::verify`] calls it on what came from outside, after
    /// the signature.
    pub fn parse(payload: &[u8]) -> Result<Self, ClaimsError> {
        // An object: serde would take a list of the four values as well.
        if payload.len() > MAX_PAYLOAD || !payload.trim_ascii_start().starts_with(b"{") {
            return Err(ClaimsError);
        }
        let claims: Self = serde_json::from_slice(payload).map_err(|_| ClaimsError)?;
        if claims.exp.0 > MAX_TIME {
            return Err(ClaimsError);
        }
        Ok(claims)
    }

    /// The one spelling that we sign: fields in order, no spaces.
    pub fn to_json(&self) -> String {
        let Self {
            session_id,
            username,
            role,
            exp,
        } = self;
        // Nothing in these values needs escaping.
        format!(
            "{{\"session_id\":\"{session_id}\",\"username\":\"{username}\",\"role\":\"{role}\",\"exp\":{}}}",
            exp.0
        )
    }
}
