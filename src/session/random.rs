//! Random bytes for ids, keys, salts and passwords, from the system.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::token::SessionId;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandomness;

pub fn bytes<const N: usize>() -> Result<Zeroizing<[u8; N]>, NoRandomness> {
    let mut out = Zeroizing::new([0; N]);
    aws_lc_rs::rand::fill(out.as_mut_slice()).map_err(|_| NoRandomness)?;
    Ok(out)
}

/// 43 characters, 256 bits.
pub fn text() -> Result<Zeroizing<String>, NoRandomness> {
    let bytes = bytes::<32>()?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
}

pub fn session_id() -> Result<SessionId, NoRandomness> {
    let id = uuid::Builder::from_random_bytes(*bytes::<16>()?).into_uuid();
    SessionId::new(id).ok_or(NoRandomness)
}

/// A password that can be read aloud and typed: 24 characters of 5 bits, in groups of four.
/// No letters that look like digits.
pub fn password() -> Result<Zeroizing<String>, NoRandomness> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut out = Zeroizing::new(String::with_capacity(29));
    for (at, byte) in bytes::<24>()?.iter().enumerate() {
        if at > 0 && at % 4 == 0 {
            out.push('-');
        }
        let letter = ALPHABET.get(usize::from(*byte) % ALPHABET.len());
        out.push(letter.map_or('x', |b| char::from(*b)));
    }
    Ok(out)
}
