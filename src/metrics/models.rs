//! What the model sources count.

use prometheus::IntCounterVec;

use super::{Metrics, Registrar};

pub(super) struct ModelCounters {
    requests: IntCounterVec,
    bytes: IntCounterVec,
}

impl ModelCounters {
    pub(super) fn new(r: &Registrar<'_>) -> Self {
        Self {
            requests: r.counters(
                "airlock_model_requests_total",
                "Questions and downloads asked of a model hub, by what came of them.",
                &["source", "outcome"],
            ),
            bytes: r.counters(
                "airlock_model_bytes_total",
                "Bytes of model files that a hub sent.",
                &["source"],
            ),
        }
    }
}

impl Metrics {
    /// Both of closed sets: the names of sources, and the codes of their errors or `ok`.
    pub fn model_request(&self, source: &'static str, outcome: &'static str) {
        self.models
            .requests
            .with_label_values(&[source, outcome])
            .inc();
    }

    pub fn model_bytes(&self, source: &'static str, bytes: u64) {
        self.models.bytes.with_label_values(&[source]).inc_by(bytes);
    }
}
