//! What the edge established about a connection and a request before Pingora runs.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

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
    pub head_waits: HeadWaits,
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
            head_waits: HeadWaits::default(),
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

/// Lets the head of a streamed answer go out with what came with it.
///
/// Pingora flushes a head without a length by itself. Where the answer's first bytes are there
/// already, that is a segment, a system call and a wake of the client for nothing: whoever writes
/// both says so here, and the stream passes over that one flush.
#[derive(Debug, Default)]
pub struct HeadWaits(AtomicBool);

impl HeadWaits {
    /// The next flush is not the last word: more is written at once.
    pub fn for_the_body(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Everything goes out when it is flushed, as ever.
    pub fn no_more(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Asked by the stream at a flush: true once.
    pub fn takes_a_flush(&self) -> bool {
        // One task owns the connection, so that nothing comes between the two.
        self.0.load(Ordering::Relaxed) && {
            self.no_more();
            true
        }
    }
}
