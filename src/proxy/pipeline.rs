//! The request checkpoint as Pingora calls it: judge, then refuse, answer or send on.

use std::{any::Any, sync::Arc, time::Instant};

use async_trait::async_trait;
use bytes::Bytes;
use pingora::{
    Error, ErrorType,
    http::{RequestHeader, ResponseHeader},
    prelude::HttpPeer,
    proxy::{FailToProxy, ProxyHttp, Session},
};

use super::{
    arrival::Arrival,
    denial::Denial,
    failure::failure,
    finish::{Finish, Outcome},
    forward,
    respond::{self, RespondError},
    services::Services,
};
use crate::{
    audit::AuditKind,
    handler::{EgressMeter, Exchange, LocalRequest, Note},
    policy::{Action, Decision, Reason, RequestFacts, Responder, RuleName, guarded},
};

/// The only implementor of Pingora's proxy trait.
pub struct Pipeline {
    services: Arc<Services>,
}

impl Pipeline {
    pub fn new(services: Arc<Services>) -> Self {
        Self { services }
    }
}

/// State of one request on its way through.
#[derive(Default)]
pub struct RequestContext {
    arrival: Option<Box<Arrival>>,
    finish: Option<Finish>,
    rule: Option<RuleName>,
    egress: EgressMeter,
    note: Note,
    leaves_machine: bool,
    attempts: usize,
    addresses: usize,
    /// A refusal found after the decision, to be answered by `fail_to_proxy`.
    denial: Option<Denial>,
    upstream_began: Option<Instant>,
}

#[async_trait]
impl ProxyHttp for Pipeline {
    /// Boxed: Pingora moves it through three futures, each of which would hold a place for it.
    type CTX = Box<RequestContext>;

    fn new_ctx(&self) -> Self::CTX {
        Box::default()
    }

    /// No modules: compression would have to buffer, and Pingora's default adds one.
    fn init_downstream_modules(&self, _: &mut pingora::modules::http::HttpModules) {}

    fn on_connection_reuse(
        &self,
        _session: &mut Session,
        context: &mut Self::CTX,
        from_edge: Box<dyn Any + Send + Sync>,
    ) {
        context.arrival = from_edge.downcast::<Arrival>().ok();
    }

