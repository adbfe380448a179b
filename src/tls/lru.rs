//! A bounded map that drops what was used longest ago. Used by `leaf`; holds no lock itself.
//!
//! Uses are noted in a queue, each with a number; an entry's older notes are stale. Evicting pops
//! notes until one is current. The queue is swept when it has grown to twice the map, so every
//! operation is O(1) on average.

use std::{borrow::Borrow, collections::VecDeque, hash::Hash};

use hashbrown::HashMap;

pub struct Lru<K, V> {
    entries: HashMap<K, (u64, V)>,
    uses: VecDeque<(u64, K)>,
    clock: u64,
    capacity: usize,
}

impl<K: Hash + Eq + Clone, V> Lru<K, V> {
    /// A capacity of zero is taken as one.
    pub fn new(capacity: usize) -> Self {
        Self {
            entries: HashMap::new(),
            uses: VecDeque::new(),
            clock: 0,
            capacity: capacity.max(1),
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Finds an entry and notes its use.
    pub fn find<Q>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let (key, _) = self.entries.get_key_value(key)?;
        let key = key.clone();
        let used = self.note(key.clone());
        let (last, value) = self.entries.get_mut(key.borrow())?;
        *last = used;
        Some(value)
    }

    /// Puts an entry in, and the one used longest ago out when there is no room.
    pub fn put(&mut self, key: K, value: V) {
        let used = self.note(key.clone());
        self.entries.insert(key, (used, value));
        while self.entries.len() > self.capacity {
            let Some((used, key)) = self.uses.pop_front() else {
                return;
            };
            if self
                .entries
                .get(&key)
                .is_some_and(|(last, _)| *last == used)
            {
                self.entries.remove(&key);
            }
        }
    }

    fn note(&mut self, key: K) -> u64 {
        if self.uses.len() >= 2 * self.capacity.max(8) {
            let entries = &self.entries;
            self.uses
                .retain(|(used, key)| entries.get(key).is_some_and(|(last, _)| last == used));
        }
        self.clock += 1;
        self.uses.push_back((self.clock, key));
        self.clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_used_longest_ago_goes_first() {
        let mut lru = Lru::new(3);
        for n in 0..3 {
            lru.put(n, n * 10);
        }
        assert_eq!(lru.find(&0), Some(&0));
        lru.put(3, 30);
        assert_eq!(lru.find(&1), None);
        assert_eq!(lru.find(&0), Some(&0));
        assert_eq!(lru.find(&2), Some(&20));
        assert_eq!(lru.find(&3), Some(&30));
    }

    #[test]
    fn putting_a_key_again_replaces_its_value_and_counts_once() {
        let mut lru = Lru::new(2);
        lru.put("a", 1);
        lru.put("b", 1);
        lru.put("a", 2);
        assert_eq!(lru.len(), 2);
        lru.put("c", 1);
        assert_eq!(lru.find("a"), Some(&2));
        assert_eq!(lru.find("b"), None);
    }

    #[test]
    fn neither_map_nor_queue_grows_past_its_bound() {
        let mut lru = Lru::new(10);
        for n in 0..10_000u32 {
            lru.put(n % 37, n);
            lru.find(&(n % 11));
            lru.find(&5);
            assert!(lru.len() <= 10);
            assert!(lru.uses.len() <= 21);
        }
    }

    #[test]
    fn it_behaves_like_a_plain_list_in_order_of_use() {
        let (mut lru, mut model) = (Lru::new(5), Vec::<u64>::new());
        let mut x = 0x2545_F491_4F6C_DD1D_u64;
        for _ in 0..20_000 {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            let key = x % 9;
            let hit = lru.find(&key).is_some();
            assert_eq!(hit, model.contains(&key));
            model.retain(|k| *k != key);
            model.push(key);
            if !hit {
                lru.put(key, ());
                if model.len() > 5 {
                    model.remove(0);
                }
            }
        }
    }
}
