//! Everything the pipeline calls, built once by `app`.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use crate::{
    audit::AuditLog,
    handler::Handler,
    metrics::Metrics,
    net::{Authority, Host},
    policy::{CompiledPolicy, Responder},
    store::Totals,
    tls::LeafCache,
    upstream::{connector::CountingConnector, dial::Dialer, private_ca::PrivateCas},
};

/// Bounds of the edge and the pipeline. Sizes in bytes.
#[derive(Clone, Debug)]
pub struct Limits {
    pub head_bytes: usize,
    pub head_timeout: Duration,
    /// How long a kept-alive connection may wait for its next request.
    pub idle_timeout: Duration,
    pub client_hello_timeout: Duration,
    pub connect_timeout: Duration,
    /// Between two reads of an upstream's response.
    pub upstream_timeout: Duration,
    pub connections: usize,
    /// Refusals for overload that are written at the same time.
    pub farewells: usize,
    /// Connections to upstreams that are kept for the next request.
    pub idle_upstreams: usize,
    pub drain_timeout: Duration,
    /// Largest request body that is answered here; a handler may want less.
    pub body_bytes: usize,
}

/// One handler per [`Responder`]: a closed set, so every rule has someone who answers.
pub struct Responders {
    pub llm: Arc<dyn Handler>,
    pub mcp: Arc<dyn Handler>,
    pub copilot: Arc<dyn Handler>,
    pub model_scope: Arc<dyn Handler>,
    pub sink: Arc<dyn Handler>,
    pub image: Arc<dyn Handler>,
}

impl Responders {
    pub fn of(&self, responder: Responder) -> &dyn Handler {
        match responder {
            Responder::Llm => &*self.llm,
            Responder::Mcp => &*self.mcp,
            Responder::Copilot => &*self.copilot,
            Responder::ModelScope => &*self.model_scope,
            Responder::Sink => &*self.sink,
            Responder::Image => &*self.image,
        }
    }
}

/// A path of the reverse entry that leads to an upstream of its own.
#[derive(Clone, Debug)]
pub struct Route {
    pub prefix: String,
    pub authority: Authority,
    pub tls: bool,
    /// The Host header to send.
    pub host: String,
}

/// What the reverse entry stands for.
#[derive(Clone, Debug)]
pub struct Routes {
    /// The vendor's host that a base URL replaces.
    pub vendor: Authority,
    /// Longest prefix first.
    pub routes: Vec<Route>,
}

impl Routes {
    pub fn find(&self, path: &str) -> Option<usize> {
        self.routes.iter().position(|r| {
            path.strip_prefix(r.prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

pub struct Services {
    pub policy: ArcSwap<CompiledPolicy>,
    pub metrics: Arc<Metrics>,
    pub audit: Arc<AuditLog>,
    pub totals: Arc<Totals>,
    pub dialer: Arc<Dialer>,
    /// Pingora's way out; one for all, or pooled connections would not be shared.
    pub connector: Arc<CountingConnector>,
    pub leafs: Arc<LeafCache>,
    pub responders: Responders,
    pub routes: Routes,
    pub private_cas: PrivateCas,
    pub limits: Limits,
    /// Cancelled when we stop: no new work, and what has no end of its own ends.
    pub closing: CancellationToken,
}

impl Services {
    /// Host header values that a browser cannot be tricked into sending to a loopback listener:
    /// addresses, single labels (container names), `localhost`, and the vendor's own name.
    pub fn host_is_ours(&self, host: &Host) -> bool {
        match host {
            Host::Ip(_) => true,
            Host::Name(name) => {
                !name.contains('.')
                    || name.ends_with(".localhost")
                    || *host == self.routes.vendor.host
            }
        }
    }
}
