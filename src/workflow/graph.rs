//! The page's form of a workflow: what it saves, and what templates are shipped in.
//!
//! Versions 0.4 (links are lists) and 1 (links are objects) are read alike, and so are subgraphs, whose
//! definitions stand beside the nodes. Broken links and nodes are left out, as the page does it; places
//! and colours are not read at all.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::prompt::{MAX_NODES, NodeId};
use crate::comfy::sound;

const MAX_LINKS: usize = 20_000;
const MAX_SLOTS: usize = 512;
const MAX_SUBGRAPHS: usize = 256;

/// What a node does when the workflow runs; as numbers in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Active,
    /// Left out, with all that comes from it.
    Muted,
    /// What goes in comes out, as far as types agree.
    Bypassed,
}

#[derive(Clone, Debug, PartialEq)]
pub struct GraphInput {
    pub name: String,
    pub socket: String,
    pub link: Option<u64>,
    /// It is a value of the node that can be linked, too.
    pub is_widget: bool,
}

/// Values in the order of the page's fields, or by name.
#[derive(Clone, Debug, PartialEq)]
pub enum Widgets {
    List(Vec<Value>),
    Named(BTreeMap<String, Value>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct GraphNode {
    pub id: NodeId,
    pub class: String,
    pub title: String,
    pub mode: Mode,
    pub inputs: Vec<GraphInput>,
    /// Types of its outputs.
    pub outputs: Vec<String>,
    pub widgets: Widgets,
}

/// Where a link begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Node {
        id: NodeId,
        slot: usize,
    },
    /// An input of the subgraph that the link is in.
    Outside {
        slot: usize,
    },
}

/// One level: the workflow itself, or the inside of a subgraph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Level {
    pub nodes: Vec<GraphNode>,
    by_id: HashMap<NodeId, usize>,
    pub links: HashMap<u64, Origin>,
    /// Of a subgraph, by its output's place: the link that ends there.
    pub outputs: BTreeMap<usize, u64>,
    /// Of a subgraph: whether the input at this place stands for a value.
    pub inputs: Vec<bool>,
}

impl Level {
    pub fn node(&self, id: &NodeId) -> Option<&GraphNode> {
        self.nodes.get(*self.by_id.get(id)?)
    }
}

/// A workflow in the page's form.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    pub top: Level,
    /// By the id that stands as the class of a node which is one.
    pub subgraphs: BTreeMap<String, Level>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    #[error("this is no workflow of the page: it has no list of nodes")]
    NoNodes,
    #[error(
        "the workflow has more than {MAX_NODES} nodes, {MAX_LINKS} links or {MAX_SUBGRAPHS} subgraphs"
    )]
    TooLarge,
}

impl Graph {
    /// Whether it is the page's form, and not the API's as a list.
    pub fn is_one(value: &Value) -> bool {
        let nodes = value.get("nodes").and_then(Value::as_array);
        nodes.is_some_and(|nodes| {
            let api = |node: &Value| {
                node.get("class_type").is_some() || node.get("inputs").is_some_and(Value::is_object)
            };
            !nodes.iter().any(api)
        })
    }

    pub fn read(value: &Value) -> Result<Self, GraphError> {
        let mut budget = Budget {
            nodes: MAX_NODES,
            links: MAX_LINKS,
        };
        let top = level(value, &mut budget)?;
        let mut subgraphs = BTreeMap::new();
        let defined = value.get("definitions").and_then(|d| d.get("subgraphs"));
        for definition in list(defined) {
            let id = definition.get("id").and_then(Value::as_str);
            let Some(id) = id.and_then(sound::name) else {
                continue;
            };
            if subgraphs.len() >= MAX_SUBGRAPHS {
                return Err(GraphError::TooLarge);
            }
            subgraphs.insert(id.to_owned(), level(definition, &mut budget)?);
        }
        Ok(Self { top, subgraphs })
    }
}

struct Budget {
    nodes: usize,
    links: usize,
}

impl Budget {
    fn take(&mut self, nodes: usize, links: usize) -> Result<(), GraphError> {
        self.nodes = self.nodes.checked_sub(nodes).ok_or(GraphError::TooLarge)?;
        self.links = self.links.checked_sub(links).ok_or(GraphError::TooLarge)?;
        Ok(())
    }
}

/// Ids of the two ends of a subgraph, where its definition does not say.
const INSIDE_INPUT: i64 = -10;
const INSIDE_OUTPUT: i64 = -20;

