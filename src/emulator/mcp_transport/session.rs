//! The bounded table of sessions.
//!
//! A session's id is 128 random bits. It answers only to the host and server it was opened on, and
//! to the `X-Session-Id` it was opened with: with another's id one gets the same 404 as with none.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::HeaderValue;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{McpBounds, endpoint::Server, outbox::Outbox};
use crate::{
    mcp::{Id, ProtocolVersion},
    metrics::Metrics,
    net::Host,
};

/// Tool calls of one session that run at the same time.
const MAX_CALLS: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SessionId(u128);

impl SessionId {
    fn random() -> Option<Self> {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).ok()?;
        Some(SessionId(u128::from_be_bytes(bytes)))
    }

    /// 32 hexadecimal digits, and nothing else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        is_hex
            .then(|| u128::from_str_radix(text, 16).ok())
            .flatten()
            .map(SessionId)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The id is a bearer's secret: it stays out of logs.
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

/// What a session is tied to.
#[derive(Clone, Debug)]
pub(super) struct Binding {
    pub(super) host: Host,
    pub(super) server: Server,
    /// The plugin's `X-Session-Id`, where the client sent one.
    pub(super) user: Option<HeaderValue>,
}

impl Binding {
    fn admits(&self, other: &Binding) -> bool {
        self.host == other.host
            && self.server == other.server
            && (self.user.is_none() || self.user == other.user)
    }
}

/// How replies reach the client.
#[derive(Debug)]
pub(super) enum Wire {
    Legacy(Outbox),
    Streamable,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    binding: Binding,
    pub(super) wire: Wire,
    epoch: Instant,
    /// Milliseconds after `epoch`.
    last_used: AtomicU64,
    version: Mutex<Option<ProtocolVersion>>,
    calls: Mutex<HashMap<Id, CancellationToken>>,
    closed: CancellationToken,
}

impl Session {
    pub(super) fn version(&self) -> Option<ProtocolVersion> {
        *self.version.lock()
    }

