//! Reading a client's first flight: who it asks for, before anything is answered.
//!
//! `listener` calls [`read_with_timeout`] on a fresh tunnel or transparent connection, judges
//! [`ClientHelloInfo`], and replays `raw` into whatever comes next (a TLS acceptor or the
//! upstream). [`HelloParser`] does the work on bytes alone and is what the fuzz target drives.
//!
//! Strict on purpose: what is judged here is parsed again by somebody else, and anything that two
//! parsers might read in two ways is refused. Our own parse comes first; rustls must then accept
//! the same bytes and agree on the name. Nothing is ever written to the client here.

mod parse;

use std::{io, time::Duration};

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::net::Host;
pub use parse::HelloParser;

/// A bound that real hellos stay far below: with post-quantum key shares they are under 2 KiB.
pub const MAX_CLIENT_HELLO: usize = 16 << 10;

/// What a ClientHello says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHelloInfo {
    /// Server name, canonical; always a name, never an address. `None` when not sent.
    pub sni: Option<Host>,
    /// Offered protocols in the client's order, as sent.
    pub alpn: Vec<Vec<u8>>,
    /// Offered protocol versions as sent, GREASE included; the legacy one where the extension is absent.
    pub versions: Vec<u16>,
    /// An encrypted_client_hello extension is there, real or GREASE: from outside, both look alike.
    pub ech: bool,
    /// Every byte taken from the stream, for replay; may hold bytes past the hello.
    pub raw: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    #[error("first bytes are not a tls handshake")]
    NotTls,
    #[error("client hello is larger than {max} bytes")]
    TooLarge { max: usize },
    #[error("client hello is invalid: {0}")]
    Invalid(String),
    #[error("connection ended inside the client hello")]
    Eof,
    #[error("client hello was not complete after {0:?}")]
    Timeout(Duration),
    #[error("reading the client hello failed: {0}")]
    Io(#[from] io::Error),
}

/// Reads until the ClientHello is complete. Takes no more than `max_bytes` and one read beyond.
/// The caller bounds the time, or uses [`read_with_timeout`].
pub async fn read_client_hello(
    stream: &mut (impl AsyncRead + Unpin),
    max_bytes: usize,
) -> Result<ClientHelloInfo, HelloError> {
    let mut parser = HelloParser::new(max_bytes);
    let mut chunk = [0_u8; 2048];
    loop {
        let read = stream.read(&mut chunk).await?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Err(HelloError::Eof);
        };
        if let Some(info) = parser.push(bytes)? {
            return Ok(info);
        }
    }
}

/// [`read_client_hello`], complete within `limit` or [`HelloError::Timeout`].
pub async fn read_with_timeout(
    stream: &mut (impl AsyncRead + Unpin),
    max_bytes: usize,
    limit: Duration,
) -> Result<ClientHelloInfo, HelloError> {
    tokio::time::timeout(limit, read_client_hello(stream, max_bytes))
        .await
        .unwrap_or(Err(HelloError::Timeout(limit)))
}

#[cfg(test)]
mod tests;
