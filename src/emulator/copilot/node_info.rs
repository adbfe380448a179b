//! Where nodes come from that are not installed (WIRE.md 15).

use http::StatusCode;
use serde_json::{Value, json};

use super::{BAD_REQUEST, CopilotResponder};
use crate::{
    emulator::{
        fields::Fields,
        http::{failure, note, success},
        language::Language,
    },
    handler::{Exchange, LocalResponse},
};

/// Node types answered at once, and their longest name; far above any workflow.
const MAX_NODE_TYPES: usize = 1024;
const MAX_NODE_TYPE_BYTES: usize = 256;

impl CopilotResponder {
    pub(super) fn node_info(
        &self,
        fields: Option<Fields<'_>>,
        exchange: &Exchange,
        language: Language,
    ) -> LocalResponse {
        match fields.and_then(|f| f.read::<Vec<String>>("node_types")) {
            Some(types) => {
                note(exchange, "stand-in", "no repository known");
                success(node_info(types))
            }
            None => {
                note(exchange, "stand-in", "no node types");
                failure(StatusCode::BAD_REQUEST, BAD_REQUEST.in_language(language))
            }
        }
    }
}

/// Each type with no repository: the page lists it with a search link and offers to load the
/// graph all the same.
fn node_info(types: Vec<String>) -> Value {
    types
        .into_iter()
        .filter(|name| name.len() <= MAX_NODE_TYPE_BYTES)
        .take(MAX_NODE_TYPES)
        .map(|name| json!({"name": name, "github_url": ""}))
        .collect()
}
