//! Streamable HTTP of protocols 2025-03-26 to 2025-11-25, on the same paths.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, FuturesUnordered},
};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{
    McpResponder, accepts,
    calls::RunningCall,
    endpoint::Server,
    event_stream, is_json, malformed,
    outbox::{self, PING, pings},
    overloaded, refusal,
    session::{Session, SessionId, Wire},
    session_header, with_allow,
};
use crate::{
    emulator::http::{empty, note, with_type},
    handler::{LocalBody, LocalRequest, LocalResponse, StreamAbort},
    mcp::{Message, MessageError, ProtocolVersion, Reply, Step},
};

/// Forms of an answer that the client takes.
#[derive(Clone, Copy)]
struct Taken {
    json: bool,
    events: bool,
}

/// What a POST comes to before it is answered.
#[derive(Default)]
struct Work {
    replies: Vec<Reply>,
    calls: Vec<RunningCall>,
    /// A JSON answer to a batch is an array, even of one.
    batch: bool,
}

impl McpResponder {
    pub(super) async fn streamable_post(
        &self,
        request: LocalRequest,
        server: Server,
    ) -> LocalResponse {
        let headers = &request.parts.headers;
        if !is_json(headers) {
            return refusal(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "content type must be application/json",
            );
        }
        let taken = Taken {
            json: accepts(headers, "application", "json", true),
            events: accepts(headers, "text", "event-stream", false),
        };
        if !taken.json && !taken.events {
            return refusal(
                StatusCode::NOT_ACCEPTABLE,
                "accept application/json and text/event-stream",
            );
        }
        let session = match self.session_of(&request, server) {
            Ok(session) => session,
            Err(refused) => return *refused,
        };
        let version = session.as_ref().and_then(|s| s.version());
        let messages = match self.messages(&request.body, version) {
            Ok(messages) => messages,
            Err(error) => return malformed(error),
        };
        match session {
            Some(session) => {
                let starts = messages
                    .iter()
                    .any(|m| m.as_ref().is_ok_and(Message::is_initialize));
                if !starts && !version_header_is_known(headers) {
                    return refusal(
                        StatusCode::BAD_REQUEST,
                        "MCP-Protocol-Version names a version that is not spoken here",
                    );
                }
                let batch = request.body.trim_ascii_start().starts_with(b"[");
                let work = self.work(messages, batch, &request, &session, server);
                self.finish(work, taken).await
            }
            None => {
                self.without_session(messages, &request, server, taken)
                    .await
            }
        }
    }

    /// Server-initiated messages do not exist here, so there is no stream to listen on. Clients
    /// take the 405 as just that.
    pub(super) fn streamable_get(&self, request: &LocalRequest, server: Server) -> LocalResponse {
        match self.session_of(request, server) {
            Ok(_) => with_allow("POST, DELETE"),
            Err(refused) => *refused,
        }
    }

    pub(super) fn streamable_delete(
        &self,
        request: &LocalRequest,
        server: Server,
    ) -> LocalResponse {
        match self.session_of(request, server) {
            Ok(Some(session)) => {
                self.sessions.close(session.id);
                note(&request.exchange, "mcp", "session closed");
                empty(StatusCode::NO_CONTENT)
            }
            Ok(None) => missing_session(),
            Err(refused) => *refused,
        }
    }

    /// The session that the header names; `None` without the header.
    fn session_of(
        &self,
        request: &LocalRequest,
        server: Server,
    ) -> Result<Option<Arc<Session>>, Box<LocalResponse>> {
        let Some(value) = session_header(&request.parts.headers) else {
            return Ok(None);
        };
        let binding = self.binding(request, server);
        value
            .to_str()
            .ok()
            .and_then(SessionId::parse)
            .and_then(|id| self.sessions.find(id, &binding))
            .filter(|session| matches!(session.wire, Wire::Streamable))
            .map(Some)
            .ok_or_else(|| {
                Box::new(refusal(
                    StatusCode::NOT_FOUND,
                    "there is no such session: send initialize again",
                ))
            })
    }

