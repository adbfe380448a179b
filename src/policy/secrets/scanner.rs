//! A text that comes in pieces. What may be the beginning of a secret is held back until it is known,
//! so that no byte of one is ever sent; what is held is bounded by the longest token.

use std::{fmt, sync::Arc};

use super::{
    Detector, Kind, SecretMode, Spot,
    pattern::{HISTORY, Verdict},
};
use crate::net::Host;

/// Looks through one text of one request.
pub struct Scanner {
    detector: Arc<Detector>,
    mode: SecretMode,
    spot: Spot,
    host: Host,
    /// The last bytes that were let go, and behind them those that are held.
    kept: Vec<u8>,
    /// How many bytes of `kept` were let go.
    gone: usize,
}

/// Never shows what it holds.
impl fmt::Debug for Scanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scanner")
            .field("spot", &self.spot)
            .finish_non_exhaustive()
    }
}

/// What may be sent now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub bytes: Vec<u8>,
    /// One for each secret that was masked in them.
    pub masked: Vec<Kind>,
}

impl Scanner {
    pub fn new(detector: Arc<Detector>, mode: SecretMode, spot: Spot, host: Host) -> Self {
        Self {
            detector,
            mode,
            spot,
            host,
            kept: Vec::new(),
            gone: 0,
        }
    }

    /// Takes the next piece. `Err`: a secret that must not be sent; nothing more may be.
    pub fn push(&mut self, piece: &[u8], last: bool) -> Result<Seen, Kind> {
        if self.mode == SecretMode::Off {
            return Ok(Seen {
                bytes: piece.to_vec(),
                masked: Vec::new(),
            });
        }
        let mut text = std::mem::take(&mut self.kept);
        text.extend_from_slice(piece);
        let mut masked = Vec::new();
        let mut at = self.gone;
        while at < text.len() {
            match self.detector.at(&text, at, last) {
                Verdict::Nothing => at += 1,
                Verdict::More => break,
                // No secret is empty: this goes on.
                Verdict::Secret { kind, end, .. } if kind.is_at_home(self.spot, &self.host) => {
                    at = end;
                }
                Verdict::Secret {
                    kind,
                    start,
                    end,
                    whole,
                } => {
                    let maskable = whole && kind != Kind::PrivateKey;
                    let Some(secret) = text
                        .get_mut(start..end)
                        .filter(|_| self.mode == SecretMode::Redact && maskable)
                    else {
                        return Err(kind);
                    };
                    secret.fill(b'*');
                    masked.push(kind);
                    at = end;
                }
            }
        }
        let bytes = text.get(self.gone..at).unwrap_or_default().to_vec();
        let keep_from = at.saturating_sub(HISTORY);
        text.drain(..keep_from.min(text.len()));
        self.gone = at - keep_from;
        self.kept = text;
        Ok(Seen { bytes, masked })
    }
}
