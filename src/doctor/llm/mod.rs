//! The LLM, from the address to a tool call: the first thing that is wrong ends the list, because
//! what comes after it could not be told apart.
//!
//! [`search`] looks at the usual ports, [`reach`] says why one does not answer, [`names`] which
//! model the plugin's names become, [`chat`] asks for completions, [`pace`] and [`tools`] judge
//! them, [`context`] asks how much the model can read.

mod chat;
mod context;
mod names;
mod pace;
mod reach;
mod search;
mod tools;

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use serde_json::Value;

use super::{Depth, Finding, Progress};
use crate::{
    app,
    config::{Config, Secret},
    gateway::{
        discovery::{self, ProbeResult},
        settings::GatewaySettings,
    },
    handler::EgressMeter,
    metrics::Metrics,
    net::BaseUrl,
    tls::{ClientTls, SystemRoots, install_provider},
    upstream::{
        dial::Dialer,
        http_client::{HttpClient, Origin, Response, SendError},
        site_proxy::SiteProxy,
    },
};

/// As the program itself has it.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than `models_timeout`, to tell a slow list from none.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);
/// For the servers' own pages beside the OpenAI API.
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_PAGE: usize = 4 << 20;

/// Looks at the LLM. With [`Depth::Quick`] nothing is generated.
pub async fn examine(
    config: &Config,
    environment: &HashMap<String, String>,
    depth: Depth,
    progress: &Progress,
) -> Vec<Finding> {
    let tools = match Tools::new(config, environment) {
        Ok(tools) => tools,
        Err(problem) => {
            return vec![Finding::fail(
                "llm",
                problem,
                "name a readable PEM file in llm.ca_file",
            )];
        }
    };
    progress.now("looking for an LLM on the usual ports");
    let (mut findings, seen) = search::examine(config, &tools).await;
    let found = match &config.llm.base_url {
        Some(base) => {
            progress.now(format!("asking {base} for its models"));
            configured(config, &tools, &seen).await
        }
        None => seen.into_iter().next().ok_or_else(|| search::none(config)),
    };
    let found = match found {
        Ok(found) => found,
        Err(finding) => {
            findings.push(finding);
            return findings;
        }
    };
    findings.push(reached(config, &found));
    let (naming, model) = names::examine(config, &tools.settings.aliases, &found);
    findings.extend(naming);
    let Some(model) = model else { return findings };

    let llm = Llm {
        // The key goes to the configured address only, as the gateway has it.
        key: config
            .llm
            .api_key
            .as_ref()
            .filter(|_| config.llm.base_url.is_some()),
        client: &tools.client,
        found: &found,
        model: &model,
    };
    if depth == Depth::Full {
        progress.now(format!(
            "waiting for {model} to answer (a first answer may load the model)"
        ));
        let heard = chat::ask(&llm, &pace::question(), config.llm.idle_timeout).await;
        findings.extend(pace::judge(&heard, config.llm.strip_think));
        if heard.is_ok() {
            progress.now(format!("asking {model} to call a tool"));
            let heard = chat::ask(&llm, &tools::question(), config.llm.idle_timeout).await;
            findings.push(tools::judge(&heard, found.kind));
        }
    }
    // Last, because some servers tell the context of a loaded model only.
    progress.now("asking for the context length");
    findings.push(context::examine(&llm).await);
    findings
}

/// What every step asks with.
struct Tools {
    /// As the running gateway would have them.
    settings: GatewaySettings,
    client: HttpClient,
    /// The same one that `client` dials with.
    dialer: Arc<Dialer>,
}

