//! Health: is the process alive, may it be sent traffic, and what is it doing.

use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
use serde::Serialize;

use super::AdminState;
use crate::store::TotalsSnapshot;

/// The state of the running program, as `/status` and `airlock health` show it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    pub ready: bool,
    pub version: &'static str,
    pub mode: String,
    pub packs: Vec<String>,
    pub rules: usize,
    pub policy_generation: u64,
    /// `host:port` of each listener that is on, by its name.
    pub listeners: std::collections::BTreeMap<String, String>,
    /// The LLM in use, or why there is none.
    pub llm: Option<LlmStatus>,
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

/// Implemented by the composition root.
pub trait Health: Send + Sync {
    fn status(&self) -> Status;
}

pub async fn live() -> &'static str {
    "ok\n"
}

pub async fn ready(State(state): State<AdminState>) -> impl IntoResponse {
    let status = state.health.status();
    if status.ready && status.audit_healthy {
        (StatusCode::OK, "ready\n")
    } else if status.ready {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "audit log cannot be written\n",
        )
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting\n")
    }
}

pub async fn status(State(state): State<AdminState>) -> Json<Status> {
    Json(state.health.status())
}
