//! The API's form of a workflow: what `POST /prompt` takes.

use std::{cmp::Ordering, collections::BTreeMap, fmt};

use serde_json::{Map, Value, json};

use crate::comfy::sound;

/// Nodes of one workflow; the largest ones that people share have some hundreds.
pub const MAX_NODES: usize = 2_000;
const MAX_INPUTS: usize = 512;
/// JSON text of one value.
const MAX_VALUE_BYTES: usize = 256 << 10;
/// Wrappers around a workflow that are looked through.
const MAX_WRAPPED: usize = 4;
const WRAPPERS: [&str; 5] = ["prompt", "workflow", "workflow_data", "output", "api"];

/// Of one node, within its workflow: `6`, or `12:6` within a subgraph.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeId(String);

impl NodeId {
    /// `None` where it is no name, and so no id that could be told in a sentence.
    pub fn parse(text: &str) -> Option<Self> {
        sound::name(text).map(|name| Self(name.to_owned()))
    }

    pub fn numbered(number: usize) -> Self {
        Self(number.to_string())
    }

    /// As models write it: a text or a whole number.
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::parse(text.trim()),
            Value::Number(number) if !number.is_f64() => Self::parse(&number.to_string()),
            Value::Number(_) | Value::Null | Value::Bool(_) => None,
            Value::Array(_) | Value::Object(_) => None,
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Numbers by their value, and before everything else: as the page runs through them.
impl Ord for NodeId {
    fn cmp(&self, other: &Self) -> Ordering {
        let number = |id: &Self| id.0.parse::<u64>().unwrap_or(u64::MAX);
        number(self)
            .cmp(&number(other))
            .then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for NodeId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Which output of a node a link begins at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    At(usize),
    /// By its name or type, as models write it. ComfyUI takes numbers alone.
    Named(String),
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Slot::At(slot) => write!(f, "{slot}"),
            Slot::Named(name) => write!(f, "{name:?}"),
        }
    }
}

/// What an input is given.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    Link { from: NodeId, slot: Slot },
    Value(Value),
}

impl Given {
    pub fn link(from: &NodeId, slot: usize) -> Self {
        Given::Link {
            from: from.clone(),
            slot: Slot::At(slot),
        }
    }

    /// A list of a node and a slot is a link, in ComfyUI as here.
    fn read(value: &Value) -> Self {
        let Value::Array(parts) = value else {
            return Given::Value(value.clone());
        };
        let [node, slot] = parts.as_slice() else {
            return Given::Value(value.clone());
        };
        let slot = match slot {
            Value::Number(n) => n
                .as_u64()
                .and_then(|n| usize::try_from(n).ok())
                .map(Slot::At),
            Value::String(text) => Some(text.trim().parse().map_or_else(
                |_| Slot::Named(sound::text(text.trim(), sound::MAX_NAME)),
                Slot::At,
            )),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        match (NodeId::of(node), slot) {
            (Some(from), Some(slot)) => Given::Link { from, slot },
            (Some(_) | None, Some(_) | None) => Given::Value(value.clone()),
        }
    }

    pub fn to_value(&self) -> Value {
        match self {
            Given::Link {
                from,
                slot: Slot::At(slot),
            } => json!([from.as_str(), slot]),
            Given::Link {
                from,
                slot: Slot::Named(name),
            } => json!([from.as_str(), name]),
            Given::Value(value) => value.clone(),
        }
    }
}

/// One node of a workflow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PromptNode {
    pub class: String,
    /// What a person called it; empty where nobody did.
    pub title: String,
    pub inputs: BTreeMap<String, Given>,
}

impl PromptNode {
    pub fn links(&self) -> impl Iterator<Item = (&str, &NodeId, &Slot)> {
        self.inputs.iter().filter_map(|(name, given)| match given {
            Given::Link { from, slot } => Some((name.as_str(), from, slot)),
            Given::Value(_) => None,
        })
    }
}

/// A workflow in the API's form.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prompt {
    pub nodes: BTreeMap<NodeId, PromptNode>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromptError {
    #[error(
        "this is no workflow: write one JSON object of nodes by id, such as {{\"1\": {{\"class_type\": \"KSampler\", \"inputs\": {{}}}}}}"
    )]
    NotNodes,
    #[error("node {id} has no class_type: write {{\"class_type\": \"...\", \"inputs\": {{...}}}}")]
    NoClass { id: String },
    #[error("two nodes have the id {id}: give each its own")]
    Twice { id: String },
    #[error("the workflow has more than {MAX_NODES} nodes: write a smaller one")]
    TooManyNodes,
    #[error("node {id} has more than {MAX_INPUTS} inputs, or one of them is too large")]
    TooLarge { id: String },
}

impl Prompt {
    /// Reads it as models write it, too: in a wrapper, as a list, as JSON in a text, with `type` for
    /// `class_type`, and links whose parts are texts or numbers.
    pub fn read(value: &Value) -> Result<Self, PromptError> {
        Self::unwrapped(value, 0)
    }

