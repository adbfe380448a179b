//! One streamed completion, and everything that can be told from how it came.

use std::time::{Duration, Instant};

use http::{StatusCode, header};
use serde_json::Value;

use super::{Llm, whole};
use crate::{
    llm::{
        problem::{self, Problem, Refusal, RefusalKind},
        sse::Splitter,
    },
    net::BaseUrl,
    upstream::http_client::SendError,
};

/// Until the first byte: a server may load tens of gigabytes first.
const FIRST_BYTE: Duration = Duration::from_secs(180);
/// A question of ours never needs longer; what came until then is judged.
const IN_ALL: Duration = Duration::from_secs(120);
const MAX_FRAME: usize = 1 << 20;
const MAX_ERROR: usize = 64 << 10;
/// Enough to judge; a model that never stops is cut by [`IN_ALL`].
const MAX_TEXT: usize = 256 << 10;

/// What is asked; `model` and `stream` are added.
pub struct Question {
    pub body: Value,
}

/// An answer and its course. Times count from the request.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// When bytes with content arrived: one entry for each read, not for each event.
    pub arrivals: Vec<Duration>,
    /// Events with content.
    pub pieces: usize,
    pub text: String,
    /// From a field of its own (`reasoning_content`, `reasoning`).
    pub reasoning: String,
    /// Names of called functions.
    pub calls: Vec<String>,
    /// As the server counted.
    pub tokens: Option<u64>,
    pub finish: Option<String>,
    /// One JSON document in place of a stream.
    pub whole: bool,
    /// Neither `[DONE]` nor a finish reason came before the end.
    pub cut: bool,
    /// We ended it, because it took too long.
    pub stopped: bool,
}

pub async fn ask(llm: &Llm<'_>, question: &Question, idle: Duration) -> Result<Heard, Problem> {
    let url = llm.found.url.to_string();
    let mut body = question.body.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.insert("model".to_owned(), llm.model.into());
        fields.insert("stream".to_owned(), true.into());
        fields.insert(
            "stream_options".to_owned(),
            serde_json::json!({"include_usage": true}),
        );
    }
    let began = Instant::now();
    let slow = |waited| Problem::Slow {
        url: url.clone(),
        waited,
    };
    let mut response = tokio::time::timeout(FIRST_BYTE, llm.call("/chat/completions", &body))
        .await
        .map_err(|_| slow(FIRST_BYTE))?
        .map_err(|e| not_sent(e, &llm.found.url))?;
    if response.status != StatusCode::OK {
        let status = response.status.as_u16();
        let body = tokio::time::timeout(idle, whole(response, MAX_ERROR)).await;
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        return Err(refused(llm, status, &String::from_utf8_lossy(&body)));
    }
    let kind = response
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|k| k.to_str().ok());
    let mut heard = Heard {
        whole: kind.is_some_and(|k| k.starts_with("application/json")),
        ..Heard::default()
    };
    let mut document = Vec::new();
    let mut frames = Splitter::new(MAX_FRAME);
    let mut done = false;
    while !done {
        // The first piece after the head may be the first token of a loading server.
        let wait = if heard.pieces == 0 {
            FIRST_BYTE.max(idle)
        } else {
            idle
        };
        let chunk = match tokio::time::timeout(wait, response.body.chunk()).await {
            Err(_) => return Err(slow(wait)),
            Ok(None) => break,
            Ok(Some(Err(detail))) => return Err(Problem::Broken { url, detail }),
            Ok(Some(Ok(chunk))) => chunk,
        };
        if heard.whole {
            document.extend_from_slice(&chunk);
        } else {
            frames.push(&chunk);
            let before = heard.pieces;
            let not_openai = |e: &dyn std::fmt::Display| Problem::NotOpenAi {
                url: url.clone(),
                detail: e.to_string(),
            };
            while let Some(frame) = frames.next_frame().map_err(|e| not_openai(&e))? {
                done |= heard.take(frame.data.as_deref(), &url)?;
            }
            if heard.pieces > before {
                heard.arrivals.push(began.elapsed());
            }
        }
        let too_much = heard.text.len() + heard.reasoning.len() + document.len() > MAX_TEXT;
        if !done && (began.elapsed() > FIRST_BYTE + IN_ALL || heard.lasts() > IN_ALL || too_much) {
            heard.stopped = true;
            return Ok(heard);
        }
    }
    if heard.whole {
        heard.arrivals.push(began.elapsed());
        heard.take_document(&document, &url)?;
    } else if !done && let Some(rest) = frames.finish() {
        done = heard.take(rest.data.as_deref(), &url)?;
    }
    heard.cut = !done && heard.finish.is_none();
    if heard.pieces == 0 && heard.finish.is_none() {
        return Err(Problem::NotOpenAi {
            url,
            detail: "it sent no completion".to_owned(),
        });
    }
    Ok(heard)
}

