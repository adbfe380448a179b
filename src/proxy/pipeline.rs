//! The request checkpoint as Pingora calls it: judge, then refuse, answer or send on.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use pingora::{
    Error, ErrorType,
    http::{RequestHeader, ResponseHeader},
    prelude::HttpPeer,
    proxy::{FailToProxy, ProxyHttp, Session},
};
use time::OffsetDateTime;

use super::{
    answer::refuse,
    arrival::Arrival,
    context::RequestContext,
    denial::Denial,
    door,
    failure::failure,
    forward, identity,
    live::{Asked, Doing, Subject},
    outgoing::{self, Outgoing, Stopped},
    response,
    services::Services,
};
use crate::{
    policy::{Action, Reason},
    upstream::connector::PROXY_REFUSED,
};

/// The only implementor of Pingora's proxy trait.
pub struct Pipeline {
    pub(super) services: Arc<Services>,
}

impl Pipeline {
    pub fn new(services: Arc<Services>) -> Self {
        Self { services }
    }
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
        let downstream = session.as_downstream_mut();
        // A client that reads nothing holds a slot and an upstream.
        downstream.set_write_timeout(Some(self.services.limits.upstream_timeout));
        if arrival.upgrade {
            // Pingora's own limit of a minute would end a WebSocket whose client only listens.
            downstream.set_read_timeout(None);
        }
        let now = OffsetDateTime::now_utc();
        let decision = self.decide(session, context, &arrival, now);
        if let Some(scope) = context.known.newcomer.take()
            && decision.action != Action::Deny
            && let Some(known) = identity::welcome(&self.services, scope).await
        {
            context.identified(known);
        }
        let answered = match decision.action {
            _ if !self
                .within_limits(session, context, &arrival, &decision)
                .await? =>
            {
                true
            }
            Action::Deny => {
                let denial = self.denial(session, &arrival, &decision);
                if let Some(finish) = &mut context.finish {
                    finish.denied(&denial);
                }
                match context.unwelcome {
                    Some(why) => {
                        let refusing =
                            identity::refuse(&self.services, session, &arrival, &denial, why);
                        Box::pin(refusing).await?;
                    }
                    None => Box::pin(refuse(session, &denial)).await?,
                }
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
                let who = context.principal.clone();
                let begun =
                    Outgoing::begin(&self.services, request, &arrival, &decision, who.as_deref());
                match begun.and_then(|out| {
                    context
                        .watch(&self.services, request, &arrival)
                        .map(|()| out)
                }) {
                    Ok(outgoing) => {
                        context.outgoing = Some(outgoing);
                        match door::fetches(&self.services, session.req_header(), &arrival) {
                            Some(door) => {
                                let rule = &decision.rule;
                                Box::pin(
                                    self.answer_with(&*door, session, context, &arrival, rule),
                                )
                                .await?;
                                true
                            }
                            None => !self.may_dial(session, context, &arrival, &decision).await?,
                        }
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
                        Box::pin(refuse(session, &denial)).await?;
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
                address: to.address,
                terms: context.terms.clone(),
                who: context.principal.clone(),
                looked: context
                    .outgoing
                    .as_ref()
                    .and_then(|out| out.looked_into(&session.req_header().headers, arrival))
                    .map(Arc::new),
                trusted: to.trusted,
                doing: Doing::sending_on(Asked::of(session, arrival, context.size), arrival),
            };
            let standing = self
                .services
                .stand(&arrival.connection, context.epoch, subject)
                .map_err(|reason| forward::refusal(reason, arrival, rule))?;
            Ok((to, standing))
        });
        match stood {
            Ok((mut to, standing)) => {
                let watched = context.outgoing.as_ref().is_none_or(Outgoing::is_metered);
                if let Some(gate) = arrival.gate.as_ref().filter(|_| !watched) {
                    to.lend(&self.services, gate);
                }
                context.standing = Some(standing);
                context.attempts += 1;
                context.leaves_machine = to.leaves_machine;
                context.addresses = to.addresses;
                if context.upstream_began.is_none() {
                    let now = Instant::now();
                    context.upstream_began = Some(now);
                    let entry = arrival.connection.entry;
                    let own = now.duration_since(arrival.started);
                    self.services.metrics.overhead_forward(entry, own);
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
        let deed = context.known.deed.take();
        if let Err(unkept) = self.services.doorkeeper.keep(deed).await {
            return stop(context, unkept.into());
        }
        let (Some(arrival), Some(outgoing)) = (&context.arrival, &mut context.outgoing) else {
            return Error::e_explain(ErrorType::InternalError, "no decision for this request");
        };
        forward::request_header(&self.services, arrival, upstream)?;
        outgoing.attempt(arrival, upstream)?;
        let keeper = &self.services.doorkeeper;
        identity::towards_comfyui(keeper, &context.known, arrival, upstream)?;
        if context.checkpoint.is_some() {
            // Its answer is read.
            upstream.remove_header(&http::header::ACCEPT_ENCODING);
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        if let Some(pass) = &context.pass {
            pass.reached();
        }
        if let Some(words) = response::ill_formed(response) {
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, words).into_up());
        }
        if response.status == http::StatusCode::SWITCHING_PROTOCOLS {
            let Some(gate) = context.arrival.as_ref().and_then(|a| a.gate.as_ref()) else {
                let words = "upstream switches protocols unasked";
                return Err(Error::explain(ErrorType::InvalidHTTPHeader, words).into_up());
            };
            gate.open();
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        context.seen.status = Some(response.status.as_u16());
        let Some(arrival) = &context.arrival else {
            return Error::e_explain(ErrorType::InternalError, "no decision for this request");
        };
        match arrival.for_comfyui() {
            // ComfyUI's page knows it by the name that the browser called.
            Some(door) => response::clean(response, &door.called.host),
            None => response::clean(response, &arrival.authority.host),
        }
        door::disarm(&self.services, arrival, response)?;
        door::tell_browser(&self.services, arrival, response)?;
        if let Some(handed) = context.known.handed.take() {
            handed.put(response)?;
        }
        let method = &session.req_header().method;
        door::done(&self.services, arrival, method, response);
        context.chat = door::completes(arrival, method, response)?;
        if arrival.upgrade {
            // What the client sent for the upgraded connection is no request.
            session.set_keepalive(None);
        }
        if session.req_header().version == http::Version::HTTP_10 {
            // It knows no chunks: the end of the connection ends the body.
            response.remove_header(&http::header::TRANSFER_ENCODING);
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        context: &mut Self::CTX,
    ) -> pingora::Result<Option<Duration>> {
        if let (Some(chat), Some(arrival)) = (&mut context.chat, &context.arrival) {
            door::complete(&self.services, arrival, chat, body, end);
        }
        context.seen.sent += length(body);
        if let Some(checkpoint) = &mut context.checkpoint {
            let read = checkpoint.push(&self.services.doorkeeper, body.as_ref(), end);
            if let Err(unkept) = read {
                return stop(context, unkept.into()).map(|()| None);
            }
        }
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
        // A site's proxy that refused would do so again.
        let refused = matches!(e.etype(), ErrorType::CustomCode(PROXY_REFUSED, _));
        e.set_retry(!refused && context.attempts < context.addresses);
        e
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        #[cfg(unix)] _fd: std::os::unix::io::RawFd,
        #[cfg(windows)] _socket: std::os::windows::io::RawSocket,
        _digest: Option<&pingora::protocols::Digest>,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        // A connection of the pool says nothing about now.
        if let Some(pass) = context.pass.as_ref().filter(|_| !reused) {
            pass.reached();
        }
        // Counted as it goes, so that the sum is true however the request ends.
        if context.leaves_machine {
            context
                .egress
                .add(outgoing::head_size(session.req_header()));
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        stop_if_cut(context)?;
        let Some(outgoing) = &mut context.outgoing else {
            return Error::e_explain(ErrorType::InternalError, "no decision for this request");
        };
        context.seen.read += length(body);
        if let (Some(chat), Some(piece)) = (&mut context.chat_id, body.as_ref()) {
            let keeper = &self.services.doorkeeper;
            let tied = match chat.push(keeper, &context.known, piece) {
                Ok(deed) => keeper.keep(deed).await.map_err(Stopped::from),
                Err(stopped) => Err(stopped),
            };
            if let Err(stopped) = tied {
                return stop(context, stopped);
            }
        }
        if let Err(stopped) = outgoing.body(&self.services, body, end_of_stream) {
            return stop(context, stopped);
        }
        if context.leaves_machine {
            context.egress.add(length(body));
        }
        Ok(())
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        e: &Error,
        context: &mut Self::CTX,
    ) -> FailToProxy {
        let cut = context.cut();
        let denial = cut
            .map(|why| context.blank(why))
            .or_else(|| context.denial.take())
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
        if let Some(pass) = &context.pass {
            pass.ended(denial.reason);
        }
        if let Some(finish) = &mut context.finish {
            match cut {
                Some(why) => finish.failed(why, None),
                None => finish.unreached(&denial),
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

fn length(piece: &Option<Bytes>) -> u64 {
    piece.as_ref().map_or(0, Bytes::len) as u64
}

/// Bytes that are still coming must not pass once the request is cut.
fn stop_if_cut(context: &RequestContext) -> pingora::Result<()> {
    match context.cut() {
        Some(why) => Error::e_explain(ErrorType::HTTPStatus(why.status()), why.code()),
        None => Ok(()),
    }
}

/// Breaks off a forwarded request; `fail_to_proxy` answers and records it.
fn stop(context: &mut RequestContext, stopped: Stopped) -> pingora::Result<()> {
    let Stopped { reason, detail } = stopped;
    let denial = Denial {
        detail: Some(detail),
        ..context.blank(reason)
    };
    let status = denial.status();
    context.denial = Some(denial);
    Error::e_explain(ErrorType::HTTPStatus(status), "may not be sent on")
}
