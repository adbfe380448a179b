//! A scripted upstream: one thread per connection, and a count of who came.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::wire::Wire;

pub trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}

/// A connection as the script sees it.
pub type Guest = Wire<Box<dyn Duplex>>;

pub struct Origin {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// Heads of the requests that [`Origin::answering`] read.
    heads: Arc<Mutex<Vec<String>>>,
}

impl Origin {
    /// Runs `script` for every connection.
    pub fn scripted(script: impl Fn(Guest) + Send + Sync + 'static) -> Self {
        Self::start(None, script)
    }

    /// The same behind TLS.
    pub fn scripted_tls(
        config: Arc<ServerConfig>,
        script: impl Fn(Guest) + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(config), script)
    }

    /// Answers every request (without a body) with these bytes, connection kept.
    pub fn answering(response: impl Into<Vec<u8>>) -> Self {
        let response = response.into();
        Self::recording(move |_| response.clone())
    }

    /// Answers every request (without a body) with what `answer` makes of its head, connection kept.
    pub fn recording(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = heads.clone();
        let mut origin = Self::scripted(move |mut guest| {
            while let Some(head) = guest.head() {
                let head = String::from_utf8_lossy(&head).into_owned();
                let response = answer(&head);
                seen.lock().unwrap().push(head);
                guest.send(&response);
            }
        });
        origin.heads = heads;
        origin
    }

    fn start(
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(Guest) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, script) = (connections.clone(), Arc::new(script));
        // The threads end with the test binary; nothing waits for them.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let (tls, script) = (tls.clone(), script.clone());
                thread::spawn(move || {
                    let Some(stream) = dressed(stream, tls) else {
                        return;
                    };
                    script(Wire::over(stream));
                });
            }
        });
        Self {
            address,
            connections,
            heads: Arc::default(),
        }
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

fn dressed(stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> Option<Box<dyn Duplex>> {
    stream.set_nodelay(true).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .ok()?;
    let Some(config) = tls else {
        return Some(Box::new(stream));
    };
    let mut stream = stream;
    let mut connection = ServerConnection::new(config).ok()?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).ok()?;
    }
    Some(Box::new(StreamOwned::new(connection, stream)))
}

/// Waits until `done` says so; panics with `what` after five seconds.
pub fn eventually(what: &str, done: impl FnMut() -> bool) {
    eventually_within(Duration::from_secs(5), what, done);
}

/// The same with another patience, for what takes a while.
pub fn eventually_within(patience: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(
            began.elapsed() < patience,
            "not within {patience:?}: {what}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}
