//! `airlock run`

use std::process::ExitCode;

use serde::Serialize;

use super::{
    settings::{ConfigArg, environment, runtime},
    stop::Stops,
};
use crate::app::{App, Running};

/// Start the proxy and run until stopped
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  airlock run\n  LOCAL_LLM_BASE_URL=http://sparkle:8000/v1 airlock run\n  airlock run --config airlock.yaml --log debug"
)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// What to log, as in RUST_LOG: `debug`, or `info,airlock=trace`
    #[arg(long, value_name = "FILTER", env = "RUST_LOG")]
    log: Option<String>,
    /// Log JSON lines
    #[arg(long)]
    log_json: bool,
    /// Print one JSON line with the addresses when every port is bound (for scripts)
    #[arg(long)]
    print_ready: bool,
}

#[derive(Serialize)]
struct Ready<'a> {
    ready: bool,
    #[serde(flatten)]
    addresses: std::collections::BTreeMap<&'a str, String>,
    ca_bundle: &'a std::path::Path,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    crate::logging::install(args.log.as_deref(), args.log_json);
    let environment = environment();
    let config = args.config.load(&environment)?;
    runtime()?.block_on(async move {
        let mut stops = Stops::taken();
        let running = App::start(config, &environment).await?;
        announce(&running, args.print_ready);
        stops.next().await;
        tracing::info!("stopping: letting requests in flight end; a second signal cuts them");
        let at_once = running.at_once();
        tokio::spawn(async move {
            stops.next().await;
            at_once.cancel();
        });
        running.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

fn announce(running: &Running, print_ready: bool) {
    for note in running.notes() {
        tracing::info!("{note}");
    }
    for (name, address) in running.addresses() {
        tracing::info!("{name:<16} {address}");
    }
    if print_ready {
        let ready = Ready {
            ready: true,
            addresses: running
                .addresses()
                .map(|(n, a)| (n, a.to_string()))
                .collect(),
            ca_bundle: running.ca_bundle(),
        };
        // A reader that went away is no reason to stop.
        if let Ok(line) = serde_json::to_string(&ready) {
            use std::io::Write;
            let mut out = std::io::stdout().lock();
            let _ = writeln!(out, "{line}");
            let _ = out.flush();
        }
    }
}
