//! HTTP/1.1 client for answers made in this process: the LLM gateway, its discovery, `doctor`, the
//! model sources.
//!
//! Every connection is dialled by [`Dialer`], so address checks and socket counts hold here too.
//! Connections are kept alive; bytes that leave the machine are counted for the very request they
//! belong to, TLS included. No redirect is followed, no proxy variable is read.
//! Dropping a [`Body`] or the future of [`HttpClient::send`] closes the connection, which is how an
//! upstream learns that nobody waits any more.

mod wire;

use std::{
    error::Error as StdError,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Extensions, HeaderMap, HeaderValue, Request, StatusCode, Uri, header, uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{CaptureConnection, Connected, Connection, capture_connection},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{TlsConnector, client::TlsStream};

use self::wire::{Counted, Wire};
use super::dial::{DialError, Dialed, Dialer};
use crate::{
    handler::EgressMeter,
    net::{Authority, BaseUrl, Host, Scheme},
};

/// Shorter than the keep-alive of the servers met here (uvicorn closes after 5 s), so that a
/// request never meets a connection that is being closed.
const IDLE: Duration = Duration::from_secs(4);
const IDLE_CONNECTIONS: usize = 16;

/// Where a request goes: scheme and authority, and how they are written in one. Made once for a server
/// that is asked often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub tls: bool,
    pub authority: Authority,
    written: Result<Written, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    authority: uri::Authority,
    /// For `Host`: without the port that the scheme implies.
    host: HeaderValue,
}

impl Origin {
    pub fn new(scheme: Scheme, authority: Authority) -> Self {
        let written = || {
            let host = authority.without_port(scheme.default_port());
            Ok::<_, http::Error>(Written {
                authority: authority.to_string().try_into()?,
                host: host.try_into()?,
            })
        };
        Self {
            tls: scheme == Scheme::Https,
            written: written().map_err(|e| e.to_string()),
            authority,
        }
    }

    pub fn of(base: &BaseUrl) -> Self {
        Self::new(base.scheme, base.authority.clone())
    }
}

/// Why no response head came.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the tls handshake failed: {0}")]
    Tls(String),
    /// Connected, and then no well-formed response.
    #[error("{0}")]
    Broken(String),
}

/// A response whose body is still on its way.
#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
}

/// A body as it comes in; dropping it cancels the request.
#[derive(Debug)]
pub struct Body {
    incoming: Incoming,
    _claim: Claim,
}

impl Body {
    /// The next bytes; `None` at a clean end, an error at any other.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, String>> {
        loop {
            match self.incoming.frame().await? {
                Ok(frame) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Some(Ok(data)),
                    // Trailers say nothing we need.
                    Err(_) => {}
                },
                Err(error) => return Some(Err(innermost(&error))),
            }
        }
    }
}

/// Why a body could not be had whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WholeError {
    /// It broke off, in words of the connection.
    #[error("{0}")]
    Broken(String),
    #[error("its answer is larger than {max} bytes")]
    TooLarge { max: usize },
}

impl Body {
    /// All of it, if that is at most `max` bytes.
    pub async fn whole(&mut self, max: usize) -> Result<Bytes, WholeError> {
        let mut all = BytesMut::new();
        while let Some(chunk) = self.chunk().await {
            let chunk = chunk.map_err(WholeError::Broken)?;
            if all.len() + chunk.len() > max {
                return Err(WholeError::TooLarge { max });
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }
}

/// Pooling client over [`Dialer`]; one per TLS configuration.
#[derive(Clone)]
pub struct HttpClient {
    inner: Client<Connector, Full<Bytes>>,
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HttpClient")
    }
}

impl HttpClient {
    /// `tls` verifies upstream certificates; offer no ALPN but `http/1.1` in it.
    pub fn new(dialer: Arc<Dialer>, tls: Arc<ClientConfig>, connect_timeout: Duration) -> Self {
        Self::reaching(Reach::Own, dialer, tls, connect_timeout)
    }

    /// For servers of the world, which a site's proxy stands before as it does for clients.
    pub fn outward(dialer: Arc<Dialer>, tls: Arc<ClientConfig>, connect_timeout: Duration) -> Self {
        Self::reaching(Reach::Outside, dialer, tls, connect_timeout)
    }

    fn reaching(
        reach: Reach,
        dialer: Arc<Dialer>,
        tls: Arc<ClientConfig>,
        connect_timeout: Duration,
    ) -> Self {
        let connector = Connector {
            reach,
            dialer,
            tls: TlsConnector::from(tls),
            connect_timeout,
        };
        let inner = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build(connector);
        Self { inner }
    }

