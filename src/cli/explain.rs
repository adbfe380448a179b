//! `airlock explain METHOD URL`: which rule, why, how to allow. Touches no network.

use std::{net::IpAddr, process::ExitCode};

use clap::ValueEnum;

use super::settings::{ConfigArg, environment};
use crate::{
    net::Entry,
    policy::{Around, Explanation, explain},
};

/// Say what would happen to a request, which rule decides, and how to allow it
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  airlock explain POST https://comfyui-copilot-server.onrender.com/v1/chat/completions\n  airlock explain GET https://example.org/ --json\n  airlock explain CONNECT example.org:443"
)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    method: String,
    url: String,
    /// The door it would come by
    #[arg(long, value_enum, default_value_t = EntryArg::Explicit)]
    entry: EntryArg,
    /// The client's address
    #[arg(long, default_value = "127.0.0.1")]
    client: IpAddr,
    /// Print {"action", "rule", "reason", "how_to_allow"}
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum EntryArg {
    Explicit,
    Reverse,
    Transparent,
    FrontDoor,
    /// What the model sources ask for
    Models,
}

impl From<EntryArg> for Entry {
    fn from(e: EntryArg) -> Self {
        match e {
            EntryArg::Explicit => Entry::Explicit,
            EntryArg::Reverse => Entry::Reverse,
            EntryArg::Transparent => Entry::Transparent,
            EntryArg::FrontDoor => Entry::FrontDoor,
            EntryArg::Models => Entry::Models,
        }
    }
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = args.config.load(&environment())?;
    let method = args.method.to_ascii_uppercase();
    let listeners = config.listeners.addresses();
    let around = Around {
        addresses: config.addresses.clone(),
        own_listeners: listeners.into_iter().map(|(_, address)| address).collect(),
        comfyui: config
            .listeners
            .front_door
            .as_ref()
            .map(|d| d.comfyui.authority.clone()),
    };
    let found = explain(
        &config.policy,
        &around,
        &method,
        &args.url,
        args.entry.into(),
        args.client,
        time::OffsetDateTime::now_utc(),
    )?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&found)?);
    } else {
        print(&found);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(found: &Explanation) {
    let who = found
        .responder
        .map_or(String::new(), |r| format!(" ({})", r.as_str()));
    println!(
        "{}{who}: {}:{}{}",
        found.action, found.host, found.port, found.path
    );
    println!("  rule    {}", found.rule);
    println!("  reason  {}", found.reason);
    if let Some(words) = &found.rule_reason {
        println!("          {words}");
    }
    if let Some(connection) = found.connection {
        println!("  TLS     {}", connection.as_str());
    }
    if let Some(reason) = found.would_deny {
        println!("  report mode: enforce mode would refuse it ({reason})");
    }
    if let Some(rule) = &found.how_to_allow {
        println!("\nto allow it:\n{rule}");
    }
}