    async fn request_filter(
        &self,
        session: &mut Session,
        context: &mut Self::CTX,
    ) -> pingora::Result<bool> {
        let Some(arrival) = context.arrival.take() else {
            // Only the edge makes sessions; without its judgement nothing is let through.
            let denial = Denial::early(Reason::Internal, "request did not come through the edge");
            refuse(session, &denial).await?;
            return Ok(true);
        };
        let downstream = session.as_downstream_mut();
        // A client that reads nothing holds a slot and an upstream.
        downstream.set_write_timeout(Some(self.services.limits.upstream_timeout));
        if arrival.upgrade {
            // Pingora's own limit of a minute would end a WebSocket whose client only listens.
            downstream.set_read_timeout(None);
        }
        let decision = self.decide(session, context, &arrival);
        let answered = match decision.action {
            Action::Deny => {
                let denial = self.denial(session, &arrival, &decision);
                if let Some(finish) = &mut context.finish {
                    finish.denied(&denial);
                }
                refuse(session, &denial).await?;
                true
            }
            Action::Respond(responder) => {
                // Boxed, so that requests which are sent on do not carry its size.
                Box::pin(self.answer(session, context, &arrival, responder, &decision.rule))
                    .await?;
                true
            }
            Action::Forward => false,
        };
        context.rule = Some(decision.rule);
        context.arrival = Some(arrival);
        Ok(answered)
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        context: &mut Self::CTX,
    ) -> pingora::Result<Box<HttpPeer>> {
        let (Some(arrival), Some(rule)) = (&context.arrival, &context.rule) else {
            return Error::e_explain(ErrorType::InternalError, "no decision for this request");
        };
        match forward::destination(&self.services, arrival, rule, context.attempts).await {
            Ok(to) => {
                context.attempts += 1;
                context.leaves_machine = to.leaves_machine;
                context.addresses = to.addresses;
                if context.upstream_began.is_none() {
                    let now = Instant::now();
                    context.upstream_began = Some(now);
                    let entry = arrival.connection.entry;
                    let own = now.duration_since(arrival.started);
                    self.services.metrics.overhead(entry, "forward", own);
                }
                Ok(to.peer)
            }
            Err(denial) => {
                let status = denial.status();
                context.denial = Some(denial);
                Error::e_explain(ErrorType::HTTPStatus(status), "destination refused")
            }
        }
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream: &mut RequestHeader,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        match &context.arrival {
            Some(arrival) => forward::request_header(&self.services, arrival, upstream),
            None => Error::e_explain(ErrorType::InternalError, "no decision for this request"),
        }
    }

    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        let asked = context.arrival.as_ref().is_some_and(|a| a.upgrade);
        if response.status == http::StatusCode::SWITCHING_PROTOCOLS && !asked {
            let words = "upstream switches protocols unasked";
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, words).into_up());
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        _context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        forward::response_header(response);
        if session.req_header().version == http::Version::HTTP_10 {
            // It knows no chunks: the end of the connection ends the body.
            response.remove_header(&http::header::TRANSFER_ENCODING);
        }
        Ok(())
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        context: &mut Self::CTX,
        mut e: Box<Error>,
    ) -> Box<Error> {
        // Another address of the same, checked set; nothing was sent yet.
        e.set_retry(context.attempts < context.addresses);
        e
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        _reused: bool,
        _peer: &HttpPeer,
        #[cfg(unix)] _fd: std::os::unix::io::RawFd,
        #[cfg(windows)] _socket: std::os::windows::io::RawSocket,
        _digest: Option<&pingora::protocols::Digest>,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        // Counted as it goes, so that the sum is true however the request ends.
        if context.leaves_machine {
            context.egress.add(head_size(session.req_header()));
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        if context.leaves_machine {
            context
                .egress
                .add(body.as_ref().map_or(0, Bytes::len) as u64);
        }
        Ok(())
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        e: &Error,
        context: &mut Self::CTX,
    ) -> FailToProxy {
        let denial = context
            .denial
            .take()
            .or_else(|| failure(e, context.rule.as_ref(), context.arrival.as_deref()));
        let Some(denial) = denial else {
            // The client is gone, or its request broke off; `answer` has said which already.
            if let (Some(finish), true) = (&mut context.finish, context.upstream_began.is_some()) {
                finish.failed(Reason::ClientGone, None);
            }
            return FailToProxy {
                error_code: 0,
                can_reuse_downstream: false,
            };
        };
        if let Some(finish) = &mut context.finish {
            finish.unreached(&denial);
        }
        let status = denial.status();
        if session.response_written().is_none() {
            let _ = refuse(session, &denial).await;
        }
        FailToProxy {
            error_code: status,
            can_reuse_downstream: false,
        }
    }

    async fn logging(&self, session: &mut Session, _e: Option<&Error>, context: &mut Self::CTX) {
        let Some(finish) = context.finish.take() else {
            return;
        };
        let read = session.as_downstream().body_bytes_read() as u64;
        let sent = session.as_downstream().body_bytes_sent() as u64;
        let mut note = context.note.read();
        if context.upstream_began.is_some() && note.answered_by.is_none() {
            note.answered_by = Some("upstream".into());
        }
        finish.done(Outcome {
            status: session.response_written().map(|r| r.status.as_u16()),
            bytes_in: read,
            bytes_out: sent,
            left_machine_bytes: context.egress.bytes(),
            note,
        });
    }

    fn suppress_error_log(&self, _: &Session, _: &Self::CTX, _: &Error) -> bool {
        // Every failure has its audit record; a hostile client must not fill the log.
        true
    }
}

impl Pipeline {
    fn decide(
        &self,
        session: &Session,
        context: &mut RequestContext,
        arrival: &Arrival,
    ) -> Decision<Action> {
        let connection = &arrival.connection;
        let method = &session.req_header().method;
        let facts = RequestFacts {
            entry: connection.entry,
            client: connection.client.ip(),
            authority: &arrival.authority,
            method: method.as_str(),
            path: arrival.path(),
            upgrade: arrival.upgrade,
        };
        let policy = self.services.policy.load();
        let mut decision = guarded(Action::Deny, || policy.decide_request(&facts));
        if decision.action != Action::Deny && !self.services.audit.healthy() {
            decision.action = Action::Deny;
            decision.reason = Reason::AuditUnavailable;
        }
        let mut finish = Finish::begin(
            &self.services,
            AuditKind::Request,
            arrival.id,
            connection.entry,
            connection.client.ip(),
            arrival.started,
        );
        finish.request(&arrival.authority, method, arrival.path());
        finish.decided(&decision, decision.action.as_str());
        finish.metered(&context.egress);
        context.finish = Some(finish);
        decision
    }

