//! Tokens here are put together while the test runs, so that no scanner takes this file for a leak.

use std::sync::Arc;

mod edges;

use super::*;
use crate::{net::Host, policy::Terms};

fn detector(own: &[&str]) -> Arc<Detector> {
    Arc::new(Detector::new(SecretMode::Block, own.iter().copied()))
}

fn host(name: &str) -> Host {
    Host::parse(name).unwrap()
}

/// `n` characters that every token alphabet holds.
fn run(n: usize) -> String {
    "A1B2C3D4E5F6G7H8".chars().cycle().take(n).collect()
}

fn hex(n: usize) -> String {
    "0a1b2c3d4e5f6789".chars().cycle().take(n).collect()
}

fn body(own: &[&str], mode: SecretMode, pieces: &[&[u8]]) -> Result<(String, Vec<Kind>), Kind> {
    let mut scanner = Scanner::new(detector(own), mode, Spot::Body, host("o.test"));
    let (mut sent, mut masked) = (Vec::new(), Vec::new());
    for (i, piece) in pieces.iter().enumerate() {
        let seen = scanner.push(piece, i + 1 == pieces.len())?;
        sent.extend(seen.bytes);
        masked.extend(seen.masked);
    }
    Ok((String::from_utf8_lossy(&sent).into_owned(), masked))
}

fn found(text: &str) -> Option<Kind> {
    body(&[], SecretMode::Block, &[text.as_bytes()]).err()
}

fn samples() -> Vec<(Kind, String)> {
    let jwt = format!("eyJ{0}.eyJ{0}.{0}", run(30));
    vec![
        (Kind::OpenAi, format!("sk-{}", run(48))),
        (Kind::OpenAi, format!("sk-proj-{}_-{}", run(40), run(40))),
        (Kind::Anthropic, format!("sk-ant-api03-{}-AA", run(93))),
        (Kind::OpenRouter, format!("sk-or-v1-{}", hex(64))),
        (Kind::HuggingFace, format!("hf_{}", run(34))),
        (Kind::GitHub, format!("ghp_{}", run(36))),
        (Kind::GitHub, format!("github_pat_{}", run(82))),
        (Kind::GitLab, format!("glpat-{}", run(20))),
        (Kind::Groq, format!("gsk_{}", run(52))),
        (Kind::Xai, format!("xai-{}", run(80))),
        (Kind::Replicate, format!("r8_{}", run(37))),
        (Kind::Npm, format!("npm_{}", run(36))),
        (Kind::PyPi, format!("pypi-AgEI{}", run(100))),
        (Kind::Aws, format!("AKIA{}", run(16))),
        (
            Kind::Aws,
            format!("aws_secret_access_key = {}/+{}", run(19), run(19)),
        ),
        (Kind::Google, format!("AIza{}", run(35))),
        (Kind::Slack, format!("xoxb-{}-{}", run(12), run(24))),
        (Kind::Stripe, format!("sk_live_{}", run(24))),
        (Kind::Civitai, format!("CIVITAI_API_TOKEN={}", hex(32))),
        (
            Kind::PrivateKey,
            format!("-----BEGIN {} KEY-----\nMII", "RSA PRIVATE"),
        ),
        (
            Kind::PrivateKey,
            format!("-----BEGIN {} KEY-----", "PRIVATE"),
        ),
        (Kind::Jwt, jwt),
    ]
}

#[test]
fn every_kind_is_found_wherever_it_stands() {
    for (kind, token) in samples() {
        for (name, text) in [
            ("alone", token.clone()),
            ("in JSON", format!("{{\"key\": \"{token}\"}}")),
            (
                "behind an escaped line feed",
                format!("\"my key:\\n{token}\""),
            ),
            ("behind an escaped equals sign", format!("key%3D{token}")),
            ("at the end of a sentence", format!("it is {token}.")),
        ] {
            assert_eq!(found(&text), Some(kind), "{} {name}", kind.as_str());
        }
    }
}

#[test]
fn wherever_a_text_is_cut_the_secret_is_found_and_no_byte_of_it_is_sent() {
    for (kind, token) in samples() {
        let text = format!("before {token} after");
        for cut in 1..text.len() {
            let (a, b) = text.as_bytes().split_at(cut);
            let mut scanner =
                Scanner::new(detector(&[]), SecretMode::Block, Spot::Body, host("o.test"));
            let first = scanner.push(a, false);
            let sent = first.as_ref().map(|s| s.bytes.len()).unwrap_or_default();
            let result = first.and_then(|_| scanner.push(b, true));
            assert_eq!(result.err(), Some(kind), "{} cut at {cut}", kind.as_str());
            // A named token may begin behind its name.
            let begin = match kind {
                Kind::Civitai | Kind::Aws => text.rfind(['=', ' ', 'A']).unwrap_or(0).max(7),
                _ => 7,
            };
            assert!(
                sent <= begin + 40,
                "{} cut at {cut}: sent {sent}",
                kind.as_str()
            );
            if !matches!(kind, Kind::Civitai | Kind::Aws) {
                assert!(sent <= 7, "{} cut at {cut}: sent {sent}", kind.as_str());
            }
        }
        let one_by_one: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        let result = body(&[], SecretMode::Block, &one_by_one);
        assert_eq!(result.err(), Some(kind), "{} byte by byte", kind.as_str());
    }
}

