//! The LLM gateway: the OpenAI-compatible face of the user's own LLM.
//!
//! `proxy::respond` calls it through [`Handler`]; `app` builds it, `admin` and `cli` ask
//! [`Gateway::status`] and [`discovery::probe`]. Wire formats are `llm`'s, sockets are
//! `upstream::http_client`'s. It never sends a header of the client to the LLM, follows no
//! redirect, and never ends a broken answer as if it were whole.
//!
//! | file | what |
//! |---|---|
//! | [`settings`] | what it is told |
//! | `route`, `cors`, `answer` | paths, preflights, responses |
//! | [`directory`], [`discovery`] | which LLM, which models |
//! | `link` | what all calls of one LLM have in common |
//! | `call` | one call up to the answer's head |
//! | `live`, `whole` | an answer streamed, and in one piece |
//! | `record` | metrics of one call |
//! | [`ask`] | the same calls for the stand-ins of this process |
//! | [`provider`] | their questions to an LLM of the world, with a key that came along |

mod answer;
pub mod ask;
mod call;
pub mod directory;
pub mod discovery;
mod link;
mod live;
pub mod provider;
mod record;
mod route;
pub mod settings;
mod whole;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use http::{HeaderMap, Method, StatusCode, header};
use uuid::Uuid;

use self::{
    answer::Tone,
    call::Call,
    directory::{Directory, Status},
    live::{Calling, Live},
    record::CallRecord,
    route::Route,
    settings::{ErrorStyle, GatewaySettings},
};
use crate::{
    handler::{
        Exchange, Handler, LocalRequest, LocalResponse,
        cors::{self, Caller, OriginPolicy},
    },
    llm::{
        models::{CatchAll, Model, ModelList},
        problem::Problem,
        reply::{ErrorBody, Meta},
        request::{Operation, Request},
        stream::AnswerOptions,
    },
    metrics::{Metrics, drift::shape_of_path},
    upstream::http_client::HttpClient,
};

/// Told to a page that asks for models while there is no LLM: choosing it brings up the reason.
const NO_MODEL: &str = "no-local-llm-found";
/// Time for a look that ran into its own bound to note so.
const LOOK_MARGIN: Duration = Duration::from_millis(250);
/// A chat with a few images as data URLs.
const MAX_BODY: usize = 48 << 20;

/// What the gateway is made of.
pub struct GatewayDeps {
    pub settings: GatewaySettings,
    pub client: HttpClient,
    pub metrics: Arc<Metrics>,
    /// Pages that may read answers.
    pub origins: OriginPolicy,
}

pub struct Gateway {
    caller: call::Caller,
    origins: OriginPolicy,
}

/// What is known of a request before it is sent on.
struct Asked {
    operation: Operation,
    stream: bool,
    tone: Tone,
    options: AnswerOptions,
}

impl Gateway {
    pub fn new(deps: GatewayDeps) -> Self {
        let GatewayDeps {
            settings,
            client,
            metrics,
            origins,
        } = deps;
        let settings = Arc::new(settings);
        let directory = Arc::new(Directory::new(
            settings.clone(),
            client.clone(),
            metrics.clone(),
        ));
        Self {
            caller: call::Caller {
                settings,
                directory,
                client,
                metrics,
            },
            origins,
        }
    }

    /// Looks for the LLM before the first request needs it.
    pub async fn warm_up(&self) -> Status {
        // A failure is in the status.
        let _ = self.caller.directory.listed().await;
        self.status()
    }

    /// What is known now; asks nobody.
    pub fn status(&self) -> Status {
        self.caller.directory.status()
    }

