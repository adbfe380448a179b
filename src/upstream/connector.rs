//! Pingora's sockets, opened here so that they are counted like every other one of ours.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::{
    Error, ErrorType, OrErr,
    connectors::L4Connect,
    protocols::l4::{socket::SocketAddr as PingoraAddr, stream::Stream as L4Stream},
};

use crate::{metrics::Metrics, net::classify};

/// Dials the address in the peer, which came from a checked one: Pingora never resolves.
#[derive(Clone)]
pub struct CountingConnector {
    metrics: Arc<Metrics>,
}

impl CountingConnector {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics }
    }
}

impl std::fmt::Debug for CountingConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CountingConnector")
    }
}

#[async_trait]
impl L4Connect for CountingConnector {
    async fn connect(&self, address: &PingoraAddr) -> pingora::Result<L4Stream> {
        let PingoraAddr::Inet(inet) = address else {
            return Error::e_explain(ErrorType::ConnectError, "only TCP upstreams are dialled");
        };
        #[allow(
            clippy::disallowed_methods,
            reason = "the address was checked by the dialer"
        )]
        let connected = tokio::net::TcpStream::connect(inet).await;
        let outcome = if connected.is_ok() {
            "ok"
        } else {
            "connect_failed"
        };
        self.metrics.socket(classify(inet.ip()).as_str(), outcome);
        let stream = connected.or_err(ErrorType::ConnectError, "while connecting upstream")?;
        let _ = stream.set_nodelay(true);
        Ok(stream.into())
    }
}
