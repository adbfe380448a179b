//! `airlock lockdown on|off|status`: the kill switch.

use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};

use super::settings::{Running, admin_token, environment, runtime};
use crate::{
    admin::LockdownWish,
    policy::Lockdown,
    store,
    upstream::control::{self, ControlError},
};

/// Deny all egress at once and cut what is open; survives a restart
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  airlock lockdown on           # nothing leaves; stand-ins and a loopback LLM still answer\n  airlock lockdown on --all     # nothing is answered either\n  airlock lockdown off\n  airlock lockdown status --json\n\nWhile no airlock runs, it is set for the next start."
)]
pub struct Args {
    #[command(subcommand)]
    wish: Wish,
}

#[derive(Subcommand)]
enum Wish {
    /// Shut
    #[command(after_help = "Example:\n  airlock lockdown on")]
    On {
        /// Answer nothing, not even on this machine
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Open again
    #[command(after_help = "Example:\n  airlock lockdown off")]
    Off {
        #[command(flatten)]
        common: Common,
    },
    /// Say which it is
    #[command(after_help = "Example:\n  airlock lockdown status")]
    Status {
        #[command(flatten)]
        common: Common,
    },
}

#[derive(clap::Args)]
struct Common {
    #[command(flatten)]
    running: Running,
    /// Print {"lockdown", "running", "cut", "problem"}
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (level, common) = match &args.wish {
        Wish::On { all: false, common } => (Some(Lockdown::Egress), common),
        Wish::On { all: true, common } => (Some(Lockdown::All), common),
        Wish::Off { common } => (Some(Lockdown::Off), common),
        Wish::Status { common } => (None, common),
    };
    let (state, admin) = common.running.whereabouts(&environment())?;
    let answer = runtime()?.block_on(async {
        match level {
            Some(level) => {
                let body = serde_json::to_string(&LockdownWish { lockdown: level })?;
                match admin_token(&state) {
                    Ok(token) => Ok(control::post(admin, "/lockdown", &token, &body).await),
                    // Never started: nothing can be running.
                    Err(_) if !store::token::path(&state).exists() => {
                        Ok(Err(ControlError::NotRunning(admin)))
                    }
                    Err(e) => Err(e),
                }
            }
            None => Ok(control::get(admin, "/status").await),
        }
    })?;
    let report = match answer {
        Ok((200, body)) => {
            let mut report: Value = serde_json::from_str(&body).context("no JSON came back")?;
            report["running"] = true.into();
            report
        }
        Ok((status, body)) => anyhow::bail!("refused ({status}): {}", body.trim()),
        Err(ControlError::NotRunning(_)) => {
            if let Some(level) = level {
                store::lockdown::save(&state, level)?;
            }
            json!({"lockdown": store::lockdown::load(&state).0, "running": false})
        }
        Err(e) => return Err(e.into()),
    };
    let field = |name: &str| report.get(name).cloned().unwrap_or(Value::Null);
    let failed = !field("problem").is_null();
    if common.json {
        let shown = json!({
            "lockdown": field("lockdown"), "running": field("running"),
            "cut": field("cut"), "problem": field("problem"),
        });
        println!("{}", serde_json::to_string_pretty(&shown)?);
    } else {
        print(&report);
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn print(report: &Value) {
    let level = report.get("lockdown").and_then(Value::as_str);
    println!(
        "{}",
        match level {
            Some("off") => "off: the policy decides",
            Some("egress") => "on: nothing leaves this machine and nothing is forwarded",
            _ => "on, all: nothing is answered",
        }
    );
    if let Some(cut) = report.get("cut").and_then(Value::as_u64).filter(|n| *n > 0) {
        println!("  {cut} open connections cut");
    }
    if report.get("running").and_then(Value::as_bool) == Some(false) {
        println!("  no airlock runs here; it holds for the next start");
    }
    if let Some(problem) = report.get("problem").and_then(Value::as_str) {
        println!("  {problem}");
    }
}
