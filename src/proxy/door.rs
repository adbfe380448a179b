//! What the front door adds to the pipeline: who may call, pages that are rewritten, and what the
//! browser is told with every answer. Which pages may have the base URL send something on stands
//! here too.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, StatusCode, header};
use pingora::http::{RequestHeader, ResponseHeader};

use super::{arrival::Arrival, carries::Carries, services::Services};
use crate::{
    front_door::{self, FrontDoor},
    guard::{
        self,
        answer::{self, Disarm},
    },
    handler::{
        Handler, LocalRequest, LocalResponse,
        cors::{self, OriginPolicy},
    },
    net::Entry,
    page::{self, AccessFault, Caller, LastLine},
    policy::Reason,
};

/// Why a request at the front door is refused, whatever the rules say. Its Host was judged with its
/// head; here are the headers.
pub fn refuses(services: &Services, arrival: &Arrival, request: &RequestHeader) -> Option<Reason> {
    let at = arrival.door.as_ref()?;
    let Some(door) = &services.routes.door else {
        return Some(Reason::Internal);
    };
    let caller = Caller {
        own: &at.called,
        method: &request.method,
        headers: arrival
            .carries
            .among(Carries::ORIGIN | Carries::FETCH, &request.headers),
        upgrade: arrival.upgrade,
        tls: arrival.connection.tls,
    };
    match door.names.judge(&caller) {
        Ok(()) => None,
        Err(AccessFault::Host) => Some(Reason::HostNotAllowed),
        Err(AccessFault::Origin) => Some(Reason::OriginNotAllowed),
        Err(AccessFault::PlainWebsocket) => Some(Reason::PlainWebsocket),
    }
}

/// Why the base URL sends nothing on: a page of a public site asks, and whoever is behind may take it
/// for ours (a WebSocket's answer can be read by any page). Answers of this process judge it themselves.
pub fn is_strange(arrival: &Arrival, request: &RequestHeader) -> Option<Reason> {
    let by_base_url =
        arrival.connection.entry == Entry::Reverse && arrival.carries.any(Carries::ORIGIN);
    let caller = by_base_url.then(|| OriginPolicy::private_only().judge(&request.headers))?;
    match caller {
        cors::Caller::NoOrigin | cors::Caller::Page(_) => None,
        cors::Caller::Stranger => Some(Reason::OriginNotAllowed),
    }
}

/// Puts what the browser is told into a response that leaves by the front door.
pub fn tell_browser(
    services: &Services,
    arrival: &Arrival,
    response: &mut ResponseHeader,
) -> pingora::Result<()> {
    let door = services.front_door.as_ref();
    match door.filter(|_| arrival.door.is_some()) {
        Some(door) => door.tell(|name, value| response.append_header(name, value).map(drop)),
        None => Ok(()),
    }
}

/// Tells the front door what ComfyUI did.
pub fn done(services: &Services, arrival: &Arrival, method: &Method, response: &ResponseHeader) {
    let door = services.front_door.as_ref();
    let door = door.filter(|_| arrival.for_comfyui().is_some());
    if let Some(door) = door.filter(|_| response.status.is_success()) {
        door.done(method, arrival.path());
    }
}

