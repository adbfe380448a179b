//! What fits behind a node: subgraphs that the page can put on its canvas (WIRE.md 13).
//!
//! No LLM is asked: what may be linked is a matter of types, and what people link is told by the
//! templates of this ComfyUI and the workflows that the user saved: whole chains first ([`chains`]), as far as
//! those can be fetched at once, then single nodes. Only installed nodes are offered.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::{StreamExt, future::join_all, stream};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    CopilotResponder,
    chains::{self, Chain},
    explained::{known, not_installed},
    invoke::{Asked, Line, Lines, NO_COMFYUI, only},
};
use crate::{
    comfy::{Catalogue, Input, Node, Uses, WorkflowId},
    comfyui::ComfyUi,
    emulator::{
        http::note,
        language::{Language, Phrase},
    },
    workflow::{self, Prompt},
};

/// Cards of one answer.
const MOST: usize = 6;
/// Of them such with more than one node.
const CHAINS: usize = 3;
/// Workflows that are fetched for one answer, and how long that may take: the page waits.
const FETCHED: usize = 8;
const FETCH: Duration = Duration::from_secs(2);
const INTENT: &str = "downstream_subgraph_search";
/// Between two nodes on the canvas.
const ACROSS: i64 = 320;
const DOWN: i64 = 240;

const FITS: Phrase = Phrase {
    en: "These nodes of your ComfyUI fit behind",
    zh: "您的 ComfyUI 中以下节点可以接在其后：",
};
const NOTHING_FITS: Phrase = Phrase {
    en: "Nothing that is installed in your ComfyUI takes what this node gives:",
    zh: "您的 ComfyUI 中没有节点能接收此节点的输出：",
};

impl CopilotResponder {
    pub(super) fn downstream(&self, asked: Asked) -> Lines {
        let Some(comfyui) = self.comfyui.clone() else {
            note(&asked.exchange, "stand-in", "comfyui is off");
            return only(Line::last(NO_COMFYUI.in_language(asked.language)));
        };
        stream::once(async move {
            let known = match known(&comfyui, &asked.exchange).await {
                Ok(known) => known,
                Err(words) => return Line::last(words),
            };
            let catalogue = &known.catalogue;
            let Some(node) = catalogue.node_called(&asked.node) else {
                note(&asked.exchange, "stand-in", "node not installed");
                return Line::last(not_installed(&known, &asked));
            };
            let workflows = workflows(&comfyui, catalogue, node).await;
            let chains = chains::behind(catalogue, &node.class, &asked.upstream, &workflows);
            let found = behind(catalogue, node, &asked.upstream);
            let cards = cards(catalogue, node, &chains, &found);
            note(
                &asked.exchange,
                "stand-in",
                format!("{} subgraphs found", cards.len()),
            );
            line(node, cards, asked.language)
        })
        .boxed()
    }
}

/// Some of the workflows here that have this node, in the API's form: the user's own first, then those whose
/// nodes are all installed. One that cannot be had now is no reason to wait.
async fn workflows(comfyui: &ComfyUi, catalogue: &Catalogue, node: &Node) -> Vec<Prompt> {
    let has = |uses: &&Uses| uses.classes.contains(&node.class);
    let saved = catalogue.saved().iter().filter(|s| has(&&s.uses));
    let saved = saved.map(|s| (0, WorkflowId::Saved(s.path.clone())));
    let templates = catalogue.templates().iter().filter(|t| !t.is_api);
    let templates = templates.filter_map(|t| {
        let uses = t.uses.as_ref().filter(has)?;
        let missing = catalogue.missing_classes(uses).count();
        Some((1 + missing, WorkflowId::Template(t.name.clone())))
    });
    let mut wanted: Vec<(usize, WorkflowId)> = saved.chain(templates).collect();
    wanted.sort_by_key(|(missing, _)| *missing);
    wanted.truncate(FETCHED);
    let fetched = wanted
        .iter()
        .map(|(_, id)| timeout(FETCH, comfyui.workflow(id)));
    let fetched = join_all(fetched).await.into_iter();
    fetched
        .filter_map(|file| workflow::read(&file.ok()?.ok()??, catalogue).ok())
        .collect()
}

