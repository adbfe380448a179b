//! A model's file as ModelScope serves it: whole, or the part that a `Range` asks for.

use http::{HeaderName, HeaderValue, StatusCode, header};

use super::{bad, failed, route, status_of};
use crate::{
    emulator::http::{note, with_type},
    handler::{Exchange, LocalBody, LocalResponse},
    models::{Library, Requester, SourceError},
    weights::{ByteRange, File, ModelId},
};

const BYTES: &str = "application/octet-stream";

pub(super) async fn answer(
    library: &Library,
    id: &ModelId,
    path: &str,
    range: Option<&str>,
    exchange: &Exchange,
) -> LocalResponse {
    let by = Requester(exchange.client);
    let file = match library.file(id, path, by).await {
        Ok(file) => file,
        Err(e) => return refusal(&e, exchange),
    };
    let Ok(range) = ByteRange::parse(range, file.size) else {
        let mut response = bad(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "the range is behind the end of the file",
            exchange,
        );
        set(
            &mut response,
            header::CONTENT_RANGE,
            &format!("bytes */{}", file.size),
        );
        return response;
    };
    match library.open(id, &file, range, by).await {
        Ok(download) => {
            let source = id.source().as_str();
            let part = if range.is_some() { "part of a " } else { "" };
            note(
                exchange,
                "stand-in",
                format!("{part}model file from {source}"),
            );
            let body = LocalBody::Sized(download.length, download.body);
            dressed(&file, range, body)
        }
        Err(e) => refusal(&e, exchange),
    }
}

/// The head of the answer alone; no hub is asked for the file.
pub(super) async fn head(
    library: &Library,
    id: &ModelId,
    query: &str,
    exchange: &Exchange,
) -> LocalResponse {
    let path = route::value(query, "FilePath").unwrap_or_default();
    match library.file(id, &path, Requester(exchange.client)).await {
        Ok(file) => {
            let nothing = Box::pin(futures_util::stream::empty());
            dressed(&file, None, LocalBody::Sized(file.size, nothing))
        }
        Err(e) => refusal(&e, exchange),
    }
}

/// What is left of an answer to HEAD; a length that stands for a body that will not come stays.
pub(super) fn without_body(response: LocalResponse) -> LocalResponse {
    response.map(|body| match body {
        LocalBody::Sized(..) => body,
        LocalBody::Empty | LocalBody::Full(_) | LocalBody::Stream(_) => LocalBody::Empty,
    })
}

fn dressed(file: &File, range: Option<ByteRange>, body: LocalBody) -> LocalResponse {
    let status = match range {
        Some(_) => StatusCode::PARTIAL_CONTENT,
        None => StatusCode::OK,
    };
    let mut response = with_type(status, BYTES, body);
    set(&mut response, header::ACCEPT_RANGES, "bytes");
    if let Some(range) = range {
        set(&mut response, header::CONTENT_RANGE, &range.to_string());
    }
    if let Some(sha256) = &file.sha256 {
        set(
            &mut response,
            header::ETAG,
            &format!("\"{}\"", sha256.as_str()),
        );
    }
    response
}

fn set(response: &mut LocalResponse, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// The SDK fetches files in a thread, so that it may be told to come again.
fn refusal(error: &SourceError, exchange: &Exchange) -> LocalResponse {
    failed(exchange, error);
    let status = match error {
        SourceError::Busy { .. } => StatusCode::TOO_MANY_REQUESTS,
        _ if error.passes() => StatusCode::SERVICE_UNAVAILABLE,
        _ => status_of(error),
    };
    let mut response = bad(status, &error.to_string(), exchange);
    if let SourceError::Busy { pause, .. } = error {
        let seconds = pause.as_secs().max(1).to_string();
        set(&mut response, header::RETRY_AFTER, &seconds);
    }
    response
}
