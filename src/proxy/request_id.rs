//! Identifiers of requests: random, unique, and without a system call each.
//!
//! Called for every request and connection. They name records and are no secrets.

use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
};

use uuid::Uuid;

thread_local! {
    /// Keys from the system's randomness, once per thread, and how many ids they have made.
    static SOURCE: (RandomState, Cell<u64>) = (RandomState::new(), Cell::new(0));
}

/// A version 4 UUID: a keyed hash of a counter, which is as random as its keys.
pub fn request_id() -> Uuid {
    let (high, low) = SOURCE.with(|(keys, count)| {
        let n = count.get();
        count.set(n.wrapping_add(1));
        (keys.hash_one((n, 0u8)), keys.hash_one((n, 1u8)))
    });
    let random = (u128::from(high) << 64) | u128::from(low);
    uuid::Builder::from_random_bytes(random.to_ne_bytes()).into_uuid()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_of_all_threads_are_version_4_and_differ() {
        let threads: Vec<_> = (0..4)
            .map(|_| std::thread::spawn(|| (0..10_000).map(|_| request_id()).collect::<Vec<_>>()))
            .collect();
        let ids: Vec<Uuid> = threads
            .into_iter()
            .flat_map(|t| t.join().unwrap())
            .collect();
        assert!(ids.iter().all(|id| id.get_version_num() == 4));
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 40_000);
    }
}
