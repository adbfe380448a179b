//! From the configuration's words about the LLM to the gateway's settings and its providers.

use std::sync::Arc;

use super::StartError;
use crate::{
    config::{Config, LlmConfig, LlmErrors},
    gateway::{
        provider::Provider,
        settings::{ApiKey, ErrorStyle, GatewaySettings, Timeouts},
    },
    handler::egress::Checkpoint,
    llm::models::{Aliases, CatchAll},
    metrics::Metrics,
    proxy::OwnRequests,
    tls::ClientTls,
    upstream::{dial::Dialer, http_client::HttpClient},
};

/// Whom the page's own key may be shown to.
pub fn providers(
    config: &Config,
    dialer: &Arc<Dialer>,
    tls: &ClientTls,
    own_requests: &Arc<OwnRequests>,
    metrics: &Arc<Metrics>,
) -> Result<Vec<Arc<Provider>>, StartError> {
    let provider = |of: &crate::config::Provider| {
        let ca_file = config.ca_file_for(&of.base_url.authority);
        let tls = tls.config_for(ca_file.map(|p| p.as_path()))?;
        Ok(Arc::new(Provider {
            base: of.base_url.clone(),
            model: of.model.clone(),
            client: HttpClient::outward(dialer.clone(), tls, config.llm.connect_timeout),
            checkpoint: own_requests.clone() as Arc<dyn Checkpoint>,
            metrics: metrics.clone(),
        }))
    };
    config.llm.providers.iter().map(provider).collect()
}

pub fn gateway_settings(config: &Config) -> GatewaySettings {
    let LlmConfig {
        base_url,
        api_key,
        model,
        ca_file: _,
        aliases,
        catch_all,
        discover,
        discover_ports,
        connect_timeout: _,
        first_byte_timeout,
        idle_timeout,
        models_timeout,
        strip_think,
        errors,
        providers: _,
    } = &config.llm;
    let catch_all = match (catch_all, model) {
        (false, _) => CatchAll::Off,
        (true, Some(model)) => CatchAll::Model(model.clone()),
        (true, None) => CatchAll::First,
    };
    GatewaySettings {
        base_url: base_url.clone(),
        api_key: api_key
            .as_ref()
            .map(|key| ApiKey::new(key.expose().clone())),
        model: model.clone(),
        aliases: Aliases {
            exact: aliases.clone(),
            catch_all,
        },
        discover: *discover,
        discover_urls: discover_ports.clone(),
        timeouts: Timeouts {
            first_byte: *first_byte_timeout,
            idle: *idle_timeout,
            models: *models_timeout,
            ..Timeouts::default()
        },
        strip_think: *strip_think,
        error_style: match errors {
            LlmErrors::Auto => ErrorStyle::Auto,
            LlmErrors::Http => ErrorStyle::Http,
            LlmErrors::Chat => ErrorStyle::Chat,
        },
        ..GatewaySettings::default()
    }
}
