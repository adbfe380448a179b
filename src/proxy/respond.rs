//! Answering in this process: read the bounded body, call the handler, stream its answer.
//!
//! A chunk is written and flushed as it comes. When the client goes, the handler's future and body
//! are dropped, which cancels whatever they wait for. A stream that aborts cuts the connection:
//! the client must never take a broken answer for a whole one.

use std::{future::poll_fn, task::Poll, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt};
use http::{Method, Version, header};
use pingora::{Error, ErrorType, http::ResponseHeader, proxy::Session};
use tokio_util::sync::CancellationToken;

use super::{
    arrival::Connection,
    body::ChunkFault,
    context::Seen,
    denial::DECISION_HEADER,
    identity::{Handed, Unkept},
    live::Standing,
    memory::Held,
    outgoing::Stopped,
};
use crate::{
    handler::{ByteStream, Handler, LocalBody, LocalRequest, LocalResponse, StreamAbort},
    policy::{Reason, RuleName},
};

/// A client that pauses longer in its body has gone, or wants to hold a slot; in all it may take
/// [`BODY_TIME`].
const BODY_PAUSE: Duration = Duration::from_secs(30);
const BODY_TIME: Duration = Duration::from_secs(300);
/// Most bodies of chats fit; larger ones grow as they come.
const SET_ASIDE: usize = 256 << 10;
const SLOW_BODY: &str = "the body did not come in time; send it without pauses";
/// What a refused client still sends is read this long, so that it reads the refusal instead of a
/// reset; and no longer than it keeps sending.
pub const LINGER: Duration = Duration::from_secs(10);
pub const LINGER_QUIET: Duration = Duration::from_secs(1);

/// Why no whole answer was given.
pub enum RespondError {
    Refuse(Reason, String),
    /// The client left or the answer broke: nothing more can be said on this connection.
    Broken(Reason, Box<Error>),
}

impl From<Unkept> for RespondError {
    fn from(unkept: Unkept) -> Self {
        let Stopped { reason, detail } = unkept.into();
        Self::Refuse(reason, detail)
    }
}

impl From<Box<Error>> for RespondError {
    fn from(e: Box<Error>) -> Self {
        match body_fault(&e) {
            Some((reason, words)) => RespondError::Refuse(reason, words.into()),
            None => RespondError::Broken(Reason::ClientGone, e),
        }
    }
}

/// Reads the request's body, at most `limit` bytes, and no more than there is room for beside all the
/// others; `held` is to live as long as the body.
pub async fn read_body(
    session: &mut Session,
    limit: usize,
    held: &mut Held,
) -> Result<Bytes, RespondError> {
    let declared = session
        .get_header(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|n| n > limit) {
        return Err(too_large(limit));
    }
    if session.get_header(header::EXPECT).is_some() {
        session
            .as_downstream_mut()
            .write_continue_response()
            .await?;
    }
    session
        .as_downstream_mut()
        .set_read_timeout(Some(BODY_PAUSE));
    let reading = read_within(session, limit, declared, held);
    tokio::time::timeout(BODY_TIME, reading)
        .await
        .unwrap_or_else(|_| Err(too_slow()))
}

