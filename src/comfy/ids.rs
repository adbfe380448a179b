//! What stands on a workflow card: the page sends it back when the card is accepted (WIRE.md 14).

use std::fmt;

use super::sound;

/// Which workflow a card shows. As text it is `template:NAME`, `saved:PATH` or `generated:KEY`; the page
/// takes any text that is not empty as an id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WorkflowId {
    /// A template that ComfyUI ships, by its name.
    Template(String),
    /// A workflow of the user's own, by its path below `workflows`.
    Saved(String),
    /// One that was made here, by the key of whoever keeps it.
    Generated(String),
}

impl WorkflowId {
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        let rest = sound::name(rest)?.to_owned();
        match kind {
            "template" => Some(WorkflowId::Template(rest)),
            "saved" => Some(WorkflowId::Saved(rest)),
            "generated" => Some(WorkflowId::Generated(rest)),
            _ => None,
        }
    }
}

impl fmt::Display for WorkflowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkflowId::Template(name) => write!(f, "template:{name}"),
            WorkflowId::Saved(path) => write!(f, "saved:{path}"),
            WorkflowId::Generated(key) => write!(f, "generated:{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_back_as_it_went() {
        for id in [
            WorkflowId::Template("default".into()),
            WorkflowId::Saved("mine/a: b.json".into()),
            WorkflowId::Generated("7".into()),
        ] {
            assert_eq!(WorkflowId::parse(&id.to_string()), Some(id));
        }
        for bad in ["", "31809", "template:", "other:x", "saved:a\nb"] {
            assert_eq!(WorkflowId::parse(bad), None, "{bad}");
        }
    }
}
