//! The contract between the pipeline and whatever answers a request in this process.
//!
//! `proxy::respond` reads the bounded body, calls [`Handler::handle`] and streams the answer.
//! `gateway` and `emulator` implement it. A handler is behind no port of its own.
//! [`cors`] says which page may read an answer, the same for all of them; [`egress`] is what a handler
//! needs that sends requests of its own.
//! When the client goes, the response body is dropped: cleaning up is `Drop`'s work.

pub mod cors;
pub mod egress;
#[cfg(test)]
pub mod test_support;

use std::{
    borrow::Cow,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use uuid::Uuid;

use crate::{
    net::{Authority, Entry},
    policy::Reason,
    token::Principal,
};

/// Facts of the exchange a request belongs to, as the pipeline established them.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Unique per request; also in the audit record and the `x-airlock-request-id` header.
    pub id: Uuid,
    pub entry: Entry,
    pub client: IpAddr,
    /// The canonical authority that was judged (the vendor's host, whatever the entry).
    pub authority: Authority,
    /// True when the client reached us over TLS (intercepted or transparent).
    pub tls: bool,
    /// Bytes sent on behalf of this request to anywhere but this machine.
    pub egress: EgressMeter,
    /// Who it is from, where that is known.
    pub principal: Option<Arc<Principal>>,
    /// Filled by a handler that dialled someone: who really answered (`host:port`).
    pub note: Note,
}

/// Bytes that left the machine for one request. Cloned into connectors; loopback never counts.
#[derive(Clone, Debug, Default)]
pub struct EgressMeter(Arc<AtomicU64>);

impl EgressMeter {
    pub fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Words a handler wants in the audit record; never content, never a secret.
#[derive(Clone, Debug, Default)]
pub struct Note(Arc<parking_lot::Mutex<NoteFields>>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoteFields {
    /// Who answered, in a word a person understands: `local llm`, `stand-in`, `mcp`.
    pub answered_by: Option<Cow<'static, str>>,
    /// The upstream dialled, `host:port`.
    pub upstream: Option<String>,
    /// The client ends the stream by leaving, and that is its normal end (an MCP session).
    pub open_ended: bool,
    /// The upstream failed, and the answer says so.
    pub failed: Option<Reason>,
    /// A short remark: `model gemini-2.5-flash -> qwen3`, `2 images kept local`.
    pub detail: Option<String>,
}

impl Note {
    pub fn set(&self, edit: impl FnOnce(&mut NoteFields)) {
        edit(&mut self.0.lock());
    }
    pub fn read(&self) -> NoteFields {
        self.0.lock().clone()
    }
}

/// A request whose whole body was read (within [`Handler::max_body`]).
#[derive(Debug)]
pub struct LocalRequest {
    /// Method, origin-form URI, headers (hop-by-hop already removed).
    pub parts: http::request::Parts,
    pub body: Bytes,
    pub exchange: Exchange,
}

/// The stream broke and the client must notice: the pipeline cuts the connection
/// instead of ending the body cleanly.
#[derive(Debug, thiserror::Error)]
#[error("response stream aborted: {0}")]
pub struct StreamAbort(pub String);

pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, StreamAbort>> + Send + 'static>>;

/// Response body of a handler.
pub enum LocalBody {
    Empty,
    /// Sent with a Content-Length.
    Full(Bytes),
    /// Each item is written and flushed at once.
    Stream(ByteStream),
    /// The same with a Content-Length: exactly so many bytes, or the stream aborts.
    Sized(u64, ByteStream),
}

impl std::fmt::Debug for LocalBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LocalBody::Empty => f.write_str("Empty"),
            LocalBody::Full(b) => write!(f, "Full({} bytes)", b.len()),
            LocalBody::Stream(_) => f.write_str("Stream"),
            LocalBody::Sized(n, _) => write!(f, "Sized({n} bytes)"),
        }
    }
}

impl From<Bytes> for LocalBody {
    fn from(b: Bytes) -> Self {
        if b.is_empty() {
            LocalBody::Empty
        } else {
            LocalBody::Full(b)
        }
    }
}
impl From<Vec<u8>> for LocalBody {
    fn from(b: Vec<u8>) -> Self {
        Bytes::from(b).into()
    }
}
impl From<String> for LocalBody {
    fn from(b: String) -> Self {
        Bytes::from(b).into()
    }
}

pub type LocalResponse = http::Response<LocalBody>;

/// Answers requests in this process. Infallible by contract: a failure is a response.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    async fn handle(&self, request: LocalRequest) -> LocalResponse;

    /// Largest request body in bytes; a larger one gets 413 before the handler is called.
    fn max_body(&self) -> usize {
        8 << 20
    }
}
