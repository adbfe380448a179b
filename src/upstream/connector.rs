//! Pingora's sockets, opened here so that they are counted like every other one of ours.

use std::{io, sync::Arc, time::Duration};

use async_trait::async_trait;
use pingora::{
    Error, ErrorType,
    connectors::L4Connect,
    protocols::l4::{socket::SocketAddr as PingoraAddr, stream::Stream as L4Stream},
};
use tokio::net::TcpStream;

use super::{
    dial::reason_of,
    keep_alive::keep_alive,
    site_proxy::{SiteProxy, SiteProxyError},
};
use crate::{
    metrics::Metrics,
    net::{Authority, classify},
    policy::Reason,
};

/// Error type of a connect that failed for want of a file descriptor.
pub const NO_DESCRIPTOR: ErrorType = ErrorType::Custom("NoDescriptor");

/// Dials the address in the peer, which came from a checked one: Pingora never resolves.
#[derive(Clone)]
pub struct CountingConnector {
    metrics: Arc<Metrics>,
    /// Ours to keep: Pingora applies its own to its own sockets only.
    timeout: Duration,
}

impl CountingConnector {
    pub fn new(metrics: Arc<Metrics>, timeout: Duration) -> Self {
        Self { metrics, timeout }
    }
}

impl std::fmt::Debug for CountingConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CountingConnector")
    }
}

impl CountingConnector {
    /// The error's kind tells a timeout, ours or the system's.
    pub(super) async fn dial(&self, address: &PingoraAddr) -> io::Result<TcpStream> {
        let PingoraAddr::Inet(inet) = address else {
            return Err(io::Error::other("only TCP upstreams are dialled"));
        };
        #[allow(
            clippy::disallowed_methods,
            reason = "the address was checked by the dialer"
        )]
        let connecting = TcpStream::connect(inet);
        let connected = tokio::time::timeout(self.timeout, connecting)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let outcome = match &connected {
            Ok(_) => "ok",
            Err(e) if e.kind() == io::ErrorKind::TimedOut => Reason::ConnectTimeout.code(),
            Err(e) => reason_of(e).code(),
        };
        self.metrics.socket(classify(inet.ip()).as_str(), outcome);
        let stream = connected?;
        let _ = stream.set_nodelay(true);
        keep_alive(&stream);
        Ok(stream)
    }
}

#[async_trait]
impl L4Connect for CountingConnector {
    async fn connect(&self, address: &PingoraAddr) -> pingora::Result<L4Stream> {
        match self.dial(address).await {
            Ok(stream) => Ok(stream.into()),
            Err(e) => Err(undialled(e)),
        }
    }
}

/// What Pingora is told of a failed [`CountingConnector::dial`].
pub(super) fn undialled(e: io::Error) -> Box<Error> {
    if e.kind() == io::ErrorKind::TimedOut {
        return Error::explain(ErrorType::ConnectTimedout, "no answer in time");
    }
    if reason_of(&e) == Reason::Overloaded {
        // Ours, not the upstream's: `proxy::failure` reads it off the type.
        return Error::explain(NO_DESCRIPTOR, "no file descriptor is left");
    }
    Error::because(ErrorType::ConnectError, "while connecting upstream", e)
}

/// Pingora's name for a site's proxy that answered with this status instead of connecting.
pub const PROXY_REFUSED: &str = "UpstreamProxyRefused";

/// Dials the site's proxy, and asks it for one destination.
#[derive(Debug)]
pub struct ProxiedConnector {
    sockets: Arc<CountingConnector>,
    proxy: Arc<SiteProxy>,
    target: Authority,
}

impl ProxiedConnector {
    pub fn new(sockets: Arc<CountingConnector>, proxy: Arc<SiteProxy>, target: Authority) -> Self {
        Self {
            sockets,
            proxy,
            target,
        }
    }
}

#[async_trait]
impl L4Connect for ProxiedConnector {
    async fn connect(&self, address: &PingoraAddr) -> pingora::Result<L4Stream> {
        let mut stream = match self.sockets.dial(address).await {
            Ok(stream) => stream,
            Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                return Error::e_explain(ErrorType::ConnectTimedout, "upstream proxy");
            }
            Err(e) if reason_of(&e) == Reason::Overloaded => return Err(undialled(e)),
            Err(e) => return broken(SiteProxyError::Unreachable(e)),
        };
        let asking = self.proxy.ask(&mut stream, &self.target);
        match tokio::time::timeout(self.sockets.timeout, asking).await {
            Ok(Ok(())) => Ok(stream.into()),
            Ok(Err(SiteProxyError::Refused(status))) => Error::e_explain(
                ErrorType::CustomCode(PROXY_REFUSED, status),
                "no connection was made",
            ),
            Ok(Err(e)) => broken(e),
            Err(_) => Error::e_explain(ErrorType::ConnectTimedout, "upstream proxy"),
        }
    }
}

fn broken(e: SiteProxyError) -> pingora::Result<L4Stream> {
    Error::e_because(ErrorType::ConnectError, "upstream proxy", e)
}
