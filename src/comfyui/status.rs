//! What the control plane shows of ComfyUI and of the index over it.

use serde::Serialize;

use super::{ComfyUi, gather::Progress, trouble::Trouble};
use crate::comfy::LeftOut;

/// How the newest round stands.
#[derive(Debug, Default)]
pub(super) struct Standing {
    pub(super) up: bool,
    pub(super) trouble: Option<Trouble>,
    pub(super) doing: Option<Doing>,
}

/// What a round is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Doing {
    /// `nodes`, `templates`, `models`, `saved workflows`, `docs` or `index`.
    pub what: &'static str,
    pub done: usize,
    pub of: usize,
}

/// For `/status`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ComfyStatus {
    pub url: String,
    /// It answered when it was last asked. It is asked only while somebody needs it.
    pub up: bool,
    pub problem: Option<String>,
    pub version: Option<String>,
    /// States that were made since the start; 0 before the first.
    pub generation: u64,
    /// Since the newest of them.
    pub age_seconds: Option<u64>,
    /// A round that is under way; the state before it serves.
    pub doing: Option<Doing>,
    pub nodes: usize,
    pub templates: usize,
    pub saved_workflows: usize,
    pub models: usize,
    pub documented_nodes: usize,
    pub indexed: usize,
    pub index_bytes: u64,
    /// What ComfyUI named and is not kept: broken, or beyond a bound.
    pub left_out: usize,
}

impl ComfyUi {
    pub fn status(&self) -> ComfyStatus {
        let (up, problem, doing) = {
            let standing = self.standing.lock();
            let problem = standing.trouble.as_ref().map(|t| format!("it {t}"));
            (standing.up, problem, standing.doing)
        };
        let mut status = ComfyStatus {
            url: self.url(),
            up,
            problem,
            doing,
            ..ComfyStatus::default()
        };
        if let Some(known) = self.known() {
            let catalogue = &known.catalogue;
            status.version = Some(catalogue.system().version.clone());
            status.generation = known.generation;
            status.age_seconds = Some(known.made.elapsed().as_secs());
            status.nodes = catalogue.nodes().len();
            status.templates = catalogue.templates().len();
            status.saved_workflows = catalogue.saved().len();
            status.models = catalogue.models().len();
            status.documented_nodes = catalogue.documented();
            status.indexed = known.index.len();
            status.index_bytes = known.index.bytes();
            status.left_out = catalogue.left_out().total();
        }
        status
    }

    /// From now on it is known to answer, or why it does not.
    pub(super) fn stands(&self, trouble: Option<Trouble>) {
        let mut standing = self.standing.lock();
        let was = standing.trouble.take();
        match &trouble {
            Some(new) if was.as_ref() != Some(new) => {
                tracing::warn!(url = %self.client.base(), "ComfyUI {new}");
            }
            Some(_) => {}
            None if was.is_some() => {
                tracing::info!(url = %self.client.base(), "ComfyUI answers again")
            }
            None => {}
        }
        standing.up = trouble.is_none();
        standing.trouble = trouble;
        standing.doing = None;
        self.metrics.comfyui_up(standing.up);
        self.metrics.search_progress(None);
    }

    pub(super) fn told(&self, left_out: LeftOut) {
        if left_out.total() > 0 {
            tracing::warn!(
                ?left_out,
                "ComfyUI names things that are broken or too many"
            );
        }
    }
}

impl Progress for ComfyUi {
    fn doing(&self, what: &'static str, done: usize, of: usize) {
        self.standing.lock().doing = Some(Doing { what, done, of });
        self.metrics.search_progress(Some((done, of)));
    }
}
