//! The values of a node of the page, by the names of its inputs.
//!
//! The page keeps values in the order of its fields, which is that of the class's inputs with a few of its
//! own between them: what happens to a seed after a run, and the button that uploads a file.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::graph::{GraphNode, Widgets};
use crate::comfy::{Input, Kind, Node};

/// What the field behind a seed says.
const AFTER_RUN: [&str; 4] = ["fixed", "increment", "decrement", "randomize"];

/// By input; empty for a class that is not installed, unless the node says the names itself. What the
/// node does not say is what the page would put there.
pub fn values(node: &GraphNode, class: Option<&Node>) -> BTreeMap<String, Value> {
    let fields = match class {
        Some(class) => of_class(node, class),
        None => made(node, |_| true).collect(),
    };
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
    let mut out = BTreeMap::new();
    let mut rest = list.iter().peekable();
    for (at, field) in fields.iter().enumerate() {
        let Some(value) = rest.next() else {
            break;
        };
        out.insert(field.name.to_owned(), wrapped(value));
        let Some(behind) = rest.peek() else {
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
    out
}

/// A list among the inputs of the API's form would be read as a link.
pub fn wrapped(value: &Value) -> Value {
    match value {
        Value::Array(_) => json!({"__value__": value}),
        other => other.clone(),
    }
}
