//! The last line of the chat's answer, on its way from ComfyUI to the page (FRONTDOOR.md 3).
//!
//! ComfyUI answers `POST /api/chat/invoke` with one JSON object per line, each with the text so far. What
//! the page draws as cards is the `ext` of the last one, and `finished` ends its spinner. With current
//! SDKs the plugin can fill in neither (WIRE.md 4.3, 25). So one line is held back, and what is held when
//! the answer ends is the last. Every other byte passes as it came.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

/// A longer line is no line of the plugin's: from there on everything passes.
const MAX_LINE: usize = 8 << 20;
const MAX_MEMBERS: usize = 64;

/// Holds the newest line back.
#[derive(Debug, Default)]
pub struct LastLine {
    held: Vec<u8>,
    /// Nothing is held any more.
    open: bool,
}

impl LastLine {
    /// Takes the next bytes; returns what can be sent now.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        if self.open || self.held.len() > MAX_LINE {
            self.open = true;
            return std::mem::take(&mut self.held);
        }
        // The held line begins behind the last line break that something follows.
        let end = self.held.trim_ascii_end().len();
        let lines = self.held.get(..end).unwrap_or_default();
        let begins = memchr::memrchr(b'\n', lines).map_or(0, |at| at + 1);
        let rest = self.held.split_off(begins);
        std::mem::replace(&mut self.held, rest)
    }

    /// The last line, with the cards that `cards` has for its session. What is there already stays.
    pub fn finish(self, cards: impl FnOnce(&str) -> Option<Value>) -> Vec<u8> {
        let line = match self.open {
            true => None,
            false => std::str::from_utf8(&self.held).ok(),
        };
        line.and_then(|line| completed(line, cards))
            .unwrap_or(self.held)
    }
}

/// `None` where nothing is to be changed, and where it is no line of a chat.
fn completed(line: &str, cards: impl FnOnce(&str) -> Option<Value>) -> Option<Vec<u8>> {
    let mut members = serde_json::from_str::<Members<'_>>(line).ok()?.0;
    let read = |name: &str| {
        let found = members.iter().rfind(|(n, _)| n == name);
        found.map(|(_, value)| value.get())
    };
    let session: String = serde_json::from_str(read("session_id")?).ok()?;
    let unfinished = read("finished")? == "false";
    let without_cards = matches!(read("ext"), None | Some("null" | "[]"));
    let cards = match without_cards {
        true => cards(&session),
        false => None,
    };
    if cards.is_none() && !unfinished {
        return None;
    }
    let mut put = |name: &str, json: String| {
        members.retain(|(n, _)| n != name);
        // What `ascii` and the literals below write is JSON.
        if let Ok(raw) = RawValue::from_string(json) {
            members.push((name.to_owned(), std::borrow::Cow::Owned(raw)));
        }
    };
    if unfinished {
        put("finished", "true".into());
    }
    if let Some(cards) = cards {
        put("ext", ascii(&cards));
    }
    let mut out = String::with_capacity(line.len() + 64);
    for (name, value) in &members {
        out.push(if out.is_empty() { '{' } else { ',' });
        out.push_str(&ascii(&Value::from(name.as_str())));
        out.push(':');
        out.push_str(value.get());
    }
    out.push_str("}\n");
    Some(out.into_bytes())
}

