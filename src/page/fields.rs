//! A few fields of a JSON object, read as its bytes pass.
//!
//! A chat may have megabytes of pictures in it and is not to be held for the names that stand in
//! it. Only the top level counts, each occurrence of the key does (readers of JSON take the last one),
//! and escapes are resolved, so that another spelling is no other key. For anything that is no
//! JSON object nothing is found: whoever reads it behind us refuses it.

/// Longest key that is compared, and longest value that is kept, in bytes.
const MAX_KEY: usize = 64;
const MAX_VALUE: usize = 256;

/// A value of one of the fields. What is in a list or an object is not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldValue {
    Text(String),
    /// A number, `true`, `false` or `null`, or what is none of them, as it stands there.
    Bare(String),
    /// Longer than any that is known.
    TooLong,
}

/// Watches for the values of some keys.
#[derive(Debug)]
pub struct FieldWatch {
    keys: &'static [&'static str],
    depth: u32,
    /// The outermost value is an object.
    in_object: bool,
    /// Of the outermost object: what comes next is a key.
    key_is_next: bool,
    /// The last key was one of ours.
    wanted: Option<&'static str>,
    text: Option<Text>,
    bare: Option<Text>,
}

/// A string that is being read.
#[derive(Debug)]
struct Text {
    role: TextRole,
    kept: Vec<u8>,
    too_long: bool,
    escape: Escape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TextRole {
    Key,
    Value,
    /// Deeper down, or of another key.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    No,
    Begun,
    /// `\u`, and what of its four digits was read.
    Code {
        digits: u8,
        value: u32,
    },
}

impl FieldWatch {
    pub fn new(keys: &'static [&'static str]) -> Self {
        Self {
            keys,
            depth: 0,
            in_object: false,
            key_is_next: false,
            wanted: None,
            text: None,
            bare: None,
        }
    }

    /// The values that end in this piece, each with its key.
    pub fn push(&mut self, piece: &[u8]) -> Vec<(&'static str, FieldValue)> {
        let mut found = Vec::new();
        for byte in piece {
            match &mut self.text {
                Some(text) => {
                    if text.push(*byte) {
                        let text = self.text.take();
                        found.extend(text.and_then(|text| self.ended(text)));
                    }
                }
                None => found.extend(self.between(*byte)),
            }
        }
        found
    }

    fn ended(&mut self, text: Text) -> Option<(&'static str, FieldValue)> {
        match text.role {
            TextRole::Key => {
                self.key_is_next = false;
                let ours = |key: &&&str| !text.too_long && text.kept == key.as_bytes();
                self.wanted = self.keys.iter().find(ours).copied();
                None
            }
            TextRole::Value => {
                let key = self.wanted.take()?;
                Some((key, text.value(FieldValue::Text)))
            }
            TextRole::Other => None,
        }
    }

    /// What ends with this byte is no text.
    fn between(&mut self, byte: u8) -> Option<(&'static str, FieldValue)> {
        let outermost = self.depth == 1 && self.in_object;
        let in_bare = !b" \t\r\n,:\"{}[]".contains(&byte);
        if in_bare {
            if outermost && !self.key_is_next && self.wanted.is_some() {
                let bare = self.bare.get_or_insert_with(|| Text::new(TextRole::Value));
                bare.keep(&[byte]);
            }
            return None;
        }
        let ended = self.bare.take().and_then(|bare| {
            let key = self.wanted.take()?;
            Some((key, bare.value(FieldValue::Bare)))
        });
        match byte {
            b'"' => {
                let role = match (outermost, self.key_is_next, self.wanted.is_some()) {
                    (true, true, _) => TextRole::Key,
                    (true, false, true) => TextRole::Value,
                    (true, false, false) | (false, _, _) => TextRole::Other,
                };
                self.text = Some(Text::new(role));
            }
            b'{' | b'[' => {
                if self.depth == 0 {
                    self.in_object = byte == b'{';
                    self.key_is_next = self.in_object;
                }
                self.depth = self.depth.saturating_add(1);
            }
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b',' if outermost => {
                self.key_is_next = true;
                self.wanted = None;
            }
            _ => {}
        }
        ended
    }
}

impl Text {
    fn new(role: TextRole) -> Self {
        Self {
            role,
            kept: Vec::new(),
            too_long: false,
            escape: Escape::No,
        }
    }

    fn value(self, of: impl FnOnce(String) -> FieldValue) -> FieldValue {
        match String::from_utf8(self.kept) {
            Ok(kept) if !self.too_long => of(kept),
            Ok(_) | Err(_) => FieldValue::TooLong,
        }
    }

