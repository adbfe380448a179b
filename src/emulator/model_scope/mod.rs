//! ModelScope's endpoints (WIRE.md 6 and 7), answered from the model sources of `models`.
//!
//! | file | what |
//! |---|---|
//! | [`route`] | what a path asks for |
//! | [`shape`] | ModelScope's JSON |
//! | [`file`](mod@file) | a file, with `Range`, streamed through |
//!
//! The plugin searches from ComfyUI's own event loop and tries again on 429 and 5xx, which freezes ComfyUI
//! for seconds: an answer to it has no such status, and comes within two seconds. Only files, which the SDK
//! fetches in a thread, may say "later".

mod file;
mod route;
mod shape;

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value, json};

use self::route::{Part, Route};
use super::{
    fields::Fields,
    http::{json, method_not_allowed, note},
};
use crate::{
    handler::{Exchange, Handler, LocalRequest, LocalResponse},
    metrics::Metrics,
    models::{Library, Requester, SourceError},
    weights::{ModelId, Query, Source},
};

const SEARCH_FIELDS: [&str; 7] = [
    "PageSize",
    "PageNumber",
    "SortBy",
    "Target",
    "SingleCriterion",
    "Name",
    "Criterion",
];
/// The plugin asks for 30.
const PAGE: u64 = 50;
/// The plugin asks for the card of each, one by one, while ComfyUI stands still.
const SUGGESTED: usize = 10;
const NOT_OURS: &str = "airlock did not ask ModelScope, and none of its model sources has a model of \
     this name: search in the model dialog and choose one from its list";
const NOT_KNOWN: &str = "airlock does not know this ModelScope endpoint and did not ask ModelScope";

pub struct ModelScopeResponder {
    library: Arc<Library>,
    metrics: Arc<Metrics>,
}

/// Who asks: what each shows of an error differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    /// modelscope up to 1.3x: throws the body of an error status away, and shows `Message` of a 200 whose
    /// `Code` is no 200.
    OldSdk,
    /// modelscope_hub shows `Message` of any error status; the plugin itself logs it.
    Other,
}

impl Asker {
    fn of(headers: &HeaderMap) -> Self {
        let agent = headers
            .get(header::USER_AGENT)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default();
        match agent.starts_with("modelscope/") {
            true => Asker::OldSdk,
            false => Asker::Other,
        }
    }
}

impl ModelScopeResponder {
    pub fn new(library: Arc<Library>, metrics: Arc<Metrics>) -> Self {
        Self { library, metrics }
    }

    fn watch_fields(&self, body: &[u8]) {
        if Fields::parse(body).is_none_or(|f| f.has_other_than(&SEARCH_FIELDS)) {
            self.metrics.drift("model_scope", "field");
        }
    }

    async fn search(&self, body: &[u8], list: List, exchange: &Exchange) -> LocalResponse {
        self.watch_fields(body);
        let fields = Fields::parse(body);
        let read = |name: &str| fields.as_ref()?.read::<u64>(name);
        let typed = fields.as_ref().and_then(|f| f.read::<String>("Name"));
        let query = typed.as_deref().and_then(Query::of);
        let most = match list {
            List::Models => read("PageSize").unwrap_or(30).clamp(1, PAGE) as usize,
            List::Suggests => SUGGESTED,
        };
        let first_page = read("PageNumber").unwrap_or(1) <= 1;
        let by = Requester(exchange.client);
        let found = match query.filter(|_| first_page) {
            Some(query) => self.library.search(&query, most, by).await,
            None => Default::default(),
        };
        let asked: Vec<Source> = self.library.sources().collect();
        let hubs = asked.iter().any(|s| *s != Source::Local);
        let lines: Vec<Value> = match list {
            List::Models if first_page => shape::lines(&found, hubs),
            List::Models | List::Suggests => found.summaries.iter().map(shape::card).collect(),
        };
        let detail = format!("model search, {} found", found.summaries.len());
        note(exchange, "stand-in", detail);
        let data = json!({"Model": {list.name(): lines, "TotalCount": lines.len()}});
        good(data, &shape::message(&asked, &found), exchange)
    }

