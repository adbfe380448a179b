//! Where the parts of well-formed JSON begin and end, found without checking it a second time.
//!
//! A request's body is checked once, as a whole, by [`super::edit::Object::parse`]; going into a
//! prompt of tens of kilobytes again, and again for each message, cost most of the time that we add
//! before the first token. Text that is not well-formed gives `None` or parts that are no JSON,
//! never a panic; so only slices of a parsed object may come in here.

/// Elements of the array `text`.
pub(super) fn elements(text: &str) -> Option<Vec<&str>> {
    let mut rest = skip_space(text).strip_prefix('[')?;
    let mut found = Vec::new();
    rest = skip_space(rest);
    if rest.starts_with(']') {
        return Some(found);
    }
    loop {
        let (element, after) = value(rest)?;
        found.push(element);
        match next(after)? {
            Next::More(after) => rest = after,
            Next::End(b']') => return Some(found),
            Next::End(_) => return None,
        }
    }
}

/// Members of the object `text`: keys with their quotes, and values.
pub(super) fn members(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut rest = skip_space(text).strip_prefix('{')?;
    let mut found = Vec::new();
    rest = skip_space(rest);
    if rest.starts_with('}') {
        return Some(found);
    }
    loop {
        let (key, after) = value(rest)?;
        let (value, after) = value(skip_space(after).strip_prefix(':')?)?;
        found.push((key, value));
        match next(after)? {
            Next::More(after) => rest = after,
            Next::End(b'}') => return Some(found),
            Next::End(_) => return None,
        }
    }
}

enum Next<'a> {
    More(&'a str),
    End(u8),
}

fn next(after: &str) -> Option<Next<'_>> {
    let after = skip_space(after);
    match after.strip_prefix(',') {
        Some(after) => Some(Next::More(after)),
        None => after.bytes().next().map(Next::End),
    }
}

fn skip_space(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\n', '\r'])
}

/// The value that `text` begins with, and what follows it.
fn value(text: &str) -> Option<(&str, &str)> {
    let text = skip_space(text);
    let bytes = text.as_bytes();
    let length = match bytes.first()? {
        b'"' => string_length(bytes)?,
        b'{' | b'[' => nested_length(bytes)?,
        _ => bytes
            .iter()
            .position(|b| b",]} \t\n\r".contains(b))
            .unwrap_or(bytes.len()),
    };
    text.split_at_checked(length)
}

/// Bytes of the string that `bytes` begins with, quotes included.
fn string_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
}

/// Bytes of the object or array that `bytes` begins with.
fn nested_length(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0usize);
    loop {
        match bytes.get(at)? {
            b'"' => {
                at += string_length(bytes.get(at..)?)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

/// The beginning of the JSON string `text`, decoded: at most about `max` bytes of it as written.
pub(super) fn string_head(text: &str, max: usize) -> Option<String> {
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
    let decode = |raw: &str| serde_json::from_str(&format!("\"{raw}\"")).ok();
    // Cut between the halves of a surrogate pair, it does not decode: then as a whole.
    decode(inner.get(..end)?).or_else(|| serde_json::from_str(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::edit;

    #[test]
    fn parts_are_where_a_checking_parser_finds_them() {
        for text in [
            "[]",
            " [ ] ",
            "[1]",
            "[ 1 , -2.5e+3,true , null,\"a\" ]",
            r#"["\\", "\"", "a,]b", "\\\"]", "\u005d"]"#,
            r#"[{"a":[1,{"b":"]}"}]} , [[],[[ ]]], {} ]"#,
            "[\"äöü 工作流\",\n\t{\"k\":\"工\"}\r\n]",
        ] {
            let checked: Option<Vec<&str>> = edit::elements(text);
            assert_eq!(elements(text), checked, "{text}");
        }
        for text in [
            "{}",
            " {\n} ",
            r#"{"a":1}"#,
            r#"{ "a" : 1 , "a":"}\"" ,"\u0061": {"x":["}"]}, "工":null }"#,
        ] {
            let object = edit::Object::parse(text).expect(text);
            let checked: Vec<&str> = object.members().iter().map(|m| m.value).collect();
            let found: Vec<&str> = members(text).expect(text).iter().map(|m| m.1).collect();
            assert_eq!(found, checked, "{text}");
        }
    }

    #[test]
    fn text_that_is_no_json_is_survived() {
        for text in [
            "", "[", "{", "[1", "[\"", "[\"\\", "{\"a\"", "{\"a\":", "[}", "{]", "[[}", "[,]",
        ] {
            let _ = (elements(text), members(text));
        }
        assert_eq!(elements("{}"), None);
        assert_eq!(members("[]"), None);
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
}
