//! Canonical forms and refusals, as tables, and the form that every accepted path has.

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
        (
            "a letter whose second byte is the lowest there is",
            "/%c4%80",
            "/%C4%80",
        ),
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
        ("a letter with another in it", "/%c4%41%80", E::NotUtf8),
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
    for _ in 0..50_000 {
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
    assert!(accepted > 2_500, "{accepted}");
}
