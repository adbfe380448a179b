//! The signature of a receipt: HMAC-SHA256 with the session secret, over bytes that no token has.
//!
//! A token's signature is over base64url text alone; a receipt's begins with [`PREFIX`], which holds
//! a space and a line feed. So neither can be taken for the other, whatever stands in a receipt.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::canonical::Plain;
use crate::token::{KeyRing, SignedBy, SigningKey};

/// In front of the canonical bytes. The number is that of the format.
const PREFIX: &[u8] = b"airlock receipt 1\n";
/// What the name of a key is the HMAC of.
const KEY_NAME: &[u8] = b"airlock receipt key name\n";
const ALGORITHM: &str = "HMAC-SHA256";
/// A receipt of a full ledger has under 1 MB.
pub const MAX_RECEIPT: usize = 4 << 20;

/// Why a file is no receipt of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("holds more than {} MiB, and no receipt does: name the file that `airlock receipt save` wrote", MAX_RECEIPT >> 20)]
    TooLarge,
    #[error("is cut off: it ends in the middle of the receipt; save or copy it again")]
    Truncated,
    #[error(
        "is no receipt ({0}): name a file that `airlock receipt save` or the page's \"signed copy\" wrote"
    )]
    NotAReceipt(String),
    #[error("is a receipt of another kind ({0}); use the airlock that made it")]
    Unknown(String),
    #[error("was altered: its signature is by our key {key}, and fits other contents")]
    Altered { key: String },
    #[error(
        "was signed with a key that is not here ({key}): by another machine, before the last two \
         changes of the secret, or with a SESSION_SECRET that is not set for this command"
    )]
    AnotherKey { key: String },
}

/// A receipt that one of our keys signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genuine {
    pub receipt: Value,
    pub signed_by: SignedBy,
    pub key: String,
}

/// Tells keys apart and says nothing of them.
pub fn name_of(key: &SigningKey) -> String {
    let tag = key.mac().tag(KEY_NAME);
    tag.iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn message(receipt: &Plain) -> Vec<u8> {
    let mut message = PREFIX.to_vec();
    message.extend_from_slice(&receipt.bytes());
    message
}

/// The receipt with its signature. `None` where it holds what a receipt may not (fractions).
pub fn sign(receipt: &Value, keys: &KeyRing) -> Option<Value> {
    let plain = Plain::of(receipt)?;
    let tag = keys.current().mac().tag(&message(&plain));
    Some(json!({
        "receipt": receipt,
        "signature": {
            "algorithm": ALGORITHM,
            "key": name_of(keys.current()),
            "value": URL_SAFE_NO_PAD.encode(tag),
        },
    }))
}

/// Judges what is said to be a receipt.
pub fn verify(file: &[u8], keys: &KeyRing) -> Result<Genuine, SealError> {
    if file.len() > MAX_RECEIPT {
        return Err(SealError::TooLarge);
    }
    let whole: Plain = serde_json::from_slice(file).map_err(|e| match e.is_eof() {
        true => SealError::Truncated,
        false => SealError::NotAReceipt(e.to_string()),
    })?;
    let not = |what: &str| SealError::NotAReceipt(what.to_owned());
    let Plain::Object(fields) = &whole else {
        return Err(not("no JSON object"));
    };
    if fields.len() != 2 {
        return Err(not("it has other fields than receipt and signature"));
    }
    let receipt = whole
        .field("receipt")
        .ok_or_else(|| not("no receipt in it"))?;
    let signature = whole
        .field("signature")
        .ok_or_else(|| not("no signature"))?;
    let said = |name: &str| signature.field(name).and_then(Plain::text);
    match (
        said("algorithm"),
        receipt.field("format").and_then(Plain::text),
    ) {
        (Some(ALGORITHM), Some(super::receipt::FORMAT)) => {}
        (Some(ALGORITHM), Some(other)) | (Some(other), _) => {
            return Err(SealError::Unknown(clipped(other)));
        }
        (None, _) => return Err(not("its signature names no algorithm")),
    }
    let (Some(key), Some(value)) = (said("key"), said("value")) else {
        return Err(not("its signature has no key or no value"));
    };
    // What is no base64url fits no contents.
    let tag = URL_SAFE_NO_PAD.decode(value).unwrap_or_default();
    let message = message(receipt);
    let ours = [
        (Some(keys.current()), SignedBy::Current),
        (keys.previous().map(|p| &p.key), SignedBy::Previous),
    ];
    let mut known = false;
    for (candidate, signed_by) in ours {
        let Some(candidate) = candidate else { continue };
        if candidate.mac().verifies(&message, &tag) {
            return Ok(Genuine {
                receipt: receipt.value(),
                signed_by,
                key: name_of(candidate),
            });
        }
        known |= name_of(candidate) == key;
    }
    let key = clipped(key);
    Err(match known {
        true => SealError::Altered { key },
        false => SealError::AnotherKey { key },
    })
}

/// Text of a file that may be anybody's, for one line of a message.
fn clipped(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}
