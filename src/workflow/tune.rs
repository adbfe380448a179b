//! Changes of a workflow's values, and of nothing else: which there are, and which of them ComfyUI takes.

use serde_json::{Number, Value};

use super::{
    check::value_fault,
    fault::Place,
    prompt::{Given, NodeId, Prompt, PromptNode},
};
use crate::comfy::{Catalogue, Input, Kind, Node};

/// Bytes of a text that is put in.
const MAX_TEXT: usize = 8 << 10;

/// A value that stands in a workflow and could be another.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'w> {
    pub id: &'w NodeId,
    pub node: &'w PromptNode,
    pub class: &'w Node,
    pub input: &'w Input,
    /// Its place among the values of the node.
    pub at: usize,
    pub value: &'w Value,
}

/// What somebody wants changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    pub node: String,
    pub input: String,
    pub value: Value,
}

/// What became different.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuned {
    pub node: NodeId,
    pub class: String,
    pub at: usize,
    pub input: String,
    pub value: Value,
}

/// All of them, in the order of the nodes. What is linked, and what a node that is not installed has, is
/// nobody's to set.
pub fn settings<'w>(prompt: &'w Prompt, catalogue: &'w Catalogue) -> Vec<Setting<'w>> {
    let mut out = Vec::new();
    for (id, node) in &prompt.nodes {
        let Some(class) = catalogue.node(&node.class) else {
            continue;
        };
        let inputs = class.inputs.iter().filter(|input| input.takes_value());
        for (at, input) in inputs.enumerate() {
            if let Some(Given::Value(value)) = node.inputs.get(&input.name) {
                out.push(Setting {
                    id,
                    node,
                    class,
                    input,
                    at,
                    value,
                });
            }
        }
    }
    out
}

/// Puts one value in. The error is a sentence that names the place and what would be right.
pub fn apply(prompt: &mut Prompt, catalogue: &Catalogue, wish: &Wish) -> Result<(), String> {
    let Wish {
        node: id,
        input,
        value,
    } = wish;
    let id = NodeId::parse(id.trim()).ok_or("a change names no node")?;
    let Some(node) = prompt.nodes.get_mut(&id) else {
        return Err(format!("there is no node {id}"));
    };
    let at = Place::node(&id, &node.class);
    let Some(class) = catalogue.node(&node.class) else {
        return Err(format!("{at}: it is not installed"));
    };
    let Some(known) = class.input(input.trim()).filter(|i| i.takes_value()) else {
        return Err(format!("{at}: it has no setting {input:?}"));
    };
    let at = Place::input(&id, &node.class, &known.name);
    match node.inputs.get(&known.name) {
        Some(Given::Link { .. }) => return Err(format!("{at}: it is linked, so it has no value")),
        Some(Given::Value(_)) | None => {}
    }
    let value = read_as(&known.kind, value);
    if value.as_str().is_some_and(|text| text.len() > MAX_TEXT) {
        return Err(format!("{at}: the text is too long"));
    }
    match value_fault(&known.kind, &value, known.upload) {
        Some(wrong) => Err(format!("{at}: {wrong}")),
        None => {
            node.inputs.insert(known.name.clone(), Given::Value(value));
            Ok(())
        }
    }
}

/// Numbers and flags as small models write them.
fn read_as(kind: &Kind, value: &Value) -> Value {
    let read = match (kind, value) {
        (Kind::Int(_), Value::String(text)) => text.trim().parse::<i64>().ok().map(Value::from),
        (Kind::Int(_), Value::Number(number)) => {
            let whole = number
                .as_f64()
                .filter(|n| n.fract() == 0.0 && n.abs() < 9e15);
            match number.is_f64() {
                true => whole.map(|n| Value::from(n as i64)),
                false => None,
            }
        }
        (Kind::Float(_), Value::String(text)) => {
            let number = text.trim().parse::<f64>().ok();
            number.and_then(Number::from_f64).map(Value::Number)
        }
        (Kind::Flag, Value::String(text)) => text
            .trim()
            .to_lowercase()
            .parse::<bool>()
            .ok()
            .map(Value::from),
        (
            Kind::Int(_)
            | Kind::Float(_)
            | Kind::Flag
            | Kind::Text { .. }
            | Kind::Choice(_)
            | Kind::Socket(_),
            _,
        ) => None,
    };
    read.unwrap_or_else(|| value.clone())
}

/// Which values the second of two states of one workflow has, and the first has not. A node that became
/// one of another class has none: who has the first state has no such node.
pub fn differences(before: &Prompt, after: &Prompt, catalogue: &Catalogue) -> Vec<Tuned> {
    let settings = settings(after, catalogue).into_iter();
    let changed = settings.filter(|setting| {
        let old = before.nodes.get(setting.id);
        let same = old.is_some_and(|old| {
            let given = old.inputs.get(&setting.input.name);
            given
                .is_some_and(|given| matches!(given, Given::Value(value) if value == setting.value))
        });
        !same
    });
    changed
        .map(|setting| Tuned {
            node: setting.id.clone(),
            class: setting.node.class.clone(),
            at: setting.at,
            input: setting.input.name.clone(),
            value: setting.value.clone(),
        })
        .collect()
}
