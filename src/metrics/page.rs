//! What the front door counts about ComfyUI's page.

use prometheus::{IntCounter, IntCounterVec};

use super::{Metrics, Registrar};

pub(super) struct PageCounters {
    rewritten: IntCounter,
    violations: IntCounterVec,
    logins: IntCounterVec,
}

impl PageCounters {
    pub(super) fn new(r: &Registrar<'_>) -> Self {
        Self {
            rewritten: r.counter(
                "airlock_page_addresses_rewritten_total",
                "Addresses of the vendor that were replaced in ComfyUI's scripts and documents.",
            ),
            violations: r.counters(
                "airlock_page_violations_total",
                "Reports of browsers about what the page tried, by directive.",
                &["directive", "outcome"],
            ),
            logins: r.counters(
                "airlock_logins_total",
                "Logins and logouts of people, by what came of them.",
                &["outcome"],
            ),
        }
    }
}

impl Metrics {
    /// `ok`, `logout`, or the code of a reason.
    pub fn login(&self, outcome: &'static str) {
        self.page.logins.with_label_values(&[outcome]).inc();
    }

    pub fn page_rewritten(&self, addresses: usize) {
        self.page.rewritten.inc_by(addresses as u64);
    }

    /// `directive` and `outcome` are of closed sets, whatever the report said.
    pub fn page_violation(&self, directive: &'static str, outcome: &'static str) {
        self.page
            .violations
            .with_label_values(&[directive, outcome])
            .inc();
    }
}
