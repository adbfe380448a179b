//! JSON edits by byte span: what is not touched stays byte for byte.
//!
//! Unknown keys, number spellings, whitespace and duplicate keys survive, because nothing is
//! re-serialised. A key may stand twice and servers differ in which one they read, so callers
//! replace [`Object::all`] occurrences of a key they act on.

use std::{
    borrow::Cow,
    ops::{Bound, Range},
};

use super::wellformed;

/// What JSON takes for space.
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// One member of an object; slices of the text it was parsed from.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// Decoded; a key that does not decode (a lone surrogate) stays raw and so matches nothing.
    pub key: Cow<'a, str>,
    pub value: &'a str,
}

/// An object's members in order, duplicates included.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    /// From `{` to `}`.
    text: &'a str,
    members: Vec<Member<'a>>,
}

impl<'a> Object<'a> {
    /// `None` when `text` is not one well-formed object. Nested values are checked, not decoded.
    pub fn parse(text: &'a str) -> Option<Self> {
        let member = |(key, value)| Member {
            key: string(key).unwrap_or(Cow::Borrowed(key)),
            value,
        };
        let members = wellformed::members(text)?.into_iter().map(member);
        Some(Self {
            text: text.trim_matches(SPACE),
            members: members.collect(),
        })
    }
    pub fn text(&self) -> &'a str {
        self.text
    }
    pub fn members(&self) -> &[Member<'a>] {
        &self.members
    }
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
    /// Value of the last member of that name: what most servers read.
    pub fn last(&self, key: &str) -> Option<&'a str> {
        self.members.iter().rfind(|m| m.key == key).map(|m| m.value)
    }
    /// As [`Object::last`], and not `null`.
    pub fn present(&self, key: &str) -> Option<&'a str> {
        self.last(key).filter(|v| *v != "null")
    }
    /// Decoded string value of the last member of that name.
    pub fn string(&self, key: &str) -> Option<Cow<'a, str>> {
        self.last(key).and_then(string)
    }
    pub fn all<'s>(&'s self, key: &'s str) -> impl Iterator<Item = &'a str> + 's {
        self.members
            .iter()
            .filter(move |m| m.key == key)
            .map(|m| m.value)
    }
}

/// Elements of an array as slices of `text`; `None` when it is not a well-formed array.
pub fn elements(text: &str) -> Option<Vec<&str>> {
    wellformed::elements(text)
}

/// Decodes a JSON string; borrows when nothing is escaped.
pub fn string(text: &str) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('"')?;
    if let Some(plain) = inner.strip_suffix('"')
        && is_plain(plain)
    {
        return Some(Cow::Borrowed(plain));
    }
    serde_json::from_str::<String>(text).ok().map(Cow::Owned)
}

/// The beginning of the JSON string `text`, decoded: at most about `max` bytes of it as written.
pub(super) fn string_head(text: &str, max: usize) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let bytes = inner.as_bytes();
    let mut at = 0;
    while at < max {
        match memchr::memchr(b'\\', bytes.get(at..).unwrap_or_default()) {
            Some(n) if at + n < max => {
                let escape = at + n;
                at = escape
                    + if bytes.get(escape + 1) == Some(&b'u') {
                        6
                    } else {
                        2
                    };
            }
            Some(_) | None => at = max,
        }
    }
    let mut end = at.min(inner.len());
    while !inner.is_char_boundary(end) {
        end -= 1;
    }
    let raw = inner.get(..end)?;
    if is_plain(raw) {
        return Some(Cow::Borrowed(raw));
    }
    match serde_json::from_str(&format!("\"{raw}\"")) {
        Ok(head) => Some(Cow::Owned(head)),
        // Cut between the halves of a surrogate pair, it does not decode: then as a whole.
        Err(_) => string(text),
    }
}

/// Nothing in it is escaped or ends it. Looks at whole blocks, which the compiler turns into vector
/// instructions: prompts have tens of kilobytes.
fn is_plain(text: &str) -> bool {
    let special = |b: &u8| (*b == b'\\') | (*b == b'"') | (*b < 0x20);
    text.as_bytes()
        .chunks(64)
        .all(|block| !block.iter().fold(false, |any, b| any | special(b)))
}

