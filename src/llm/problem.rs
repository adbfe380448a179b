//! What goes wrong with a local LLM: the reason and the fix in plain words, and how it is told.
//!
//! The plugin shows nothing for any HTTP error (WIRE.md 2.4), so the same problem is told as a chat
//! message there and as an OpenAI error elsewhere. Upstream messages are quoted, bounded.

use std::time::Duration;

use super::{
    edit::{self, Object},
    reply::ErrorBody,
    request::RequestError,
};

/// Most characters of an upstream's own words that are quoted.
const MAX_QUOTE: usize = 600;

/// One failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No LLM is configured, and none was found.
    NoneFound { tried: Vec<String> },
    /// No connection: refused, no such name, policy.
    Unreachable { url: String, detail: String },
    /// TLS to the LLM failed.
    Tls { url: String, detail: String },
    /// Nothing came for that long.
    Slow { url: String, waited: Duration },
    /// The LLM broke off or closed without an answer.
    Broken { url: String, detail: String },
    /// What came is no OpenAI answer.
    NotOpenAi { url: String, detail: String },
    /// The LLM answered with an error.
    Refused(Refusal),
    /// The request itself cannot be read.
    BadRequest { detail: String },
}

/// An upstream's error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub url: String,
    pub status: u16,
    pub kind: RefusalKind,
    /// The upstream's own words.
    pub message: String,
    /// The model that was asked for.
    pub model: String,
    /// Models the upstream serves, if known.
    pub known_models: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    Key,
    ModelMissing,
    ContextTooLong,
    ToolsUnsupported,
    ImagesUnsupported,
    Template,
    RateLimited,
    Loading,
    Redirect,
    Other,
}

impl RefusalKind {
    /// Sorts an error answer by status and words of vLLM, llama.cpp, Ollama, LM Studio.
    pub fn classify(status: u16, message: &str) -> Self {
        let message = message.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|w| message.contains(w));
        if (300..400).contains(&status) {
            return RefusalKind::Redirect;
        }
        if status == 503 && says(&["loading"]) {
            return RefusalKind::Loading;
        }
        if says(&[
            "context length",
            "context_length",
            "context size",
            "context_size",
            "context window",
            "maximum context",
            "too many tokens",
            "prompt is too long",
            "n_ctx",
        ]) {
            return RefusalKind::ContextTooLong;
        }
        if says(&[
            "does not support tools",
            "tool choice",
            "tool-call-parser",
            "requires --jinja",
            "--jinja flag",
        ]) {
            return RefusalKind::ToolsUnsupported;
        }
        if says(&[
            "image input is not supported",
            "not a multimodal",
            "does not support image",
            "mmproj",
            "at most 0 image",
        ]) {
            return RefusalKind::ImagesUnsupported;
        }
        if matches!(status, 400 | 404)
            && says(&["model"])
            && says(&[
                "not found",
                "does not exist",
                "not exist",
                "no such",
                "not loaded",
                "no models loaded",
            ])
        {
            return RefusalKind::ModelMissing;
        }
        if says(&[
            "roles must alternate",
            "chat template",
            "jinja",
            "no user query",
        ]) {
            return RefusalKind::Template;
        }
        match status {
            401 | 403 => RefusalKind::Key,
            429 => RefusalKind::RateLimited,
            _ => RefusalKind::Other,
        }
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        Problem::BadRequest {
            detail: error.to_string(),
        }
    }
}

