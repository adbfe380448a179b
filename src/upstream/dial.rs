//! Resolve once, check every answer, dial only what was checked.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::TcpStream;

use super::{gate::Gate, keep_alive::keep_alive, resolver::Resolver};
use crate::{
    metrics::Metrics,
    net::{Authority, Host},
    policy::{
        Reason,
        address::{AddressPolicy, CheckedAddr, check},
    },
};

/// Why a dial failed; `reason` is what the audit record, the metric and the response carry.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{authority}: {detail}")]
pub struct DialError {
    pub authority: Authority,
    pub reason: Reason,
    pub detail: String,
}

/// Opens outbound connections.
pub struct Dialer {
    metrics: Arc<Metrics>,
    resolver: Resolver,
    /// A reload swaps it.
    policy: arc_swap::ArcSwap<AddressPolicy>,
    gate: Arc<Gate>,
    /// Bound once the listeners are; empty before that, when nothing is dialled.
    own_listeners: arc_swap::ArcSwap<Vec<SocketAddr>>,
}

impl Dialer {
    pub fn new(metrics: Arc<Metrics>, policy: AddressPolicy, resolve_timeout: Duration) -> Self {
        Self {
            resolver: Resolver::new(metrics.clone(), resolve_timeout),
            metrics,
            policy: arc_swap::ArcSwap::from_pointee(policy),
            gate: Arc::default(),
            own_listeners: Default::default(),
        }
    }

    /// Addresses that nothing may be dialled at, because we listen there.
    pub fn set_own_listeners(&self, listeners: Vec<SocketAddr>) {
        self.own_listeners.store(Arc::new(listeners));
    }

    /// From now on these addresses are open; what is open under the old ones is the caller's to cut.
    pub fn set_policy(&self, policy: AddressPolicy) {
        self.policy.store(Arc::new(policy));
    }

    pub fn policy(&self) -> Arc<AddressPolicy> {
        self.policy.load_full()
    }

    /// The kill switch of everything that is dialled here.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Whether a connection that was dialled once may go on.
    pub fn still_open(&self, authority: &Authority, address: SocketAddr) -> Result<(), Reason> {
        if !self.gate.open_to(address.ip()) {
            return Err(Reason::LockedDown);
        }
        let own = self.own_listeners.load();
        check(authority, address, &self.policy.load(), &own)
            .map(drop)
            .map_err(|_| Reason::PolicyChanged)
    }

    /// The addresses of `authority`, every one of them checked. One closed address closes all:
    /// a name that answers with a public and a private address is an attack or a mistake.
    pub async fn check(&self, authority: &Authority) -> Result<Vec<CheckedAddr>, DialError> {
        let fail = |reason: Reason, detail: String| DialError {
            authority: authority.clone(),
            reason,
            detail,
        };
        let locked = || fail(Reason::LockedDown, "airlock is locked down".into());
        if !self.gate.open_for(&authority.host) {
            return Err(locked());
        }
        let port = authority.port.number();
        let own = self.own_listeners.load();
        let policy = self.policy.load_full();
        let judge = |ip| {
            if !self.gate.open_to(ip) {
                return Err(locked());
            }
            check(authority, SocketAddr::new(ip, port), &policy, &own)
                .map_err(|reason| fail(reason, format!("address {ip} is closed")))
        };
        match &authority.host {
            Host::Ip(ip) => Ok(vec![judge(*ip)?]),
            Host::Name(name) => {
                let answers = self.resolver.resolve(name).await.map_err(|reason| {
                    fail(
                        reason,
                        match reason {
                            Reason::ResolveTimeout => "name server did not answer in time".into(),
                            Reason::Overloaded => "too many look-ups at once".into(),
                            _ => "name does not resolve".into(),
                        },
                    )
                })?;
                answers.iter().map(|ip| judge(*ip)).collect()
            }
        }
    }

    /// Connects to `authority`, trying its addresses in order within `timeout` in all.
    pub async fn dial(
        &self,
        authority: &Authority,
        timeout: Duration,
    ) -> Result<Dialed, DialError> {
        let fail = |reason, detail: String| DialError {
            authority: authority.clone(),
            reason,
            detail,
        };
        let deadline = tokio::time::Instant::now() + timeout;
        let mut last = fail(Reason::ConnectTimeout, format!("no answer in {timeout:?}"));
        for address in self.check(authority).await? {
            match self.connect(address, deadline).await {
                Ok(stream) => return Ok(Dialed { stream, address }),
                Err((reason, detail)) => last = fail(reason, detail),
            }
        }
        Err(last)
    }

    async fn connect(
        &self,
        address: CheckedAddr,
        deadline: tokio::time::Instant,
    ) -> Result<TcpStream, (Reason, String)> {
        #[allow(
            clippy::disallowed_methods,
            reason = "the one place that opens sockets"
        )]
        let connecting = TcpStream::connect(address.socket());
        let class = address.class().as_str();
        let outcome = match tokio::time::timeout_at(deadline, connecting).await {
            Err(_) => Err((
                Reason::ConnectTimeout,
                format!("{} did not answer in time", address.socket()),
            )),
            Ok(Err(e)) => Err((Reason::ConnectFailed, plain_words(&e))),
            Ok(Ok(stream)) => {
                // Streamed tokens are small writes; Nagle would hold them back.
                let _ = stream.set_nodelay(true);
                keep_alive(&stream);
                Ok(stream)
            }
        };
        self.metrics.socket(
            class,
            outcome.as_ref().map_or_else(|(r, _)| r.code(), |_| "ok"),
        );
        outcome
    }
}

/// The system's words for a failed connect, without the error number.
fn plain_words(e: &std::io::Error) -> String {
    match e.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".into(),
        _ => e.to_string(),
    }
}

/// A connected socket, and the checked address it goes to.
#[derive(Debug)]
pub struct Dialed {
    pub stream: TcpStream,
    pub address: CheckedAddr,
}

impl Dialed {
    /// True when bytes written here leave this machine.
    pub fn leaves_machine(&self) -> bool {
        !self.address.socket().ip().is_loopback()
    }
}
