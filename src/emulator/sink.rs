//! Telemetry: counted by kind, thrown away, never logged (WIRE.md 8 and 12).

use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, StatusCode};

use super::{
    fields::Fields,
    http::{empty, note, success},
};
use crate::{
    handler::{
        Handler, LocalRequest, LocalResponse,
        cors::{self, Caller, OriginPolicy},
    },
    metrics::{Metrics, drift::shape_of_body},
};

pub const TRACK_EVENT_PATH: &str = "/api/chat/track_event";
const TRACES_PATH: &str = "/v1/traces/ingest";

/// Every event type of the shipped page (WIRE.md 12).
const EVENT_TYPES: [&str; 17] = [
    "chat_request",
    "workflow_accept",
    "subgraph_accept",
    "node_add_to_canvas",
    "node_download",
    "node_search",
    "markdown_link_click",
    "debug_icon_click",
    "debug_trigger",
    "restore_checkpoint",
    "model_download_icon_click",
    "model_search",
    "model_download_trigger",
    "prompt_generate",
    "prompt_apply",
    "start_generation",
    "parameter_debug_apply",
];
const EVENT_FIELDS: [&str; 5] = [
    "event_type",
    "message_type",
    "message_id",
    "data",
    "session_id",
];

/// Answers whatever a rule routes here as its sender expects, and keeps nothing of it.
pub struct SinkResponder {
    origins: OriginPolicy,
    metrics: Arc<Metrics>,
}

impl SinkResponder {
    pub fn new(origins: OriginPolicy, metrics: Arc<Metrics>) -> Self {
        Self { origins, metrics }
    }
}

#[async_trait]
impl Handler for SinkResponder {
    async fn handle(&self, request: LocalRequest) -> LocalResponse {
        let caller = self.origins.judge(&request.parts.headers);
        if request.parts.method == Method::OPTIONS {
            note(&request.exchange, "sink", "preflight");
            return cors::preflight(&request.parts, &caller);
        }
        if caller == Caller::Stranger {
            note(&request.exchange, "sink", "origin refused");
            return cors::dress(cors::refuse(), &caller);
        }
        let response = match request.parts.uri.path() {
            TRACK_EVENT_PATH => drop_event(&request, &self.metrics),
            TRACES_PATH => {
                self.metrics.telemetry_dropped("agent_trace");
                note(&request.exchange, "sink", "agent trace dropped");
                empty(StatusCode::NO_CONTENT)
            }
            _ => {
                self.metrics.telemetry_dropped("other");
                note(&request.exchange, "sink", "dropped");
                empty(StatusCode::NO_CONTENT)
            }
        };
        cors::dress(response, &caller)
    }
}

/// Counts one event of the page. Also called by the copilot stand-in.
pub(super) fn drop_event(request: &LocalRequest, metrics: &Metrics) -> LocalResponse {
    let fields = Fields::parse(&request.body);
    let name: Option<String> = fields.as_ref().and_then(|f| f.read("event_type"));
    let event = EVENT_TYPES
        .into_iter()
        .find(|known| name.as_deref() == Some(known))
        .unwrap_or("other");
    metrics.telemetry_dropped(event);
    if event == "other" || fields.is_some_and(|f| f.has_other_than(&EVENT_FIELDS)) {
        metrics.drift_of("sink", "field", shape_of_body(&request.body));
    }
    note(&request.exchange, "sink", format!("event {event} dropped"));
    success(serde_json::Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::test_support::{body_text, header, request};

    const HOST: &str = "comfyui-copilot-server-pre.onrender.com";

    #[tokio::test]
    async fn telemetry_is_counted_and_answered() {
        for (row, method, path, body, status, counted, drift) in [
            (
                "a chat with its prompt",
                "POST",
                TRACK_EVENT_PATH,
                r#"{"event_type":"chat_request","message_type":"chat","data":{"prompt":"my secret"},"session_id":null}"#,
                200,
                "chat_request",
                false,
            ),
            (
                "an event that is new to us",
                "POST",
                TRACK_EVENT_PATH,
                r#"{"event_type":"keystroke","data":{}}"#,
                200,
                "other",
                true,
            ),
            (
                "a known event with a new field",
                "POST",
                TRACK_EVENT_PATH,
                r#"{"event_type":"model_search","fingerprint":"x"}"#,
                200,
                "model_search",
                true,
            ),
            (
                "nonsense",
                "POST",
                TRACK_EVENT_PATH,
                "{",
                200,
                "other",
                true,
            ),
            (
                "a batch of traces",
                "POST",
                TRACES_PATH,
                r#"{"data":[]}"#,
                204,
                "agent_trace",
                false,
            ),
            (
                "what a user's rule sends here",
                "GET",
                "/beacon",
                "",
                204,
                "other",
                false,
            ),
        ] {
            let metrics = Arc::new(Metrics::new());
            let sink = SinkResponder::new(OriginPolicy::private_only(), metrics.clone());
            let origin = [("origin", "http://127.0.0.1:8188")];
            let request = request(HOST, method, path, &origin, body);
            let exchange = request.exchange.clone();
            let response = sink.handle(request).await;
            assert_eq!(response.status(), status, "{row}");
            assert_eq!(
                header(&response, "access-control-allow-origin"),
                origin[0].1,
                "{row}"
            );
            if status == 200 {
                let text = body_text(response).await;
                assert!(text.contains("\"success\":true"), "{row}: {text}");
            }
            let exposed = metrics.render();
            assert!(
                exposed.contains(&format!("\"{counted}\"}} 1")),
                "{row}: {exposed}"
            );
            assert_eq!(exposed.contains("kind=\"field\""), drift, "{row}");
            assert!(!exposed.contains("secret"), "{row}");
            let told = exchange.note.read();
            assert_eq!(told.answered_by.as_deref(), Some("sink"), "{row}");
            assert!(!told.detail.unwrap_or_default().contains("secret"), "{row}");
        }
    }

    #[tokio::test]
    async fn a_public_site_gets_nothing() {
        let metrics = Arc::new(Metrics::new());
        let sink = SinkResponder::new(OriginPolicy::private_only(), metrics.clone());
        let origin = [("origin", "https://evil.example")];
        let refused = sink
            .handle(request(HOST, "POST", TRACK_EVENT_PATH, &origin, "{}"))
            .await;
        assert_eq!(refused.status(), 403);
        assert_eq!(header(&refused, "access-control-allow-origin"), "");
        let preflight = sink
            .handle(request(HOST, "OPTIONS", TRACK_EVENT_PATH, &origin, ""))
            .await;
        assert_eq!(preflight.status(), 204);
        assert_eq!(header(&preflight, "access-control-allow-origin"), "");
        assert!(!metrics.render().contains("telemetry_dropped_total{"));
    }
}
