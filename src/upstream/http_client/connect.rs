//! How the HTTP client connects: dialled by [`Dialer`], through TLS where the origin says so. Called by
//! `http_client` alone.

use std::{sync::Arc, time::Duration};

use rustls::pki_types::ServerName;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;

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
            Either::Right(Box::new(stream))
        } else {
            Either::Left(counted)
        };
        Ok(Conn { stream, wire })
    }
}

/// In the clear, or through TLS.
pub(super) type Stream = Either<Counted, Box<TlsStream<Counted>>>;

pub(super) struct Conn {
    pub(super) stream: Stream,
    /// Of a connection that leaves this machine.
    pub(super) wire: Option<Arc<Wire>>,
}