    fn unwrapped(value: &Value, depth: usize) -> Result<Self, PromptError> {
        let found = match value {
            Value::String(text) if depth < MAX_WRAPPED => {
                let inner = serde_json::from_str::<Value>(text);
                let inner = inner.map_err(|_| PromptError::NotNodes)?;
                return Self::unwrapped(&inner, depth + 1);
            }
            Value::Object(members) => {
                let wrapped = WRAPPERS.iter().find_map(|name| members.get(*name));
                let wrapped = wrapped.or_else(|| members.get("nodes"));
                match wrapped {
                    // A node could have such an id; a wrapper has no class.
                    Some(inner) if class_of(inner).is_none() && depth < MAX_WRAPPED => {
                        return Self::unwrapped(inner, depth + 1);
                    }
                    Some(_) | None => Self::of_members(members)?,
                }
            }
            Value::Array(list) => Self::of_list(list)?,
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {
                return Err(PromptError::NotNodes);
            }
        };
        match found.nodes.is_empty() {
            true => Err(PromptError::NotNodes),
            false => Ok(found),
        }
    }

    fn of_members(members: &Map<String, Value>) -> Result<Self, PromptError> {
        let mut out = Self::default();
        // No node at all: something else, which no sentence about a node would help with.
        if !members.values().any(|node| class_of(node).is_some()) {
            return Err(PromptError::NotNodes);
        }
        for (id, node) in members {
            // Remarks of models stand beside the nodes: `"description": "..."`.
            if !node.is_object() {
                continue;
            }
            let id = NodeId::parse(id.trim()).ok_or(PromptError::NotNodes)?;
            out.put(id, node)?;
        }
        Ok(out)
    }

    fn of_list(list: &[Value]) -> Result<Self, PromptError> {
        let mut out = Self::default();
        for node in list {
            let id = node.get("id").or_else(|| node.get("node_id"));
            let id = id.and_then(NodeId::of).ok_or(PromptError::NotNodes)?;
            out.put(id, node)?;
        }
        Ok(out)
    }

    fn put(&mut self, id: NodeId, node: &Value) -> Result<(), PromptError> {
        let Some(class) = class_of(node) else {
            return Err(PromptError::NoClass { id: id.0 });
        };
        if self.nodes.len() >= MAX_NODES {
            return Err(PromptError::TooManyNodes);
        }
        let title = node.get("_meta").and_then(|m| m.get("title"));
        let title = title.and_then(Value::as_str).unwrap_or("");
        let mut read = PromptNode {
            class: class.to_owned(),
            title: sound::text(title, sound::MAX_NAME),
            inputs: BTreeMap::new(),
        };
        for (name, value) in inputs_of(node) {
            let name = sound::name(name.trim());
            let small = value.to_string().len() <= MAX_VALUE_BYTES;
            match name.filter(|_| small && read.inputs.len() < MAX_INPUTS) {
                Some(name) => read.inputs.insert(name.to_owned(), Given::read(value)),
                None => return Err(PromptError::TooLarge { id: id.0 }),
            };
        }
        match self.nodes.contains_key(&id) {
            true => Err(PromptError::Twice { id: id.0 }),
            false => {
                self.nodes.insert(id, read);
                Ok(())
            }
        }
    }

    /// Whether an input of this name and value could be read again.
    pub fn takes(name: &str, given: &Given) -> bool {
        let small = match given {
            Given::Link { .. } => true,
            Given::Value(value) => value.to_string().len() <= MAX_VALUE_BYTES,
        };
        small && name == name.trim() && sound::name(name).is_some()
    }

    /// As `POST /prompt` and the page take it.
    pub fn to_value(&self) -> Value {
        let node = |node: &PromptNode| {
            let PromptNode {
                class,
                title,
                inputs,
            } = node;
            let inputs: Map<String, Value> = inputs
                .iter()
                .map(|(name, given)| (name.clone(), given.to_value()))
                .collect();
            let mut out = json!({"class_type": class, "inputs": inputs});
            if let Some(members) = out.as_object_mut().filter(|_| !title.is_empty()) {
                members.insert("_meta".into(), json!({"title": title}));
            }
            out
        };
        let nodes = self.nodes.iter();
        Value::Object(nodes.map(|(id, n)| (id.0.clone(), node(n))).collect())
    }
}

/// By name, or as a list of `{"name": ..., "value": ...}`: a strict JSON schema cannot say the former.
fn inputs_of(node: &Value) -> Vec<(&str, &Value)> {
    match node.get("inputs") {
        Some(Value::Object(members)) => members.iter().map(|(k, v)| (k.as_str(), v)).collect(),
        Some(Value::Array(list)) => {
            let named = list.iter().map(|input| {
                let name = input.get("name").and_then(Value::as_str);
                name.zip(input.get("value"))
            });
            named.flatten().collect()
        }
        Some(_) | None => Vec::new(),
    }
}

fn class_of(node: &Value) -> Option<&str> {
    let named = ["class_type", "class", "type"].iter();
    let class = named.filter_map(|name| node.get(*name)?.as_str()).next()?;
    sound::name(class.trim())
}
