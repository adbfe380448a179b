//! `airlock reload`: have the running airlock read its configuration again.

use std::process::ExitCode;

use serde_json::Value;

use super::settings::{Running, admin_token, environment, runtime};
use crate::upstream::control;

/// Load the configuration again, in the airlock that runs (exit code 0, or 1 and the old one stands)
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  airlock reload\n  airlock reload --config airlock.yaml --json\n\nSIGHUP does the same, and a changed file is taken without either. Rules, packs, mode,\nprivate addresses and CAs are reloaded; what wants a restart is named."
)]
pub struct Args {
    #[command(flatten)]
    running: Running,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    // The file may be broken: what runs says so better, and its state folder is all we need here.
    let (state, admin) = args.running.whereabouts(&environment())?;
    let token = admin_token(&state)?;
    let (status, body) = runtime()?.block_on(control::post(admin, "/reload", &token, ""))?;
    let report: Value = serde_json::from_str(&body)
        .map_err(|_| anyhow::anyhow!("refused ({status}): {}", body.trim()))?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(match report.get("ok").and_then(Value::as_bool) {
        Some(true) => ExitCode::SUCCESS,
        Some(false) | None => ExitCode::FAILURE,
    })
}

fn print(report: &Value) {
    let number = |name: &str| report.get(name).and_then(Value::as_u64).unwrap_or_default();
    let lines = |name: &str, lead: &str| {
        let list = report.get(name).and_then(Value::as_array);
        for line in list.into_iter().flatten().filter_map(Value::as_str) {
            println!("  {lead}{line}");
        }
    };
    let (generation, rules, cut) = (number("generation"), number("rules"), number("cut"));
    if report.get("ok").and_then(Value::as_bool) == Some(true) {
        println!("reloaded: generation {generation}, {rules} rules, {cut} open connections cut");
    } else {
        println!("refused: the policy of generation {generation} stands");
    }
    lines("errors", "");
    lines("loosened", "looser: ");
    lines("restart_needed", "wants a restart: ");
    lines("notes", "note: ");
}
