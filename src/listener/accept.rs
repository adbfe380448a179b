//! Binding, accepting, bounding and draining.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use pingora::{
    protocols::l4::stream::Stream as L4Stream,
    proxy::{HttpProxy, http_proxy},
    server::configuration::ServerConf,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{connect, http, stream::EdgeStream};
use crate::{
    audit::AuditKind,
    metrics::Metrics,
    net::Entry,
    policy::Reason,
    proxy::{Connection, Denial, Finish, Leash, Outcome, Pipeline, Services, request_id},
    upstream::keep_alive::keep_alive,
};

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Explicit,
    Reverse,
    TransparentTls,
    TransparentHttp,
    FrontDoor,
}

impl Door {
    pub fn entry(self) -> Entry {
        match self {
            Door::Explicit => Entry::Explicit,
            Door::Reverse => Entry::Reverse,
            Door::TransparentTls | Door::TransparentHttp => Entry::Transparent,
            Door::FrontDoor => Entry::FrontDoor,
        }
    }
    /// The setting that names its address.
    pub fn setting(self) -> &'static str {
        match self {
            Door::Explicit => "listeners.explicit",
            Door::Reverse => "listeners.reverse.listen",
            Door::TransparentTls => "listeners.transparent_tls",
            Door::TransparentHttp => "listeners.transparent_http",
            Door::FrontDoor => "front_door.listen",
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({setting}): {hint}")]
pub struct BindError {
    pub address: SocketAddr,
    pub setting: &'static str,
    hint: String,
}

impl BindError {
    pub fn new(address: SocketAddr, setting: &'static str, source: &io::Error) -> Self {
        let port = address.port();
        let hint = match source.kind() {
            io::ErrorKind::AddrInUse => format!(
                "port {port} is in use by another program; stop it, or set {setting} to a free port"
            ),
            io::ErrorKind::PermissionDenied => {
                format!("port {port} needs privileges; set {setting} to a port above 1023")
            }
            io::ErrorKind::AddrNotAvailable => format!(
                "this machine has no address {}; set {setting} to one it has",
                address.ip()
            ),
            _ => source.to_string(),
        };
        Self {
            address,
            setting,
            hint,
        }
    }
}

/// A bound socket that does not accept yet.
pub struct Listening {
    pub door: Door,
    pub address: SocketAddr,
    listener: TcpListener,
}

impl Listening {
    pub async fn bind(door: Door, address: SocketAddr) -> Result<Self, BindError> {
        let error = |e: io::Error| BindError::new(address, door.setting(), &e);
        let listener = TcpListener::bind(address).await.map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        Ok(Self {
            door,
            address,
            listener,
        })
    }
}

/// Everything a connection needs; one per process.
pub struct Edge {
    pub(super) services: Arc<Services>,
    pub(super) proxy: Arc<HttpProxy<Pipeline>>,
    pub(super) closing: CancellationToken,
    pub(super) pingora_shutdown: watch::Receiver<bool>,
    shutdown: watch::Sender<bool>,
    connections: TaskTracker,
    at_once: CancellationToken,
    slots: Arc<Semaphore>,
    farewells: Arc<Semaphore>,
}

/// A failing accept is told this often, not at every attempt.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// Between two attempts to accept while there is no descriptor for it.
const ACCEPT_AGAIN: Duration = Duration::from_millis(20);

/// An open connection in the gauge, however it ends.
struct Counted(Arc<Metrics>, Entry);

impl Counted {
    fn new(metrics: &Arc<Metrics>, entry: Entry) -> Self {
        metrics.connection_opened(entry);
        Self(metrics.clone(), entry)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connection_closed(self.1);
    }
}

impl Edge {
    /// `ca_file`: the roots Pingora verifies upstreams with; never our own bundle.
    pub fn new(services: Arc<Services>, ca_file: Option<String>) -> Arc<Self> {
        let conf = ServerConf {
            ca_file,
            upstream_keepalive_pool_size: services.limits.idle_upstreams,
            max_retries: 3,
            ..ServerConf::default()
        };
        let proxy = http_proxy(&Arc::new(conf), Pipeline::new(services.clone()));
        let (shutdown, pingora_shutdown) = watch::channel(false);
        Arc::new(Self {
            slots: Arc::new(Semaphore::new(services.limits.connections)),
            farewells: Arc::new(Semaphore::new(services.limits.farewells)),
            closing: services.closing.clone(),
            services,
            proxy: Arc::new(proxy),
            pingora_shutdown,
            shutdown,
            connections: TaskTracker::new(),
            at_once: CancellationToken::new(),
        })
    }

    /// Accepts until [`Edge::drain`]; returns at once, the loop runs as a task.
    pub fn serve(self: &Arc<Self>, listening: Listening) {
        let edge = self.clone();
        tokio::spawn(async move {
            let mut told: Option<Instant> = None;
            loop {
                let accepted = tokio::select! {
                    biased;
                    () = edge.closing.cancelled() => return,
                    accepted = listening.listener.accept() => accepted,
                };
                match accepted {
                    Ok((stream, client)) => edge.admit(stream, client, listening.door),
                    Err(e) => {
                        // Out of descriptors, mostly: wait for some to be freed instead of spinning.
                        if told.is_none_or(|at| at.elapsed() > TOLD_EVERY) {
                            told = Some(Instant::now());
                            tracing::warn!(error = %e, "accept failed");
                        }
                        tokio::time::sleep(ACCEPT_AGAIN).await;
                    }
                }
            }
        });
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, client: SocketAddr, door: Door) {
        let Ok(slot) = self.slots.clone().try_acquire_owned() else {
            return self.turn_away(stream, client, door);
        };
        let edge = self.clone();
        self.connections
            .spawn(async move { edge.run(stream, client, door, slot).await });
    }

    async fn run(
        self: Arc<Self>,
        stream: TcpStream,
        client: SocketAddr,
        door: Door,
        slot: OwnedSemaphorePermit,
    ) {
        let entry = door.entry();
        let counted = Counted::new(&self.services.metrics, entry);
        // Small writes (streamed tokens) must not wait for each other.
        let _ = stream.set_nodelay(true);
        keep_alive(&stream);
        let l4 = L4Stream::from(stream);
        let connection = Arc::new(Connection {
            entry,
            client,
            tls: false,
            bound_to: None,
            visitor: None,
            leash: Leash::default(),
            head_waits: Default::default(),
        });
        match door {
            Door::Explicit | Door::Reverse | Door::TransparentHttp | Door::FrontDoor => {
                let stream = Box::new(EdgeStream::new(l4));
                let relay = http::serve(&self, stream, connection).await;
                // In a task of its own: this one has the size of all that a request may need.
                if let Some(relay) = relay {
                    let edge = self.clone();
                    self.connections.spawn(async move {
                        relay.run(&edge).await;
                        drop((counted, slot));
                    });
                }
            }
            Door::TransparentTls => connect::transparent(&self, l4, connection).await,
        }
    }

    /// Overload is refused in the open, and audited, never let through. Not in a task of its own: a
    /// burst is accepted faster than tasks run, and each of them would hold a descriptor until then.
    fn turn_away(&self, stream: TcpStream, client: SocketAddr, door: Door) {
        let denial = Denial::early(Reason::Overloaded, "too many connections; try again");
        let mut finish = Finish::begin(
            &self.services,
            AuditKind::Connection,
            request_id(),
            door.entry(),
            client.ip(),
            Instant::now(),
        );
        finish.denied(&denial);
        finish.done(Outcome::default());
        // Past this bound they are closed without a word: a farewell costs a task for a while, too.
        if door == Door::TransparentTls {
            return;
        }
        if let Ok(farewell) = self.farewells.clone().try_acquire_owned() {
            self.connections.spawn(async move {
                http::write_refusal(stream, &denial).await;
                drop(farewell);
            });
        }
    }

    /// Stops accepting, lets requests in flight end, cuts what is left after `drain_timeout`.
    pub async fn drain(&self) {
        self.closing.cancel();
        let _ = self.shutdown.send(true);
        self.connections.close();
        let patience = self.services.limits.drain_timeout;
        let why = tokio::select! {
            biased;
            () = self.connections.wait() => return,
            () = self.at_once.cancelled() => "a second signal",
            () = tokio::time::sleep(patience) => "the drain timeout",
        };
        tracing::warn!(left = self.connections.len(), "{why}: cutting what is left");
    }

    /// Cancelled, a drain ends at once.
    pub fn at_once(&self) -> CancellationToken {
        self.at_once.clone()
    }
}
