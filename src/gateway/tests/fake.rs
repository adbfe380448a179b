//! A scripted LLM on loopback: says bytes when told, and notes what it was sent.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[derive(Clone, Debug)]
pub enum Piece {
    /// Sent as one chunk of a chunked body.
    Say(Vec<u8>),
    Wait(u64),
    /// The connection is cut without an end of the body.
    Die,
    /// Nothing more, until the client closes.
    Hang,
}

#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: String,
    pub pieces: Vec<Piece>,
}

impl Reply {
    pub fn events(pieces: Vec<Piece>) -> Self {
        Self {
            status: 200,
            headers: "content-type: text/event-stream\r\n".into(),
            pieces,
        }
    }
    pub fn json(status: u16, body: &str) -> Self {
        Self {
            status,
            headers: "content-type: application/json\r\n".into(),
            pieces: vec![Piece::Say(body.as_bytes().to_vec())],
        }
    }
    pub fn silence() -> Self {
        Self {
            status: 0,
            headers: String::new(),
            pieces: vec![Piece::Hang],
        }
    }
}

pub fn say(text: impl Into<String>) -> Piece {
    Piece::Say(text.into().into_bytes())
}

#[derive(Clone, Debug)]
pub struct Seen {
    pub head: String,
    pub body: String,
}

/// Path and body of a request to its answer.
type Script = Arc<dyn Fn(&str, &str) -> Reply + Send + Sync>;

#[derive(Clone)]
pub struct FakeLlm {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    /// Connections that the client closed while an answer was under way.
    pub cancelled: Arc<AtomicUsize>,
    pub connections: Arc<AtomicUsize>,
    task: Arc<tokio::task::JoinHandle<()>>,
}

impl FakeLlm {
    /// `chat` answers everything but `/models`; the list holds `models`.
    pub async fn start(models: &str, chat: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let list: Vec<String> = models
            .split(',')
            .filter(|m| !m.is_empty())
            .map(|m| format!(r#"{{"id":"{m}","object":"model","created":1,"owned_by":"vllm"}}"#))
            .collect();
        let list = format!(r#"{{"object":"list","data":[{}]}}"#, list.join(","));
        Self::scripted(move |path, _| {
            if path.ends_with("/models") {
                Reply::json(200, &list)
            } else {
                chat(path)
            }
        })
        .await
    }

    pub async fn scripted(script: impl Fn(&str, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let cancelled = Arc::new(AtomicUsize::new(0));
        let connections = Arc::new(AtomicUsize::new(0));
        let script: Script = Arc::new(script);
        let (log, gone, opened) = (seen.clone(), cancelled.clone(), connections.clone());
        let task = tokio::spawn(async move {
            let mut serving = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                opened.fetch_add(1, Ordering::SeqCst);
                serving.spawn(serve(stream, script.clone(), log.clone(), gone.clone()));
            }
        });
        Self {
            address,
            seen,
            cancelled,
            connections,
            task: Arc::new(task),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }
    /// Stops listening and cuts every connection.
    pub fn stop(&self) {
        self.task.abort();
    }
    pub fn last(&self) -> Seen {
        let seen = self.seen.lock();
        seen.iter()
            .rfind(|s| s.head.starts_with("POST"))
            .cloned()
            .expect("a call was made")
    }
    /// Waits until a cancelled answer was noticed.
    pub async fn wait_cancelled(&self) {
        for _ in 0..200 {
            if self.cancelled.load(Ordering::SeqCst) > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the upstream never learned that the client went away");
    }
}

async fn serve(
    mut stream: TcpStream,
    script: Script,
    log: Arc<Mutex<Vec<Seen>>>,
    gone: Arc<AtomicUsize>,
) {
    while let Some(seen) = read_request(&mut stream).await {
        let path = seen
            .head
            .split_whitespace()
            .nth(1)
            .unwrap_or_default()
            .to_owned();
        let reply = script(&path, &seen.body);
        log.lock().push(seen);
        if !answer(&mut stream, reply, &gone).await {
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let mut buffer = [0u8; 8192];
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head
                .lines()
                .find_map(|l| {
                    l.to_ascii_lowercase()
                        .strip_prefix("content-length:")?
                        .trim()
                        .parse()
                        .ok()
                })
                .unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                let body = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
                return Some(Seen { head, body });
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
        }
    }
}

/// False when the connection is over.
async fn answer(stream: &mut TcpStream, reply: Reply, gone: &AtomicUsize) -> bool {
    if reply.status != 0 {
        let head = format!(
            "HTTP/1.1 {} X\r\n{}transfer-encoding: chunked\r\n\r\n",
            reply.status, reply.headers
        );
        if stream.write_all(head.as_bytes()).await.is_err() {
            return false;
        }
    }
    for piece in reply.pieces {
        match piece {
            Piece::Say(bytes) => {
                let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
                chunk.extend_from_slice(&bytes);
                chunk.extend_from_slice(b"\r\n");
                if stream.write_all(&chunk).await.is_err() {
                    gone.fetch_add(1, Ordering::SeqCst);
                    return false;
                }
            }
            Piece::Wait(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Piece::Die => return false,
            Piece::Hang => {
                let mut buffer = [0u8; 64];
                if matches!(stream.read(&mut buffer).await, Ok(0) | Err(_)) {
                    gone.fetch_add(1, Ordering::SeqCst);
                }
                return false;
            }
        }
    }
    stream.write_all(b"0\r\n\r\n").await.is_ok()
}
