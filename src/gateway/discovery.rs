//! Looks whether an OpenAI-compatible LLM answers at an address, and which server it is.
//!
//! Called by [`super::directory`] and by `airlock doctor` and `demo`. Asks for the model list only.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesOrdered};
use http::{HeaderMap, Request, StatusCode, header};

use super::settings::ApiKey;
use crate::{
    handler::EgressMeter,
    llm::{
        models::ModelList,
        problem::{self, Problem, Refusal, RefusalKind},
    },
    net::BaseUrl,
    upstream::http_client::{Body, HttpClient, Origin, SendError, WholeError},
};

/// Largest model list that is read.
const MAX_LIST: usize = 4 << 20;

/// Which server it is, as far as its list shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    Vllm,
    LlamaCpp,
    Ollama,
    LmStudio,
    Other,
}

impl ServerKind {
    pub fn as_str(self) -> &'static str {
        match self {
            ServerKind::Vllm => "vLLM",
            ServerKind::LlamaCpp => "llama.cpp",
            ServerKind::Ollama => "Ollama",
            ServerKind::LmStudio => "LM Studio",
            ServerKind::Other => "OpenAI-compatible",
        }
    }

    fn of(list: &ModelList, headers: &HeaderMap, base: &BaseUrl) -> Self {
        let owner = list
            .models
            .iter()
            .find_map(|m| m.owned_by.as_deref())
            .unwrap_or_default();
        let server = headers
            .get(header::SERVER)
            .and_then(|s| s.to_str().ok())
            .unwrap_or_default();
        match owner {
            "vllm" => ServerKind::Vllm,
            "llamacpp" => ServerKind::LlamaCpp,
            "library" => ServerKind::Ollama,
            "organization_owner" => ServerKind::LmStudio,
            _ if server.eq_ignore_ascii_case("llama.cpp") => ServerKind::LlamaCpp,
            // An empty list names no owner; these ports are the servers' own.
            _ => match base.authority.port.number() {
                11434 => ServerKind::Ollama,
                1234 => ServerKind::LmStudio,
                _ => ServerKind::Other,
            },
        }
    }
}

/// An LLM that answered.
#[derive(Clone, Debug)]
pub struct ProbeResult {
    /// With `/v1` put on where it was missing.
    pub url: BaseUrl,
    pub kind: ServerKind,
    pub models: ModelList,
    pub latency: Duration,
}

/// Asks `base` for its models. A base URL without a path is tried with `/v1` too.
pub async fn probe(
    client: &HttpClient,
    base: &BaseUrl,
    key: Option<&ApiKey>,
    timeout: Duration,
) -> Result<ProbeResult, Problem> {
    let asking = async {
        let first = ask(client, base, key).await;
        match &first {
            Err(Problem::Refused(_) | Problem::NotOpenAi { .. }) if base.path.is_empty() => {
                let below = BaseUrl {
                    path: "/v1".to_owned(),
                    ..base.clone()
                };
                ask(client, &below, key).await.or(first)
            }
            Ok(_) | Err(_) => first,
        }
    };
    tokio::time::timeout(timeout, asking)
        .await
        .unwrap_or_else(|_| {
            Err(Problem::Slow {
                url: base.to_string(),
                waited: timeout,
            })
        })
}

/// The first of `urls`, in their order, at which an LLM answers; all are asked at once.
pub async fn discover(
    client: &HttpClient,
    urls: &[BaseUrl],
    timeout: Duration,
) -> Option<ProbeResult> {
    let mut probes: FuturesOrdered<_> = urls
        .iter()
        .map(|url| probe(client, url, None, timeout))
        .collect();
    while let Some(result) = probes.next().await {
        if let Ok(found) = result {
            return Some(found);
        }
    }
    None
}

async fn ask(
    client: &HttpClient,
    base: &BaseUrl,
    key: Option<&ApiKey>,
) -> Result<ProbeResult, Problem> {
    let started = Instant::now();
    let url = base.to_string();
    let request = request("GET", base, "/models", key, Bytes::new())?;
    let egress = EgressMeter::default();
    let mut response = client
        .send(&Origin::of(base), request, &egress)
        .await
        .map_err(|e| send_problem(e, &url))?;
    let body = read(&mut response.body, MAX_LIST, &url).await?;
    let text = String::from_utf8_lossy(&body);
    if response.status != StatusCode::OK {
        let message = problem::error_text(&text);
        return Err(Problem::Refused(Refusal {
            status: response.status.as_u16(),
            kind: RefusalKind::classify(response.status.as_u16(), &message),
            url,
            message,
            model: String::new(),
            known_models: Vec::new(),
        }));
    }
    let models = ModelList::parse(&text).ok_or_else(|| Problem::NotOpenAi {
        url,
        detail: "its /models is no model list".into(),
    })?;
    Ok(ProbeResult {
        kind: ServerKind::of(&models, &response.headers, base),
        url: base.clone(),
        models,
        latency: started.elapsed(),
    })
}

/// A request to the upstream. Its headers are made here and nowhere else: what the client sent,
/// its credential above all, is not looked at.
pub(super) fn request(
    method: &str,
    base: &BaseUrl,
    path: &str,
    key: Option<&ApiKey>,
    body: Bytes,
) -> Result<Request<Bytes>, Problem> {
    let mut builder = Request::builder()
        .method(method)
        .uri(format!("{}{path}", base.path))
        .header(header::ACCEPT, "application/json, text/event-stream")
        .header(
            header::USER_AGENT,
            concat!("airlock/", env!("CARGO_PKG_VERSION")),
        );
    if !body.is_empty() {
        builder = builder.header(header::CONTENT_TYPE, "application/json");
    }
    if let Some(key) = key {
        let mut value =
            http::HeaderValue::from_str(&format!("Bearer {}", key.reveal())).map_err(|_| {
                Problem::BadRequest {
                    detail: "the LLM's API key holds an odd character".into(),
                }
            })?;
        value.set_sensitive(true);
        builder = builder.header(header::AUTHORIZATION, value);
    }
    builder.body(body).map_err(|e| Problem::BadRequest {
        detail: e.to_string(),
    })
}

/// Reads a body of at most `max` bytes.
pub(super) async fn read(body: &mut Body, max: usize, url: &str) -> Result<Bytes, Problem> {
    body.whole(max).await.map_err(|e| {
        let (url, detail) = (url.to_owned(), e.to_string());
        match e {
            WholeError::Broken(_) => Problem::Broken { url, detail },
            WholeError::TooLarge { .. } => Problem::NotOpenAi { url, detail },
        }
    })
}

pub(super) fn send_problem(error: SendError, url: &str) -> Problem {
    let url = url.to_owned();
    match error {
        SendError::Dial(dial) => Problem::Unreachable {
            url,
            detail: dial.detail,
        },
        SendError::Tls(detail) => Problem::Tls { url, detail },
        SendError::Broken(detail) => Problem::Broken { url, detail },
    }
}
