//! Running totals: what was answered here, sent on, refused, and how much left the machine.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TotalsSnapshot {
    /// Requests answered in this process.
    pub answered_here: u64,
    /// Requests forwarded and tunnels relayed.
    pub forwarded: u64,
    pub refused: u64,
    pub left_machine_bytes: u64,
}

/// The same, counted; starts from what earlier runs left.
#[derive(Debug, Default)]
pub struct Totals {
    answered_here: AtomicU64,
    forwarded: AtomicU64,
    refused: AtomicU64,
    left_machine_bytes: AtomicU64,
}

impl Totals {
    pub fn starting_from(past: TotalsSnapshot) -> Self {
        Self {
            answered_here: past.answered_here.into(),
            forwarded: past.forwarded.into(),
            refused: past.refused.into(),
            left_machine_bytes: past.left_machine_bytes.into(),
        }
    }

    pub fn count_answered_here(&self) {
        self.answered_here.fetch_add(1, Relaxed);
    }
    pub fn count_forwarded(&self) {
        self.forwarded.fetch_add(1, Relaxed);
    }
    pub fn count_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }
    pub fn add_left_machine(&self, bytes: u64) {
        self.left_machine_bytes.fetch_add(bytes, Relaxed);
    }

    pub fn snapshot(&self) -> TotalsSnapshot {
        TotalsSnapshot {
            answered_here: self.answered_here.load(Relaxed),
            forwarded: self.forwarded.load(Relaxed),
            refused: self.refused.load(Relaxed),
            left_machine_bytes: self.left_machine_bytes.load(Relaxed),
        }
    }
}
