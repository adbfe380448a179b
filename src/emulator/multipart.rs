//! `multipart/form-data` as browsers send it (RFC 7578): strict, bounded, without copies.
//!
//! Used for the one upload of the page (WIRE.md 16). Takes the whole body; no preamble, no nested
//! multiparts, no transfer encodings, since no browser sends them.

use memchr::memmem;

/// Bounds: far above what a page's form has.
const MAX_PARTS: usize = 16;
const MAX_PART_HEAD: usize = 8 << 10;
const MAX_PART_HEADERS: usize = 16;
/// RFC 2046 5.1.1.
const MAX_BOUNDARY: usize = 70;

#[derive(Debug, PartialEq, Eq)]
pub struct Part<'a> {
    pub name: String,
    pub filename: Option<String>,
    pub content: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    #[error("content type is not multipart/form-data with a boundary")]
    ContentType,
    #[error("form is cut short or its boundaries do not match")]
    Framing,
    #[error("a part of the form has no readable content-disposition")]
    PartHead,
    #[error("form has more than 16 parts")]
    TooManyParts,
}

/// Splits a body into its parts, in order.
pub fn parse<'a>(content_type: &str, body: &'a [u8]) -> Result<Vec<Part<'a>>, MultipartError> {
    let boundary = boundary(content_type).ok_or(MultipartError::ContentType)?;
    let first = format!("--{boundary}");
    let delimiter = format!("\r\n--{boundary}");
    let finder = memmem::Finder::new(delimiter.as_bytes());

    let mut rest = body
        .strip_prefix(first.as_bytes())
        .ok_or(MultipartError::Framing)?;
    let mut parts = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        if parts.len() == MAX_PARTS {
            return Err(MultipartError::TooManyParts);
        }
        let part = rest.strip_prefix(b"\r\n").ok_or(MultipartError::Framing)?;
        let window = part.get(..MAX_PART_HEAD).unwrap_or(part);
        let head_len = memmem::find(window, b"\r\n\r\n").ok_or(MultipartError::PartHead)?;
        let (head, after) = part.split_at(head_len);
        let after = after.get(4..).ok_or(MultipartError::Framing)?;
        let end = finder.find(after).ok_or(MultipartError::Framing)?;
        let (content, next) = after.split_at(end);
        let (name, filename) = disposition(head).ok_or(MultipartError::PartHead)?;
        parts.push(Part {
            name,
            filename,
            content,
        });
        rest = next.get(delimiter.len()..).ok_or(MultipartError::Framing)?;
    }
}

fn boundary(content_type: &str) -> Option<String> {
    let (kind, params) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = param(params, "boundary")?;
    let is_boundary = !value.is_empty()
        && value.len() <= MAX_BOUNDARY
        && !value.ends_with(' ')
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b));
    is_boundary.then_some(value)
}

/// `name` and `filename` of a part's head.
fn disposition(head: &[u8]) -> Option<(String, Option<String>)> {
    let head = std::str::from_utf8(head).ok()?;
    let mut found = None;
    for (n, line) in head.split("\r\n").enumerate() {
        if n == MAX_PART_HEADERS || line.contains(['\r', '\n', '\0']) {
            return None;
        }
        let (header, value) = line.split_once(':')?;
        if !header.trim().eq_ignore_ascii_case("content-disposition") {
            continue;
        }
        let (kind, params) = value.split_once(';')?;
        if !kind.trim().eq_ignore_ascii_case("form-data") || found.is_some() {
            return None;
        }
        found = Some((param(params, "name")?, param(params, "filename")));
    }
    found
}

/// Value of `wanted` in `; a=b; c="d;e"`. Browsers write a quote in a value as `%22`; a backslash
/// escape is taken as well.
fn param(params: &str, wanted: &str) -> Option<String> {
    let mut rest = params.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let (value, tail) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                let (value, tail) = after.split_at(end);
                (value.trim().to_owned(), tail)
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        let tail = tail.trim_start();
        rest = if tail.is_empty() {
            tail
        } else {
            tail.strip_prefix(';')?.trim_start()
        };
    }
    None
}

