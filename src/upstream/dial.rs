//! Resolve once, check every answer, dial only what was checked.
//!
//! Behind a site's proxy ([`SiteProxy`]) what is resolved, checked and dialled is the proxy; the
//! destination is judged by its name and sent to it.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use smallvec::{SmallVec, smallvec};
use tokio::{net::TcpStream, time::Instant};

use super::{
    gate::Gate,
    keep_alive::keep_alive,
    resolver::Resolver,
    site_proxy::{SiteProxy, SiteProxyError},
};
use crate::{
    metrics::Metrics,
    net::{Authority, Host, address::nat64},
    policy::{
        Lockdown, Reason,
        address::{AddressPolicy, CheckedAddr, check, check_unresolved},
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
    proxy: Option<Arc<SiteProxy>>,
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
            proxy: None,
            own_listeners: Default::default(),
        }
    }

    /// What this site makes everything go through.
    pub fn behind(mut self, proxy: Option<SiteProxy>) -> Self {
        self.proxy = proxy.map(Arc::new);
        self
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

    /// How a client's `authority` is reached, judged as far as it can be. Servers that the
    /// configuration names are dialled by us whatever the site's proxy is.
    pub async fn way(&self, authority: &Authority) -> Result<Way, DialError> {
        let Some(proxy) = self.proxy.as_ref() else {
            return self.direct(authority).await;
        };
        // Its address is open, for us alone.
        if proxy.authority() == authority {
            return Err(DialError {
                authority: authority.clone(),
                reason: Reason::AddressClosed,
                detail: "it is the upstream proxy itself".into(),
            });
        }
        let named = self.policy.load().permits_private(authority);
        match named || proxy.exempts(&authority.host) {
            true => self.direct(authority).await,
            false => self.through(proxy, authority).await,
        }
    }

    /// The same for a request of this process's own, to the LLM.
    async fn own_way(&self, authority: &Authority) -> Result<Way, DialError> {
        let here = match &authority.host {
            Host::Ip(ip) => ip.to_canonical().is_loopback(),
            Host::Name(name) => &**name == "localhost",
        };
        let proxy = self.proxy.as_ref().filter(|p| p.takes_own_requests());
        match proxy.filter(|p| !here && !p.exempts(&authority.host)) {
            Some(proxy) => self.through(proxy, authority).await,
            None => self.direct(authority).await,
        }
    }

    async fn direct(&self, authority: &Authority) -> Result<Way, DialError> {
        Ok(Way {
            addresses: self.check(authority).await?,
            proxy: None,
        })
    }

    async fn through(
        &self,
        proxy: &Arc<SiteProxy>,
        authority: &Authority,
    ) -> Result<Way, DialError> {
        let fail = |reason, detail: &str| DialError {
            authority: authority.clone(),
            reason,
            detail: detail.into(),
        };
        // Wherever the proxy is, what goes through it leaves this machine.
        if self.gate.level() != Lockdown::Off {
            return Err(fail(Reason::LockedDown, "airlock is locked down"));
        }
        let own = self.own_listeners.load();
        check_unresolved(authority, &self.policy.load(), &own).map_err(|reason| {
            fail(
                reason,
                "a private name or address, which no upstream proxy is asked for",
            )
        })?;
        let addresses = self.check(proxy.authority()).await.map_err(|e| DialError {
            detail: format!("the upstream proxy could not be reached: {}", e.detail),
            ..e
        })?;
        Ok(Way {
            addresses,
            proxy: Some(proxy.clone()),
        })
    }

    /// The addresses of `authority`, every one of them checked. One closed address closes all:
    /// a name that answers with a public and a private address is an attack or a mistake.
    async fn check(&self, authority: &Authority) -> Result<Addresses, DialError> {
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
            let address = check(authority, SocketAddr::new(ip, port), &policy, &own)
                .map_err(|reason| fail(reason, format!("address {ip} is closed")))?;
            match listens_on_all(&own, port) && is_of_this_machine(address.socket().ip()) {
                true => Err(fail(
                    Reason::OwnListener,
                    format!("address {ip} is this machine's, where airlock listens on all"),
                )),
                false => Ok(address),
            }
        };
        match &authority.host {
            Host::Ip(ip) => Ok(smallvec![judge(*ip)?]),
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
                let mut addresses = Addresses::with_capacity(answers.len());
                for ip in answers.iter() {
                    addresses.push(judge(*ip)?);
                }
                Ok(addresses)
            }
        }
    }

    /// Connects to a client's `authority`, trying its addresses in order within `timeout` in all.
    pub async fn dial(
        &self,
        authority: &Authority,
        timeout: Duration,
    ) -> Result<Dialed, DialError> {
        let deadline = Instant::now() + timeout;
        let way = self.way(authority).await?;
        self.go(way, authority, deadline).await
    }

    /// The same for a request of this process's own, to the LLM.
    pub async fn dial_own(
        &self,
        authority: &Authority,
        timeout: Duration,
    ) -> Result<Dialed, DialError> {
        let deadline = Instant::now() + timeout;
        let way = self.own_way(authority).await?;
        self.go(way, authority, deadline).await
    }

    async fn go(
        &self,
        way: Way,
        authority: &Authority,
        deadline: Instant,
    ) -> Result<Dialed, DialError> {
        let fail = |reason, detail: String| DialError {
            authority: authority.clone(),
            reason,
            detail,
        };
        let mut last = fail(Reason::ConnectTimeout, "no answer in time".into());
        for address in way.addresses {
            let connected = self.connect(address, deadline).await;
            let stream = match (connected, &way.proxy) {
                (Ok(stream), None) => Ok(stream),
                (Ok(mut stream), Some(proxy)) => {
                    let asking = proxy.ask(&mut stream, authority);
                    match tokio::time::timeout_at(deadline, asking).await {
                        Ok(Ok(())) => Ok(stream),
                        Ok(Err(e)) => Err((refusal(&e), e.to_string())),
                        Err(_) => Err((
                            Reason::ConnectTimeout,
                            "the upstream proxy did not answer in time".into(),
                        )),
                    }
                }
                (Err((reason, detail)), None) => Err((reason, detail)),
                (Err((reason, detail)), Some(_)) => Err((
                    reason,
                    format!("the upstream proxy could not be reached: {detail}"),
                )),
            };
            match stream {
                Ok(stream) => {
                    return Ok(Dialed {
                        stream,
                        address,
                        through_proxy: way.proxy.is_some(),
                    });
                }
                Err((reason, detail)) => last = fail(reason, detail),
            }
            if last.reason == Reason::UpstreamProxyRefused {
                // Its other addresses would say the same.
                break;
            }
        }
        Err(last)
    }

    async fn connect(
        &self,
        address: CheckedAddr,
        deadline: Instant,
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
            Ok(Err(e)) => Err((reason_of(&e), plain_words(&e))),
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

fn listens_on_all(own: &[SocketAddr], port: u16) -> bool {
    own.iter()
        .any(|listener| listener.ip().is_unspecified() && listener.port() == port)
}

/// Whether an interface has this address: only such a one can be bound. Nothing is sent; and asked only
/// where the port is one that we listen on everywhere, so that it would lead back to us.
fn is_of_this_machine(ip: IpAddr) -> bool {
    // A gateway of the network dials the address inside.
    let ip = nat64(ip).map_or(ip, IpAddr::from);
    UdpSocket::bind((ip, 0)).is_ok()
}

/// Whose fault a failed connect was: the destination's, or ours because no descriptor is left.
pub(super) fn reason_of(e: &std::io::Error) -> Reason {
    // EMFILE and ENFILE; std has no stable kind for them.
    match e.raw_os_error() {
        #[cfg(unix)]
        Some(23 | 24) => Reason::Overloaded,
        _ if e.kind() == std::io::ErrorKind::TimedOut => Reason::ConnectTimeout,
        _ => Reason::ConnectFailed,
    }
}

/// The system's words for a failed connect, without the error number.
fn plain_words(e: &std::io::Error) -> String {
    match e.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".into(),
        _ => e.to_string(),
    }
}

/// What it is called that a site's proxy made no connection.
fn refusal(e: &SiteProxyError) -> Reason {
    match e {
        SiteProxyError::Refused(_) => Reason::UpstreamProxyRefused,
        SiteProxyError::Malformed | SiteProxyError::Broken(_) | SiteProxyError::Unreachable(_) => {
            Reason::ConnectFailed
        }
    }
}

/// Mostly one, or one of each family.
pub type Addresses = SmallVec<[CheckedAddr; 2]>;

/// How an authority is reached: checked addresses, its own or those of the site's proxy.
#[derive(Clone, Debug)]
pub struct Way {
    pub addresses: Addresses,
    /// Asked there for the authority, which it looks up itself.
    pub proxy: Option<Arc<SiteProxy>>,
}

/// A connected socket, and the checked address it goes to.
#[derive(Debug)]
pub struct Dialed {
    pub stream: TcpStream,
    pub address: CheckedAddr,
    /// The address is the proxy's.
    pub through_proxy: bool,
}

impl Dialed {
    /// True when bytes written here leave this machine.
    pub fn leaves_machine(&self) -> bool {
        self.through_proxy || !self.address.socket().ip().is_loopback()
    }
}
