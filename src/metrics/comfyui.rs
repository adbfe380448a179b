//! What is counted about the user's ComfyUI and the index over it.

use prometheus::{IntCounterVec, IntGauge};

use super::{Metrics, Registrar};

pub(super) struct ComfyUiFigures {
    up: IntGauge,
    documents: IntGauge,
    builds: IntCounterVec,
    progress: IntGauge,
}

impl ComfyUiFigures {
    pub(super) fn new(r: &Registrar<'_>) -> Self {
        Self {
            up: r.gauge(
                "airlock_comfyui_up",
                "1 if ComfyUI answered when it was last asked.",
            ),
            documents: r.gauge(
                "airlock_search_documents",
                "Nodes, templates, saved workflows and models in the search index.",
            ),
            builds: r.counters(
                "airlock_search_builds_total",
                "Search indexes built, by outcome.",
                &["outcome"],
            ),
            progress: r.gauge(
                "airlock_search_progress_percent",
                "How far the step of a rebuild is that is under way; 100 where none is.",
            ),
        }
    }
}

impl Metrics {
    pub fn comfyui_up(&self, up: bool) {
        self.comfyui.up.set(up.into());
    }

    /// The documents of a new index; `None` where it could not be built.
    pub fn search_built(&self, documents: Option<usize>) {
        let outcome = match documents {
            Some(count) => {
                self.comfyui
                    .documents
                    .set(i64::try_from(count).unwrap_or(i64::MAX));
                "ok"
            }
            None => "failed",
        };
        self.comfyui.builds.with_label_values(&[outcome]).inc();
    }

    /// Done, and of how many; `None` where nothing is being rebuilt.
    pub fn search_progress(&self, step: Option<(usize, usize)>) {
        let percent = step.map_or(100, |(done, of)| done.saturating_mul(100) / of.max(1));
        self.comfyui
            .progress
            .set(i64::try_from(percent.min(100)).unwrap_or(100));
    }

    /// What our own questions send to another machine, beside what requests do.
    pub fn left_machine(&self, rule: &'static str, bytes: u64) {
        self.left_machine.with_label_values(&[rule]).inc_by(bytes);
    }
}