#[test]
fn what_only_looks_alike_passes_unchanged() {
    let long_word = format!("task-{}", run(40));
    for text in [
        "the sk- prefix, hf_ and ghp_ alone",
        "sk-loading-indicator-with-a-long-name",
        "risk-assessment, disk-1234567890abcdef1234",
        &long_word,
        "AKIASHORT and AIzaShort",
        &format!("AKIA{}", run(17)),
        "eyJhbGciOiJIUzI1NiJ9 without a payload",
        "-----BEGIN CERTIFICATE-----",
        "civitai.com/models/12345 is a model",
        "sk-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        &format!("X-Amz-Credential=AKIA{}/20260601/us-east-1/s3", run(16)),
        "",
        "e",
        "sk",
    ] {
        let got = body(&[], SecretMode::Block, &[text.as_bytes()]);
        assert_eq!(got, Ok((text.to_owned(), vec![])), "{text}");
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        if !pieces.is_empty() {
            let got = body(&[], SecretMode::Block, &pieces);
            assert_eq!(got, Ok((text.to_owned(), vec![])), "{text}, byte by byte");
        }
    }
}

#[test]
fn redact_masks_each_byte_and_keeps_the_length() {
    let token = format!("hf_{}", run(34));
    let text = format!("{{\"a\": \"{token}\", \"b\": \"{token}\"}}");
    let want = text.replace(&token, &"*".repeat(token.len()));
    let kinds = vec![Kind::HuggingFace; 2];
    for size in [1, 2, 7, 64, 1000] {
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
        let got = body(&[], SecretMode::Redact, &pieces);
        assert_eq!(got, Ok((want.clone(), kinds.clone())), "pieces of {size}");
    }
}

#[test]
fn what_cannot_be_masked_whole_is_refused_in_redact_mode_too() {
    let key = format!("-----BEGIN {} KEY-----", "EC PRIVATE");
    let endless = format!("sk-{}", run(8 << 10));
    for (text, kind) in [(key, Kind::PrivateKey), (endless, Kind::OpenAi)] {
        let got = body(&[], SecretMode::Redact, &[text.as_bytes()]);
        assert_eq!(got.err(), Some(kind));
    }
}