    /// Sends one request and waits for the response head; the caller bounds the time.
    /// `request`'s URI is origin-form; `Host` is set here, unless the request has one.
    pub async fn send(
        &self,
        origin: &Origin,
        mut request: Request<Bytes>,
        egress: &EgressMeter,
    ) -> Result<Response, SendError> {
        let scheme = if origin.tls {
            uri::Scheme::HTTPS
        } else {
            uri::Scheme::HTTP
        };
        let written = origin.written.clone().map_err(SendError::Broken)?;
        let host = request.headers_mut().entry(header::HOST);
        host.or_insert(written.host);
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::builder()
            .scheme(scheme)
            .authority(written.authority)
            .path_and_query(path.unwrap_or_else(|| uri::PathAndQuery::from_static("/")))
            .build()
            .map_err(|e| SendError::Broken(e.to_string()))?;
        let mut request = request.map(Full::new);
        let mut claim = Claim {
            capture: capture_connection(&mut request),
            egress: egress.clone(),
            answered: false,
        };
        let response = self.inner.request(request).await.map_err(send_error)?;
        claim.answered = true;
        claim.take();
        let (parts, incoming) = response.into_parts();
        Ok(Response {
            status: parts.status,
            headers: parts.headers,
            body: Body {
                incoming,
                _claim: claim,
            },
        })
    }
}

/// Attributes a connection's bytes to the request that uses it.
struct Claim {
    capture: CaptureConnection,
    egress: EgressMeter,
    answered: bool,
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Claim({} bytes)", self.egress.bytes())
    }
}

impl Claim {
    fn wire(&self) -> Option<Arc<Wire>> {
        let mut extras = Extensions::new();
        self.capture
            .connection_metadata()
            .as_ref()?
            .get_extras(&mut extras);
        extras.remove::<Arc<Wire>>()
    }
    fn take(&self) {
        if let Some(wire) = self.wire() {
            wire.claim(&self.egress);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(wire) = self.wire() {
            wire.claim(&self.egress);
            // A cancelled request's connection is closed, so what it still writes is this
            // request's; after an answer the next request owns the connection.
            if self.answered {
                wire.release();
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("{0}")]
    Tls(String),
    #[error("bad upstream address: {0}")]
    Address(String),
}

fn send_error(error: hyper_util::client::legacy::Error) -> SendError {
    let mut source: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(cause) = source {
        match cause.downcast_ref::<ConnectError>() {
            Some(ConnectError::Dial(dial)) => return SendError::Dial(dial.clone()),
            Some(ConnectError::Tls(detail)) => return SendError::Tls(detail.clone()),
            Some(ConnectError::Address(detail)) => return SendError::Broken(detail.clone()),
            None => source = cause.source(),
        }
    }
    SendError::Broken(innermost(&error))
}

/// The innermost cause's words: the outer layers only say "error".
fn innermost(error: &dyn StdError) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = cause.to_string();
        source = cause.source();
    }
    words
}

/// Whose server it is: the user's own, or one of the world.
#[derive(Clone, Copy)]
enum Reach {
    Own,
    Outside,
}

#[derive(Clone)]
struct Connector {
    reach: Reach,
    dialer: Arc<Dialer>,
    tls: TlsConnector,
    connect_timeout: Duration,
}

impl Connector {
    async fn connect(self, uri: Uri) -> Result<TokioIo<Conn>, ConnectError> {
        let bad = || ConnectError::Address(uri.to_string());
        let authority = uri.authority().ok_or_else(bad)?;
        let authority = Authority::parse(authority.as_str(), None).map_err(|_| bad())?;
        let dialed = match self.reach {
            Reach::Own => self.dialer.dial_own(&authority, self.connect_timeout).await,
            Reach::Outside => self.dialer.dial(&authority, self.connect_timeout).await,
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
        let stream = if uri.scheme() == Some(&uri::Scheme::HTTPS) {
            let name = match &authority.host {
                Host::Name(name) => ServerName::try_from(name.to_string()).map_err(|_| bad())?,
                Host::Ip(ip) => ServerName::from(*ip),
            };
            let handshake =
                tokio::time::timeout(self.connect_timeout, self.tls.connect(name, counted));
            let stream = handshake
                .await
                .map_err(|_| ConnectError::Tls(format!("no answer in {:?}", self.connect_timeout)))?
                .map_err(|e| ConnectError::Tls(e.to_string()))?;
            Stream::Tls(Box::new(stream))
        } else {
            Stream::Plain(counted)
        };
        Ok(TokioIo::new(Conn { stream, wire }))
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Conn>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

#[derive(Debug)]
enum Stream {
    Plain(Counted),
    Tls(Box<TlsStream<Counted>>),
}

#[derive(Debug)]
struct Conn {
    stream: Stream,
    wire: Option<Arc<Wire>>,
}

impl Connection for Conn {
    fn connected(&self) -> Connected {
        match &self.wire {
            Some(wire) => Connected::new().extra(wire.clone()),
            None => Connected::new(),
        }
    }
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
