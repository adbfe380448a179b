//! A small stand-in for a local LLM, so that the demo needs nothing installed.
//!
//! It speaks as much of the OpenAI API as the demo's steps use, says in every answer what it is,
//! and is as strict as local chat templates are: a request without a user message is refused, so
//! the rewrite step passes only because the gateway put one in. It streams with pauses, as an LLM
//! does. What it says is made in [`script`].

mod script;

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

pub use script::{INTRODUCTION, MODEL};

/// Between two pieces of a stream: a quick LLM's pace, and long enough to tell buffering.
pub const PAUSE: Duration = Duration::from_millis(10);
const MAX_REQUEST: usize = 8 << 20;

/// A listening stand-in; gone when dropped.
#[derive(Debug)]
pub struct StandIn {
    address: SocketAddr,
    seen: Arc<Seen>,
    _server: AbortOnDropHandle<()>,
}

/// What came in that should not have.
#[derive(Debug, Default)]
struct Seen {
    credential: AtomicBool,
}

impl StandIn {
    /// Listens on a free port of loopback.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Seen::default());
        let router = router(seen.clone());
        let server = tokio::spawn(async move {
            if let Err(e) = axum::serve(listener, router).await {
                tracing::error!(error = %e, "stand-in failed");
            }
        });
        Ok(Self {
            address,
            seen,
            _server: AbortOnDropHandle::new(server),
        })
    }

    /// Its OpenAI base URL.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Whether any request carried a credential: the plugin's must never come this far.
    pub fn saw_a_credential(&self) -> bool {
        self.seen.credential.load(Ordering::Relaxed)
    }
}

fn router(seen: Arc<Seen>) -> Router {
    Router::new()
        .route("/v1/models", get(models))
        .route("/v1/chat/completions", post(chat))
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .with_state(seen)
}

async fn models(State(seen): State<Arc<Seen>>, headers: HeaderMap) -> Json<Value> {
    look_for_a_credential(&seen, &headers);
    let model = json!({"id": MODEL, "object": "model", "created": 1, "owned_by": "airlock"});
    Json(json!({"object": "list", "data": [model]}))
}

async fn chat(State(seen): State<Arc<Seen>>, headers: HeaderMap, body: String) -> Response {
    look_for_a_credential(&seen, &headers);
    let request: Value = match serde_json::from_str(&body) {
        Ok(request) => request,
        Err(e) => return refuse(&format!("the body is no JSON: {e}")),
    };
    let answer = match script::answer(&request) {
        Ok(answer) => answer,
        Err(e) => return refuse(&e.to_string()),
    };
    if request["stream"] != true {
        return Json(answer.whole()).into_response();
    }
    let with_usage = request.pointer("/stream_options/include_usage") == Some(&json!(true));
    let events = stream::iter(answer.events(with_usage)).then(|event| async move {
        tokio::time::sleep(PAUSE).await;
        Ok::<_, Infallible>(event)
    });
    (
        [(header::CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(events),
    )
        .into_response()
}

fn look_for_a_credential(seen: &Seen, headers: &HeaderMap) {
    if headers.contains_key(header::AUTHORIZATION) {
        seen.credential.store(true, Ordering::Relaxed);
    }
}

fn refuse(message: &str) -> Response {
    let error = json!({"message": message, "type": "invalid_request_error", "code": 400});
    (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response()
}
