//! What ComfyUI would refuse, found as its `validate_prompt` finds it, and a little more: a value where
//! only a link makes sense passes there, and breaks the run.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    fault::{Fault, Place, Source, Wrong},
    nearest, order,
    prompt::{Given, NodeId, Prompt, PromptNode, Slot},
};
use crate::comfy::{Catalogue, Choices, Input, Kind, Node, Number, SocketType};

/// Faults that are told; a workflow with more has others to begin with.
pub const MAX_FAULTS: usize = 64;
const MAX_NEAREST: usize = 4;
/// Allowed values that are told.
const MAX_ALLOWED: usize = 10;
/// Endings of files that a list of models is made of.
const MODEL_FILES: [&str; 10] = [
    ".bin",
    ".ckpt",
    ".engine",
    ".gguf",
    ".onnx",
    ".pkl",
    ".pt",
    ".pt2",
    ".pth",
    ".safetensors",
];

/// Everything that is wrong; nothing where ComfyUI would take it. A node that no output needs is looked
/// at for its class alone, as ComfyUI does.
pub fn check(prompt: &Prompt, catalogue: &Catalogue) -> Vec<Fault> {
    let mut faults = Vec::new();
    let outputs = order::outputs(prompt, catalogue);
    let needed = order::needed(prompt, &outputs);
    if outputs.is_empty() {
        faults.push(whole(Wrong::NoOutput));
    }
    let ring = order::ring(prompt);
    if !ring.is_empty() {
        faults.push(whole(Wrong::Ring(ring)));
    }
    for (id, node) in &prompt.nodes {
        if faults.len() >= MAX_FAULTS {
            break;
        }
        let Some(class) = catalogue.node(&node.class) else {
            let classes = catalogue.nodes().iter().map(|n| n.class.as_str());
            let nearest = nearest::names(&node.class, classes, MAX_NEAREST);
            faults.push(Fault {
                at: Some(Place::node(id, &node.class)),
                wrong: Wrong::UnknownClass {
                    nearest: owned(nearest),
                },
            });
            continue;
        };
        if !outputs.is_empty() && !needed.contains(id) {
            faults.push(Fault {
                at: Some(Place::node(id, &node.class)),
                wrong: Wrong::Idle,
            });
            continue;
        }
        let look = Look {
            prompt,
            catalogue,
            id,
            node,
        };
        look.at(class, &mut faults);
    }
    faults.truncate(MAX_FAULTS);
    faults
}

fn whole(wrong: Wrong) -> Fault {
    Fault { at: None, wrong }
}

struct Look<'a> {
    prompt: &'a Prompt,
    catalogue: &'a Catalogue,
    id: &'a NodeId,
    node: &'a PromptNode,
}

