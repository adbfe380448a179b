//! Which model the names of the plugin become.

use super::{Finding, ProbeResult};
use crate::{
    config::Config,
    llm::{
        models::{Aliases, ResolvedBy},
        request::Operation,
    },
};

/// Names that the plugin asks for whatever the user chose, and its first choice (WIRE.md 2.3).
const PLUGIN_NAMES: [&str; 2] = [
    "gemini-2.5-flash",
    "us.anthropic.claude-sonnet-4-20250514-v1:0",
];

/// The findings, and the model to try: the one that the plugin's chat gets.
pub fn examine(
    config: &Config,
    aliases: &Aliases,
    found: &ProbeResult,
) -> (Vec<Finding>, Option<String>) {
    let list = &found.models;
    let mut findings = Vec::new();
    if list.models.is_empty() && config.llm.model.is_none() {
        findings.push(Finding::fail(
            "llm_model",
            format!("{} serves no model", found.url),
            "load one: `ollama pull qwen3`, or open one in LM Studio, or start the server with one",
        ));
        return (findings, None);
    }
    if let Some(model) = &config.llm.model
        && !list.models.is_empty()
        && list.find(model).is_none()
    {
        let served: Vec<_> = list.models.iter().take(8).map(|m| &*m.id).collect();
        findings.push(Finding::warn(
            "llm_model",
            format!("the configured model {model} is not in the server's list"),
            format!(
                "set WORKFLOW_MODEL_NAME (or llm.model) to one of: {}",
                served.join(", ")
            ),
        ));
    }
    let mut chosen = None;
    for asked in PLUGIN_NAMES {
        let resolved = aliases.resolve(Some(asked), Some(list), Operation::Chat);
        let by = match resolved.by {
            ResolvedBy::Alias => "alias",
            ResolvedBy::Known => "the server has it",
            ResolvedBy::CatchAll => "catch-all",
            ResolvedBy::AsAsked => {
                findings.push(Finding::fail(
                    "llm_model",
                    format!("the plugin asks for {asked}, which the server does not have"),
                    format!("turn llm.catch_all on, or add it to llm.aliases: {asked}: MODEL"),
                ));
                continue;
            }
        };
        let model = resolved.model.unwrap_or_default();
        findings.push(Finding::ok(
            "llm_model",
            format!("{asked} -> {model} ({by})"),
        ));
        chosen.get_or_insert(model);
    }
    (findings, chosen)
}