async fn read_within(
    session: &mut Session,
    limit: usize,
    declared: Option<usize>,
    held: &mut Held,
) -> Result<Bytes, RespondError> {
    let Some(first) = session.as_downstream_mut().read_request_body().await? else {
        return Ok(Bytes::new());
    };
    if !held.grow(first.len()) {
        return Err(no_room());
    }
    let Some(second) = session.as_downstream_mut().read_request_body().await? else {
        return if first.len() > limit {
            Err(too_large(limit))
        } else {
            Ok(first)
        };
    };
    if !held.grow(second.len()) {
        return Err(no_room());
    }
    // What is announced may never come: only so much is set aside for it.
    let announced = declared.unwrap_or(first.len() * 2).min(SET_ASIDE);
    let mut body = BytesMut::with_capacity(announced.min(limit));
    body.extend_from_slice(&first);
    body.extend_from_slice(&second);
    while let Some(chunk) = session.as_downstream_mut().read_request_body().await? {
        if body.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        if !held.grow(chunk.len()) {
            return Err(no_room());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn no_room() -> RespondError {
    let words = "too many large bodies at once; try again";
    RespondError::Refuse(Reason::Overloaded, words.into())
}

fn too_large(limit: usize) -> RespondError {
    RespondError::Refuse(
        Reason::BodyTooLarge,
        format!("a body here may have {limit} bytes"),
    )
}

fn too_slow() -> RespondError {
    RespondError::Refuse(Reason::BodyTimeout, SLOW_BODY.into())
}

/// What is wrong with the body that a client sends, as opposed to its connection.
pub fn body_fault(e: &Error) -> Option<(Reason, &'static str)> {
    if let Some(fault) = ChunkFault::behind(e) {
        return Some((fault.reason(), fault.words()));
    }
    match e.etype() {
        ErrorType::ReadTimedout => Some((Reason::BodyTimeout, SLOW_BODY)),
        // Pingora keeps these types to itself.
        other => ["InvalidChunk", "InvalidTrailerEnd", "PrematureBodyEnd"]
            .contains(&other.as_str())
            .then_some((
                Reason::MalformedRequest,
                "the body is not chunked as it says",
            )),
    }
}

/// Takes what is left of a refused body off the wire, within bounds.
pub async fn drain(session: &mut Session) {
    if session.get_header(header::EXPECT).is_some() {
        return;
    }
    let downstream = session.as_downstream_mut();
    downstream.set_read_timeout(Some(LINGER_QUIET));
    let reading = async { while let Ok(Some(_)) = downstream.read_request_body().await {} };
    let _ = tokio::time::timeout(LINGER, reading).await;
}

/// What goes on around an answer.
pub struct Around<'a> {
    pub connection: &'a Connection,
    /// An open-ended stream (MCP) has no end to wait for, and ends when we stop.
    pub closing: &'a CancellationToken,
    /// For who asks to go on with.
    pub handed: Option<Handed>,
    /// For an end that nobody tells us about.
    pub seen: &'a mut Seen,
}

/// Calls the handler and writes its answer. Returns the status written.
pub async fn respond(
    session: &mut Session,
    handler: &dyn Handler,
    request: LocalRequest,
    rule: &RuleName,
    stand: impl Fn() -> Result<Standing, Reason>,
    around: Around<'_>,
) -> Result<u16, RespondError> {
    let Around {
        connection,
        closing,
        handed,
        seen,
    } = around;
    let leash = &connection.leash;
    seen.read = request.body.len() as u64;
    let cut = |reason: Reason| RespondError::Refuse(reason, "while it was answered".into());
    let note = request.exchange.note.clone();
    let is_head = request.parts.method == Method::HEAD;
    let id = request.exchange.id;
    let mut handling = handler.handle(request);
    // Most answers are there at once; only what takes time is worth a place among the live ones.
    let at_once = poll_fn(|cx| Poll::Ready(handling.as_mut().poll(cx))).await;
    let mut standing = None;
    let response = match at_once {
        Poll::Ready(response) => response,
        Poll::Pending => {
            standing = Some(stand().map_err(cut)?);
            tokio::select! {
                biased;
                response = handling => response,
                () = leash.pulled() => {
                    return Err(cut(leash.why().unwrap_or(Reason::PolicyChanged)));
                }
                gone = client_leaves(session) => return Err(gone),
            }
        }
    };
    let status = response.status().as_u16();
    let streams = matches!(response.body(), LocalBody::Stream(_) | LocalBody::Sized(..));
    if standing.is_none() && streams {
        standing = Some(stand().map_err(cut)?);
    }
    let (mut header, mut body) = build_header(session, response, rule, id)?;
    if let Some(handed) = handed {
        handed.put(&mut header)?;
    }
    seen.status = Some(status);
    let mut first = match &mut body {
        LocalBody::Stream(stream) if !is_head && !bodiless(status) => at_hand(stream).await,
        _ => Poll::Pending,
    };
    if matches!(&first, Poll::Ready(Some(Ok(chunk))) if !chunk.is_empty()) {
        connection.head_waits.for_the_body();
    }
    session
        .write_response_header(Box::new(header), false)
        .await?;
    connection.head_waits.no_more();
    match body {
        _ if is_head || bodiless(status) => {}
        LocalBody::Empty => {}
        LocalBody::Full(bytes) => session.write_response_body(Some(bytes), false).await?,
        LocalBody::Stream(mut stream) | LocalBody::Sized(_, mut stream) => loop {
            tokio::select! {
                biased;
                () = leash.pulled() => {
                    let why = leash.why().unwrap_or(Reason::PolicyChanged);
                    let error = Error::explain(ErrorType::InternalError, why.code());
                    return Err(RespondError::Broken(why, error));
                }
                item = next(&mut first, &mut stream) => match item {
                    None => break,
                    Some(Ok(chunk)) if chunk.is_empty() => {}
                    Some(Ok(chunk)) => {
                        let length = chunk.len() as u64;
                        session.write_response_body(Some(chunk), false).await?;
                        seen.sent += length;
                    }
                    Some(Err(abort)) => {
                        // What was written is still held where nothing was waited for yet.
                        let _ = client_leaves(session).now_or_never();
                        let error = Error::explain(ErrorType::InternalError, abort.to_string());
                        return Err(RespondError::Broken(Reason::UpstreamFailed, error));
                    }
                },
                gone = client_leaves(session) => return Err(gone),
                () = closing.cancelled(), if note.read().open_ended => break,
            }
        },
    }
    drop(standing);
    session.write_response_body(None, true).await?;
    Ok(status)
}

type Item = Option<Result<Bytes, StreamAbort>>;

/// The stream's first item where it came with the head: it goes out with it.
async fn at_hand(stream: &mut ByteStream) -> Poll<Item> {
    poll_fn(|cx| Poll::Ready(stream.as_mut().poll_next(cx))).await
}

/// What was at hand, then what comes.
async fn next(at_hand: &mut Poll<Item>, stream: &mut ByteStream) -> Item {
    match std::mem::replace(at_hand, Poll::Pending) {
        Poll::Ready(item) => item,
        Poll::Pending => stream.next().await,
    }
}

/// Resolves when the client leaves. One that sends its next request early stays: it gets its answer,
/// and the connection is closed behind it.
async fn client_leaves(session: &mut Session) -> RespondError {
    loop {
        match session.as_downstream_mut().read_body_or_idle(true).await {
            Err(e)
                if matches!(
                    e.etype(),
                    ErrorType::ConnectionClosed | ErrorType::ReadError
                ) =>
            {
                return RespondError::Broken(Reason::ClientGone, e);
            }
            Ok(_) | Err(_) => session.set_keepalive(None),
        }
    }
}

fn bodiless(status: u16) -> bool {
    matches!(status, 204 | 304)
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
    match &body {
        _ if bodiless(parts.status.as_u16()) => drop(out.remove_header(&header::CONTENT_LENGTH)),
        LocalBody::Empty => out.insert_header(header::CONTENT_LENGTH, 0)?,
        LocalBody::Full(bytes) => out.insert_header(header::CONTENT_LENGTH, bytes.len())?,
        LocalBody::Sized(length, _) => out.insert_header(header::CONTENT_LENGTH, *length)?,
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
