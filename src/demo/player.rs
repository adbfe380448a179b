//! The player: an HTTP client like the plugin's, which knows only our own listeners and trusts only
//! the exported bundle.
//!
//! It speaks CONNECT, TLS and HTTP/1.1 for itself: a client that shared the proxy's code would
//! share its mistakes. Everything is bounded in time by [`Player::patience`], and in size.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::task::AbortOnDropHandle;

use super::{
    answer::{Answer, Reply},
    call::{Call, Way},
    ledger::Trace,
    report::LlmReport,
    step::{Fault, must},
};
use crate::{net::Authority, tls::ClientTls, upstream::loopback};

/// Largest head of an answer to CONNECT, refusal included.
const MAX_CONNECT_ANSWER: usize = 16 << 10;

/// What every step needs to know.
#[derive(Debug)]
pub struct Player {
    pub explicit: SocketAddr,
    pub reverse: SocketAddr,
    pub llm: LlmReport,
    /// For one exchange; a real LLM on a small machine takes its time.
    pub patience: Duration,
    tls: Arc<ClientConfig>,
}

impl Player {
    /// `bundle`: the PEM file that clients are told to trust.
    pub fn new(
        explicit: SocketAddr,
        reverse: SocketAddr,
        llm: LlmReport,
        patience: Duration,
        bundle: &Path,
    ) -> Result<Self, Fault> {
        let unusable = |e: String| Fault(format!("CA bundle {}: {e}", bundle.display()));
        let mut roots = RootCertStore::empty();
        let pem = CertificateDer::pem_file_iter(bundle).map_err(|e| unusable(e.to_string()))?;
        // A system's bundle holds one or two roots that rustls cannot read; clients skip them.
        roots.add_parsable_certificates(pem.filter_map(Result::ok));
        let tls = ClientTls::new(roots)
            .config_for(None)
            .map_err(|e| unusable(e.to_string()))?;
        Ok(Self {
            explicit,
            reverse,
            llm,
            patience,
            tls,
        })
    }
}

/// One step being played: it notes a trace of each request, so that the audit log can be asked.
pub struct Turn {
    pub player: Arc<Player>,
    pub traces: Vec<Trace>,
}

/// What came of a CONNECT: a stream through the proxy, or its refusal.
pub enum Tunnel<S> {
    Open(S),
    Refused(Answer),
}

impl Turn {
    pub fn new(player: Arc<Player>) -> Self {
        Self {
            player,
            traces: Vec::new(),
        }
    }

    /// Sends one request on a connection of its own and reads the whole answer.
    pub async fn send(&mut self, call: Call) -> Result<Answer, Fault> {
        let player = self.player.clone();
        let whole = async { self.open(call).await?.read().await };
        within(player.patience, whole).await
    }

    /// Sends one request and leaves the answer's body to be read as it comes.
    pub async fn open(&mut self, call: Call) -> Result<Reply, Fault> {
        let mut line = self.line(&call).await?;
        let mut reply = self.send_on(&mut line, call).await?;
        reply.keep(line);
        Ok(reply)
    }

    /// A connection that takes several requests, one after the other.
    pub async fn line(&mut self, call: &Call) -> Result<Line, Fault> {
        let player = self.player.clone();
        let connecting = async {
            match call.way {
                Way::Tunnel => match self.tunnel(&call.authority, None).await? {
                    Tunnel::Open(tls) => Line::over(tls).await,
                    Tunnel::Refused(answer) => Err(refused(&answer)),
                },
                Way::Plain => Line::over(dial(player.explicit).await?).await,
                Way::Reverse => Line::over(dial(player.reverse).await?).await,
            }
        };
        within(player.patience, connecting).await
    }

