//! The environment over the file: variables that users of the plugin already have.
//!
//! A variable that is set wins over the file, and a note says so.

use crate::net::BaseUrl;

use super::{Config, LlmConfig, error::Errors, places::Places, sections};

/// What the environment says beside the values it overrides.
#[derive(Debug, Default)]
pub(super) struct Switches {
    /// `DISABLE_EXTERNAL_CONNECTIONS`: nothing is forwarded or tunnelled, no public address dialled.
    pub(super) no_external: bool,
    pub(super) notes: Vec<String>,
}

pub(super) fn apply(llm: &mut LlmConfig, places: &Places<'_>, errors: &mut Errors) -> Switches {
    let mut switches = Switches::default();
    let notes = &mut switches.notes;
    if let Some(text) = places.var("LOCAL_LLM_BASE_URL") {
        match BaseUrl::parse(text) {
            Ok(url) => {
                if llm.base_url.as_ref().is_some_and(|file| *file != url) {
                    notes.push("LOCAL_LLM_BASE_URL is set and wins over llm.base_url".into());
                }
                llm.base_url = Some(url);
            }
            Err(e) => errors.env("LOCAL_LLM_BASE_URL", e.to_string()),
        }
    }
    if let Some(text) = places.var("LOCAL_LLM_API_KEY") {
        match sections::key(text) {
            Ok(key) => {
                if llm.api_key.as_ref().is_some_and(|file| *file != key) {
                    notes.push("LOCAL_LLM_API_KEY is set and wins over the file's key".into());
                }
                llm.api_key = Some(key);
            }
            Err(e) => errors.env("LOCAL_LLM_API_KEY", e),
        }
    }
    if let Some(text) = places.var("WORKFLOW_MODEL_NAME") {
        match sections::model_name(text) {
            Ok(model) => {
                if llm.model.as_ref().is_some_and(|file| *file != model) {
                    notes.push("WORKFLOW_MODEL_NAME is set and wins over llm.model".into());
                }
                llm.model = Some(model);
            }
            Err(e) => errors.env("WORKFLOW_MODEL_NAME", e),
        }
    }
    if let Some(url) = llm.base_url.as_mut().filter(|url| url.path.is_empty()) {
        url.path = "/v1".into();
        notes.push(format!("the LLM base URL has no path: {url} is used"));
    }
    switches.no_external = flag(places, "DISABLE_EXTERNAL_CONNECTIONS", errors);
    if flag(places, "DISABLE_TELEMETRY", errors) {
        switches
            .notes
            .push("DISABLE_TELEMETRY is set; telemetry never leaves in any case".into());
    }
    for name in ["ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"] {
        if places.var(name).is_some() {
            switches
                .notes
                .push(format!("{name} is set and not used yet"));
        }
    }
    switches
}

fn flag(places: &Places<'_>, name: &str, errors: &mut Errors) -> bool {
    let Some(text) = places.var(name) else {
        return false;
    };
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => true,
        "false" | "0" | "no" | "off" => false,
        _ => {
            errors.env(name, format!("{text:?} is neither: write true or false"));
            false
        }
    }
}

/// Where state lives when the file does not say: the XDG state home of the user.
pub(super) fn default_state_dir(places: &Places<'_>) -> Option<std::path::PathBuf> {
    let absolute = |name| {
        places
            .var(name)
            .map(std::path::Path::new)
            .filter(|p| p.is_absolute())
    };
    absolute("XDG_STATE_HOME")
        .map(|p| p.join("airlock"))
        .or_else(|| absolute("HOME").map(|p| p.join(".local/state/airlock")))
}

impl Config {
    /// Every variable that is read, for `airlock env` and the documentation.
    pub const VARIABLES: [&str; 15] = [
        "AIRLOCK_STATE_DIR",
        "LOCAL_LLM_BASE_URL",
        "LOCAL_LLM_API_KEY",
        "WORKFLOW_MODEL_NAME",
        "ALLOWED_MODEL_SOURCES",
        "HF_TOKEN",
        "CIVITAI_API_TOKEN",
        "DISABLE_EXTERNAL_CONNECTIONS",
        "DISABLE_TELEMETRY",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
        "SESSION_SECRET",
        "SESSION_SECRET_PREVIOUS",
        "XDG_STATE_HOME",
        "HOME",
    ];
}
