//! One kept-alive HTTP/1.1 connection that reads answers as fast as they can be read.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub fn other(words: impl Into<String>) -> io::Error {
    io::Error::other(words.into())
}

pub struct Client {
    stream: Box<dyn Io>,
    buffer: Vec<u8>,
    filled: usize,
}

impl Client {
    pub async fn plain(address: SocketAddr) -> io::Result<Self> {
        let stream = dial(address).await?;
        Ok(Self::on(Box::new(stream)))
    }

    /// CONNECT through the proxy at `address`, then TLS that trusts exactly the CA of `tls`.
    pub async fn intercepted(
        address: SocketAddr,
        authority: &str,
        tls: Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let mut stream = dial(address).await?;
        let connect = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        stream.write_all(connect.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await?);
        }
        if !answer.starts_with(b"HTTP/1.1 200") {
            return Err(other(String::from_utf8_lossy(&answer)));
        }
        let host = authority.split(':').next().unwrap_or_default().to_owned();
        let name = ServerName::try_from(host).map_err(|e| other(e.to_string()))?;
        let stream = TlsConnector::from(tls).connect(name, stream).await?;
        Ok(Self::on(Box::new(stream)))
    }

    fn on(stream: Box<dyn Io>) -> Self {
        Self {
            stream,
            buffer: vec![0; 64 << 10],
            filled: 0,
        }
    }

    pub async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request).await?;
        self.stream.flush().await
    }

    /// Reads one answer with a Content-Length; it must be a 200.
    pub async fn receive(&mut self) -> io::Result<()> {
        loop {
            let seen = &self.buffer[..self.filled];
            if let Some(end) = memchr::memmem::find(seen, b"\r\n\r\n") {
                let total = end + 4 + length_of(&seen[..end])?;
                while self.filled < total {
                    self.more().await?;
                }
                self.buffer.copy_within(total..self.filled, 0);
                self.filled -= total;
                return Ok(());
            }
            self.more().await?;
        }
    }

    /// Reads until `needle` has come in the answer under way.
    pub async fn until(&mut self, needle: &[u8]) -> io::Result<()> {
        loop {
            let seen = &self.buffer[..self.filled];
            if memchr::memmem::find(seen, needle).is_some() {
                if !seen.starts_with(b"HTTP/1.1 200") {
                    return Err(other(String::from_utf8_lossy(seen)));
                }
                return Ok(());
            }
            self.more().await?;
        }
    }

    /// Forgets what was read: the answer is over.
    pub fn clear(&mut self) {
        self.filled = 0;
    }

    async fn more(&mut self) -> io::Result<()> {
        let room = self
            .buffer
            .get_mut(self.filled..)
            .filter(|room| !room.is_empty());
        let Some(room) = room else {
            return Err(other("answer is larger than 64 KiB"));
        };
        match self.stream.read(room).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.filled += n;
                Ok(())
            }
        }
    }
}

fn length_of(head: &[u8]) -> io::Result<usize> {
    if !head.starts_with(b"HTTP/1.1 200") {
        return Err(other(String::from_utf8_lossy(head)));
    }
    let text = std::str::from_utf8(head).map_err(|e| other(e.to_string()))?;
    text.split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .ok_or_else(|| other("answer has no Content-Length"))
}

#[allow(
    clippy::disallowed_methods,
    reason = "a load generator; dials what it is told to"
)]
async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// TLS that trusts the certificates in `ca` and nothing else, and speaks HTTP/1.1.
pub fn tls(ca: &Path) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for der in CertificateDer::pem_file_iter(ca).map_err(|e| other(e.to_string()))? {
        // Some system roots are not to rustls's taste; the one that counts is checked by use.
        let _ = roots.add(der.map_err(|e| other(e.to_string()))?);
    }
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| other(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