/// Text up to the closing quote, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=----WebKitFormBoundaryAbC";

    fn form(parts: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for part in parts {
            out.extend_from_slice(b"------WebKitFormBoundaryAbC\r\n");
            out.extend_from_slice(part);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"------WebKitFormBoundaryAbC--\r\n");
        out
    }

    #[test]
    fn a_browsers_form_is_read() {
        let body = form(&[
            b"Content-Disposition: form-data; name=\"file\"; filename=\"a;b \xe7\x94\xbb.png\"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n--\r\n\x00",
            b"content-disposition:form-data;name=type\r\n\r\n",
        ]);
        assert_eq!(
            parse(TYPE, &body),
            Ok(vec![
                Part {
                    name: "file".into(),
                    filename: Some("a;b 画.png".into()),
                    content: b"\x89PNG\r\n--\r\n\x00",
                },
                Part {
                    name: "type".into(),
                    filename: None,
                    content: b"",
                },
            ])
        );
        let quoted = "Multipart/Form-Data; charset=utf-8; boundary=\"--x y\"";
        let body =
            b"----x y\r\nContent-Disposition: form-data; name=\"a\\\"b\"\r\n\r\n1\r\n----x y--";
        assert_eq!(
            parse(quoted, body).map(|p| p[0].name.clone()),
            Ok("a\"b".into())
        );
    }

    #[test]
    fn a_broken_form_is_refused() {
        let head = b"Content-Disposition: form-data; name=\"file\"\r\n\r\nx";
        let good = form(&[head]);
        let long_head = [b"X: ".as_slice(), &vec![b'a'; MAX_PART_HEAD], b"\r\n", head].concat();
        let many: Vec<&[u8]> = vec![head; MAX_PARTS + 1];
        for (row, content_type, body, want) in [
            ("json", "application/json", good.clone(), MultipartError::ContentType),
            ("no boundary", "multipart/form-data", good.clone(), MultipartError::ContentType),
            (
                "an empty boundary",
                "multipart/form-data; boundary=\"\"",
                good.clone(),
                MultipartError::ContentType,
            ),
            (
                "a boundary of 71 characters",
                &format!("multipart/form-data; boundary={}", "a".repeat(71)),
                good.clone(),
                MultipartError::ContentType,
            ),
            (
                "another boundary",
                "multipart/form-data; boundary=other",
                good.clone(),
                MultipartError::Framing,
            ),
            ("empty body", TYPE, Vec::new(), MultipartError::Framing),
            ("a preamble", TYPE, [b"hi\r\n", &good[..]].concat(), MultipartError::Framing),
            ("cut before the end", TYPE, good[..good.len() - 10].to_vec(), MultipartError::Framing),
            (
                "no head",
                TYPE,
                form(&[b"x"]),
                MultipartError::PartHead,
            ),
            (
                "no name",
                TYPE,
                form(&[b"Content-Disposition: form-data\r\n\r\nx"]),
                MultipartError::PartHead,
            ),
            (
                "two dispositions",
                TYPE,
                form(&[b"Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b\r\n\r\nx"]),
                MultipartError::PartHead,
            ),
            (
                "a quote that never closes",
                TYPE,
                form(&[b"Content-Disposition: form-data; name=\"a\r\n\r\nx"]),
                MultipartError::PartHead,
            ),
            ("an endless head", TYPE, form(&[&long_head]), MultipartError::PartHead),
            ("too many parts", TYPE, form(&many), MultipartError::TooManyParts),
        ] {
            assert_eq!(parse(content_type, &body), Err(want), "{row}");
        }
    }

    #[test]
    fn every_cut_of_a_form_is_survived() {
        let body =
            form(&[b"Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nx"]);
        for end in 0..body.len() {
            let _ = parse(TYPE, &body[..end]);
            let _ = parse(TYPE, &body[end..]);
        }
    }
}
