//! JSON as ComfyUI's Python writes it, made readable, and texts cut to their bounds.
//!
//! `json.dumps` writes `NaN`, `Infinity` and lone surrogates, which are no JSON: one custom node with an
//! infinite maximum would make the whole answer unreadable.

use std::borrow::Cow;

/// A name that can be shown, sent in a URL after encoding, and put into a label of a card.
pub const MAX_NAME: usize = 256;

/// The bytes as text, with `NaN` and infinities as `null`, and lone surrogates as U+FFFD.
pub fn readable(bytes: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(bytes);
    let suspect = ["NaN", "Infinity", "\\ud", "\\uD"];
    if suspect.iter().any(|s| text.contains(s)) {
        Cow::Owned(mended(&text))
    } else {
        text
    }
}

fn mended(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_string = false;
    while let Some(c) = rest.chars().next() {
        let (taken, put) = if in_string {
            match c {
                '"' => {
                    in_string = false;
                    (1, None)
                }
                '\\' => escape(rest),
                c => (c.len_utf8(), None),
            }
        } else {
            match c {
                '"' => {
                    in_string = true;
                    (1, None)
                }
                _ => ["-Infinity", "Infinity", "NaN"]
                    .iter()
                    .find(|word| rest.starts_with(**word))
                    .map_or((c.len_utf8(), None), |word| (word.len(), Some("null"))),
            }
        };
        let (head, tail) = rest.split_at(taken.min(rest.len()));
        out.push_str(put.unwrap_or(head));
        rest = tail;
    }
    out
}

/// How long the escape at the start of `rest` is, and what to put in its place.
fn escape(rest: &str) -> (usize, Option<&'static str>) {
    match unit(rest) {
        Some(0xD800..=0xDBFF) => {
            let low = rest.get(6..).and_then(unit);
            match low {
                Some(0xDC00..=0xDFFF) => (12, None),
                Some(_) | None => (6, Some("\\ufffd")),
            }
        }
        Some(0xDC00..=0xDFFF) => (6, Some("\\ufffd")),
        Some(_) => (6, None),
        // `\n`, `\"`, or something that the parser will refuse.
        None => {
            let second = rest.chars().nth(1).map_or(0, char::len_utf8);
            (1 + second, None)
        }
    }
}

/// The UTF-16 unit of a `\uXXXX` at the start of `text`.
fn unit(text: &str) -> Option<u32> {
    let hex = text.strip_prefix("\\u")?.get(..4)?;
    u32::from_str_radix(hex, 16).ok()
}

/// The name, if it is one line of at most [`MAX_NAME`] bytes.
pub fn name(text: &str) -> Option<&str> {
    let good = !text.is_empty() && text.len() <= MAX_NAME && !text.chars().any(char::is_control);
    good.then_some(text)
}

/// At most `max` bytes, ending at a character; control characters but line breaks become spaces.
pub fn text(text: &str, max: usize) -> String {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end)
        .unwrap_or_default()
        .chars()
        .map(|c| match c {
            '\n' => '\n',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_python_writes_becomes_json() {
        for (row, python, want) in [
            (
                "plain JSON stays",
                r#"{"a":[1,"x"]}"#,
                json!({"a": [1, "x"]}),
            ),
            (
                "an infinite maximum",
                r#"{"max":Infinity,"min":-Infinity,"d":NaN}"#,
                json!({"max": null, "min": null, "d": null}),
            ),
            (
                "the words inside strings stay",
                r#"{"NaN":"-Infinity \" NaN","b":NaN}"#,
                json!({"NaN": "-Infinity \" NaN", "b": null}),
            ),
            (
                "a lone high surrogate",
                r#"["\ud83d","\ud83d\u0041"]"#,
                json!(["\u{fffd}", "\u{fffd}A"]),
            ),
            ("a lone low one", r#"["x\uDE00"]"#, json!(["x\u{fffd}"])),
            ("a pair stays", r#"["\ud83d\ude00"]"#, json!(["😀"])),
            (
                "an escaped backslash before a u",
                r#"["\\ud83d",NaN]"#,
                json!(["\\ud83d", null]),
            ),
        ] {
            let text = readable(python.as_bytes());
            assert_eq!(
                serde_json::from_str::<Value>(&text).ok(),
                Some(want),
                "{row}"
            );
        }
        assert_eq!(&*readable(b"[\"\xff\"]"), "[\"\u{fffd}\"]");
        for broken in ["[\"\\", "[\"\\u", "[\"\\ud83d", "\"NaN"] {
            assert!(serde_json::from_str::<Value>(&readable(broken.as_bytes())).is_err());
        }
    }

    #[test]
    fn texts_are_cut_at_a_character_and_names_are_one_line() {
        assert_eq!(text("a\u{7}b\nc", 99), "a b\nc");
        assert_eq!(text("本地", 4), "本");
        assert_eq!(name("KSampler"), Some("KSampler"));
        for bad in ["", "a\nb", "a\u{0}", &"x".repeat(257)] {
            assert_eq!(name(bad), None);
        }
    }
}
