//! The canonical form of a request path, and the patterns that rules match it with.
//!
//! `proxy` calls [`canonical`] before the request checkpoint and sends that form on, so an upstream
//! cannot read another path than the one that was judged.
//!
//! Repaired, because clients do it innocently: escapes of unreserved characters are decoded, other
//! escapes get upper-case hex, `.` and `..` segments are resolved, runs of `/` become one.
//! Refused, because two servers read it as two paths: encoded slashes, backslashes, NUL and control
//! characters, double encoding, overlong or broken UTF-8, `..;x`, a climb above the root.

use std::borrow::Cow;

mod pattern;

pub use pattern::{PathPattern, PathPatternError};

/// Why a path is refused; each message says what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("path does not begin with '/': write it from the root")]
    NotAbsolute,
    #[error("path holds a character that must be percent-encoded: encode it")]
    InvalidCharacter,
    #[error("path holds a backslash: write '/'")]
    Backslash,
    #[error("path holds '%' without two hex digits after it: write '%25' for a percent sign")]
    BrokenEscape,
    #[error("path holds an encoded slash, backslash or control character: write it plainly")]
    ForbiddenEscape,
    #[error("path is percent-encoded twice: encode it once")]
    DoubleEncoded,
    #[error("path holds bytes that are not UTF-8: encode it as UTF-8")]
    NotUtf8,
    #[error("path has parameters on a dot segment: write the path without '..;'")]
    DotParameters,
    #[error("path climbs above the root: write it without '..'")]
    AboveRoot,
    #[error("path holds '..' beside an encoded slash: write it without '..'")]
    HiddenDots,
}

/// The canonical form of an origin-form path (no query, no fragment). Borrows when nothing changes.
/// An empty path is `/`.
pub fn canonical(path: &str) -> Result<Cow<'_, str>, PathError> {
    canonical_form(path, Slashes::Refused)
}

/// As [`canonical`], with encoded slashes kept as they are: ComfyUI names a file of a user's in one
/// segment, `/userdata/workflows%2Fa.json`. A `..` beside one is refused, for the server decodes it.
pub fn canonical_with_slashes(path: &str) -> Result<Cow<'_, str>, PathError> {
    let canonical = canonical_form(path, Slashes::Kept)?;
    if memchr::memchr(b'%', canonical.as_bytes()).is_none() {
        return Ok(canonical);
    }
    let hides_dots = |segment: &str| {
        segment.contains("%2F") && segment.split("%2F").any(|part| matches!(part, "." | ".."))
    };
    if canonical.split('/').any(hides_dots) {
        return Err(PathError::HiddenDots);
    }
    Ok(canonical)
}

/// What becomes of `%2F`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slashes {
    Refused,
    Kept,
}

fn canonical_form(path: &str, slashes: Slashes) -> Result<Cow<'_, str>, PathError> {
    if path.is_empty() {
        return Ok(Cow::Borrowed("/"));
    }
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    if is_plain(path) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode_unreserved(path, slashes)?;
    resolve_segments(&decoded).map(Cow::Owned)
}

/// True for the common path: nothing to decode, to resolve or to refuse.
fn is_plain(path: &str) -> bool {
    let mut previous = 0u8;
    for b in path.bytes() {
        let fine = match b {
            b'/' | b'.' => previous != b'/',
            b => is_unreserved(b) || matches!(b, b':' | b'@' | b',' | b'=' | b'+' | b'~'),
        };
        if !fine {
            return false;
        }
        previous = b;
    }
    true
}

fn is_unreserved(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~')
}

/// What may stand in a path unencoded: RFC 3986 `pchar`, and what browsers leave as it is.
fn may_stand(b: u8) -> bool {
    is_unreserved(b) || b"/:@!$&'()*+,;=[]|".contains(&b)
}

fn decode_unreserved(path: &str, slashes: Slashes) -> Result<String, PathError> {
    let mut out = String::with_capacity(path.len());
    // Decoded bytes outside ASCII, to be checked as UTF-8 in one piece.
    let mut high: Vec<u8> = Vec::new();
    let mut rest = path.as_bytes();
    while let [b, tail @ ..] = rest {
        if *b != b'%' {
            end_of_high(&mut high)?;
            match *b {
                b'\\' => return Err(PathError::Backslash),
                b if may_stand(b) => out.push(char::from(b)),
                _ => return Err(PathError::InvalidCharacter),
            }
            rest = tail;
            continue;
        }
        let [h, l, tail @ ..] = tail else {
            return Err(PathError::BrokenEscape);
        };
        let byte = hex(*h)
            .zip(hex(*l))
            .map(|(h, l)| (h << 4) + l)
            .ok_or(PathError::BrokenEscape)?;
        if byte < 0x80 {
            end_of_high(&mut high)?;
        }
        match byte {
            b'/' if slashes == Slashes::Kept => out.push_str("%2F"),
            b'/' | b'\\' | 0x00..=0x1f | 0x7f => return Err(PathError::ForbiddenEscape),
            b if is_unreserved(b) => out.push(char::from(b)),
            b => {
                if b >= 0x80 {
                    high.push(b);
                }
                out.push('%');
                out.push(char::from(h.to_ascii_uppercase()));
                out.push(char::from(l.to_ascii_uppercase()));
            }
        }
        rest = tail;
    }
    end_of_high(&mut high)?;
    if is_double_encoded(&out) {
        return Err(PathError::DoubleEncoded);
    }
    Ok(out)
}

/// Asked of the decoded form, where `%25%32f` has become `%252f`.
fn is_double_encoded(path: &str) -> bool {
    let is_hex = |b: &u8| b.is_ascii_hexdigit();
    path.split("%25")
        .skip(1)
        .any(|after| matches!(after.as_bytes(), [h, l, ..] if is_hex(h) && is_hex(l)))
}

/// Overlong forms, surrogates and cut sequences are not UTF-8 for Rust's checker.
fn end_of_high(high: &mut Vec<u8>) -> Result<(), PathError> {
    let valid = std::str::from_utf8(high).is_ok();
    high.clear();
    if valid {
        Ok(())
    } else {
        Err(PathError::NotUtf8)
    }
}

fn hex(b: u8) -> Option<u8> {
    char::from(b)
        .to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
}

fn resolve_segments(path: &str) -> Result<String, PathError> {
    let mut kept: Vec<&str> = Vec::new();
    // Whether the path ends in a folder: a trailing slash or a trailing dot segment.
    let mut folder = false;
    for segment in path.split('/').skip(1) {
        folder = false;
        match segment {
            "" | "." => folder = true,
            ".." => {
                kept.pop().ok_or(PathError::AboveRoot)?;
                folder = true;
            }
            s if has_dot_parameters(s) => {
                return Err(PathError::DotParameters);
            }
            s => kept.push(s),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in &kept {
        out.push('/');
        out.push_str(segment);
    }
    if folder || out.is_empty() {
        out.push('/');
    }
    Ok(out)
}

/// Some servers drop `;x` and then see a dot segment; some decode `%3B` before they do.
fn has_dot_parameters(segment: &str) -> bool {
    let after = segment
        .strip_prefix("..")
        .or_else(|| segment.strip_prefix('.'));
    after.is_some_and(|rest| rest.starts_with(';') || rest.starts_with("%3B"))
}

#[cfg(test)]
mod tests;