pub fn unsigned(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// `text` as a JSON string, quotes included.
pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The first `max` bytes of `text`, cut between characters.
pub fn head(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// True when `text` is one well-formed JSON value.
pub fn is_json(text: &str) -> bool {
    wellformed::is_value(text)
}

/// What stands in a text instead of a range of its bytes.
pub(super) type Splice<T> = (Range<usize>, T);

/// Collects splices of `root` and applies them at once.
#[derive(Debug)]
pub struct Editor<'a> {
    root: &'a str,
    splices: Vec<Splice<String>>,
}

/// Where members can be added to an object of a text.
#[derive(Clone, Debug)]
pub(super) struct Room {
    at: usize,
    /// Behind a member: a comma comes first.
    behind_one: bool,
}

impl Room {
    /// The splice that adds `members`: plain keys, and values in JSON.
    pub(super) fn with(&self, members: &[(&str, impl AsRef<str>)]) -> Splice<String> {
        let mut text = String::new();
        for (key, value) in members {
            if self.behind_one || !text.is_empty() {
                text.push(',');
            }
            text.push('"');
            text.push_str(key);
            text.push_str("\":");
            text.push_str(value.as_ref());
        }
        (self.at..self.at, text)
    }
}

impl<'a> Editor<'a> {
    pub fn new(root: &'a str) -> Self {
        Self {
            root,
            splices: Vec::new(),
        }
    }
    pub fn is_untouched(&self) -> bool {
        self.splices.is_empty()
    }
    /// Replaces `part`, a slice of the root.
    pub fn replace(&mut self, part: &str, with: impl Into<String>) {
        if let Some(range) = self.range_of(part) {
            self.splices.push((range, with.into()));
        }
    }
    /// Inserts right behind `part`, a slice of the root.
    pub fn insert_after(&mut self, part: &str, text: impl Into<String>) {
        if let Some(range) = self.range_of(part) {
            self.splices.push((range.end..range.end, text.into()));
        }
    }
    /// Adds members to `object`; `pairs` hold a plain key and a JSON value. Once per object.
    pub fn add_members(&mut self, object: &Object<'_>, pairs: &[(&str, impl AsRef<str>)]) {
        if let Some(room) = self.room_in(object).filter(|_| !pairs.is_empty()) {
            self.splices.push(room.with(pairs));
        }
    }
    /// Where [`Self::add_members`] puts them.
    pub(super) fn room_in(&self, object: &Object<'_>) -> Option<Room> {
        let last = object.members().last();
        let part = last.map_or(object.text().get(..1), |last| Some(last.value));
        Some(Room {
            at: self.range_of(part?)?.end,
            behind_one: last.is_some(),
        })
    }
    /// The root with all splices applied; untouched bytes are the root's own.
    pub fn finish(mut self) -> Cow<'a, str> {
        if self.splices.is_empty() {
            return Cow::Borrowed(self.root);
        }
        let mut out = String::with_capacity(self.root.len() + grown(&self.splices));
        splice(&mut self.splices, |kept, with| {
            out.push_str(self.root.get(kept).unwrap_or_default());
            out.push_str(with);
        });
        Cow::Owned(out)
    }

    /// The splices alone, for when the text is at hand again.
    pub(super) fn into_splices(self) -> Vec<Splice<String>> {
        self.splices
    }

    /// Where `part` lies in the root; `None` for a slice of something else.
    pub(super) fn range_of(&self, part: &str) -> Option<Range<usize>> {
        let start = (part.as_ptr() as usize).checked_sub(self.root.as_ptr() as usize)?;
        let end = start.checked_add(part.len())?;
        let inside = end <= self.root.len();
        debug_assert!(inside, "part is a slice of the root");
        inside.then_some(start..end)
    }
}

pub(super) fn borrowed((range, with): &Splice<String>) -> Splice<&str> {
    (range.clone(), with)
}

