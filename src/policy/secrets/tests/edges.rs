//! Where a shape begins and ends to the byte, and when what was held back is let go.

use super::*;

/// Bytes that are let go of a first piece behind which more may come.
fn let_go(piece: &str) -> Result<usize, Kind> {
    let mut scanner = Scanner::new(detector(&[]), SecretMode::Block, Spot::Body, host("o.test"));
    scanner
        .push(piece.as_bytes(), false)
        .map(|seen| seen.bytes.len())
}

#[test]
fn what_can_be_no_secret_any_more_is_let_go_at_once() {
    let aws = format!("AKIA{}", run(17));
    let far = format!("civitai          {}", "q".repeat(32));
    for text in [
        "sk-short qq",
        &aws,
        "-----BEGIN CERTIFICATE----- qq",
        "eyJhbGciOi.qq",
        "eyJ.qq",
        &far,
    ] {
        assert_eq!(let_go(text), Ok(text.len()), "{text}");
    }
    for (text, gone) in [
        ("qq sk-", 3),
        ("qq sk-AAAA", 3),
        ("qq eyJhbGciOi", 3),
        ("qq eyJhbGciOi.", 3),
        ("qq eyJhbGciOi.eyJ", 3),
        ("qq -----BEGIN RSA", 3),
        ("qq civitai: qq", 3),
    ] {
        assert_eq!(let_go(text), Ok(gone), "{text}");
    }
}

#[test]
fn each_shape_has_its_shortest_form() {
    let jwt =
        |header: usize, payload: usize| format!("eyJ{}.eyJ{}", run(header - 3), run(payload - 3));
    let rows = [
        ("a header of ten and a payload of ten", jwt(10, 10), true),
        ("a header of nine", jwt(9, 30), false),
        ("a payload of nine", jwt(30, 9), false),
        ("a key of twenty", format!("sk-{}", run(20)), true),
        ("a key of nineteen", format!("sk-{}", run(19)), false),
        ("exactly as many", format!("npm_{}", run(36)), true),
        ("one more", format!("npm_{}", run(37)), false),
        ("one less", format!("npm_{}", run(35)), false),
        ("a named one", format!("civitai={}", hex(32)), true),
        ("a named one of 31", format!("civitai={}", hex(31)), false),
        ("a named one of 33", format!("civitai={}", hex(33)), false),
        (
            "a named one as near as it may be",
            format!("civitai{}{}", ".".repeat(39), hex(32)),
            true,
        ),
        (
            "a named one too far away",
            format!("civitai{}{}", ".".repeat(40), hex(32)),
            false,
        ),
    ];
    for (name, text, secret) in rows {
        assert_eq!(found(&text).is_some(), secret, "{name}: {text}");
    }
}

/// `\\n`, `%3D` and `\\u000a` end a word; what only looks like them does not.
#[test]
fn a_key_begins_behind_a_whole_escape_only() {
    let key = format!("sk-{}", run(20));
    for (before, begins) in [
        ("\\n", true),
        ("\\q", false),
        ("an", false),
        ("%3D", true),
        ("%D", false),
        ("3D", false),
        ("\\u000a", true),
        ("\\x000a", false),
        ("xu000a", false),
        ("\\\\u00a", false),
    ] {
        let got = found(&format!("{before}{key}"));
        assert_eq!(got.is_some(), begins, "{before:?}");
    }
}

#[test]
fn a_named_token_is_masked_to_its_last_byte_and_nothing_around_it() {
    let token = hex(32);
    let text = format!("civitai: \"{token}\", \"page\": 1, {}", "qq ".repeat(40));
    let (sent, kinds) = body(&[], SecretMode::Redact, &[text.as_bytes()]).unwrap();
    assert_eq!(sent, text.replace(&token, &"*".repeat(token.len())));
    assert_eq!(kinds, [Kind::Civitai]);
}

#[test]
fn a_token_is_masked_up_to_the_longest_and_refused_beyond() {
    let redact = |pieces: &[&[u8]]| body(&[], SecretMode::Redact, pieces);
    let most = pattern::MAX_TOKEN;
    let filler = ". ".repeat(1500);
    for (length, masked) in [(most - 1, true), (most, false)] {
        let token = format!("sk-{}", run(length - 3));
        // Nothing comes behind it, so it ends there.
        assert_eq!(redact(&[token.as_bytes()]).is_ok(), masked, "{length}");
        // Not known to end yet.
        assert_eq!(let_go(&token).is_ok(), masked, "{length}, unended");
    }
    // What counts is its own length, not where it stands.
    let token = format!("sk-{}", run(1500));
    let (first, second) = token.split_at(1200);
    let text = format!("{filler}{first}");
    let (sent, kinds) = redact(&[text.as_bytes(), second.as_bytes(), b" qq"]).unwrap();
    assert_eq!(sent, format!("{filler}{} qq", "*".repeat(token.len())));
    assert_eq!(kinds, [Kind::OpenAi]);
    let whole = format!("{filler}{token}");
    let (sent, _) = redact(&[whole.as_bytes()]).unwrap();
    assert_eq!(sent, format!("{filler}{}", "*".repeat(token.len())));
}

/// At its maker's a token passes, and what stands behind it is looked at all the same.
#[test]
fn behind_a_token_at_home_the_next_one_is_found() {
    let (hf, github) = (format!("hf_{}", run(34)), format!("ghp_{}", run(36)));
    let at = |to: &str, value: &str| {
        let value = value.as_bytes();
        header(&detector(&[]), SecretMode::Block, &host(to), "x-a", value)
            .map(|seen| seen.is_some())
    };
    assert_eq!(at("hf.co", &hf), Ok(false));
    assert_eq!(at("hf.co", &format!("{hf} {github}")), Err(Kind::GitHub));
    assert_eq!(at("hf.co", &format!("{hf},{hf}")), Ok(false));
    assert_eq!(
        at("github.com", &format!("{hf},{github}")),
        Err(Kind::HuggingFace)
    );
}
