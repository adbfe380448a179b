//! What people put behind a node, as the workflows here have it: several nodes, linked.
//!
//! Called by [`super::downstream`]. A workflow tells which nodes; whether they can stand here is a matter of
//! this ComfyUI: each has to be installed, and each link to fit from the output into a socket that a new
//! node has on the canvas. Where one does not, the chain ends before it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    comfy::{Catalogue, Node},
    workflow::{NodeId, Prompt, Slot},
};

/// Nodes behind the selected one, and how far the last may be from it.
const MOST_NODES: usize = 6;
const DEPTH: usize = 3;
/// Nodes of one class in one workflow that are looked at.
const STARTS: usize = 8;

/// Nodes in the order in which they are reached; the selected one is not among them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chain {
    pub classes: Vec<String>,
    pub links: Vec<Link>,
}

/// From an output to a socket. A node by its place behind the selected one, which is 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    pub from: usize,
    pub output: usize,
    pub to: usize,
    pub socket: usize,
    pub kind: String,
}

/// Chains of two nodes and more behind a class, those of most workflows first.
pub fn behind(
    catalogue: &Catalogue,
    class: &str,
    upstream: &[String],
    workflows: &[Prompt],
) -> Vec<Chain> {
    let mut counted: BTreeMap<Chain, usize> = BTreeMap::new();
    for prompt in workflows {
        let feeds = feeds(prompt);
        let starts = prompt.nodes.iter().filter(|(_, node)| node.class == class);
        // Of one workflow each counts once.
        let found: BTreeSet<Chain> = starts
            .take(STARTS)
            .filter_map(|(id, _)| chain(catalogue, id, upstream, prompt, &feeds))
            .collect();
        for chain in found {
            *counted.entry(chain).or_default() += 1;
        }
    }
    let mut found: Vec<(Chain, usize)> = counted.into_iter().collect();
    // Of as many workflows the longer one; else in the order of names.
    found.sort_by_key(|(chain, times)| std::cmp::Reverse((*times, chain.classes.len())));
    found.into_iter().map(|(chain, _)| chain).collect()
}

/// By the node that gives: who takes, at which input, and from which output.
type Feeds<'p> = BTreeMap<&'p NodeId, Vec<(&'p NodeId, &'p str, &'p Slot)>>;

fn feeds(prompt: &Prompt) -> Feeds<'_> {
    let mut feeds = Feeds::new();
    for (id, node) in &prompt.nodes {
        for (input, from, slot) in node.links() {
            feeds.entry(from).or_default().push((id, input, slot));
        }
    }
    feeds
}

/// `None` where fewer than two nodes follow.
fn chain(
    catalogue: &Catalogue,
    start: &NodeId,
    upstream: &[String],
    prompt: &Prompt,
    feeds: &Feeds<'_>,
) -> Option<Chain> {
    let mut places: BTreeMap<&NodeId, usize> = BTreeMap::from([(start, 0)]);
    let mut classes = Vec::new();
    let mut links: BTreeSet<Link> = BTreeSet::new();
    let mut open = VecDeque::from([(start, 0, 0)]);
    while let Some((from, place, depth)) = open.pop_front() {
        let giver = catalogue.node(&prompt.nodes.get(from)?.class)?;
        for (to, input, slot) in feeds.get(from).into_iter().flatten() {
            let Some(taker) = prompt.nodes.get(*to).and_then(|n| catalogue.node(&n.class)) else {
                continue;
            };
            let Some((output, socket, kind)) = fits(giver, slot, taker, input) else {
                continue;
            };
            let there = places.get(*to).copied();
            let is_new = there.is_none();
            let here = upstream.contains(&taker.class) || taker.deprecated || taker.is_api;
            if is_new && (here || depth == DEPTH || classes.len() == MOST_NODES) {
                continue;
            }
            let to_place = there.unwrap_or(classes.len() + 1);
            // A ring back to the selected node or an earlier one is no chain.
            if to_place <= place {
                continue;
            }
            if is_new {
                places.insert(*to, to_place);
                classes.push(taker.class.clone());
                open.push_back((*to, to_place, depth + 1));
            }
            links.insert(Link {
                from: place,
                output,
                to: to_place,
                socket,
                kind,
            });
        }
    }
    (classes.len() >= 2).then(|| Chain {
        classes,
        links: links.into_iter().collect(),
    })
}

