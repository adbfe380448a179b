//! HTTP/1.1 client for answers made in this process: the LLM gateway, its discovery, `doctor`, the
//! model sources.
//!
//! Every connection is dialled by [`Dialer`], so address checks and socket counts hold here too.
//! Connections are kept alive; bytes that leave the machine are counted for the very request they
//! belong to, TLS included. No redirect is followed, no proxy variable is read.
//! Dropping a [`Body`] or the future of [`HttpClient::send`] closes the connection, which is how an
//! upstream learns that nobody waits any more.

mod connect;
mod line;
mod pool;
mod waking;
mod wire;

use std::{error::Error as StdError, future::poll_fn, pin::Pin, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use rustls::ClientConfig;
use tokio_rustls::TlsConnector;

use self::{
    connect::{Connector, Reach},
    line::Line,
    pool::Pool,
};
use super::dial::{DialError, Dialer};
use crate::{
    handler::EgressMeter,
    net::{Authority, BaseUrl, Scheme},
};

/// Where a request goes: scheme and authority, and how they are written in one. Made once for a server
/// that is asked often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub tls: bool,
    pub authority: Authority,
    /// For `Host`: without the port that the scheme implies.
    host: Result<HeaderValue, String>,
}

impl Origin {
    pub fn new(scheme: Scheme, authority: Authority) -> Self {
        let host = authority.without_port(scheme.default_port());
        Self {
            tls: scheme == Scheme::Https,
            host: host
                .try_into()
                .map_err(|e: header::InvalidHeaderValue| e.to_string()),
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

/// A body as it comes in; dropping it before its end cancels the request.
pub struct Body {
    incoming: Incoming,
    /// Until the end: then another request may have it.
    line: Option<Box<Line>>,
    pool: Arc<Pool>,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Body").field(&self.incoming).finish()
    }
}

impl Body {
    /// The next bytes; `None` at a clean end, an error at any other.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, String>> {
        loop {
            // Nothing comes behind the end.
            let line = self.line.as_mut()?;
            let incoming = &mut self.incoming;
            let frame =
                poll_fn(|cx| line.poll_for(cx, |cx| Pin::new(&mut *incoming).poll_frame(cx)));
            match frame.await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Some(Ok(data)),
                    // Trailers say nothing we need.
                    Err(_) => {}
                },
                Some(Err(error)) => return Some(Err(innermost(&error))),
                None => {
                    self.give_back();
                    return None;
                }
            }
        }
    }

    fn give_back(&mut self) {
        if let Some(line) = self.line.take() {
            self.pool.keep(line);
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // Not everybody asks once more behind the last byte.
        if self.incoming.is_end_stream() {
            self.give_back();
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
    connector: Arc<Connector>,
    pool: Arc<Pool>,
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
        Self {
            connector: Arc::new(connector),
            pool: Arc::new(Pool::default()),
        }
    }

    async fn open(&self, origin: &Origin) -> Result<Box<Line>, SendError> {
        Line::open(self.connector.connect(origin).await?, origin).await
    }

    /// Sends one request and waits for the response head; the caller bounds the time.
    /// `request`'s URI is origin-form; `Host` is set here, unless the request has one.
    pub async fn send(
        &self,
        origin: &Origin,
        mut request: Request<Bytes>,
        egress: &EgressMeter,
    ) -> Result<Response, SendError> {
        let host = origin.host.clone().map_err(SendError::Broken)?;
        request.headers_mut().entry(header::HOST).or_insert(host);
        let mut request = request.map(Full::new);
        loop {
            let kept = poll_fn(|cx| self.pool.poll_take(cx, origin)).await;
            let again = kept.is_some();
            let mut line = match kept {
                Some(line) => line,
                // Boxed: most requests find a kept one, and would carry its place along.
                None => Box::pin(self.open(origin)).await?,
            };
            line.claim(egress);
            match line.ask(request).await {
                Ok(response) => {
                    let (parts, incoming) = response.into_parts();
                    return Ok(Response {
                        status: parts.status,
                        headers: parts.headers,
                        body: Body {
                            incoming,
                            line: Some(line),
                            pool: self.pool.clone(),
                        },
                    });
                }
                // The server closed it just then, and saw nothing of this request.
                Err((_, Some(unsent))) if again => request = unsent,
                Err((error, _)) => return Err(SendError::Broken(innermost(&error))),
            }
        }
    }
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

#[cfg(test)]
mod tests;