    async fn answer(&self, request: LocalRequest) -> LocalResponse {
        let method = &request.parts.method;
        let route = Route::of(request.parts.uri.path());
        let read = matches!(*method, Method::GET | Method::HEAD);
        match route {
            Route::Call(operation) if method == Method::POST => self.call(operation, request).await,
            Route::Models if read => {
                let (list, from_llm) = self.models().await;
                let who = if from_llm { "local llm" } else { "airlock" };
                request
                    .exchange
                    .note
                    .set(|n| n.answered_by = Some(who.into()));
                answer::json(StatusCode::OK, list)
            }
            Route::Model(id) if read => self.model(&id).await,
            Route::Call(_) | Route::Models | Route::Model(_) => {
                self.caller.metrics.drift("llm", "method");
                let body = ErrorBody {
                    message: format!(
                        "{method} is not for this path, use POST for completions and GET for models"
                    ),
                    kind: "invalid_request_error",
                    code: "method_not_allowed",
                };
                answer::error(StatusCode::METHOD_NOT_ALLOWED, &body, false)
            }
            Route::Unknown => {
                let shape = shape_of_path(request.parts.uri.path());
                self.caller.metrics.drift_of("llm", "route", shape);
                let body = ErrorBody {
                    message: "no such path; there are /v1/chat/completions, /v1/completions, /v1/embeddings \
                              and /v1/models"
                        .to_owned(),
                    kind: "invalid_request_error",
                    code: "unknown_url",
                };
                answer::error(StatusCode::NOT_FOUND, &body, false)
            }
        }
    }

    async fn call(&self, operation: Operation, request: LocalRequest) -> LocalResponse {
        let LocalRequest {
            parts,
            body,
            exchange,
        } = request;
        let (asked, rewrite) = match Request::parse(operation, &body) {
            Ok(view) => {
                let asked = self.asked(&view, &parts.headers, &exchange);
                (asked, view.rewrite())
            }
            Err(error) => {
                let problem = Problem::from(error);
                return answer::error(StatusCode::BAD_REQUEST, &problem.to_error(), false);
            }
        };
        let call = Call {
            operation,
            stream: asked.stream,
            body,
            rewrite,
            first_byte: first_byte(&parts.headers, self.caller.settings.timeouts.first_byte),
            max_whole: call::MAX_WHOLE,
            egress: exchange.egress,
            note: exchange.note,
        };
        let calling = self.calling(call);
        if asked.stream {
            self.streamed(asked, calling).await
        } else {
            self.whole(asked, calling).await
        }
    }

    /// The call, with the record that is written however it ends.
    fn calling(&self, call: Call) -> Calling {
        let mut record = CallRecord::new(self.caller.metrics.clone(), call.operation);
        let caller = self.caller.clone();
        Box::pin(async move {
            let result = caller.call(&call, &mut record).await;
            if let Err(problem) = &result {
                call.note.set(|fields| {
                    fields.answered_by = Some("airlock".into());
                    fields.detail = Some(problem.code().to_owned());
                });
            }
            (result, record)
        })
    }

    fn asked(&self, view: &Request<'_>, headers: &HeaderMap, exchange: &Exchange) -> Asked {
        let settings = &self.caller.settings;
        let agents_sdk = headers
            .get(header::USER_AGENT)
            .is_some_and(|agent| agent.as_bytes().starts_with(b"Agents/"));
        let plugin = view.operation == Operation::Chat
            && settings.plugin_hosts.contains(&exchange.authority.host)
            && (headers.contains_key("x-session-id") || view.agent.is_some() || agents_sdk);
        let in_chat = view.stream
            && view.operation == Operation::Chat
            && match settings.error_style {
                ErrorStyle::Auto => plugin,
                ErrorStyle::Http => false,
                ErrorStyle::Chat => true,
            };
        let tone = if in_chat {
            Tone::Chat
        } else {
            // The plugin's unstreamed calls block ComfyUI's event loop (WIRE.md 3).
            Tone::Http { no_retry: plugin }
        };
        let options = AnswerOptions {
            operation: view.operation,
            meta: new_meta(exchange.id, view.model.as_deref().unwrap_or("local")),
            strip_think: settings.strip_think,
            offered: in_chat.then(|| view.tools.clone()),
            explain_empty: in_chat,
        };
        Asked {
            operation: view.operation,
            stream: view.stream && view.operation != Operation::Embeddings,
            tone,
            options,
        }
    }

