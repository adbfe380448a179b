//! Identifiers of requests: random, unique, and without a system call each.
//!
//! Called for every request and connection. They name records and are no secrets.

use std::cell::Cell;

use uuid::Uuid;

thread_local! {
    /// Begins with the system's randomness, once per thread.
    static STATE: Cell<u128> = Cell::new(Uuid::new_v4().as_u128() ^ Uuid::new_v4().as_u128().rotate_left(64));
}

/// A version 4 UUID, from a generator of 128 bits (PCG's) that repeats after 2^128 of them.
pub fn request_id() -> Uuid {
    const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;
    const INCREMENT: u128 = 0x5851_f42d_4c95_7f2d_1405_7b7e_f767_814f;
    let state = STATE.get().wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
    STATE.set(state);
    // The low half of such a state is the weak one.
    let random = state ^ (state >> 64);
    uuid::Builder::from_random_bytes(random.to_be_bytes()).into_uuid()
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
