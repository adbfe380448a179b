//! What is wrong with a workflow, each with a sentence that names the node, the input, and what would be
//! right: it goes to the LLM that wrote it, or to the person who asked.

use std::fmt;

use serde_json::Value;

use super::prompt::{NodeId, Slot};
use crate::comfy::{Number, SocketType, sound};

/// Of a value that is told in a sentence.
const MAX_SHOWN: usize = 80;
/// Names that are told of a list.
const MAX_LISTED: usize = 12;

/// Where it is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub node: NodeId,
    pub class: String,
    pub input: Option<String>,
}

impl Place {
    pub fn node(node: &NodeId, class: &str) -> Self {
        Self {
            node: node.clone(),
            class: class.to_owned(),
            input: None,
        }
    }

    pub fn input(node: &NodeId, class: &str, input: &str) -> Self {
        Self {
            input: Some(input.to_owned()),
            ..Self::node(node, class)
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, class, input } = self;
        write!(f, "node {node} ({class})")?;
        match input {
            Some(input) => write!(f, ", input {input:?}"),
            None => Ok(()),
        }
    }
}

/// An output of the workflow that could be linked: `["4", 0]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub node: NodeId,
    pub slot: usize,
}

/// One fault of a workflow.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// `None` where it is the whole workflow's.
    pub at: Option<Place>,
    pub wrong: Wrong,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Wrong {
    NoOutput,
    /// Nodes that need each other.
    Ring(Vec<NodeId>),
    UnknownClass {
        nearest: Vec<String>,
    },
    Missing {
        wants: SocketType,
        takes_value: bool,
        from: Vec<Source>,
    },
    /// ComfyUI does not look at it.
    UnknownInput {
        known: Vec<String>,
    },
    BadLink,
    NoSuchNode {
        from: NodeId,
    },
    NoSuchOutput {
        from: NodeId,
        class: String,
        slot: Slot,
        outputs: Vec<String>,
    },
    WrongType {
        wants: SocketType,
        has: SocketType,
        from: Vec<Source>,
    },
    NeedsLink {
        wants: SocketType,
        from: Vec<Source>,
    },
    NotAllowed {
        value: Value,
        nearest: Vec<String>,
        of: usize,
    },
    /// A file that is not there; the ones that are.
    NotInstalled {
        value: Value,
        files: Vec<String>,
        of: usize,
    },
    /// The list of files is empty: nothing could stand there.
    NothingInstalled {
        value: Option<Value>,
    },
    NotANumber {
        value: Value,
        whole: bool,
    },
    OutOfBounds {
        value: Value,
        bounds: Number,
    },
    NotAText {
        value: Value,
    },
    NotAFlag {
        value: Value,
    },
    /// No output needs it. ComfyUI does not run it.
    Idle,
}