impl Problem {
    /// Kind for `airlock_llm_upstream_errors_total`.
    pub fn metric(&self) -> &'static str {
        match self {
            Problem::NoneFound { .. } => "no_upstream",
            Problem::Unreachable { .. } | Problem::Tls { .. } => "connect",
            Problem::Slow { .. } => "timeout",
            Problem::Broken { .. } => "mid_stream",
            Problem::NotOpenAi { .. } => "bad_answer",
            Problem::Refused(_) => "status",
            Problem::BadRequest { .. } => "bad_request",
        }
    }

    /// OpenAI's `code`.
    pub fn code(&self) -> &'static str {
        match self {
            Problem::NoneFound { .. } => "llm_not_found",
            Problem::Unreachable { .. } => "llm_unreachable",
            Problem::Tls { .. } => "llm_tls_failed",
            Problem::Slow { .. } => "llm_timeout",
            Problem::Broken { .. } => "llm_broke_off",
            Problem::NotOpenAi { .. } => "llm_bad_answer",
            Problem::BadRequest { .. } => "invalid_request",
            Problem::Refused(refusal) => match refusal.kind {
                RefusalKind::Key => "llm_key_refused",
                RefusalKind::ModelMissing => "model_not_found",
                RefusalKind::ContextTooLong => "context_length_exceeded",
                RefusalKind::ToolsUnsupported => "llm_without_tools",
                RefusalKind::ImagesUnsupported => "llm_without_images",
                RefusalKind::Template => "llm_template_refused",
                RefusalKind::RateLimited => "rate_limit_exceeded",
                RefusalKind::Loading => "llm_loading",
                RefusalKind::Redirect => "llm_redirects",
                RefusalKind::Other => "llm_error",
            },
        }
    }

    pub fn status(&self) -> u16 {
        match self {
            Problem::NoneFound { .. } => 503,
            Problem::Unreachable { .. } | Problem::Tls { .. } => 502,
            Problem::Broken { .. } | Problem::NotOpenAi { .. } => 502,
            Problem::Slow { .. } => 504,
            Problem::BadRequest { .. } => 400,
            Problem::Refused(refusal) => match refusal.kind {
                RefusalKind::Redirect => 502,
                // The client's credential is not the one that was refused.
                RefusalKind::Key => 502,
                RefusalKind::ContextTooLong => 400,
                RefusalKind::ModelMissing => 404,
                RefusalKind::ToolsUnsupported
                | RefusalKind::ImagesUnsupported
                | RefusalKind::Template
                | RefusalKind::RateLimited
                | RefusalKind::Loading
                | RefusalKind::Other => {
                    if (400..600).contains(&refusal.status) {
                        refusal.status
                    } else {
                        502
                    }
                }
            },
        }
    }

    /// True where the same request may well succeed in a moment.
    pub fn worth_retrying(&self) -> bool {
        match self {
            Problem::Broken { .. } => true,
            Problem::Refused(refusal) => match refusal.kind {
                RefusalKind::RateLimited | RefusalKind::Loading => true,
                RefusalKind::Other => refusal.status >= 500,
                RefusalKind::Key
                | RefusalKind::ModelMissing
                | RefusalKind::ContextTooLong
                | RefusalKind::ToolsUnsupported
                | RefusalKind::ImagesUnsupported
                | RefusalKind::Template
                | RefusalKind::Redirect => false,
            },
            Problem::NoneFound { .. }
            | Problem::Unreachable { .. }
            | Problem::Tls { .. }
            | Problem::Slow { .. }
            | Problem::NotOpenAi { .. }
            | Problem::BadRequest { .. } => false,
        }
    }

    /// Reason and fix, for a person.
    pub fn explain(&self) -> String {
        match self {
            Problem::NoneFound { tried } => format!(
                "Airlock found no local LLM (looked at {}). Start one (for example `ollama serve`, \
                 `llama-server`, `vllm serve`, or LM Studio's server), or set LOCAL_LLM_BASE_URL to its \
                 address. `airlock doctor` checks it.",
                if tried.is_empty() {
                    "no address, discovery is off".to_owned()
                } else {
                    tried.join(", ")
                }
            ),
            Problem::Unreachable { url, detail } => format!(
                "Airlock could not reach your local LLM at {url}: {}. Start it, or set LOCAL_LLM_BASE_URL to \
                 where it runs. `airlock doctor` checks it.",
                short(detail)
            ),
            Problem::Tls { url, detail } => format!(
                "Airlock reached your local LLM at {url}, but the secure connection failed: {}. If it has a \
                 private certificate, name its CA file in Airlock's configuration. `airlock doctor` checks it.",
                short(detail)
            ),
            Problem::Slow { url, waited } => format!(
                "Your local LLM at {url} gave nothing for {} seconds. It may be loading a model, busy with \
                 another request, or short of memory. Look at its log, wait and ask again, or raise the time \
                 allowed in Airlock's configuration.",
                waited.as_secs().max(1)
            ),
            Problem::Broken { url, detail } => format!(
                "Your local LLM at {url} broke off in the middle of its answer: {}. Its log says why; often it \
                 ran out of memory. Ask again.",
                short(detail)
            ),
            Problem::NotOpenAi { url, detail } => format!(
                "What answers at {url} is not an OpenAI-compatible LLM: {}. Set LOCAL_LLM_BASE_URL to the LLM's \
                 API address, which usually ends in /v1. `airlock doctor` checks it.",
                short(detail)
            ),
            Problem::BadRequest { detail } => {
                format!("The request could not be read: {}.", short(detail))
            }
            Problem::Refused(refusal) => refusal.explain(),
        }
    }

    pub fn to_error(&self) -> ErrorBody {
        let kind = match self.status() {
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "api_error",
        };
        ErrorBody {
            message: self.explain(),
            kind,
            code: self.code(),
        }
    }
}

