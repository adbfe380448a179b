//! `airlock doctor`
/// doctor
#[derive(clap::Args)]
#[command(after_help = "Example:\n  airlock doctor")]
pub struct Args {}
pub fn run(_args: Args) -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!("not in this build")
}
