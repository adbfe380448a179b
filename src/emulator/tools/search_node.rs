//! `search_node`: installed nodes that fit, as cards.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{Answer, Failure, Run, ToolCaller, arguments, cards, recall::worth};
use crate::{comfy::Node, comfyui::Knowledge, mcp::Tool, search::What};

const DEFAULT: usize = 8;
const MOST: usize = 25;

pub struct SearchNode;

#[async_trait]
impl Run for SearchNode {
    fn tool(&self) -> Tool {
        Tool {
            name: "search_node".into(),
            description:
                "Search the nodes installed in this ComfyUI by name or purpose. Returns class \
                          names, inputs and outputs, and node cards."
                    .into(),
            input_schema: json!({
                "type": "object",
                "properties": {
                    "query": {"type": "string", "description": "Name or purpose of the node"},
                    "limit": {"type": "integer", "description": "Most results, 1 to 25", "default": DEFAULT}
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
        let limit = arguments::count(arguments, "limit", DEFAULT, MOST);
        let found = nodes(known, &question, limit);
        let named = known.catalogue.node_called(&question).is_some();
        let mut text = String::new();
        if !named && is_class_like(&question) {
            text.push_str(&format!(
                "No node named {question} is installed in this ComfyUI. "
            ));
        }
        if found.is_empty() {
            text.push_str(
                "No installed node fits. Try other words, in English: what it takes and makes.",
            );
            return Ok(Answer {
                text,
                ..Answer::default()
            });
        }
        let found: Vec<cards::Card> = found
            .into_iter()
            .map(|n| cards::node(n, known.catalogue.docs(&n.class)))
            .collect();
        let lines: Vec<&str> = found.iter().map(|card| card.line.as_str()).collect();
        text.push_str(&format!(
            "{} installed nodes fit, best first:\n{}",
            found.len(),
            lines.join("\n")
        ));
        let data: Vec<Value> = found.iter().map(|card| card.json.clone()).collect();
        Ok(Answer {
            text,
            ext: vec![json!({"type": "node", "data": data})],
            data,
        })
    }
}

fn question(arguments: &Map<String, Value>) -> Result<String, String> {
    let texts = arguments::texts(arguments, &["query", "keywords", "name", "node_name"]);
    match texts.is_empty() {
        true => Err(
            "say in \"query\" what the node is called or does: {\"query\": \"upscale image\"}"
                .into(),
        ),
        false => Ok(texts.join(" ")),
    }
}

/// The node of that very name first, then what the search finds.
pub fn nodes<'k>(known: &'k Knowledge, question: &str, limit: usize) -> Vec<&'k Node> {
    let catalogue = &known.catalogue;
    let mut out: Vec<&Node> = Vec::from_iter(catalogue.node_called(question));
    let hits = known.index.search(question, &[What::Node], limit);
    for node in worth(&hits).filter_map(|hit| catalogue.nodes().get(hit.at)) {
        if !out.iter().any(|n| n.class == node.class) {
            out.push(node);
        }
    }
    out.truncate(limit);
    out
}

/// One word that is written as classes are: `IPAdapterAdvanced`, `easy_loader`.
fn is_class_like(text: &str) -> bool {
    let plain = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let inner_capital = text.chars().skip(1).any(|c| c.is_ascii_uppercase());
    plain && (inner_capital || text.contains('_'))
}
