//! `airlock secret rotate`: a new key for session tokens.

use std::process::ExitCode;

use clap::Subcommand;

use super::identity::{Common, moment};
use crate::session::Request;

/// The key that signs session tokens
#[derive(clap::Args)]
#[command(after_help = "Example:\n  airlock secret rotate")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make a new key; nobody is logged out, because the old one is taken until its tokens expire
    #[command(
        after_help = "Examples:\n  airlock secret rotate\n  airlock secret rotate --force   # the key was stolen: rotate twice, and everybody logs in again"
    )]
    Rotate {
        /// Even though the key before the current one still has tokens, whose owners are logged out
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        common: Common,
    },
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Rotate { force, common } => {
            common.perform(Request::SecretRotate { force }, |rotated| {
                println!(
                    "new key; tokens of the old one are taken until {}",
                    moment(rotated, "previous_until")
                );
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
