//! What changes the running program (`POST /reload`, `POST /lockdown`, `POST /identity`), and what it
//! tells or finds for its owner alone (`POST /receipt`, `POST /models`).
//!
//! Only for the user who runs it, on the same machine: the peer must be loopback, the request must
//! carry the token of the state folder, and no web page's request gets through, with the right token
//! or without (a browser sends `Origin` with every POST).

use async_trait::async_trait;
use axum::{
    Json,
    extract::{ConnectInfo, Request, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AdminState, visit::Peer};
use crate::{
    page::FETCH_SITE, policy::Lockdown, session::Request as IdentityRequest, weights::Query,
};

/// Hits of one search of models.
const MOST_MODELS: usize = 100;

/// Outcome of a reload; the `--json` contract of `airlock reload`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReloadReport {
    pub ok: bool,
    /// Of the policy in force now: the old one's where `ok` is false.
    pub generation: u64,
    pub rules: usize,
    /// Everything that is wrong with the new configuration.
    pub errors: Vec<String>,
    /// What it allows that the old policy did not.
    pub loosened: Vec<String>,
    /// Settings that changed and are not reloaded.
    pub restart_needed: Vec<String>,
    pub notes: Vec<String>,
    /// Open connections that the new policy refuses, and that were cut.
    pub cut: usize,
}

/// Outcome of a lockdown; the `--json` contract of `airlock lockdown`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LockdownReport {
    pub lockdown: Lockdown,
    pub cut: usize,
    /// It stands, but was not written down.
    pub problem: Option<String>,
}

/// Body of `POST /lockdown`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockdownWish {
    pub lockdown: Lockdown,
}

/// Implemented by the composition root.
#[async_trait]
pub trait Control: Send + Sync {
    async fn reload(&self) -> ReloadReport;
    async fn lockdown(&self, wanted: Lockdown) -> LockdownReport;
    /// Sessions, users, keys; in words, why not.
    async fn identity(&self, request: IdentityRequest) -> Result<Value, String>;
    /// The signed receipt, of one session or of the machine; in words, why there is none.
    async fn receipt(&self, session: Option<String>) -> Result<Value, String>;
    /// A search in the model sources that policy allows.
    async fn models(&self, query: Query, most: usize) -> Value;
}

pub async fn reload(State(state): State<AdminState>) -> Response {
    let report = state.control.reload().await;
    let status = match report.ok {
        true => StatusCode::OK,
        false => StatusCode::UNPROCESSABLE_ENTITY,
    };
    (status, Json(report)).into_response()
}

pub async fn lockdown(
    State(state): State<AdminState>,
    wish: Result<Json<LockdownWish>, JsonRejection>,
) -> Response {
    match wish {
        Ok(Json(wish)) => Json(state.control.lockdown(wish.lockdown).await).into_response(),
        Err(e) => {
            let words = format!(
                "write {{\"lockdown\": \"off\"}}, \"egress\" or \"all\", as application/json: {e}\n"
            );
            (StatusCode::BAD_REQUEST, words).into_response()
        }
    }
}

/// The answer may hold a password or a key, which is shown this once.
pub async fn identity(
    State(state): State<AdminState>,
    request: Result<Json<IdentityRequest>, JsonRejection>,
) -> Response {
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    match request {
        Ok(Json(request)) => match state.control.identity(request).await {
            Ok(answer) => (no_store, Json(answer)).into_response(),
            Err(words) => (StatusCode::UNPROCESSABLE_ENTITY, format!("{words}\n")).into_response(),
        },
        // Without its words, which may quote a password.
        Err(_) => {
            let words =
                "is no request of this version; use the airlock that runs for the command\n";
            (StatusCode::BAD_REQUEST, words).into_response()
        }
    }
}

/// Body of `POST /receipt`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptWish {
    /// `null`: the whole machine.
    session: Option<String>,
}

/// Says whom the machine talked to: for its owner alone.
pub async fn receipt(
    State(state): State<AdminState>,
    wish: Result<Json<ReceiptWish>, JsonRejection>,
) -> Response {
    let Ok(Json(wish)) = wish else {
        let words = "write {\"session\": null} or {\"session\": \"ID\"}, as application/json\n";
        return (StatusCode::BAD_REQUEST, words).into_response();
    };
    match state.control.receipt(wish.session).await {
        Ok(signed) => ([(header::CACHE_CONTROL, "no-store")], Json(signed)).into_response(),
        Err(words) => (StatusCode::UNPROCESSABLE_ENTITY, format!("{words}\n")).into_response(),
    }
}

/// Body of `POST /models`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelsWish {
    pub query: String,
    pub limit: usize,
}

/// What is searched for leaves this machine where a hub is allowed: for its owner alone.
pub async fn models(
    State(state): State<AdminState>,
    wish: Result<Json<ModelsWish>, JsonRejection>,
) -> Response {
    let Ok(Json(ModelsWish { query, limit })) = wish else {
        let words = "write {\"query\": \"WORDS\", \"limit\": 30}, as application/json\n";
        return (StatusCode::BAD_REQUEST, words).into_response();
    };
    let Some(query) = Query::of(&query) else {
        let words = "no word is left to look for: write letters or digits\n";
        return (StatusCode::UNPROCESSABLE_ENTITY, words).into_response();
    };
    let found = state.control.models(query, limit.min(MOST_MODELS)).await;
    ([(header::CACHE_CONTROL, "no-store")], Json(found)).into_response()
}

/// In front of all of them.
pub async fn only_the_owner(
    State(state): State<AdminState>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<ConnectInfo<Peer>>();
    let loopback = peer.is_some_and(|peer| peer.0.0.ip().to_canonical().is_loopback());
    match refusal(&state, loopback, request.headers()) {
        None => next.run(request).await,
        Some((status, words)) => {
            tracing::warn!(
                path = request.uri().path(),
                "control request refused: {words}"
            );
            (status, format!("{words}\n")).into_response()
        }
    }
}

fn refusal(
    state: &AdminState,
    loopback: bool,
    headers: &HeaderMap,
) -> Option<(StatusCode, &'static str)> {
    if !loopback {
        return Some((
            StatusCode::FORBIDDEN,
            "changes are taken from this machine only",
        ));
    }
    if headers.contains_key(header::ORIGIN) || headers.contains_key(FETCH_SITE) {
        return Some((
            StatusCode::FORBIDDEN,
            "changes are not taken from a web page",
        ));
    }
    let shown = headers
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok()?.strip_prefix("Bearer "));
    match shown {
        Some(token) if state.token.is(token) => None,
        Some(_) | None => Some((
            StatusCode::UNAUTHORIZED,
            "show the token: Authorization: Bearer, then what admin.token in the state folder holds",
        )),
    }
}
