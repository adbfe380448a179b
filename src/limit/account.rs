//! What one caller has used of one lane: a rate (GCRA, by `governor`), and how many are open.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use governor::{
    DefaultDirectRateLimiter, RateLimiter,
    clock::{Clock, MonotonicClock},
};

use crate::config::Quota;

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// After this long there is one.
    Rate(Duration),
    Concurrent,
}

#[derive(Debug)]
pub(super) struct Account {
    rate: Option<DefaultDirectRateLimiter>,
    most: Option<u32>,
    open: AtomicU32,
    /// By the clock of the table; for finding who was here last.
    pub(super) used: AtomicU64,
}

impl Account {
    pub(super) fn new(quota: Quota) -> Arc<Self> {
        let rate = quota.rate.and_then(|rate| {
            let each = rate.per / rate.requests.max(1);
            let burst = NonZeroU32::new(quota.burst)?;
            Some(governor::Quota::with_period(each)?.allow_burst(burst))
        });
        Arc::new(Self {
            rate: rate.map(RateLimiter::direct),
            most: quota.concurrent,
            open: AtomicU32::new(0),
            used: AtomicU64::new(0),
        })
    }

    pub(super) fn is_idle(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }

    pub(super) fn enter(self: &Arc<Self>) -> Result<Seat, Full> {
        // Counted before it is compared, so that two at once cannot both be the last.
        let before = self.open.fetch_add(1, Ordering::AcqRel);
        let seat = Seat(self.clone());
        if self.most.is_some_and(|most| before >= most) {
            return Err(Full::Concurrent);
        }
        if let Some(rate) = &self.rate {
            rate.check()
                .map_err(|until| Full::Rate(until.wait_time_from(MonotonicClock.now())))?;
        }
        Ok(seat)
    }
}

/// One open request; given back when dropped.
#[derive(Debug)]
pub struct Seat(Arc<Account>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}
