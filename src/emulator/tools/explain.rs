//! `explain_node`: a node's page of docs, and what `/object_info` says about it.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{Answer, Failure, Run, ToolCaller, arguments, cards, search_node::nodes};
use crate::{
    comfy::{Input, Kind, Node, sound},
    comfyui::Knowledge,
    mcp::Tool,
    search::is_dense,
};

/// Bytes of the docs that go to the model: small local ones have small contexts.
const MAX_DOC: usize = 6 << 10;
const MAX_TOOLTIP: usize = 200;
/// Whole numbers below it are exact as a float.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// Allowed values that are listed.
const MAX_VALUES: usize = 12;

pub struct ExplainNode;

#[async_trait]
impl Run for ExplainNode {
    fn tool(&self) -> Tool {
        Tool {
            name: "explain_node".into(),
            description:
                "Explain one node installed in this ComfyUI: what it does, its inputs with \
                          allowed values and defaults, its outputs."
                    .into(),
            input_schema: json!({
                "type": "object",
                "properties": {
                    "node_name": {"type": "string", "description": "Class or title of the node, such as KSampler"},
                    "language": {"type": "string", "enum": ["en", "zh"], "description": "Language of the docs"}
                },
                "required": ["node_name"]
            }),
        }
    }

    fn check(&self, arguments: &Map<String, Value>) -> Result<(), String> {
        name(arguments).map(drop)
    }

    async fn run(
        &self,
        arguments: &Map<String, Value>,
        known: &Arc<Knowledge>,
        _: &ToolCaller,
    ) -> Result<Answer, Failure> {
        let name = name(arguments).map_err(Failure)?;
        let chinese = match arguments::text(arguments, &["language"]) {
            Some(language) => language.to_lowercase().starts_with("zh"),
            None => is_dense(&name),
        };
        let Some(node) = known.catalogue.node_called(&name) else {
            let near = nodes(known, &name, 5);
            let near: Vec<&str> = near.iter().map(|n| n.class.as_str()).collect();
            let hint = match near.is_empty() {
                true => String::new(),
                false => format!(" Nearest installed ones: {}.", near.join(", ")),
            };
            return Err(Failure(format!(
                "No node named {name} is installed in this ComfyUI.{hint}"
            )));
        };
        let docs = known.catalogue.docs(&node.class);
        let card = cards::node(node, docs);
        Ok(Answer {
            text: explanation(node, docs.map(|d| d.either(chinese))),
            ext: vec![json!({"type": "node", "data": [card.json]})],
            data: vec![card.json],
        })
    }
}

fn name(arguments: &Map<String, Value>) -> Result<String, String> {
    arguments::text(
        arguments,
        &["node_name", "name", "node", "node_type", "class", "query"],
    )
    .ok_or_else(|| "say in \"node_name\" which node: {\"node_name\": \"KSampler\"}".into())
}

/// Markdown.
pub fn explanation(node: &Node, docs: Option<&str>) -> String {
    let mut out = format!("## {} (`{}`)\n", node.title, node.class);
    if !node.category.is_empty() {
        out.push_str(&format!("Menu: {}. ", node.category));
    }
    out.push_str(match node.custom_pack() {
        Some(_) => "A custom node, from ",
        None => "Comes with ComfyUI",
    });
    out.push_str(node.custom_pack().unwrap_or_default());
    out.push_str(".\n");
    for (is, words) in [
        (node.deprecated, "It is deprecated."),
        (node.experimental, "It is experimental."),
        (
            node.is_api,
            "It calls a paid cloud service and needs the Internet.",
        ),
        (
            node.is_output,
            "It is an output node: a workflow needs one.",
        ),
    ] {
        if is {
            out.push_str(words);
            out.push('\n');
        }
    }
    if !node.description.trim().is_empty() {
        out.push_str(&format!("\n{}\n", node.description.trim()));
    }
    out.push_str("\n### Inputs\n");
    if node.inputs.is_empty() {
        out.push_str("none\n");
    }
    for input in &node.inputs {
        out.push_str(&line(input));
    }
    out.push_str("\n### Outputs\n");
    if node.outputs.is_empty() {
        out.push_str("none\n");
    }
    for output in &node.outputs {
        let list = if output.is_list { ", a list" } else { "" };
        out.push_str(&format!(
            "- {}: {}{list}\n",
            output.name,
            output.socket.as_str()
        ));
    }
    match docs {
        Some(docs) => {
            out.push_str("\n### Documentation\n");
            out.push_str(&sound::text(docs, MAX_DOC));
            if docs.len() > MAX_DOC {
                out.push_str("\n(cut)");
            }
        }
        None => out.push_str("\nIt has no page in the docs of this ComfyUI.\n"),
    }
    out
}

fn line(input: &Input) -> String {
    let need = if input.required {
        "required"
    } else {
        "optional"
    };
    let mut out = format!("- {} ({}, {need})", input.name, input.link_type().as_str());
    match &input.kind {
        Kind::Int(number) | Kind::Float(number) => {
            // Beyond that a float is not the number that ComfyUI wrote, and nobody's bound.
            let bound = |bound: Option<f64>| match bound.filter(|b| b.abs() < EXACT) {
                Some(b) => b.to_string(),
                None => "any".to_owned(),
            };
            if number.min.is_some() || number.max.is_some() {
                out.push_str(&format!(": {} to {}", bound(number.min), bound(number.max)));
            }
        }
        Kind::Choice(choices) => {
            let shown = choices.values.iter().take(MAX_VALUES).map(shown);
            out.push_str(": ");
            out.push_str(&shown.collect::<Vec<_>>().join(", "));
            if choices.values.len() > MAX_VALUES {
                out.push_str(&format!(", and {} more", choices.values.len() - MAX_VALUES));
            }
        }
        Kind::Text { .. } | Kind::Flag | Kind::Socket(_) => {}
    }
    if let Some(default) = &input.default {
        out.push_str(&format!("; default {}", shown(default)));
    }
    if !input.tooltip.is_empty() {
        let tooltip = sound::text(&input.tooltip.replace('\n', " "), MAX_TOOLTIP);
        out.push_str(&format!(". {tooltip}"));
    }
    out.push('\n');
    out
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => sound::text(&text.replace('\n', " "), MAX_TOOLTIP),
        other => sound::text(&other.to_string(), MAX_TOOLTIP),
    }
}
