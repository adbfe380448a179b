//! What several commands share: the configuration argument, the environment, the runtime.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;

use super::{EXIT_CONFIG, EXIT_UNAVAILABLE};
use crate::{
    app::StartError,
    config::{self, Config, ConfigErrors},
    store::{
        StoreError,
        token::{self, AdminToken},
    },
    upstream::control,
};

/// `--config FILE`
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ConfigArg {
    /// Configuration file; without one the embedded defaults stand
    // Global: `airlock ca bundle --config FILE` is how a person writes it, and the compose file.
    #[arg(
        long,
        short,
        global = true,
        value_name = "FILE",
        env = "AIRLOCK_CONFIG"
    )]
    pub config: Option<PathBuf>,
}

impl ConfigArg {
    pub fn load(&self, environment: &HashMap<String, String>) -> Result<Config, ConfigErrors> {
        config::load(self.config.as_deref(), environment)
    }
}

/// The airlock that runs with this configuration, for commands that ask it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Running {
    #[command(flatten)]
    pub config: ConfigArg,
    /// Address of the control plane; default: listeners.admin
    #[arg(long, value_name = "HOST:PORT")]
    pub admin: Option<SocketAddr>,
}

impl Running {
    /// Its state folder and control plane.
    pub fn whereabouts(
        &self,
        environment: &HashMap<String, String>,
    ) -> anyhow::Result<(PathBuf, SocketAddr)> {
        let found = config::whereabouts(self.config.config.as_deref(), environment)?;
        let admin = self.admin.or(found.admin).ok_or_else(|| {
            anyhow::anyhow!("listeners.admin is off; give it an address to be asked, or --admin")
        })?;
        Ok((found.state_dir, admin))
    }

    /// Asks it. `older` is what to say of one that does not know `path`.
    pub fn ask(&self, path: &str, body: &impl Serialize, older: &str) -> anyhow::Result<Value> {
        let (state, admin) = self.whereabouts(&environment())?;
        let token = admin_token(&state)?;
        let body = serde_json::to_string(body)?;
        match runtime()?.block_on(control::post(admin, path, &token, &body))? {
            (200, answer) => serde_json::from_str(&answer).context("no JSON came back"),
            (422, words) => anyhow::bail!("{}", words.trim()),
            (404, _) => anyhow::bail!("the airlock that runs is older and {older}; restart it"),
            (status, words) => anyhow::bail!("refused ({status}): {}", words.trim()),
        }
    }
}

/// The token of the airlock that was started last with this state folder.
pub fn admin_token(state_dir: &Path) -> anyhow::Result<AdminToken> {
    AdminToken::load(state_dir)?.ok_or_else(|| {
        anyhow::anyhow!(
            "{} is not there: no airlock was started with this state folder; name the \
             configuration it runs with (--config)",
            token::path(state_dir).display()
        )
    })
}

/// The environment as a map: read once, here, and passed inwards. Names that are no UTF-8 are not ours.
pub fn environment() -> HashMap<String, String> {
    std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect()
}

/// Half of the cores, and four at most: a sidecar stands beside what needs the machine, and one
/// thread sends on tens of thousands of requests per second. Every further one is woken to look for
/// work it does not find: on two cores, two threads double the time added to a first token
/// (benches/README.md). `TOKIO_WORKER_THREADS` says otherwise.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if !environment().contains_key("TOKIO_WORKER_THREADS") {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        builder.worker_threads((cores / 2).clamp(1, 4));
    }
    builder.on_thread_unpark(crate::prefetch::after_a_pause);
    Ok(builder.enable_all().build()?)
}

/// The exit code that tells a script what kind of failure it was.
pub fn exit_code_of(e: &anyhow::Error) -> ExitCode {
    if e.downcast_ref::<ConfigErrors>().is_some() {
        return ExitCode::from(EXIT_CONFIG);
    }
    #[cfg(target_os = "linux")]
    if let Some(e) = e.downcast_ref::<crate::isolate::IsolateError>() {
        return ExitCode::from(super::isolate::exit_code_of(e));
    }
    if e.downcast_ref::<StoreError>().is_some() {
        return ExitCode::from(EXIT_UNAVAILABLE);
    }
    match e.downcast_ref::<StartError>() {
        Some(e) if e.is_configuration() => ExitCode::from(EXIT_CONFIG),
        Some(_) => ExitCode::from(EXIT_UNAVAILABLE),
        None => ExitCode::FAILURE,
    }
}
