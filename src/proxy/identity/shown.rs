//! What a request shows in its headers, by its form alone.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, header};

use crate::{session::VendorId, token::MAX_TOKEN};

/// By which the plugin names a chat, on requests of its page and of its Python side.
pub const CHAT_ID: HeaderName = HeaderName::from_static("x-session-id");
/// Characters of a token's signature.
const SIGNATURE: usize = 43;

/// What stands in `Authorization`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown<'h> {
    Nothing,
    /// It has the form of one of our tokens, whole.
    Token(Cow<'h, str>),
    /// It begins like one of our API keys.
    Key(&'h str),
    /// Somebody else's, or the plugin's `null`.
    Other,
    /// A bearer that is neither of ours nor empty.
    Foreign,
    /// Two of them.
    Unclear,
}

pub fn shown(headers: &HeaderMap) -> Shown<'_> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return match headers.contains_key(header::AUTHORIZATION) {
            true => Shown::Unclear,
            false => Shown::Nothing,
        };
    };
    match line.to_str().ok().and_then(|text| text.split_once(' ')) {
        Some((scheme, text)) if scheme.eq_ignore_ascii_case("bearer") => of_text(text.trim()),
        Some(_) | None => Shown::Other,
    }
}

/// A bare token or key.
pub fn of_text(text: &str) -> Shown<'_> {
    match text {
        // What the plugin and its page say as long as they have no key.
        "" | "null" | "None" | "undefined" => Shown::Other,
        text if text.starts_with("airlock_") => Shown::Key(text),
        text if like_a_token(text) => Shown::Token(text.into()),
        text => match in_groups(text).filter(|token| like_a_token(token)) {
            Some(token) => Shown::Token(token.into()),
            None => Shown::Foreign,
        },
    }
}

/// The key dialog shows a token in groups with blanks between them, or it would run out of the dialog
/// (`emulator::copilot::account`), and so it is copied.
fn in_groups(text: &str) -> Option<String> {
    let longest = MAX_TOKEN + MAX_TOKEN / 8;
    (text.len() <= longest && text.contains(' ')).then(|| text.split(' ').collect())
}

fn like_a_token(text: &str) -> bool {
    let letters = |part: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        !part.is_empty() && part.bytes().all(plain)
    };
    text.len() <= MAX_TOKEN
        && text.split_once('.').is_some_and(|(payload, signature)| {
            letters(payload) && letters(signature) && signature.len() == SIGNATURE
        })
}

/// The plugin's id of the chat. Two of them, or one that is none, name nothing.
pub fn chat_id(headers: &HeaderMap) -> Option<VendorId> {
    let mut lines = headers.get_all(CHAT_ID).iter();
    let line = lines.next().filter(|_| lines.next().is_none())?;
    line.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_told_from_others_by_their_form() {
        let token = format!("eyJhIjoxfQ.{}", "A".repeat(43));
        let bearer = |text: &str| format!("Bearer {text}");
        for (name, lines, want) in [
            ("nothing", vec![], Shown::Nothing),
            (
                "a token",
                vec![bearer(&token)],
                Shown::Token(token.as_str().into()),
            ),
            (
                "a token in groups, as the key dialog shows it",
                vec![bearer(&format!(
                    "{} {} {}",
                    &token[..8],
                    &token[8..30],
                    &token[30..]
                ))],
                Shown::Token(token.as_str().into()),
            ),
            (
                "a token and something else",
                vec![bearer(&format!("{token} x"))],
                Shown::Foreign,
            ),
            (
                "in capitals",
                vec![format!("BEARER {token}")],
                Shown::Token(token.as_str().into()),
            ),
            (
                "a key",
                vec![bearer("airlock_x_y")],
                Shown::Key("airlock_x_y"),
            ),
            ("the plugin's null", vec![bearer("null")], Shown::Other),
            ("an empty one", vec!["Bearer ".into()], Shown::Other),
            ("Basic", vec!["Basic YTpi".into()], Shown::Other),
            (
                "the vendor's",
                vec![bearer("cp-test-key-0001")],
                Shown::Foreign,
            ),
            ("a JWT", vec![bearer("eyJh.eyJi.c2ln")], Shown::Foreign),
            (
                "one that was cut",
                vec![bearer(&token[..40])],
                Shown::Foreign,
            ),
            ("two", vec![bearer(&token), bearer(&token)], Shown::Unclear),
        ] {
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append(header::AUTHORIZATION, line.parse().unwrap());
            }
            assert_eq!(shown(&headers), want, "{name}");
        }
    }
}
