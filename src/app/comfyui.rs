//! The user's ComfyUI as a source of facts, and the tools of the chat that answer from it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::StartError;
use crate::{
    comfyui::{ComfyUi, client::Client},
    config::{ComfyUiConfig, Config, Listeners},
    emulator::{
        Asking, MadeWorkflows,
        mcp_transport::Toolbox,
        tools::{
            Run, Tools, explain::ExplainNode, generate::GenWorkflow, local_docs::LocalDocs,
            models::SearchModel, recall::RecallWorkflow, search_node::SearchNode,
            web_docs::WebDocs, web_search::WebSearch,
        },
    },
    front_door::Cards,
    handler::egress::Checkpoint,
    metrics::Metrics,
    models::Library,
    page::COPILOT_PATH,
    proxy::OwnRequests,
    tls::ClientTls,
    upstream::{dial::Dialer, http_client::HttpClient},
};

/// The tools of both MCP servers.
pub struct Toolboxes {
    pub copilot: Arc<dyn Toolbox>,
    pub search: Arc<dyn Toolbox>,
}

/// `None` where it is turned off.
pub fn comfyui(
    config: &Config,
    dialer: &Arc<Dialer>,
    tls: &ClientTls,
    metrics: &Arc<Metrics>,
) -> Result<Option<Arc<ComfyUi>>, StartError> {
    let Some(ComfyUiConfig {
        url,
        ca_file,
        dir: _,
    }) = &config.comfyui
    else {
        return Ok(None);
    };
    let tls = tls.config_for(ca_file.as_deref())?;
    let client = HttpClient::new(dialer.clone(), tls, config.limits.connect_timeout);
    let client = Arc::new(Client::new(client, url.clone(), metrics.clone()));
    Ok(Some(ComfyUi::new(client, metrics.clone())))
}

/// The user's own endpoint for searches of the web, where there is one.
pub fn web_search(
    config: &Config,
    dialer: &Arc<Dialer>,
    tls: &ClientTls,
    own_requests: &Arc<OwnRequests>,
) -> Result<Option<WebSearch>, StartError> {
    let Some(search) = &config.web_search else {
        return Ok(None);
    };
    let ca_file = config.ca_file_for(&search.endpoint.authority);
    let tls = tls.config_for(ca_file.map(|p| p.as_path()))?;
    let client = HttpClient::outward(dialer.clone(), tls, config.limits.connect_timeout);
    let checkpoint = own_requests.clone() as Arc<dyn Checkpoint>;
    Ok(Some(WebSearch::new(search, client, checkpoint)))
}

/// ComfyUI's own folder: as it is named, else the one that holds the folder of models.
pub fn folder(config: &Config) -> Option<PathBuf> {
    let named = config.comfyui.as_ref()?.dir.clone();
    let models = || config.models.dir.as_ref()?.parent().map(Path::to_owned);
    named.or_else(models)
}

/// Where the page finds what is drawn here: by the front door on its own origin, else at the base URL, where
/// that is on the browser's machine as well as on ours. A picture that does not load is a placeholder.
fn pictures(config: &Config) -> Option<String> {
    let Listeners {
        front_door,
        reverse,
        ..
    } = &config.listeners;
    let at = reverse.as_ref().map(|reverse| reverse.listen);
    match (front_door, at) {
        (Some(_), _) => Some(COPILOT_PATH.to_owned()),
        (None, Some(at)) if at.ip().is_loopback() && at.port() != 0 => Some(format!("http://{at}")),
        (None, Some(_) | None) => None,
    }
}

/// In the order of `tools/list`: it stands in every prompt, so it changes between versions alone.
pub fn tools(
    config: &Config,
    comfyui: &Arc<ComfyUi>,
    library: &Arc<Library>,
    cards: &Arc<Cards>,
    asking: &Arc<Asking>,
    made: &Arc<MadeWorkflows>,
    web: Option<WebSearch>,
) -> Toolboxes {
    let copilot: Vec<Arc<dyn Run>> = vec![
        Arc::new(RecallWorkflow),
        Arc::new(GenWorkflow::new(
            comfyui.clone(),
            asking.clone(),
            made.clone(),
            pictures(config),
        )),
        Arc::new(SearchNode),
        Arc::new(ExplainNode),
        Arc::new(SearchModel::new(library.clone())),
    ];
    let search: Vec<Arc<dyn Run>> = match web {
        Some(web) => vec![Arc::new(WebDocs::new(web))],
        None => vec![Arc::new(LocalDocs)],
    };
    let tools = |runs| Arc::new(Tools::new(runs, comfyui.clone(), cards.clone()));
    Toolboxes {
        copilot: tools(copilot),
        search: tools(search),
    }
}
