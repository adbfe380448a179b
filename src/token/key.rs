//! A key that is good enough to sign with.
//!
//! Judged once, when it is read; `session::secret` says where keys come from. The judgement is of
//! what can be seen: a long password that was published somewhere passes.

use std::fmt;

use zeroize::Zeroizing;

use super::mac::Mac;

/// Bytes of a key: no shorter than the tag (RFC 2104, section 3).
pub const MIN_KEY: usize = 32;
pub const MAX_KEY: usize = 1024;
/// Bits, by the frequency of the bytes. 16 random bytes in hexadecimal have about 110.
const MIN_BITS: f64 = 80.0;
const MIN_DISTINCT: usize = 10;

/// What examples and templates write where a secret should be; looked for in letters alone.
const PLACEHOLDERS: [&str; 16] = [
    "changeme",
    "changethis",
    "pleasechange",
    "replaceme",
    "replacethis",
    "replacewith",
    "yoursecret",
    "yoursession",
    "sessionsecret",
    "supersecret",
    "mysecret",
    "placeholder",
    "password",
    "example",
    "insecure",
    "opensslrand",
];

/// Why a key is refused. Never holds the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakKey {
    #[error(
        "is {length} bytes long and {MIN_KEY} are needed: write the output of `openssl rand -hex 32`"
    )]
    Short { length: usize },
    #[error(
        "is {length} bytes long and {MAX_KEY} are enough: write the output of `openssl rand -hex 32`"
    )]
    Long { length: usize },
    #[error("holds {word:?}, as examples do: write the output of `openssl rand -hex 32`")]
    Placeholder { word: &'static str },
    #[error(
        "can be guessed (it repeats itself or counts): write the output of `openssl rand -hex 32`"
    )]
    Guessable,
}

/// Signs and verifies; never printed, wiped when it goes.
#[derive(Clone)]
pub struct SigningKey {
    bytes: Zeroizing<Vec<u8>>,
    mac: Mac,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

impl PartialEq for SigningKey {
    /// In constant time, by what the keys sign.
    fn eq(&self, other: &Self) -> bool {
        self.mac.verifies(b"same", &other.mac.tag(b"same"))
    }
}

impl Eq for SigningKey {}

impl SigningKey {
    /// The bytes of the text are the key, as every other HMAC library takes them.
    pub fn new(bytes: &[u8]) -> Result<Self, WeakKey> {
        judge(bytes)?;
        let mac = Mac::new(bytes).ok_or(WeakKey::Guessable)?;
        Ok(Self {
            bytes: Zeroizing::new(bytes.to_vec()),
            mac,
        })
    }

    pub fn mac(&self) -> &Mac {
        &self.mac
    }

    /// For the key file alone.
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }
}

fn judge(key: &[u8]) -> Result<(), WeakKey> {
    let length = key.len();
    if length < MIN_KEY {
        return Err(WeakKey::Short { length });
    }
    if length > MAX_KEY {
        return Err(WeakKey::Long { length });
    }
    let letters: Zeroizing<Vec<u8>> = Zeroizing::new(
        key.iter()
            .filter(|b| b.is_ascii_alphabetic())
            .map(u8::to_ascii_lowercase)
            .collect(),
    );
    let held = |word: &&&str| letters.windows(word.len()).any(|w| w == word.as_bytes());
    if let Some(word) = PLACEHOLDERS.iter().find(held) {
        return Err(WeakKey::Placeholder { word });
    }
    let (distinct, bits) = spread(key);
    if distinct < MIN_DISTINCT || bits < MIN_BITS || repeats(key) || counts(key) {
        return Err(WeakKey::Guessable);
    }
    Ok(())
}

/// Different bytes, and Shannon's entropy of the whole.
fn spread(key: &[u8]) -> (usize, f64) {
    let mut seen = [0_u32; 256];
    for byte in key {
        if let Some(n) = seen.get_mut(usize::from(*byte)) {
            *n += 1;
        }
    }
    let length = key.len() as f64;
    let bits = seen.iter().filter(|n| **n > 0).map(|n| {
        let n = f64::from(*n);
        n * (length / n).log2()
    });
    (seen.iter().filter(|n| **n > 0).count(), bits.sum())
}

/// A part that stands twice and more, as in `abcabcabc`.
fn repeats(key: &[u8]) -> bool {
    (1..=key.len() / 2).any(|period| key.iter().zip(key.iter().skip(period)).all(|(a, b)| a == b))
}

/// Half of its bytes are the one before, or one more or less: `0123456789abcdef`.
fn counts(key: &[u8]) -> bool {
    let steps = key
        .iter()
        .zip(key.iter().skip(1))
        .filter(|(a, b)| a.abs_diff(**b) <= 1)
        .count();
    steps * 2 > key.len()
}
