//! The canonical form of a request path, and the patterns that rules match it with.
//!
//! `proxy` calls [`canonical`] before the request checkpoint and sends that form on, so an upstream
//! cannot read another path than the one that was judged.
//!
//! Repaired, because clients do it innocently: escapes of unreserved characters are decoded, other
//! escapes get upper-case hex, `.` and `..` segments are resolved, runs of `/` become one.
//! Refused, because two servers read it as two paths: encoded slashes, backslashes, NUL and control
//! characters, double encoding, overlong or broken UTF-8, `..;x`, a climb above the root.

use std::{borrow::Cow, fmt};

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
            .map(|(h, l)| h << 4 | l)
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

/// A rule's path: exact (`/v1/models`) or everything below (`/v1/*`, which is not `/v1` itself).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern {
    Exact(Box<str>),
    /// Ends with `/`.
    Below(Box<str>),
    /// Begins with `/`: whatever stands before it.
    Ending(Box<str>),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathPatternError {
    #[error(
        "'*' may stand only at the end, after '/', or alone before the first '/': write /v1/*, */info/refs or the exact path"
    )]
    Wildcard,
    #[error("a path pattern holds no query: leave out '?' and '#' and what follows")]
    Query,
    #[error("path is not in the form that is judged: write {0}")]
    NotCanonical(String),
    #[error(transparent)]
    Path(#[from] PathError),
}

