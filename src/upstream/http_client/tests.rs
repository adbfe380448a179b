//! What becomes of connections between requests, against a server that follows a script.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use super::*;
use crate::{gateway, metrics::Metrics};

fn client() -> HttpClient {
    gateway::tests::client(&Arc::new(Metrics::new()))
}

/// A server whose connections the test itself reads and writes.
struct Server {
    origin: Origin,
    accepted: mpsc::UnboundedReceiver<TcpStream>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (sender, accepted) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if sender.send(stream).is_err() {
                    return;
                }
            }
        });
        let base = BaseUrl::parse(&base).unwrap();
        Self {
            origin: Origin::of(&base),
            accepted,
        }
    }

    async fn next(&mut self) -> TcpStream {
        self.accepted.recv().await.unwrap()
    }

    /// Answers the first request of the next connection, and returns it.
    async fn answers(&mut self, answer: &[u8]) -> TcpStream {
        let mut stream = self.next().await;
        head(&mut stream).await;
        stream.write_all(answer).await.unwrap();
        stream
    }

    fn is_quiet(&mut self) -> bool {
        self.accepted.try_recv().is_err()
    }
}

/// Reads one head.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Whether the client has closed it.
async fn closed(stream: &mut TcpStream) -> bool {
    matches!(
        tokio::time::timeout(pool::IDLE * 3, stream.read(&mut [0; 1])).await,
        Ok(Ok(0) | Err(_))
    )
}

fn get(path: &str) -> Request<Bytes> {
    Request::get(path).body(Bytes::new()).unwrap()
}

const TWO: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn asked(client: &HttpClient, origin: &Origin) -> Result<Response, SendError> {
    client
        .send(origin, get("/x?y"), &EgressMeter::default())
        .await
}

