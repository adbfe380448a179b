//! A node class: what goes in, what comes out, and whether one fits into the other.

use std::sync::Arc;

use serde_json::Value;

/// One class of `/object_info`.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What a workflow calls it: `KSampler`.
    pub class: String,
    /// What the page calls it; the class where it has no other name.
    pub title: String,
    pub description: String,
    /// Its menu: `sampling/custom_sampling`.
    pub category: String,
    /// The Python module it comes from: `nodes`, `comfy_extras.nodes_mask`, `custom_nodes.NAME`.
    pub module: String,
    /// Required ones first, each group in the page's order. Hidden ones are not here: ComfyUI fills them.
    pub inputs: Vec<Input>,
    pub outputs: Vec<Output>,
    /// A workflow without one of these does nothing.
    pub is_output: bool,
    pub deprecated: bool,
    pub experimental: bool,
    /// It calls a paid service on the Internet.
    pub is_api: bool,
}

impl Node {
    pub fn input(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|i| i.name == name)
    }

    /// The folder of a node that the user installed; `None` for what ComfyUI brings along.
    pub fn custom_pack(&self) -> Option<&str> {
        let pack = self.module.strip_prefix("custom_nodes.")?;
        Some(pack.split('.').next().unwrap_or(pack))
    }
}

/// Something a node takes: over a link, as a value in the node, or either.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    pub name: String,
    pub kind: Kind,
    pub required: bool,
    /// What ComfyUI puts in where nothing is said.
    pub default: Option<Value>,
    pub tooltip: String,
    /// A value type that takes a link only.
    pub link_only: bool,
    /// A choice among files that the user puts in: a picture, a sound.
    pub upload: bool,
}

impl Input {
    /// True where a value can stand in the workflow itself, without a link.
    pub fn takes_value(&self) -> bool {
        !self.link_only && !matches!(self.kind, Kind::Socket(_))
    }

    /// What must be said is said nowhere else: there is neither a default nor a first choice.
    pub fn must_be_given(&self) -> bool {
        let fallback = match &self.kind {
            Kind::Choice(choices) => !choices.values.is_empty(),
            Kind::Int(_) | Kind::Float(_) | Kind::Text { .. } | Kind::Flag | Kind::Socket(_) => {
                false
            }
        };
        self.required && self.default.is_none() && !fallback
    }

    /// The type of a link that may end here.
    pub fn link_type(&self) -> SocketType {
        match &self.kind {
            Kind::Int(_) => SocketType::named("INT"),
            Kind::Float(_) => SocketType::named("FLOAT"),
            Kind::Text { .. } => SocketType::named("STRING"),
            Kind::Flag => SocketType::named("BOOLEAN"),
            Kind::Choice(_) => SocketType::named("COMBO"),
            Kind::Socket(socket) => socket.clone(),
        }
    }
}

/// What kind of thing an input takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Int(Number),
    Float(Number),
    Text {
        multiline: bool,
    },
    Flag,
    Choice(Choices),
    /// Only over a link: `MODEL`, `IMAGE`, `*`.
    Socket(SocketType),
}

/// Bounds of a number; `None` where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Number {
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub step: Option<f64>,
}

/// Allowed values of a choice.
#[derive(Clone, Debug, PartialEq)]
pub struct Choices {
    /// Texts, numbers or booleans, as ComfyUI compares them. Shared by all nodes that have the same list.
    pub values: Arc<[Value]>,
    /// Several at a time.
    pub many: bool,
    /// ComfyUI has more than are kept here, or fills the list later: a value that is not listed may be
    /// allowed all the same.
    pub open: bool,
}

impl Choices {
    /// Whether ComfyUI would take the value; `None` where that cannot be known here.
    pub fn allows(&self, value: &Value) -> Option<bool> {
        match self.values.contains(value) {
            true => Some(true),
            false if self.open => None,
            false => Some(false),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub name: String,
    pub socket: SocketType,
    pub is_list: bool,
}

/// The type of a link as ComfyUI writes it: one name, several with commas, or `*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SocketType(Arc<str>);

impl SocketType {
    pub fn named(name: &str) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_any(&self) -> bool {
        self.names().any(|name| name == "*")
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split(',').map(str::trim)
    }

    /// Whether an output of type `from` may be linked to an input of this type, as ComfyUI's
    /// `validate_node_input` has it (not strict): the two have a name in common, or one takes any.
    pub fn accepts(&self, from: &SocketType) -> bool {
        self.is_any() || from.is_any() || from.names().any(|f| self.names().any(|own| own == f))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_fit_where_a_name_is_shared() {
        for (row, input, output, fits) in [
            ("the same", "IMAGE", "IMAGE", true),
            ("another", "IMAGE", "MASK", false),
            ("one of several", "INT,FLOAT", "FLOAT", true),
            ("several into several", "A, B", "B,C", true),
            ("any takes all", "*", "LATENT", true),
            ("any goes anywhere", "LATENT", "*", true),
            ("case counts", "image", "IMAGE", false),
        ] {
            let (input, output) = (SocketType::named(input), SocketType::named(output));
            assert_eq!(input.accepts(&output), fits, "{row}");
        }
    }

    #[test]
    fn a_list_that_is_open_says_neither_yes_nor_no() {
        let choices = |open| Choices {
            values: Arc::from([Value::from("a"), Value::from(1)]),
            many: false,
            open,
        };
        assert_eq!(choices(false).allows(&"a".into()), Some(true));
        assert_eq!(choices(false).allows(&"b".into()), Some(false));
        assert_eq!(choices(false).allows(&"1".into()), Some(false));
        assert_eq!(choices(true).allows(&"b".into()), None);
    }
}
