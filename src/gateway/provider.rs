//! LLMs that are asked with a key that came with the question (`llm.providers`), and never with another.
//!
//! Called by `emulator::asking`. Unlike the configured LLM, a provider is a server of the world: each
//! question to it passes the request checkpoint as a request of our own, with rule, record, secrets and
//! kill switch. Nothing of the key is kept, logged or quoted; no redirect is followed.

use std::{fmt, net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::StatusCode;
use tokio::time::timeout_at;

use super::{
    ask::{Ask, Said, options},
    call::{content_type, refused},
    discovery::{self, read, send_problem},
    live::whole_problem,
    record::CallRecord,
    settings::ApiKey,
};
use crate::{
    config::COMPLETIONS,
    handler::egress::{Checkpoint, Ended, OwnRequest, Passage},
    llm::{
        problem::Problem,
        request::{Operation, Request},
        response,
    },
    metrics::Metrics,
    net::BaseUrl,
    policy::Reason,
    upstream::http_client::{HttpClient, Origin, Response, SendError},
};

/// One that the user enabled.
pub struct Provider {
    pub base: BaseUrl,
    /// What it is asked for; the page names none.
    pub model: String,
    pub client: HttpClient,
    pub checkpoint: Arc<dyn Checkpoint>,
    pub metrics: Arc<Metrics>,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Provider({})", self.base)
    }
}

/// A provider, the key that a page sent for it, and on whose behalf.
#[derive(Clone, Debug)]
pub struct Keyed {
    pub provider: Arc<Provider>,
    pub key: ApiKey,
    pub by: IpAddr,
}

/// Why there was no answer: for the record of the request, and for whoever asked.
type Failure = ((Reason, String), Problem);

impl Keyed {
    pub fn url(&self) -> String {
        self.provider.base.to_string()
    }

    /// The answer in one piece.
    pub async fn ask(&self, ask: Ask) -> Result<Said, Problem> {
        let Provider { model, metrics, .. } = &*self.provider;
        let mut record = CallRecord::new(metrics.clone(), Operation::Chat);
        record.model(model);
        let outcome = self.said(ask, &mut record).await;
        let outcome = outcome.map_err(|problem| self.without_key(problem));
        record.ended(&outcome);
        outcome
    }

    async fn said(&self, ask: Ask, record: &mut CallRecord) -> Result<Said, Problem> {
        let (max_answer, max_whole) = (ask.max_answer, ask.max_whole());
        let provider = &*self.provider;
        let url = self.url();
        let request = Request::parse(Operation::Chat, &ask.body);
        let body = request?.rewrite().apply(&ask.body, Some(&provider.model));
        let key = Some(&self.key);
        let mut request = discovery::request("POST", &provider.base, COMPLETIONS, key, body)?;
        let target = request.uri().to_string();
        let passage = provider.checkpoint.pass(&OwnRequest {
            client: self.by,
            authority: &provider.base.authority,
            target: &target,
            headers: request.headers(),
            body: Some(request.body()),
        });
        let passage = passage.map_err(|refused| Problem::Unreachable {
            url: url.clone(),
            detail: format!("airlock did not let the question out: {refused}"),
        })?;
        // As it was judged.
        *request.uri_mut() = passage.target().parse().map_err(|_| Problem::BadRequest {
            detail: "the provider's path cannot be asked".into(),
        })?;
        let mut status = None;
        let waited = ask
            .until
            .saturating_duration_since(tokio::time::Instant::now());
        let asking = self.answer(&*passage, request, max_whole, &mut status);
        let answer = tokio::select! {
            biased;
            reason = passage.cut() => Err((
                (reason, reason.to_string()),
                Problem::Broken { url: url.clone(), detail: format!("airlock cut the question off: {reason}") },
            )),
            answer = timeout_at(ask.until, asking) => answer.unwrap_or_else(|_| Err((
                (Reason::UpstreamTimeout, "did not answer in time".into()),
                Problem::Slow { url: url.clone(), waited },
            ))),
        };
        let failed = answer.as_ref().err().map(|(why, _)| why.clone());
        passage.end(Ended { status, failed });
        let text = answer.map_err(|(_, problem)| problem)?;
        let whole = response::repair(&text, &options());
        let whole = whole.map_err(|e| whole_problem(e, &url, &options()))?;
        Said::of(&whole, url, max_answer, record)
    }

    async fn answer(
        &self,
        passage: &dyn Passage,
        request: http::Request<Bytes>,
        max: usize,
        status: &mut Option<u16>,
    ) -> Result<String, Failure> {
        let url = self.url();
        let origin = Origin::of(&self.provider.base);
        let sent = self
            .provider
            .client
            .send(&origin, request, passage.egress());
        let mut response = sent.await.map_err(|error| {
            let why = match &error {
                SendError::Dial(e) => (e.reason, e.detail.clone()),
                SendError::Tls(e) => (Reason::UpstreamTlsFailed, e.clone()),
                SendError::Broken(e) => (Reason::UpstreamFailed, e.clone()),
            };
            (why, send_problem(error, &url))
        })?;
        *status = Some(response.status.as_u16());
        if response.status != StatusCode::OK {
            let why = format!("answered with status {}", response.status.as_u16());
            let model = self.provider.model.clone();
            let problem = refused(response, url, model, Vec::new()).await;
            return Err(((Reason::UpstreamFailed, why), problem));
        }
        let broken = |problem: Problem| {
            let why = (Reason::UpstreamFailed, problem.code().to_owned());
            (why, problem)
        };
        let Response { headers, body, .. } = &mut response;
        if content_type(headers) != "application/json" {
            let detail = "its answer is no JSON".to_owned();
            return Err(broken(Problem::NotOpenAi { url, detail }));
        }
        let all = read(body, max, &url).await.map_err(broken)?;
        passage.received(all.len() as u64);
        String::from_utf8(all.into()).map_err(|_| {
            let detail = "its answer is not UTF-8".to_owned();
            broken(Problem::NotOpenAi { url, detail })
        })
    }

    /// A provider that quotes the key, or a part of it, is not quoted.
    fn without_key(&self, mut problem: Problem) -> Problem {
        if let Problem::Refused(refusal) = &mut problem {
            let key = self.key.reveal();
            let part = key.get(..key.len().min(PART)).unwrap_or(key);
            if refusal.message.contains(part) {
                refusal.message = "it quoted the key".into();
            }
        }
        problem
    }
}

/// Bytes of a key that show it was quoted.
const PART: usize = 6;
