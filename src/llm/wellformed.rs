//! Whether text is one JSON value (RFC 8259), and where the parts of it are, without decoding any.
//!
//! A chat's prompt has tens of kilobytes in a few strings, and the check of them is what we add before
//! the first token; so strings are looked at by vector instructions, not byte by byte. Called by [`super::edit`] for text from clients and upstreams. As deep as the text
//! itself at most, and no recursion. `\ud800` alone passes: whether an escape names a character is for
//! whoever decodes it.

/// True when `text` is exactly one value, with space around it or none.
pub(super) fn is_value(text: &str) -> bool {
    let mut reader = Reader::new(text);
    reader.value().and_then(|()| reader.end()).is_some()
}

/// Members of `text`, which is exactly one object: keys with their quotes, and values.
pub(super) fn members(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut reader = Reader::new(text);
    let mut found = Vec::new();
    (reader.byte()? == b'{').then_some(())?;
    if reader.peek()? == b'}' {
        reader.at += 1;
        return reader.end().map(|()| found);
    }
    loop {
        let first = reader.byte()?;
        let key = reader.at.checked_sub(1)?;
        (first == b'"').then_some(())?;
        reader.string()?;
        let key = text.get(key..reader.at)?;
        (reader.byte()? == b':').then_some(())?;
        found.push((key, reader.part(text)?));
        match reader.byte()? {
            b',' => {}
            b'}' => return reader.end().map(|()| found),
            _ => return None,
        }
    }
}

/// Elements of `text`, which is exactly one array.
pub(super) fn elements(text: &str) -> Option<Vec<&str>> {
    let mut reader = Reader::new(text);
    let mut found = Vec::new();
    (reader.byte()? == b'[').then_some(())?;
    if reader.peek()? == b']' {
        reader.at += 1;
        return reader.end().map(|()| found);
    }
    loop {
        found.push(reader.part(text)?);
        match reader.byte()? {
            b',' => {}
            b']' => return reader.end().map(|()| found),
            _ => return None,
        }
    }
}

