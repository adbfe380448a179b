//! Inline import maps of a document, as CSP sources.
//!
//! ComfyUI's page has one inline script, its import map, and it changes with every version. The
//! policy names it by its hash, and every other inline script stays refused. What is not found here
//! is refused by the browser: this fails closed.

use base64::{Engine, engine::general_purpose::STANDARD};
use memchr::memchr;
use sha2::{Digest, Sha256};

/// More than one is already unusual.
const MOST: usize = 8;
/// Attributes of one tag.
const LONGEST_TAG: usize = 4096;

/// A CSP source for one inline script: `'sha256-…'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptHash(String);

impl ScriptHash {
    fn of(text: &[u8]) -> Self {
        let digest = Sha256::digest(as_the_parser_reads(text));
        Self(format!("'sha256-{}'", STANDARD.encode(digest)))
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Hashes of the document's `<script type="importmap">` without `src`, in order.
pub fn import_maps(html: &[u8]) -> Vec<ScriptHash> {
    let mut found = Vec::new();
    let mut rest = html;
    while found.len() < MOST {
        let Some(at) = find_tag(rest, b"<script") else {
            break;
        };
        let tag = rest.get(at + b"<script".len()..).unwrap_or_default();
        let Some(end) = tag_end(tag) else {
            break;
        };
        let text = tag.get(end + 1..).unwrap_or_default();
        let Some(close) = find_tag(text, b"</script") else {
            break;
        };
        let inside = text.get(..close).unwrap_or_default();
        if is_import_map(tag.get(..end).unwrap_or_default()) {
            let hash = ScriptHash::of(inside);
            if !found.contains(&hash) {
                found.push(hash);
            }
        }
        rest = text.get(close..).unwrap_or_default();
    }
    found
}

/// Where a tag of this name begins: any case, and the name ends there.
fn find_tag(html: &[u8], name: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr(b'<', html.get(from..)?)?;
        let here = html.get(at..)?;
        let same = here
            .get(..name.len())
            .is_some_and(|n| n.eq_ignore_ascii_case(name));
        let ends = here
            .get(name.len())
            .is_some_and(|b| b.is_ascii_whitespace() || matches!(b, b'>' | b'/'));
        if same && ends {
            return Some(at);
        }
        from = at + 1;
    }
}

/// The `>` that ends a tag, outside of quoted values.
fn tag_end(tag: &[u8]) -> Option<usize> {
    let mut quote = None;
    for (at, b) in tag.iter().enumerate().take(LONGEST_TAG) {
        match (quote, b) {
            (None, b'>') => return Some(at),
            (None, b'"' | b'\'') => quote = Some(*b),
            (Some(open), b) if open == *b => quote = None,
            _ => {}
        }
    }
    None
}

fn is_import_map(attributes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(attributes).to_ascii_lowercase();
    let (mut kind, mut external) = (None, false);
    for (name, value) in Attributes(&text) {
        match name {
            // The first of two counts, as for the browser.
            "type" => kind = kind.or(Some(value)),
            "src" => external = true,
            _ => {}
        }
    }
    kind.is_some_and(|k| k.trim() == "importmap") && !external
}

/// `name`, `name=value`, `name="value"`, one after the other.
struct Attributes<'t>(&'t str);

impl<'t> Iterator for Attributes<'t> {
    type Item = (&'t str, &'t str);

    fn next(&mut self) -> Option<Self::Item> {
        let text = self
            .0
            .trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if text.is_empty() {
            return None;
        }
        let name_end = text
            .char_indices()
            .skip(1)
            .find(|(_, c)| c.is_ascii_whitespace() || matches!(c, '=' | '/'))
            .map_or(text.len(), |(at, _)| at);
        let (name, after) = text.split_at(name_end);
        let Some(value) = after
            .trim_start_matches(|c: char| c.is_ascii_whitespace())
            .strip_prefix('=')
        else {
            self.0 = after;
            return Some((name, ""));
        };
        let value = value.trim_start_matches(|c: char| c.is_ascii_whitespace());
        let quoted = value.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (value, rest) = match quoted {
            Some(quote) => {
                let inside = value.get(1..).unwrap_or_default();
                inside.split_once(quote).unwrap_or((inside, ""))
            }
            None => {
                let end = value
                    .find(|c: char| c.is_ascii_whitespace())
                    .unwrap_or(value.len());
                value.split_at(end)
            }
        };
        self.0 = rest;
        Some((name, value))
    }
}

