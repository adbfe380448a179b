//! `/object_info` as ComfyUI 0.3 and later answers it: one object, a member for each class.
//!
//! The answer is read class by class, so that one that is broken costs only itself.

use std::{
    collections::HashMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};

use super::{
    catalogue::LeftOut,
    node::{Choices, Input, Kind, Node, Number, Output, SocketType},
    sound,
};

/// Classes of one ComfyUI; the largest installations that are known have about six thousand.
const MAX_NODES: usize = 20_000;
/// JSON text of one class. Lists of models stand in it.
const MAX_NODE_BYTES: usize = 8 << 20;
const MAX_INPUTS: usize = 512;
const MAX_OUTPUTS: usize = 256;
const MAX_CHOICES: usize = 20_000;
const MAX_DESCRIPTION: usize = 8 << 10;
const MAX_TOOLTIP: usize = 1 << 10;
const MAX_DEFAULT: usize = 4 << 10;
/// What says that a choice is among files that the user puts in.
const UPLOADS: [&str; 5] = [
    "animated_image_upload",
    "audio_upload",
    "file_upload",
    "image_upload",
    "video_upload",
];

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("/object_info is no JSON object of classes: {0}")]
pub struct ObjectInfoError(String);

/// The classes that could be read, in the answer's order.
#[derive(Debug, Default)]
pub struct Nodes {
    pub nodes: Vec<Node>,
    pub left_out: LeftOut,
}

impl Nodes {
    pub fn read(bytes: &[u8]) -> Result<Self, ObjectInfoError> {
        let text = sound::readable(bytes);
        let classes: Classes<'_> =
            serde_json::from_str(&text).map_err(|e| ObjectInfoError(e.to_string()))?;
        let mut out = Nodes::default();
        let mut lists = Lists::default();
        for (class, raw) in classes.0 {
            if out.nodes.len() >= MAX_NODES || raw.get().len() > MAX_NODE_BYTES {
                out.left_out.nodes += 1;
                continue;
            }
            let members = serde_json::from_str::<Map<String, Value>>(raw.get()).ok();
            let node = members
                .as_ref()
                .and_then(|m| read_node(&class, m, &mut lists, &mut out.left_out));
            match node {
                Some(node) => out.nodes.push(node),
                None => out.left_out.nodes += 1,
            }
        }
        Ok(out)
    }
}

/// Members in order; a class that stands twice keeps both, and the catalogue the last.
struct Classes<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Classes<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of classes")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        d.deserialize_map(Members).map(Classes)
    }
}

/// Lists of choices that were met: many nodes list the same models.
#[derive(Default)]
struct Lists(HashMap<u64, Arc<[Value]>>);

impl Lists {
    fn shared(&mut self, values: Vec<Value>) -> Arc<[Value]> {
        let mut hasher = DefaultHasher::new();
        for value in &values {
            value.to_string().hash(&mut hasher);
        }
        let known = self.0.entry(hasher.finish()).or_default();
        if **known != *values {
            // New, or a collision: the newer one is as good to keep.
            *known = values.into();
        }
        known.clone()
    }
}

/// `None` where it is no class that a workflow could name.
fn read_node(
    class: &str,
    members: &Map<String, Value>,
    lists: &mut Lists,
    left_out: &mut LeftOut,
) -> Option<Node> {
    let class = sound::name(class)?.to_owned();
    let words = |name: &str, max| {
        let text = members.get(name).and_then(Value::as_str).unwrap_or("");
        sound::text(text, max)
    };
    let flag = |name: &str| members.get(name).and_then(Value::as_bool).unwrap_or(false);
    let title = words("display_name", sound::MAX_NAME);
    Some(Node {
        title: match title.trim() {
            "" => class.clone(),
            title => title.to_owned(),
        },
        description: words("description", MAX_DESCRIPTION),
        category: words("category", sound::MAX_NAME),
        module: words("python_module", sound::MAX_NAME),
        inputs: inputs(members, lists, left_out),
        outputs: outputs(members, left_out),
        is_output: flag("output_node"),
        deprecated: flag("deprecated"),
        experimental: flag("experimental"),
        is_api: flag("api_node"),
        class,
    })
}

