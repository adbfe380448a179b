//! `airlock ca`: show, export, bundle, rotate.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Subcommand;

use super::settings::{ConfigArg, environment};
use crate::{
    config::Config,
    tls::{CaInfo, RootCa, SystemRoots, ca::CaPaths, write_bundle},
};

/// The root CA that signs for intercepted names
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  airlock ca show\n  airlock ca export --out airlock-ca.pem\n  airlock ca bundle                # system roots and ours, for SSL_CERT_FILE\n  airlock ca rotate"
)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// What it may sign for, its fingerprint and its dates
    #[command(after_help = "Example:\n  airlock ca show --json")]
    Show {
        #[arg(long)]
        json: bool,
    },
    /// Write the root certificate (never the key)
    #[command(after_help = "Example:\n  airlock ca export --out airlock-ca.pem")]
    Export {
        /// Where to write; standard output without it
        #[arg(long, short)]
        out: Option<PathBuf>,
    },
    /// Write the bundle for SSL_CERT_FILE and REQUESTS_CA_BUNDLE, and print its path
    #[command(
        after_help = "Examples:\n  export SSL_CERT_FILE=$(airlock ca bundle)\n  airlock ca bundle --out /shared/bundle.pem"
    )]
    Bundle {
        /// Also write a copy that every user may read, for clients that run as someone else
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Make a new key and root; clients need the new bundle, and airlock a restart
    #[command(after_help = "Example:\n  airlock ca rotate")]
    Rotate,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let environment = environment();
    let config = args.config.load(&environment)?;
    let names = intercepted(&config);
    std::fs::create_dir_all(&config.state_dir)
        .with_context(|| format!("cannot make {}", config.state_dir.display()))?;
    let roots = SystemRoots::load(|k| environment.get(k).cloned(), &config.state_dir);
    match args.action {
        Action::Show { json } => {
            let (root, _) = RootCa::load_or_create(&config.state_dir, &names)?;
            let info = root.info();
            if json {
                println!("{}", serde_json::to_string_pretty(&info)?);
            } else {
                print(&info);
            }
        }
        Action::Export { out } => {
            let (root, _) = RootCa::load_or_create(&config.state_dir, &names)?;
            match out {
                None => print!("{}", root.pem()),
                Some(path) => std::fs::write(&path, root.pem())
                    .with_context(|| format!("cannot write {}", path.display()))?,
            }
        }
        Action::Bundle { out } => {
            let (root, _) = RootCa::load_or_create(&config.state_dir, &names)?;
            let mut bundle = write_bundle(&root, &roots)?;
            if let Some(out) = out {
                std::fs::copy(&bundle, &out)
                    .with_context(|| format!("cannot write {}", out.display()))?;
                bundle = out;
            }
            println!("{}", bundle.display());
        }
        Action::Rotate => {
            let (root, kept) = RootCa::rotate(&config.state_dir, &names)?;
            let bundle = write_bundle(&root, &roots)?;
            println!(
                "new root CA in {}",
                CaPaths::below(&config.state_dir).dir().display()
            );
            if let Some(kept) = kept {
                println!(
                    "the old certificate is kept as {}; its key is gone",
                    kept.display()
                );
            }
            println!(
                "restart airlock, and every client that read {}",
                bundle.display()
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(info: &CaInfo) {
    println!("{}", info.subject);
    println!("  SHA-256      {}", info.fingerprint_sha256);
    println!("  valid        {} to {}", info.not_before, info.not_after);
    println!("  certificate  {}", info.certificate.display());
    println!("  bundle       {}", info.bundle.display());
    println!("  may sign for these names and the names below them, and nothing else:");
    for name in &info.permitted_names {
        println!("    {name}");
    }
}

/// Names the CA is made for, as its constraints want them.
pub fn intercepted(config: &Config) -> Vec<String> {
    config
        .policy
        .intercepted_hosts()
        .iter()
        .map(ToString::to_string)
        .collect()
}
