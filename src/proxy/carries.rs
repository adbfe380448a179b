//! Which of the headers that steer us stand in a request's head: noted once, as the edge reads it.
//!
//! Most requests have none of them, and a look-up of each by its name, in each place that could care,
//! costs more than all judging. Noted by `listener::head` from the same bytes that Pingora reads, and
//! never asked for a value: a note can send somebody looking, and nothing else.

use std::sync::LazyLock;

use http::HeaderMap;

/// A set of such headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carries(u8);

impl Carries {
    pub const CONNECTION: Carries = Carries(1);
    pub const COOKIE: Carries = Carries(2);
    pub const AUTHORIZATION: Carries = Carries(4);
    pub const ORIGIN: Carries = Carries(8);
    /// `X-Session-Id`, by which the plugin names a chat.
    pub const CHAT: Carries = Carries(16);
    /// What browsers say of every request in `Sec-Fetch-Site` and its like.
    pub const FETCH: Carries = Carries(32);

    /// A header of this name, however it is written.
    pub fn note(&mut self, name: &[u8]) {
        let (known, bit) = match name.len() {
            6 if matches!(name.first(), Some(b'o' | b'O')) => ("origin", Self::ORIGIN),
            6 => ("cookie", Self::COOKIE),
            10 => ("connection", Self::CONNECTION),
            12 => ("x-session-id", Self::CHAT),
            13 => ("authorization", Self::AUTHORIZATION),
            14 => ("sec-fetch-", Self::FETCH),
            _ => return,
        };
        let begins = name.get(..known.len()).unwrap_or_default();
        if begins.eq_ignore_ascii_case(known.as_bytes()) {
            self.0 |= bit.0;
        }
    }

    pub fn any(self, of: Carries) -> bool {
        self.0 & of.0 != 0
    }

    /// Where to look for these: nowhere, if none of them is there.
    pub fn among(self, of: Carries, headers: &HeaderMap) -> &HeaderMap {
        static NOWHERE: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);
        match self.any(of) {
            true => headers,
            false => &NOWHERE,
        }
    }
}

impl std::ops::BitOr for Carries {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_noted_however_its_name_is_written_and_others_are_not() {
        for (name, want) in [
            ("Origin", Carries::ORIGIN),
            ("ORIGIN", Carries::ORIGIN),
            ("cookie", Carries::COOKIE),
            ("CooKie", Carries::COOKIE),
            ("Connection", Carries::CONNECTION),
            ("X-Session-Id", Carries::CHAT),
            ("authorization", Carries::AUTHORIZATION),
            ("Sec-Fetch-Site", Carries::FETCH),
            ("sec-fetch-mode", Carries::FETCH),
            ("SEC-FETCH-DEST", Carries::FETCH),
            ("content-length", Carries::default()),
            ("sec-fetch-user2", Carries::default()),
            ("Accept", Carries::default()),
            ("Original", Carries::default()),
            ("Orders", Carries::default()),
            ("x-session-ip", Carries::default()),
            ("proxy-authorization", Carries::default()),
            ("", Carries::default()),
        ] {
            let mut carries = Carries::default();
            carries.note(name.as_bytes());
            assert_eq!(carries, want, "{name}");
        }
    }

    #[test]
    fn notes_add_up() {
        let mut carries = Carries::default();
        carries.note(b"Cookie");
        carries.note(b"Origin");
        assert!(carries.any(Carries::ORIGIN) && carries.any(Carries::COOKIE));
        assert!(carries.any(Carries::CHAT | Carries::COOKIE));
        assert!(!carries.any(Carries::CHAT | Carries::CONNECTION));
        assert_eq!(carries | carries, carries, "twice the same is once");
    }

    #[test]
    fn what_was_noted_is_looked_for_among_the_headers_and_nothing_else_is() {
        let mut carries = Carries::default();
        carries.note(b"Cookie");
        let mut headers = HeaderMap::new();
        headers.insert(http::header::COOKIE, "a=b".parse().unwrap());
        let there = |of| carries.among(of, &headers).contains_key("cookie");
        assert!(there(Carries::COOKIE) && there(Carries::COOKIE | Carries::CHAT));
        assert!(!there(Carries::CHAT));
    }
}
