//! How answers and problems become responses.

use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};

use crate::{
    handler::{ByteStream, LocalBody, LocalResponse},
    llm::{
        problem::Problem,
        reply::{ErrorBody, Meta},
    },
};

/// How a problem is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As an assistant's message: the plugin shows nothing else (WIRE.md 2.4).
    Chat,
    /// As an HTTP error; `no_retry` for clients that block their server while they retry.
    Http { no_retry: bool },
}

pub fn json(status: StatusCode, body: String) -> LocalResponse {
    let mut response = http::Response::new(LocalBody::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub fn event_stream(body: LocalBody) -> LocalResponse {
    let mut response = http::Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Proxies of the nginx kind buffer otherwise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

pub fn live_stream(stream: ByteStream) -> LocalResponse {
    event_stream(LocalBody::Stream(stream))
}

/// A problem met before anything was sent.
pub fn problem(problem: &Problem, tone: Tone, meta: &Meta) -> LocalResponse {
    match tone {
        Tone::Chat => event_stream(LocalBody::from(meta.message_stream(&problem.explain()))),
        Tone::Http { no_retry } => {
            let status = StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::BAD_GATEWAY);
            let retry = !no_retry && problem.worth_retrying();
            error(status, &problem.to_error(), retry)
        }
    }
}

/// An OpenAI-shaped error. SDKs retry 5xx by themselves, unless told not to.
pub fn error(status: StatusCode, body: &ErrorBody, retry: bool) -> LocalResponse {
    let mut response = json(status, body.to_json());
    if !retry {
        response
            .headers_mut()
            .insert("x-should-retry", HeaderValue::from_static("false"));
    }
    response
}
