//! Keys, tokens and the user's own strings in what would leave this machine. Pure: bytes in,
//! verdicts out; nothing here can print or return what it found, only its [`Kind`].
//!
//! `proxy` asks about the heads of forwarded requests ([`target`], [`header`]) and feeds their bodies
//! through a [`Scanner`]. It is a net, not a proof: what is encrypted, compressed or encoded in
//! another way than percent signs, JSON escapes and Basic credentials is not seen.

mod detector;
mod head;
mod kind;
mod pattern;
mod scanner;
mod search;

pub use detector::{Detector, OWN_LENGTH};
pub use head::{header, target};
pub use kind::{Kind, Spot};
pub use scanner::{Scanner, Seen};
pub use search::Search;

/// What is done with a secret. YAML `secrets: {mode: block}`, or `secrets: block` in a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SecretMode {
    /// The request is refused; no byte of the secret was sent.
    #[default]
    Block,
    /// Each byte of it is sent as `*`. What cannot be masked whole (a private key, a token longer
    /// than [`pattern::MAX_TOKEN`]) is refused.
    Redact,
    Off,
}

impl SecretMode {
    pub const ALL: [SecretMode; 3] = [SecretMode::Block, SecretMode::Redact, SecretMode::Off];

    pub fn as_str(self) -> &'static str {
        match self {
            SecretMode::Block => "block",
            SecretMode::Redact => "redact",
            SecretMode::Off => "off",
        }
    }

    /// Of two modes, the one that lets less through is the larger.
    pub(in crate::policy) fn strictness(self) -> u8 {
        match self {
            SecretMode::Off => 0,
            SecretMode::Redact => 1,
            SecretMode::Block => 2,
        }
    }
}

#[cfg(test)]
mod tests;
