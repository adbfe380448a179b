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
use time::OffsetDateTime;

use super::{
    arrival::Arrival,
    denial::Denial,
    finish::{Finish, Outcome},
    forward,
    outgoing::{self, Outgoing, Stopped},
    respond::{self, RespondError},
    services::Services,
};
use crate::{
    audit::AuditKind,
    handler::{EgressMeter, Exchange, LocalRequest, Note},
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

/// State of one request on its way through.
#[derive(Default)]
pub struct RequestContext {
    arrival: Option<Arrival>,
    finish: Option<Finish>,
    rule: Option<RuleName>,
    /// What a forwarded request may send.
    outgoing: Option<Outgoing>,
    egress: EgressMeter,
    note: Note,
    leaves_machine: bool,
    attempts: usize,
    /// A refusal found after the decision, to be answered by `fail_to_proxy`.
    denial: Option<Denial>,
    upstream_began: Option<Instant>,
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
        let now = OffsetDateTime::now_utc();
        let decision = self.decide(session, context, &arrival, now);
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
            Action::Forward => {
                let request = session.req_header();
                match Outgoing::begin(&self.services, request, &arrival, &decision, now) {
                    Ok(outgoing) => {
                        context.outgoing = Some(outgoing);
                        false
                    }
                    Err(stopped) => {
                        let denial = Denial {
                            reason: stopped.reason,
                            detail: Some(stopped.detail),
                            ..self.denial(session, &arrival, &decision)
                        };
                        if let Some(finish) = &mut context.finish {
                            if denial.reason == Reason::SecretFound {
                                finish.hide_path();
                            }
                            finish.denied(&denial);
                        }
                        refuse(session, &denial).await?;
                        true
                    }
                }
            }
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
            Ok(mut to) => {
                if let Some(outgoing) = &context.outgoing {
                    let options = &mut to.peer.options;
                    options.read_timeout = outgoing.patience(options.read_timeout);
                }
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
            Some(arrival) => {
                forward::request_header(&self.services, arrival, upstream)?;
                match &mut context.outgoing {
                    Some(outgoing) => outgoing.attempt(arrival, upstream),
                    None => Ok(()),
                }
            }
            None => Error::e_explain(ErrorType::InternalError, "no decision for this request"),
        }
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        let Some(outgoing) = &mut context.outgoing else {
            return Error::e_explain(ErrorType::InternalError, "no decision for this request");
        };
        let judged = outgoing.body(&self.services, body, end_of_stream);
        judged.or_else(|stopped| stop(context, stopped))
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        _body: &mut Option<Bytes>,
        _end_of_stream: bool,
        context: &mut Self::CTX,
    ) -> pingora::Result<Option<Duration>> {
        let judged = context
            .outgoing
            .as_ref()
            .map_or(Ok(()), Outgoing::not_ended);
        judged.or_else(|stopped| stop(context, stopped))?;
        Ok(None)
    }

    async fn response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        _context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        forward::response_header(response);
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
        e.set_retry(context.attempts < 3);
        e
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        e: &Error,
        context: &mut Self::CTX,
    ) -> FailToProxy {
        let denial = context.denial.take().or_else(|| self.failure(e, context));
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
                Reason::AddressClosed
                | Reason::OwnListener
                | Reason::SecretFound
                | Reason::BudgetSpent => finish.denied(&denial),
                reason => finish.failed(reason, denial.detail.clone()),
            }
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
        let forwarded = if context.leaves_machine && context.upstream_began.is_some() {
            read + outgoing::head_size(session.req_header())
        } else {
            0
        };
        let mut note = context.note.read();
        if context.upstream_began.is_some() && note.answered_by.is_none() {
            note.answered_by = Some("upstream".into());
        }
        finish.done(Outcome {
            status: session.response_written().map(|r| r.status.as_u16()),
            bytes_in: read,
            bytes_out: sent,
            left_machine_bytes: context.egress.bytes() + forwarded,
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
        now: OffsetDateTime,
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
            size: outgoing::size_of(session.req_header(), arrival),
        };
        let decision = self.services.policy.load().decide_request(&facts, now);
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
                    parts: respond::request_parts(session.req_header(), arrival)?,
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
                respond::respond(session, handler, request, rule).await
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
        Some(Denial {
            reason,
            rule: context.rule.clone().unwrap_or_else(RuleName::none),
            authority: context.arrival.as_ref().map(|a| a.authority.clone()),
            detail: None,
            method: String::new(),
            path: String::new(),
        })
    }
}

/// Breaks off a forwarded request; `fail_to_proxy` answers and records it.
fn stop(context: &mut RequestContext, stopped: Stopped) -> pingora::Result<()> {
    let Stopped { reason, detail } = stopped;
    let denial = Denial {
        reason,
        rule: context.rule.clone().unwrap_or_else(RuleName::none),
        authority: context.arrival.as_ref().map(|a| a.authority.clone()),
        detail: Some(detail),
        method: String::new(),
        path: String::new(),
    };
    let status = denial.status();
    context.denial = Some(denial);
    Error::e_explain(ErrorType::HTTPStatus(status), "may not be sent on")
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