    async fn streamed(&self, asked: Asked, mut calling: Calling) -> LocalResponse {
        let Asked { tone, options, .. } = asked;
        let timeouts = self.caller.settings.timeouts;
        let metrics = self.caller.metrics.clone();
        match tokio::time::timeout(timeouts.hold_head, &mut calling).await {
            Ok((Ok(answered), record)) => {
                let live = Live::new(options, tone, timeouts, metrics).answered(answered, record);
                answer::live_stream(live.into_stream())
            }
            Ok((Err(problem), mut record)) => {
                record.failed(problem.metric());
                answer::problem(&problem, tone, &options.meta)
            }
            Err(_) => {
                let live = Live::new(options, tone, timeouts, metrics).calling(calling);
                answer::live_stream(live.into_stream())
            }
        }
    }

    /// A list for a page that must not be left waiting or empty-handed (WIRE.md 1).
    /// The list as JSON, and whether the LLM gave it.
    async fn models(&self) -> (String, bool) {
        let preferred = self.preferred();
        let listing = self.listing().await.filter(|list| !list.models.is_empty());
        let from_llm = listing.is_some();
        let known = match listing {
            Some(list) => list,
            None => {
                let only = match &preferred {
                    Some(model) => Model::named(model.clone()),
                    None => Model::owned(NO_MODEL, "airlock"),
                };
                ModelList { models: vec![only] }
            }
        };
        (known.to_json(preferred.as_deref()), from_llm)
    }

    async fn model(&self, id: &str) -> LocalResponse {
        let list = self.listing().await.unwrap_or_default();
        let aliases = &self.caller.settings.aliases;
        let found = list.find(id).cloned().or_else(|| {
            let known = aliases.exact.contains_key(id) || self.preferred().as_deref() == Some(id);
            known.then(|| Model::named(id))
        });
        match found {
            Some(model) => answer::json(StatusCode::OK, model.to_json()),
            None => {
                let body = ErrorBody {
                    message: "no such model; GET /v1/models lists them".to_owned(),
                    kind: "invalid_request_error",
                    code: "model_not_found",
                };
                answer::error(StatusCode::NOT_FOUND, &body, false)
            }
        }
    }

    fn preferred(&self) -> Option<String> {
        let settings = &self.caller.settings;
        settings
            .model
            .clone()
            .or_else(|| match &settings.aliases.catch_all {
                CatchAll::Model(model) => Some(model.clone()),
                CatchAll::First | CatchAll::Off => None,
            })
    }

    /// The newest list that can be had in time, else the last known one.
    async fn listing(&self) -> Option<ModelList> {
        let directory = &self.caller.directory;
        // The look has this bound itself and keeps what it learnt, unless it is cut before.
        let bound = self.caller.settings.timeouts.models + LOOK_MARGIN;
        let listed = match tokio::time::timeout(bound, directory.listed()).await {
            Ok(Ok(upstream)) => upstream.models.clone(),
            Ok(Err(_)) | Err(_) => None,
        };
        listed.or_else(|| directory.last_known()?.models.clone())
    }
}

#[async_trait]
impl Handler for Gateway {
    async fn handle(&self, request: LocalRequest) -> LocalResponse {
        let caller = self.origins.judge(&request.parts.headers);
        if request.parts.method == Method::OPTIONS {
            return cors::preflight(&request.parts, &caller);
        }
        if caller == Caller::Stranger {
            // A web site the user merely visits has no business with the user's LLM.
            return cors::dress(cors::refuse(), &caller);
        }
        cors::dress(self.answer(request).await, &caller)
    }

    fn max_body(&self) -> usize {
        MAX_BODY
    }
}

/// Fields of an answer made here.
fn new_meta(id: Uuid, model: &str) -> Meta {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Meta {
        id: format!("chatcmpl-{}", id.simple()),
        created: now.as_secs(),
        model: model.chars().take(200).collect(),
    }
}

/// How long the head of an answer may take: an SDK that gives up earlier is answered before it does.
fn first_byte(headers: &HeaderMap, configured: Duration) -> Duration {
    let asked = headers
        .get("x-stainless-read-timeout")
        .and_then(|v| v.to_str().ok()?.parse::<f64>().ok())
        .and_then(|seconds| Duration::try_from_secs_f64(seconds * 0.95).ok())
        .filter(|d| !d.is_zero());
    asked.map_or(configured, |asked| asked.min(configured))
}

#[cfg(test)]
pub(crate) mod tests;
