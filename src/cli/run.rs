//! `airlock run`

use std::{process::ExitCode, sync::Arc};

use serde::Serialize;

use super::{
    settings::{ConfigArg, environment, runtime},
    stop::Stops,
};
use crate::{
    app::{
        App, Running,
        reload::{Reloader, Trigger},
    },
    config,
};

/// Start the proxy and run until stopped
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  airlock run\n  LOCAL_LLM_BASE_URL=http://sparkle:8000/v1 airlock run\n  airlock run --front-door\n  airlock run --config airlock.yaml --log debug\n\nA changed file is taken at once; SIGHUP and `airlock reload` ask for it."
)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Stand before ComfyUI on 127.0.0.1:8189, where the configuration does not say otherwise
    #[arg(long)]
    front_door: bool,
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
    let mut environment = environment();
    if args.front_door {
        // As a variable, so that a reload finds it as well.
        environment.insert(config::FRONT_DOOR_SWITCH.into(), "on".into());
    }
    let config = args.config.load(&environment)?;
    runtime()?.block_on(async move {
        // Taken before anyone is told that it runs: an untaken signal would end it.
        let hangups = hangups();
        let mut stops = Stops::taken();
        let running = App::start(config, &environment).await?;
        announce(&running, args.print_ready);
        let reloader = running.reloader().clone();
        let reloading = tokio::spawn(reload_on(hangups, reloader));
        stops.next().await;
        reloading.abort();
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
    if let Some(admin) = running.first_admin() {
        // Not by the logger: a log is kept, and sent elsewhere.
        eprintln!(
            "\nmade the first user: {}, password {}\nIt is shown this once; `airlock user passwd {}` makes another.\n",
            admin.username, *admin.password, admin.username,
        );
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

/// SIGHUP, as daemons have it; so closing a terminal does not end it either.
fn hangups() -> Option<tokio::signal::unix::Signal> {
    use tokio::signal::unix::{SignalKind, signal};
    signal(SignalKind::hangup())
        .inspect_err(|e| tracing::warn!(error = %e, "SIGHUP will not reload"))
        .ok()
}

async fn reload_on(hangups: Option<tokio::signal::unix::Signal>, reloader: Arc<Reloader>) {
    let Some(mut hangups) = hangups else { return };
    while hangups.recv().await.is_some() {
        reloader.reload(Trigger::Sighup).await;
    }
}