impl Look<'_> {
    fn at(&self, class: &Node, faults: &mut Vec<Fault>) {
        let mut found = |input: &str, wrong: Wrong| {
            faults.push(Fault {
                at: Some(Place::input(self.id, &self.node.class, input)),
                wrong,
            });
        };
        for input in &class.inputs {
            match self.node.inputs.get(&input.name) {
                None if input.required => found(&input.name, self.missing(input)),
                None => {}
                Some(given) => {
                    if let Some(wrong) = self.given(input, given) {
                        found(&input.name, wrong);
                    }
                }
            }
        }
        for (name, given) in &self.node.inputs {
            if class.input(name).is_some() {
                continue;
            }
            let free = |input: &&Input| !self.node.inputs.contains_key(&input.name);
            let known = class.inputs.iter().filter(free).map(|i| i.name.clone());
            let wrong = match given {
                // ComfyUI sorts nodes by all links before it asks whether the class has the input.
                Given::Link { from, .. } if !self.prompt.nodes.contains_key(from) => {
                    Wrong::NoSuchNode { from: from.clone() }
                }
                Given::Link { .. } | Given::Value(_) => Wrong::UnknownInput {
                    known: known.collect(),
                },
            };
            found(name, wrong);
        }
    }

    fn missing(&self, input: &Input) -> Wrong {
        match &input.kind {
            Kind::Choice(choices) if choices.values.is_empty() && !choices.open => {
                Wrong::NothingInstalled { value: None }
            }
            Kind::Int(_)
            | Kind::Float(_)
            | Kind::Text { .. }
            | Kind::Flag
            | Kind::Choice(_)
            | Kind::Socket(_) => Wrong::Missing {
                wants: input.link_type(),
                takes_value: input.takes_value(),
                from: match input.takes_value() {
                    true => Vec::new(),
                    false => self.sources(&input.link_type()),
                },
            },
        }
    }

    fn given(&self, input: &Input, given: &Given) -> Option<Wrong> {
        match given {
            Given::Link { from, slot } => self.link(input, from, slot),
            Given::Value(Value::Array(_)) => Some(Wrong::BadLink),
            Given::Value(value) => match &input.kind {
                Kind::Socket(wants) if !has_field(wants) => Some(Wrong::NeedsLink {
                    wants: wants.clone(),
                    from: self.sources(wants),
                }),
                kind => value_fault(kind, unwrapped(value), input.upload),
            },
        }
    }

    fn link(&self, input: &Input, from: &NodeId, slot: &Slot) -> Option<Wrong> {
        let Some(origin) = self.prompt.nodes.get(from) else {
            return Some(Wrong::NoSuchNode { from: from.clone() });
        };
        // A class that is not installed is a fault of its own.
        let class = self.catalogue.node(&origin.class)?;
        let output = match slot {
            Slot::At(at) => class.outputs.get(*at),
            Slot::Named(_) => None,
        };
        let Some(output) = output else {
            let outputs = class.outputs.iter().map(|o| o.socket.as_str().to_owned());
            return Some(Wrong::NoSuchOutput {
                from: from.clone(),
                class: origin.class.clone(),
                slot: slot.clone(),
                outputs: outputs.collect(),
            });
        };
        let wants = input.link_type();
        match wants.accepts(&output.socket) {
            true => None,
            false => Some(Wrong::WrongType {
                from: self.sources(&wants),
                wants,
                has: output.socket.clone(),
            }),
        }
    }

    /// Outputs of this workflow that would fit, without those that need this node themselves.
    fn sources(&self, wants: &SocketType) -> Vec<Source> {
        sources(self.prompt, self.catalogue, self.id, wants)
    }
}

pub(super) fn sources(
    prompt: &Prompt,
    catalogue: &Catalogue,
    node: &NodeId,
    wants: &SocketType,
) -> Vec<Source> {
    let mut out = Vec::new();
    if wants.is_any() {
        return out;
    }
    let after = order::fed_by(prompt, node);
    for (id, other) in prompt.nodes.iter().filter(|(id, _)| !after.contains(id)) {
        let Some(class) = catalogue.node(&other.class) else {
            continue;
        };
        let fits = |socket: &SocketType| !socket.is_any() && wants.accepts(socket);
        let outputs = class.outputs.iter().enumerate();
        let fitting = outputs.filter(|(_, output)| fits(&output.socket));
        out.extend(fitting.map(|(slot, _)| Source {
            node: id.clone(),
            slot,
        }));
        if out.len() >= MAX_ALLOWED {
            break;
        }
    }
    out
}

/// What a class calls a type of link, and the page has a field for.
fn has_field(socket: &SocketType) -> bool {
    const FIELDS: [&str; 6] = [
        "AUDIO_RECORD",
        "COLOR",
        "LOAD_3D",
        "LOAD_3D_ANIMATION",
        "WEBCAM",
        "*",
    ];
    FIELDS.contains(&socket.as_str())
}

/// A list stands in the API's form within this, as it would be a link.
pub(super) fn unwrapped(value: &Value) -> &Value {
    value.get("__value__").unwrap_or(value)
}

