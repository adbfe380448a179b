//! Slows down guessing: after some failures, a wait that doubles with each further one.
//!
//! An attempt counts as failed when it begins and is forgiven when it succeeds, so that many at
//! once gain nothing. The table is bounded: when it is full, the entry that failed longest ago goes.

use std::{collections::HashMap, hash::Hash, time::Duration};

use parking_lot::Mutex;

use crate::token::UnixTime;

#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Failures that cost nothing.
    pub free: u32,
    /// The first wait.
    pub first: Duration,
    /// The longest; after this much quiet, everything is forgotten.
    pub longest: Duration,
    pub max_entries: usize,
}

/// Come back then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many failed attempts; try again in {} s", .0.as_secs())]
pub struct Wait(pub Duration);

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: UnixTime,
    not_before: UnixTime,
}

pub struct Throttle<K> {
    patience: Patience,
    table: Mutex<HashMap<K, Failures>>,
}

impl<K: Eq + Hash + Clone> Throttle<K> {
    pub fn new(patience: Patience) -> Self {
        Self {
            patience,
            table: Mutex::default(),
        }
    }

    /// Takes one attempt, or says how long to wait. An attempt that is refused does not make the
    /// wait longer.
    pub fn attempt(&self, key: &K, now: UnixTime) -> Result<(), Wait> {
        let mut table = self.table.lock();
        let Patience {
            longest,
            max_entries,
            ..
        } = self.patience;
        let known = table.get(key).copied();
        let known = known.filter(|f| now.since(f.last) < longest.saturating_mul(2));
        if let Some(failures) = known.filter(|f| now < f.not_before) {
            return Err(Wait(failures.not_before.since(now)));
        }
        let count = known.map_or(0, |f| f.count).saturating_add(1);
        if !table.contains_key(key) && table.len() >= max_entries {
            let oldest = table
                .iter()
                .min_by_key(|(_, f)| f.last)
                .map(|(k, _)| k.clone());
            oldest.map(|k| table.remove(&k));
        }
        let failures = Failures {
            count,
            last: now,
            not_before: now.plus(self.wait_after(count)),
        };
        table.insert(key.clone(), failures);
        Ok(())
    }

    /// It was no guess.
    pub fn succeeded(&self, key: &K) {
        self.table.lock().remove(key);
    }

    /// This one was no guess; those before it may have been. For what many share, as an address:
    /// who has one password must not be able to clear the way for guessing others.
    pub fn forgiven(&self, key: &K) {
        let mut table = self.table.lock();
        if let Some(failures) = table.get_mut(key) {
            failures.count = failures.count.saturating_sub(1);
            failures.not_before = UnixTime::default();
            if failures.count == 0 {
                table.remove(key);
            }
        }
    }

    fn wait_after(&self, count: u32) -> Duration {
        let Patience {
            free,
            first,
            longest,
            ..
        } = self.patience;
        match count.checked_sub(free.saturating_add(1)) {
            None => Duration::ZERO,
            Some(doublings) => first
                .saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX))
                .min(longest),
        }
    }
}
