//! `airlock exec -- CMD`: start a program behind the proxy.

use std::{
    collections::HashMap,
    ffi::OsString,
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use anyhow::Context;

#[cfg(target_os = "linux")]
use super::isolate;
use super::{
    env,
    settings::{ConfigArg, environment, runtime},
};
use crate::{
    app::{App, Running},
    config::Config,
    upstream::control,
};

/// Run a program with every variable set that leads its traffic here
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  airlock exec -- python main.py\n  airlock exec --isolate --publish 8188 -- python main.py   # no other way out (Linux)\n  airlock exec -- curl https://example.org/     # refused, and told why\n\nUses the airlock that runs already; without one, starts one for as long as the program runs."
)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Leave the program no way out but Airlock: a network namespace, without root (Linux)
    #[arg(long)]
    isolate: bool,
    /// With --isolate: a port of the program that you reach on 127.0.0.1, as 8188 or 8190:8188
    #[arg(long, value_name = "[HOST:]PORT", requires = "isolate")]
    publish: Vec<String>,
    /// The program and its arguments, after `--`
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    crate::logging::install(None, false);
    let environment = environment();
    let config = args.config.load(&environment)?;
    runtime()?.block_on(async {
        let mut config = config;
        let own = match is_running(&config).await {
            true => None,
            false => Some(App::start(config.clone(), &environment).await?),
        };
        // Of port 0 only the one that was bound is of use to the program.
        if let Some(bound) = own.as_ref().and_then(|own| own.address("explicit")) {
            config.listeners.explicit = Some(bound);
        }
        let status = match args.isolate {
            true => isolated(args, &config, own.as_ref(), &environment).await,
            false => plain(&args.command, &config).await,
        };
        if let Some(own) = own {
            tokio::time::timeout(Duration::from_secs(3), Running::stop(own))
                .await
                .ok();
        }
        status.map(exit_code)
    })
}

async fn plain(command: &[OsString], config: &Config) -> anyhow::Result<ExitStatus> {
    let (program, arguments) = command.split_first().context("no program to run")?;
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .envs(env::variables(config)?)
        .spawn()
        .with_context(|| format!("cannot start {}", program.to_string_lossy()))?;
    // The terminal sends Ctrl-C to both; the child decides when it ends.
    loop {
        tokio::select! {
            status = child.wait() => return Ok(status?),
            _ = tokio::signal::ctrl_c() => {}
        }
    }
}

#[cfg(target_os = "linux")]
async fn isolated(
    args: Args,
    config: &Config,
    own: Option<&Running>,
    environment: &HashMap<String, String>,
) -> anyhow::Result<ExitStatus> {
    let publish = args.publish.iter().map(|text| isolate::parse_publish(text));
    let wish = isolate::Wish {
        publish: publish.collect::<Result<_, _>>()?,
        command: args.command,
    };
    isolate::run(wish, config, own, environment).await
}

#[cfg(not(target_os = "linux"))]
async fn isolated(
    _: Args,
    _: &Config,
    _: Option<&Running>,
    _: &HashMap<String, String>,
) -> anyhow::Result<ExitStatus> {
    anyhow::bail!(
        "--isolate needs Linux; here, use the compose network in deploy/, or leave it out"
    )
}

async fn is_running(config: &Config) -> bool {
    match config.listeners.admin {
        Some(admin) => matches!(control::get(admin, "/readyz").await, Ok((200, _))),
        None => false,
    }
}

/// The child's own code; 128 + signal as a shell has it.
fn exit_code(status: ExitStatus) -> ExitCode {
    if let Some(code) = status.code() {
        return ExitCode::from(u8::try_from(code).unwrap_or(1));
    }
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return ExitCode::from(u8::try_from(128 + signal).unwrap_or(1));
    }
    ExitCode::FAILURE
}