/// Files that somebody uploaded are no pages and no scripts of ours.
pub fn disarm(
    services: &Services,
    arrival: &Arrival,
    response: &mut ResponseHeader,
) -> pingora::Result<()> {
    let door = services.routes.door.as_ref();
    let guarded = door.is_some_and(|door| door.guards.active_content);
    let serves_files = guard::serves_files(arrival.path());
    if !guarded || !serves_files || arrival.for_comfyui().is_none() || arrival.upgrade {
        return Ok(());
    }
    if matches!(
        response.status,
        StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT
    ) {
        // It speaks of what the browser has, which came by here as well.
        return response.insert_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    }
    let kinds = response.headers.get_all(header::CONTENT_TYPE);
    // Of two, one browser takes the first and another the last.
    let sole = kinds.iter().nth(1).is_none();
    let kind = kinds.iter().next().and_then(|v| v.to_str().ok());
    let disarm = answer::disarm(arrival.path(), kind.filter(|_| sole));
    match disarm {
        Disarm::Nothing => return Ok(()),
        Disarm::Nosniff => {}
        Disarm::Picture | Disarm::Download => {
            let said = response.headers.get(header::CONTENT_DISPOSITION);
            let attachment = answer::attachment(said.and_then(|v| v.to_str().ok()));
            response.insert_header(header::CONTENT_DISPOSITION, attachment)?;
            response.append_header(header::CONTENT_SECURITY_POLICY, answer::SANDBOX)?;
        }
    }
    if disarm == Disarm::Download {
        response.insert_header(header::CONTENT_TYPE, answer::BYTES)?;
    }
    response.insert_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
}

/// A handler whose answers carry what the browser is told, where they leave by the front door.
pub fn dressed(
    services: &Services,
    arrival: &Arrival,
    handler: Arc<dyn Handler>,
) -> Arc<dyn Handler> {
    match services
        .front_door
        .as_ref()
        .filter(|_| arrival.door.is_some())
    {
        Some(door) => Arc::new(Dressed {
            handler,
            door: door.clone(),
        }),
        None => handler,
    }
}

struct Dressed {
    handler: Arc<dyn Handler>,
    door: Arc<FrontDoor>,
}

#[async_trait]
impl Handler for Dressed {
    async fn handle(&self, request: LocalRequest) -> LocalResponse {
        let mut response = self.handler.handle(request).await;
        let headers = response.headers_mut();
        if headers.contains_key(http::header::CONTENT_SECURITY_POLICY) {
            // A page of our own, which is allowed less than ComfyUI's.
            return response;
        }
        let told: Result<(), std::convert::Infallible> = self.door.tell(|name, value| {
            headers.append(name, value.clone());
            Ok(())
        });
        match told {
            Ok(()) => response,
        }
    }

    fn max_body(&self) -> usize {
        self.handler.max_body()
    }
}

/// What holds the last line of a chat's answer back, where this is one. Its length changes on the way.
pub fn completes(
    arrival: &Arrival,
    method: &Method,
    response: &mut ResponseHeader,
) -> pingora::Result<Option<LastLine>> {
    let is_chat = arrival.for_comfyui().is_some()
        && *method == Method::POST
        && arrival.path() == page::CHAT_PATH
        && response.status == StatusCode::OK
        && !response.headers.contains_key(header::CONTENT_ENCODING);
    if !is_chat {
        return Ok(None);
    }
    if response.remove_header(&header::CONTENT_LENGTH).is_some() {
        response.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    Ok(Some(LastLine::default()))
}

/// Passes a piece of a chat's answer on, and completes its last line.
pub fn complete(
    services: &Services,
    arrival: &Arrival,
    chat: &mut LastLine,
    body: &mut Option<Bytes>,
    end: bool,
) {
    let mut out = chat.push(body.as_deref().unwrap_or_default());
    if end {
        let door = services.front_door.as_ref();
        let cards = |session: &str| door?.cards(session, arrival.started);
        out.extend(std::mem::take(chat).finish(cards));
    }
    // Nothing to write yet is an empty piece, which is not written.
    *body = Some(out.into());
}

/// The front door, where it has to fetch this itself to rewrite it.
pub fn fetches(
    services: &Services,
    request: &RequestHeader,
    arrival: &Arrival,
) -> Option<Arc<FrontDoor>> {
    arrival.for_comfyui().filter(|_| !arrival.upgrade)?;
    let door = services.front_door.as_ref()?;
    if guard::serves_files(arrival.path()) {
        // Whatever it is, it is no part of ComfyUI's page: it streams, and is disarmed.
        return None;
    }
    let said = arrival.carries.among(Carries::FETCH, &request.headers);
    front_door::wants(&request.method, arrival.path(), said).then(|| door.clone())
}
