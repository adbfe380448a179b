//! ModelScope's search and download endpoints (WIRE.md 6 and 7): nothing found, nothing fetched.
//!
//! The plugin calls some of these from ComfyUI's own event loop and tries again on 429 and 5xx,
//! which freezes ComfyUI for seconds: no answer here has such a status, and none waits.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, StatusCode};
use serde_json::json;

use super::{
    fields::Fields,
    http::{json, method_not_allowed, note},
};
use crate::{
    handler::{Exchange, Handler, LocalRequest, LocalResponse},
    metrics::Metrics,
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
const NOT_SEARCHED: &str = "airlock keeps this search on your machine: ModelScope was not asked";
const NOT_DOWNLOADED: &str = "airlock keeps model downloads off: ModelScope was not asked. \
     Put the file into ComfyUI's models folder yourself, or allow modelscope.cn in airlock's rules";
const NOT_KNOWN: &str = "airlock does not know this ModelScope endpoint and did not ask ModelScope";

pub struct ModelScopeResponder {
    metrics: Arc<Metrics>,
}

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Search,
    Suggest,
    /// A model's card, files, revisions, or one file.
    Model,
    /// The same by the newer API, with an error shape of its own.
    OpenApiModel,
    Acceleration,
    Unknown,
}

impl Route {
    fn of(path: &str) -> Self {
        let parts: Vec<&str> = path.trim_matches('/').splitn(8, '/').collect();
        match parts.as_slice() {
            ["api", "v1", "dolphin", "models"] => Route::Search,
            ["api", "v1", "dolphin", "model", "suggestv2"] => Route::Suggest,
            ["api", "v1", "repos", "internalAccelerationInfo"] => Route::Acceleration,
            ["api", "v1", "models", _, _]
            | ["api", "v1", "models", _, _, "repo" | "revisions"]
            | ["api", "v1", "models", _, _, "repo", "files"] => Route::Model,
            ["openapi", "v1", "models", _, _, ..] => Route::OpenApiModel,
            _ => Route::Unknown,
        }
    }

    fn allow(self) -> &'static str {
        match self {
            Route::Search => "PUT",
            Route::Suggest => "POST",
            Route::Model | Route::OpenApiModel | Route::Acceleration => "GET, HEAD",
            Route::Unknown => "",
        }
    }

    fn detail(self) -> &'static str {
        match self {
            Route::Search | Route::Suggest => "empty search result",
            Route::Model | Route::OpenApiModel => "model not fetched",
            Route::Acceleration => "no acceleration",
            Route::Unknown => "unknown route",
        }
    }
}

impl ModelScopeResponder {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics }
    }

    fn watch_fields(&self, body: &[u8]) {
        if Fields::parse(body).is_none_or(|f| f.has_other_than(&SEARCH_FIELDS)) {
            self.metrics.drift("model_scope", "field");
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
        let response = match route {
            Route::Search => {
                self.watch_fields(&body);
                found_nothing("Models", &exchange)
            }
            Route::Suggest => {
                self.watch_fields(&body);
                found_nothing("Suggests", &exchange)
            }
            Route::Model | Route::Acceleration => not_found(NOT_DOWNLOADED, &exchange),
            Route::OpenApiModel => json(
                StatusCode::NOT_FOUND,
                &json!({
                    "success": false,
                    "code": "ResourceNotFound",
                    "message": NOT_DOWNLOADED,
                    "request_id": exchange.id.to_string(),
                }),
            ),
            Route::Unknown => {
                self.metrics.drift("model_scope", "route");
                not_found(NOT_KNOWN, &exchange)
            }
        };
        if parts.method == Method::HEAD {
            return response.map(|_| crate::handler::LocalBody::Empty);
        }
        response
    }

    fn max_body(&self) -> usize {
        1 << 20
    }
}

fn found_nothing(list: &str, exchange: &Exchange) -> LocalResponse {
    json(
        StatusCode::OK,
        &json!({
            "Code": 200,
            "Success": true,
            "Message": NOT_SEARCHED,
            "RequestId": exchange.id.to_string(),
            "Data": {"Model": {list: [], "TotalCount": 0}},
        }),
    )
}

