//! What several commands share: the configuration argument, the environment, the runtime.

use std::{collections::HashMap, path::PathBuf, process::ExitCode};

use super::{EXIT_CONFIG, EXIT_UNAVAILABLE};
use crate::{
    app::StartError,
    config::{self, Config, ConfigErrors},
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
    #[cfg(target_os = "linux")]
    if let Some(e) = e.downcast_ref::<crate::isolate::IsolateError>() {
        return ExitCode::from(super::isolate::exit_code_of(e));
    }
    match e.downcast_ref::<StartError>() {
        Some(e) if e.is_configuration() => ExitCode::from(EXIT_CONFIG),
        Some(_) => ExitCode::from(EXIT_UNAVAILABLE),
        None => ExitCode::FAILURE,
    }
}