    pub async fn send_on(&mut self, line: &mut Line, call: Call) -> Result<Reply, Fault> {
        let request = call.request(&self.player.reverse.to_string())?;
        let sending = async {
            line.sender.ready().await?;
            line.sender.send_request(request).await
        };
        let response = within(self.player.patience, async {
            sending.await.map_err(|e| Fault(format!("no answer: {e}")))
        })
        .await?;
        let reply = Reply::new(response);
        self.traces.push(match reply.id() {
            Some(id) => Trace::Id(id),
            None => Trace::Request {
                authority: call.authority.to_string(),
                method: call.method.clone(),
                path: call.path().to_owned(),
            },
        });
        Ok(reply)
    }

    /// CONNECT alone, as httpx writes it (WIRE.md 0.2).
    pub async fn connect(&self, to: &Authority) -> Result<Tunnel<TcpStream>, Fault> {
        let mut stream = dial(self.player.explicit).await?;
        let head = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nAccept: */*\r\n\r\n");
        stream.write_all(head.as_bytes()).await.map_err(io_fault)?;
        let answer = connect_answer(&mut stream).await?;
        Ok(if answer.status == 200 {
            Tunnel::Open(stream)
        } else {
            Tunnel::Refused(answer)
        })
    }

    /// CONNECT, then TLS with `sni` (the host's own name if none is given).
    pub async fn tunnel(
        &self,
        to: &Authority,
        sni: Option<&str>,
    ) -> Result<Tunnel<TlsStream<TcpStream>>, Fault> {
        let stream = match self.connect(to).await? {
            Tunnel::Open(stream) => stream,
            Tunnel::Refused(answer) => return Ok(Tunnel::Refused(answer)),
        };
        let name = sni.map_or_else(|| to.host.to_string(), str::to_owned);
        let name = ServerName::try_from(name).map_err(|e| Fault(e.to_string()))?;
        let tls = TlsConnector::from(self.player.tls.clone())
            .connect(name, stream)
            .await;
        tls.map(Tunnel::Open)
            .map_err(|e| Fault(format!("TLS inside the tunnel: {e}")))
    }
}

/// The words for an unexpected refusal.
fn refused(answer: &Answer) -> Fault {
    let message = answer
        .json()
        .ok()
        .and_then(|j| Some(j.pointer("/error/message")?.to_string()));
    Fault(format!(
        "CONNECT was refused with {}: {}",
        answer.status,
        message.unwrap_or_default()
    ))
}

/// Bounds one exchange in time.
pub async fn within<T>(
    patience: Duration,
    exchange: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(patience, exchange).await {
        Ok(result) => result,
        Err(_) => Err(Fault(format!("no complete answer in {patience:?}"))),
    }
}

async fn dial(listener: SocketAddr) -> Result<TcpStream, Fault> {
    loopback::connect(listener).await.map_err(io_fault)
}

fn io_fault(e: std::io::Error) -> Fault {
    Fault(e.to_string())
}

/// An HTTP/1.1 connection.
pub struct Line {
    sender: SendRequest<Full<Bytes>>,
    /// Drives the connection; dropping the line closes it.
    _driver: AbortOnDropHandle<()>,
}

impl Line {
    async fn over<S>(stream: S) -> Result<Self, Fault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|e| Fault(e.to_string()))?;
        let driver = tokio::spawn(async move {
            // How it ended shows in the answer that it carried.
            let _ = connection.await;
        });
        Ok(Self {
            sender,
            _driver: AbortOnDropHandle::new(driver),
        })
    }
}

/// Reads the proxy's answer to CONNECT byte by byte up to its blank line, so that nothing of the
/// tunnel is taken; a refusal's body is read to its length.
async fn connect_answer(stream: &mut TcpStream) -> Result<Answer, Fault> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        must(head.len() < MAX_CONNECT_ANSWER, || {
            "the answer to CONNECT has no end".into()
        })?;
        head.push(stream.read_u8().await.map_err(io_fault)?);
    }
    let mut answer = Answer::of_head(&head)?;
    if answer.status != 200 {
        let length: usize = answer.header("content-length").parse().unwrap_or(0);
        must(length <= MAX_CONNECT_ANSWER, || {
            "the refusal of CONNECT is too long".into()
        })?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.map_err(io_fault)?;
        answer.body = body.into();
    }
    Ok(answer)
}