#[test]
fn strings_of_the_users_own_are_found_in_every_way_they_are_written() {
    let own = ["Käthe \"K\" Müller", "project-x"];
    for (name, text) in [
        ("as it is", "dear Käthe \"K\" Müller,"),
        ("in JSON", r#"{"to": "Käthe \"K\" Müller"}"#),
        ("in ASCII JSON", r#"{"to": "K\u00e4the \"K\" M\u00fcller"}"#),
        ("in a URL", "to=K%C3%A4the%20%22K%22%20M%C3%BCller"),
        ("in a form", "to=K%C3%A4the+%22K%22+M%C3%BCller"),
        ("in the middle of a word", "myproject-xyz"),
    ] {
        let got = body(&own, SecretMode::Block, &[text.as_bytes()]);
        assert_eq!(got.err(), Some(Kind::Own), "{name}");
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(3).collect();
        let got = body(&own, SecretMode::Block, &pieces);
        assert_eq!(got.err(), Some(Kind::Own), "{name}, in pieces");
    }
    let shown = format!("{:?}", detector(&own));
    assert!(!shown.contains("project"), "{shown}");
    assert!(shown.contains("mode: Block"), "{shown}");
}

/// Encoders do not agree on what they leave as it is.
#[test]
fn a_string_with_marks_in_it_is_found_however_a_form_or_a_url_spells_it() {
    let own = "K-2_c.d~e!f*g'h(i) j@k";
    let rows = [
        (
            "every mark encoded",
            "K%2D2%5Fc%2Ed%7Ee%21f%2Ag%27h%28i%29%20j%40k",
        ),
        ("by Python or Rust", "K-2_c.d~e%21f%2Ag%27h%28i%29%20j%40k"),
        ("by Python, in a form", "K-2_c.d~e%21f%2Ag%27h%28i%29+j%40k"),
        ("by encodeURIComponent", "K-2_c.d~e!f*g'h(i)%20j%40k"),
        (
            "by a form of a browser",
            "K-2_c.d%7Ee%21f*g%27h%28i%29+j%40k",
        ),
    ];
    for (name, text) in rows {
        let got = body(&[own], SecretMode::Block, &[text.as_bytes()]);
        assert_eq!(got.err(), Some(Kind::Own), "{name}");
    }
}

#[test]
fn a_string_of_ones_own_is_held_back_while_it_may_come_and_no_longer() {
    let own = ["secret-one", "secret-two", "secret-one-and-more"];
    let first = |piece: &str, last: bool| {
        let mut scanner = Scanner::new(
            detector(&own),
            SecretMode::Block,
            Spot::Body,
            host("o.test"),
        );
        scanner
            .push(piece.as_bytes(), last)
            .map(|seen| seen.bytes.len())
    };
    // Two of them may come.
    assert_eq!(first("a secret-", false), Ok(2));
    assert_eq!(first("a secret-t", false), Ok(2));
    // None does.
    assert_eq!(first("a secret-q", false), Ok(10));
    assert_eq!(first("a serious one", false), Ok(13));
    // At the end nothing comes.
    assert_eq!(first("a secret-", true), Ok(9));
    // Masked by the longest that is there.
    let masked = |text: &str| {
        body(&own, SecretMode::Redact, &[text.as_bytes()])
            .unwrap()
            .0
    };
    assert_eq!(masked("secret-one-and-more."), "*******************.");
    assert_eq!(masked("secret-one-and-less."), "**********-and-less.");
}

#[test]
fn strings_that_are_too_short_or_too_long_are_not_looked_for() {
    for (length, looked_for) in [(5, false), (6, true), (256, true), (257, false)] {
        let own = "z".repeat(length);
        let got = body(&[&own], SecretMode::Block, &[own.as_bytes()]);
        assert_eq!(got.is_err(), looked_for, "{length} bytes");
    }
}

#[test]
fn a_rule_may_stand_above_the_mode_of_all() {
    for mode in SecretMode::ALL {
        let all = Detector::new(mode, std::iter::empty());
        assert_eq!((all.mode(), all.mode_under(None)), (mode, mode));
        assert_eq!(all.mode_under(Some(&Terms::default())), mode);
        for of_the_rule in SecretMode::ALL {
            let terms = Terms {
                secrets: Some(of_the_rule),
                ..Terms::default()
            };
            assert_eq!(all.mode_under(Some(&terms)), of_the_rule);
        }
    }
}

#[test]
fn a_credential_passes_to_the_one_who_gave_it_and_to_no_one_else() {
    let hf = format!("hf_{}", run(34));
    let bearer = format!("Bearer {hf}");
    let jwt = format!("Bearer eyJ{0}.eyJ{0}.{0}", run(30));
    let signed = format!("Basic {}", {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(format!("user:{hf}"))
    });
    let d = detector(&[]);
    let rows: &[(&str, &str, &str, &str, Option<Kind>)] = &[
        (
            "its maker",
            "huggingface.co",
            "authorization",
            &bearer,
            None,
        ),
        (
            "below its maker",
            "cdn.hf.co",
            "authorization",
            &bearer,
            None,
        ),
        (
            "another",
            "evil.test",
            "authorization",
            &bearer,
            Some(Kind::HuggingFace),
        ),
        (
            "a name that ends alike",
            "nothf.co",
            "x-a",
            &bearer,
            Some(Kind::HuggingFace),
        ),
        (
            "inside Basic",
            "evil.test",
            "authorization",
            &signed,
            Some(Kind::HuggingFace),
        ),
        (
            "inside Basic of another header",
            "evil.test",
            "x-upstream-authorization",
            &signed,
            Some(Kind::HuggingFace),
        ),
        (
            "a JWT as credential",
            "any.test",
            "authorization",
            &jwt,
            None,
        ),
        (
            "a JWT elsewhere",
            "any.test",
            "x-data",
            &jwt,
            Some(Kind::Jwt),
        ),
    ];
    for (name, to, header_name, value, want) in rows {
        let got = header(
            &d,
            SecretMode::Block,
            &host(to),
            header_name,
            value.as_bytes(),
        );
        assert_eq!(got.err(), *want, "{name}");
    }
    let mut scanner = Scanner::new(d, SecretMode::Block, Spot::Body, host("huggingface.co"));
    let got = scanner.push(hf.as_bytes(), true);
    assert_eq!(
        got.err(),
        Some(Kind::HuggingFace),
        "a body may be published"
    );
}

#[test]
fn a_target_is_judged_decoded_too_and_its_path_is_never_changed() {
    let d = detector(&[]);
    let hf = format!("hf_{}", run(34));
    let dotted = hf.replace('_', "%5F");
    let rows = [
        (
            "in the query",
            SecretMode::Block,
            format!("/a?t={hf}"),
            Err(Kind::HuggingFace),
        ),
        (
            "in the path",
            SecretMode::Redact,
            format!("/{hf}?x=1"),
            Err(Kind::HuggingFace),
        ),
        (
            "encoded",
            SecretMode::Redact,
            format!("/a?t={dotted}"),
            Err(Kind::HuggingFace),
        ),
        (
            "masked",
            SecretMode::Redact,
            format!("/a?t={hf}&b=1"),
            Ok(true),
        ),
        (
            "none",
            SecretMode::Block,
            "/a?t=1%202".to_owned(),
            Ok(false),
        ),
        ("off", SecretMode::Off, format!("/a?t={hf}"), Ok(false)),
    ];
    for (name, mode, text, want) in rows {
        let got = target(&d, mode, &host("evil.test"), &text);
        let changed = got.as_ref().ok().and_then(|s| s.as_ref());
        if let Some(seen) = changed {
            let sent = String::from_utf8_lossy(&seen.bytes);
            assert!(
                !sent.contains(&hf) && sent.ends_with("&b=1"),
                "{name}: {sent}"
            );
        }
        assert_eq!(got.map(|s| s.is_some()), want, "{name}");
    }
}

#[test]
fn what_is_held_back_is_bounded() {
    let mut scanner = Scanner::new(detector(&[]), SecretMode::Block, Spot::Body, host("o.test"));
    let mut sent = 0;
    let mut pushed = 0;
    for _ in 0..64 {
        let piece = b"eyJ".repeat(1000);
        pushed += piece.len();
        sent += scanner.push(&piece, false).unwrap().bytes.len();
        assert!(
            pushed - sent <= pattern::MAX_TOKEN + 16,
            "holds {}",
            pushed - sent
        );
    }
}

/// Letters alone are a word, however long; what follows may make a key of it.
#[test]
fn a_prefix_makes_no_key_of_a_word_and_a_digit_that_comes_later_does() {
    let letters = "abcdefghij".repeat(6);
    let digits = "0123456789".repeat(6);
    for text in [format!("sk-{letters}"), format!("sk-{digits}")] {
        assert_eq!(found(&text), None, "{text}");
        let kept = body(&[], SecretMode::Block, &[text.as_bytes(), b"-_-"]);
        assert_eq!(kept, Ok((format!("{text}-_-"), vec![])), "{text}");
    }
    let (first, second) = (format!("sk-{letters}"), b"1 ".as_slice());
    let got = body(&[], SecretMode::Block, &[first.as_bytes(), second]);
    assert_eq!(got, Err(Kind::OpenAi));
    let (first, second) = (format!("sk-{digits}"), b"a ".as_slice());
    let got = body(&[], SecretMode::Block, &[first.as_bytes(), second]);
    assert_eq!(got, Err(Kind::OpenAi));
    // A word that has ended is let go at once, not held back for more.
    let detector = detector(&[]);
    let mut scanner = Scanner::new(detector, SecretMode::Block, Spot::Body, host("o.test"));
    let text = format!("sk-{letters} {}", ".".repeat(2000));
    let seen = scanner.push(text.as_bytes(), false).unwrap();
    assert!(seen.bytes.starts_with(format!("sk-{letters}").as_bytes()));
}

#[test]
fn where_secrets_are_off_a_head_passes_however_it_is_written() {
    let (key, host) = (format!("ghp_{}", run(36)), host("o.test"));
    let escaped = key.replace("ghp", "g%68p");
    let basic = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        format!("me:{key}"),
    );
    for (mode, passes) in [(SecretMode::Off, true), (SecretMode::Redact, false)] {
        for target in [format!("/{key}"), format!("/a?b={escaped}")] {
            let judged = head::target(&detector(&[]), mode, &host, &target);
            assert_eq!(judged == Ok(None), passes, "{}: {target}", mode.as_str());
        }
        let value = format!("Basic {basic}");
        let judged = head::header(
            &detector(&[]),
            mode,
            &host,
            "authorization",
            value.as_bytes(),
        );
        assert_eq!(judged == Ok(None), passes, "{}: Basic", mode.as_str());
    }
}

#[test]
fn a_web_token_is_masked_as_a_whole_and_nothing_around_it() {
    let token = format!("eyJ{0}.eyJ{0}.{0}", run(30));
    let text = format!("{{\"t\":\"{token}\",\"u\":1}}");
    let (sent, masked) = body(&[], SecretMode::Redact, &[text.as_bytes()]).unwrap();
    assert_eq!(sent, text.replace(&token, &"*".repeat(token.len())));
    assert_eq!(masked, [Kind::Jwt]);
}