/// `root`, the bytes of a text, with splices that were made for it.
pub(super) fn spliced(root: &[u8], splices: &mut [Splice<&str>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(root.len() + grown(splices));
    splice(splices, |kept, with| {
        out.extend_from_slice(root.get(kept).unwrap_or_default());
        out.extend_from_slice(with.as_bytes());
    });
    out
}

fn grown(splices: &[Splice<impl AsRef<str>>]) -> usize {
    splices.iter().map(|(_, with)| with.as_ref().len()).sum()
}

/// Gives out, in their order, the ranges of the root that stay and what follows each. The last one has
/// no end: it is cut by the root's.
fn splice(splices: &mut [Splice<impl AsRef<str>>], mut piece: impl FnMut(Kept, &str)) {
    // Stable: an insertion behind a replaced value starts at the value's end, so it follows it.
    splices.sort_by_key(|(range, _)| range.start);
    let mut at = 0;
    for (range, with) in splices {
        debug_assert!(range.start >= at, "edits of one text must not overlap");
        let kept = (Bound::Included(at), Bound::Excluded(range.start));
        piece(kept, with.as_ref());
        at = at.max(range.end);
    }
    piece((Bound::Included(at), Bound::Unbounded), "");
}

type Kept = (Bound<usize>, Bound<usize>);

#[cfg(test)]
mod tests {
    use super::*;

    fn set_model(text: &str) -> String {
        let object = Object::parse(text).expect("an object");
        let mut editor = Editor::new(text);
        let mut found = false;
        for value in object.all("model") {
            editor.replace(value, "\"new\"");
            found = true;
        }
        if !found {
            editor.add_members(&object, &[("model", "\"new\"")]);
        }
        editor.finish().into_owned()
    }

    #[test]
    fn only_the_edited_span_changes() {
        let cases = [
            (
                "a plain value",
                r#"{"model":"a","x":1}"#,
                r#"{"model":"new","x":1}"#,
            ),
            (
                "number spellings, whitespace and unknown keys stay",
                "{ \"t\" : 1.50e+0 ,\n\t\"model\" : \"a\" , \"big\":123456789012345678901234567890, \"u\":\"\\u00e9\"} ",
                "{ \"t\" : 1.50e+0 ,\n\t\"model\" : \"new\" , \"big\":123456789012345678901234567890, \"u\":\"\\u00e9\"} ",
            ),
            (
                "every duplicate is replaced, so no server reads an old one",
                r#"{"model":"a","model":{"x":[1,2]},"mod\u0065l":null}"#,
                r#"{"model":"new","model":"new","mod\u0065l":"new"}"#,
            ),
            (
                "a missing key is added at the end",
                r#"{"x":"}" }"#,
                r#"{"x":"}","model":"new" }"#,
            ),
            (
                "an empty object gets its first member",
                "{ }",
                r#"{"model":"new" }"#,
            ),
            (
                "a nested key of that name is left alone",
                r#"{"x":{"model":"a"},"model":1}"#,
                r#"{"x":{"model":"a"},"model":"new"}"#,
            ),
            (
                "a lone surrogate elsewhere is none of our business",
                r#"{"x":"\ud800","\ud800":1,"model":"a"}"#,
                r#"{"x":"\ud800","\ud800":1,"model":"new"}"#,
            ),
        ];
        for (name, input, want) in cases {
            assert_eq!(set_model(input), want, "{name}");
        }
    }

    #[test]
    fn malformed_text_is_no_object_and_no_array() {
        for text in [
            "",
            "null",
            "[]",
            "{",
            "{\"a\":1,}",
            "{\"a\":1}{",
            "{'a':1}",
            "{\"a\":01}",
            "\u{feff}{}",
        ] {
            assert!(Object::parse(text).is_none(), "{text:?}");
        }
        for text in ["", "{}", "[1,]", "[1", "[1]]", "[\u{1}]"] {
            assert!(elements(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn deep_nesting_does_not_exhaust_the_stack() {
        let deep = format!(
            "{{\"a\":{}{},\"model\":1}}",
            "[".repeat(200_000),
            "]".repeat(200_000)
        );
        assert!(set_model(&deep).ends_with(r#""model":"new"}"#));
    }

    #[test]
    fn strings_decode_with_and_without_escapes() {
        let cases = [
            (r#""plain""#, Some("plain")),
            (r#""""#, Some("")),
            (r#""a\n\u003cb""#, Some("a\n<b")),
            (r#""a"b""#, None),
            (r#"""#, None),
            ("1", None),
            (r#""\ud800""#, None),
        ];
        for (text, want) in cases {
            assert_eq!(string(text).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn the_head_of_a_string_is_cut_between_characters_and_escapes() {
        let rows = [
            ("a short one is whole", r#""ab\n""#, 100, "ab\n"),
            ("no escape is cut", r#""ab\ncd""#, 3, "ab\n"),
            ("no unicode escape is cut", r#""a\u5de5b""#, 2, "a工"),
            ("no character is cut", "\"a工b\"", 2, "a"),
            ("no surrogate pair is cut", r#""\ud83d\ude00x""#, 3, "😀x"),
            ("an escaped backslash is one", r#""\\nx""#, 2, "\\"),
        ];
        for (name, text, max, want) in rows {
            assert_eq!(string_head(text, max).as_deref(), Some(want), "{name}");
        }
        assert_eq!(string_head("1", 5), None);
    }

    #[test]
    fn several_edits_apply_together() {
        let text = r#"{"a":[{"b":1},{}],"c":2}"#;
        let object = Object::parse(text).expect("an object");
        let array = elements(object.last("a").expect("a")).expect("an array");
        let mut editor = Editor::new(text);
        for element in &array {
            let inner = Object::parse(element).expect("an object");
            editor.add_members(&inner, &[("n", "1"), ("m", "2")]);
        }
        editor.replace(object.last("c").expect("c"), "3");
        editor.add_members(&object, &[("d", "4")]);
        assert_eq!(
            editor.finish(),
            r#"{"a":[{"b":1,"n":1,"m":2},{"n":1,"m":2}],"c":3,"d":4}"#
        );
    }
}