impl Refusal {
    fn explain(&self) -> String {
        let Refusal {
            url,
            status,
            kind,
            message,
            model,
            known_models,
        } = self;
        let said = short(message);
        match kind {
            RefusalKind::Key => format!(
                "Your LLM at {url} refused Airlock's key (status {status}): {said}. Set LOCAL_LLM_API_KEY to a \
                 key it accepts."
            ),
            RefusalKind::ModelMissing => {
                let known: Vec<&str> = known_models.iter().map(|m| &**m).take(12).collect();
                let known = if known.is_empty() {
                    "It names no models: load or pull one first.".to_owned()
                } else {
                    format!("It serves: {}.", known.join(", "))
                };
                format!(
                    "Your local LLM at {url} does not have the model `{model}`. {known} Choose one in the chat's \
                     model list, or set the model in Airlock's configuration."
                )
            }
            RefusalKind::ContextTooLong => format!(
                "This conversation is longer than the context your local LLM was started with ({said}). Start \
                 the LLM with a larger context (vLLM `--max-model-len`, llama.cpp `-c`, Ollama `num_ctx`, LM \
                 Studio's context length), or start a new chat."
            ),
            RefusalKind::ToolsUnsupported => format!(
                "The model `{model}` at {url} cannot use tools the way it was started ({said}). Choose a model \
                 with tool calling; vLLM needs `--enable-auto-tool-choice --tool-call-parser …`, llama.cpp needs \
                 `--jinja`."
            ),
            RefusalKind::ImagesUnsupported => format!(
                "The model `{model}` at {url} cannot see images ({said}). Choose a vision model, or ask without \
                 the image."
            ),
            RefusalKind::Template => format!(
                "The chat template of `{model}` at {url} refused the conversation ({said}). Try another model, or \
                 start a new chat."
            ),
            RefusalKind::RateLimited => {
                format!(
                    "Your LLM at {url} is busy (status {status}): {said}. Wait a moment and ask again."
                )
            }
            RefusalKind::Loading => {
                format!(
                    "Your local LLM at {url} is still loading its model. Wait a moment and ask again."
                )
            }
            RefusalKind::Redirect => format!(
                "Your LLM at {url} answered with a redirect (status {status}), which Airlock does not follow. Set \
                 LOCAL_LLM_BASE_URL to the final address."
            ),
            RefusalKind::Other => format!(
                "Your local LLM at {url} answered with an error (status {status}): {said}. Its log says more; \
                 `airlock doctor` checks it."
            ),
        }
    }
}

/// The words of an error answer of any server: OpenAI's, Ollama's, FastAPI's, or plain text.
pub fn error_text(body: &str) -> String {
    let from_json = Object::parse(body).and_then(|object| {
        let inner = object.present("error").or_else(|| object.present("detail"));
        let text = match inner {
            Some(value) => edit::string(value)
                .or_else(|| Object::parse(value)?.string("message"))
                .map_or_else(|| value.to_owned(), |t| t.into_owned()),
            None => object.string("message")?.into_owned(),
        };
        Some(text)
    });
    match from_json {
        Some(text) => short(&text),
        None if body.trim_start().starts_with('<') => "it sent a web page".to_owned(),
        None if body.trim().is_empty() => "it said no more".to_owned(),
        None => short(body),
    }
}

/// One line, bounded, without control characters and without the full stop we add.
fn short(text: &str) -> String {
    let line: String = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|w| !w.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    let text = edit::head(&line, MAX_QUOTE);
    if text.len() < line.len() {
        format!("{text}…")
    } else {
        text.trim_end_matches('.').to_owned()
    }
}

#[cfg(test)]
mod tests;
