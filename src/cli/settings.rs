//! What several commands share: the configuration argument, the environment, the runtime.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{EXIT_CONFIG, EXIT_UNAVAILABLE};
use crate::{
    app::StartError,
    config::{self, Config, ConfigErrors},
    store::token::{self, AdminToken},
};

/// `--config FILE`
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ConfigArg {
    /// Configuration file; without one the embedded defaults stand
    #[arg(long, short, value_name = "FILE", env = "AIRLOCK_CONFIG")]
    pub config: Option<PathBuf>,
}

impl ConfigArg {
    pub fn load(&self, environment: &HashMap<String, String>) -> Result<Config, ConfigErrors> {
        config::load(self.config.as_deref(), environment)
    }
}

/// The control plane of the airlock that runs with this configuration.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct AdminArg {
    /// Address of the control plane; default: listeners.admin
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<SocketAddr>,
}

impl ConfigArg {
    /// State folder and control plane of the airlock that runs with this configuration.
    pub fn whereabouts(
        &self,
        admin: &AdminArg,
        environment: &HashMap<String, String>,
    ) -> anyhow::Result<(PathBuf, SocketAddr)> {
        let found = config::whereabouts(self.config.as_deref(), environment)?;
        let admin = admin.admin.or(found.admin).ok_or_else(|| {
            anyhow::anyhow!("listeners.admin is off; give it an address to be asked, or --admin")
        })?;
        Ok((found.state_dir, admin))
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

pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?)
}

/// The exit code that tells a script what kind of failure it was.
pub fn exit_code_of(e: &anyhow::Error) -> ExitCode {
    if e.downcast_ref::<ConfigErrors>().is_some() {
        return ExitCode::from(EXIT_CONFIG);
    }
    match e.downcast_ref::<StartError>() {
        Some(e) if e.is_configuration() => ExitCode::from(EXIT_CONFIG),
        Some(_) => ExitCode::from(EXIT_UNAVAILABLE),
        None => ExitCode::FAILURE,
    }
}
