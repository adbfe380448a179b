//! The vendor's endpoints for the page (WIRE.md 10 to 18), on both vendor hosts.
//!
//! | file | answers |
//! |---|---|
//! | `route` | which endpoint, and what is expected of a request to it |
//! | `invoke` | intents: lines of JSON, the last one finished (13) |
//! | `explained`, `downstream` | a node explained; what fits behind a node |
//! | `chains` | what people put behind a node, as the workflows here have it |
//! | `node_info` | where nodes come from that are not installed (15) |
//! | `optimize` | the workflow behind a card, its settings fitted to a request (14) |
//! | `sd_prompts` | variations of a prompt (18) |
//! | `announcement` | what Airlock did for whoever asks (11) |
//! | `account` | a signed key in place of an account (17) |
//! | `upload` | a picture for the chat (16) |
//! | `picture` | the picture on the card of a workflow that was made here |
//! | `own_key` | the OpenAI key of the plugin's settings, sealed for us: for whom it is opened (10, 14) |
//!
//! Facts come from the user's own ComfyUI, words from the user's own LLM, and each feature has a floor
//! without one. What cannot be done is said in the words and the shape that the page shows, never by a
//! silence that leaves a spinner. Of the credentials that the page sends along none is read here but that one.

mod account;
mod announcement;
mod chains;
mod downstream;
mod explained;
mod invoke;
mod node_info;
mod optimize;
mod own_key;
mod picture;
mod route;
mod sd_prompts;
mod upload;

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use http::{Method, StatusCode};
use serde_json::json;

use self::{announcement::Announced, route::Route, upload::MAX_PICTURE};
use super::{
    asking::Asking,
    fields::Fields,
    http::{failure, method_not_allowed, note, success},
    language::{Language, Phrase},
    made::MadeWorkflows,
    manager_lists::ManagerLists,
    rsa_key::RsaKey,
    sink,
};
use crate::{
    comfyui::ComfyUi,
    front_door::ReceiptSource,
    gateway::provider::Provider,
    handler::{
        Handler, LocalBody, LocalRequest, LocalResponse,
        cors::{self, Caller, OriginPolicy},
    },
    metrics::{
        Metrics,
        drift::{shape_of_body, shape_of_path},
    },
    session::Identity,
};

const BAD_REQUEST: Phrase = Phrase {
    en: "Airlock could not read this request.",
    zh: "Airlock 无法读取此请求。",
};
const NO_KEY: Phrase = Phrase {
    en: "Airlock could not make an RSA key. See its log.",
    zh: "Airlock 无法生成 RSA 密钥，请查看其日志。",
};
const NO_ROUTE: Phrase = Phrase {
    en: "Airlock does not know this endpoint and did not ask the vendor.",
    zh: "Airlock 不认识此接口，也没有请求云端服务。",
};

/// What the stand-in is made of.
pub struct CopilotDeps {
    /// Pages that may read answers.
    pub origins: OriginPolicy,
    pub metrics: Arc<Metrics>,
    pub asking: Arc<Asking>,
    /// Whom the page's own key may be shown to.
    pub providers: Vec<Arc<Provider>>,
    /// `None`: it is turned off.
    pub comfyui: Option<Arc<ComfyUi>>,
    pub manager_lists: ManagerLists,
    /// Workflows that the chat's tools made.
    pub made: Arc<MadeWorkflows>,
    pub identity: Arc<Identity>,
    pub receipts: Arc<dyn ReceiptSource>,
}

pub struct CopilotResponder {
    rsa_key: RsaKey,
    origins: OriginPolicy,
    metrics: Arc<Metrics>,
    asking: Arc<Asking>,
    providers: Vec<Arc<Provider>>,
    comfyui: Option<Arc<ComfyUi>>,
    manager_lists: Arc<ManagerLists>,
    made: Arc<MadeWorkflows>,
    identity: Arc<Identity>,
    receipts: Arc<dyn ReceiptSource>,
    announced: Announced,
    keys_left: own_key::Left,
}

impl CopilotResponder {
    /// `state_dir` holds the RSA key.
    pub fn new(state_dir: &Path, deps: CopilotDeps) -> Self {
        let CopilotDeps {
            origins,
            metrics,
            asking,
            providers,
            comfyui,
            manager_lists,
            made,
            identity,
            receipts,
        } = deps;
        Self {
            rsa_key: RsaKey::in_folder(state_dir),
            origins,
            metrics,
            asking,
            providers,
            comfyui,
            manager_lists: Arc::new(manager_lists),
            made,
            identity,
            receipts,
            announced: Announced::default(),
            keys_left: own_key::Left::default(),
        }
    }

