//! The request checkpoint as Pingora calls it: judge, then refuse, answer or send on.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use pingora::{
    Error, ErrorSource, ErrorType,
    http::{RequestHeader, ResponseHeader},
    prelude::HttpPeer,
    proxy::{FailToProxy, ProxyHttp, Session},
};

use super::{
    arrival::Arrival,
    context::RequestContext,
    denial::Denial,
    finish::Finish,
    forward,
    live::{Asked, Doing, Subject},
    respond::{self, RespondError},
    services::Services,
};
use crate::{
    audit::AuditKind,
    handler::{Exchange, LocalRequest},
    policy::{Action, Decision, Reason, RequestFacts, Responder, RuleName},
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

#[async_trait]
impl ProxyHttp for Pipeline {
    type CTX = RequestContext;

    fn new_ctx(&self) -> Self::CTX {
        RequestContext::default()
    }

    /// No modules: compression would have to buffer, and Pingora's default adds one.
    fn init_downstream_modules(&self, _: &mut pingora::modules::http::HttpModules) {}

    fn on_connection_reuse(
        &self,
        _session: &mut Session,
        context: &mut Self::CTX,
        from_edge: Box<dyn Any + Send + Sync>,
    ) {
        context.arrival = from_edge.downcast::<Arrival>().ok().map(|a| *a);
        context.connection = context.arrival.as_ref().map(|a| a.connection.clone());
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
        session: &mut Session,
        context: &mut Self::CTX,
    ) -> pingora::Result<Box<HttpPeer>> {
        let (Some(arrival), Some(rule)) = (&context.arrival, &context.rule) else {
            return Error::e_explain(ErrorType::InternalError, "no decision for this request");
        };
        let destination =
            forward::destination(&self.services, arrival, rule, context.attempts).await;
        let stood = destination.and_then(|to| {
            let subject = Subject {
                authority: arrival.authority.clone(),
                address: Some(to.address),
                doing: Doing::Forward(asked(&session.req_header().method, arrival)),
            };
            let standing = self
                .services
                .stand(&arrival.connection, context.epoch, subject)
                .map_err(|reason| forward::refusal(reason, arrival, rule))?;
            Ok((to, standing))
        });
        match stood {
            Ok((to, standing)) => {
                context.standing = Some(standing);
                context.seen.head = head_size(session.req_header());
                context.attempts += 1;
                context.leaves_machine = to.leaves_machine;
                if context.upstream_began.is_none() {
                    context.upstream_began = Some(Instant::now());
                    let entry = arrival.connection.entry;
                    self.services
                        .metrics
                        .overhead(entry, "forward", arrival.started.elapsed());
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

    async fn response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        context.seen.status = Some(response.status.as_u16());
        forward::response_header(response);
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end: bool,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        context.seen.read += body.as_ref().map_or(0, Bytes::len) as u64;
        stop_if_cut(context)
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end: bool,
        context: &mut Self::CTX,
    ) -> pingora::Result<Option<Duration>> {
        context.seen.sent += body.as_ref().map_or(0, Bytes::len) as u64;
        stop_if_cut(context).map(|()| None)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        context: &mut Self::CTX,
        mut e: Box<Error>,
    ) -> Box<Error> {
        // Another address of the same, checked set; nothing was sent yet.
        e.set_retry(context.attempts < 3);
        e
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        e: &Error,
        context: &mut Self::CTX,
    ) -> FailToProxy {
        let was_cut = context.cut().is_some();
        let cut = context.cut().map(|why| self.blank(why, context));
        let denial = cut
            .or_else(|| context.denial.take())
            .or_else(|| self.failure(e, context));
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
            match denial.reason {
                Reason::AddressClosed | Reason::OwnListener => finish.denied(&denial),
                Reason::PolicyChanged | Reason::LockedDown if !was_cut => finish.denied(&denial),
                reason => finish.failed(reason, denial.detail.clone()),
            }
        }
        let status = denial.status();
        if session.response_written().is_none() {
            context.seen.status = Some(status);
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
        let status = session.response_written().map(|r| r.status.as_u16());
        finish.done(context.outcome(status, read, sent));
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
        context.epoch = self.services.live.epoch();
        let policy = self.services.policy.load();
        let mut decision = policy.decide_request(&RequestFacts {
            entry: connection.entry,
            client: connection.client.ip(),
            authority: &arrival.authority,
            method: method.as_str(),
            path: arrival.path(),
            upgrade: arrival.upgrade,
        });
        let lockdown = self.services.dialer.gate().level();
        if lockdown.forbids_request(decision.action) {
            decision.action = Action::Deny;
            decision.reason = Reason::LockedDown;
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
        finish.judged_under(policy.generation());
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
                let method = session.req_header().method.clone();
                let stand = || {
                    let subject = Subject {
                        authority: arrival.authority.clone(),
                        address: None,
                        doing: Doing::Respond(asked(&method, arrival), context.egress.clone()),
                    };
                    self.services
                        .stand(&arrival.connection, context.epoch, subject)
                };
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
                respond::respond(
                    session,
                    handler,
                    request,
                    rule,
                    &arrival.connection.leash,
                    stand,
                )
                .await
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
                let was_cut = context.cut().is_some();
                if let Some(finish) = &mut context.finish {
                    match was_cut {
                        true => finish.failed(reason, None),
                        false => finish.denied(&denial),
                    }
                }
                context.seen.status = Some(denial.status());
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

    /// The refusal for a failed forward; `None` when there is nobody left to tell.
    fn failure(&self, e: &Error, context: &RequestContext) -> Option<Denial> {
        let reason = match (e.esource(), e.etype()) {
            (ErrorSource::Downstream, _) => return None,
            (_, ErrorType::ConnectTimedout) => Reason::ConnectTimeout,
            (
                _,
                ErrorType::ConnectRefused | ErrorType::ConnectError | ErrorType::ConnectNoRoute,
            ) => Reason::ConnectFailed,
            (
                _,
                ErrorType::TLSHandshakeFailure
                | ErrorType::TLSHandshakeTimedout
                | ErrorType::InvalidCert
                | ErrorType::TLSWantX509Lookup,
            ) => Reason::UpstreamTlsFailed,
            (_, ErrorType::ReadTimedout | ErrorType::WriteTimedout) => Reason::UpstreamTimeout,
            (ErrorSource::Upstream, _) => Reason::UpstreamFailed,
            _ => Reason::Internal,
        };
        Some(self.blank(reason, context))
    }

    fn blank(&self, reason: Reason, context: &RequestContext) -> Denial {
        Denial {
            reason,
            rule: context.rule.clone().unwrap_or_else(RuleName::none),
            authority: context.arrival.as_ref().map(|a| a.authority.clone()),
            detail: None,
            method: String::new(),
            path: String::new(),
        }
    }
}

fn asked(method: &http::Method, arrival: &Arrival) -> Asked {
    Asked {
        method: method.clone(),
        path: arrival.path().to_owned(),
        upgrade: arrival.upgrade,
    }
}

/// Bytes that are still coming must not pass once the request is cut.
fn stop_if_cut(context: &RequestContext) -> pingora::Result<()> {
    match context.cut() {
        Some(why) => Error::e_explain(ErrorType::HTTPStatus(why.status()), why.code()),
        None => Ok(()),
    }
}

/// Writes a refusal and reads off what the client still sends, so that it reads the refusal.
async fn refuse(session: &mut Session, denial: &Denial) -> pingora::Result<()> {
    session.set_keepalive(None);
    let body = denial.body();
    let header = denial.header(body.len())?;
    session
        .write_response_header(Box::new(header), false)
        .await?;
    let body = (session.req_header().method != http::Method::HEAD).then_some(body);
    session.write_response_body(body, true).await?;
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
