//! `airlock check`: every mistake of a configuration at once.

use std::process::ExitCode;

use super::{
    EXIT_CONFIG,
    settings::{ConfigArg, environment},
    table::table,
};
use crate::policy::RuleAction;

/// Check a configuration without starting anything
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  airlock check --config airlock.yaml\n  airlock check --config airlock.yaml --json"
)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Print the result as JSON: {"ok", "rules", "notes", "errors": [{"path", "message"}]}
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.config.load(&environment()) {
        Ok(config) => {
            if args.json {
                let value = serde_json::json!({
                    "ok": true,
                    "rules": config.policy.rule_count(),
                    "notes": config.notes,
                    "errors": [],
                });
                println!("{value}");
                return Ok(ExitCode::SUCCESS);
            }
            println!(
                "ok: {} rules, mode {}",
                config.policy.rule_count(),
                config.mode.as_str()
            );
            let mut rules = table(["rule", "action", "hosts"]);
            for rule in config.policy.rules() {
                let hosts: Vec<_> = rule.hosts.iter().map(ToString::to_string).collect();
                rules.add_row([
                    rule.name.to_string(),
                    action_words(rule.action),
                    hosts.join(" "),
                ]);
            }
            println!("{rules}");
            for note in &config.notes {
                println!("note: {note}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(errors) => {
            if args.json {
                let list: Vec<_> = errors
                    .errors
                    .iter()
                    .map(|e| serde_json::json!({"path": e.path, "message": e.message}))
                    .collect();
                println!("{}", serde_json::json!({"ok": false, "errors": list}));
            } else {
                eprintln!("{errors}");
            }
            Ok(ExitCode::from(EXIT_CONFIG))
        }
    }
}

fn action_words(action: RuleAction) -> String {
    match action {
        RuleAction::Respond(by) => format!("respond: {}", by.as_str()),
        other => other.as_str().to_owned(),
    }
}