fn line(node: &Node, cards: Vec<Card>, language: Language) -> Line {
    if cards.is_empty() {
        let words = NOTHING_FITS.in_language(language);
        return Line::last(format!("{words} `{}`.", node.class));
    }
    let lines: Vec<&str> = cards.iter().map(|card| card.line.as_str()).collect();
    let words = FITS.in_language(language);
    let text = format!("{words} `{}`:\n{}", node.class, lines.join("\n"));
    let data: Vec<Value> = cards.into_iter().map(|card| card.json).collect();
    Line {
        text,
        finished: true,
        cards: Some(json!([{"type": INTENT, "data": data}])),
    }
}

/// A card, and its line in the text.
struct Card {
    line: String,
    json: Value,
}

/// Chains first, then single nodes; the page tells cards apart by their names.
fn cards(catalogue: &Catalogue, node: &Node, chains: &[Chain], found: &[Next<'_>]) -> Vec<Card> {
    let mut out = Vec::new();
    let mut names = BTreeSet::new();
    for chain in chains {
        let nodes = chain.classes.iter().filter_map(|c| catalogue.node(c));
        let nodes: Vec<&Node> = nodes.collect();
        let titles: Vec<&str> = nodes.iter().map(|n| n.title.as_str()).collect();
        let name = titles.join(" → ");
        if out.len() == CHAINS || !names.insert(name.clone()) {
            continue;
        }
        let classes: Vec<String> = chain.classes.iter().map(|c| format!("`{c}`")).collect();
        out.push(Card {
            line: format!("- **{name}** ({})", classes.join(", ")),
            json: chain_card(node, chain, &nodes, &name, out.len() + 1),
        });
    }
    for next in found {
        if out.len() == MOST {
            break;
        }
        let (title, class) = (&next.node.title, &next.node.class);
        if names.insert(title.clone()) {
            out.push(Card {
                line: format!("- **{title}** (`{class}`)"),
                json: next.card(node, out.len() + 1),
            });
        }
    }
    out
}

/// Each node a column behind the last that it takes from.
fn chain_card(from: &Node, chain: &Chain, nodes: &[&Node], name: &str, id: usize) -> Value {
    let mut columns = vec![0; nodes.len() + 1];
    // Links come in the order of the nodes that they begin at.
    for link in &chain.links {
        let before = columns.get(link.from).copied().unwrap_or(0);
        if let Some(column) = columns.get_mut(link.to) {
            *column = (before + 1).max(*column);
        }
    }
    let mut rows: BTreeMap<i64, i64> = BTreeMap::new();
    let mut placed = vec![json!({"id": 0, "type": from.class, "pos": [0, 0]})];
    for (node, place) in nodes.iter().zip(1..) {
        let column = columns.get::<usize>(place).copied().unwrap_or(1);
        let row = rows.entry(column).or_default();
        placed
            .push(json!({"id": place, "type": node.class, "pos": [ACROSS * column, DOWN * *row]}));
        *row += 1;
    }
    let links = chain.links.iter().zip(1..).map(|(link, id)| {
        json!({"id": id, "origin_id": link.from, "origin_slot": link.output, "target_id": link.to,
            "target_slot": link.socket, "type": link.kind})
    });
    let links: Vec<Value> = links.collect();
    let group = nodes.first().map_or("", |node| &node.category);
    json!({
        "id": id,
        "name": name,
        "description": nodes.last().map_or("", |node| &node.description),
        "tags": [group.split('/').next().unwrap_or_default()],
        "json": {"nodes": placed, "links": links},
    })
}

/// A node that takes what another gives.
#[derive(Debug)]
struct Next<'k> {
    node: &'k Node,
    /// From which output to which input, by their places on the canvas, with the link's type.
    links: Vec<(usize, usize, String)>,
    /// Workflows here that have both.
    together: usize,
}