impl Heard {
    /// From the first content to the last.
    pub fn lasts(&self) -> Duration {
        match (self.arrivals.first(), self.arrivals.last()) {
            (Some(first), Some(last)) => last.saturating_sub(*first),
            _ => Duration::ZERO,
        }
    }

    /// One event; true for `[DONE]`.
    fn take(&mut self, data: Option<&[u8]>, url: &str) -> Result<bool, Problem> {
        let Some(data) = data else { return Ok(false) };
        if data.trim_ascii() == b"[DONE]" {
            return Ok(true);
        }
        let chunk: Value = serde_json::from_slice(data).map_err(|_| Problem::NotOpenAi {
            url: url.to_owned(),
            detail: "an event of its stream is no JSON".to_owned(),
        })?;
        if chunk.get("error").is_some_and(|e| !e.is_null()) {
            let detail = problem::error_text(&chunk.to_string());
            return Err(Problem::Broken {
                url: url.to_owned(),
                detail,
            });
        }
        self.usage(&chunk);
        let choice = chunk.pointer("/choices/0");
        if let Some(reason) = choice
            .and_then(|c| c.get("finish_reason"))
            .and_then(Value::as_str)
        {
            self.finish = Some(reason.to_owned());
        }
        if let Some(delta) = choice.and_then(|c| c.get("delta")) {
            self.message(delta);
        }
        Ok(false)
    }

    fn take_document(&mut self, document: &[u8], url: &str) -> Result<(), Problem> {
        let answer: Value = serde_json::from_slice(document).map_err(|_| Problem::NotOpenAi {
            url: url.to_owned(),
            detail: "its completion is no JSON".to_owned(),
        })?;
        self.usage(&answer);
        let choice = answer.pointer("/choices/0");
        let reason = choice
            .and_then(|c| c.get("finish_reason"))
            .and_then(Value::as_str);
        self.finish = reason.map(str::to_owned);
        if let Some(message) = choice.and_then(|c| c.get("message")) {
            self.message(message);
        }
        Ok(())
    }

    fn usage(&mut self, answer: &Value) {
        let tokens = answer
            .pointer("/usage/completion_tokens")
            .and_then(Value::as_u64);
        self.tokens = tokens.or(self.tokens);
    }

    fn message(&mut self, message: &Value) {
        let words = |key: &str| message.get(key).and_then(Value::as_str).unwrap_or_default();
        let text = words("content");
        let reasoning = [words("reasoning_content"), words("reasoning")].concat();
        let calls = message.get("tool_calls").and_then(Value::as_array);
        let named = calls.into_iter().flatten().filter_map(|call| {
            call.pointer("/function/name")
                .and_then(Value::as_str)
                .filter(|n| !n.is_empty())
        });
        self.calls.extend(named.map(str::to_owned));
        let arguments = calls.is_some_and(|c| !c.is_empty());
        if !text.is_empty() || !reasoning.is_empty() || arguments {
            self.pieces += 1;
        }
        self.text.push_str(text);
        self.reasoning.push_str(&reasoning);
    }
}

fn refused(llm: &Llm<'_>, status: u16, body: &str) -> Problem {
    let message = problem::error_text(body);
    Problem::Refused(Refusal {
        url: llm.found.url.to_string(),
        status,
        kind: RefusalKind::classify(status, &message),
        message,
        model: llm.model.to_owned(),
        known_models: llm
            .found
            .models
            .models
            .iter()
            .map(|m| m.id.clone())
            .collect(),
    })
}

fn not_sent(error: SendError, url: &BaseUrl) -> Problem {
    let url = url.to_string();
    match error {
        SendError::Dial(dial) => Problem::Unreachable {
            url,
            detail: dial.detail,
        },
        SendError::Tls(detail) => Problem::Tls { url, detail },
        SendError::Broken(detail) => Problem::Broken { url, detail },
    }
}
