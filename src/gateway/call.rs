//! One call of the LLM, up to the head of its answer: model, repair of the request, send, sort.
//!
//! Retried at most once, only before anything of an answer came, and only where something is
//! different the second time: another LLM was found, or the model list was stale.

use std::{borrow::Cow, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};

use super::{
    directory::{Directory, Upstream},
    discovery::{read, send_problem},
    link::Link,
    record::CallRecord,
    settings::GatewaySettings,
};
use crate::{
    handler::{EgressMeter, Note},
    llm::{
        models::{Resolved, ResolvedBy},
        problem::{self, Problem, Refusal, RefusalKind},
        request::{Operation, Rewrite},
    },
    metrics::Metrics,
    prefetch,
    upstream::http_client::{Body, HttpClient, Response},
};

/// Largest error answer that is read.
const MAX_ERROR: usize = 64 << 10;
/// Most characters of a model's name in a record.
const NAME: usize = 120;
/// For the rest of an error answer whose head came.
const ERROR_READ: Duration = Duration::from_secs(3);
/// Largest whole answer for a client: images as base64 are not generated here, embeddings are the largest.
pub const MAX_WHOLE: usize = 64 << 20;

/// What all calls share.
#[derive(Clone)]
pub struct Caller {
    pub settings: Arc<GatewaySettings>,
    pub directory: Arc<Directory>,
    pub client: HttpClient,
    pub metrics: Arc<Metrics>,
}

/// One request, as it came.
pub struct Call {
    pub operation: Operation,
    pub stream: bool,
    pub body: Bytes,
    /// What becomes of the body.
    pub rewrite: Rewrite,
    pub first_byte: Duration,
    /// Bytes of an answer in one piece.
    pub max_whole: usize,
    pub egress: EgressMeter,
    pub note: Note,
}

/// An upstream's good answer.
pub enum Answer {
    Events(Body),
    Whole(String),
}

/// An answer, and whose it is.
pub struct Answered {
    pub answer: Answer,
    pub url: String,
}

impl Caller {
    pub async fn call(&self, call: &Call, record: &mut CallRecord) -> Result<Answered, Problem> {
        let mut upstream = self.directory.current().await?;
        let mut tried_model = None;
        for last_try in [false, true] {
            let attempt = self.attempt(call, &upstream, record).await;
            let (problem, model) = match attempt {
                Ok(answered) => {
                    self.directory.answers(&upstream);
                    return Ok(answered);
                }
                Err(failed) => failed,
            };
            let next = match &problem {
                _ if last_try => None,
                Problem::Unreachable { .. } | Problem::Tls { .. } => {
                    self.directory.lost(&upstream, &problem).await
                }
                Problem::Refused(refusal) if refusal.kind == RefusalKind::ModelMissing => {
                    let fresh = self.directory.refresh().await.ok();
                    fresh.filter(|f| self.resolve(call, f).model != model)
                }
                _ => None,
            };
            match next {
                Some(next) => {
                    tried_model = model;
                    upstream = next;
                }
                None => {
                    tracing::debug!(?tried_model, code = problem.code(), "llm call failed");
                    return Err(problem);
                }
            }
        }
        Err(Problem::Broken {
            url: upstream.link.url.clone(),
            detail: "no attempt was left".into(),
        })
    }

    fn resolve(&self, call: &Call, upstream: &Upstream) -> Resolved {
        let list = upstream.models.as_ref();
        let aliases = &self.settings.aliases;
        aliases.resolve(call.rewrite.model.as_deref(), list, call.operation)
    }

