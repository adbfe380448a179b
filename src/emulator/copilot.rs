//! The vendor's endpoints for the page (WIRE.md 10 to 18), on both vendor hosts.
//!
//! What is not there yet is said in the words and the shape that the page shows, never by a
//! silence that leaves a spinner. Where the page shows no words of ours (18: after three tries it
//! prints its own "Failed to generate text variations"), a failure is still the honest answer.
//! No credential that the page sends along is read here.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::stream;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::{
    fields::Fields,
    http::{failure, method_not_allowed, ndjson, note, success},
    language::{Language, Phrase},
    multipart,
    picture::PictureKind,
    rsa_key::RsaKey,
    sink,
};
use crate::{
    handler::{
        Handler, LocalBody, LocalRequest, LocalResponse,
        cors::{self, Caller, OriginPolicy},
    },
    metrics::{
        Metrics,
        drift::{name_of, shape_of_body, shape_of_path},
    },
};

/// Largest picture that is turned into a data URL.
const MAX_PICTURE: usize = 20 << 20;
/// Node types answered at once, and their longest name; far above any workflow.
const MAX_NODE_TYPES: usize = 1024;
const MAX_NODE_TYPE_BYTES: usize = 256;
const MAX_SESSION_ID_BYTES: usize = 128;

/// Intents of the shipped page (WIRE.md 13).
const INTENTS: [&str; 3] = ["downstream_subgraph_search", "node_explain", "node_params"];

const ANNOUNCEMENT: Phrase = Phrase {
    en: "**Airlock** answers for ComfyUI-Copilot on this machine. Chats go to your own LLM; \
         telemetry is dropped. Some features of the vendor's service are not \
         available locally yet.",
    zh: "**Airlock** 正在本机代替 ComfyUI-Copilot 的云端服务。聊天会发送到您自己的大模型，\
         遥测数据会被丢弃。部分云端功能目前还没有本地版本。",
};
const INTENT_NOT_HERE: Phrase = Phrase {
    en: "This feature is not available locally yet. Airlock did not send your request to the \
         vendor. You can ask the same question in the chat.",
    zh: "此功能目前还没有本地版本。Airlock 没有把您的请求发送给云端服务。您可以在聊天中提出同样的问题。",
};
const WORKFLOW_NOT_HERE: Phrase = Phrase {
    en: "Loading a workflow from a card is not available locally yet. Airlock did not ask the vendor.",
    zh: "目前还不能在本地从卡片加载工作流。Airlock 没有请求云端服务。",
};
const PROMPTS_NOT_HERE: Phrase = Phrase {
    en: "AI writing is not available locally yet. Airlock did not send your text to the vendor.",
    zh: "AI 写作目前还没有本地版本。Airlock 没有把您的文字发送给云端服务。",
};
const NO_ACCOUNT: Phrase = Phrase {
    en: "No account is needed: Airlock answers on this machine. Your e-mail address was not sent to anyone.",
    zh: "无需注册：Airlock 在本机提供服务。您的邮箱地址没有发送给任何人。",
};
const BAD_REQUEST: Phrase = Phrase {
    en: "Airlock could not read this request.",
    zh: "Airlock 无法读取此请求。",
};
const NO_KEY: Phrase = Phrase {
    en: "Airlock could not make an RSA key. See its log.",
    zh: "Airlock 无法生成 RSA 密钥，请查看其日志。",
};
const NO_PICTURE: Phrase = Phrase {
    en: "The upload holds no picture: send a PNG, JPEG, WebP or GIF file.",
    zh: "上传内容不是图片：请使用 PNG、JPEG、WebP 或 GIF 文件。",
};
const PICTURE_TOO_LARGE: Phrase = Phrase {
    en: "The picture is too large: send one of at most 20 MiB.",
    zh: "图片过大：请使用不超过 20 MiB 的图片。",
};
const NO_ROUTE: Phrase = Phrase {
    en: "Airlock does not know this endpoint and did not ask the vendor.",
    zh: "Airlock 不认识此接口，也没有请求云端服务。",
};

pub struct CopilotResponder {
    rsa_key: RsaKey,
    origins: OriginPolicy,
    metrics: Arc<Metrics>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    RsaPublicKey,
    Announcement,
    TrackEvent,
    Invoke,
    OptimizedWorkflow,
    NodeInfo,
    ImageUpload,
    UserCreate,
    SdPrompts,
}

impl Route {
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/api/chat/rsa_public_key" => Route::RsaPublicKey,
            "/api/chat/announcement" => Route::Announcement,
            sink::TRACK_EVENT_PATH => Route::TrackEvent,
            "/api/chat/invoke" => Route::Invoke,
            "/api/chat/get_optimized_workflow" => Route::OptimizedWorkflow,
            "/api/chat/get_node_info_by_types" => Route::NodeInfo,
            "/api/chat/imgfile2oss" => Route::ImageUpload,
            "/api/user/create" => Route::UserCreate,
            "/api/param_debug/generate_sd_prompts" => Route::SdPrompts,
            _ => return None,
        })
    }

    fn allow(self) -> &'static str {
        match self {
            Route::RsaPublicKey | Route::Announcement => "GET, HEAD, OPTIONS",
            Route::TrackEvent
            | Route::Invoke
            | Route::OptimizedWorkflow
            | Route::NodeInfo
            | Route::ImageUpload
            | Route::UserCreate
            | Route::SdPrompts => "POST, OPTIONS",
        }
    }

    fn takes(self, method: &Method) -> bool {
        self.allow().split(", ").any(|m| m == method.as_str())
    }

    /// Members of the JSON body; none for a body that is no JSON or is not looked at here.
    fn known_fields(self) -> Option<&'static [&'static str]> {
        match self {
            Route::Invoke => Some(&[
                "session_id",
                "prompt",
                "mock",
                "intent",
                "ext",
                "messages",
                "images",
                "workflow_checkpoint_id",
            ]),
            Route::OptimizedWorkflow => Some(&["workflow_id", "prompt"]),
            Route::NodeInfo => Some(&["node_types"]),
            Route::UserCreate => Some(&["username", "email"]),
            Route::SdPrompts => Some(&["text"]),
            Route::RsaPublicKey | Route::Announcement | Route::TrackEvent | Route::ImageUpload => {
                None
            }
        }
    }
}

