//! `bing_search` of the plugin's second server. It searches no web: what it knows stands in the docs,
//! nodes and templates of this ComfyUI, and it says so each time.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{Answer, Failure, Run, ToolCaller, arguments, cards, recall::worth};
use crate::{
    comfy::sound,
    comfyui::Knowledge,
    mcp::Tool,
    search::{What, is_dense},
};

const MOST: usize = 6;
/// Bytes of the docs around a hit.
const EXCERPT: usize = 900;

const HONESTY: &str = "This was NOT a web search: Airlock keeps the chat on this machine. These are the \
                       local docs, nodes, templates and models of this ComfyUI; what is not there is not known here.";

pub struct LocalDocs;

#[async_trait]
impl Run for LocalDocs {
    fn tool(&self) -> Tool {
        Tool {
            // The name stands in the plugin's prompt.
            name: "bing_search".into(),
            description:
                "Search the local documentation of this ComfyUI (no web search is made): node \
                          docs, nodes, workflow templates and models."
                    .into(),
            input_schema: json!({
                "type": "object",
                "properties": {
                    "query": {"type": "string", "description": "What to look for"},
                    "count": {"type": "integer", "description": "Most results, 1 to 6", "default": MOST}
                },
                "required": ["query"]
            }),
        }
    }

    fn check(&self, arguments: &Map<String, Value>) -> Result<(), String> {
        question(arguments).map(drop)
    }

    async fn run(
        &self,
        arguments: &Map<String, Value>,
        known: &Arc<Knowledge>,
        _: &ToolCaller,
    ) -> Result<Answer, Failure> {
        let question = question(arguments).map_err(Failure)?;
        let count = arguments::count(arguments, "count", MOST, MOST);
        Ok(Answer {
            text: HONESTY.to_owned() + &found(&question, count, known),
            ..Answer::default()
        })
    }
}

/// What fits in the docs, nodes, templates and models, or that nothing does.
pub(super) fn found(question: &str, count: usize, known: &Knowledge) -> String {
    let chinese = is_dense(question);
    let catalogue = &known.catalogue;
    let hits = known.index.search(question, &What::ALL, count);
    let mut text = String::new();
    let mut any = false;
    for hit in worth(&hits) {
        let found = match hit.what {
            What::Node => catalogue.nodes().get(hit.at).map(|node| {
                let docs = catalogue.docs(&node.class);
                let excerpt = docs.map(|d| sound::text(d.either(chinese), EXCERPT));
                format!(
                    "{}\n{}",
                    cards::node(node, docs).line,
                    excerpt.unwrap_or_default()
                )
            }),
            What::Template => catalogue
                .templates()
                .get(hit.at)
                .map(|t| cards::template(catalogue, t, chinese).line),
            What::Saved => catalogue
                .saved()
                .get(hit.at)
                .map(|s| cards::saved(catalogue, s, chinese).line),
            What::Model => catalogue
                .models()
                .get(hit.at)
                .map(|m| format!("- {}/{} (a model file on this disk)", m.folder, m.name)),
        };
        if let Some(found) = found {
            any = true;
            text.push_str("\n\n");
            text.push_str(found.trim_end());
        }
    }
    if !any {
        text.push_str("\n\nNothing fits there. Say so to the user rather than guess.");
    }
    text
}

pub(super) fn question(arguments: &Map<String, Value>) -> Result<String, String> {
    let texts = arguments::texts(arguments, &["query", "q", "keywords"]);
    match texts.is_empty() {
        true => Err("say in \"query\" what to look for: {\"query\": \"flux guidance\"}".into()),
        false => Ok(texts.join(" ")),
    }
}
