//! The LLM chooses a workflow that is there, and fills in its values.
//!
//! It writes values alone, never a link: what a small model writes then is short, and what it cannot
//! break stays whole.

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use std::time::Duration;

use super::{Draft, Origin, bases::Base, bases::blocking, describe, told, wish::Wish};
use crate::{
    comfy::{Catalogue, sound},
    emulator::{
        asking::{Asking, Cost, Question, Unanswered},
        mcp_transport::ToolCaller,
        prompts::WORKFLOW_ADAPT,
    },
    llm::structured::Shape,
    workflow::{self, Given, NodeId, Prompt, check::accepted, fault::shown, nearest},
};

/// Of the whole time; what is left is for a new one.
const TIME: Duration = Duration::from_secs(100);
const TRIES: usize = 3;
const TOKENS: u32 = 1_536;
const MAX_BYTES: usize = 32 << 10;
const MAX_CHANGES: usize = 64;
pub const MAX_NAME: usize = 80;
/// What the workflows are called for the LLM.
const LETTERS: [&str; 6] = ["A", "B", "C", "D", "E", "F"];

pub enum Adapted {
    Draft(Box<Draft>),
    NoneFits,
}

#[derive(Debug, Deserialize)]
struct Said {
    #[serde(rename = "use")]
    base: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    changes: Vec<SaidChange>,
}

#[derive(Debug, Deserialize)]
struct SaidChange {
    node: Value,
    input: String,
    value: Value,
}

pub async fn adapt(
    asking: &Asking,
    wish: &Wish,
    bases: &[Base],
    catalogue: &Catalogue,
    caller: &ToolCaller,
    until: Instant,
) -> Result<Adapted, Unanswered> {
    let offered = || LETTERS.iter().zip(bases);
    let workflows: Vec<String> = offered()
        .map(|(letter, base)| {
            let values = describe::values(base, catalogue);
            format!("{letter}: {}\n{values}", base.title)
        })
        .collect();
    let letters: Vec<&str> = offered().map(|(l, _)| *l).chain(["none"]).collect();
    let question = Question {
        system: WORKFLOW_ADAPT.fill(&[("workflows", &workflows.join("\n"))]),
        user: wish.request(),
        cost: Cost {
            time: TIME.min(until.saturating_duration_since(Instant::now())),
            tries: TRIES,
            tokens: TOKENS,
            bytes: MAX_BYTES,
        },
    };
    let shape = shape(&letters);
    let judge = |said: Said| {
        let letter = said.base.trim().trim_end_matches([':', '.', ')']);
        let base = offered().find(|(own, _)| own.eq_ignore_ascii_case(letter));
        match base {
            Some((_, base)) => {
                changed(base, &said, catalogue).map(|draft| Adapted::Draft(Box::new(draft)))
            }
            None if letter.eq_ignore_ascii_case("none") => Ok(Adapted::NoneFits),
            None => Err(format!("\"use\" must be one of {}", letters.join(", "))),
        }
    };
    asking
        .object(&question, &shape, &caller.exchange, judge)
        .await
}

fn shape(letters: &[&str]) -> Shape {
    let change = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["node", "input", "value"],
        "properties": {
            "node": {"type": "string"},
            "input": {"type": "string"},
            "value": {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]}
        }
    });
    Shape {
        name: "workflow_choice",
        schema: json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["use", "name", "changes"],
            "properties": {
                "use": {"type": "string", "enum": letters},
                "name": {"type": "string"},
                "changes": {"type": "array", "items": change}
            }
        }),
    }
}

/// The workflow with the values, or what is wrong with them.
fn changed(base: &Base, said: &Said, catalogue: &Catalogue) -> Result<Draft, String> {
    let mut prompt = base.prompt.clone();
    let (mut changes, mut wrong) = (Vec::new(), Vec::new());
    for change in said.changes.iter().take(MAX_CHANGES) {
        match set(&mut prompt, change, catalogue) {
            Ok(words) => changes.push(words),
            Err(words) => wrong.push(words),
        }
    }
    if !wrong.is_empty() {
        return Err(told(&wrong));
    }
    let mut repairs = base.repairs.clone();
    repairs.extend(workflow::repair(&mut prompt, catalogue));
    let faults = workflow::check(&prompt, catalogue);
    if !accepted(&faults) {
        return Err(told(&blocking(&faults)));
    }
    let name = sound::text(said.name.trim(), MAX_NAME).replace('\n', " ");
    Ok(Draft {
        name: match name.is_empty() {
            true => base.title.clone(),
            false => name,
        },
        prompt,
        from: Some(Origin {
            id: base.id.clone(),
            title: base.title.clone(),
        }),
        changes,
        repairs,
        remark: String::new(),
    })
}

/// Sets one value; says what was set.
fn set(prompt: &mut Prompt, change: &SaidChange, catalogue: &Catalogue) -> Result<String, String> {
    let SaidChange { node, input, value } = change;
    let named = || sound::text(&shown(node), MAX_NAME);
    let id = NodeId::of(node);
    // `node 6`, as it stands in the list.
    let id = id.map(|id| match id.as_str().strip_prefix("node ") {
        Some(number) => NodeId::parse(number.trim()).unwrap_or(id),
        None => id,
    });
    let found = id.and_then(|id| Some((id.clone(), prompt.nodes.get_mut(&id)?)));
    let Some((id, node)) = found else {
        return Err(format!("this workflow has no node {}", named()));
    };
    let class = node.class.clone();
    let inputs = catalogue.node(&class).map(|n| n.inputs.as_slice());
    let inputs = inputs.unwrap_or_default().iter();
    let values = inputs.filter(|i| i.takes_value()).map(|i| i.name.as_str());
    let Some(name) = nearest::the_one(input, values.clone()) else {
        let values: Vec<&str> = values.collect();
        return Err(format!(
            "node {id} ({class}) has no value {input:?}: it has {}",
            values.join(", ")
        ));
    };
    if let Some(Given::Link { .. }) = node.inputs.get(name) {
        return Err(format!(
            "the input {name:?} of node {id} ({class}) is linked, so its value cannot be changed: \
             change it in the node that it is linked to, or leave it out"
        ));
    }
    if !matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_)) {
        return Err(format!(
            "the value of {name:?} of node {id} ({class}) must be a text, a number, true or false"
        ));
    }
    node.inputs
        .insert(name.to_owned(), Given::Value(value.clone()));
    Ok(format!("{name} of node {id} ({class}) to {}", shown(value)))
}
