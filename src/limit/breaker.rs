//! The circuit to ComfyUI: after so many connections in a row that could not be made, nobody tries
//! for a while, and then one request does for all.
//!
//! Only the connection counts. ComfyUI may be silent for minutes while it loads a model, and that is
//! no reason to refuse anybody.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{config::BreakerConfig, metrics::Metrics, policy::Reason};

/// Nothing is known to be wrong.
const CLOSED: u64 = 0;

#[derive(Debug)]
pub struct Breaker {
    /// `None`: off.
    config: Option<BreakerConfig>,
    failures: AtomicU32,
    /// Until when nobody tries, in nanoseconds from `began`; [`CLOSED`].
    until: AtomicU64,
    began: Instant,
    metrics: Arc<Metrics>,
}

/// Leave to dial ComfyUI. What became of it is told by [`Pass::reached`] or [`Pass::failed`]; who
/// tells nothing (it was refused for another reason) changes nothing.
#[derive(Clone, Debug)]
pub struct Pass(Arc<Breaker>);

/// Why nobody dials now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    pub wait: Duration,
}

impl Breaker {
    pub fn new(config: Option<BreakerConfig>, metrics: Arc<Metrics>) -> Arc<Self> {
        metrics.circuit(false);
        Arc::new(Self {
            config,
            failures: AtomicU32::new(0),
            until: AtomicU64::new(CLOSED),
            began: Instant::now(),
            metrics,
        })
    }

    /// Closed: at once. Open: one request each time `open_for` is over, which tries for all.
    pub fn enter(self: &Arc<Self>) -> Result<Pass, Open> {
        self.enter_at(self.now())
    }

    fn enter_at(self: &Arc<Self>, now: u64) -> Result<Pass, Open> {
        let until = self.until.load(Ordering::Acquire);
        if until == CLOSED {
            return Ok(Pass(self.clone()));
        }
        let Some(config) = &self.config else {
            return Ok(Pass(self.clone()));
        };
        if now < until {
            let wait = Duration::from_nanos(until - now);
            return Err(Open { wait });
        }
        // Whoever moves the time on is the one who tries. A try that hangs keeps nobody out for
        // longer than this: then the next one tries.
        let next = after(now, config.open_for);
        let mine = self
            .until
            .compare_exchange(until, next, Ordering::AcqRel, Ordering::Acquire);
        match mine {
            Ok(_) => Ok(Pass(self.clone())),
            Err(_) => Err(Open {
                wait: config.open_for,
            }),
        }
    }

    fn reached(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if self.until.load(Ordering::Relaxed) != CLOSED
            && self.until.swap(CLOSED, Ordering::AcqRel) != CLOSED
        {
            self.metrics.circuit(false);
            tracing::info!("ComfyUI can be reached again");
        }
    }

    fn failed_at(&self, now: u64) {
        let Some(config) = &self.config else { return };
        let before = self.failures.fetch_add(1, Ordering::AcqRel);
        if before.saturating_add(1) < config.failures {
            return;
        }
        // Saturated: it must not count on until it is 0 again.
        self.failures.store(config.failures, Ordering::Relaxed);
        let until = after(now, config.open_for);
        if self.until.swap(until, Ordering::AcqRel) == CLOSED {
            self.metrics.circuit(true);
            self.metrics.circuit_opened();
            tracing::warn!(
                "ComfyUI cannot be reached; asking again every {:?}",
                config.open_for
            );
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

fn after(now: u64, wait: Duration) -> u64 {
    let wait = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
    now.saturating_add(wait).max(CLOSED + 1)
}

impl Pass {
    /// A connection was made, or an answer came.
    pub fn reached(&self) {
        self.0.reached();
    }

    /// No connection could be made.
    pub fn failed(&self) {
        self.0.failed_at(self.0.now());
    }

    /// It ended for `reason`, which may have to do with the connection or not.
    pub fn ended(&self, reason: Reason) {
        if means_unreachable(reason) {
            self.failed();
        }
    }
}

/// Whether a request that ended for this reason could not be connected.
fn means_unreachable(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ConnectFailed
            | Reason::ConnectTimeout
            | Reason::ResolveFailed
            | Reason::ResolveTimeout
            | Reason::UpstreamTlsFailed
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker(failures: u32) -> Arc<Breaker> {
        let open_for = Duration::from_nanos(100);
        let config = BreakerConfig { failures, open_for };
        Breaker::new(Some(config), Arc::default())
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_one_request_tries_for_all() {
        let breaker = breaker(3);
        for _ in 0..2 {
            breaker.enter_at(10).unwrap();
            breaker.failed_at(10);
        }
        breaker.reached();
        for _ in 0..2 {
            breaker.failed_at(10);
        }
        assert!(
            breaker.enter_at(10).is_ok(),
            "a success between them counts from 0"
        );
        breaker.failed_at(10);
        let open = breaker.enter_at(20).unwrap_err();
        assert_eq!(open.wait, Duration::from_nanos(90));
        assert!(breaker.enter_at(109).is_err());
        assert!(breaker.enter_at(110).is_ok(), "one tries");
        assert!(breaker.enter_at(111).is_err(), "the others wait for it");
        breaker.failed_at(150);
        assert!(
            breaker.enter_at(249).is_err(),
            "it failed: shut again, at once"
        );
        assert!(breaker.enter_at(250).is_ok());
        assert!(
            breaker.enter_at(350).is_ok(),
            "a try that hangs keeps the next one out only so long"
        );
        breaker.reached();
        assert!(breaker.enter_at(351).is_ok() && breaker.enter_at(351).is_ok());
        breaker.failed_at(360);
        assert!(
            breaker.enter_at(361).is_ok(),
            "after a success it counts from 0"
        );
    }

    #[test]
    fn what_is_no_matter_of_the_connection_does_not_count() {
        for (name, reason, counts) in [
            ("a refused connection", Reason::ConnectFailed, true),
            ("no answer to a connection", Reason::ConnectTimeout, true),
            ("a name that is gone", Reason::ResolveFailed, true),
            ("a model that takes long", Reason::UpstreamTimeout, false),
            ("a browser that leaves", Reason::ClientGone, false),
            ("a lockdown", Reason::LockedDown, false),
        ] {
            let breaker = breaker(1);
            breaker.enter().unwrap().ended(reason);
            assert_eq!(
                breaker.until.load(Ordering::Relaxed) != CLOSED,
                counts,
                "{name}"
            );
        }
    }

    #[test]
    fn off_is_off() {
        let breaker = Breaker::new(None, Arc::default());
        for _ in 0..100 {
            breaker.enter().unwrap().failed();
        }
        assert!(breaker.enter().is_ok());
    }
}
