//! The commands: one file each. Parsing is clap's; every command has an example in its `--help`.
//!
//! Commands read files and the environment here, at the edge, and hand values inwards.
//! Exit codes: 0 done, 1 it failed, 64 the configuration is wrong (nothing was started),
//! 69 a port or file that is needed is not to be had.

mod ca;
mod check;
mod completions;
mod demo;
mod doctor;
mod env;
mod exec;
mod explain;
mod health;
mod identity;
#[cfg(target_os = "linux")]
mod isolate;
mod key;
mod learn;
mod lockdown;
mod models;
mod receipt;
mod reload;
mod run;
mod secret;
mod selftest;
mod session;
mod settings;
mod stop;
mod table;
mod user;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use settings::ConfigArg;

/// Exit code for a wrong configuration or command line (sysexits EX_USAGE).
pub const EXIT_CONFIG: u8 = 64;
/// Exit code for a port, file or service that is needed and not to be had (EX_UNAVAILABLE).
pub const EXIT_UNAVAILABLE: u8 = 69;

#[derive(Parser)]
#[command(
    name = "airlock",
    version,
    about = "Keeps ComfyUI-Copilot on your own machine: reverse proxy, forward proxy and egress firewall",
    after_help = "Examples:\n  airlock demo                     see what it does, nothing to configure\n  airlock run                      start with the embedded defaults\n  airlock exec -- python main.py   start ComfyUI behind it\n  airlock doctor                   find what is wrong, with the fix",
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Demo(demo::Args),
    Exec(exec::Args),
    #[cfg(target_os = "linux")]
    IsolateChild(isolate::ChildArgs),
    Env(env::Args),
    Check(check::Args),
    Explain(explain::Args),
    Learn(learn::Args),
    Doctor(doctor::Args),
    Selftest(selftest::Args),
    Ca(ca::Args),
    Session(session::Args),
    Secret(secret::Args),
    User(user::Args),
    Key(key::Args),
    Models(models::Args),
    Health(health::Args),
    Receipt(receipt::Args),
    Reload(reload::Args),
    Lockdown(lockdown::Args),
    Completions(completions::Args),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return if e.use_stderr() {
                ExitCode::from(EXIT_CONFIG)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let result = match cli.command {
        Command::Run(args) => run::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Exec(args) => exec::run(args),
        #[cfg(target_os = "linux")]
        Command::IsolateChild(args) => isolate::child(args),
        Command::Env(args) => env::run(args),
        Command::Check(args) => check::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Learn(args) => learn::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Selftest(args) => selftest::run(args),
        Command::Ca(args) => ca::run(args),
        Command::Session(args) => session::run(args),
        Command::Secret(args) => secret::run(args),
        Command::User(args) => user::run(args),
        Command::Key(args) => key::run(args),
        Command::Models(args) => models::run(args),
        Command::Health(args) => health::run(args),
        Command::Receipt(args) => receipt::run(args),
        Command::Reload(args) => reload::run(args),
        Command::Lockdown(args) => lockdown::run(args),
        Command::Completions(args) => completions::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(e) => {
            eprintln!("airlock: {e:#}");
            settings::exit_code_of(&e)
        }
    }
}

/// The command line's definition, for completions.
fn definition() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_command_is_well_defined_and_shows_an_example() {
        let mut command = super::definition();
        command.clone().debug_assert();
        command.build();
        for sub in command.get_subcommands().filter(|s| s.get_name() != "help") {
            let help = sub.clone().render_long_help().to_string();
            assert!(
                help.contains("Example"),
                "{} --help has no example",
                sub.get_name()
            );
        }
    }
}