    /// `initialize` opens a session; `server/discover`, which mcp 2.x sends ahead of it, needs none.
    async fn without_session(
        &self,
        messages: Vec<Result<Message, MessageError>>,
        request: &LocalRequest,
        server: Server,
        taken: Taken,
    ) -> LocalResponse {
        let mut messages = messages.into_iter();
        let (Some(first), None) = (messages.next(), messages.next()) else {
            return missing_session();
        };
        let message = match first {
            Ok(message) => message,
            Err(error) => return malformed(error),
        };
        match &message {
            Message::Request { method, .. } if method == "server/discover" => {
                let handled = self.judge(message, server);
                note(&request.exchange, "mcp", handled.method.label());
                let mut work = Work::default();
                if let Step::Reply(reply) = handled.step {
                    work.replies.push(reply);
                }
                self.finish(work, taken).await
            }
            message_ if message_.is_initialize() => {
                let binding = self.binding(request, server);
                let Ok(session) = self.sessions.open(binding, Wire::Streamable) else {
                    note(&request.exchange, "mcp", "too many sessions");
                    return overloaded(
                        5,
                        "too many open MCP sessions: close one or try again later",
                    );
                };
                let work = self.work(vec![Ok(message)], false, request, &session, server);
                let mut response = self.finish(work, taken).await;
                if let Ok(id) = HeaderValue::from_str(&session.id.to_string()) {
                    response.headers_mut().insert("mcp-session-id", id);
                }
                response
            }
            Message::Request { .. } | Message::Notification { .. } | Message::Response => {
                missing_session()
            }
        }
    }

    fn work(
        &self,
        messages: Vec<Result<Message, MessageError>>,
        batch: bool,
        request: &LocalRequest,
        session: &Arc<Session>,
        server: Server,
    ) -> Work {
        let mut work = Work {
            batch,
            ..Work::default()
        };
        for message in messages {
            let message = match message {
                Ok(message) => message,
                Err(error) => {
                    let reply = Reply::error(None, error.code(), &error.to_string());
                    work.replies.push(reply);
                    continue;
                }
            };
            let handled = self.judge(message, server);
            note(&request.exchange, "mcp", handled.method.label());
            self.remember(session, &handled);
            match handled.step {
                Step::None => {}
                Step::Cancel(id) => session.cancel_call(&id),
                Step::Reply(reply) => work.replies.push(reply),
                Step::Call(call) => match session.begin_call(&call.id) {
                    Some(place) => work.calls.push(RunningCall {
                        toolbox: self.toolbox(server).clone(),
                        call,
                        caller: self.caller(request),
                        place,
                        timeout: self.bounds.call_timeout,
                        metrics: self.metrics.clone(),
                    }),
                    None => work.replies.push(self.too_many_calls(&call)),
                },
            }
        }
        work
    }

    /// JSON where the answer is there already, an event stream where a tool has to run first.
    async fn finish(&self, work: Work, taken: Taken) -> LocalResponse {
        let Work {
            mut replies,
            calls,
            batch,
        } = work;
        if replies.is_empty() && calls.is_empty() {
            return empty(StatusCode::ACCEPTED);
        }
        if taken.events && (!calls.is_empty() || !taken.json) {
            return self.events(replies, calls);
        }
        let mut running: FuturesUnordered<_> = calls.into_iter().map(RunningCall::run).collect();
        while let Some(done) = running.next().await {
            replies.extend(done.map(|(reply, _)| reply));
        }
        let body = match (batch, replies.as_slice()) {
            (_, []) => return empty(StatusCode::ACCEPTED),
            (false, [reply, ..]) => reply.as_str().to_owned(),
            (true, replies) => {
                let list: Vec<&str> = replies.iter().map(Reply::as_str).collect();
                format!("[{}]", list.join(","))
            }
        };
        with_type(StatusCode::OK, "application/json", LocalBody::from(body))
    }

    /// Dropping the stream drops the calls: without a stream their answers have nowhere to go.
    fn events(&self, replies: Vec<Reply>, calls: Vec<RunningCall>) -> LocalResponse {
        let ready = stream::iter(replies).map(|reply| Ok(outbox::event(&reply)));
        let running: FuturesUnordered<_> = calls.into_iter().map(RunningCall::run).collect();
        let later = stream::unfold(
            (running, pings(self.bounds.ping)),
            |(mut running, mut ping)| async move {
                loop {
                    let chunk = tokio::select! {
                        done = running.next() => match done? {
                            Some((reply, _place)) => outbox::event(&reply),
                            // Cancelled: nothing is answered.
                            None => continue,
                        },
                        _ = ping.tick() => Bytes::from_static(PING),
                    };
                    return Some((Ok::<_, StreamAbort>(chunk), (running, ping)));
                }
            },
        );
        event_stream(LocalBody::Stream(Box::pin(ready.chain(later))))
    }
}

fn missing_session() -> LocalResponse {
    refusal(
        StatusCode::BAD_REQUEST,
        "MCP-Session-Id is missing: send initialize first, then the id it answered",
    )
}

/// Absent counts as known: the header came with 2025-06-18.
fn version_header_is_known(headers: &HeaderMap) -> bool {
    headers.get_all("mcp-protocol-version").iter().all(|value| {
        value
            .to_str()
            .is_ok_and(|v| ProtocolVersion::parse(v).is_some())
    })
}