    /// The error carries the model that was asked for.
    async fn attempt(
        &self,
        call: &Call,
        upstream: &Upstream,
        record: &mut CallRecord,
    ) -> Result<Answered, (Problem, Option<String>)> {
        let Link { url, origin, .. } = &upstream.link;
        let rewrite = &call.rewrite;
        let list = upstream.models.as_ref();
        let resolved = self.resolve(call, upstream);
        tell(&call.note, upstream, rewrite.model.as_deref(), &resolved);
        let model = resolved.model;
        // A name straight from the client is no metric label: there would be no bound to them.
        let bounded = resolved.by != ResolvedBy::AsAsked;
        record.model(model.as_deref().filter(|_| bounded).unwrap_or_default());
        record.repairs(&rewrite.repairs);
        let body = rewrite.apply(&call.body, model.as_deref());
        let sent = body.len();
        let fail = |problem| (problem, model.clone());
        let outgoing = upstream.link.request(call.operation, body);
        let sending = pin!(self.client.send(origin, outgoing, &call.egress));
        let sending = prefetch::before_the_wait(sending);
        let response = match tokio::time::timeout(call.first_byte, sending).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(fail(send_problem(error, url))),
            Err(_) => {
                return Err(fail(Problem::Slow {
                    url: url.clone(),
                    waited: call.first_byte,
                }));
            }
        };
        self.metrics.llm_sent(sent);
        if !response.status.is_success() {
            let model = model.clone().unwrap_or_default();
            let known = list
                .into_iter()
                .flat_map(|l| l.models.iter().map(|m| m.id.clone()))
                .collect();
            return Err(fail(refused(response, url.clone(), model, known).await));
        }
        let answer = self.sort(call, response, url).await.map_err(fail)?;
        let url = url.clone();
        Ok(Answered { answer, url })
    }

    async fn sort(
        &self,
        call: &Call,
        mut response: Response,
        url: &str,
    ) -> Result<Answer, Problem> {
        let not_openai = |detail: &str| Problem::NotOpenAi {
            url: url.to_owned(),
            detail: detail.to_owned(),
        };
        if response.headers.contains_key(header::CONTENT_ENCODING) {
            return Err(not_openai(
                "its answer is compressed, which was not asked for",
            ));
        }
        let kind = content_type(&response.headers);
        if kind == "text/html" {
            return Err(not_openai("it sent a web page"));
        }
        // Some servers stream with an odd type, or with none.
        let events = kind == "text/event-stream" || (call.stream && kind != "application/json");
        if events {
            return Ok(Answer::Events(response.body));
        }
        let reading = read(&mut response.body, call.max_whole, url);
        let body = tokio::time::timeout(call.first_byte, reading)
            .await
            .unwrap_or_else(|_| {
                Err(Problem::Slow {
                    url: url.to_owned(),
                    waited: call.first_byte,
                })
            })?;
        self.metrics.llm_received(body.len());
        match String::from_utf8(body.into()) {
            Ok(text) => Ok(Answer::Whole(text)),
            Err(_) => Err(not_openai("its answer is not UTF-8")),
        }
    }
}

/// Words for the audit record: who was called, and which model stands for which.
fn tell(note: &Note, upstream: &Upstream, asked: Option<&str>, resolved: &Resolved) {
    let detail = match (&resolved.model, resolved.by) {
        (Some(to), ResolvedBy::Alias | ResolvedBy::CatchAll) => Some(format!(
            "model {} -> {}",
            clip(asked.unwrap_or("(none)")),
            clip(to)
        )),
        (Some(model), ResolvedBy::Known | ResolvedBy::AsAsked) => {
            Some(format!("model {}", clip(model)))
        }
        (None, _) => None,
    };
    note.set(|fields| {
        fields.answered_by = Some("local llm".into());
        fields.upstream = Some(upstream.link.authority.clone());
        fields.detail = detail;
    });
}

/// A name from the network, made fit for one line of a log.
pub(super) fn clip(name: &str) -> Cow<'_, str> {
    match name.len() <= NAME && !name.contains(char::is_control) {
        true => name.into(),
        false => name
            .chars()
            .filter(|c| !c.is_control())
            .take(NAME)
            .collect(),
    }
}

/// What an answer that is an error says.
pub(super) async fn refused(
    mut response: Response,
    url: String,
    model: String,
    known_models: Vec<String>,
) -> Problem {
    let status = response.status.as_u16();
    let message =
        match tokio::time::timeout(ERROR_READ, read(&mut response.body, MAX_ERROR, &url)).await {
            Ok(Ok(body)) => problem::error_text(&String::from_utf8_lossy(&body)),
            Ok(Err(_)) | Err(_) => "it said no more".to_owned(),
        };
    let kind = match response.status {
        // A path that is not there is a base URL that is not right.
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
            if RefusalKind::classify(status, &message) == RefusalKind::Other =>
        {
            return Problem::NotOpenAi {
                url,
                detail: format!("it answered {status} ({message})"),
            };
        }
        _ => RefusalKind::classify(status, &message),
    };
    Problem::Refused(Refusal {
        url,
        status,
        kind,
        message,
        model,
        known_models,
    })
}

pub(super) fn content_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}