    /// Reads or makes the RSA key ahead of the first request. Worth a background task at start.
    pub async fn prepare(&self) {
        if let Err(e) = self.rsa_key.public_pem().await {
            tracing::warn!(error = %e, "no rsa key");
        }
    }

    async fn answer(&self, request: &LocalRequest, language: Language) -> LocalResponse {
        let say = |phrase: Phrase| phrase.in_language(language);
        let exchange = &request.exchange;
        let Some(route) = Route::of(request.parts.uri.path()) else {
            let shape = shape_of_path(request.parts.uri.path());
            self.metrics.drift_of("copilot", "route", shape);
            note(exchange, "stand-in", "unknown route");
            return failure(StatusCode::NOT_FOUND, say(NO_ROUTE));
        };
        if !route.takes(&request.parts.method) {
            self.metrics.drift("copilot", "method");
            note(exchange, "stand-in", "method refused");
            return method_not_allowed(route.allow());
        }
        let fields = self.fields(route, request);
        let tell = |detail: &str| note(exchange, "stand-in", detail);
        match route {
            Route::RsaPublicKey => match self.rsa_key.public_pem().await {
                Ok(pem) => {
                    tell("rsa public key");
                    success(json!(&*pem))
                }
                Err(e) => {
                    tracing::warn!(error = %e, "no rsa key");
                    tell("no rsa key");
                    failure(StatusCode::OK, say(NO_KEY))
                }
            },
            Route::Announcement => self.announcement(exchange, language),
            Route::TrackEvent => sink::drop_event(request, &self.metrics),
            Route::Invoke => self.invoke(fields, exchange, language),
            Route::OptimizedWorkflow => {
                let own_key = self.own_key(request).await;
                self.optimized(fields, own_key, exchange, language).await
            }
            Route::NodeInfo => {
                self.drop_own_key(request);
                self.node_info(fields, exchange, language).await
            }
            Route::ImageUpload => match upload::data_url(request) {
                Ok(url) => {
                    tell("1 image kept local");
                    success(json!(url))
                }
                Err(why) => {
                    tell("upload refused");
                    failure(StatusCode::OK, say(why))
                }
            },
            Route::Picture => {
                let path = request.parts.uri.path();
                self.picture(path, &request.parts.method, exchange)
            }
            Route::UserCreate => self.account(exchange, language).await,
            Route::SdPrompts => self.sd_prompts(fields, exchange, language).await,
        }
    }

    /// The members of the body, where it has any that are looked at; what is new in it is drift.
    fn fields<'r>(&self, route: Route, request: &'r LocalRequest) -> Option<Fields<'r>> {
        let known = route.known_fields()?;
        let fields = Fields::parse(&request.body);
        if fields.as_ref().is_none_or(|f| f.has_other_than(known)) {
            let path = request.parts.uri.path();
            let shape = format!("{path} {}", shape_of_body(&request.body));
            self.metrics.drift_of("copilot", "field", shape);
        }
        fields
    }
}

#[async_trait]
impl Handler for CopilotResponder {
    async fn handle(&self, request: LocalRequest) -> LocalResponse {
        let caller = self.origins.judge(&request.parts.headers);
        if request.parts.method == Method::OPTIONS {
            note(&request.exchange, "stand-in", "preflight");
            return cors::preflight(&request.parts, &caller);
        }
        if caller == Caller::Stranger {
            note(&request.exchange, "stand-in", "origin refused");
            return cors::dress(cors::refuse(), &caller);
        }
        let language = Language::of(&request.parts.headers);
        let response = self.answer(&request, language).await;
        let response = if request.parts.method == Method::HEAD {
            response.map(|_| LocalBody::Empty)
        } else {
            response
        };
        cors::dress(response, &caller)
    }

    /// A picture at its limit and the form around it; what is larger than the picture's limit
    /// but fits here gets an answer that the page can read.
    fn max_body(&self) -> usize {
        MAX_PICTURE + (4 << 20)
    }
}

#[cfg(test)]
mod tests;
