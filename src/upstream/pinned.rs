//! Pingora's way to an upstream that shows the very certificate of its `ca_file`.
//!
//! `openssl req -x509` makes a certificate that is its own CA, which Pingora's verifier takes for no
//! server's. For such a file TLS is done here, by the verifier of every other connection of ours
//! (`tls::connector`); Pingora gets the plain side. Such connections are not kept for later requests:
//! Pingora knows pooled ones by a descriptor, which these do not have.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use pingora::{
    Error, ErrorType, OrErr,
    connectors::L4Connect,
    protocols::l4::{
        socket::SocketAddr as PingoraAddr,
        stream::Stream as L4Stream,
        virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream},
    },
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::connector::{CountingConnector, undialled};

/// Dials like [`CountingConnector`], and shakes hands as a client of one name.
#[derive(Debug)]
pub struct PinnedConnector {
    tcp: CountingConnector,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    timeout: Duration,
}

impl PinnedConnector {
    pub fn new(
        tcp: &CountingConnector,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        timeout: Duration,
    ) -> Self {
        Self {
            tcp: tcp.clone(),
            config,
            name,
            timeout,
        }
    }
}

#[async_trait]
impl L4Connect for PinnedConnector {
    async fn connect(&self, address: &PingoraAddr) -> pingora::Result<L4Stream> {
        let tcp = self.tcp.dial(address).await.map_err(undialled)?;
        let shaking = TlsConnector::from(self.config.clone()).connect(self.name.clone(), tcp);
        let tls = tokio::time::timeout(self.timeout, shaking)
            .await
            .map_err(|_| Error::explain(ErrorType::TLSHandshakeTimedout, "no answer in time"))?
            .or_err(ErrorType::TLSHandshakeFailure, "with an upstream")?;
        Ok(VirtualSocketStream::new(Box::new(Inside(tls))).into())
    }
}

/// The plain side of it.
#[derive(Debug)]
struct Inside(TlsStream<TcpStream>);

impl VirtualSocket for Inside {
    /// Set when it was dialled.
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Inside {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Inside {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
