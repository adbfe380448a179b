//! `airlock exec -- CMD`: start a program behind the proxy.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;

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
    after_help = "Examples:\n  airlock exec -- python main.py\n  airlock exec -- curl https://example.org/     # refused, and told why\n\nUses the airlock that runs already; without one, starts one for as long as the program runs."
)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// The program and its arguments, after `--`
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<std::ffi::OsString>,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    crate::logging::install(None, false);
    let environment = environment();
    let config = args.config.load(&environment)?;
    let (program, arguments) = args.command.split_first().context("no program to run")?;
    runtime()?.block_on(async {
        let variables = env::variables(&config)?;
        let own = match is_running(&config).await {
            true => None,
            false => Some(App::start(config, &environment).await?),
        };
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .envs(variables)
            .spawn()
            .with_context(|| format!("cannot start {}", program.to_string_lossy()))?;
        // The terminal sends Ctrl-C to both; the child decides when it ends.
        let status = loop {
            tokio::select! {
                status = child.wait() => break status?,
                _ = tokio::signal::ctrl_c() => {}
            }
        };
        if let Some(own) = own {
            tokio::time::timeout(Duration::from_secs(3), Running::stop(own))
                .await
                .ok();
        }
        Ok(exit_code(status))
    })
}

async fn is_running(config: &Config) -> bool {
    match config.listeners.admin {
        Some(admin) => matches!(control::get(admin, "/readyz").await, Ok((200, _))),
        None => false,
    }
}

/// The child's own code; 128 + signal as a shell has it.
fn exit_code(status: std::process::ExitStatus) -> ExitCode {
    if let Some(code) = status.code() {
        return ExitCode::from(u8::try_from(code).unwrap_or(1));
    }
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return ExitCode::from(u8::try_from(128 + signal).unwrap_or(1));
    }
    ExitCode::FAILURE
}
