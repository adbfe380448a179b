//! Answering in this process: read the bounded body, call the handler, stream its answer.
//!
//! A chunk is written and flushed as it comes. When the client goes, the handler's future and body
//! are dropped, which cancels whatever they wait for. A stream that aborts cuts the connection:
//! the client must never take a broken answer for a whole one.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::{Method, Version, header};
use pingora::{
    Error, ErrorType,
    http::{RequestHeader, ResponseHeader},
    proxy::Session,
};

use super::{arrival::Arrival, denial::DECISION_HEADER};
use crate::{
    handler::{Handler, LocalBody, LocalRequest, LocalResponse},
    policy::{Reason, RuleName},
};

/// A client that sends a body slower than this has gone, or wants to hold a slot.
const BODY_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Refused bodies are read up to here, so that the client reads the refusal instead of a reset.
const DRAIN_BYTES: usize = 1 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Why no whole answer was given.
pub enum RespondError {
    Refuse(Reason, String),
    /// The client left or the answer broke: nothing more can be said on this connection.
    Broken(Reason, Box<Error>),
}

impl From<Box<Error>> for RespondError {
    fn from(e: Box<Error>) -> Self {
        RespondError::Broken(Reason::ClientGone, e)
    }
}

/// Reads the request's body, at most `limit` bytes.
pub async fn read_body(session: &mut Session, limit: usize) -> Result<Bytes, RespondError> {
    let too_large = || {
        RespondError::Refuse(
            Reason::BodyTooLarge,
            format!("a body here may have {limit} bytes"),
        )
    };
    let declared = session
        .get_header(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|n| n > limit) {
        return Err(too_large());
    }
    if session.get_header(header::EXPECT).is_some() {
        session
            .as_downstream_mut()
            .write_continue_response()
            .await?;
    }
    session
        .as_downstream_mut()
        .set_read_timeout(Some(BODY_READ_TIMEOUT));
    let Some(first) = session.as_downstream_mut().read_request_body().await? else {
        return Ok(Bytes::new());
    };
    let Some(second) = session.as_downstream_mut().read_request_body().await? else {
        return if first.len() > limit {
            Err(too_large())
        } else {
            Ok(first)
        };
    };
    let mut body = BytesMut::with_capacity(declared.unwrap_or(first.len() * 2).min(limit));
    body.extend_from_slice(&first);
    body.extend_from_slice(&second);
    while let Some(chunk) = session.as_downstream_mut().read_request_body().await? {
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Takes what is left of a refused body off the wire, within bounds.
pub async fn drain(session: &mut Session) {
    if session.get_header(header::EXPECT).is_some() {
        return;
    }
    let reading = async {
        let mut left = DRAIN_BYTES;
        while let Ok(Some(chunk)) = session.as_downstream_mut().read_request_body().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIME, reading).await;
}

/// Calls the handler and writes its answer. Returns the status written.
pub async fn respond(
    session: &mut Session,
    handler: &dyn Handler,
    request: LocalRequest,
    rule: &RuleName,
) -> Result<u16, RespondError> {
    let is_head = request.parts.method == Method::HEAD;
    let id = request.exchange.id;
    let response = tokio::select! {
        biased;
        response = handler.handle(request) => response,
        gone = session.as_downstream_mut().read_body_or_idle(true) => {
            return Err(client_gone(gone));
        }
    };
    let status = response.status().as_u16();
    let (header, body) = build_header(session, response, rule, id)?;
    session
        .write_response_header(Box::new(header), false)
        .await?;
    match body {
        _ if is_head => {}
        LocalBody::Empty => {}
        LocalBody::Full(bytes) => session.write_response_body(Some(bytes), false).await?,
        LocalBody::Stream(mut stream) => loop {
            tokio::select! {
                biased;
                item = stream.next() => match item {
                    None => break,
                    Some(Ok(chunk)) if chunk.is_empty() => {}
                    Some(Ok(chunk)) => session.write_response_body(Some(chunk), false).await?,
                    Some(Err(abort)) => {
                        let error = Error::explain(ErrorType::InternalError, abort.to_string());
                        return Err(RespondError::Broken(Reason::UpstreamFailed, error));
                    }
                },
                gone = session.as_downstream_mut().read_body_or_idle(true) => {
                    return Err(client_gone(gone));
                }
            }
        },
    }
    session.write_response_body(None, true).await?;
    Ok(status)
}

fn client_gone(read: pingora::Result<Option<Bytes>>) -> RespondError {
    let error = match read {
        Err(e) => e,
        Ok(_) => Error::explain(
            ErrorType::ConnectionClosed,
            "client sent more than its request",
        ),
    };
    RespondError::Broken(Reason::ClientGone, error)
}

fn build_header(
    session: &mut Session,
    response: LocalResponse,
    rule: &RuleName,
    id: uuid::Uuid,
) -> pingora::Result<(ResponseHeader, LocalBody)> {
    let (parts, body) = response.into_parts();
    let mut out = ResponseHeader::build(parts.status, Some(parts.headers.len() + 4))?;
    for (name, value) in &parts.headers {
        out.append_header(name, value)?;
    }
    out.insert_header(DECISION_HEADER, format!("respond; rule={rule}"))?;
    out.insert_header("x-airlock-request-id", id.to_string())?;
    let bodiless = matches!(parts.status.as_u16(), 204 | 304);
    match &body {
        _ if bodiless => drop(out.remove_header(&header::CONTENT_LENGTH)),
        LocalBody::Empty => out.insert_header(header::CONTENT_LENGTH, 0)?,
        LocalBody::Full(bytes) => out.insert_header(header::CONTENT_LENGTH, bytes.len())?,
        LocalBody::Stream(_) => {
            out.remove_header(&header::CONTENT_LENGTH);
            if session.req_header().version == Version::HTTP_11 {
                out.insert_header(header::TRANSFER_ENCODING, "chunked")?;
            } else {
                // HTTP/1.0 has no chunks: the end of the connection ends the body.
                session.set_keepalive(None);
            }
        }
    }
    Ok((out, body))
}

/// The request as a handler gets it: origin-form URI, no hop-by-hop and no marker headers.
pub fn request_parts(
    header: &RequestHeader,
    arrival: &Arrival,
) -> pingora::Result<http::request::Parts> {
    let fail = |_| Error::explain(ErrorType::InvalidHTTPHeader, "target is no URI");
    let uri = arrival.target.parse::<http::Uri>().map_err(fail)?;
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = header.method.clone();
    parts.uri = uri;
    parts.version = header.version;
    parts.headers = header
        .headers
        .iter()
        .filter(|(name, _)| {
            !matches!(
                name.as_str(),
                "connection" | "keep-alive" | "te" | "trailer" | "upgrade"
            ) && !name.as_str().starts_with("proxy-")
                && !name.as_str().starts_with("x-airlock-")
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Ok(parts)
}
