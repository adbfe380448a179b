//! Passwords: argon2id with OWASP's first choice of parameters (docs/adr/0009).
//!
//! One hash at a time, and few that wait: each takes 19 MiB and tens of milliseconds, and strangers
//! can ask for it.

use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use parking_lot::Mutex;

use super::random::{self, NoRandomness};

/// KiB, passes, lanes.
pub const MEMORY: u32 = 19 * 1024;
pub const PASSES: u32 = 2;
pub const LANES: u32 = 1;
const SALT: usize = 16;
pub const MIN_PASSWORD: usize = 12;
pub const MAX_PASSWORD: usize = 256;
/// Attempts that wait for their turn.
const MAX_WAITING: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    #[error(
        "the password is too short: write at least {MIN_PASSWORD} characters, or leave it out and get one"
    )]
    Short,
    #[error("the password is too long: write at most {MAX_PASSWORD} bytes")]
    Long,
    #[error("the password is too easy to guess: use several words, or leave it out and get one")]
    Easy,
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    #[error("the password could not be hashed")]
    Hash,
}

/// Too many attempts at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// What a person may choose. Length counts most (NIST SP 800-63B, 3.1.1); the rest keeps out what
/// is no choice at all.
pub fn acceptable(password: &str, username: &str) -> Result<(), PasswordError> {
    if password.chars().count() < MIN_PASSWORD {
        return Err(PasswordError::Short);
    }
    if password.len() > MAX_PASSWORD {
        return Err(PasswordError::Long);
    }
    let lower = password.to_lowercase();
    let mut letters: Vec<char> = lower.chars().collect();
    letters.sort_unstable();
    letters.dedup();
    let is_name = username.len() >= 4 && lower.replace(username, "").chars().count() < 8;
    if letters.len() < 5 || is_name || lower.contains("password") {
        return Err(PasswordError::Easy);
    }
    Ok(())
}

pub struct Hasher {
    turn: Mutex<()>,
    waiting: AtomicUsize,
}

impl Default for Hasher {
    fn default() -> Self {
        Self {
            turn: Mutex::new(()),
            waiting: AtomicUsize::new(0),
        }
    }
}

fn argon2() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(MEMORY, PASSES, LANES, None).map_err(|_| PasswordError::Hash)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

impl Hasher {
    /// Blocking. A PHC string.
    pub fn hash(&self, password: &str) -> Result<String, PasswordError> {
        let salt = random::bytes::<SALT>()?;
        let _turn = self.turn.lock();
        let hash: PasswordHash = argon2()?
            .hash_password_with_salt(password.as_bytes(), salt.as_slice())
            .map_err(|_| PasswordError::Hash)?;
        Ok(hash.to_string())
    }

    /// Blocking. The parameters are those of the stored hash.
    pub fn verifies(&self, password: &str, stored: &str) -> Result<bool, Busy> {
        let before = self.waiting.fetch_add(1, Ordering::SeqCst);
        let verified = if before < MAX_WAITING {
            let _turn = self.turn.lock();
            Ok(matches(password, stored))
        } else {
            Err(Busy)
        };
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        verified
    }
}

fn matches(password: &str, stored: &str) -> bool {
    if password.len() > MAX_PASSWORD {
        return false;
    }
    let (Ok(hash), Ok(argon2)) = (PasswordHash::new(stored), argon2()) else {
        return false;
    };
    argon2.verify_password(password.as_bytes(), &hash).is_ok()
}
