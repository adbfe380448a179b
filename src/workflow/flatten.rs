//! From the page's form to the API's, as the page does it before a run.

use std::collections::BTreeMap;

use super::{
    graph::{Graph, GraphNode, Level, Mode, Origin},
    prompt::{Given, MAX_NODES, NodeId, Prompt, PromptNode},
    source::{Frame, Opened},
    widgets,
};
use crate::comfy::{Catalogue, template::PAGE_ONLY};

/// Subgraphs within subgraphs.
const MAX_DEPTH: usize = 16;
/// Nodes of well-known packs that only their scripts on the page know.
const PAGE_ONLY_OF_PACKS: [&str; 10] = [
    "Bookmark (rgthree)",
    "Fast Actions Button (rgthree)",
    "Fast Bypasser (rgthree)",
    "Fast Groups Bypasser (rgthree)",
    "Fast Groups Muter (rgthree)",
    "Fast Muter (rgthree)",
    "GetNode",
    "Label (rgthree)",
    "Mute / Bypass Repeater (rgthree)",
    "SetNode",
];

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlattenError {
    #[error("the workflow has subgraphs in subgraphs more than {MAX_DEPTH} deep, or one in itself")]
    TooDeep,
    #[error("the workflow has more than {MAX_NODES} nodes, with those of its subgraphs")]
    TooManyNodes,
}

/// Notes, reroutes, primitives, muted and bypassed nodes are gone, and subgraphs are opened: a node in
/// one has the id `12:3`.
pub fn flatten(graph: &Graph, catalogue: &Catalogue) -> Result<Prompt, FlattenError> {
    let opened = open(graph)?;
    let mut out = Prompt::default();
    for (at, frame) in opened.frames.iter().enumerate() {
        for node in &frame.level.nodes {
            if !runs(graph, frame.level, node, catalogue) {
                continue;
            }
            let Some(id) = frame.id(&node.id) else {
                continue;
            };
            if out.nodes.len() >= MAX_NODES {
                return Err(FlattenError::TooManyNodes);
            }
            let class = catalogue.node(&node.class);
            let values = widgets::values(node, class).into_iter();
            let mut inputs: BTreeMap<String, Given> =
                values.map(|(name, v)| (name, Given::Value(v))).collect();
            for input in &node.inputs {
                if let Some(given) = input.link.and_then(|link| opened.source(at, link)) {
                    inputs.insert(input.name.clone(), given);
                }
            }
            inputs.retain(|name, given| Prompt::takes(name, given));
            let title = match class {
                Some(class) if node.title.is_empty() => class.title.clone(),
                Some(_) | None => node.title.clone(),
            };
            out.nodes.insert(
                id,
                PromptNode {
                    class: node.class.clone(),
                    title,
                    inputs,
                },
            );
        }
    }
    drop_dangling(&mut out);
    Ok(out)
}

/// All levels, each with the one it stands in before it.
fn open(graph: &Graph) -> Result<Opened<'_>, FlattenError> {
    let mut opened = Opened::new(graph);
    let mut depths = vec![0_usize];
    let mut at = 0;
    while let (Some(frame), Some(depth)) = (opened.frames.get(at), depths.get(at).copied()) {
        let mut inner = Vec::new();
        for node in frame.level.nodes.iter().filter(|n| n.mode == Mode::Active) {
            if let Some(level) = graph.subgraphs.get(&node.class) {
                inner.push(Frame {
                    level,
                    prefix: format!("{}{}:", frame.prefix, node.id),
                    within: Some((at, node)),
                });
            }
        }
        if !inner.is_empty() && depth >= MAX_DEPTH {
            return Err(FlattenError::TooDeep);
        }
        if opened.frames.len() + inner.len() > MAX_NODES {
            return Err(FlattenError::TooManyNodes);
        }
        depths.extend(inner.iter().map(|_| depth + 1));
        opened.frames.extend(inner);
        at += 1;
    }
    Ok(opened)
}

fn runs(graph: &Graph, level: &Level, node: &GraphNode, catalogue: &Catalogue) -> bool {
    let class = node.class.as_str();
    if node.mode != Mode::Active || graph.subgraphs.contains_key(class) {
        return false;
    }
    if catalogue.node(class).is_some() {
        return true;
    }
    if PAGE_ONLY.contains(&class) || PAGE_ONLY_OF_PACKS.contains(&class) {
        return false;
    }
    // What has no ends of any kind is a label or a frame, not work that is missing.
    let feeds = |origin: &Origin| match origin {
        Origin::Node { id, slot: _ } => *id == node.id,
        Origin::Outside { slot: _ } => false,
    };
    !node.inputs.is_empty() || !node.outputs.is_empty() || level.links.values().any(feeds)
}

/// What came from a node that does not run comes from nowhere.
fn drop_dangling(prompt: &mut Prompt) {
    let ids: Vec<NodeId> = prompt.nodes.keys().cloned().collect();
    for node in prompt.nodes.values_mut() {
        node.inputs.retain(|_, given| match given {
            Given::Link { from, slot: _ } => ids.binary_search(from).is_ok(),
            Given::Value(_) => true,
        });
    }
}