pub(super) fn value_fault(kind: &Kind, value: &Value, upload: bool) -> Option<Wrong> {
    match kind {
        Kind::Int(bounds) => match value.as_i64().is_some() || value.as_u64().is_some() {
            true => bounds_fault(value, *bounds),
            false => Some(Wrong::NotANumber {
                value: value.clone(),
                whole: true,
            }),
        },
        Kind::Float(bounds) => match value.is_number() {
            true => bounds_fault(value, *bounds),
            false => Some(Wrong::NotANumber {
                value: value.clone(),
                whole: false,
            }),
        },
        Kind::Text { multiline: _ } => (!value.is_string()).then(|| Wrong::NotAText {
            value: value.clone(),
        }),
        Kind::Flag => (!value.is_boolean()).then(|| Wrong::NotAFlag {
            value: value.clone(),
        }),
        Kind::Choice(choices) => match (choices.many, value) {
            (true, Value::Array(values)) => {
                let mut each = values.iter();
                each.find_map(|value| choice_fault(choices, value, upload))
            }
            (true | false, value) => choice_fault(choices, value, upload),
        },
        Kind::Socket(_) => None,
    }
}

fn choice_fault(choices: &Choices, value: &Value, upload: bool) -> Option<Wrong> {
    if choices.allows(value) != Some(false) {
        return None;
    }
    let texts = || choices.values.iter().filter_map(Value::as_str);
    let value = value.clone();
    let is_of_models = value.as_str().is_some_and(is_model_file) || is_of_files(choices);
    if upload || is_of_models {
        // Other words may stand in the list, too: `none`, `pixel_space`.
        let files: Vec<&str> = texts().filter(|t| upload || is_model_file(t)).collect();
        let of = files.len();
        return Some(match files.is_empty() {
            true => Wrong::NothingInstalled { value: Some(value) },
            false => Wrong::NotInstalled {
                files: owned(files.into_iter().take(MAX_ALLOWED).collect()),
                value,
                of,
            },
        });
    }
    if choices.values.is_empty() {
        return Some(Wrong::NothingInstalled { value: Some(value) });
    }
    let of = choices.values.len();
    let mut nearest = Vec::new();
    if let (Some(text), true) = (value.as_str(), of > MAX_ALLOWED) {
        nearest = owned(nearest::names(text, texts(), MAX_NEAREST));
    }
    let rest = choices.values.iter().map(|v| match v {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    for name in rest {
        if nearest.len() < MAX_ALLOWED && !nearest.contains(&name) {
            nearest.push(name);
        }
    }
    Some(Wrong::NotAllowed { value, nearest, of })
}

/// Whether the list is one of model files.
pub fn is_of_files(choices: &Choices) -> bool {
    let mut texts = choices.values.iter().filter_map(Value::as_str);
    texts.any(is_model_file)
}

pub fn is_model_file(name: &str) -> bool {
    let name = name.to_lowercase();
    MODEL_FILES.iter().any(|ending| name.ends_with(ending))
}

fn bounds_fault(value: &Value, bounds: Number) -> Option<Wrong> {
    let number = value.as_f64()?;
    let below = bounds.min.is_some_and(|min| number < min);
    let above = bounds.max.is_some_and(|max| number > max);
    (below || above).then(|| Wrong::OutOfBounds {
        value: value.clone(),
        bounds,
    })
}

fn owned(names: Vec<&str>) -> Vec<String> {
    names.into_iter().map(str::to_owned).collect()
}

/// Whether ComfyUI would take it.
pub fn accepted(faults: &[Fault]) -> bool {
    !faults.iter().any(|fault| fault.wrong.blocks())
}

/// Nodes whose class is not there.
pub fn unknown_classes(faults: &[Fault]) -> BTreeSet<&str> {
    let unknown = faults.iter().filter_map(|fault| match &fault.wrong {
        Wrong::UnknownClass { .. } => fault.at.as_ref().map(|at| at.class.as_str()),
        _ => None,
    });
    unknown.collect()
}
