//! Slips made good without a question, each told: the person sees what was changed.
//!
//! Only what has one answer is repaired. Where two would do, it stays a fault for whoever wrote it; the
//! exception is a file that is not installed, where the most similar one is taken and named.

use std::{collections::BTreeSet, fmt};

use serde_json::{Number as JsonNumber, Value, json};

use super::{
    check::{is_model_file, is_of_files, sources, unwrapped},
    fault::{Place, shown},
    nearest, order,
    prompt::{Given, NodeId, Prompt, PromptNode, Slot},
};
use crate::comfy::{Catalogue, Choices, Input, Kind, Node, Number, SocketType};

/// How often links are gone through: one that was made can leave another with one answer.
const MAX_PASSES: usize = 8;

/// One thing that was changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Repair {
    pub at: Place,
    pub change: Change,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    Class {
        from: String,
    },
    InputName {
        from: String,
    },
    /// Read as what the input takes: `"20"` as 20, `euler ancestral` as `euler_ancestral`.
    Value {
        from: Value,
        to: Value,
    },
    /// Moved to the bound.
    Clamped {
        from: Value,
        to: Value,
    },
    /// What was missing, with the default or the first choice.
    Filled {
        to: Value,
    },
    /// To the one output that fits.
    Linked {
        from: NodeId,
        slot: usize,
    },
    /// Another file, as the one that was named is not installed.
    File {
        from: Option<Value>,
        to: String,
        only: bool,
    },
    /// The user has to choose: a picture to work on.
    Upload {
        from: Value,
        to: Value,
    },
    /// Nothing needed it.
    Dropped,
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, change } = self;
        write!(f, "{at}: ")?;
        match change {
            Change::Class { from } => write!(f, "read {from:?} as this class"),
            Change::InputName { from } => write!(f, "read {from:?} as this input"),
            Change::Value { from, to } => write!(f, "read {} as {}", shown(from), shown(to)),
            Change::Clamped { from, to } => {
                write!(f, "{} is out of bounds, took {}", shown(from), shown(to))
            }
            Change::Filled { to } => write!(f, "was missing, took {}", shown(to)),
            Change::Linked { from, slot } => {
                write!(
                    f,
                    "linked to output {slot} of node {from}, the only one that fits"
                )
            }
            Change::File { from, to, only } => {
                match from {
                    Some(from) => write!(f, "{} is not installed", shown(from))?,
                    None => f.write_str("no file was named")?,
                }
                let how = if *only {
                    "the only one"
                } else {
                    "the most similar"
                };
                write!(f, ", took {to}, {how} that is installed")
            }
            Change::Upload { from, to } => write!(
                f,
                "{} is not among the user's files, took {}: choose your own",
                shown(from),
                shown(to)
            ),
            Change::Dropped => f.write_str("taken out, as no result needs it"),
        }
    }
}

/// Repairs what can be; what is left over is for [`check`](super::check()) to tell.
pub fn repair(prompt: &mut Prompt, catalogue: &Catalogue) -> Vec<Repair> {
    let mut done = Vec::new();
    classes(prompt, catalogue, &mut done);
    for (id, node) in &mut prompt.nodes {
        let Some(class) = catalogue.node(&node.class) else {
            continue;
        };
        let mut mend = Mend {
            id,
            class,
            done: &mut done,
        };
        mend.names(node);
        mend.values(node);
    }
    links(prompt, catalogue, &mut done);
    done
}

/// Takes out nodes that no output needs. Last of all: they may be what somebody asked for, and only the
/// link is missing.
pub fn drop_idle(prompt: &mut Prompt, catalogue: &Catalogue) -> Vec<Repair> {
    let outputs = order::outputs(prompt, catalogue);
    if outputs.is_empty() {
        return Vec::new();
    }
    let needed: BTreeSet<NodeId> = order::needed(prompt, &outputs)
        .into_iter()
        .cloned()
        .collect();
    let mut done = Vec::new();
    prompt.nodes.retain(|id, node| {
        let keep = needed.contains(id);
        if !keep {
            done.push(Repair {
                at: Place::node(id, &node.class),
                change: Change::Dropped,
            });
        }
        keep
    });
    done
}

fn classes(prompt: &mut Prompt, catalogue: &Catalogue, done: &mut Vec<Repair>) {
    for (id, node) in &mut prompt.nodes {
        if catalogue.node(&node.class).is_some() {
            continue;
        }
        let all = catalogue.nodes().iter();
        let meant = catalogue.node_called(&node.class).or_else(|| {
            let name = nearest::the_one(&node.class, all.map(|n| n.class.as_str()))?;
            catalogue.node(name)
        });
        if let Some(meant) = meant {
            let from = std::mem::replace(&mut node.class, meant.class.clone());
            done.push(Repair {
                at: Place::node(id, &node.class),
                change: Change::Class { from },
            });
        }
    }
}

struct Mend<'a> {
    id: &'a NodeId,
    class: &'a Node,
    done: &'a mut Vec<Repair>,
}

