//! Tokens as they must be, and as an attacker would like them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

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
            false if payload.len() > MAX_PAYLOAD => TokenError::Malformed,
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
fn a_payload_of_full_length_is_taken_and_no_byte_more() {
    let good = claims().to_json();
    let padded = |length: usize| format!("{good}{}", " ".repeat(length - good.len()));
    let longest = sealed(&padded(MAX_PAYLOAD));
    assert_eq!(longest.len(), MAX_TOKEN);
    assert_eq!(judged(&longest), Ok(claims()));
    let longer = sealed(&padded(MAX_PAYLOAD + 1));
    assert_eq!(judged(&longer), Err(TokenError::Malformed));
    assert_eq!(Claims::parse(padded(MAX_PAYLOAD).as_bytes()), Ok(claims()));
    let longer = padded(MAX_PAYLOAD + 1);
    assert_eq!(Claims::parse(longer.as_bytes()), Err(ClaimsError));
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
fn a_ring_shows_the_keys_that_it_was_given() {
    let previous = Previous {
        key: key(KEY),
        until: NOW,
    };
    let ring = KeyRing::new(key(OTHER), Some(previous.clone()));
    assert_eq!(ring.current(), &key(OTHER));
    assert_eq!(ring.previous(), Some(&previous));
    assert_eq!(KeyRing::new(key(KEY), None).previous(), None);
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

/// Xorshift with a fixed seed: every run tries the same.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
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
