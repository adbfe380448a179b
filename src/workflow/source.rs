//! Where a link of the page really begins: through notes of the page's own, nodes that are passed by,
//! and the walls of subgraphs.

use std::cell::Cell;

use serde_json::Value;

use super::{
    graph::{Graph, GraphNode, Level, Mode, Origin, Widgets},
    prompt::{Given, NodeId},
    widgets,
};

/// Nodes that one link leads through. A ring of reroutes ends here, too.
const MAX_STEPS: usize = 512;
/// And all links of one workflow together.
const MAX_ALL_STEPS: usize = 500_000;

/// One opened level of a workflow: the top, or a node that is a subgraph.
pub struct Frame<'a> {
    pub level: &'a Level,
    /// Before the ids of its nodes: `12:`.
    pub prefix: String,
    /// The frame it stands in, and the node that it is there.
    pub within: Option<(usize, &'a GraphNode)>,
}

impl Frame<'_> {
    pub fn id(&self, node: &NodeId) -> Option<NodeId> {
        NodeId::parse(&format!("{}{node}", self.prefix))
    }
}

pub struct Opened<'a> {
    pub graph: &'a Graph,
    pub frames: Vec<Frame<'a>>,
    steps: Cell<usize>,
}

impl<'a> Opened<'a> {
    pub fn new(graph: &'a Graph) -> Self {
        let top = Frame {
            level: &graph.top,
            prefix: String::new(),
            within: None,
        };
        Self {
            graph,
            frames: vec![top],
            steps: Cell::new(0),
        }
    }

    /// What comes over the link `link` of a frame; `None` where nothing does.
    pub fn source(&self, frame: usize, link: u64) -> Option<Given> {
        let (mut at, mut link) = (frame, link);
        for _ in 0..MAX_STEPS {
            self.steps.set(self.steps.get() + 1);
            if self.steps.get() > MAX_ALL_STEPS {
                return None;
            }
            let frame = self.frames.get(at)?;
            let step = match frame.level.links.get(&link)? {
                Origin::Outside { slot } => {
                    let (outer, node) = frame.within?;
                    let place = place(frame, node, *slot);
                    match place.and_then(|at| node.inputs.get(at)?.link) {
                        Some(link) => Step::On(outer, link),
                        None => Step::End(promoted(frame.level, node, *slot).map(Given::Value)),
                    }
                }
                Origin::Node { id, slot } => self.step_from(at, frame, id, *slot)?,
            };
            match step {
                Step::On(frame, next) => (at, link) = (frame, next),
                Step::End(given) => return given,
            }
        }
        None
    }

    fn step_from(&self, at: usize, frame: &Frame<'a>, id: &NodeId, slot: usize) -> Option<Step> {
        let node = frame.level.node(id)?;
        let on = |link: Option<u64>| link.map(|link| Step::On(at, link));
        match (node.mode, node.class.as_str()) {
            (Mode::Muted, _) => None,
            (Mode::Active | Mode::Bypassed, "Reroute") => on(node.inputs.first()?.link),
            (Mode::Bypassed, _) => on(passed_by(node, slot)),
            (Mode::Active, "PrimitiveNode") => Some(Step::End(first_value(node).map(Given::Value))),
            (Mode::Active, "GetNode") => {
                let name = first_value(node)?;
                let sets =
                    |n: &&GraphNode| n.class == "SetNode" && first_value(n).as_ref() == Some(&name);
                on(frame.level.nodes.iter().find(sets)?.inputs.first()?.link)
            }
            (Mode::Active, "SetNode") => on(node.inputs.first()?.link),
            (Mode::Active, class) if self.graph.subgraphs.contains_key(class) => {
                let inside = |f: &Frame<'_>| {
                    f.within
                        .is_some_and(|(outer, n)| outer == at && n.id == *id)
                };
                let inner = self.frames.iter().position(inside)?;
                let link = self.frames.get(inner)?.level.outputs.get(&slot)?;
                Some(Step::On(inner, *link))
            }
            (Mode::Active, _) => Some(Step::End(Some(Given::link(&frame.id(id)?, slot)))),
        }
    }
}

/// Which input of its node stands for a subgraph's input at `slot`. Values that are not linked may have
/// none.
fn place(frame: &Frame<'_>, node: &GraphNode, slot: usize) -> Option<usize> {
    if node.inputs.len() >= frame.level.inputs.len() {
        return Some(slot);
    }
    let is_value = |at: usize| frame.level.inputs.get(at).copied().unwrap_or(false);
    match is_value(slot) {
        true => None,
        false => Some(slot - (0..slot).filter(|at| is_value(*at)).count()),
    }
}

enum Step {
    On(usize, u64),
    End(Option<Given>),
}

/// The input that comes out at `slot` of a node that is passed by: the one at the same place, else the
/// first one of that type.
fn passed_by(node: &GraphNode, slot: usize) -> Option<u64> {
    let wanted = node.outputs.get(slot)?;
    let same = |at: usize| {
        let input = node.inputs.get(at)?;
        (input.socket == *wanted || wanted == "*" || input.socket == "*").then_some(input)
    };
    let places = std::iter::once(slot).chain(0..node.inputs.len());
    let mut linked = places.filter_map(same).filter_map(|input| input.link);
    linked.next()
}

/// The value that a subgraph's node holds for the input at `slot`; `None` where the inner one counts.
fn promoted(level: &Level, node: &GraphNode, slot: usize) -> Option<Value> {
    let Widgets::List(values) = &node.widgets else {
        return None;
    };
    let all = level.inputs.iter().filter(|is_value| **is_value).count();
    let before = level.inputs.iter().take(slot).filter(|v| **v).count();
    let here = level.inputs.get(slot).copied().unwrap_or(false);
    (here && values.len() == all).then(|| values.get(before).map(widgets::wrapped))?
}

fn first_value(node: &GraphNode) -> Option<Value> {
    match &node.widgets {
        Widgets::List(values) => values.first().map(widgets::wrapped),
        Widgets::Named(values) => values.get("value").map(widgets::wrapped),
    }
}