impl Mend<'_> {
    fn tell(&mut self, input: &str, change: Change) {
        self.done.push(Repair {
            at: Place::input(self.id, &self.class.class, input),
            change,
        });
    }

    /// An input of a name that the class has not, for one that it has and that nothing is given to.
    fn names(&mut self, node: &mut PromptNode) {
        let unknown = |name: &&String| self.class.input(name).is_none();
        let unknown: Vec<String> = node.inputs.keys().filter(unknown).cloned().collect();
        for name in unknown {
            let inputs = self.class.inputs.iter().map(|i| i.name.as_str());
            let free: Vec<&str> = inputs.filter(|i| !node.inputs.contains_key(*i)).collect();
            let Some(meant) = nearest::the_one(&name, free.iter().copied()) else {
                continue;
            };
            if let Some(given) = node.inputs.remove(&name) {
                node.inputs.insert(meant.to_owned(), given);
                self.tell(meant, Change::InputName { from: name });
            }
        }
    }

    fn values(&mut self, node: &mut PromptNode) {
        for input in &self.class.inputs {
            let change = match node.inputs.get(&input.name) {
                Some(Given::Link { .. }) => None,
                Some(Given::Value(value)) => better(input, unwrapped(value)),
                None if input.required => filling(input),
                None => None,
            };
            let Some(change) = change else {
                continue;
            };
            let to = match &change {
                Change::Value { to, .. }
                | Change::Clamped { to, .. }
                | Change::Filled { to }
                | Change::Upload { to, .. } => to.clone(),
                Change::File { to, .. } => json!(to),
                Change::Class { .. }
                | Change::InputName { .. }
                | Change::Linked { .. }
                | Change::Dropped => continue,
            };
            node.inputs.insert(input.name.clone(), Given::Value(to));
            self.tell(&input.name, change);
        }
    }
}

/// What to put where nothing was given.
fn filling(input: &Input) -> Option<Change> {
    if !input.takes_value() {
        return None;
    }
    if let Kind::Choice(choices) = &input.kind {
        let allowed = |v: &&Value| choices.allows(v) == Some(true);
        let default = input.default.as_ref().filter(allowed);
        if is_of_files(choices) && default.is_none() {
            // Any of several would be a guess.
            let texts = choices.values.iter().filter_map(Value::as_str);
            let mut files = texts.filter(|text| is_model_file(text));
            let (only, more) = (files.next()?, files.next());
            return more.is_none().then(|| Change::File {
                from: None,
                to: only.to_owned(),
                only: true,
            });
        }
        let to = default.or_else(|| choices.values.first())?.clone();
        return Some(Change::Filled { to });
    }
    let default = input.default.clone();
    let to = default.or_else(|| match input.kind {
        Kind::Text { multiline: _ } => Some(json!("")),
        Kind::Flag => Some(json!(false)),
        Kind::Int(_) | Kind::Float(_) | Kind::Choice(_) | Kind::Socket(_) => None,
    })?;
    Some(Change::Filled { to })
}

/// What the value should be in place of what it is; `None` where it is right, or nothing better is known.
fn better(input: &Input, value: &Value) -> Option<Change> {
    let (from, to) = match (&input.kind, value) {
        // Models write null for what they leave open.
        (Kind::Socket(_), _) => return None,
        (_, Value::Null) => return filling(input),
        (Kind::Int(bounds), _) => return number(value, *bounds, true),
        (Kind::Float(bounds), _) => return number(value, *bounds, false),
        (Kind::Text { .. }, Value::Number(_) | Value::Bool(_)) => {
            (value.clone(), json!(value.to_string()))
        }
        (Kind::Text { .. }, Value::Array(parts)) => {
            let texts: Option<Vec<&str>> = parts.iter().map(Value::as_str).collect();
            (value.clone(), json!(texts?.join(", ")))
        }
        (Kind::Text { .. }, Value::String(_) | Value::Object(_)) => return None,
        (Kind::Flag, _) => (value.clone(), json!(flag(value)?)),
        (Kind::Choice(choices), _) => return choice(input, choices, value),
    };
    (from != to).then_some(Change::Value { from, to })
}

fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => Some(number.as_f64()? != 0.0),
        Value::String(text) => match text.trim().to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" | "enable" | "enabled" => Some(true),
            "false" | "no" | "off" | "0" | "disable" | "disabled" => Some(false),
            _ => None,
        },
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn number(value: &Value, bounds: Number, whole: bool) -> Option<Change> {
    let read = match value {
        Value::Number(number) => number.clone(),
        Value::String(text) => serde_json::from_str::<JsonNumber>(text.trim()).ok()?,
        Value::Bool(_) | Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    let float = read.as_f64()?;
    let bound = match (bounds.min, bounds.max) {
        (Some(min), _) if float < min => Some(min),
        (_, Some(max)) if float > max => Some(max),
        (Some(_) | None, Some(_) | None) => None,
    };
    let from = value.clone();
    match bound {
        Some(bound) => {
            let to = match whole {
                true => Value::Number(whole_number(bound)),
                false => json!(bound),
            };
            Some(Change::Clamped { from, to })
        }
        None => {
            let to = Value::Number(match whole && read.is_f64() {
                true => whole_number(float.round()),
                false => read,
            });
            (from != to).then_some(Change::Value { from, to })
        }
    }
}

/// The nearest whole number that JSON and Python share; seeds go up to 2^64 - 1.
fn whole_number(float: f64) -> JsonNumber {
    match float < 0.0 {
        // `as` stops at the ends of the type.
        true => JsonNumber::from(float as i64),
        false => JsonNumber::from(float as u64),
    }
}

fn choice(input: &Input, choices: &Choices, value: &Value) -> Option<Change> {
    if choices.many && value.is_array() || choices.allows(value) != Some(false) {
        return None;
    }
    let from = value.clone();
    // Another type of the same: "8" and 8.
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let typed = plain(value);
    let same = choices.values.iter().find(|v| plain(v) == typed);
    if let Some(same) = same {
        return Some(Change::Value {
            from,
            to: same.clone(),
        });
    }
    let texts = choices.values.iter().filter_map(Value::as_str);
    if input.upload {
        let to = choices.values.first()?.clone();
        return Some(Change::Upload { from, to });
    }
    if is_of_files(choices) || is_model_file(&typed) {
        let files: Vec<&str> = texts.filter(|t| is_model_file(t)).collect();
        let (to, only) = match files.as_slice() {
            [only] => (*only, true),
            files => (nearest::file(&typed, files.iter().copied())?, false),
        };
        return Some(match nearest::spelling(to) == nearest::spelling(&typed) {
            true => Change::Value {
                from,
                to: json!(to),
            },
            false => Change::File {
                from: Some(from),
                to: to.to_owned(),
                only,
            },
        });
    }
    let to = json!(nearest::the_one(&typed, texts)?);
    Some(Change::Value { from, to })
}

/// Links whose output is wrong where one output of the same node is right, and required links that are
/// missing where one output of the whole workflow is. One after the other, as each link closes ways for
/// the next: two nodes must not be linked to each other.
fn links(prompt: &mut Prompt, catalogue: &Catalogue, done: &mut Vec<Repair>) {
    let ids: Vec<NodeId> = prompt.nodes.keys().cloned().collect();
    for _ in 0..MAX_PASSES {
        let before = done.len();
        for id in &ids {
            let class = prompt.nodes.get(id).and_then(|n| catalogue.node(&n.class));
            for input in class.into_iter().flat_map(|class| &class.inputs) {
                let Some((from, slot)) = better_link(prompt, catalogue, id, input) else {
                    continue;
                };
                let Some(node) = prompt.nodes.get_mut(id) else {
                    continue;
                };
                node.inputs
                    .insert(input.name.clone(), Given::link(&from, slot));
                done.push(Repair {
                    at: Place::input(id, &node.class, &input.name),
                    change: Change::Linked { from, slot },
                });
            }
        }
        if done.len() == before {
            return;
        }
    }
}

fn better_link(
    prompt: &Prompt,
    catalogue: &Catalogue,
    id: &NodeId,
    input: &Input,
) -> Option<(NodeId, usize)> {
    let wants = input.link_type();
    match prompt.nodes.get(id)?.inputs.get(&input.name) {
        Some(Given::Link { from, slot }) => {
            let origin = catalogue.node(&prompt.nodes.get(from)?.class)?;
            Some((from.clone(), better_slot(origin, slot, &wants)?))
        }
        None if input.required && !input.takes_value() => {
            match sources(prompt, catalogue, id, &wants).as_slice() {
                [only] => Some((only.node.clone(), only.slot)),
                _ => None,
            }
        }
        Some(Given::Value(_)) | None => None,
    }
}

/// The output that was meant; `None` where the one that is named is right, or more than one could be.
fn better_slot(origin: &Node, slot: &Slot, wants: &SocketType) -> Option<usize> {
    let at = |slot: &usize| origin.outputs.get(*slot);
    match slot {
        Slot::At(slot) if at(slot).is_some_and(|o| wants.accepts(&o.socket)) => return None,
        Slot::Named(name) => {
            let own = nearest::spelling(name);
            let called = |text: &str| nearest::spelling(text) == own;
            let mut outputs = origin.outputs.iter();
            let found = outputs.position(|o| called(&o.name)).or_else(|| {
                origin
                    .outputs
                    .iter()
                    .position(|o| called(o.socket.as_str()))
            });
            if let Some(slot) = found.filter(|s| at(s).is_some_and(|o| wants.accepts(&o.socket))) {
                return Some(slot);
            }
        }
        Slot::At(_) => {}
    }
    let outputs = origin.outputs.iter().enumerate();
    let mut right = outputs.filter(|(_, o)| !o.socket.is_any() && wants.accepts(&o.socket));
    let (first, second) = (right.next(), right.next());
    match (first, second) {
        (Some((slot, _)), None) if !wants.is_any() => Some(slot),
        (Some(_) | None, Some(_) | None) => None,
    }
}