/// JSON in ASCII alone: the page decodes each network chunk by itself, so a character that a chunk's
/// border cuts is lost.
pub fn ascii(value: &Value) -> String {
    let text = value.to_string();
    if text.is_ascii() {
        return text;
    }
    let mut out = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            let mut units = [0u16; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

/// Members in order, each as it stands in the text.
struct Members<'a>(Vec<(String, std::borrow::Cow<'a, RawValue>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(String, std::borrow::Cow<'de, RawValue>)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((name, std::borrow::Cow::Borrowed(value)));
                    if members.len() > MAX_MEMBERS {
                        return Err(serde::de::Error::custom("too many members"));
                    }
                }
                Ok(members)
            }
        }
        d.deserialize_map(Object).map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(text: &str, finished: bool, ext: &Value) -> String {
        format!(
            "{}\n",
            json!({"session_id": "s1", "text": text, "finished": finished, "ext": ext})
        )
    }

    fn through(pieces: &[&[u8]], cards: Option<Value>) -> (Vec<Vec<u8>>, String) {
        let mut last = LastLine::default();
        let sent: Vec<Vec<u8>> = pieces.iter().map(|p| last.push(p)).collect();
        let rest = last.finish(|session| cards.filter(|_| session == "s1"));
        let mut all: Vec<u8> = sent.concat();
        all.extend(rest);
        (sent, String::from_utf8(all).expect("UTF-8"))
    }

    fn last_of(text: &str) -> Value {
        let line = text.lines().last().expect("a line");
        serde_json::from_str(line).expect("JSON")
    }

    #[test]
    fn each_line_waits_for_the_next_and_no_longer() {
        let (a, b) = (
            line("a", false, &Value::Null),
            line("ab", true, &Value::Null),
        );
        let (sent, all) = through(&[a.as_bytes(), b.as_bytes()], None);
        assert_eq!(sent[0], b"", "it may be the last");
        assert_eq!(sent[1], a.as_bytes(), "it was not");
        assert_eq!(
            all,
            format!("{a}{b}"),
            "nothing to change, not a byte changed"
        );
        let half = b.len() / 2;
        let (sent, _) = through(
            &[a.as_bytes(), &b.as_bytes()[..half], &b.as_bytes()[half..]],
            None,
        );
        assert_eq!(
            sent[1],
            a.as_bytes(),
            "the first byte of a line sends the one before"
        );
        assert_eq!(sent[2], b"");
    }

    #[test]
    fn the_last_line_gets_the_cards_and_an_end() {
        let cards = json!([{"type": "workflow", "data": [{"id": "t:a", "name": "图像 🎨"}]}]);
        let other = json!([{"type": "workflow_update", "data": {}}]);
        let none = Value::Null;
        for (row, finished, ext, have, want_ext, want_finished) in [
            ("no cards, and it ended", true, &none, None, &none, true),
            (
                "cards, and it ended",
                true,
                &none,
                Some(cards.clone()),
                &cards,
                true,
            ),
            (
                "cards, and it would turn for ever",
                false,
                &none,
                Some(cards.clone()),
                &cards,
                true,
            ),
            (
                "none, and it would turn for ever",
                false,
                &none,
                None,
                &none,
                true,
            ),
            (
                "cards of the plugin's own stay",
                true,
                &other,
                Some(cards.clone()),
                &other,
                true,
            ),
            (
                "also where it did not end",
                false,
                &other,
                Some(cards.clone()),
                &other,
                true,
            ),
            (
                "an empty list is no card",
                true,
                &json!([]),
                Some(cards.clone()),
                &cards,
                true,
            ),
        ] {
            let text = format!("{}{}", line("x", false, &none), line("x y", finished, ext));
            for size in [1, 7, 1 << 20] {
                let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                let (_, all) = through(&pieces, have.clone());
                let last = last_of(&all);
                assert_eq!(last["ext"], *want_ext, "{row}");
                assert_eq!(last["finished"], want_finished, "{row}");
                assert_eq!(
                    (&last["text"], &last["session_id"]),
                    (&json!("x y"), &json!("s1"))
                );
                assert!(all.is_ascii() && all.ends_with('\n'), "{row}");
                assert_eq!(all.lines().count(), 2, "{row}");
            }
        }
    }

    #[test]
    fn values_that_are_not_ours_stay_as_they_are_written() {
        let text = r#"{"n":1e400,"session_id":"s1","deep":{"a":[1.10,"\u4e2d"]},"finished":false}"#;
        let (_, all) = through(&[text.as_bytes()], Some(json!([1])));
        assert_eq!(
            all,
            "{\"n\":1e400,\"session_id\":\"s1\",\"deep\":{\"a\":[1.10,\"\\u4e2d\"]},\"finished\":true,\"ext\":[1]}\n"
        );
    }

    #[test]
    fn what_is_no_line_of_a_chat_passes_as_it_is() {
        for text in [
            "",
            "\n\n",
            "not json",
            "[1]",
            "{\"finished\":false}",
            "{\"session_id\":\"s1\"}",
            "{\"session_id\":7,\"finished\":false}",
            "{\"session_id\":\"s1\",\"finished\":\"false\",\"ext\":{}}",
            "{\"session_id\":\"s1\",\"finished\":false",
        ] {
            let (_, all) = through(&[text.as_bytes()], Some(json!([1])));
            assert_eq!(all, text);
        }
        let mut last = LastLine::default();
        assert_eq!(last.push(b"{\"\xff\":1}"), b"");
        assert_eq!(last.finish(|_| None), b"{\"\xff\":1}");
    }

    #[test]
    fn a_line_without_an_end_is_not_held_for_ever() {
        let mut last = LastLine::default();
        let piece = vec![b'x'; 1 << 20];
        let sent: usize = (0..10).map(|_| last.push(&piece).len()).sum();
        assert_eq!(sent, 10 << 20);
        assert_eq!(last.finish(|_| Some(json!([1]))), b"");
    }
}
