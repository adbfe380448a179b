//! What the edge established about a connection and a request before Pingora runs.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use uuid::Uuid;

use super::{
    body::Framing, carries::Carries, identity::Visitor, live::Leash, upgrade::UpgradeGate,
};
use crate::{
    config::Secret,
    net::{Authority, Entry, Port},
};

/// Facts of a downstream connection; shared by its requests.
#[derive(Debug)]
pub struct Connection {
    pub entry: Entry,
    pub client: SocketAddr,
    /// The client spoke TLS to us (interception, transparent TLS).
    pub tls: bool,
    /// Every request must be for this: the CONNECT target, or the name in the SNI.
    pub bound_to: Option<Authority>,
    /// Who opened it, where that had to be said.
    pub visitor: Option<Arc<Visitor>>,
    /// For ending it when what is allowed changes.
    pub leash: Leash,
}

impl Connection {
    /// The same for a tunnel whose opener is known. Nothing of the connection was in the registry yet.
    pub fn opened_by(&self, visitor: Visitor) -> Self {
        Self {
            entry: self.entry,
            client: self.client,
            tls: self.tls,
            bound_to: self.bound_to.clone(),
            visitor: Some(Arc::new(visitor)),
            leash: Leash::default(),
        }
    }

    /// Port of an authority that names none.
    pub fn default_port(&self) -> Port {
        if self.tls { Port::HTTPS } else { Port::HTTP }
    }
}

/// One request, as the edge read and judged its form. Travels to [`super::Pipeline`] inside the
/// session, so that both decide about the same thing.
#[derive(Debug)]
pub struct Arrival {
    pub connection: Arc<Connection>,
    pub id: Uuid,
    /// When its head was complete.
    pub started: Instant,
    /// The one authority that is judged, resolved, dialled and logged.
    pub authority: Authority,
    /// Canonical path and query: what is judged is what is sent.
    pub target: Arc<str>,
    /// Length of the path in `target`.
    pub path_length: usize,
    pub framing: Framing,
    pub carries: Carries,
    /// It asks for a protocol upgrade.
    pub upgrade: bool,
    /// Opened when the upstream has switched; there for an upgrade.
    pub gate: Option<Arc<UpgradeGate>>,
    /// The target differs from the request line and must be set on what goes upstream.
    pub rewritten: bool,
    /// The reverse route it came by, an index into [`super::Routes`].
    pub route: Option<usize>,
    /// `Proxy-Authorization` of a plain request on the proxy port.
    pub proxy_key: Option<Secret<String>>,
    /// It came by the front door.
    pub door: Option<AtDoor>,
}

/// What the front door knows of a request.
#[derive(Debug)]
pub struct AtDoor {
    /// The name that the browser called, which is also the origin of its page.
    pub called: Authority,
    /// It is for ComfyUI, and not for us.
    pub for_comfyui: bool,
}

impl Arrival {
    pub fn for_comfyui(&self) -> Option<&AtDoor> {
        self.door.as_ref().filter(|door| door.for_comfyui)
    }

    pub fn path(&self) -> &str {
        self.target.get(..self.path_length).unwrap_or(&self.target)
    }
}