impl CopilotResponder {
    /// `state_dir` holds the RSA key; `origins` says which pages may read the answers.
    pub fn new(state_dir: &Path, origins: OriginPolicy, metrics: Arc<Metrics>) -> Self {
        Self {
            rsa_key: RsaKey::in_folder(state_dir),
            origins,
            metrics,
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
        let Some(route) = Route::of(request.parts.uri.path()) else {
            let shape = shape_of_path(request.parts.uri.path());
            self.metrics.drift_of("copilot", "route", shape);
            note(&request.exchange, "stand-in", "unknown route");
            return failure(StatusCode::NOT_FOUND, say(NO_ROUTE));
        };
        if !route.takes(&request.parts.method) {
            self.metrics.drift("copilot", "method");
            note(&request.exchange, "stand-in", "method refused");
            return method_not_allowed(route.allow());
        }
        let fields = match route.known_fields() {
            None => None,
            Some(known) => {
                let fields = Fields::parse(&request.body);
                if fields.as_ref().is_none_or(|f| f.has_other_than(known)) {
                    let path = request.parts.uri.path();
                    let shape = format!("{path} {}", shape_of_body(&request.body));
                    self.metrics.drift_of("copilot", "field", shape);
                }
                fields
            }
        };
        let tell = |detail: &str| note(&request.exchange, "stand-in", detail);
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
            Route::Announcement => {
                tell("announcement");
                success(json!(say(ANNOUNCEMENT)))
            }
            Route::TrackEvent => sink::drop_event(request, &self.metrics),
            Route::Invoke => {
                tell("intent not available locally");
                self.invoke(fields, language)
            }
            Route::OptimizedWorkflow => {
                tell("workflow not available locally");
                failure(StatusCode::OK, say(WORKFLOW_NOT_HERE))
            }
            Route::NodeInfo => {
                tell("no repository known");
                match fields.and_then(|f| f.read::<Vec<String>>("node_types")) {
                    Some(types) => success(node_info(types)),
                    None => failure(StatusCode::BAD_REQUEST, say(BAD_REQUEST)),
                }
            }
            Route::ImageUpload => match data_url(request) {
                Ok(url) => {
                    tell("1 image kept local");
                    success(json!(url))
                }
                Err(why) => {
                    tell("upload refused");
                    failure(StatusCode::OK, say(why))
                }
            },
            Route::UserCreate => {
                tell("no account made");
                failure(StatusCode::OK, say(NO_ACCOUNT))
            }
            Route::SdPrompts => {
                tell("prompts not available locally");
                failure(StatusCode::OK, say(PROMPTS_NOT_HERE))
            }
        }
    }

    /// Any answer but a `finished:true` line leaves the page's spinner turning (WIRE.md 13), so a
    /// body that cannot be read gets one too.
    fn invoke(&self, fields: Option<Fields<'_>>, language: Language) -> LocalResponse {
        let (status, phrase) = match &fields {
            Some(_) => (StatusCode::OK, INTENT_NOT_HERE),
            None => (StatusCode::BAD_REQUEST, BAD_REQUEST),
        };
        let intent: Option<String> = fields.as_ref().and_then(|f| f.read("intent"));
        if let Some(name) = intent.filter(|name| !INTENTS.contains(&name.as_str())) {
            self.metrics
                .drift_of("copilot", "intent", name_of(&name).to_owned());
        }
        let session_id = fields
            .and_then(|f| f.read::<String>("session_id"))
            .filter(|id| id.len() <= MAX_SESSION_ID_BYTES)
            .unwrap_or_default();
        let line = json!({
            "session_id": session_id,
            "text": phrase.in_language(language),
            "finished": true,
            "type": "message",
            "format": "markdown",
            "ext": null,
        });
        ndjson(status, stream::iter([line]))
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

/// Each type with no repository: the page lists it with a search link and offers to load the
/// graph all the same (WIRE.md 15).
fn node_info(types: Vec<String>) -> Value {
    types
        .into_iter()
        .filter(|name| name.len() <= MAX_NODE_TYPE_BYTES)
        .take(MAX_NODE_TYPES)
        .map(|name| json!({"name": name, "github_url": ""}))
        .collect()
}

/// The uploaded picture as a data URL, which the local LLM then gets as it is (WIRE.md 16). The
/// type is what the bytes are, whatever the form says: the page shows this URL as an image.
fn data_url(request: &LocalRequest) -> Result<String, Phrase> {
    let content_type = request
        .parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let parts = multipart::parse(content_type, &request.body).map_err(|_| BAD_REQUEST)?;
    let file = parts
        .iter()
        .find(|part| part.name == "file")
        .ok_or(NO_PICTURE)?;
    if file.content.len() > MAX_PICTURE {
        return Err(PICTURE_TOO_LARGE);
    }
    let kind = PictureKind::sniff(file.content).ok_or(NO_PICTURE)?;
    let mut url = format!("data:{};base64,", kind.mime());
    STANDARD.encode_string(file.content, &mut url);
    Ok(url)
}

#[cfg(test)]
mod tests;