impl PathPattern {
    /// Patterns are written in canonical form, else they could never match.
    pub fn parse(input: &str) -> Result<Self, PathPatternError> {
        if let Some(ending) = input.strip_prefix('*').filter(|rest| rest.len() > 1) {
            return match Self::parse(ending)? {
                Self::Exact(ending) => Ok(Self::Ending(ending)),
                Self::Below(_) | Self::Ending(_) => Err(PathPatternError::Wildcard),
            };
        }
        let (path, below) = match input.strip_suffix("/*") {
            Some(head) => (format!("{head}/"), true),
            None => (input.to_owned(), false),
        };
        if path.contains('*') {
            return Err(PathPatternError::Wildcard);
        }
        if path.contains(['?', '#']) {
            return Err(PathPatternError::Query);
        }
        if path.is_empty() {
            return Err(PathError::NotAbsolute.into());
        }
        let clean = canonical(&path)?;
        if clean != path {
            let star = if below { "*" } else { "" };
            return Err(PathPatternError::NotCanonical(format!("{clean}{star}")));
        }
        let path = path.into_boxed_str();
        Ok(if below {
            Self::Below(path)
        } else {
            Self::Exact(path)
        })
    }

    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == &**exact,
            Self::Below(prefix) => path.starts_with(&**prefix),
            Self::Ending(ending) => path.ends_with(&**ending),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => f.write_str(path),
            Self::Below(prefix) => write!(f, "{prefix}*"),
            Self::Ending(ending) => write!(f, "*{ending}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms() {
        let rows = [
            ("a plain path borrows", "/v1/models", "/v1/models"),
            ("empty is the root", "", "/"),
            ("a trailing slash stays", "/a/", "/a/"),
            ("case stays", "/A/b", "/A/b"),
            (
                "unreserved escapes are decoded",
                "/%76%31/%6dodels%2Djson",
                "/v1/models-json",
            ),
            (
                "other escapes get upper-case hex",
                "/a%20b%e4%b8%ad",
                "/a%20b%E4%B8%AD",
            ),
            ("one dot", "/a/./b", "/a/b"),
            ("two dots", "/a/../b", "/b"),
            ("encoded dots", "/a/%2e%2E/b", "/b"),
            ("half-encoded dots", "/a/.%2e/b", "/b"),
            ("a trailing dot segment is a folder", "/a/b/..", "/a/"),
            ("a trailing single dot too", "/a/.", "/a/"),
            ("down and up to the root", "/a/..", "/"),
            ("doubled slashes are one", "//v1//models", "/v1/models"),
            ("doubled slashes at the end", "/v1//", "/v1/"),
            (
                "dots that are a name",
                "/.well-known/...",
                "/.well-known/...",
            ),
            ("parameters of a real segment", "/a;b=c/d", "/a;b=c/d"),
            ("an encoded percent sign", "/100%25", "/100%25"),
            (
                "an encoded percent sign before a letter",
                "/100%25zz",
                "/100%25zz",
            ),
            ("brackets as browsers send them", "/[x]|y", "/[x]|y"),
        ];
        for (what, input, want) in rows {
            let got = canonical(input).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(got, want, "{what}");
            assert_eq!(canonical(&got).as_deref(), Ok(want), "{what}: stable");
        }
        assert!(matches!(canonical("/v1/models"), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn encoded_slashes_are_kept_for_a_server_that_wants_them() {
        use PathError as E;
        for (what, input, want) in [
            (
                "a file of a user's",
                "/api/userdata/workflows%2fa%20b.json",
                Ok("/api/userdata/workflows%2Fa%20b.json"),
            ),
            ("a plain path", "/v1/models", Ok("/v1/models")),
            ("dots between plain slashes", "/a/../b%2Fc", Ok("/b%2Fc")),
            ("dots that are a name", "/a%2F...%2Fb", Ok("/a%2F...%2Fb")),
            ("a climb behind it", "/a%2F..%2Fb", Err(E::HiddenDots)),
            ("a climb in front of it", "/..%2Fb", Err(E::HiddenDots)),
            ("a climb at its end", "/a%2F%2e%2e", Err(E::HiddenDots)),
            ("one dot", "/a%2F.%2Fb", Err(E::HiddenDots)),
            ("encoded twice", "/a%252Fb", Err(E::DoubleEncoded)),
            ("a backslash", "/a%5C..%5Cb", Err(E::ForbiddenEscape)),
        ] {
            let got = canonical_with_slashes(input);
            assert_eq!(got.as_deref(), want.as_deref(), "{what}");
        }
    }

    #[test]
    fn refused() {
        use PathError as E;
        let rows = [
            ("no slash", "v1/models", E::NotAbsolute),
            ("asterisk form", "*", E::NotAbsolute),
            ("encoded slash", "/a%2fb", E::ForbiddenEscape),
            ("encoded slash, upper case", "/a%2Fb", E::ForbiddenEscape),
            ("encoded backslash", "/a%5cb", E::ForbiddenEscape),
            ("encoded NUL", "/a%00", E::ForbiddenEscape),
            ("encoded CR LF", "/a%0d%0aX:y", E::ForbiddenEscape),
            ("encoded DEL", "/a%7f", E::ForbiddenEscape),
            ("backslash", "/a\\..\\b", E::Backslash),
            ("double encoding of dots", "/%252e%252e/b", E::DoubleEncoded),
            ("double encoding of a slash", "/a%252fb", E::DoubleEncoded),
            (
                "double encoding with half a decoded digit pair",
                "/a%25%32f",
                E::DoubleEncoded,
            ),
            ("overlong slash", "/%c0%af", E::NotUtf8),
            ("overlong dots of three bytes", "/%e0%80%ae", E::NotUtf8),
            ("cut sequence", "/%e4%b8/a", E::NotUtf8),
            ("latin-1", "/%ff", E::NotUtf8),
            ("two dots with parameters", "/a/..;x/b", E::DotParameters),
            (
                "encoded dots with parameters",
                "/a/%2e%2e;x/b",
                E::DotParameters,
            ),
            ("one dot with parameters", "/a/.;x/b", E::DotParameters),
            (
                "encoded semicolon after dots",
                "/a/..%3bx/b",
                E::DotParameters,
            ),
            ("above the root", "/../b", E::AboveRoot),
            ("far above the root", "/a/../../b", E::AboveRoot),
            ("percent at the end", "/a%", E::BrokenEscape),
            ("percent without hex", "/a%zz", E::BrokenEscape),
            ("percent with a sign", "/a%+1", E::BrokenEscape),
            ("a space", "/a b", E::InvalidCharacter),
            ("raw UTF-8", "/ü", E::InvalidCharacter),
            ("a query", "/a?b", E::InvalidCharacter),
            ("a fragment", "/a#b", E::InvalidCharacter),
            ("a control character", "/a\r\n", E::InvalidCharacter),
        ];
        for (what, input, want) in rows {
            assert_eq!(canonical(input), Err(want), "{what}: {input:?}");
        }
    }

    #[test]
    fn whatever_comes_the_canonical_form_is_stable_and_plain() {
        let pieces = [
            "/",
            ".",
            "..",
            ";",
            "%",
            "%2",
            "2e",
            "%2e",
            "%2E",
            "%25",
            "%2f",
            "%5c",
            "%00",
            "%c0",
            "%af",
            "%e4%b8%ad",
            "a",
            "Z",
            "~",
            "*",
            "\\",
            " ",
            "ü",
            "?",
            "%3b",
            "%61",
            "//",
            "/../",
        ];
        // A small generator, so that every run tries the same inputs.
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let mut accepted = 0;
        for _ in 0..200_000 {
            let mut input = String::from("/");
            for _ in 0..next() % 8 {
                input.push_str(pieces[usize::try_from(next() % 28).unwrap()]);
            }
            let Ok(form) = canonical(&input) else {
                continue;
            };
            accepted += 1;
            assert_eq!(canonical(&form).as_deref(), Ok(&*form), "{input}");
            let dots = form.split('/').any(|s| s == "." || s == "..");
            assert!(
                form.starts_with('/') && !dots && !form.contains("//"),
                "{input} gave {form}"
            );
            assert!(
                form.bytes().all(|b| b.is_ascii_graphic()),
                "{input} gave {form}"
            );
        }
        assert!(accepted > 10_000, "{accepted}");
    }

    #[test]
    fn patterns() {
        let below = PathPattern::parse("/v1/*").unwrap();
        assert!(below.matches("/v1/models") && below.matches("/v1/"));
        assert!(!below.matches("/v1") && !below.matches("/v10/x"));
        let exact = PathPattern::parse("/v1/models").unwrap();
        assert!(exact.matches("/v1/models") && !exact.matches("/v1/models/"));
        assert!(PathPattern::parse("/*").unwrap().matches("/"));
        let ending = PathPattern::parse("*/info/refs").unwrap();
        assert!(ending.matches("/a/b.git/info/refs") && ending.matches("/info/refs"));
        assert!(!ending.matches("/a/xinfo/refs") && !ending.matches("/a/info/refs/"));
        assert_eq!(ending.to_string(), "*/info/refs");
        use PathPatternError as E;
        let rows = [
            ("/v1*", E::Wildcard),
            ("/*/models", E::Wildcard),
            ("*", E::Wildcard),
            ("*/v1/*", E::Wildcard),
            ("**/v1", E::Wildcard),
            ("*/a//b", E::NotCanonical("/a/b".into())),
            ("/a?b=c", E::Query),
            ("v1", E::Path(PathError::NotAbsolute)),
            ("/a//b", E::NotCanonical("/a/b".into())),
            ("/a/../b/*", E::NotCanonical("/b/*".into())),
            ("", E::Path(PathError::NotAbsolute)),
        ];
        for (input, want) in rows {
            assert_eq!(PathPattern::parse(input), Err(want), "{input}");
        }
    }
}
