//! Workflows and classes in few words: a small model has a small memory.

use serde_json::Value;

use super::bases::Base;
use crate::{
    comfy::{Catalogue, Input, Kind, Node, sound},
    workflow::{Given, NodeId, Prompt, check::is_of_files, texts},
};

/// Of one value, of one line, and of all lines of a workflow.
const MAX_VALUE: usize = 160;
const MAX_LINE: usize = 700;
const MAX_WORKFLOW: usize = 4 << 10;
/// Allowed values that are told; of files more, as each is one that could be asked for.
const MAX_CHOICES: usize = 6;
const MAX_FILES: usize = 12;
const MAX_CHOICE: usize = 80;

/// A workflow's nodes with the values that can be changed.
pub fn values(base: &Base, catalogue: &Catalogue) -> String {
    let positive = texts::positive(&base.prompt, catalogue);
    let negative = texts::negative(&base.prompt, catalogue);
    let mut out = String::new();
    for (id, node) in &base.prompt.nodes {
        let Some(class) = catalogue.node(&node.class) else {
            continue;
        };
        let mut told = Vec::new();
        for input in class.inputs.iter().filter(|input| input.takes_value()) {
            if let Some(Given::Value(value)) = node.inputs.get(&input.name) {
                told.push(format!("{}={}{}", input.name, shown(value), among(input)));
            }
        }
        if told.is_empty() {
            continue;
        }
        let is_of = |places: &[texts::TextPlace]| places.iter().any(|p| p.node == *id);
        let role = match (is_of(&positive), is_of(&negative)) {
            (true, _) => " [positive prompt]",
            (false, true) => " [negative prompt]",
            (false, false) => "",
        };
        let line = format!("  node {id} {}{role}: {}", node.class, told.join("; "));
        out.push_str(&sound::text(&line, MAX_LINE));
        out.push('\n');
        if out.len() > MAX_WORKFLOW {
            break;
        }
    }
    out
}

/// `KSampler(model MODEL, steps INT=20, ...) -> LATENT`
pub fn signature(class: &Node) -> String {
    let inputs = class.inputs.iter().filter(|input| input.required);
    let inputs: Vec<String> = inputs.map(argument).collect();
    let outputs = class.outputs.iter().enumerate();
    let outputs: Vec<String> = outputs
        .map(|(slot, output)| format!("{slot} {}", output.socket.as_str()))
        .collect();
    let outputs = match (outputs.is_empty(), class.is_output) {
        (true, _) => "(a result)".to_owned(),
        (false, true) => format!("{} (a result)", outputs.join(", ")),
        (false, false) => outputs.join(", "),
    };
    let inputs = sound::text(&inputs.join(", "), MAX_LINE);
    format!("{}({inputs}) -> {outputs}", class.class)
}

fn argument(input: &Input) -> String {
    let of = input.link_type();
    let default = input.default.as_ref().filter(|_| input.takes_value());
    let default = default.map(|value| format!("={}", shown(value)));
    let default = default.unwrap_or_default();
    match &input.kind {
        Kind::Choice(_) => format!("{}{default}{}", input.name, among(input)),
        Kind::Int(_) | Kind::Float(_) | Kind::Text { .. } | Kind::Flag | Kind::Socket(_) => {
            format!("{} {}{default}", input.name, of.as_str())
        }
    }
}

/// ` (of a, b, c)`
fn among(input: &Input) -> String {
    let Kind::Choice(choices) = &input.kind else {
        return String::new();
    };
    let most = match is_of_files(choices) || input.upload {
        true => MAX_FILES,
        false => MAX_CHOICES,
    };
    let told = choices.values.iter().take(most).map(|value| match value {
        Value::String(text) => sound::text(text, MAX_CHOICE),
        other => other.to_string(),
    });
    let told: Vec<String> = told.collect();
    let more = match choices.values.len() > told.len() {
        true => ", ...",
        false => "",
    };
    format!(" (of {}{more})", told.join(", "))
}

/// A workflow in the form in which a new one is asked for.
pub fn as_list(prompt: &Prompt) -> Value {
    let input =
        |name: &str, given: &Given| serde_json::json!({"name": name, "value": given.to_value()});
    let node = |(id, node): (&NodeId, &crate::workflow::PromptNode)| {
        let inputs: Vec<Value> = node.inputs.iter().map(|(n, g)| input(n, g)).collect();
        serde_json::json!({"id": id.as_str(), "class_type": node.class, "inputs": inputs})
    };
    prompt.nodes.iter().map(node).collect()
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    };
    sound::text(&text, MAX_VALUE)
}
