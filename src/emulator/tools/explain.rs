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
/// Headings of a page's last part, in the languages that ComfyUI ships.
const SOURCE: [&str; 4] = ["source code", "source", "源码", "源代码"];
/// Whole numbers below it are exact as a float.
pub const EXACT: f64 = 9_007_199_254_740_992.0;
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

/// What stands around the facts, in one language.
pub struct Labels {
    menu: &'static str,
    custom: &'static str,
    built_in: &'static str,
    deprecated: &'static str,
    experimental: &'static str,
    paid: &'static str,
    output_node: &'static str,
    inputs: &'static str,
    outputs: &'static str,
    none: &'static str,
    required: &'static str,
    optional: &'static str,
    default: &'static str,
    list: &'static str,
    more: &'static str,
    docs: &'static str,
    cut: &'static str,
    no_docs: &'static str,
}

impl Labels {
    pub const ENGLISH: Self = Self {
        menu: "Menu: ",
        custom: "A custom node, from ",
        built_in: "Comes with ComfyUI",
        deprecated: "It is deprecated.",
        experimental: "It is experimental.",
        paid: "It calls a paid cloud service and needs the Internet.",
        output_node: "It is an output node: a workflow needs one.",
        inputs: "Inputs",
        outputs: "Outputs",
        none: "none",
        required: "required",
        optional: "optional",
        default: "default",
        list: "a list",
        more: "more",
        docs: "Documentation",
        cut: "(cut)",
        no_docs: "It has no page in the docs of this ComfyUI.",
    };
    pub const CHINESE: Self = Self {
        menu: "菜单：",
        custom: "自定义节点，来自 ",
        built_in: "ComfyUI 自带",
        deprecated: "此节点已弃用。",
        experimental: "此节点为实验性。",
        paid: "它调用付费的云端服务，需要联网。",
        output_node: "它是输出节点：工作流需要至少一个。",
        inputs: "输入",
        outputs: "输出",
        none: "无",
        required: "必需",
        optional: "可选",
        default: "默认",
        list: "列表",
        more: "更多",
        docs: "文档",
        cut: "（已截断）",
        no_docs: "此 ComfyUI 的文档中没有该节点的页面。",
    };
}

/// Markdown, for the model.
pub fn explanation(node: &Node, docs: Option<&str>) -> String {
    let labels = &Labels::ENGLISH;
    about(node, labels) + &sockets(node, labels) + &documentation(docs, labels)
}

/// Its name, where it comes from, what it is for.
pub fn about(node: &Node, labels: &Labels) -> String {
    let mut out = format!("## {} (`{}`)\n", node.title, node.class);
    if !node.category.is_empty() {
        out.push_str(&format!("{}{}. ", labels.menu, node.category));
    }
    out.push_str(match node.custom_pack() {
        Some(_) => labels.custom,
        None => labels.built_in,
    });
    out.push_str(node.custom_pack().unwrap_or_default());
    out.push_str(".\n");
    for (is, words) in [
        (node.deprecated, labels.deprecated),
        (node.experimental, labels.experimental),
        (node.is_api, labels.paid),
        (node.is_output, labels.output_node),
    ] {
        if is {
            out.push_str(words);
            out.push('\n');
        }
    }
    if !node.description.trim().is_empty() {
        out.push_str(&format!("\n{}\n", node.description.trim()));
    }
    out
}

/// What goes in, with bounds and defaults, and what comes out.
pub fn sockets(node: &Node, labels: &Labels) -> String {
    let mut out = format!("\n### {}\n", labels.inputs);
    if node.inputs.is_empty() {
        out.push_str(labels.none);
        out.push('\n');
    }
    for input in &node.inputs {
        out.push_str(&line(input, labels));
    }
    out.push_str(&format!("\n### {}\n", labels.outputs));
    if node.outputs.is_empty() {
        out.push_str(labels.none);
        out.push('\n');
    }
    for output in &node.outputs {
        out.push_str(&format!("- {}: {}", output.name, output.socket.as_str()));
        if output.is_list {
            out.push_str(", ");
            out.push_str(labels.list);
        }
        out.push('\n');
    }
    out
}

/// The page that ComfyUI ships for it.
pub fn documentation(docs: Option<&str>, labels: &Labels) -> String {
    let Some(docs) = docs else {
        return format!("\n{}\n", labels.no_docs);
    };
    let docs = without_source(docs);
    let mut out = format!("\n### {}\n", labels.docs);
    out.push_str(&sound::text(docs, MAX_DOC));
    if docs.len() > MAX_DOC {
        out.push('\n');
        out.push_str(labels.cut);
    }
    out
}

/// The page up to where it prints the node's own program: pages of that explain nothing to whoever asked,
/// and push what would out of a small model's sight.
fn without_source(docs: &str) -> &str {
    let mut at = 0;
    for line in docs.split_inclusive('\n') {
        let title = line.trim_start_matches('#').trim();
        if line.starts_with('#') && SOURCE.iter().any(|name| title.eq_ignore_ascii_case(name)) {
            break;
        }
        at += line.len();
    }
    docs.get(..at).unwrap_or(docs).trim_end()
}

fn line(input: &Input, labels: &Labels) -> String {
    let need = match input.required {
        true => labels.required,
        false => labels.optional,
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
                out.push_str(&format!(
                    ", +{} {}",
                    choices.values.len() - MAX_VALUES,
                    labels.more
                ));
            }
        }
        Kind::Text { .. } | Kind::Flag | Kind::Socket(_) => {}
    }
    if let Some(default) = &input.default {
        out.push_str(&format!("; {} {}", labels.default, shown(default)));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_where_it_prints_the_nodes_own_program() {
        for (docs, want) in [
            (
                "# A\nwhat it does\n\n## Source Code\n\n```python\nx\n",
                "# A\nwhat it does",
            ),
            ("# A\nwhat\n## 源码\nx\n", "# A\nwhat"),
            (
                "# A\nsource code is not shown\n",
                "# A\nsource code is not shown",
            ),
            ("# Source of noise\nx\n", "# Source of noise\nx"),
            ("", ""),
        ] {
            assert_eq!(without_source(docs), want);
        }
    }
}