fn level(value: &Value, budget: &mut Budget) -> Result<Level, GraphError> {
    let Some(nodes) = value.get("nodes").and_then(Value::as_array) else {
        return Err(GraphError::NoNodes);
    };
    let links = list(value.get("links"));
    budget.take(nodes.len(), links.len())?;
    let end = |name: &str, default: i64| {
        let id = value.get(name).and_then(|end| end.get("id")?.as_i64());
        id.unwrap_or(default)
    };
    let (input, output) = (
        end("inputNode", INSIDE_INPUT),
        end("outputNode", INSIDE_OUTPUT),
    );
    let nodes: Vec<GraphNode> = nodes.iter().filter_map(node).collect();
    let mut out = Level {
        by_id: HashMap::from_iter(nodes.iter().enumerate().map(|(at, n)| (n.id.clone(), at))),
        nodes,
        ..Level::default()
    };
    let mut promoted: BTreeMap<usize, bool> = BTreeMap::new();
    for link in links.iter().filter_map(Link::read) {
        let origin = match link.origin_id.as_i64() == Some(input) {
            true => Some(Origin::Outside {
                slot: link.origin_slot,
            }),
            false => NodeId::of(&link.origin_id).map(|id| Origin::Node {
                id,
                slot: link.origin_slot,
            }),
        };
        let Some(origin) = origin else {
            continue;
        };
        if link.target_id.as_i64() == Some(output) {
            out.outputs.insert(link.target_slot, link.id);
        } else if let Origin::Outside { slot } = origin {
            let target = NodeId::of(&link.target_id);
            let target = target.and_then(|id| out.node(&id)?.inputs.get(link.target_slot));
            promoted
                .entry(slot)
                .or_insert(target.is_some_and(|input| input.is_widget));
        }
        out.links.insert(link.id, origin);
    }
    let count = list(value.get("inputs")).len().min(MAX_SLOTS);
    out.inputs = (0..count)
        .map(|slot| promoted.get(&slot).copied().unwrap_or(false))
        .collect();
    Ok(out)
}

struct Link {
    id: u64,
    origin_id: Value,
    origin_slot: usize,
    target_id: Value,
    target_slot: usize,
}

impl Link {
    /// `[id, origin, slot, target, slot, type]`, or an object of these.
    fn read(value: &Value) -> Option<Self> {
        let part = |at: usize, name: &str| match value {
            Value::Array(parts) => parts.get(at),
            Value::Object(members) => members.get(name),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        let slot = |at, name| usize::try_from(part(at, name)?.as_u64()?).ok();
        Some(Self {
            id: part(0, "id")?.as_u64()?,
            origin_id: part(1, "origin_id")?.clone(),
            origin_slot: slot(2, "origin_slot")?,
            target_id: part(3, "target_id")?.clone(),
            target_slot: slot(4, "target_slot")?,
        })
    }
}

/// One node as the page's file has it.
pub(super) fn node(value: &Value) -> Option<GraphNode> {
    let class = value.get("type").and_then(Value::as_str);
    let title = value.get("title").and_then(Value::as_str).unwrap_or("");
    let inputs = list(value.get("inputs")).iter().take(MAX_SLOTS);
    let outputs = list(value.get("outputs")).iter().take(MAX_SLOTS);
    Some(GraphNode {
        id: NodeId::of(value.get("id")?)?,
        class: class.and_then(sound::name)?.to_owned(),
        title: sound::text(title, sound::MAX_NAME),
        mode: match value.get("mode").and_then(Value::as_i64) {
            Some(2) => Mode::Muted,
            Some(4) => Mode::Bypassed,
            Some(_) | None => Mode::Active,
        },
        // A slot is known by its place, so none may be dropped.
        inputs: inputs
            .map(|input| GraphInput {
                name: word(input, "name"),
                socket: word(input, "type"),
                link: input.get("link").and_then(Value::as_u64),
                is_widget: input.get("widget").is_some_and(Value::is_object),
            })
            .collect(),
        outputs: outputs.map(|output| word(output, "type")).collect(),
        widgets: match value.get("widgets_values") {
            Some(Value::Array(values)) => {
                Widgets::List(values.iter().take(MAX_SLOTS).cloned().collect())
            }
            Some(Value::Object(values)) => {
                let values = values.iter().take(MAX_SLOTS);
                Widgets::Named(values.map(|(k, v)| (k.clone(), v.clone())).collect())
            }
            Some(_) | None => Widgets::List(Vec::new()),
        },
    })
}

fn word(value: &Value, name: &str) -> String {
    let text = value.get(name).and_then(Value::as_str).unwrap_or("");
    sound::text(text, sound::MAX_NAME)
}

fn list(value: Option<&Value>) -> &[Value] {
    value
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}