/// One whole exchange, over `stream` or the next connection. Returns the server's end.
async fn exchange(
    client: &HttpClient,
    server: &mut Server,
    stream: Option<TcpStream>,
) -> TcpStream {
    let origin = server.origin.clone();
    let serving = async {
        let mut stream = match stream {
            Some(stream) => stream,
            None => server.next().await,
        };
        let head = head(&mut stream).await;
        assert!(head.starts_with("GET /x?y HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("\r\nhost: 127.0.0.1:"), "{head}");
        stream.write_all(TWO).await.unwrap();
        stream
    };
    let asking = async {
        let mut response = asked(client, &origin).await.unwrap();
        assert_eq!(response.body.whole(10).await.unwrap(), "ok");
    };
    let (stream, ()) = tokio::join!(serving, asking);
    assert!(server.is_quiet(), "one connection was enough");
    stream
}

#[tokio::test]
async fn one_connection_serves_one_request_after_the_other() {
    let (client, mut server) = (client(), Server::start().await);
    let mut stream = None;
    for _ in 0..3 {
        stream = Some(exchange(&client, &mut server, stream).await);
    }
    assert!(stream.is_some());
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_not_used_again() {
    let (client, mut server) = (client(), Server::start().await);
    drop(exchange(&client, &mut server, None).await);
    // Long enough for the system to tell of it.
    tokio::time::sleep(Duration::from_millis(5)).await;
    exchange(&client, &mut server, None).await;
}

#[tokio::test]
async fn two_at_once_have_a_connection_each_and_both_are_kept() {
    let (client, mut server) = (client(), Server::start().await);
    let origin = server.origin.clone();
    for round in 0..2 {
        let both = async {
            let (a, b) = tokio::join!(asked(&client, &origin), asked(&client, &origin));
            let (mut a, mut b) = (a.unwrap(), b.unwrap());
            let ends = tokio::join!(a.body.whole(10), b.body.whole(10));
            assert_eq!(ends, (Ok("ok".into()), Ok("ok".into())), "round {round}");
        };
        let serving = async {
            if round > 0 {
                return;
            }
            for _ in 0..2 {
                let mut stream = server.next().await;
                tokio::spawn(async move {
                    loop {
                        head(&mut stream).await;
                        stream.write_all(TWO).await.unwrap();
                    }
                });
            }
        };
        tokio::join!(both, serving);
    }
    assert!(server.is_quiet());
}

#[tokio::test]
async fn who_does_not_wait_for_the_answer_or_its_end_closes_the_connection() {
    let (client, mut server) = (client(), Server::start().await);
    let origin = server.origin.clone();
    {
        let asking = asked(&client, &origin);
        tokio::pin!(asking);
        let mut stream = tokio::select! {
            _ = &mut asking => panic!("nobody answered"),
            stream = async {
                let mut stream = server.next().await;
                head(&mut stream).await;
                stream
            } => stream,
        };
        #[allow(
            clippy::drop_non_drop,
            reason = "what is pinned lives until the block ends"
        )]
        drop(asking);
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
    }
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok";
    let (mut stream, response) = tokio::join!(server.answers(half), asked(&client, &origin));
    let mut response = response.unwrap();
    assert_eq!(response.body.chunk().await, Some(Ok("ok".into())));
    drop(response);
    assert!(closed(&mut stream).await);
    exchange(&client, &mut server, None).await;
}

#[tokio::test]
async fn a_body_that_was_read_but_not_asked_for_its_end_frees_its_connection() {
    let (client, mut server) = (client(), Server::start().await);
    let origin = server.origin.clone();
    let (stream, response) = tokio::join!(server.answers(TWO), asked(&client, &origin));
    let mut response = response.unwrap();
    assert_eq!(response.body.chunk().await, Some(Ok("ok".into())));
    drop(response);
    exchange(&client, &mut server, Some(stream)).await;
}

#[tokio::test]
async fn each_piece_of_a_stream_is_there_when_it_came() {
    let (client, mut server) = (client(), Server::start().await);
    let origin = server.origin.clone();
    let begun = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let (mut stream, response) = tokio::join!(server.answers(begun), asked(&client, &origin));
    let mut body = response.unwrap().body;
    for n in 0..100 {
        let piece = format!("{n:04}");
        if n % 2 == 0 {
            let (half, rest) = (
                format!("4\r\n{}", &piece[..2]),
                format!("{}\r\n", &piece[2..]),
            );
            stream.write_all(half.as_bytes()).await.unwrap();
            assert_eq!(body.chunk().await, Some(Ok(piece[..2].to_owned().into())));
            stream.write_all(rest.as_bytes()).await.unwrap();
            assert_eq!(body.chunk().await, Some(Ok(piece[2..].to_owned().into())));
        } else {
            let chunk = format!("4\r\n{piece}\r\n");
            let sending = async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                stream.write_all(chunk.as_bytes()).await.unwrap();
            };
            let (came, ()) = tokio::join!(body.chunk(), sending);
            assert_eq!(came, Some(Ok(piece.into())));
        }
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(body.chunk().await, None);
    exchange(&client, &mut server, Some(stream)).await;
}

#[tokio::test]
async fn a_large_body_goes_up_while_its_answer_is_waited_for() {
    const SIZE: usize = 3 << 20;
    let (client, mut server) = (client(), Server::start().await);
    let request = Request::post("/up")
        .body(Bytes::from(vec![7; SIZE]))
        .unwrap();
    let (origin, egress) = (server.origin.clone(), EgressMeter::default());
    let serving = async {
        let mut stream = server.next().await;
        head(&mut stream).await;
        let mut body = vec![0; SIZE];
        stream.read_exact(&mut body).await.unwrap();
        stream.write_all(TWO).await.unwrap();
        body
    };
    let (body, response) = tokio::join!(serving, client.send(&origin, request, &egress));
    assert!(body.iter().all(|b| *b == 7));
    assert_eq!(response.unwrap().body.whole(10).await.unwrap(), "ok");
}

#[tokio::test]
async fn a_connection_that_nobody_wants_for_long_is_closed() {
    let (client, mut server) = (client(), Server::start().await);
    let mut stream = exchange(&client, &mut server, None).await;
    assert!(closed(&mut stream).await);
    exchange(&client, &mut server, None).await;
}

#[tokio::test]
async fn an_answer_that_says_close_is_the_last_of_its_connection() {
    let (client, mut server) = (client(), Server::start().await);
    let origin = server.origin.clone();
    let last = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    let (mut stream, response) = tokio::join!(server.answers(last), asked(&client, &origin));
    assert_eq!(response.unwrap().body.whole(10).await.unwrap(), "ok");
    assert!(closed(&mut stream).await);
}

#[tokio::test]
async fn a_connection_that_breaks_off_says_so_once_and_is_not_tried_again() {
    let (client, mut server) = (client(), Server::start().await);
    let origin = server.origin.clone();
    let stream = exchange(&client, &mut server, None).await;
    let serving = async {
        let mut stream = stream;
        head(&mut stream).await;
    };
    let ((), response) = tokio::join!(serving, asked(&client, &origin));
    assert!(
        matches!(response, Err(SendError::Broken(_))),
        "{response:?}"
    );
    assert!(server.is_quiet(), "the server may have acted on it");
}

#[tokio::test]
async fn thousands_of_small_chunks_at_once_all_arrive() {
    let (client, mut server) = (client(), Server::start().await);
    let origin = server.origin.clone();
    let chunks = "1\r\nx\r\n".repeat(20_000);
    let answer = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    let reading = async {
        let mut response = asked(&client, &origin).await.unwrap();
        response.body.whole(1 << 20).await.unwrap()
    };
    let (stream, body) = tokio::join!(server.answers(answer.as_bytes()), reading);
    assert_eq!(body.len(), 20_000);
    exchange(&client, &mut server, Some(stream)).await;
}
