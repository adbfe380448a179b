//! The `ETag` of a body as we serve it, and whether a browser has it already.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// A strong entity tag (RFC 9110, 8.8.3) of the rewritten bytes: the same for GET and HEAD, another
/// as soon as the body or what we replace in it changes.
pub fn etag(body: &[u8]) -> String {
    let digest = Sha256::digest(body);
    // 144 bits: no two bodies of one address will ever share them by accident.
    let half = digest.get(..18).unwrap_or_default();
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(half))
}

/// Whether an `If-None-Match` names `etag`. Weak comparison (RFC 9110, 13.1.2): `W/` means nothing.
pub fn matches(if_none_match: &str, etag: &str) -> bool {
    // Our tags hold no comma, so a list may be taken apart at them.
    if_none_match
        .split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_that_of_its_body() {
        assert_eq!(etag(b"a"), etag(b"a"));
        assert_ne!(etag(b"a"), etag(b"b"));
        assert!(etag(b"").starts_with('"') && etag(b"").ends_with('"'));
    }

    #[test]
    fn a_browser_that_has_the_body_is_told_apart() {
        let tag = etag(b"body");
        for (name, value, want) in [
            ("the tag", tag.clone(), true),
            ("a weak one", format!("W/{tag}"), true),
            ("one of several", format!("\"x\", W/\"y\" ,{tag}"), true),
            ("any", "*".to_owned(), true),
            ("another", "\"x\"".to_owned(), false),
            (
                "the tag without quotes",
                tag.trim_matches('"').to_owned(),
                false,
            ),
            ("nothing", String::new(), false),
        ] {
            assert_eq!(matches(&value, &tag), want, "{name}");
        }
    }
}
