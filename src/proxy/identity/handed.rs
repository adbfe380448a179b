//! What a session is given to go on with, in the answer to a request past half of its life: a browser a
//! cookie, a program a token in a header.
//!
//! A program's token goes out at entries of our own alone, never under another host's name, and no CORS
//! header exposes it: a page of another origin does not get to read it. [`FRESH_TOKEN`] begins as our marker does, so
//! that `proxy::response` takes out what an upstream would send by that name.

use http::{HeaderName, HeaderValue, header};
use pingora::http::ResponseHeader;

/// For a program that showed its session's token: the one to show from now on.
pub const FRESH_TOKEN: HeaderName = HeaderName::from_static("x-airlock-token");

pub enum Handed {
    /// A whole `Set-Cookie`.
    Cookie(HeaderValue),
    Token(HeaderValue),
}

impl Handed {
    pub fn token(fresh: &str) -> Option<Self> {
        let mut value = HeaderValue::from_str(fresh).ok()?;
        value.set_sensitive(true);
        Some(Self::Token(value))
    }

    /// No cache keeps an answer with a token in it.
    pub fn put(self, response: &mut ResponseHeader) -> pingora::Result<()> {
        match self {
            Self::Cookie(cookie) => response.append_header(header::SET_COOKIE, cookie).map(drop),
            Self::Token(token) => {
                response.insert_header(FRESH_TOKEN, token)?;
                response.insert_header(header::CACHE_CONTROL, "no-store")
            }
        }
    }
}
