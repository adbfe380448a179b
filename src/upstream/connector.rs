//! Pingora's sockets, opened here so that they are counted like every other one of ours.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use pingora::{
    Error, ErrorType, OrErr,
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
    pub(super) async fn dial(&self, address: &PingoraAddr) -> pingora::Result<TcpStream> {
        let PingoraAddr::Inet(inet) = address else {
            return Error::e_explain(ErrorType::ConnectError, "only TCP upstreams are dialled");
        };
        #[allow(
            clippy::disallowed_methods,
            reason = "the address was checked by the dialer"
        )]
        let connecting = TcpStream::connect(inet);
        let connected = tokio::time::timeout(self.timeout, connecting).await;
        let outcome = match &connected {
            Ok(Ok(_)) => "ok",
            Ok(Err(e)) => reason_of(e).code(),
            Err(_) => Reason::ConnectTimeout.code(),
        };
        self.metrics.socket(classify(inet.ip()).as_str(), outcome);
        if let Ok(Err(e)) = &connected
            && reason_of(e) == Reason::Overloaded
        {
            // Ours, not the upstream's: `proxy::failure` reads it off the type.
            return Error::e_explain(NO_DESCRIPTOR, "no file descriptor is left");
        }
        let stream = connected
            .or_err(ErrorType::ConnectTimedout, "no answer in time")?
            .or_err(ErrorType::ConnectError, "while connecting upstream")?;
        let _ = stream.set_nodelay(true);
        keep_alive(&stream);
        Ok(stream)
    }
}

#[async_trait]
impl L4Connect for CountingConnector {
    async fn connect(&self, address: &PingoraAddr) -> pingora::Result<L4Stream> {
        Ok(self.dial(address).await?.into())
    }
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
        let mut stream = self.sockets.dial(address).await?;
        let asking = self.proxy.ask(&mut stream, &self.target);
        match tokio::time::timeout(self.sockets.timeout, asking).await {
            Ok(Ok(())) => Ok(stream.into()),
            Ok(Err(SiteProxyError::Refused(status))) => Error::e_explain(
                ErrorType::CustomCode(PROXY_REFUSED, status),
                "no connection was made",
            ),
            Ok(Err(e @ (SiteProxyError::Malformed | SiteProxyError::Broken(_)))) => {
                Error::e_because(ErrorType::ConnectError, "upstream proxy", e)
            }
            Err(_) => Error::e_explain(ErrorType::ConnectTimedout, "upstream proxy"),
        }
    }
}
