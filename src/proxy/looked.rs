//! How an open request was looked into for secrets, so that a reload can say whether it would pass now.
//!
//! [`super::Outgoing`] makes it for what it looked into; [`super::live`] asks it when a policy was
//! swapped. A head is looked into again. A body is gone: one that was read less closely than the new
//! policy reads is as good as refused. Must never show what it holds.

use std::fmt;

use http::{HeaderMap, header};

use crate::{
    net::Host,
    policy::secrets::{self, Kind, Search, Seen},
};

/// What is sent in place of a text, if it is sent.
type Sent = Result<Option<Seen>, Kind>;

/// Headers as they came, and the search they went through.
pub struct LookedInto {
    search: Search,
    headers: HeaderMap,
    has_body: bool,
}

/// Never shows the headers.
impl fmt::Debug for LookedInto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LookedInto")
            .field("search", &self.search)
            .finish_non_exhaustive()
    }
}

impl LookedInto {
    pub fn new(search: &Search, headers: &HeaderMap, has_body: bool) -> Self {
        Self {
            search: search.clone(),
            headers: headers.clone(),
            has_body,
        }
    }

    /// Whether it would be sent, as it was, under `newer`.
    pub fn passes(&self, newer: &Search, host: &Host, target: &str) -> bool {
        let old = &self.search;
        if self.has_body && old.let_pass_encoded(newer) && is_encoded(&self.headers) {
            return false;
        }
        if old.covers(newer) {
            return true;
        }
        if self.has_body {
            return false;
        }
        let in_target = |s: &Search| secrets::target(&s.detector, s.mode, host, target);
        let same = |before: Sent, now: Sent| now.is_ok() && before == now;
        same(in_target(old), in_target(newer))
            && in_headers(&self.headers).all(|(name, value)| {
                let in_value = |s: &Search| secrets::header(&s.detector, s.mode, host, name, value);
                same(in_value(old), in_value(newer))
            })
    }
}

/// What of the headers is looked into: Host is judged already, and written anew.
fn in_headers(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    let lines = headers.iter().filter(|(name, _)| **name != header::HOST);
    lines.map(|(name, value)| (name.as_str(), value.as_bytes()))
}

/// Whether nobody can look into the body.
pub fn is_encoded(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    encodings.any(|v| !v.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderValue;

    use super::*;
    use crate::policy::secrets::{Detector, SecretMode};

    const KEY: &str = "sk-proj-Zx81kQpW0vT5nYbR2mLs7dHc";

    fn search(mode: SecretMode, own: &[&str], encoded_bodies: bool) -> Search {
        Search {
            mode,
            detector: Arc::new(Detector::new(mode, own.iter().copied())),
            encoded_bodies,
        }
    }

    #[test]
    fn a_head_is_looked_into_again_and_a_body_that_was_read_less_closely_does_not_pass() {
        use SecretMode::{Block, Off, Redact};
        let street = "Elm Street 7";
        let (none, own) = (&[][..], &[street][..]);
        let masked = format!("Bearer {KEY}");
        // Old search, new search, target, X-Note, Content-Encoding, whether there is a body.
        let rows = [
            (
                "nothing changed",
                (Redact, none, false),
                (Redact, none, false),
                "/",
                &*masked,
                "",
                true,
                true,
            ),
            (
                "nothing is looked for now",
                (Block, none, false),
                (Off, own, false),
                "/",
                street,
                "",
                true,
                true,
            ),
            (
                "a clean head is still clean",
                (Block, none, false),
                (Block, own, false),
                "/a?b",
                "plain",
                "",
                false,
                true,
            ),
            (
                "the new string is in a header",
                (Block, none, false),
                (Block, own, false),
                "/a",
                street,
                "",
                false,
                false,
            ),
            (
                "the new string is in the query",
                (Block, none, false),
                (Block, own, false),
                "/a?at=Elm%20Street%207",
                "",
                "",
                false,
                false,
            ),
            (
                "it would be masked, and was sent",
                (Redact, none, false),
                (Redact, own, false),
                "/a",
                street,
                "",
                false,
                false,
            ),
            (
                "what was masked is masked the same",
                (Redact, none, false),
                (Redact, own, false),
                "/a",
                &*masked,
                "",
                false,
                true,
            ),
            (
                "what was masked is refused now",
                (Redact, none, false),
                (Block, none, false),
                "/a",
                &*masked,
                "",
                false,
                false,
            ),
            (
                "nothing had to be masked",
                (Redact, none, false),
                (Block, none, false),
                "/a",
                "plain",
                "",
                false,
                true,
            ),
            (
                "its body was read for less",
                (Block, none, false),
                (Block, own, false),
                "/a",
                "plain",
                "",
                true,
                false,
            ),
            (
                "its body passed unread",
                (Block, none, true),
                (Block, none, false),
                "/a",
                "plain",
                "gzip",
                true,
                false,
            ),
            (
                "its body passes unread",
                (Block, none, true),
                (Block, none, true),
                "/a",
                "plain",
                "gzip",
                true,
                true,
            ),
            (
                "its body could be read",
                (Block, none, true),
                (Block, none, false),
                "/a",
                "plain",
                "identity",
                true,
                true,
            ),
            (
                "there is no body to read",
                (Block, none, true),
                (Block, none, false),
                "/a",
                "plain",
                "gzip",
                false,
                true,
            ),
        ];
        for (name, old, new, target, note, encoding, has_body, passes) in rows {
            let mut headers = HeaderMap::new();
            headers.insert("x-note", HeaderValue::from_str(note).unwrap());
            // Host is not looked into.
            headers.insert(header::HOST, HeaderValue::from_static("Elm Street 7"));
            if !encoding.is_empty() {
                headers.insert(header::CONTENT_ENCODING, encoding.parse().unwrap());
            }
            let (old, new) = (search(old.0, old.1, old.2), search(new.0, new.1, new.2));
            let looked = LookedInto::new(&old, &headers, has_body);
            let host = Host::parse("a.test").unwrap();
            assert_eq!(looked.passes(&new, &host, target), passes, "{name}");
            assert!(
                !format!("{looked:?}").contains(note) || note.is_empty(),
                "{name}"
            );
        }
    }
}
