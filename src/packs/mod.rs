//! Rule packs: YAML in `config/packs`, compiled into the binary and chosen by name.
//!
//! Called by `config`. Rules carry the pack's name: `comfyui-copilot/llm`.

use crate::{
    config::{error::Errors, reader::Field, rules::read_rules, tree},
    policy::Rule,
};

const PACKS: [(&str, &str); 6] = [
    (
        "comfyui-copilot",
        include_str!("../../config/packs/comfyui-copilot.yaml"),
    ),
    (
        "model-downloads",
        include_str!("../../config/packs/model-downloads.yaml"),
    ),
    ("comfyui", include_str!("../../config/packs/comfyui.yaml")),
    (
        "comfyui-manager",
        include_str!("../../config/packs/comfyui-manager.yaml"),
    ),
    ("pip", include_str!("../../config/packs/pip.yaml")),
    (
        "git-https",
        include_str!("../../config/packs/git-https.yaml"),
    ),
];

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    #[error("{name:?} is no pack: write one of {}", names().collect::<Vec<_>>().join(", "))]
    Unknown { name: String },
    /// A mistake of ours, which a unit test finds first.
    #[error("pack {0} is broken: {1}")]
    Broken(&'static str, String),
}

/// Names that `packs:` takes.
pub fn names() -> impl Iterator<Item = &'static str> {
    PACKS.iter().map(|(name, _)| *name)
}

/// The YAML of a pack, with its comments.
pub fn source(name: &str) -> Option<&'static str> {
    PACKS
        .iter()
        .find(|(n, _)| *n == name)
        .map(|(_, yaml)| *yaml)
}

/// The rules of a pack, in order.
pub fn load(name: &str) -> Result<Vec<Rule>, PackError> {
    let Some((name, yaml)) = PACKS.iter().find(|(n, _)| *n == name) else {
        return Err(PackError::Unknown {
            name: name.to_owned(),
        });
    };
    let mut errors = Errors::default();
    let rules = read(name, yaml, &mut errors);
    match rules {
        Some(rules) if errors.is_empty() => Ok(rules),
        Some(_) | None => Err(PackError::Broken(
            name,
            errors.into_errors(name).to_string(),
        )),
    }
}

fn read(name: &str, yaml: &str, errors: &mut Errors) -> Option<Vec<Rule>> {
    let mut s = Field::root(tree::parse(yaml, errors)?).section(errors)?;
    let own_name = s.require("name", name, errors)?.text(errors)?;
    if own_name != name {
        s.error(errors, format!("is named {own_name}, not {name}"));
    }
    let rules = read_rules(s.require("rules", "[]", errors)?, Some(name), errors);
    s.close(errors);
    Some(rules)
}

#[cfg(test)]
mod tests;
