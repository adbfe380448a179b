//! Health: is the process alive, may it be sent traffic, and what is it doing.

use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
use serde::Serialize;

use super::AdminState;
use crate::{
    comfyui::status::ComfyStatus, metrics::Drift, policy::Lockdown, store::TotalsSnapshot,
};

/// The state of the running program, as `/status` and `airlock health` show it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    pub ready: bool,
    pub version: &'static str,
    pub mode: String,
    pub packs: Vec<String>,
    pub rules: usize,
    pub policy_generation: u64,
    pub lockdown: Lockdown,
    /// The last round of self-tests; none before the first.
    pub selftest: Option<SelftestStatus>,
    /// The last reload; none before the first.
    pub reload: Option<ReloadStatus>,
    /// `host:port` of each listener that is on, by its name.
    pub listeners: std::collections::BTreeMap<String, String>,
    /// The LLM in use, or why there is none.
    pub llm: Option<LlmStatus>,
    /// What is known of ComfyUI; `None` where it is turned off.
    pub comfyui: Option<ComfyStatus>,
    /// What a newer plugin asked for and nobody here knows: its shape, never its content.
    pub drift: Vec<Drift>,
    pub audit_healthy: bool,
    pub uptime_seconds: u64,
    /// Since the state folder was made, earlier runs included.
    pub totals: TotalsSnapshot,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct LlmStatus {
    pub url: Option<String>,
    pub kind: Option<String>,
    pub up: bool,
    pub models: Vec<String>,
    /// The newest problem, until a call succeeds.
    pub problem: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct SelftestStatus {
    pub ok: bool,
    /// RFC 3339, UTC.
    pub at: String,
    pub cases: usize,
    pub escapes: usize,
    /// Escapes, and cases that ended in another way than they should.
    pub failed: usize,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct ReloadStatus {
    pub ok: bool,
    /// RFC 3339, UTC.
    pub at: String,
    /// `sighup`, `file` or `admin`.
    pub trigger: &'static str,
    /// Why the older policy stands.
    pub errors: Vec<String>,
    /// Settings that changed and are not in force before a restart.
    pub restart_needed: Vec<String>,
}

/// Implemented by the composition root.
pub trait Health: Send + Sync {
    fn status(&self) -> Status;
}

/// Alive, and no way through is known.
pub async fn live(State(state): State<AdminState>) -> impl IntoResponse {
    match escapes(&state.health.status()) {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(words) => (StatusCode::SERVICE_UNAVAILABLE, words),
    }
}

fn escapes(status: &Status) -> Option<String> {
    let escapes = status.selftest.as_ref()?.escapes;
    (escapes > 0).then(|| {
        format!("the self-test found {escapes} ways through; `airlock selftest` names them\n")
    })
}

pub async fn ready(State(state): State<AdminState>) -> impl IntoResponse {
    let status = state.health.status();
    if let Some(words) = escapes(&status) {
        (StatusCode::SERVICE_UNAVAILABLE, words)
    } else if status.ready && status.audit_healthy {
        (StatusCode::OK, ready_words(&status))
    } else if status.ready {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "audit log cannot be written\n".into(),
        )
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "starting or stopping\n".to_owned(),
        )
    }
}

/// Ready, and what a person should know all the same.
pub(super) fn ready_words(status: &Status) -> String {
    let mut words = "ready\n".to_owned();
    if status.lockdown != Lockdown::Off {
        words.push_str("locked down; `airlock lockdown off` ends it\n");
    }
    if status.reload.as_ref().is_some_and(|r| !r.ok) {
        words.push_str("the newest configuration was refused and the older policy stands; `airlock check` says why\n");
    }
    words
}

pub async fn status(State(state): State<AdminState>) -> Json<Status> {
    Json(state.health.status())
}