impl Tools {
    fn new(config: &Config, environment: &HashMap<String, String>) -> Result<Self, String> {
        install_provider();
        let mut addresses = config.addresses.clone();
        if config.llm.discover {
            // The user's own list of places to look at, closed while a base URL is configured.
            for url in &config.llm.discover_ports {
                addresses.permit_private(url.authority.clone());
            }
        }
        let dialer = Arc::new(
            Dialer::new(Arc::new(Metrics::new()), addresses, RESOLVE_TIMEOUT)
                .behind(SiteProxy::of(&config.egress)),
        );
        dialer.set_own_listeners(
            config
                .listeners
                .addresses()
                .into_iter()
                .map(|(_, a)| a)
                .collect(),
        );
        let roots = SystemRoots::load(|name| environment.get(name).cloned(), &config.state_dir);
        let tls = ClientTls::new(roots.store())
            .config_for(config.llm.ca_file.as_deref())
            .map_err(|e| e.to_string())?;
        let client = HttpClient::new(dialer.clone(), tls, config.llm.connect_timeout);
        Ok(Self {
            settings: app::llm::gateway_settings(config),
            client,
            dialer,
        })
    }
}

/// The configured LLM, or what keeps it from being used.
async fn configured(
    config: &Config,
    tools: &Tools,
    seen: &[ProbeResult],
) -> Result<ProbeResult, Finding> {
    let Some(base) = &tools.settings.base_url else {
        return Err(search::none(config));
    };
    let key = tools.settings.api_key.as_ref();
    match discovery::probe(&tools.client, base, key, LIST_TIMEOUT).await {
        Ok(found) => Ok(found),
        Err(problem) => Err(reach::explain(base, &problem, tools, config, seen).await),
    }
}

fn reached(config: &Config, found: &ProbeResult) -> Finding {
    let ProbeResult {
        url,
        kind,
        models,
        latency,
    } = found;
    let words = format!(
        "{} at {url}, {}, model list in {}",
        kind.as_str(),
        count(models.models.len(), "model"),
        millis(*latency),
    );
    if *latency > config.llm.models_timeout {
        return Finding::warn(
            "llm",
            format!("{words}: longer than llm.models_timeout"),
            "raise llm.models_timeout a little; ComfyUI stands still while the plugin waits for it",
        );
    }
    Finding::ok("llm", words)
}

/// An LLM that answered, and the model that is asked.
struct Llm<'a> {
    client: &'a HttpClient,
    found: &'a ProbeResult,
    key: Option<&'a Secret<String>>,
    model: &'a str,
}

impl Llm<'_> {
    /// A request below the base URL.
    async fn call(&self, path: &str, body: &Value) -> Result<Response, SendError> {
        self.send(&self.found.url, "POST", path, Some(body)).await
    }

    /// A page beside the OpenAI API; `None` for anything but a JSON answer with status 200.
    async fn page(&self, path: &str, body: Option<&Value>) -> Option<Value> {
        let url = &self.found.url;
        let prefix = url.path.strip_suffix("/v1").unwrap_or(&url.path);
        let root = BaseUrl {
            path: prefix.to_owned(),
            ..url.clone()
        };
        let method = if body.is_some() { "POST" } else { "GET" };
        let asking = async {
            let response = self.send(&root, method, path, body).await.ok()?;
            let ok = response.status == StatusCode::OK;
            let body = whole(response, MAX_PAGE).await.ok().filter(|_| ok)?;
            serde_json::from_slice(&body).ok()
        };
        tokio::time::timeout(PAGE_TIMEOUT, asking)
            .await
            .ok()
            .flatten()
    }

    async fn send(
        &self,
        base: &BaseUrl,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response, SendError> {
        let body = body.map_or_else(Bytes::new, |b| Bytes::from(b.to_string()));
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", base.path))
            .header(header::ACCEPT, "application/json, text/event-stream")
            .header(
                header::USER_AGENT,
                concat!("airlock/", env!("CARGO_PKG_VERSION")),
            );
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(key) = self.key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", key.expose()));
        }
        let request = request
            .body(body)
            .map_err(|e| SendError::Broken(e.to_string()))?;
        self.client
            .send(&Origin::of(base), request, &EgressMeter::default())
            .await
    }
}

/// A body of at most `max` bytes.
async fn whole(mut response: Response, max: usize) -> Result<Bytes, String> {
    response.body.whole(max).await.map_err(|e| e.to_string())
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// `340 ms`, `1.2 s`.
fn millis(d: Duration) -> String {
    match d.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        _ => format!("{:.1} s", d.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests;
