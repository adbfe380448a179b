//! Limits of callers, and the circuit to ComfyUI.

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use super::{Metrics, registrar::Registrar};

pub(super) struct LimitCounters {
    limited: IntCounterVec,
    callers: IntGauge,
    open: IntGauge,
    opened: IntCounter,
}

impl LimitCounters {
    pub(super) fn new(r: &Registrar<'_>) -> Self {
        Self {
            limited: r.counters(
                "airlock_limited_total",
                "Requests refused because their caller had asked for too much.",
                &["group", "lane", "bound"],
            ),
            callers: r.gauge(
                "airlock_limit_callers",
                "Callers remembered by the table of limits that grew last.",
            ),
            open: r.gauge(
                "airlock_comfyui_circuit_open",
                "1 while ComfyUI cannot be reached and is left alone.",
            ),
            opened: r.counter(
                "airlock_comfyui_circuit_opened_total",
                "How often the circuit to ComfyUI opened.",
            ),
        }
    }
}

impl Metrics {
    /// All three are words of `limit`.
    pub fn limited(&self, group: &str, lane: &str, bound: &str) {
        let limited = &self.limits.limited;
        limited.with_label_values(&[group, lane, bound]).inc();
    }
    pub fn limit_callers(&self, held: usize) {
        self.limits.callers.set(held as i64);
    }
    pub fn circuit(&self, open: bool) {
        self.limits.open.set(open.into());
    }
    pub fn circuit_opened(&self) {
        self.limits.opened.inc();
    }
}
