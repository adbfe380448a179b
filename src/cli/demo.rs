//! `airlock demo`
/// demo
#[derive(clap::Args)]
#[command(after_help = "Example:\n  airlock demo")]
pub struct Args {}
pub fn run(_args: Args) -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!("not in this build")
}