    /// True at its end.
    fn push(&mut self, byte: u8) -> bool {
        match self.escape {
            Escape::No => match byte {
                b'"' => return true,
                b'\\' => self.escape = Escape::Begun,
                other => self.keep(&[other]),
            },
            Escape::Begun => {
                self.escape = Escape::No;
                match byte {
                    b'u' => {
                        self.escape = Escape::Code {
                            digits: 0,
                            value: 0,
                        };
                    }
                    b'b' => self.keep(b"\x08"),
                    b'f' => self.keep(b"\x0c"),
                    b'n' => self.keep(b"\n"),
                    b'r' => self.keep(b"\r"),
                    b't' => self.keep(b"\t"),
                    other => self.keep(&[other]),
                }
            }
            Escape::Code { digits, value } => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                let value = value << 4 | digit;
                self.escape = match digits {
                    3 => {
                        // Half of a pair is no character of any name.
                        let letter = char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER);
                        self.keep(letter.encode_utf8(&mut [0; 4]).as_bytes());
                        Escape::No
                    }
                    digits => Escape::Code {
                        digits: digits + 1,
                        value,
                    },
                };
            }
        }
        false
    }

    fn keep(&mut self, bytes: &[u8]) {
        let most = match self.role {
            TextRole::Key => MAX_KEY,
            TextRole::Value => MAX_VALUE,
            TextRole::Other => return,
        };
        if self.kept.len() + bytes.len() > most {
            self.too_long = true;
        } else {
            self.kept.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, piece: usize) -> Vec<String> {
        let mut watch = FieldWatch::new(&["session_id", "checkpoint_id"]);
        body.as_bytes()
            .chunks(piece)
            .flat_map(|piece| watch.push(piece))
            .map(|(key, value)| {
                let value = match value {
                    FieldValue::Text(text) => text,
                    FieldValue::Bare(bare) => format!("bare {bare}"),
                    FieldValue::TooLong => "too long".into(),
                };
                match key {
                    "session_id" => value,
                    key => format!("{key} {value}"),
                }
            })
            .collect()
    }

    #[test]
    fn every_value_of_the_outermost_key_is_found_however_it_is_spelled_and_cut() {
        let long = format!("{{\"session_id\":\"{}\"}}", "x".repeat(MAX_VALUE + 1));
        let long_key = format!("{{\"{}\":\"a\",\"session_id\":\"b\"}}", "k".repeat(999));
        for (name, body, want) in [
            ("first", r#"{"session_id":"a","prompt":"x"}"#, vec!["a"]),
            (
                "last, after pictures",
                r#"{"images":["\"session_id\":\"no\""],"session_id" : "a"}"#,
                vec!["a"],
            ),
            (
                "twice",
                r#"{"session_id":"a","session_id":"b"}"#,
                vec!["a", "b"],
            ),
            (
                "deeper down",
                r#"{"a":{"session_id":"no"},"b":[{"session_id":"no"}]}"#,
                vec![],
            ),
            ("as a value", r#"{"a":"session_id","b":"c"}"#, vec![]),
            (
                "in escapes",
                r#"{"\u0073ession_\u0069d":"\u0061\/b"}"#,
                vec!["a/b"],
            ),
            (
                "behind a number, null and true",
                r#"{"a":1.5e3,"b":null,"c":true,"session_id":"a"}"#,
                vec!["a"],
            ),
            ("null", r#"{"session_id":null,"a":"no"}"#, vec!["bare null"]),
            (
                "a number, and the other key",
                r#"{"checkpoint_id" : 12.0 ,"a":3,"session_id":"b"}"#,
                vec!["checkpoint_id bare 12.0", "b"],
            ),
            (
                "a number at the end, in a text and deeper down",
                r#"{"a":{"checkpoint_id":1},"b":[2],"session_id":"7","checkpoint_id":-7}"#,
                vec!["7", "checkpoint_id bare -7"],
            ),
            (
                "a number behind a list",
                r#"{"checkpoint_id":[1,2],"a":3}"#,
                vec![],
            ),
            (
                "a number and then a text",
                r#"{"checkpoint_id":1 "x","a":"b"}"#,
                vec!["checkpoint_id bare 1"],
            ),
            (
                "an object, and a text after it",
                r#"{"session_id":{"x":"no"},"a":"no"}"#,
                vec![],
            ),
            (
                "a quote and a backslash in it",
                r#"{"session_id":"a\"b\\","x":1}"#,
                vec!["a\"b\\"],
            ),
            (
                "half of a pair",
                r#"{"session_id":"\ud800"}"#,
                vec!["\u{fffd}"],
            ),
            ("too long", &long, vec!["too long"]),
            ("behind a key that is too long", &long_key, vec!["b"]),
            ("in a list", r#"[{"session_id":"no"}]"#, vec![]),
            ("in a list, bare", r#"["session_id","no"]"#, vec![]),
            ("no json", "session_id=a", vec![]),
            ("nothing", "", vec![]),
        ] {
            for piece in [1, 2, 7, 4096] {
                assert_eq!(read(body, piece), want, "{name}, in pieces of {piece}");
            }
        }
    }
}
