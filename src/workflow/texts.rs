//! Where a workflow keeps the words of what it makes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::prompt::{Given, NodeId, Prompt};
use crate::comfy::{Catalogue, Kind};

/// An input that holds a text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TextPlace {
    pub node: NodeId,
    pub input: String,
}

/// Inputs that are asked for in this order, until one is linked somewhere.
const WANTED: [&[&str]; 2] = [
    &["positive", "positive_conditioning"],
    &["conditioning", "cond"],
];
const UNWANTED: &[&str] = &["negative", "negative_conditioning"];
/// Types that words go by, from the text to the sampler.
const OF_WORDS: [&str; 3] = ["CONDITIONING", "STRING", "GUIDER"];

/// The texts that say what is wanted, all of one node; empty where that cannot be told.
pub fn positive(prompt: &Prompt, catalogue: &Catalogue) -> Vec<TextPlace> {
    let not = behind(prompt, catalogue, UNWANTED);
    for names in WANTED {
        let all = behind(prompt, catalogue, names);
        if all.is_empty() {
            continue;
        }
        let own: BTreeSet<TextPlace> = all.difference(&not).cloned().collect();
        // What is unwanted may be made of the same text, with its meaning taken out.
        let places = if own.is_empty() { all } else { own };
        return of_one_node(places);
    }
    let every = prompt
        .nodes
        .keys()
        .flat_map(|id| texts(prompt, catalogue, id));
    let every: BTreeSet<TextPlace> = every.filter(|place| !not.contains(place)).collect();
    of_one_node(every)
}

/// The texts that say what is not wanted.
pub fn negative(prompt: &Prompt, catalogue: &Catalogue) -> Vec<TextPlace> {
    let wanted = positive(prompt, catalogue);
    let mut places = behind(prompt, catalogue, UNWANTED);
    places.retain(|place| !wanted.contains(place));
    of_one_node(places)
}

fn of_one_node(places: BTreeSet<TextPlace>) -> Vec<TextPlace> {
    let first = places.first().map(|place| place.node.clone());
    match places
        .iter()
        .all(|place| Some(&place.node) == first.as_ref())
    {
        true => places.into_iter().collect(),
        false => Vec::new(),
    }
}

/// The texts from which the links into inputs of these names come.
fn behind(prompt: &Prompt, catalogue: &Catalogue, names: &[&str]) -> BTreeSet<TextPlace> {
    let mut open: Vec<&NodeId> = Vec::new();
    for node in prompt.nodes.values() {
        let links = node.links().filter(|(name, _, _)| names.contains(name));
        open.extend(links.map(|(_, from, _)| from));
    }
    let mut seen = BTreeSet::new();
    let mut out = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let own = texts(prompt, catalogue, id);
        if !own.is_empty() {
            out.extend(own);
            continue;
        }
        let Some(node) = prompt.nodes.get(id) else {
            continue;
        };
        let class = catalogue.node(&node.class);
        let inputs = class.into_iter().flat_map(|class| &class.inputs);
        for input in inputs.filter(|i| OF_WORDS.contains(&i.link_type().as_str())) {
            if let Some(Given::Link { from, .. }) = node.inputs.get(&input.name) {
                // A node with both ends keeps them apart.
                if !is_other_end(&input.name, names) {
                    open.push(from);
                }
            }
        }
    }
    out
}

/// Whether an input is named as an end other than the one that is looked for.
fn is_other_end(input: &str, names: &[&str]) -> bool {
    let wanted = WANTED.first().copied().unwrap_or_default();
    let is_end = wanted.contains(&input) || UNWANTED.contains(&input);
    let looks_for_end = names
        .iter()
        .any(|n| wanted.contains(n) || UNWANTED.contains(n));
    is_end && looks_for_end && !names.contains(&input)
}

/// The texts of several lines that a node holds itself.
fn texts(prompt: &Prompt, catalogue: &Catalogue, id: &NodeId) -> Vec<TextPlace> {
    let Some(node) = prompt.nodes.get(id) else {
        return Vec::new();
    };
    let class = catalogue.node(&node.class);
    let inputs = class.into_iter().flat_map(|class| &class.inputs);
    let held = inputs.filter(|input| {
        let is_text = matches!(input.kind, Kind::Text { multiline: true });
        let given = node.inputs.get(&input.name);
        is_text && matches!(given, Some(Given::Value(Value::String(_))))
    });
    held.map(|input| TextPlace {
        node: id.clone(),
        input: input.name.clone(),
    })
    .collect()
}
