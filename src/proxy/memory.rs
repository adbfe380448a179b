//! Memory that clients make us hold before an answer: one bound for all of them together.
//!
//! Each head and each body has a bound of its own, but four thousand of them at once do not fit into
//! any machine. Taken from by `listener` (heads beyond the first read) and `respond` (bodies that are
//! answered here), as the bytes come and not as they are announced; given back when the request ends.
//! What does not fit is refused as overload.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// What is left for everyone, in bytes.
#[derive(Debug)]
pub struct Memory {
    left: AtomicUsize,
}

impl Memory {
    pub fn of(bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(bytes),
        })
    }

    /// Nothing yet; it grows with what comes.
    pub fn hold(self: &Arc<Self>) -> Held {
        Held {
            memory: self.clone(),
            bytes: 0,
        }
    }
}

/// What one request holds; given back when dropped.
#[derive(Debug)]
pub struct Held {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Held {
    /// Room for `bytes` more. False, and nothing taken, when there is none.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let taken = self
            .memory
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            })
            .is_ok();
        if taken {
            self.bytes += bytes;
        }
        taken
    }

    /// Gives it back before the end, for a request that was refused and is still being told so.
    pub fn release(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.memory.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_in_sum_and_comes_back() {
        let memory = Memory::of(100);
        let (mut first, mut second) = (memory.hold(), memory.hold());
        assert!(first.grow(60));
        assert!(!second.grow(41), "the sum is what counts");
        assert!(second.grow(40), "a refusal takes nothing");
        assert!(!first.grow(1));
        second.release();
        assert!(first.grow(40));
        drop((first, second));
        assert!(memory.hold().grow(100));
        assert_eq!(memory.left.load(Ordering::Relaxed), 100);
    }
}
