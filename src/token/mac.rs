//! HMAC-SHA256 with one key, compared in constant time.
//!
//! The only place that computes or compares a signature. It knows no token and judges no key.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;

/// Bytes of a whole tag.
pub const TAG: usize = 32;

/// A keyed state, made once: signing and verifying clone it.
#[derive(Clone)]
pub struct Mac(Hmac<Sha256>);

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mac(..)")
    }
}

impl Mac {
    /// Any length: HMAC hashes long keys and pads short ones (RFC 2104). `SigningKey` judges them.
    pub fn new(key: &[u8]) -> Option<Self> {
        Hmac::new_from_slice(key).ok().map(Self)
    }

    pub fn tag(&self, message: &[u8]) -> [u8; TAG] {
        let mut mac = self.0.clone();
        mac.update(message);
        mac.finalize().into_bytes().into()
    }

    /// True for the whole tag alone: a truncated one is refused, whatever it holds. The time taken
    /// depends on the lengths, not on where the tags differ.
    pub fn verifies(&self, message: &[u8], tag: &[u8]) -> bool {
        let mut mac = self.0.clone();
        mac.update(message);
        mac.verify_slice(tag).is_ok()
    }
}
