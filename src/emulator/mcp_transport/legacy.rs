//! HTTP+SSE, the transport of protocol 2024-11-05 and the only one the plugin speaks.

use std::sync::Arc;

use http::StatusCode;

use super::{
    McpResponder, accepts,
    calls::RunningCall,
    endpoint::Server,
    event_stream, is_json, malformed,
    outbox::{EventStream, Outbox, Unsent},
    overloaded, refusal,
    session::{Session, SessionGuard, SessionId, Wire},
};
use crate::{
    emulator::http::{empty, note},
    handler::{LocalBody, LocalRequest, LocalResponse},
    mcp::{Message, MessageError, Reply, Step},
};

impl McpResponder {
    /// GET: opens a session that lives as long as this answer.
    pub(super) fn legacy_open(
        &self,
        request: &LocalRequest,
        server: Server,
        base: &str,
    ) -> LocalResponse {
        if !accepts(&request.parts.headers, "text", "event-stream", true) {
            return refusal(
                StatusCode::NOT_ACCEPTABLE,
                "this is an event stream: accept text/event-stream",
            );
        }
        let (outbox, inbox) = Outbox::new();
        let binding = self.binding(request, server);
        let Ok(session) = self.sessions.open(binding, Wire::Legacy(outbox)) else {
            note(&request.exchange, "mcp", "too many sessions");
            return overloaded(
                5,
                "too many open MCP sessions: close one or try again later",
            );
        };
        note(&request.exchange, "mcp", "session opened");
        request.exchange.note.set(|note| note.open_ended = true);
        // A path without an authority: clients refuse any other origin, some by hanging.
        let endpoint = format!("{base}/messages/?session_id={}", session.id);
        let guard = SessionGuard {
            table: self.sessions.clone(),
            session,
        };
        let stream = EventStream::new(&endpoint, inbox, self.bounds.ping, guard);
        event_stream(LocalBody::Stream(Box::pin(stream)))
    }

    /// POST: 202, with the answer on the session's stream.
    pub(super) fn legacy_post(&self, request: LocalRequest, server: Server) -> LocalResponse {
        let Some(id) = session_id(request.parts.uri.query()) else {
            return refusal(
                StatusCode::BAD_REQUEST,
                "session_id is missing or no id: post to the path of the endpoint event",
            );
        };
        let found = self.sessions.find(id, &self.binding(&request, server));
        let Some((session, outbox)) = found.as_ref().and_then(|session| match &session.wire {
            Wire::Legacy(outbox) => Some((session, outbox)),
            Wire::Streamable => None,
        }) else {
            return refusal(
                StatusCode::NOT_FOUND,
                "there is no such session: connect again",
            );
        };
        if !is_json(&request.parts.headers) {
            return refusal(
                StatusCode::BAD_REQUEST,
                "content type must be application/json",
            );
        }
        let messages = match self.messages(&request.body, session.version()) {
            Ok(messages) => messages,
            Err(error) => return malformed(error),
        };
        for message in messages {
            match self.legacy_message(message, &request, session, outbox, server) {
                Ok(()) => {}
                Err(Unsent::Full) => {
                    return overloaded(
                        1,
                        "the event stream is not being read: read it, then send again",
                    );
                }
                Err(Unsent::Gone) => {
                    return refusal(
                        StatusCode::NOT_FOUND,
                        "the event stream is closed: connect again",
                    );
                }
            }
        }
        empty(StatusCode::ACCEPTED)
    }

    fn legacy_message(
        &self,
        message: Result<Message, MessageError>,
        request: &LocalRequest,
        session: &Arc<Session>,
        outbox: &Outbox,
        server: Server,
    ) -> Result<(), Unsent> {
        let message = match message {
            Ok(message) => message,
            Err(error) => {
                return outbox.try_send(&Reply::error(None, error.code(), &error.to_string()));
            }
        };
        let handled = self.judge(message, server);
        note(&request.exchange, "mcp", handled.method.label());
        self.remember(session, &handled);
        match handled.step {
            Step::None => Ok(()),
            Step::Cancel(id) => {
                session.cancel_call(&id);
                Ok(())
            }
            Step::Reply(reply) => outbox.try_send(&reply),
            Step::Call(call) => {
                let Some(place) = session.begin_call(&call.id) else {
                    return outbox.try_send(&self.too_many_calls(&call));
                };
                let running = RunningCall {
                    toolbox: self.toolbox(server).clone(),
                    call,
                    caller: self.caller(request),
                    place,
                    timeout: self.bounds.call_timeout,
                    metrics: self.metrics.clone(),
                };
                let outbox = outbox.clone();
                // Ends with the session: closing it cancels the call's place.
                tokio::spawn(async move {
                    if let Some((reply, place)) = running.run().await {
                        tokio::select! {
                            () = place.cancelled.cancelled() => {}
                            sent = outbox.send(&reply) => {
                                if sent == Err(Unsent::Gone) && !place.session().is_closed() {
                                    tracing::debug!("mcp stream went before its answer");
                                }
                            }
                        }
                    }
                });
                Ok(())
            }
        }
    }
}

/// `session_id` of the query, given once.
fn session_id(query: Option<&str>) -> Option<SessionId> {
    let mut values = query?
        .split('&')
        .filter_map(|pair| pair.strip_prefix("session_id="));
    match (values.next(), values.next()) {
        (Some(id), None) => SessionId::parse(id),
        _ => None,
    }
}