    fn denial(&self, session: &Session, arrival: &Arrival, decision: &Decision<Action>) -> Denial {
        Denial {
            reason: decision.reason,
            rule: decision.rule.clone(),
            authority: Some(arrival.authority.clone()),
            detail: None,
            method: session.req_header().method.to_string(),
            path: arrival.path().to_owned(),
        }
    }

    async fn answer(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
        arrival: &Arrival,
        responder: Responder,
        rule: &RuleName,
    ) -> pingora::Result<()> {
        let handler = self.services.responders.of(responder);
        let entry = arrival.connection.entry;
        let limit = handler.max_body().min(self.services.limits.body_bytes);
        let outcome = match respond::read_body(session, limit).await {
            Err(e) => Err(e),
            Ok(body) => {
                let request = LocalRequest {
                    parts: request_parts(session.req_header(), arrival)?,
                    body,
                    exchange: Exchange {
                        id: arrival.id,
                        entry,
                        client: arrival.connection.client.ip(),
                        authority: arrival.authority.clone(),
                        tls: arrival.connection.tls,
                        egress: context.egress.clone(),
                        note: context.note.clone(),
                    },
                };
                self.services
                    .metrics
                    .overhead(entry, "respond", arrival.started.elapsed());
                let closing = &self.services.closing;
                respond::respond(session, handler, request, rule, closing).await
            }
        };
        match outcome {
            Ok(_) => Ok(()),
            Err(RespondError::Refuse(reason, detail)) => {
                let denial = Denial {
                    reason,
                    rule: rule.clone(),
                    authority: Some(arrival.authority.clone()),
                    detail: Some(detail),
                    method: session.req_header().method.to_string(),
                    path: arrival.path().to_owned(),
                };
                if let Some(finish) = &mut context.finish {
                    finish.denied(&denial);
                }
                refuse(session, &denial).await
            }
            Err(RespondError::Broken(reason, e)) => {
                let normal_end = reason == Reason::ClientGone && context.note.read().open_ended;
                if let Some(finish) = &mut context.finish
                    && !normal_end
                {
                    finish.failed(reason, None);
                }
                session.set_keepalive(None);
                Err(e.into_down())
            }
        }
    }
}

/// Writes a refusal and reads off what the client still sends, so that it reads the refusal.
async fn refuse(session: &mut Session, denial: &Denial) -> pingora::Result<()> {
    session.set_keepalive(None);
    let body = denial.body();
    let header = denial.header(body.len())?;
    session
        .write_response_header(Box::new(header), false)
        .await
        .map_err(|e| e.into_down())?;
    let body = (session.req_header().method != http::Method::HEAD).then_some(body);
    session
        .write_response_body(body, true)
        .await
        .map_err(|e| e.into_down())?;
    respond::drain(session).await;
    Ok(())
}

/// The request as a handler gets it: origin-form URI, no hop-by-hop and no marker headers.
fn request_parts(
    header: &RequestHeader,
    arrival: &Arrival,
) -> pingora::Result<http::request::Parts> {
    let fail = |_| Error::explain(ErrorType::InvalidHTTPHeader, "target is no URI");
    let uri = arrival.target.parse::<http::Uri>().map_err(fail)?;
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = header.method.clone();
    parts.uri = uri;
    parts.version = header.version;
    let nominated = forward::nominated(&header.headers);
    parts.headers = header
        .headers
        .iter()
        .filter(|(name, _)| {
            !nominated.contains(name)
                && !matches!(
                    name.as_str(),
                    "connection" | "keep-alive" | "te" | "trailer" | "upgrade"
                )
                && !name.as_str().starts_with("proxy-")
                && !name.as_str().starts_with("x-airlock-")
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Ok(parts)
}

/// Bytes of a request head on the wire, near enough for an honest sum.
fn head_size(header: &RequestHeader) -> u64 {
    let line = header.method.as_str().len() + header.raw_path().len() + 12;
    let fields: usize = header
        .headers
        .iter()
        .map(|(n, v)| n.as_str().len() + v.len() + 4)
        .sum();
    (line + fields + 2) as u64
}
