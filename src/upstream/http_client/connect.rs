//! How the HTTP client connects: dialled by [`Dialer`], through TLS where the origin says so. Called by
//! `http_client` alone.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    Origin, SendError,
    wire::{Counted, Wire},
};
use crate::{
    net::Host,
    upstream::dial::{Dialed, Dialer},
};

/// Whose server it is: the user's own, or one of the world.
#[derive(Clone, Copy)]
pub(super) enum Reach {
    Own,
    Outside,
}

pub(super) struct Connector {
    pub(super) reach: Reach,
    pub(super) dialer: Arc<Dialer>,
    pub(super) tls: TlsConnector,
    pub(super) connect_timeout: Duration,
}

impl Connector {
    pub(super) async fn connect(&self, origin: &Origin) -> Result<Conn, SendError> {
        let authority = &origin.authority;
        let dialed = match self.reach {
            Reach::Own => self.dialer.dial_own(authority, self.connect_timeout).await,
            Reach::Outside => self.dialer.dial(authority, self.connect_timeout).await,
        }?;
        let wire = dialed.leaves_machine().then(|| Arc::new(Wire::default()));
        let Dialed { stream, .. } = dialed;
        // Small requests must not wait for more.
        let _ = stream.set_nodelay(true);
        let counted = Counted {
            stream,
            wire: wire.clone(),
            gate: wire.is_some().then(|| self.dialer.gate().clone()),
        };
        let stream = if origin.tls {
            let name = match &authority.host {
                Host::Name(name) => ServerName::try_from(name.to_string())
                    .map_err(|e| SendError::Broken(format!("bad upstream name: {e}")))?,
                Host::Ip(ip) => ServerName::from(*ip),
            };
            let handshake =
                tokio::time::timeout(self.connect_timeout, self.tls.connect(name, counted));
            let stream = handshake
                .await
                .map_err(|_| SendError::Tls(format!("no answer in {:?}", self.connect_timeout)))?
                .map_err(|e| SendError::Tls(e.to_string()))?;
            Stream::Tls(Box::new(stream))
        } else {
            Stream::Plain(counted)
        };
        Ok(Conn { stream, wire })
    }
}

#[derive(Debug)]
enum Stream {
    Plain(Counted),
    Tls(Box<TlsStream<Counted>>),
}

/// A connection, in the clear or through TLS.
#[derive(Debug)]
pub(super) struct Conn {
    stream: Stream,
    /// Of a connection that leaves this machine.
    pub(super) wire: Option<Arc<Wire>>,
}

impl AsyncRead for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Stream::Tls(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Stream::Tls(s) => Pin::new(s).poll_write(cx, buf),
        }
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(s) => Pin::new(s).poll_write_vectored(cx, bufs),
            Stream::Tls(s) => Pin::new(s).poll_write_vectored(cx, bufs),
        }
    }
    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(s) => s.is_write_vectored(),
            Stream::Tls(s) => s.is_write_vectored(),
        }
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(s) => Pin::new(s).poll_flush(cx),
            Stream::Tls(s) => Pin::new(s).poll_flush(cx),
        }
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Stream::Tls(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}
