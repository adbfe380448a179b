//! `airlock key`: API keys of client programs.

use std::{process::ExitCode, time::Duration};

use clap::Subcommand;
use serde_json::Value;

use super::{
    identity::{Common, duration, moment, rows, text},
    table::table,
};
use crate::{
    session::Request,
    token::{Role, Username},
};

/// API keys: one per client program, each with its own role and limits
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  airlock key add render-box --role user --per-minute 60\n  airlock key list\n  airlock key rotate render-box --overlap 1h\n  airlock key remove render-box"
)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make a key and print it, which is shown this once
    #[command(
        after_help = "Example:\n  airlock key add render-box --role user --per-minute 60 --concurrent 4 --for 720h"
    )]
    Add {
        /// What the client is called
        name: Username,
        /// admin, user or viewer
        #[arg(long, default_value = "user")]
        role: Role,
        /// Requests per minute
        #[arg(long, value_name = "REQUESTS")]
        per_minute: Option<u32>,
        /// Open requests at once
        #[arg(long, value_name = "REQUESTS")]
        concurrent: Option<u32>,
        /// How long it is good; for ever without it
        #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
        lifetime: Option<Duration>,
        #[command(flatten)]
        common: Common,
    },
    /// All keys, without their secrets
    #[command(after_help = "Example:\n  airlock key list --json")]
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Give a key a new secret, which is shown this once
    #[command(after_help = "Example:\n  airlock key rotate render-box --overlap 1h")]
    Rotate {
        name: Username,
        /// How long the old secret is still taken; not at all without it
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        overlap: Option<Duration>,
        #[command(flatten)]
        common: Common,
    },
    /// Remove a key; it is worth nothing at once
    #[command(after_help = "Example:\n  airlock key remove render-box")]
    Remove {
        name: Username,
        #[command(flatten)]
        common: Common,
    },
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Add {
            name,
            role,
            per_minute,
            concurrent,
            lifetime,
            common,
        } => {
            let request = Request::KeyAdd {
                name,
                role,
                lifetime: lifetime.map(|l| l.as_secs()),
                requests_per_minute: per_minute,
                concurrent,
            };
            common.perform(request, show_key)?;
        }
        Action::List { common } => {
            common.perform(Request::KeyList, list)?;
        }
        Action::Rotate {
            name,
            overlap,
            common,
        } => {
            let overlap = overlap.unwrap_or_default().as_secs();
            common.perform(Request::KeyRotate { name, overlap }, show_key)?;
        }
        Action::Remove { name, common } => {
            common.perform(Request::KeyRemove { name }, |key| {
                println!("removed the key {}", text(key, "name"));
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show_key(key: &Value) {
    println!("{}", text(key, "key"));
    eprintln!(
        "the key {} ({}); it is shown this once",
        text(key, "name"),
        text(key, "role")
    );
}

fn list(answer: &Value) {
    let keys = rows(answer, "keys");
    if keys.is_empty() {
        println!("no keys");
        return;
    }
    let mut shown = table([
        "KEY",
        "ROLE",
        "PER MINUTE",
        "CONCURRENT",
        "LAST USED",
        "EXPIRES",
    ]);
    for key in keys {
        shown.add_row([
            text(key, "name"),
            text(key, "role"),
            text(key, "requests_per_minute"),
            text(key, "concurrent"),
            moment(key, "last_used"),
            moment(key, "expires"),
        ]);
    }
    println!("{shown}");
}
