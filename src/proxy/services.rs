//! Everything the pipeline calls, built once by `app`.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::{budget::Budgets, identity::Doorkeeper, live::Live, memory::Memory};
use crate::{
    audit::AuditLog,
    front_door::FrontDoor,
    guard::Guards,
    handler::Handler,
    limit::{Limiter, breaker::Breaker},
    metrics::Metrics,
    net::{Authority, Host},
    page::OwnNames,
    policy::{Action, CompiledPolicy, ConnectionAction, Lockdown, Reason, Responder},
    store::Totals,
    tls::LeafCache,
    upstream::{connector::CountingConnector, dial::Dialer, ech::EchGuard, private_ca::PrivateCas},
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
    pub front_door: Arc<dyn Handler>,
}

impl Responders {
    pub fn of(&self, responder: Responder) -> &Arc<dyn Handler> {
        match responder {
            Responder::Llm => &self.llm,
            Responder::Mcp => &self.mcp,
            Responder::Copilot => &self.copilot,
            Responder::ModelScope => &self.model_scope,
            Responder::Sink => &self.sink,
            Responder::Image => &self.image,
            Responder::FrontDoor => &self.front_door,
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

/// What the entries that are no proxies stand for.
#[derive(Clone, Debug)]
pub struct Routes {
    /// The vendor's host that a base URL replaces.
    pub vendor: Authority,
    /// Longest prefix first.
    pub routes: Vec<Route>,
    /// `None`: there is no front door.
    pub door: Option<DoorRoute>,
}

/// What the front door stands for.
#[derive(Clone, Debug)]
pub struct DoorRoute {
    /// By which it may be called.
    pub names: OwnNames,
    pub comfyui: Authority,
    /// ComfyUI is spoken to in TLS.
    pub tls: bool,
    /// What requests for its own paths are judged as.
    pub own: Authority,
    /// Largest body that is sent on to ComfyUI.
    pub upload_bytes: Option<u64>,
    pub guards: Guards,
}

impl Routes {
    pub fn find(&self, path: &str) -> Option<usize> {
        self.routes.iter().position(|r| {
            path.strip_prefix(r.prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// Host header values that a browser cannot be tricked into sending to a loopback listener:
    /// addresses, single labels (container names), `localhost`, and the vendor's own name.
    pub fn host_is_ours(&self, host: &Host) -> bool {
        match host {
            Host::Ip(_) => true,
            Host::Name(name) => {
                !name.contains('.') || name.ends_with(".localhost") || *host == self.vendor.host
            }
        }
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
    /// Swapped when the set of intercepted names changes.
    pub leafs: ArcSwap<LeafCache>,
    pub responders: Responders,
    pub routes: Routes,
    /// `None`: there is none, and nothing arrives by it.
    pub front_door: Option<Arc<FrontDoor>>,
    pub private_cas: ArcSwap<PrivateCas>,
    pub ech: ArcSwap<EchGuard>,
    pub budgets: Arc<Budgets>,
    /// How much one caller may ask.
    pub limiter: Limiter,
    /// Before ComfyUI, at the front door.
    pub breaker: Arc<Breaker>,
    /// What is open, to be cut when what is allowed changes.
    pub live: Arc<Live>,
    /// Who is let in.
    pub doorkeeper: Doorkeeper,
    pub limits: Limits,
    /// For heads and bodies of all requests together.
    pub memory: Arc<Memory>,
    /// Cancelled when we stop: no new work, and what has no end of its own ends.
    pub closing: CancellationToken,
}

impl Services {
    /// What stands above the policy, in this order: the kill switch, and a log that cannot be written.
    /// `None` leaves its word as it is.
    pub fn overrules_connection(&self, action: ConnectionAction) -> Option<Reason> {
        if self.dialer.gate().level().forbids_connection(action) {
            return Some(Reason::LockedDown);
        }
        self.unaudited(action == ConnectionAction::Deny)
    }

    /// As [`Self::overrules_connection`], for a request. ComfyUI behind the front door may be on this
    /// machine, where a lockdown of what leaves it does not reach: the dialer's gate tells.
    pub fn overrules_request(&self, action: Action, for_comfyui: bool) -> Option<Reason> {
        let level = self.dialer.gate().level();
        let forbidden = match for_comfyui && action == Action::Forward {
            true => level == Lockdown::All,
            false => level.forbids_request(action),
        };
        if forbidden {
            return Some(Reason::LockedDown);
        }
        self.unaudited(action == Action::Deny)
    }

    fn unaudited(&self, denied: bool) -> Option<Reason> {
        (!denied && !self.audit.healthy()).then_some(Reason::AuditUnavailable)
    }
}
