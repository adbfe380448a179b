//! What the page asks with an intent, answered line by line (WIRE.md 13).
//!
//! The page shows the text of the newest line in place of the one before, so each line carries all
//! that was said so far. A last line that is not `finished` leaves its spinner turning: whatever
//! happens, there is one, and its text is never empty.

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{BAD_REQUEST, CopilotResponder};
use crate::{
    emulator::{
        fields::Fields,
        http::{ndjson, note},
        language::{Language, Phrase},
    },
    handler::{Exchange, LocalResponse},
    metrics::drift::name_of,
};

const MAX_SESSION_ID_BYTES: usize = 128;
/// Bytes of a node's name, and nodes that stand before it.
pub const MAX_NAME: usize = 256;
const MAX_UPSTREAM: usize = 64;

pub const NO_COMFYUI: Phrase = Phrase {
    en: "Airlock answers this from your own ComfyUI, and is told not to ask it (`comfyui.url` is off in its \
         configuration). You can ask the same question in the chat.",
    zh: "Airlock 通过您自己的 ComfyUI 回答此问题，但配置中已关闭（`comfyui.url`）。您可以在聊天中提出同样的问题。",
};
const UNKNOWN_INTENT: Phrase = Phrase {
    en: "Airlock does not know this feature yet and did not send your request to the vendor. You can ask the \
         same question in the chat.",
    zh: "Airlock 尚不认识此功能，也没有把您的请求发送给云端服务。您可以在聊天中提出同样的问题。",
};

/// Intents of the shipped page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    NodeExplain,
    NodeParams,
    Downstream,
}

impl Intent {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "node_explain" => Intent::NodeExplain,
            "node_params" => Intent::NodeParams,
            "downstream_subgraph_search" => Intent::Downstream,
            _ => return None,
        })
    }
}

/// One question of the page.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Class of the selected node.
    pub node: String,
    /// Classes of the nodes before it.
    pub upstream: Vec<String>,
    pub language: Language,
    pub exchange: Exchange,
}

/// Text so far, and cards; the last item of a stream is finished.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    pub text: String,
    pub finished: bool,
    pub cards: Option<Value>,
}

impl Line {
    pub fn last(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            finished: true,
            cards: None,
        }
    }

    fn to_json(&self, session_id: &str) -> Value {
        json!({
            "session_id": session_id,
            "text": self.text,
            "finished": self.finished,
            "type": "message",
            "format": "markdown",
            "ext": self.cards,
        })
    }
}

/// What goes to the page, as it comes.
pub type Lines = BoxStream<'static, Line>;

pub fn only(line: Line) -> Lines {
    stream::iter([line]).boxed()
}

#[derive(Deserialize)]
struct Ext {
    #[serde(rename = "type", default)]
    kind: Value,
    #[serde(default)]
    data: Value,
}

impl CopilotResponder {
    pub(super) fn invoke(
        &self,
        fields: Option<Fields<'_>>,
        exchange: &Exchange,
        language: Language,
    ) -> LocalResponse {
        let read = |name: &str| fields.as_ref().and_then(|f| f.read::<String>(name));
        let session_id = read("session_id")
            .filter(|id| id.len() <= MAX_SESSION_ID_BYTES)
            .unwrap_or_default();
        let node = read("prompt").map(|p| p.trim().to_owned());
        let (status, lines) = match (read("intent"), node) {
            (Some(intent), Some(node)) if !node.is_empty() && node.len() <= MAX_NAME => {
                let asked = Asked {
                    node,
                    upstream: fields.as_ref().map(upstream).unwrap_or_default(),
                    language,
                    exchange: exchange.clone(),
                };
                (StatusCode::OK, self.intended(&intent, asked))
            }
            (Some(_), Some(_)) | (None, _) | (_, None) => {
                note(exchange, "stand-in", "no intent that can be read");
                let line = Line::last(BAD_REQUEST.in_language(language));
                (StatusCode::BAD_REQUEST, only(line))
            }
        };
        ndjson(status, lines.map(move |line| line.to_json(&session_id)))
    }

    fn intended(&self, name: &str, asked: Asked) -> Lines {
        match Intent::of(name) {
            Some(Intent::NodeExplain) => self.explained(asked, Intent::NodeExplain),
            Some(Intent::NodeParams) => self.explained(asked, Intent::NodeParams),
            Some(Intent::Downstream) => self.downstream(asked),
            None => {
                let shape = name_of(name).to_owned();
                self.metrics.drift_of("copilot", "intent", shape);
                note(&asked.exchange, "stand-in", "unknown intent");
                only(Line::last(UNKNOWN_INTENT.in_language(asked.language)))
            }
        }
    }
}

/// `ext`: `[{"type": "upstream_node_types", "data": [...]}]`.
fn upstream(fields: &Fields<'_>) -> Vec<String> {
    let ext = fields.read::<Vec<Ext>>("ext").unwrap_or_default();
    let lists = ext.into_iter().filter(|e| e.kind == "upstream_node_types");
    let names = lists.filter_map(|e| serde_json::from_value::<Vec<String>>(e.data).ok());
    let names = names.flatten().filter(|name| name.len() <= MAX_NAME);
    names.take(MAX_UPSTREAM).collect()
}