/// The HTML parser turns every line end into a line feed before anything is hashed.
fn as_the_parser_reads(text: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if memchr(b'\r', text).is_none() {
        return text.into();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr(b'\r', rest) {
        out.extend_from_slice(rest.get(..at).unwrap_or_default());
        out.push(b'\n');
        let after = rest.get(at + 1..).unwrap_or_default();
        rest = after.strip_prefix(b"\n").unwrap_or(after);
    }
    out.extend_from_slice(rest);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(html: &str) -> Vec<String> {
        let found = import_maps(html.as_bytes());
        found.iter().map(|h| h.as_str().to_owned()).collect()
    }

    fn of(text: &str) -> String {
        ScriptHash::of(text.as_bytes()).as_str().to_owned()
    }

    #[test]
    fn import_maps_are_found_and_other_scripts_are_not() {
        let map = r#"{"imports":{"vue":"./v.js"}}"#;
        for (name, html, want) in [
            (
                "as ComfyUI writes it",
                format!("<!doctype html><head><script type=\"importmap\">{map}</script>"),
                vec![of(map)],
            ),
            (
                "other quotes, case and order",
                format!("<SCRIPT id=x TYPE='ImportMap' data-a=\"<>\" >{map}</SCRIPT >"),
                vec![of(map)],
            ),
            (
                "without quotes",
                format!("<script type=importmap>{map}</script>"),
                vec![of(map)],
            ),
            (
                "blanks and line breaks are part of it",
                format!("<script\ntype=\"importmap\">\n {map}\n</script>"),
                vec![of(&format!("\n {map}\n"))],
            ),
            (
                "line ends are those of the parser",
                "<script type=importmap>a\r\nb\rc</script>".into(),
                vec![of("a\nb\nc")],
            ),
            (
                "two of them",
                "<script type=importmap>1</script><script type=importmap>2</script>".into(),
                vec![of("1"), of("2")],
            ),
            ("a plain script", "<script>alert(1)</script>".into(), vec![]),
            (
                "a module",
                "<script type=\"module\">alert(1)</script>".into(),
                vec![],
            ),
            (
                "a module whose text names an import map",
                "<script type=module>'<script type=importmap>'</script>".into(),
                vec![],
            ),
            (
                "an import map elsewhere",
                "<script type=importmap src=a.json></script>".into(),
                vec![],
            ),
            (
                "the word in another attribute",
                "<script data-type=importmap x=\"type=importmap\">a</script>".into(),
                vec![],
            ),
            (
                "the first of two types counts",
                "<script type=module type=importmap>a</script>".into(),
                vec![],
            ),
            (
                "another element",
                "<scripty type=importmap>a</script>".into(),
                vec![],
            ),
            (
                "one without an end",
                "<script type=importmap>a".into(),
                vec![],
            ),
            (
                "a tag without an end",
                "<script type=\"importmap>a</script>".into(),
                vec![],
            ),
        ] {
            assert_eq!(hashes(&html), want, "{name}");
        }
    }

    #[test]
    fn a_hash_is_the_one_that_a_browser_makes() {
        // From the CSP specification's own example text, made with openssl.
        assert_eq!(
            of("alert('Hello, world.');"),
            "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='"
        );
    }

    #[test]
    fn a_flood_of_them_is_bounded() {
        let html: String = (0..1000)
            .map(|n| format!("<script type=importmap>{n}</script>"))
            .collect();
        assert_eq!(hashes(&html).len(), MOST);
    }
}