    pub(super) fn set_version(&self, version: ProtocolVersion) {
        *self.version.lock() = Some(version);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    fn touch(&self) {
        let now = self.epoch.elapsed().as_millis();
        self.last_used
            .store(u64::try_from(now).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// A running call keeps its session.
    fn is_idle_for(&self, bound: Duration) -> bool {
        let last = Duration::from_millis(self.last_used.load(Ordering::Relaxed));
        self.epoch.elapsed().saturating_sub(last) > bound && self.calls.lock().is_empty()
    }

    /// Takes a place for a call; `None` if eight run already or the id is in use.
    pub(super) fn begin_call(self: &Arc<Self>, id: &Id) -> Option<CallPlace> {
        let mut calls = self.calls.lock();
        if calls.len() >= MAX_CALLS || calls.contains_key(id) {
            return None;
        }
        let cancelled = self.closed.child_token();
        calls.insert(id.clone(), cancelled.clone());
        Some(CallPlace {
            session: self.clone(),
            id: id.clone(),
            cancelled,
        })
    }

    pub(super) fn cancel_call(&self, id: &Id) {
        if let Some(token) = self.calls.lock().get(id) {
            token.cancel();
        }
    }
}

/// A running call's place; dropping it frees the place.
#[derive(Debug)]
pub(super) struct CallPlace {
    session: Arc<Session>,
    id: Id,
    pub(super) cancelled: CancellationToken,
}

impl CallPlace {
    pub(super) fn session(&self) -> &Session {
        &self.session
    }
}

impl Drop for CallPlace {
    fn drop(&mut self) {
        self.session.calls.lock().remove(&self.id);
        self.session.touch();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TableFull;

#[derive(Debug)]
struct Places {
    open: HashMap<SessionId, Arc<Session>>,
}

impl Places {
    fn drop_stalest(&mut self, stale: Duration) {
        let stalest = self
            .open
            .values()
            .filter(|s| matches!(s.wire, Wire::Streamable) && s.is_idle_for(stale))
            .min_by_key(|s| s.last_used.load(Ordering::Relaxed))
            .map(|s| s.id);
        if let Some(session) = stalest.and_then(|id| self.open.remove(&id)) {
            session.closed.cancel();
        }
    }
}

pub(super) struct SessionTable {
    max: usize,
    idle: Duration,
    stale: Duration,
    epoch: Instant,
    metrics: Arc<Metrics>,
    places: Mutex<Places>,
}

impl SessionTable {
    pub(super) fn new(bounds: McpBounds, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            max: bounds.max_sessions,
            idle: bounds.idle,
            stale: bounds.stale,
            epoch: Instant::now(),
            metrics,
            places: Mutex::new(Places {
                open: HashMap::new(),
            }),
        })
    }

    /// Opens a session, after freeing the idle ones and, if that is not enough, a stale one.
    pub(super) fn open(&self, binding: Binding, wire: Wire) -> Result<Arc<Session>, TableFull> {
        let id = SessionId::random().ok_or(TableFull)?;
        let session = Arc::new(Session {
            id,
            binding,
            wire,
            epoch: self.epoch,
            last_used: AtomicU64::new(0),
            version: Mutex::new(None),
            calls: Mutex::new(HashMap::new()),
            closed: CancellationToken::new(),
        });
        session.touch();
        let mut places = self.places.lock();
        places.open.retain(|_, session| {
            let idle = session.is_idle_for(self.idle);
            if idle {
                session.closed.cancel();
            }
            !idle
        });
        if places.open.len() >= self.max {
            places.drop_stalest(self.stale);
        }
        let full = places.open.len() >= self.max;
        if !full {
            places.open.insert(id, session.clone());
        }
        self.metrics.mcp_sessions(places.open.len());
        if full { Err(TableFull) } else { Ok(session) }
    }

    /// The session, if it is there, not idle for too long, and `binding` may use it.
    pub(super) fn find(&self, id: SessionId, binding: &Binding) -> Option<Arc<Session>> {
        let session = self.places.lock().open.get(&id).cloned()?;
        if session.is_idle_for(self.idle) {
            self.close(id);
            return None;
        }
        if !session.binding.admits(binding) {
            return None;
        }
        session.touch();
        Some(session)
    }

    /// Frees the session's place and stops its calls. Closing twice is closing once.
    pub(super) fn close(&self, id: SessionId) {
        let mut places = self.places.lock();
        if let Some(session) = places.open.remove(&id) {
            session.closed.cancel();
            self.metrics.mcp_sessions(places.open.len());
        }
    }

    /// True once the session has nothing to wait for.
    pub(super) fn has_ended(&self, session: &Session) -> bool {
        if session.is_idle_for(self.idle) {
            self.close(session.id);
        }
        session.is_closed()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.lock().open.len()
    }
}

impl fmt::Debug for SessionTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionTable({} open)", self.places.lock().open.len())
    }
}

/// Frees a session when the stream that it lives on is dropped.
#[derive(Debug)]
pub(super) struct SessionGuard {
    pub(super) table: Arc<SessionTable>,
    pub(super) session: Arc<Session>,
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.table.close(self.session.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_32_digits_and_never_the_same() {
        let a = SessionId::random().expect("random");
        let b = SessionId::random().expect("random");
        assert_ne!(a, b);
        assert_eq!(a.to_string().len(), 32);
        assert_eq!(SessionId::parse(&a.to_string()), Some(a));
        assert!(!format!("{a:?}").contains(&a.to_string()));
        for bad in [
            "",
            "+0000000000000000000000000000001",
            "0000000000000000000000000000001",
            "g0000000000000000000000000000001",
            "000000000000000000000000000000001",
        ] {
            assert_eq!(SessionId::parse(bad), None, "{bad}");
        }
    }
}