/// ModelScope's error shape; the SDK takes `Message` into its exception, and the plugin into the
/// download's `error_message`, which the page shows.
fn not_found(message: &str, exchange: &Exchange) -> LocalResponse {
    json(
        StatusCode::NOT_FOUND,
        &json!({
            "Code": 404,
            "Success": false,
            "Message": message,
            "RequestId": exchange.id.to_string(),
            "Data": null,
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::test_support::{body_json, request};

    const SEARCH: &str = r#"{"PageSize":30,"PageNumber":1,"SortBy":"Default","Target":"","SingleCriterion":[],"Name":"pose","Criterion":null}"#;

    #[tokio::test]
    async fn every_route_is_answered_at_once_and_never_invites_a_retry() {
        for (row, method, uri, body, status, pointer, want, drift) in [
            (
                "search finds nothing",
                "PUT",
                "/api/v1/dolphin/models",
                SEARCH,
                200,
                "/Data/Model/Models",
                json!([]),
                "",
            ),
            (
                "search says that it did not ask",
                "PUT",
                "/api/v1/dolphin/models",
                SEARCH,
                200,
                "/Message",
                json!(NOT_SEARCHED),
                "",
            ),
            (
                "suggestions are empty",
                "POST",
                "/api/v1/dolphin/model/suggestv2",
                r#"{"Name":"pose"}"#,
                200,
                "/Data/Model/Suggests",
                json!([]),
                "",
            ),
            (
                "a field that is new to us",
                "PUT",
                "/api/v1/dolphin/models",
                r#"{"Name":"pose","UserId":7}"#,
                200,
                "/Success",
                json!(true),
                "field",
            ),
            (
                "a model's card",
                "GET",
                "/api/v1/models/InstantX/SD3-Controlnet-Pose",
                "",
                404,
                "/Message",
                json!(NOT_DOWNLOADED),
                "",
            ),
            (
                "a model's card by the newer API",
                "GET",
                "/openapi/v1/models/InstantX/SD3-Controlnet-Pose",
                "",
                404,
                "/code",
                json!("ResourceNotFound"),
                "",
            ),
            (
                "the list of files",
                "GET",
                "/api/v1/models/a/b/repo/files?Revision=master&Recursive=True",
                "",
                404,
                "/Success",
                json!(false),
                "",
            ),
            (
                "a file",
                "GET",
                "/api/v1/models/a/b/repo?Revision=master&FilePath=model.safetensors",
                "",
                404,
                "/Code",
                json!(404),
                "",
            ),
            (
                "revisions, as modelscope 1.33 asks",
                "GET",
                "/api/v1/models/a/b/revisions",
                "",
                404,
                "/Code",
                json!(404),
                "",
            ),
            (
                "acceleration",
                "GET",
                "/api/v1/repos/internalAccelerationInfo",
                "",
                404,
                "/Code",
                json!(404),
                "",
            ),
            (
                "an unknown route",
                "POST",
                "/api/v1/login",
                r#"{"AccessToken":"x"}"#,
                404,
                "/Message",
                json!(NOT_KNOWN),
                "route",
            ),
            (
                "a wrong method",
                "DELETE",
                "/api/v1/models/a/b",
                "",
                405,
                "/success",
                json!(false),
                "method",
            ),
        ] {
            let metrics = Arc::new(Metrics::new());
            let responder = ModelScopeResponder::new(metrics.clone());
            let response = responder
                .handle(request("www.modelscope.cn", method, uri, &[], body))
                .await;
            assert_eq!(response.status(), status, "{row}");
            let body = body_json(response).await;
            assert_eq!(body.pointer(pointer), Some(&want), "{row}: {body}");
            let exposed = metrics.render();
            match drift {
                "" => assert!(!exposed.contains("airlock_standin_drift_total{"), "{row}"),
                kind => assert!(exposed.contains(&format!("kind=\"{kind}\"")), "{row}"),
            }
        }
    }
}
