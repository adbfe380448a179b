//! The prompts of the stand-ins: files in `prompts/`, compiled in.
//!
//! Short, because small local models are the norm. `{{name}}` stands for what is filled in; what is
//! filled in is never looked at again, so no text of a user or a custom node becomes a placeholder.

use super::language::Language;

/// A prompt file.
#[derive(Clone, Copy, Debug)]
pub struct Prompt(pub(super) &'static str);

impl Prompt {
    /// The text with every `{{name}}` filled in. A name that is not given stays as it stands, which a
    /// test of the caller sees.
    pub fn fill(self, values: &[(&str, &str)]) -> String {
        let mut out = String::with_capacity(self.0.len() + 64);
        let mut rest = self.0;
        while let Some((before, behind)) = rest.split_once("{{") {
            out.push_str(before);
            let Some((name, after)) = behind.split_once("}}") else {
                out.push_str("{{");
                rest = behind;
                continue;
            };
            match values.iter().find(|(known, _)| *known == name) {
                Some((_, value)) => out.push_str(value),
                None => {
                    out.push_str("{{");
                    out.push_str(name);
                    out.push_str("}}");
                }
            }
            rest = after;
        }
        out.push_str(rest);
        out.trim_end().to_owned()
    }
}

/// Variations of a picture's description (WIRE.md 18).
pub const SD_PROMPTS: Prompt = Prompt(include_str!("prompts/sd_prompts.md"));
/// A node told to a person (WIRE.md 13).
pub const NODE_EXPLAIN: Prompt = Prompt(include_str!("prompts/node_explain.md"));
pub const NODE_PARAMS: Prompt = Prompt(include_str!("prompts/node_params.md"));
/// The settings of a workflow fitted to a request (WIRE.md 14).
pub const OPTIMIZE: Prompt = Prompt(include_str!("prompts/optimize.md"));

/// For `{{language}}`.
pub fn name_of(language: Language) -> &'static str {
    match language {
        Language::English => "English",
        Language::Chinese => "Simplified Chinese (简体中文)",
    }
}

/// Which of the workflows at hand does what is asked for, and with which values.
pub const WORKFLOW_ADAPT: Prompt = Prompt(include_str!("prompts/workflow_adapt.md"));

/// A new workflow, where none at hand does.
pub const WORKFLOW_INVENT: Prompt = Prompt(include_str!("prompts/workflow_invent.md"));

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[(&str, Prompt)] = &[
        ("sd_prompts", SD_PROMPTS),
        ("node_explain", NODE_EXPLAIN),
        ("node_params", NODE_PARAMS),
        ("optimize", OPTIMIZE),
        ("workflow_adapt", WORKFLOW_ADAPT),
        ("workflow_invent", WORKFLOW_INVENT),
    ];

    #[test]
    fn placeholders_are_filled_once() {
        let prompt = Prompt("Say {{a}}, then {{b}}; {{c}} {{ open");
        assert_eq!(
            prompt.fill(&[("a", "{{b}}"), ("b", "2")]),
            "Say {{b}}, then 2; {{c}} {{ open"
        );
    }

    #[test]
    fn prompts_are_short() {
        for (name, prompt) in ALL {
            assert!(!prompt.0.trim().is_empty(), "{name}");
            assert!(prompt.0.len() < 2_000, "{name} is {} bytes", prompt.0.len());
        }
    }
}