/// Bytes of a string that are looked at one by one.
const SHORT: usize = 16;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Array,
    Object,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            bytes: text.as_bytes(),
            at: 0,
        }
    }

    /// The next value, as it stands in `text`.
    fn part(&mut self, text: &'a str) -> Option<&'a str> {
        self.peek()?;
        let start = self.at;
        self.value()?;
        text.get(start..self.at)
    }

    fn value(&mut self) -> Option<()> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            // A value begins here.
            match self.byte()? {
                b'{' => match self.byte()? {
                    b'}' => {}
                    first => {
                        open.push(Open::Object);
                        self.key(first)?;
                        continue;
                    }
                },
                b'[' => {
                    if self.peek()? != b']' {
                        open.push(Open::Array);
                        continue;
                    }
                    self.at += 1;
                }
                first => self.scalar(first)?,
            }
            // It has ended, and with it perhaps what it is in.
            loop {
                let Some(inside) = open.last() else {
                    return Some(());
                };
                match (self.byte()?, inside) {
                    (b',', Open::Array) => break,
                    (b',', Open::Object) => {
                        let first = self.byte()?;
                        self.key(first)?;
                        break;
                    }
                    (b']', Open::Array) | (b'}', Open::Object) => {
                        open.pop();
                    }
                    _ => return None,
                }
            }
        }
    }

    fn scalar(&mut self, first: u8) -> Option<()> {
        match first {
            b'"' => self.string(),
            b't' => self.word(b"rue"),
            b'f' => self.word(b"alse"),
            b'n' => self.word(b"ull"),
            b'-' => {
                let first = self.next()?;
                self.number(first)
            }
            _ => self.number(first),
        }
    }

    /// A member's name, whose first byte was read, and the colon.
    fn key(&mut self, first: u8) -> Option<()> {
        (first == b'"').then_some(())?;
        self.string()?;
        (self.byte()? == b':').then_some(())
    }

    fn word(&mut self, rest: &[u8]) -> Option<()> {
        self.bytes.get(self.at..)?.starts_with(rest).then_some(())?;
        self.at += rest.len();
        Some(())
    }

    /// Without its sign; the first digit was read.
    fn number(&mut self, first: u8) -> Option<()> {
        match first {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return None,
        }
        if self.follows(b".") {
            self.next().filter(u8::is_ascii_digit)?;
            self.digits();
        }
        if self.follows(b"eE") {
            self.follows(b"+-");
            self.next().filter(u8::is_ascii_digit)?;
            self.digits();
        }
        Some(())
    }

    fn digits(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }

    /// Takes the next byte if it is one of these.
    fn follows(&mut self, any: &[u8]) -> bool {
        let found = self.bytes.get(self.at).is_some_and(|b| any.contains(b));
        self.at += usize::from(found);
        found
    }

    /// Behind the opening quote.
    fn string(&mut self) -> Option<()> {
        loop {
            self.plain();
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        let digits = self.bytes.get(self.at..self.at + 4)?;
                        digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                        self.at += 4;
                    }
                    _ => return None,
                },
                // Control characters are escaped; `plain` stops at nothing else.
                _ => return None,
            }
        }
    }

    /// Passes what is neither a quote, nor an escape, nor a control character.
    fn plain(&mut self) {
        // Most strings are names and single words, which end before vector instructions have begun.
        for _ in 0..SHORT {
            match self.bytes.get(self.at) {
                Some(b'"' | b'\\' | ..0x20) | None => return,
                Some(_) => self.at += 1,
            }
        }
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let end = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
        let text = rest.get(..end).unwrap_or_default();
        // The least of all of them: a loop that may stop early is no vector instruction.
        let has_control = text.iter().fold(u8::MAX, |least, b| least.min(*b)) < 0x20;
        let control = has_control.then(|| text.iter().position(|b| *b < 0x20));
        self.at += control.flatten().unwrap_or(end);
    }

    /// The next byte, whatever it is.
    fn next(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        byte
    }

    /// The next byte that is no space, not taken.
    fn peek(&mut self) -> Option<u8> {
        while matches!(self.bytes.get(self.at)?, b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    /// The next byte that is no space.
    fn byte(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn end(&mut self) -> Option<()> {
        self.peek().is_none().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IgnoredAny;

    use super::*;

    fn checked(text: &str) -> bool {
        serde_json::from_str::<IgnoredAny>(text).is_ok()
    }

    /// Every text of up to six of these pieces, which make up all that JSON knows.
    #[test]
    fn it_takes_what_a_full_parser_takes_and_nothing_else() {
        const PIECES: [&str; 16] = [
            "{", "}", "[", "]", ",", ":", "\"", "\\", "u", "0", "1", "-", ".", "e", " ", "true",
        ];
        let mut texts = vec![String::new()];
        let mut taken = 0;
        for length in 1..=5 {
            let longer: Vec<String> = texts
                .iter()
                .flat_map(|text| PIECES.map(|piece| format!("{text}{piece}")))
                .collect();
            for text in &longer {
                let well_formed = is_value(text);
                assert_eq!(well_formed, checked(text), "{text}");
                taken += usize::from(well_formed);
            }
            texts = match length {
                5 => Vec::new(),
                _ => longer,
            };
        }
        assert!(taken > 1000, "{taken}");
    }

    #[test]
    fn it_agrees_about_what_is_longer() {
        let long = "a".repeat(100);
        let mut rows: Vec<String> = [
            r#"{"a":[1,{"b":null}],"c":"x"}"#,
            r#"{"a":1,"a":2,}"#,
            r#"[-0.5e+10,1E-2,false,null]"#,
            "[1.e3]",
            "[01]",
            "[+1]",
            "[.5]",
            "[1e]",
            "[nul]",
            r#"["\u00e9\ud800\n\/"]"#,
            r#"["\u00g0"]"#,
            r#"["\u12"]"#,
            r#"["\x"]"#,
            "[\"工作流\"]",
            "\u{feff}[]",
            "[\u{a0}]",
            "{\"a\" : \"b\"\r\n}\t",
            "{\"a\":{}} x",
            "[[[[]]]]",
            "[[[[]]]",
            "{]",
            "",
        ]
        .map(str::to_owned)
        .to_vec();
        // What ends a string, at every place of a block.
        for at in [0, 1, 30, 31, 32, 33, 63, 64, 99] {
            for end in ["\"", "\\", "\n", "\u{1f}", "\\\"", "\u{7f}", "é"] {
                let (before, behind) = long.split_at(at);
                rows.push(format!("[\"{before}{end}{behind}\"]"));
                rows.push(format!("\"{before}{end}"));
            }
        }
        for text in rows {
            assert_eq!(is_value(&text), checked(&text), "{text:?}");
        }
    }

    #[test]
    fn parts_are_found_where_they_stand() {
        for (text, want) in [
            ("{}", Some(vec![])),
            (
                " { \"a\" : [1, {}] ,\"b\":\"x,}\"} ",
                Some(vec![("\"a\"", "[1, {}]"), ("\"b\"", "\"x,}\"")]),
            ),
            (
                "{\"a\":1,\"a\":2}",
                Some(vec![("\"a\"", "1"), ("\"a\"", "2")]),
            ),
            ("{\"a\":1,}", None),
            ("{\"a\":1}{", None),
            ("{\"a\" 1}", None),
            ("{a:1}", None),
            ("[]", None),
            ("{", None),
        ] {
            assert_eq!(members(text), want, "{text}");
        }
        for (text, want) in [
            ("[]", Some(vec![])),
            (" [ 1 ,[2,3], \"]\" ] ", Some(vec!["1", "[2,3]", "\"]\""])),
            (
                r#"["\\", "\"", "a,]b", "\\\"]", "\u005d"]"#,
                Some(vec![
                    r#""\\""#,
                    r#""\"""#,
                    r#""a,]b""#,
                    r#""\\\"]""#,
                    r#""\u005d""#,
                ]),
            ),
            (
                r#"[{"a":[1,{"b":"]}"}]} , [[],[[ ]]] ]"#,
                Some(vec![r#"{"a":[1,{"b":"]}"}]}"#, "[[],[[ ]]]"]),
            ),
            (
                "[\"工作流\",\n\t-2.5e+3\r\n]",
                Some(vec!["\"工作流\"", "-2.5e+3"]),
            ),
            ("[1,]", None),
            ("[1]]", None),
            ("{}", None),
            ("[1 2]", None),
        ] {
            assert_eq!(elements(text), want, "{text}");
        }
    }

    #[test]
    fn as_deep_as_it_likes() {
        let deep = 200_000;
        assert!(is_value(&format!(
            "{}{}",
            "[".repeat(deep),
            "]".repeat(deep)
        )));
        assert!(!is_value(&"[".repeat(deep)));
    }
}
