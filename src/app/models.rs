//! The model sources that the configuration names.

use std::sync::Arc;

use super::StartError;
use crate::{
    comfyui::{self, News, client::Client},
    config::Config,
    handler::egress::Checkpoint,
    metrics::Metrics,
    models::{
        Library, ModelSource,
        civitai::Civitai,
        hub::{Hub, HubDeps},
        hugging_face::HuggingFace,
        local::{ComfyUi, Folder, Local, Shelf},
    },
    proxy::OwnRequests,
    tls::ClientTls,
    upstream::{dial::Dialer, http_client::HttpClient},
    weights::Source,
};

pub struct Models {
    pub library: Arc<Library>,
    pub local: Arc<Local>,
}

/// `known`: the ComfyUI that everything else is asked of, where there is one.
pub fn build(
    config: &Config,
    dialer: &Arc<Dialer>,
    tls: &ClientTls,
    own_requests: &Arc<OwnRequests>,
    metrics: &Arc<Metrics>,
    known: Option<&Arc<comfyui::ComfyUi>>,
) -> Result<Models, StartError> {
    let models = &config.models;
    let patience = config.limits.connect_timeout;
    let is_on = |source: Source| models.sources.contains(&source);

    // A folder is there whatever ComfyUI does.
    let shelf = match (&models.dir, &models.comfyui) {
        _ if !is_on(Source::Local) => None,
        (Some(dir), _) => Some(Arc::new(Folder(dir.clone())) as Arc<dyn Shelf>),
        (None, Some(base)) => {
            let client = known.map(|comfyui| comfyui.client());
            let client = match client.filter(|client| client.base() == base) {
                Some(client) => client.clone(),
                None => {
                    let ca_file = config.ca_file_for(&base.authority).map(|p| p.as_path());
                    let http = HttpClient::new(dialer.clone(), tls.config_for(ca_file)?, patience);
                    Arc::new(Client::new(http, base.clone(), metrics.clone()))
                }
            };
            Some(Arc::new(ComfyUi(client)) as Arc<dyn Shelf>)
        }
        (None, None) => None,
    };
    let local = Arc::new(Local::new(shelf));

    let (newer, shelf) = (known.cloned(), local.clone());
    let landed: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
        shelf.expect();
        if let Some(comfyui) = &newer {
            comfyui.news(News::Coming);
        }
    });

    let mut sources: Vec<Arc<dyn ModelSource>> = Vec::new();
    if is_on(Source::Local) {
        sources.push(local.clone());
    }
    for (source, hub) in models.hubs() {
        let ca_file = config
            .ca_file_for(&hub.endpoint.authority)
            .map(|p| p.as_path());
        let client = HttpClient::outward(dialer.clone(), tls.config_for(ca_file)?, patience);
        let hub = Hub::new(HubDeps {
            source,
            endpoint: hub.endpoint.clone(),
            key: hub.key.clone(),
            client,
            checkpoint: own_requests.clone() as Arc<dyn Checkpoint>,
            metrics: metrics.clone(),
            landed: landed.clone(),
        });
        let formats = models.formats.clone();
        sources.push(match source {
            Source::HuggingFace => Arc::new(HuggingFace::new(hub, formats)),
            Source::Civitai => Arc::new(Civitai::new(hub, formats)),
            // It is no hub, and stands first.
            Source::Local => continue,
        });
    }
    let library = Arc::new(Library::new(sources, models.dir.clone()));
    Ok(Models { library, local })
}
