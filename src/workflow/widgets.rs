//! The values of a node of the page, by the names of its inputs.
//!
//! The page keeps values in the order of its fields, which is that of the class's inputs with a few of its
//! own between them: what happens to a seed after a run, and the button that uploads a file.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::graph::{self, GraphNode, Widgets};
use crate::comfy::{Input, Kind, Node};

/// What the field behind a seed says.
const AFTER_RUN: [&str; 4] = ["fixed", "increment", "decrement", "randomize"];

/// By input; empty for a class that is not installed, unless the node says the names itself. What the
/// node does not say is what the page would put there.
pub fn values(node: &GraphNode, class: Option<&Node>) -> BTreeMap<String, Value> {
    let fields = fields(node, class);
    let mut out = match &node.widgets {
        Widgets::Named(named) => of_names(named, class),
        Widgets::List(list) => of_list(list, &fields),
    };
    for input in fields.iter().filter_map(|field| field.input) {
        if let (true, None) = (input.required, out.get(&input.name)) {
            out.extend(fallback(input).map(|value| (input.name.clone(), value)));
        }
    }
    out
}

/// Writes one value where the page keeps it. False where its file has no place for it.
pub fn put(file: &mut Value, class: Option<&Node>, input: &str, value: &Value) -> bool {
    let Some(node) = graph::node(file) else {
        return false;
    };
    let place = match &node.widgets {
        Widgets::Named(named) => named.contains_key(input).then_some(None),
        Widgets::List(list) => places(list, &fields(&node, class))
            .find(|(_, field)| field.name == input)
            .map(|(at, _)| Some(at)),
    };
    let kept = file.get_mut("widgets_values");
    let slot = match (place, kept) {
        (Some(None), Some(Value::Object(named))) => named.get_mut(input),
        (Some(Some(at)), Some(Value::Array(list))) => list.get_mut(at),
        _ => None,
    };
    let Some(slot) = slot else {
        return false;
    };
    *slot = value.get(WRAPPED).unwrap_or(value).clone();
    true
}

struct Field<'a> {
    name: &'a str,
    /// `None` for a field that the page makes.
    input: Option<&'a Input>,
}

impl Field<'_> {
    fn is_seed(&self) -> bool {
        matches!(self.name, "seed" | "noise_seed")
    }

    fn allows(&self, value: &Value) -> bool {
        match self.input.map(|input| &input.kind) {
            Some(Kind::Choice(choices)) => choices.allows(value) != Some(false),
            Some(Kind::Text { .. }) => value.is_string(),
            Some(Kind::Flag) => value.is_boolean(),
            Some(Kind::Int(_) | Kind::Float(_) | Kind::Socket(_)) | None => false,
        }
    }
}

fn fields<'a>(node: &'a GraphNode, class: Option<&'a Node>) -> Vec<Field<'a>> {
    match class {
        Some(class) => of_class(node, class),
        None => made(node, |_| true).collect(),
    }
}

fn of_class<'a>(node: &'a GraphNode, class: &'a Node) -> Vec<Field<'a>> {
    let inputs = class.inputs.iter().filter(|input| is_field(input, node));
    let of_class = inputs.map(|input| Field {
        name: &input.name,
        input: Some(input),
    });
    // Fields that the page makes of what the user puts in stand behind those of the class.
    let own = |name: &str| class.input(name).is_none();
    of_class.chain(made(node, own)).collect()
}

fn made<'a>(node: &'a GraphNode, own: impl Fn(&str) -> bool) -> impl Iterator<Item = Field<'a>> {
    let widgets = node.inputs.iter().filter(|input| input.is_widget);
    widgets
        .filter(move |input| own(&input.name))
        .map(|input| Field {
            name: &input.name,
            input: None,
        })
}

fn fallback(input: &Input) -> Option<Value> {
    let first = match &input.kind {
        Kind::Choice(choices) => choices.values.first(),
        Kind::Int(_) | Kind::Float(_) | Kind::Text { .. } | Kind::Flag | Kind::Socket(_) => None,
    };
    input.default.as_ref().or(first).cloned()
}

fn is_field(input: &Input, node: &GraphNode) -> bool {
    // Some types have a field on the page alone, and the node says so.
    let said = node.inputs.iter().find(|i| i.name == input.name);
    input.takes_value() || said.is_some_and(|i| i.is_widget)
}

fn of_names(named: &BTreeMap<String, Value>, class: Option<&Node>) -> BTreeMap<String, Value> {
    let known = |name: &str| class.is_none_or(|class| class.input(name).is_some());
    let values = named.iter().filter(|(name, _)| known(name));
    values.map(|(name, v)| (name.clone(), wrapped(v))).collect()
}

fn of_list(list: &[Value], fields: &[Field<'_>]) -> BTreeMap<String, Value> {
    let value =
        |(at, field): (usize, &Field<'_>)| Some((field.name.to_owned(), wrapped(list.get(at)?)));
    places(list, fields).filter_map(value).collect()
}

/// Which value of the list is which field's.
fn places<'f>(
    list: &[Value],
    fields: &'f [Field<'f>],
) -> impl Iterator<Item = (usize, &'f Field<'f>)> {
    let mut found = Vec::new();
    let mut rest = list.iter().enumerate().peekable();
    for (at, field) in fields.iter().enumerate() {
        let Some((place, _)) = rest.next() else {
            break;
        };
        found.push((place, field));
        let Some((_, behind)) = rest.peek() else {
            break;
        };
        let fits = fields.get(at + 1).is_some_and(|next| next.allows(behind));
        let is_after_run = match behind {
            Value::String(text) => AFTER_RUN.contains(&text.as_str()) && (field.is_seed() || !fits),
            // As the first versions of the page had it.
            Value::Bool(_) => field.is_seed() && !fits,
            Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => false,
        };
        if is_after_run {
            rest.next();
        }
    }
    found.into_iter()
}

const WRAPPED: &str = "__value__";

/// A list among the inputs of the API's form would be read as a link.
pub fn wrapped(value: &Value) -> Value {
    match value {
        Value::Array(_) => json!({WRAPPED: value}),
        other => other.clone(),
    }
}
