//! The accounts of all callers of a group, of whom only so many are remembered.
//!
//! A newcomer takes the place of whoever was here longest ago and has nothing open. Where everyone
//! has something open, newcomers share one account: they are served, and have one quota together.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use parking_lot::RwLock;

use crate::{config::Quota, metrics::Metrics};

use super::{Lane, Who, account::Account};

/// A power of two. Callers in different ones never wait for each other.
const SHARDS: usize = 16;

pub(super) type Key = (Who, Lane);

#[derive(Debug)]
pub(super) struct Table {
    shards: Vec<RwLock<Shard>>,
    hasher: RandomState,
    /// Accounts of one shard.
    most: usize,
    held: AtomicUsize,
    began: Instant,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Shard {
    accounts: HashMap<Key, Arc<Account>>,
    /// For those who find no place, by lane.
    crowd: HashMap<Lane, Arc<Account>>,
}

impl Table {
    pub(super) fn new(callers: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            hasher: RandomState::new(),
            most: callers.div_ceil(SHARDS).max(1),
            held: AtomicUsize::new(0),
            began: Instant::now(),
            metrics,
        }
    }

    pub(super) fn account(&self, key: Key, quota: Quota) -> Arc<Account> {
        let at = usize::try_from(self.hasher.hash_one(&key) % SHARDS as u64).unwrap_or_default();
        let Some(shard) = self.shards.get(at) else {
            // There are SHARDS of them.
            return Account::new(quota);
        };
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let known = shard.read().accounts.get(&key).cloned();
        let account = known.unwrap_or_else(|| self.newcomer(&mut shard.write(), key, quota));
        account.used.store(now, Ordering::Relaxed);
        account
    }

    fn newcomer(&self, shard: &mut Shard, key: Key, quota: Quota) -> Arc<Account> {
        if let Some(account) = shard.accounts.get(&key) {
            // Another request of the same caller was quicker.
            return account.clone();
        }
        if shard.accounts.len() >= self.most {
            let idle = shard.accounts.iter().filter(|(_, a)| a.is_idle());
            let oldest = idle
                .min_by_key(|(_, a)| a.used.load(Ordering::Relaxed))
                .map(|(key, _)| key.clone());
            match oldest {
                Some(key) => drop(shard.accounts.remove(&key)),
                None => {
                    let crowd = shard.crowd.entry(key.1);
                    return crowd.or_insert_with(|| Account::new(quota)).clone();
                }
            }
        } else {
            let held = self.held.fetch_add(1, Ordering::Relaxed) + 1;
            self.metrics.limit_callers(held);
        }
        let account = Account::new(quota);
        shard.accounts.insert(key, account.clone());
        account
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let held = self.shards.iter().map(|s| s.read().accounts.len());
        held.sum()
    }
}
