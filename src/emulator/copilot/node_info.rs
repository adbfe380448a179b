//! Where nodes come from that are not installed (WIRE.md 15).
//!
//! From the lists of a ComfyUI-Manager on this disk; without one each is listed with no address, and the
//! page shows a link to a search. It offers to load the graph all the same.

use http::StatusCode;
use serde_json::{Value, json};

use super::{BAD_REQUEST, CopilotResponder};
use crate::{
    comfy::NodePacks,
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
    pub(super) async fn node_info(
        &self,
        fields: Option<Fields<'_>>,
        exchange: &Exchange,
        language: Language,
    ) -> LocalResponse {
        let Some(types) = fields.and_then(|f| f.read::<Vec<String>>("node_types")) else {
            note(exchange, "stand-in", "no node types");
            return failure(StatusCode::BAD_REQUEST, BAD_REQUEST.in_language(language));
        };
        let lists = self.manager_lists.clone();
        let packs = tokio::task::spawn_blocking(move || lists.packs()).await;
        // A reader that panicked knows nothing.
        let listed = listed(types, &packs.unwrap_or_default());
        let with = listed.iter().filter(|entry| entry["github_url"] != "");
        let detail = format!("{} of {} repositories known", with.count(), listed.len());
        note(exchange, "stand-in", detail);
        success(Value::Array(listed))
    }
}

fn listed(types: Vec<String>, packs: &NodePacks) -> Vec<Value> {
    types
        .into_iter()
        .filter(|name| name.len() <= MAX_NODE_TYPE_BYTES)
        .take(MAX_NODE_TYPES)
        .map(|name| {
            let address = packs.repository(&name).unwrap_or_default();
            json!({"name": name, "github_url": address})
        })
        .collect()
}
