//! What the pipeline says itself: a handler's answer, or a refusal.
//!
//! Called by `pipeline` alone, after the decision. A refusal is written here for forwarded requests
//! too; nothing here decides.

use http::HeaderName;
use pingora::{
    Error, ErrorType,
    http::{RequestHeader, ResponseHeader},
    proxy::Session,
};

use super::{
    arrival::Arrival,
    context::RequestContext,
    denial::{DECISION_HEADER, Denial},
    door, forward, identity,
    live::{Asked, Doing, Subject},
    pipeline::Pipeline,
    respond::{self, Around, RespondError},
    services::Services,
};
use crate::{
    front_door::ORIGIN_SEEN,
    handler::{
        Exchange, Handler, LocalRequest,
        cors::{Caller, OriginPolicy},
    },
    policy::{Reason, Responder, RuleName},
};

impl Pipeline {
    pub(super) async fn answer(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
        arrival: &Arrival,
        responder: Responder,
        rule: &RuleName,
    ) -> pingora::Result<()> {
        let handler = self.services.responders.of(responder).clone();
        let handler = door::dressed(&self.services, arrival, handler);
        self.answer_with(&*handler, session, context, arrival, rule)
            .await
    }

    /// Lets `handler` answer, whatever it is that was allowed.
    pub(super) async fn answer_with(
        &self,
        handler: &dyn Handler,
        session: &mut Session,
        context: &mut RequestContext,
        arrival: &Arrival,
        rule: &RuleName,
    ) -> pingora::Result<()> {
        let entry = arrival.connection.entry;
        let limit = handler.max_body().min(self.services.limits.body_bytes);
        let mut held = self.services.memory.hold();
        let read = match respond::read_body(session, limit, &mut held).await {
            Ok(body) => {
                let deed = context.known.deed.take();
                let kept = self.services.doorkeeper.keep(deed).await;
                kept.map(|()| body).map_err(RespondError::from)
            }
            Err(e) => Err(e),
        };
        let outcome = match read {
            Err(e) => {
                held.release();
                Err(e)
            }
            Ok(body) => {
                let note = context.note().clone();
                let asked = Asked::of(session, arrival, context.size);
                let who = context.stands_on();
                let stand = || {
                    let subject = Subject {
                        authority: arrival.authority.clone(),
                        address: None,
                        terms: context.terms.clone(),
                        who: who.clone(),
                        looked: None,
                        trusted: None,
                        doing: match arrival.for_comfyui() {
                            Some(_) => Doing::ComfyUi(asked.clone()),
                            None => Doing::Respond(asked.clone(), context.egress.clone()),
                        },
                    };
                    self.services
                        .stand(&arrival.connection, context.epoch, subject)
                };
                let request = LocalRequest {
                    parts: request_parts(&self.services, session.req_header(), arrival)?,
                    body,
                    exchange: Exchange {
                        id: arrival.id,
                        entry,
                        client: arrival.connection.client.ip(),
                        authority: arrival.authority.clone(),
                        tls: arrival.connection.tls,
                        egress: context.egress.clone(),
                        principal: context.principal.clone(),
                        note,
                    },
                };
                self.services
                    .metrics
                    .overhead_respond(entry, arrival.started.elapsed());
                let around = Around {
                    handed: context.known.handed.take(),
                    connection: &arrival.connection,
                    closing: &self.services.closing,
                    seen: &mut context.seen,
                };
                respond::respond(session, handler, request, rule, stand, around).await
            }
        };
        match outcome {
            Ok(_) => {
                let failed = context.note().read().failed;
                if let (Some(finish), Some(reason)) = (&mut context.finish, failed) {
                    finish.failed(reason, None);
                }
                Ok(())
            }
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
                let normal_end = reason == Reason::ClientGone && context.note().read().open_ended;
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

/// A page that may read answers may read why there is none. Others see "Failed to fetch".
fn readable_by_its_page(
    asked: &http::HeaderMap,
    header: &mut ResponseHeader,
) -> pingora::Result<()> {
    if !asked.contains_key(http::header::ORIGIN) {
        return Ok(());
    }
    header.append_header(http::header::VARY, "Origin")?;
    if let Caller::Page(origin) = OriginPolicy::private_only().judge(asked) {
        header.insert_header(http::header::ACCESS_CONTROL_ALLOW_ORIGIN, origin)?;
        let ours = format!("{DECISION_HEADER}, proxy-status");
        header.insert_header(http::header::ACCESS_CONTROL_EXPOSE_HEADERS, ours)?;
    }
    Ok(())
}

pub(super) async fn refuse(session: &mut Session, denial: &Denial) -> pingora::Result<()> {
    let body = denial.body();
    let header = denial.header(body.len())?;
    write_refusal(session, header, body).await
}

/// As [`refuse`], with a head and a body of the caller's.
pub(super) async fn write_refusal(
    session: &mut Session,
    mut header: ResponseHeader,
    body: bytes::Bytes,
) -> pingora::Result<()> {
    session.set_keepalive(None);
    readable_by_its_page(&session.req_header().headers, &mut header)?;
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
    services: &Services,
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
    let for_comfyui = arrival.for_comfyui().is_some();
    let ends_here = |name: &HeaderName| match name.as_str() {
        _ if nominated.contains(name) => true,
        _ if for_comfyui => forward::stays_here(name),
        // The front door has compared it; a handler knows nothing of the door's names.
        "origin" => arrival.door.is_some(),
        "connection" | "keep-alive" | "te" | "trailer" | "upgrade" => true,
        name => name.starts_with("proxy-") || name.starts_with("x-airlock-"),
    };
    parts.headers = header
        .headers
        .iter()
        .filter(|(name, _)| !ends_here(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    identity::without_ours(&services.doorkeeper, &mut parts.headers);
    if arrival.door.is_some()
        && !for_comfyui
        && let Some(origin) = header.headers.get(http::header::ORIGIN)
    {
        // No client can set it: names that begin so end here.
        parts.headers.insert(ORIGIN_SEEN, origin.clone());
    }
    Ok(parts)
}