impl Wrong {
    /// Whether ComfyUI would refuse the workflow, or fail in it, for this.
    pub fn blocks(&self) -> bool {
        match self {
            Wrong::UnknownInput { .. } | Wrong::Idle => false,
            Wrong::NoOutput
            | Wrong::Ring(_)
            | Wrong::UnknownClass { .. }
            | Wrong::Missing { .. }
            | Wrong::BadLink
            | Wrong::NoSuchNode { .. }
            | Wrong::NoSuchOutput { .. }
            | Wrong::WrongType { .. }
            | Wrong::NeedsLink { .. }
            | Wrong::NotAllowed { .. }
            | Wrong::NotInstalled { .. }
            | Wrong::NothingInstalled { .. }
            | Wrong::NotANumber { .. }
            | Wrong::OutOfBounds { .. }
            | Wrong::NotAText { .. }
            | Wrong::NotAFlag { .. } => true,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            Some(place) => write!(f, "{place}: {}", self.wrong),
            None => write!(f, "{}", self.wrong),
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::NoOutput => f.write_str(
                "no node gives a result: end with one that saves or shows it, such as SaveImage",
            ),
            Wrong::Ring(nodes) => {
                let nodes: Vec<&str> = nodes.iter().map(NodeId::as_str).collect();
                let nodes = nodes.join(" -> ");
                write!(f, "the nodes {nodes} feed each other in a ring: take out one of these links")
            }
            Wrong::UnknownClass { nearest } => {
                f.write_str("this class is not installed")?;
                either(f, nearest)
            }
            Wrong::Missing {
                wants,
                takes_value,
                from,
            } => {
                f.write_str("it is required and missing: give it ")?;
                match takes_value {
                    true => write!(f, "a value of type {}", wants.as_str()),
                    false => {
                        write!(f, "a link from an output of type {}", wants.as_str())?;
                        sources(f, from)
                    }
                }
            }
            Wrong::UnknownInput { known } => {
                f.write_str("the class has no such input")?;
                match known.is_empty() {
                    true => f.write_str(": it has none"),
                    false => write!(f, ": it has {}", listed(known)),
                }
            }
            Wrong::BadLink => f.write_str(
                "this is a list, but no link: a link is [\"node id\", number of the output], counted from 0",
            ),
            Wrong::NoSuchNode { from } => write!(
                f,
                "it is linked to node {from}, which is not there: add that node or link another one"
            ),
            Wrong::NoSuchOutput {
                from,
                class,
                slot,
                outputs,
            } => {
                write!(f, "it is linked to output {slot} of node {from} ({class}), which ")?;
                match outputs.as_slice() {
                    [] => f.write_str("has no outputs"),
                    outputs => {
                        let numbered = outputs.iter().enumerate().take(MAX_LISTED);
                        let numbered: Vec<String> =
                            numbered.map(|(at, of)| format!("{at} {of}")).collect();
                        write!(f, "has only {}", numbered.join(", "))
                    }
                }
            }
            Wrong::WrongType { wants, has, from } => {
                let (wants, has) = (wants.as_str(), has.as_str());
                write!(f, "it takes {wants}, and the link brings {has}")?;
                sources(f, from)
            }
            Wrong::NeedsLink { wants, from } => {
                write!(
                    f,
                    "it takes a link from an output of type {}, not a value",
                    wants.as_str()
                )?;
                sources(f, from)
            }
            Wrong::NotAllowed { value, nearest, of } => {
                write!(f, "{} is not allowed", shown(value))?;
                one_of(f, nearest, *of)
            }
            Wrong::NotInstalled { value, files, of } => {
                write!(f, "the file {} is not installed", shown(value))?;
                one_of(f, files, *of)
            }
            Wrong::NothingInstalled { value } => {
                let what = match value {
                    Some(value) => format!("the file {} is not installed", shown(value)),
                    None => "no file is installed for it".to_owned(),
                };
                write!(f, "{what}, and ComfyUI lists no other for this input")
            }
            Wrong::NotANumber { value, whole } => {
                let kind = if *whole { "a whole number" } else { "a number" };
                write!(f, "it takes {kind}, not {}", shown(value))
            }
            Wrong::OutOfBounds { value, bounds } => {
                write!(f, "{} is out of bounds: ", shown(value))?;
                match (bounds.min, bounds.max) {
                    (Some(min), Some(max)) => write!(f, "use {min} to {max}"),
                    (Some(min), None) => write!(f, "use {min} or more"),
                    (None, Some(max)) => write!(f, "use {max} or less"),
                    (None, None) => f.write_str("use another number"),
                }
            }
            Wrong::NotAText { value } => write!(f, "it takes a text, not {}", shown(value)),
            Wrong::NotAFlag { value } => write!(f, "it takes true or false, not {}", shown(value)),
            Wrong::Idle => f.write_str(
                "nothing that is saved or shown needs it: link one of its outputs, or take it out",
            ),
        }
    }
}

fn either(f: &mut fmt::Formatter<'_>, names: &[String]) -> fmt::Result {
    match names {
        [] => f.write_str(": use another one"),
        names => write!(f, ": use one that is, perhaps {}", listed(names)),
    }
}

fn one_of(f: &mut fmt::Formatter<'_>, names: &[String], of: usize) -> fmt::Result {
    match names {
        [] => Ok(()),
        names if names.len() < of => {
            write!(f, ": use one of {of}, such as {}", listed(names))
        }
        names => write!(f, ": use {}", listed(names)),
    }
}

fn sources(f: &mut fmt::Formatter<'_>, from: &[Source]) -> fmt::Result {
    let links = from.iter().take(MAX_LISTED);
    let links: Vec<String> = links
        .map(|s| format!("[\"{}\", {}]", s.node, s.slot))
        .collect();
    match links.is_empty() {
        true => f.write_str("; no node of this workflow has one, so add one that does"),
        false => write!(f, ", such as {}", links.join(" or ")),
    }
}

fn listed(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(MAX_LISTED).map(String::as_str).collect();
    let more = names.len().saturating_sub(shown.len());
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A value within a sentence.
pub fn shown(value: &Value) -> String {
    let text = value.to_string();
    let cut = sound::text(&text, MAX_SHOWN);
    match cut.len() < text.len() {
        true => format!("{cut}..."),
        false => cut,
    }
}
