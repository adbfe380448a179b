//! The signature: over which bytes, and what it refuses.

use serde_json::{Value, json};

use super::*;
use crate::{
    receipt::{
        canonical::Plain,
        seal::{self, SealError},
    },
    token::{Claims, KeyRing, Previous, Role, SignedBy, SigningKey},
};

fn key(seed: &str) -> SigningKey {
    SigningKey::new(format!("{seed}-9f3b1c7a5e2d8f6041b7c3a9e5d2f8b6").as_bytes()).unwrap()
}

fn ring(current: &str, previous: Option<&str>) -> KeyRing {
    let previous = previous.map(|seed| Previous {
        key: key(seed),
        // Over for tokens; what was signed with it is genuine all the same.
        until: UnixTime(0),
    });
    KeyRing::new(key(current), previous)
}

fn signed(keys: &KeyRing) -> Value {
    let receipt = receipt(&[
        Sample::sent("a.test:443", 10),
        Sample::refused("b.test:443", Reason::NoRuleMatched),
    ]);
    seal::sign(&serde_json::to_value(receipt).unwrap(), keys).unwrap()
}

#[test]
fn the_bytes_are_sorted_and_bare_whatever_the_file_looks_like() {
    let text = r#"{ "b": [1, true, null], "a": "é\u0041\"\\\n\u007f\u001f/", "B": {"z": 18446744073709551615} }"#;
    let plain: Plain = serde_json::from_str(text).unwrap();
    assert_eq!(
        String::from_utf8(plain.bytes()).unwrap(),
        "{\"B\":{\"z\":18446744073709551615},\"a\":\"éA\\\"\\\\\\n\u{7f}\\u001f/\",\"b\":[1,true,null]}"
    );
    assert_eq!(Plain::of(&plain.value()).as_ref(), Some(&plain));
    for (name, text) in [
        ("a fraction", "{\"a\": 1.5}"),
        ("a whole number with a point", "{\"a\": 1.0}"),
        ("an exponent", "{\"a\": 1e3}"),
        ("a negative number", "{\"a\": -1}"),
        ("a number beyond 64 bits", "{\"a\": 18446744073709551616}"),
        ("a key that stands twice", "{\"a\": 1, \"a\": 1}"),
        ("the same by an escape", "{\"a\": 1, \"\\u0061\": 1}"),
    ] {
        assert!(serde_json::from_str::<Plain>(text).is_err(), "{name}");
    }
}

#[test]
fn a_receipt_is_good_however_it_is_laid_out_and_by_either_key() {
    let old = ring("old", None);
    let keys = ring("new", Some("old"));
    let (by_old, by_new) = (signed(&old), signed(&keys));
    for (name, file, signed_by) in [
        ("indented", format!("{by_new:#}"), SignedBy::Current),
        ("in one line", by_new.to_string(), SignedBy::Current),
        ("by the key before", by_old.to_string(), SignedBy::Previous),
    ] {
        let genuine = seal::verify(file.as_bytes(), &keys).unwrap();
        assert_eq!(genuine.signed_by, signed_by, "{name}");
        let back: Receipt = serde_json::from_value(genuine.receipt).unwrap();
        assert_eq!(back.totals.requests, 2, "{name}");
    }
}

#[test]
fn what_is_not_genuine_is_told_by_what_is_wrong_with_it() {
    let keys = ring("new", Some("old"));
    let good = signed(&keys);
    let changed = |pointer: &str, value: Value| {
        let mut other = good.clone();
        *other.pointer_mut(pointer).expect("it is there") = value;
        other.to_string()
    };
    let id = good["signature"]["key"].as_str().unwrap().to_owned();
    let altered = SealError::Altered { key: id };
    let text = good.to_string();
    let mut more = good.clone();
    more["remark"] = json!("all is well");
    let tail = |n: usize| text[..text.len() - n].to_owned();
    for (name, file, problem) in [
        (
            "a number",
            changed("/receipt/totals/refused", json!(0)),
            altered.clone(),
        ),
        (
            "a host",
            changed("/receipt/hosts/0/host", json!("b.test:443")),
            altered.clone(),
        ),
        (
            "a list that is empty now",
            changed("/receipt/hosts", json!([])),
            altered.clone(),
        ),
        (
            "a signature of nothing",
            changed("/signature/value", json!("")),
            altered.clone(),
        ),
        (
            "a signature that is none",
            changed("/signature/value", json!("%%%")),
            altered.clone(),
        ),
        ("cut off", tail(1), SealError::Truncated),
        ("cut off early", text[..40].to_owned(), SealError::Truncated),
        ("an empty file", String::new(), SealError::Truncated),
    ] {
        assert_eq!(seal::verify(file.as_bytes(), &keys), Err(problem), "{name}");
    }
    for (name, file) in [
        ("text", "hello".to_owned()),
        ("a list", "[]".to_owned()),
        ("another object", "{}".to_owned()),
        ("a field beside it", more.to_string()),
        (
            "a field twice",
            text.replacen("{\"receipt\"", "{\"receipt\":{},\"receipt\"", 1),
        ),
        ("something behind it", format!("{text} x")),
        ("a number for a name", changed("/signature/key", json!(1))),
    ] {
        let found = seal::verify(file.as_bytes(), &keys);
        assert!(
            matches!(found, Err(SealError::NotAReceipt(_))),
            "{name}: {found:?}"
        );
    }
    for (name, file) in [
        (
            "another format",
            changed("/receipt/format", json!("airlock-receipt/2")),
        ),
        (
            "another algorithm",
            changed("/signature/algorithm", json!("none")),
        ),
    ] {
        let found = seal::verify(file.as_bytes(), &keys);
        assert!(
            matches!(found, Err(SealError::Unknown(_))),
            "{name}: {found:?}"
        );
    }
    let foreign = seal::verify(text.as_bytes(), &ring("other", None));
    assert!(
        matches!(foreign, Err(SealError::AnotherKey { .. })),
        "{foreign:?}"
    );
    let long = vec![b' '; seal::MAX_RECEIPT + 1];
    assert_eq!(seal::verify(&long, &keys), Err(SealError::TooLarge));
}

#[test]
fn a_receipt_is_no_token_and_a_token_no_receipt() {
    let keys = ring("new", None);
    let good = signed(&keys);
    let value = good["signature"]["value"].as_str().unwrap();
    let plain = Plain::of(&good["receipt"]).unwrap();
    let bytes = String::from_utf8(plain.bytes()).unwrap();
    let now = UnixTime(1);
    // A token's first part is what was signed: give it all that was.
    for payload in [format!("airlock receipt 1\n{bytes}"), bytes] {
        assert!(keys.verify(&format!("{payload}.{value}"), now).is_err());
    }
    let claims = Claims {
        session_id: "6f1c0b52-6c1f-4b2e-9d3a-0c5a4f1e7b90".parse().unwrap(),
        username: "ada".parse().unwrap(),
        role: Role::Admin,
        exp: UnixTime(1 << 40),
    };
    let token = keys.sign(&claims);
    assert!(keys.verify(&token, now).is_ok());
    let mut forged = good.clone();
    forged["signature"]["value"] = token.rsplit('.').next().into();
    assert!(matches!(
        seal::verify(forged.to_string().as_bytes(), &keys),
        Err(SealError::Altered { .. })
    ));
}
