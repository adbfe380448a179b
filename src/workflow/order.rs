//! What leads where: rings, nodes that no output needs, and ids in the order of work.

use std::collections::{BTreeMap, BTreeSet};

use super::prompt::{Given, NodeId, Prompt};
use crate::comfy::Catalogue;

/// Nodes that ComfyUI runs a workflow for.
pub fn outputs<'a>(prompt: &'a Prompt, catalogue: &Catalogue) -> BTreeSet<&'a NodeId> {
    let is_output = |class: &str| catalogue.node(class).is_some_and(|node| node.is_output);
    let nodes = prompt.nodes.iter();
    nodes
        .filter(|(_, node)| is_output(&node.class))
        .map(|(id, _)| id)
        .collect()
}

/// These nodes, and all that they need.
pub fn needed<'a>(prompt: &'a Prompt, by: &BTreeSet<&'a NodeId>) -> BTreeSet<&'a NodeId> {
    let mut seen: BTreeSet<&NodeId> = BTreeSet::new();
    let mut open: Vec<&NodeId> = by.iter().copied().collect();
    while let Some(id) = open.pop() {
        let Some((id, node)) = prompt.nodes.get_key_value(id) else {
            continue;
        };
        if seen.insert(id) {
            open.extend(node.links().map(|(_, from, _)| from));
        }
    }
    seen
}

/// The node, and all that need it.
pub fn fed_by<'a>(prompt: &'a Prompt, node: &'a NodeId) -> BTreeSet<&'a NodeId> {
    let mut feeds: BTreeMap<&NodeId, Vec<&NodeId>> = BTreeMap::new();
    for (id, node) in &prompt.nodes {
        for (_, from, _) in node.links() {
            feeds.entry(from).or_default().push(id);
        }
    }
    let mut seen = BTreeSet::new();
    let mut open = vec![node];
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            open.extend(feeds.get(id).into_iter().flatten());
        }
    }
    seen
}

/// The ids in an order in which each node comes after all that it needs, and those that cannot be
/// ordered: rings, and what needs one.
fn sorted(prompt: &Prompt) -> (Vec<&NodeId>, Vec<&NodeId>) {
    let mut waits: BTreeMap<&NodeId, usize> = BTreeMap::new();
    let mut feeds: BTreeMap<&NodeId, Vec<&NodeId>> = BTreeMap::new();
    for (id, node) in &prompt.nodes {
        let known = |from: &&NodeId| prompt.nodes.contains_key(*from);
        let from: BTreeSet<&NodeId> = node
            .links()
            .map(|(_, from, _)| from)
            .filter(known)
            .collect();
        waits.insert(id, from.len());
        for from in from {
            feeds.entry(from).or_default().push(id);
        }
    }
    let mut ready: BTreeSet<&NodeId> = waits
        .iter()
        .filter(|(_, waits)| **waits == 0)
        .map(|(id, _)| *id)
        .collect();
    let mut out = Vec::with_capacity(waits.len());
    while let Some(id) = ready.pop_first() {
        waits.remove(id);
        out.push(id);
        for fed in feeds.get(id).into_iter().flatten() {
            if let Some(left) = waits.get_mut(fed) {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    ready.insert(fed);
                }
            }
        }
    }
    (out, waits.into_keys().collect())
}

/// The nodes of one ring, in the order in which each feeds the next; empty where there is none.
pub fn ring(prompt: &Prompt) -> Vec<NodeId> {
    let (_, stuck) = sorted(prompt);
    let stuck: BTreeSet<&NodeId> = stuck.into_iter().collect();
    // Each stuck node waits for a stuck one: going back from any of them ends in a ring.
    let mut path: Vec<&NodeId> = Vec::new();
    let mut at = stuck.first().copied();
    while let Some(id) = at {
        if let Some(begin) = path.iter().position(|seen| *seen == id) {
            return path
                .iter()
                .skip(begin)
                .rev()
                .map(|id| (*id).clone())
                .collect();
        }
        path.push(id);
        let node = prompt.nodes.get(id);
        at = node.and_then(|node| {
            node.links()
                .map(|(_, from, _)| from)
                .find(|from| stuck.contains(*from))
        });
    }
    Vec::new()
}

/// The same workflow with ids from 1 in the order of work: the page puts nodes into columns by them.
pub fn renumbered(prompt: &Prompt) -> Prompt {
    let (ordered, stuck) = sorted(prompt);
    let all = ordered.into_iter().chain(stuck);
    let ids: BTreeMap<&NodeId, NodeId> = all
        .enumerate()
        .map(|(at, id)| (id, NodeId::numbered(at + 1)))
        .collect();
    let new = |id: &NodeId| ids.get(id).unwrap_or(id).clone();
    let nodes = prompt.nodes.iter().map(|(id, node)| {
        let mut node = node.clone();
        for given in node.inputs.values_mut() {
            if let Given::Link { from, .. } = given {
                *from = new(from);
            }
        }
        (new(id), node)
    });
    Prompt {
        nodes: nodes.collect(),
    }
}
