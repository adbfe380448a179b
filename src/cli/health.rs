//! `airlock health`: for scripts and container health checks.

use std::process::ExitCode;

use super::settings::{ConfigArg, environment, runtime};
use crate::upstream::control;

/// Ask the running airlock whether it is ready (exit code 0 or 1)
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  airlock health\n  airlock health --json   # the whole status")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Print the status as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = args.config.load(&environment())?;
    let admin = config
        .listeners
        .admin
        .ok_or_else(|| anyhow::anyhow!("listeners.admin is off; give it an address to be asked"))?;
    runtime()?.block_on(async {
        let (code, words) = control::get(admin, "/readyz").await?;
        if args.json {
            println!("{}", control::get(admin, "/status").await?.1);
        } else {
            print!("{words}");
        }
        Ok(if code == 200 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    })
}
