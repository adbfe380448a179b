//! What is to be on disk before anybody hears of it: who has a chat or a saved workflow from now on, and the
//! workflow with its session.
//!
//! Whoever notes one in memory gets a [`Deed`], and goes no further until [`Deeds::is_kept`] says yes.
//! [`super::Identity::keep_deeds`] makes it so, for all that were made until then in one write.

use std::sync::atomic::{AtomicU64, Ordering};

/// Noted in memory, and perhaps not yet on disk. Of two, the greater is kept no earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[must_use = "whoever is answered before it is kept may lose it to a kill"]
pub struct Deed(u64);

/// How many were made, and how many of those are on disk.
#[derive(Debug, Default)]
pub struct Deeds {
    made: AtomicU64,
    kept: AtomicU64,
}

impl Deeds {
    /// For what has just been put where [`super::Identity::keep_deeds`] finds it, under the same lock.
    pub(super) fn make(&self) -> Deed {
        Deed(self.made.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// The last one.
    pub(super) fn last(&self) -> Deed {
        Deed(self.made.load(Ordering::Acquire))
    }

    /// This one and all before it are on disk.
    pub(super) fn keep(&self, last: Deed) {
        self.kept.fetch_max(last.0, Ordering::AcqRel);
    }

    pub fn is_kept(&self, deed: Deed) -> bool {
        self.kept.load(Ordering::Acquire) >= deed.0
    }
}
