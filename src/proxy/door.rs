//! What the front door adds to the pipeline: who may call, pages that are rewritten, and what the
//! browser is told with every answer.

use std::sync::Arc;

use async_trait::async_trait;
use http::header;
use pingora::http::{RequestHeader, ResponseHeader};

use super::{arrival::Arrival, services::Services};
use crate::{
    front_door::{self, FrontDoor},
    guard::{
        self,
        answer::{self, Disarm},
    },
    handler::{Handler, LocalRequest, LocalResponse},
    page::{AccessFault, Caller},
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
        headers: &request.headers,
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

/// Files that somebody uploaded are no pages and no scripts of ours.
pub fn disarm(
    services: &Services,
    arrival: &Arrival,
    response: &mut ResponseHeader,
) -> pingora::Result<()> {
    let door = services.routes.door.as_ref();
    let guarded = door.is_some_and(|door| door.guards.active_content);
    if !guarded || arrival.for_comfyui().is_none() || arrival.upgrade {
        return Ok(());
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
            response.insert_header(header::CONTENT_DISPOSITION, answer::ATTACHMENT)?;
            response.append_header(header::CONTENT_SECURITY_POLICY, answer::SANDBOX)?;
        }
    }
    if disarm == Disarm::Download && kinds_matter(response.status) {
        response.insert_header(header::CONTENT_TYPE, answer::BYTES)?;
    }
    response.insert_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
}

/// A 304 speaks of what the browser has.
fn kinds_matter(status: http::StatusCode) -> bool {
    !matches!(
        status,
        http::StatusCode::NOT_MODIFIED | http::StatusCode::NO_CONTENT
    )
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
    front_door::wants(&request.method, arrival.path(), &request.headers).then(|| door.clone())
}
