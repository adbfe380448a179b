//! Response bodies that every stand-in uses.

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    handler::{Exchange, LocalBody, LocalResponse},
    page::ascii,
};

/// A JSON answer. Never cached, never sniffed.
pub fn json(status: StatusCode, body: &impl Serialize) -> LocalResponse {
    // Values made here have text keys and finite numbers, so encoding cannot fail.
    let text = serde_json::to_vec(body).unwrap_or_else(|_| b"{}".to_vec());
    with_type(status, "application/json", text.into())
}

/// The vendor's form of a success (WIRE.md 10.0).
pub fn success(data: Value) -> LocalResponse {
    json(
        StatusCode::OK,
        &json!({"success": true, "data": data, "message": ""}),
    )
}

/// The vendor's form of a declared failure: the page shows `message`.
pub fn failure(status: StatusCode, message: &str) -> LocalResponse {
    json(
        status,
        &json!({"success": false, "data": null, "message": message}),
    )
}

/// A newline-delimited JSON stream, one chunk per line.
///
/// The page decodes each network chunk by itself, so a character that a chunk border cuts is
/// lost: lines are ASCII, everything else is escaped.
pub fn ndjson(
    status: StatusCode,
    lines: impl Stream<Item = Value> + Send + 'static,
) -> LocalResponse {
    let body = lines.map(|line| Ok(ndjson_line(&line)));
    with_type(
        status,
        "application/x-ndjson",
        LocalBody::Stream(Box::pin(body)),
    )
}

fn ndjson_line(value: &Value) -> Bytes {
    let mut out = ascii(value);
    out.push('\n');
    Bytes::from(out)
}

pub fn empty(status: StatusCode) -> LocalResponse {
    let mut response = Response::new(LocalBody::Empty);
    *response.status_mut() = status;
    response
}

/// 405 with the methods that would do.
pub fn method_not_allowed(allow: &'static str) -> LocalResponse {
    let mut response = failure(
        StatusCode::METHOD_NOT_ALLOWED,
        "this method is not served here: use one of the Allow header",
    );
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// A picture of ours, for any page.
pub fn svg(body: LocalBody) -> LocalResponse {
    let mut response = with_type(StatusCode::OK, "image/svg+xml", body);
    let headers = response.headers_mut();
    for (name, value) in [
        // What stands behind its address does not change.
        (header::CACHE_CONTROL, "private, max-age=3600"),
        // Opened as a page of its own it may load and run nothing.
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox",
        ),
        // Without the front door the page is of another origin.
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "cross-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

pub fn with_type(status: StatusCode, content_type: &'static str, body: LocalBody) -> LocalResponse {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// Tells the audit record who answered; `detail` is one of our own words, never content.
pub fn note(exchange: &Exchange, answered_by: &'static str, detail: impl Into<String>) {
    let detail = detail.into();
    exchange.note.set(|note| {
        note.answered_by = Some(answered_by.into());
        note.detail = (!detail.is_empty()).then_some(detail);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::test_support::body_text;

    #[tokio::test]
    async fn ndjson_survives_any_chunk_border() {
        let line = json!({"text": "本地 🎨 \n end"});
        let stream = futures_util::stream::iter([line.clone(), json!({"finished": true})]);
        let text = body_text(ndjson(StatusCode::OK, stream)).await;
        assert!(text.is_ascii());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(serde_json::from_str::<Value>(lines[0]).ok(), Some(line));
        assert!(text.ends_with('\n'));
    }
}