/// The places of the output and of the socket, and the link's type.
fn fits(giver: &Node, slot: &Slot, taker: &Node, input: &str) -> Option<(usize, usize, String)> {
    let Slot::At(output) = slot else {
        return None;
    };
    let gives = giver.outputs.get(*output)?;
    let mut sockets = taker.inputs.iter().filter(|i| !i.takes_value());
    let (socket, takes) = sockets
        .by_ref()
        .enumerate()
        .find(|(_, i)| i.name == input)?;
    let accepted = takes.link_type().accepts(&gives.socket);
    accepted.then(|| (*output, socket, gives.socket.as_str().to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::comfy::{Nodes, Parts};

    fn catalogue() -> Catalogue {
        let nodes = json!({
            "Sampler": {"input": {"required": {"model": ["MODEL"], "latent": ["LATENT"]}}, "output": ["LATENT"]},
            "Decode": {"input": {"required": {"samples": ["LATENT"], "vae": ["VAE"]}}, "output": ["IMAGE"]},
            "Scale": {"input": {"required": {"image": ["IMAGE"], "by": ["FLOAT", {"default": 2.0}]}}, "output": ["IMAGE"]},
            "Save": {"input": {"required": {"images": ["IMAGE"]}}, "output": [], "output_node": true},
            "Old": {"input": {"required": {"images": ["IMAGE"]}}, "output": ["IMAGE"], "deprecated": true},
            "Odd": {"input": {"required": {"image": ["MASK"]}}, "output": ["IMAGE"]},
        });
        let nodes = Nodes::read(nodes.to_string().as_bytes())
            .expect("nodes")
            .nodes;
        Catalogue::new(Parts {
            nodes,
            ..Parts::default()
        })
    }

    fn prompt(nodes: &[(&str, Value)]) -> Prompt {
        let all = nodes
            .iter()
            .zip(1..)
            .map(|((class, inputs), id): (_, usize)| {
                (
                    id.to_string(),
                    json!({"class_type": class, "inputs": inputs}),
                )
            });
        Prompt::read(&Value::Object(all.collect())).expect("a prompt")
    }

    fn plain() -> Prompt {
        prompt(&[
            ("Sampler", json!({})),
            ("Decode", json!({"samples": ["1", 0], "vae": ["9", 2]})),
            ("Save", json!({"images": ["2", 0]})),
        ])
    }

    fn link(from: usize, to: usize, socket: usize, kind: &str) -> Link {
        Link {
            from,
            output: 0,
            to,
            socket,
            kind: kind.into(),
        }
    }

    #[test]
    fn what_most_workflows_have_comes_first_with_links_that_fit() {
        let scaled = prompt(&[
            ("Sampler", json!({})),
            ("Decode", json!({"samples": ["1", 0]})),
            ("Scale", json!({"image": ["2", 0], "by": 2})),
            ("Save", json!({"images": ["3", 0]})),
        ]);
        let found = behind(&catalogue(), "Sampler", &[], &[scaled, plain(), plain()]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].classes, ["Decode", "Save"]);
        assert_eq!(
            found[0].links,
            [link(0, 1, 0, "LATENT"), link(1, 2, 0, "IMAGE")]
        );
        assert_eq!(found[1].classes, ["Decode", "Scale", "Save"]);
    }

    #[test]
    fn a_chain_ends_before_what_cannot_stand_here() {
        let behind_decode = |class: &str, inputs: Value| {
            prompt(&[
                ("Sampler", json!({})),
                ("Decode", json!({"samples": ["1", 0]})),
                (class, inputs),
                ("Save", json!({"images": ["3", 0]})),
            ])
        };
        for (row, workflow) in [
            (
                "not installed",
                behind_decode("Gone", json!({"image": ["2", 0]})),
            ),
            (
                "deprecated",
                behind_decode("Old", json!({"images": ["2", 0]})),
            ),
            (
                "of another type",
                behind_decode("Odd", json!({"image": ["2", 0]})),
            ),
            (
                "no such input",
                behind_decode("Scale", json!({"picture": ["2", 0]})),
            ),
            (
                "a value, which has no socket",
                behind_decode("Scale", json!({"by": ["2", 0]})),
            ),
            (
                "no such output",
                behind_decode("Scale", json!({"image": ["2", 5]})),
            ),
        ] {
            let found = behind(&catalogue(), "Sampler", &[], &[workflow]);
            assert_eq!(found, [], "{row}: one node is no chain");
        }
        let upstream = ["Save".to_owned()];
        let found = behind(&catalogue(), "Sampler", &upstream, &[plain()]);
        assert_eq!(found, [], "what is upstream already is left out");
        assert_eq!(behind(&catalogue(), "Save", &[], &[plain()]), []);
    }

    #[test]
    fn rings_and_large_workflows_are_bounded() {
        let ring = prompt(&[
            ("Scale", json!({"image": ["2", 0]})),
            ("Scale", json!({"image": ["1", 0]})),
        ]);
        assert_eq!(behind(&catalogue(), "Scale", &[], &[ring]), []);
        let many: Vec<(&str, Value)> = (0..500)
            .map(|n| match n {
                0 => ("Decode", json!({})),
                _ => ("Scale", json!({"image": ["1", 0]})),
            })
            .collect();
        let found = behind(&catalogue(), "Decode", &[], &[prompt(&many)]);
        assert_eq!(found[0].classes.len(), MOST_NODES);
        let long: Vec<(&str, Value)> = (0..50)
            .map(|n| match n {
                0 => ("Decode", json!({})),
                n => ("Scale", json!({"image": [n.to_string(), 0]})),
            })
            .collect();
        let found = behind(&catalogue(), "Decode", &[], &[prompt(&long)]);
        assert_eq!(found[0].classes.len(), DEPTH);
    }
}
