//! `airlock doctor`: looks at everything that has to be right for the plugin's chat to work, and
//! says for each thing what was found and what to do.
//!
//! Called by `cli::doctor` alone, which reads the environment and prints. It looks and changes
//! nothing: no key is made, no certificate re-issued, no file written. Whatever goes over the
//! network goes through `upstream`; ports are tried with the listeners' own `bind`.
//!
//! | file | what it looks at |
//! |---|---|
//! | [`finding`] | the shape of an answer |
//! | [`progress`] | what is being waited for, for a person at a terminal |
//! | [`state`] | the state folder and who may read the keys in it |
//! | [`ca`] | root certificate, bundle, and whether this shell trusts them |
//! | [`environment`] | proxy variables, base URLs and keys in this shell |
//! | [`ports`] | whether airlock runs, and whether its ports are to be had |
//! | [`llm`] | the LLM: found, reachable, models, stream, tools, context |

mod ca;
mod environment;
mod finding;
mod llm;
mod ports;
mod progress;
mod state;

use std::collections::HashMap;

pub use finding::{Finding, Status};
pub use progress::Progress;

use crate::config::{Config, ConfigErrors};

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// No completions: nothing that makes the LLM work.
    Quick,
    Full,
}

/// Looks at everything. `environment` is the one of the shell that the command was started from.
pub async fn examine(
    config: &Config,
    environment: &HashMap<String, String>,
    depth: Depth,
    progress: &Progress,
) -> Vec<Finding> {
    let mut findings = vec![configuration(config)];
    findings.extend(notes(config));
    progress.now("looking at the state folder and the CA");
    findings.extend(state::examine(&config.state_dir));
    findings.extend(ca::examine(
        config,
        environment,
        environment::leads_here(config, environment),
    ));
    findings.extend(environment::examine(config, environment));
    progress.now("looking at the ports");
    findings.extend(ports::examine(config).await);
    findings.extend(llm::examine(config, environment, depth, progress).await);
    findings
}

/// What is wrong with a configuration that does not load: one finding for each mistake.
pub fn broken(errors: &ConfigErrors) -> Vec<Finding> {
    let finding = |error: &crate::config::ConfigError| {
        Finding::fail(
            "configuration",
            format!("{}: {error}", errors.source),
            "correct it, then run `airlock check` until it says ok",
        )
    };
    errors.errors.iter().map(finding).collect()
}

fn configuration(config: &Config) -> Finding {
    let words = format!(
        "{} loads: {} rules of {}, mode {}",
        config.source,
        config.policy.rule_count(),
        if config.packs.is_empty() {
            "no pack".to_owned()
        } else {
            config.packs.join(", ")
        },
        config.mode.as_str(),
    );
    if config.packs.iter().any(|pack| pack == "comfyui-copilot") {
        Finding::ok("configuration", words)
    } else {
        Finding::warn(
            "configuration",
            format!("{words}; the plugin's own requests are refused"),
            "add comfyui-copilot to packs, unless you wrote rules for them yourself",
        )
    }
}

fn notes(config: &Config) -> impl Iterator<Item = Finding> + '_ {
    config
        .notes
        .iter()
        .map(|note| Finding::ok("note", note.clone()))
}