    async fn model(
        &self,
        id: &ModelId,
        part: Part,
        query: &str,
        headers: &HeaderMap,
        exchange: &Exchange,
    ) -> LocalResponse {
        let by = Requester(exchange.client);
        let asker = Asker::of(headers);
        match part {
            Part::Card => match self.library.summary(id, by).await {
                Ok(summary) => good(shape::card(&summary), "", exchange),
                // It would look for the model in another country, and say that there is none.
                Err(_) if asker == Asker::OldSdk => good(shape::bare_card(id), "", exchange),
                Err(e) => bad(StatusCode::NOT_FOUND, &e.to_string(), exchange),
            },
            Part::Revisions => good(shape::revisions(), "", exchange),
            Part::Files => match self.library.files(id, by).await {
                // The dialog shows no words of a download, only whether the model is here in the end. With
                // nothing left to fetch the SDK is done, and the dialog shows that.
                Err(here @ SourceError::AlreadyHere(_)) => {
                    note(exchange, "stand-in", "model is here already");
                    good(shape::no_files(), &here.to_string(), exchange)
                }
                Ok(details) => good(shape::files(&details), "", exchange),
                Err(e) => {
                    failed(exchange, &e);
                    match asker {
                        Asker::OldSdk => told(StatusCode::OK, 403, &e.to_string(), exchange),
                        Asker::Other => bad(status_of(&e), &e.to_string(), exchange),
                    }
                }
            },
            Part::File => {
                let path = route::value(query, "FilePath").unwrap_or_default();
                let range = headers.get(header::RANGE).and_then(|v| v.to_str().ok());
                file::answer(&self.library, id, &path, range, exchange).await
            }
        }
    }
}

/// Under which name hits are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    Models,
    Suggests,
}

impl List {
    fn name(self) -> &'static str {
        match self {
            List::Models => "Models",
            List::Suggests => "Suggests",
        }
    }
}

#[async_trait]
impl Handler for ModelScopeResponder {
    async fn handle(&self, request: LocalRequest) -> LocalResponse {
        let LocalRequest {
            parts,
            body,
            exchange,
        } = request;
        let route = Route::of(parts.uri.path());
        note(&exchange, "stand-in", route.detail());
        let known_method = route
            .allow()
            .split(", ")
            .any(|m| m == parts.method.as_str());
        if route != Route::Unknown && !known_method {
            self.metrics.drift("model_scope", "method");
            return method_not_allowed(route.allow());
        }
        let query = parts.uri.query().unwrap_or_default();
        let response = match route {
            Route::Search => self.search(&body, List::Models, &exchange).await,
            Route::Suggest => self.search(&body, List::Suggests, &exchange).await,
            Route::Model(Some(id), Part::File) if parts.method == Method::HEAD => {
                file::head(&self.library, &id, query, &exchange).await
            }
            Route::Model(Some(id), part) => {
                self.model(&id, part, query, &parts.headers, &exchange)
                    .await
            }
            Route::Model(None, _) | Route::Acceleration => {
                bad(StatusCode::NOT_FOUND, NOT_OURS, &exchange)
            }
            Route::OpenApiModel => json(
                StatusCode::NOT_FOUND,
                &json!({
                    "success": false,
                    "code": "ResourceNotFound",
                    "message": NOT_OURS,
                    "request_id": exchange.id.to_string(),
                }),
            ),
            Route::Unknown => {
                self.metrics.drift("model_scope", "route");
                bad(StatusCode::NOT_FOUND, NOT_KNOWN, &exchange)
            }
        };
        if parts.method == Method::HEAD {
            return file::without_body(response);
        }
        response
    }

    fn max_body(&self) -> usize {
        1 << 20
    }
}

fn good(data: Value, message: &str, exchange: &Exchange) -> LocalResponse {
    json(
        StatusCode::OK,
        &json!({
            "Code": 200,
            "Success": true,
            "Message": message,
            "RequestId": exchange.id.to_string(),
            "Data": data,
        }),
    )
}

/// ModelScope's error shape; the SDK takes `Message` into its exception, and the plugin into the
/// download's `error_message`, which the page shows.
fn bad(status: StatusCode, message: &str, exchange: &Exchange) -> LocalResponse {
    told(status, status.as_u16(), message, exchange)
}

fn told(status: StatusCode, code: u16, message: &str, exchange: &Exchange) -> LocalResponse {
    json(
        status,
        &json!({
            "Code": code,
            "Success": false,
            "Message": message,
            "RequestId": exchange.id.to_string(),
            "Data": null,
        }),
    )
}

/// For a list of files: a status that no SDK repeats.
fn status_of(error: &SourceError) -> StatusCode {
    match error {
        SourceError::NotKnown | SourceError::NoWeights => StatusCode::NOT_FOUND,
        _ if error.passes() => StatusCode::FAILED_DEPENDENCY,
        _ => StatusCode::FORBIDDEN,
    }
}

/// One of our own words, for the audit record.
fn failed(exchange: &Exchange, error: &SourceError) {
    note(exchange, "stand-in", format!("no model: {}", error.code()));
}

#[cfg(test)]
mod tests;