fn inputs(members: &Map<String, Value>, lists: &mut Lists, left_out: &mut LeftOut) -> Vec<Input> {
    let mut out: Vec<Input> = Vec::new();
    for (section, required) in [("required", true), ("optional", false)] {
        let Some(specs) = members
            .get("input")
            .and_then(|input| input.get(section))
            .and_then(Value::as_object)
        else {
            continue;
        };
        let order = members
            .get("input_order")
            .and_then(|order| order.get(section))
            .and_then(Value::as_array);
        let ordered = order.into_iter().flatten().filter_map(Value::as_str);
        // What the order leaves out comes after it.
        for name in ordered.chain(specs.keys().map(String::as_str)) {
            let Some(spec) = specs.get(name) else {
                continue;
            };
            if out.iter().any(|i| i.name == name) {
                continue;
            }
            let input = (out.len() < MAX_INPUTS)
                .then(|| read_input(name, spec, required, lists))
                .flatten();
            match input {
                Some(input) => out.push(input),
                None => left_out.inputs += 1,
            }
        }
    }
    out
}

/// `["INT", {…}]`, `[["a", "b"], {…}]`, `["COMBO", {"options": […]}]`, or a bare type.
fn read_input(name: &str, spec: &Value, required: bool, lists: &mut Lists) -> Option<Input> {
    let name = sound::name(name)?.to_owned();
    let (of, options) = match spec {
        Value::Array(parts) => (parts.first()?, parts.get(1).and_then(Value::as_object)),
        Value::String(_) => (spec, None),
        _ => return None,
    };
    let option = |name: &str| options.and_then(|o| o.get(name));
    let flag = |name: &str| option(name).and_then(Value::as_bool).unwrap_or(false);
    let number = || Number {
        min: option("min").and_then(Value::as_f64),
        max: option("max").and_then(Value::as_f64),
        step: option("step").and_then(Value::as_f64),
    };
    let kind = match of {
        Value::Array(values) => Kind::Choice(choices(values, flag("multiselect"), false, lists)),
        Value::String(of) => match of.as_str() {
            "INT" => Kind::Int(number()),
            "FLOAT" => Kind::Float(number()),
            "STRING" => Kind::Text {
                multiline: flag("multiline"),
            },
            "BOOLEAN" => Kind::Flag,
            "COMBO" => {
                let values = option("options").and_then(Value::as_array);
                // `remote`: the page asks for the list when it is opened.
                let open = values.is_none() || option("remote").is_some();
                let values = values.map(Vec::as_slice).unwrap_or_default();
                Kind::Choice(choices(values, flag("multiselect"), open, lists))
            }
            socket => Kind::Socket(SocketType::named(sound::name(socket)?)),
        },
        _ => return None,
    };
    let default = option("default").filter(|d| !d.is_null() && d.to_string().len() <= MAX_DEFAULT);
    Some(Input {
        name,
        kind,
        required,
        default: default.cloned(),
        tooltip: sound::text(
            option("tooltip").and_then(Value::as_str).unwrap_or(""),
            MAX_TOOLTIP,
        ),
        link_only: flag("forceInput"),
        upload: UPLOADS.iter().any(|name| flag(name)),
    })
}

fn choices(values: &[Value], many: bool, open: bool, lists: &mut Lists) -> Choices {
    let scalar = |value: &&Value| match value {
        Value::String(text) => text.len() <= MAX_TOOLTIP,
        Value::Number(_) | Value::Bool(_) => true,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    let kept: Vec<Value> = values
        .iter()
        .filter(scalar)
        .take(MAX_CHOICES)
        .cloned()
        .collect();
    Choices {
        open: open || kept.len() < values.len(),
        many,
        values: lists.shared(kept),
    }
}

fn outputs(members: &Map<String, Value>, left_out: &mut LeftOut) -> Vec<Output> {
    let list = |name: &str| {
        let list = members.get(name).and_then(Value::as_array);
        list.map(Vec::as_slice).unwrap_or_default()
    };
    let (names, lists) = (list("output_name"), list("output_is_list"));
    let all = list("output");
    left_out.outputs += all.len().saturating_sub(MAX_OUTPUTS);
    all.iter()
        .take(MAX_OUTPUTS)
        .enumerate()
        .map(|(slot, of)| {
            // A slot is known by its place, so none may be dropped. Old nodes put a list of choices here.
            let socket = match of {
                Value::String(of) => sound::name(of),
                Value::Array(_) => Some("COMBO"),
                _ => None,
            };
            if socket.is_none() {
                left_out.outputs += 1;
            }
            let socket = SocketType::named(socket.unwrap_or("*"));
            let name = names.get(slot).and_then(Value::as_str);
            Output {
                name: name
                    .and_then(sound::name)
                    .unwrap_or(socket.as_str())
                    .to_owned(),
                is_list: lists.get(slot).and_then(Value::as_bool).unwrap_or(false),
                socket,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
