//! What the gateway is told: plain fields, mapped from the configuration by the composition root.

use std::{fmt, time::Duration};

use crate::{
    llm::models::Aliases,
    net::{BaseUrl, Host},
};

/// Hosts whose requests come from the plugin (WIRE.md 0).
const VENDOR_HOSTS: [&str; 2] = [
    "comfyui-copilot-server.onrender.com",
    "comfyui-copilot-server-pre.onrender.com",
];

/// Where local LLMs usually listen: vLLM, llama.cpp, Ollama, LM Studio.
const USUAL_URLS: [&str; 4] = [
    "http://127.0.0.1:8000/v1",
    "http://127.0.0.1:8080/v1",
    "http://127.0.0.1:11434/v1",
    "http://127.0.0.1:1234/v1",
];

/// The upstream's key; never printed, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(zeroize::Zeroizing<String>);

impl ApiKey {
    pub fn new(key: impl Into<String>) -> Self {
        Self(zeroize::Zeroizing::new(key.into()))
    }
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(redacted)")
    }
}

/// How a failed call is told to a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorStyle {
    /// The plugin reads a chat message, everyone else an HTTP error.
    #[default]
    Auto,
    Http,
    Chat,
}

/// How long the gateway waits for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From sending a request to the answer's head; a smaller `x-stainless-read-timeout` wins.
    pub first_byte: Duration,
    /// Between two pieces of an answer.
    pub idle: Duration,
    /// For a model list: the page and ComfyUI wait for it (WIRE.md 0.4 rule 2).
    pub models: Duration,
    /// For one address when looking for an LLM.
    pub discovery: Duration,
    /// How long a stream's head waits for the upstream, so that a refusal is still an HTTP error.
    pub hold_head: Duration,
    /// Between two comments while nothing else is sent.
    pub keep_alive: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(600),
            idle: Duration::from_secs(180),
            models: Duration::from_secs(2),
            discovery: Duration::from_millis(500),
            hold_head: Duration::from_secs(10),
            keep_alive: Duration::from_secs(15),
        }
    }
}

#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// `None`: look for one, if `discover` is on.
    pub base_url: Option<BaseUrl>,
    /// Sent to `base_url` only, never to an LLM that was merely found.
    pub api_key: Option<ApiKey>,
    /// Model to prefer in lists; the catch-all's target is in `aliases`.
    pub model: Option<String>,
    pub aliases: Aliases,
    pub discover: bool,
    /// In order of preference.
    pub discover_urls: Vec<BaseUrl>,
    pub timeouts: Timeouts,
    pub strip_think: bool,
    pub error_style: ErrorStyle,
    /// Hosts whose requests come from the plugin.
    pub plugin_hosts: Vec<Host>,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            base_url: None,
            api_key: None,
            model: None,
            aliases: Aliases::default(),
            discover: true,
            discover_urls: USUAL_URLS
                .iter()
                .filter_map(|u| BaseUrl::parse(u).ok())
                .collect(),
            timeouts: Timeouts::default(),
            strip_think: true,
            error_style: ErrorStyle::default(),
            plugin_hosts: VENDOR_HOSTS
                .iter()
                .filter_map(|h| Host::parse(h).ok())
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_whole_and_the_key_is_not_printed() {
        let settings = GatewaySettings {
            api_key: Some(ApiKey::new("sk-secret")),
            ..Default::default()
        };
        assert_eq!(settings.discover_urls.len(), USUAL_URLS.len());
        assert_eq!(settings.plugin_hosts.len(), VENDOR_HOSTS.len());
        assert!(!format!("{settings:?}").contains("secret"));
    }
}
