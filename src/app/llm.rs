//! From the configuration's words about the LLM to the gateway's settings.

use crate::{
    config::{Config, LlmConfig, LlmErrors},
    gateway::settings::{ApiKey, ErrorStyle, GatewaySettings, Timeouts},
    llm::models::{Aliases, CatchAll},
};

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
