//! `airlock completions SHELL`

use std::process::ExitCode;

use clap_complete::Shell;

/// Print a completion script for a shell
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  airlock completions bash > ~/.local/share/bash-completion/completions/airlock"
)]
pub struct Args {
    shell: Shell,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut command = super::definition();
    clap_complete::generate(args.shell, &mut command, "airlock", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