impl Next<'_> {
    fn card(&self, from: &Node, id: usize) -> Value {
        let links = self.links.iter().zip(1..);
        let links: Vec<Value> = links
            .map(|((origin, target, kind), id)| {
                json!({"id": id, "origin_id": 0, "origin_slot": origin, "target_id": 1, "target_slot": target,
                    "type": kind})
            })
            .collect();
        let group = self.node.category.split('/').next().unwrap_or_default();
        json!({
            "id": id,
            "name": self.node.title,
            "description": self.node.description,
            "tags": [group],
            "json": {
                "nodes": [
                    {"id": 0, "type": from.class, "pos": [0, 0]},
                    {"id": 1, "type": self.node.class, "pos": [ACROSS, 0]},
                ],
                "links": links,
            },
        })
    }
}

/// What may be linked behind `node`, what people link first.
fn behind<'k>(catalogue: &'k Catalogue, node: &Node, upstream: &[String]) -> Vec<Next<'k>> {
    let together = used_with(catalogue, &node.class);
    let candidates = catalogue.nodes().iter().filter(|next| {
        // What is upstream already is hardly what comes next.
        !next.deprecated
            && !next.is_api
            && !upstream.contains(&next.class)
            && next.class != node.class
    });
    let mut found: Vec<Next<'k>> = candidates
        .filter_map(|next| {
            let links = links(node, next);
            (!links.is_empty()).then(|| Next {
                node: next,
                links,
                together: together.get(next.class.as_str()).copied().unwrap_or(0),
            })
        })
        .collect();
    // Then what ends a workflow, what comes with ComfyUI, what takes more of the outputs, the name.
    found.sort_by(|a, b| {
        let key = |next: &Next<'_>| {
            (
                next.together,
                next.node.is_output,
                next.node.custom_pack().is_none(),
                next.links.len(),
            )
        };
        key(b)
            .cmp(&key(a))
            .then_with(|| a.node.class.cmp(&b.node.class))
    });
    let mut titles = BTreeSet::new();
    // The page tells cards apart by their names.
    found.retain(|next| titles.insert(next.node.title.clone()));
    found.truncate(MOST);
    found
}

/// How many of the workflows here use a class together with this one.
fn used_with<'k>(catalogue: &'k Catalogue, class: &str) -> BTreeMap<&'k str, usize> {
    let templates = catalogue.templates().iter().filter_map(|t| t.uses.as_ref());
    let saved = catalogue.saved().iter().map(|s| &s.uses);
    let has = |uses: &&Uses| uses.classes.iter().any(|c| c == class);
    let mut together = BTreeMap::new();
    for other in templates
        .chain(saved)
        .filter(has)
        .flat_map(|uses| &uses.classes)
    {
        *together.entry(other.as_str()).or_default() += 1;
    }
    together
}

/// One link for each output that finds an input of its own. An input of any type takes part only where
/// nothing else fits: every node would fit behind every other.
fn links(from: &Node, to: &Node) -> Vec<(usize, usize, String)> {
    let mut taken = BTreeSet::new();
    let mut out = Vec::new();
    for (origin, output) in from.outputs.iter().enumerate() {
        let fits = |input: &Input| {
            let own = input.link_type();
            !own.is_any() && !output.socket.is_any() && own.accepts(&output.socket)
        };
        let sockets = sockets(to).enumerate();
        let free = sockets.filter(|(at, input)| !taken.contains(at) && fits(input));
        // A required input before an optional one.
        let Some((target, _)) = free.min_by_key(|(at, input)| (!input.required, *at)) else {
            continue;
        };
        taken.insert(target);
        out.push((origin, target, output.socket.as_str().to_owned()));
    }
    out
}

/// The inputs that a new node on the canvas has sockets for, in their order; those of values come behind.
fn sockets(node: &Node) -> impl Iterator<Item = &Input> {
    node.inputs.iter().filter(|input| !input.takes_value())
}
