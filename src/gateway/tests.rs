//! The gateway against scripted LLMs that misbehave as real ones do.

mod errors;
pub(crate) mod fake;
mod models;
mod streams;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use http::Request as HttpRequest;

use super::{
    settings::{ApiKey, Timeouts},
    *,
};
use crate::{
    handler::{EgressMeter, Exchange, LocalBody, Note},
    llm::models::Aliases,
    net::{Authority, BaseUrl, Entry},
    upstream::dial::Dialer,
};
use fake::{FakeLlm, Piece, Reply, say};

const VENDOR: &str = "comfyui-copilot-server.onrender.com:443";
const DONE: &str = "data: [DONE]\n\n";

fn tls_config(roots: rustls::RootCertStore) -> Arc<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

pub(crate) fn client(metrics: &Arc<Metrics>) -> HttpClient {
    let dialer = Arc::new(Dialer::new(
        metrics.clone(),
        crate::policy::AddressPolicy::for_tests(),
        Duration::from_secs(2),
    ));
    HttpClient::new(
        dialer,
        tls_config(rustls::RootCertStore::empty()),
        Duration::from_secs(2),
    )
}

fn quick() -> Timeouts {
    Timeouts {
        first_byte: Duration::from_millis(600),
        idle: Duration::from_millis(400),
        models: Duration::from_millis(300),
        discovery: Duration::from_millis(200),
        hold_head: Duration::from_secs(5),
        keep_alive: Duration::from_secs(15),
    }
}

pub(crate) fn settings(url: &str) -> GatewaySettings {
    GatewaySettings {
        base_url: Some(BaseUrl::parse(url).expect(url)),
        api_key: Some(ApiKey::new("sk-upstream")),
        aliases: Aliases::default(),
        discover: false,
        timeouts: quick(),
        ..GatewaySettings::default()
    }
}

pub(crate) fn gateway(settings: GatewaySettings) -> (Gateway, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    let client = client(&metrics);
    (
        Gateway::new(GatewayDeps {
            origins: crate::handler::cors::OriginPolicy::private_only(),
            settings,
            client,
            metrics: metrics.clone(),
        }),
        metrics,
    )
}

fn exchange() -> Exchange {
    Exchange {
        id: uuid::Uuid::new_v4(),
        entry: Entry::Explicit,
        client: "127.0.0.1".parse().expect("an address"),
        authority: Authority::parse(VENDOR, None).expect("an authority"),
        tls: true,
        egress: EgressMeter::default(),
        principal: None,
        note: Note::default(),
    }
}

/// A request as the plugin's agents send it.
fn plugin(body: &str) -> LocalRequest {
    let parts = HttpRequest::post("/v1/chat/completions")
        .header("authorization", "Bearer cp-plugin-key")
        .header("user-agent", "Agents/Python 0.22.2")
        .header("x-session-id", "1b4e28ba-2fa1-11d2-883f-0016d3cca427")
        .header("x-stainless-read-timeout", "600")
        .header("x-api-key", "sk-plugin-second")
        .header("cookie", "session=plugin")
        .header("content-type", "application/json")
        .header("origin", "http://127.0.0.1:8188")
        .body(())
        .expect("a request")
        .into_parts()
        .0;
    LocalRequest {
        parts,
        body: Bytes::from(body.to_owned()),
        exchange: exchange(),
    }
}

/// The same from someone who is not the plugin.
fn other(body: &str) -> LocalRequest {
    let mut request = plugin(body);
    for name in ["user-agent", "x-session-id"] {
        request.parts.headers.remove(name);
    }
    request
}

fn get(path: &str) -> LocalRequest {
    let parts = HttpRequest::get(path)
        .body(())
        .expect("a request")
        .into_parts()
        .0;
    LocalRequest {
        parts,
        body: Bytes::new(),
        exchange: exchange(),
    }
}

const CHAT: &str =
    r#"{"model":"gemini-2.5-flash","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
const WHOLE: &str =
    r#"{"model":"gemini-2.5-flash","stream":false,"messages":[{"role":"user","content":"hi"}]}"#;

fn chunk(delta: &str, finish: &str) -> String {
    format!(
        "data: {{\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
    )
}

fn text(text: &str) -> String {
    chunk(
        &format!("{{\"content\":{}}}", serde_json::Value::from(text)),
        "null",
    )
}

fn stop() -> String {
    chunk("{}", "\"stop\"")
}

/// All of a body; the reason if it was cut.
async fn read(response: LocalResponse) -> (String, Option<String>) {
    match response.into_body() {
        LocalBody::Empty => (String::new(), None),
        LocalBody::Full(bytes) => (String::from_utf8(bytes.to_vec()).expect("UTF-8"), None),
        LocalBody::Stream(mut stream) | LocalBody::Sized(_, mut stream) => {
            let mut all = Vec::new();
            while let Some(item) = stream.next().await {
                match item {
                    Ok(bytes) => all.extend_from_slice(&bytes),
                    Err(abort) => return (String::from_utf8(all).expect("UTF-8"), Some(abort.0)),
                }
            }
            (String::from_utf8(all).expect("UTF-8"), None)
        }
    }
}

/// The text a client puts together from a stream; every chunk must have what SDKs require.
fn content(stream: &str) -> String {
    let mut text = String::new();
    for frame in stream
        .split("\n\n")
        .filter_map(|f| f.strip_prefix("data: "))
    {
        if frame == "[DONE]" {
            continue;
        }
        let value: serde_json::Value = serde_json::from_str(frame).expect(frame);
        for key in ["id", "object", "created", "model", "choices"] {
            assert!(!value[key].is_null(), "{key} in {frame}");
        }
        text.push_str(
            value["choices"][0]["delta"]["content"]
                .as_str()
                .unwrap_or_default(),
        );
    }
    text
}
