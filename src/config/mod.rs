//! Configuration: one YAML file and a few environment variables into a [`Config`].
//!
//! `tree` reads YAML, `reader` takes it apart collecting every mistake, `sections`, `comfyui`, `identity`,
//! `rules` and `env` read the parts, `compile` joins them. Called by `app` (at start, and by a reload
//! when [`watch`] saw the file change) and by `cli check`; nothing
//! else reads the environment or the file.

mod comfyui;
mod compile;
mod egress;
mod env;
pub(crate) mod error;
mod front_door;
mod guards;
mod identity;
mod model;
mod models;
mod places;
mod providers;
mod rates;
mod reach;
pub(crate) mod reader;
pub(crate) mod rules;
mod secret;
mod sections;
mod terms;
pub(crate) mod tree;
mod value;
pub mod watch;
mod web_search;

use std::{collections::HashMap, fs, path::Path, path::PathBuf};

pub use comfyui::ComfyUiConfig;
pub use compile::compile;
pub use error::{ConfigError, ConfigErrors};
pub use front_door::{FRONT_DOOR_SWITCH, FrontDoor};
pub use model::{
    AuditConfig, Config, DISCOVER, EgressConfig, EncryptedClientHello, Exemption, Limits,
    Listeners, LlmConfig, LlmErrors, NamedUpstream, OnEscape, Provider, Reverse, ReverseRoute,
    SecretsConfig, SelftestConfig, SessionConfig, SiteProxy, SourceFile, UsersConfig, VENDOR_HOST,
    Whereabouts,
};
pub use models::{HubConfig, ModelsConfig};
pub use providers::COMPLETIONS;
pub use rates::{BreakerConfig, LaneQuotas, Quota, Rate, RatesConfig};
pub use reach::TrustedNetworks;
pub use secret::Secret;
pub(crate) use value::parse_duration;
pub use web_search::WebSearchConfig;

/// What runs where no file is given: `config/default.yaml`.
pub const DEFAULT_YAML: &str = include_str!("../../config/default.yaml");

/// A configuration is written by hand; more than this is another file by mistake.
const MAX_FILE: u64 = 16 << 20;

/// Loads `path`, or the embedded default. `env` is the process environment, passed in.
pub fn load(path: Option<&Path>, env: &HashMap<String, String>) -> Result<Config, ConfigErrors> {
    let Some(path) = path else {
        return compile(
            DEFAULT_YAML,
            "the embedded default",
            PathBuf::from("."),
            env,
        );
    };
    let source = path.display().to_string();
    let stamp = watch::Stamp::of(path);
    let yaml = read_file(path).map_err(|message| ConfigErrors {
        source: source.clone(),
        errors: vec![ConfigError {
            path: String::new(),
            line: None,
            message,
        }],
    })?;
    let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let mut config = compile(&yaml, &source, base, env)?;
    config.file = Some(SourceFile {
        path: path.to_owned(),
        stamp,
    });
    Ok(config)
}

/// Where to find the airlock that runs with `path`. A file with mistakes will do, as long as it is
/// YAML.
pub fn whereabouts(
    path: Option<&Path>,
    env: &HashMap<String, String>,
) -> Result<Whereabouts, ConfigErrors> {
    load(path, env)
        .map(|config| Whereabouts {
            state_dir: config.state_dir,
            admin: config.listeners.admin,
        })
        .or_else(|errors| {
            let path = path.ok_or_else(|| errors.clone())?;
            let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
            let yaml = read_file(path).map_err(|_| errors.clone())?;
            compile::whereabouts(&yaml, base, env).ok_or(errors)
        })
}

fn read_file(path: &Path) -> Result<String, String> {
    let size = fs::metadata(path)
        .map_err(|e| format!("cannot be read: {e}"))?
        .len();
    if size > MAX_FILE {
        return Err(format!(
            "holds {size} bytes: name a configuration of at most {MAX_FILE}"
        ));
    }
    let bytes = fs::read(path).map_err(|e| format!("cannot be read: {e}"))?;
    String::from_utf8(bytes).map_err(|_| "is not UTF-8: save it as UTF-8".to_owned())
}

#[cfg(test)]
mod tests;
