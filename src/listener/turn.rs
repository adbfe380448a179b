//! One request at a time: Pingora is given the bytes of the request it works on, and no more.
//!
//! [`Turn`] lies between a connection and Pingora. It knows from the judged head how the body is
//! framed, follows it, and holds what a client sends behind it: the next request waits its turn and is
//! judged like any other, and the answer under way is not cut by it. A chunked body that could be
//! read in two ways breaks off with a [`ChunkFault`]. Behind a head that asks for an upgrade
//! everything waits until the upstream has switched ([`UpgradeGate`]; CVE-2026-2833), and then is for
//! `listener::relay` where the gate has the upstream's connection too. Made by `listener::http`; it never looks into a body.

use std::{
    io::{self, Cursor, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType, raw_connect::ProxyDigest, tls::SslDigest,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{chunks::Chunks, stream::digests_of_inner};
use crate::proxy::{ChunkFault, Connection, Framing, UpgradeGate};

/// Bytes of later requests that are held; more stay with the system, and so with the client.
const HELD: usize = 64 << 10;
/// Of one read behind the end of a request.
const PEEP: usize = 1024;

/// A connection whose bytes are dealt out request by request.
#[derive(Debug)]
pub struct Turn {
    inner: Stream,
    connection: Arc<Connection>,
    part: Part,
    /// Read already, and for whoever comes next.
    held: BytesMut,
    /// Something of an answer was written behind the switch.
    answered: bool,
}

/// Which part of a request is read now.
#[derive(Debug)]
enum Part {
    /// A head, or the bytes of an upgraded connection: everything passes.
    Open,
    /// This much is left of a body.
    Length(u64),
    Chunks(Chunks),
    /// The request has ended; what comes is another one's.
    Over,
    /// Nothing passes before the upstream has switched.
    Upgrade(Arc<UpgradeGate>),
    /// It has, and somebody else relays the connection.
    Gone,
}

impl Turn {
    pub fn new(inner: Stream, connection: Arc<Connection>) -> Self {
        Self {
            inner,
            connection,
            part: Part::Open,
            held: BytesMut::new(),
            answered: false,
        }
    }

    /// The stream, and what was read from it and is nobody's yet.
    pub fn into_parts(self) -> (Stream, BytesMut) {
        (self.inner, self.held)
    }

    /// A request begins. `behind` its head stood these bytes; returned are those of its body.
    pub fn begin(
        &mut self,
        mut behind: BytesMut,
        framing: Framing,
        gate: Option<&Arc<UpgradeGate>>,
    ) -> Result<BytesMut, ChunkFault> {
        behind.unsplit(std::mem::take(&mut self.held));
        self.part = match (gate, framing) {
            (Some(gate), _) => Part::Upgrade(gate.clone()),
            (None, Framing::Nothing | Framing::Length(0)) => Part::Over,
            (None, Framing::Length(left)) => Part::Length(left),
            (None, Framing::Chunked) => Part::Chunks(Chunks::default()),
        };
        if behind.is_empty() {
            return Ok(behind);
        }
        let mine = self.part.take(&behind)?;
        self.held = behind.split_off(mine.min(behind.len()));
        Ok(behind)
    }

    /// The request has been answered: the next one's head may be read. False where its body was not
    /// read to the end.
    pub fn next(&mut self) -> bool {
        match self.part {
            Part::Over => {
                self.part = Part::Open;
                true
            }
            Part::Open | Part::Length(_) | Part::Chunks(_) | Part::Upgrade(_) | Part::Gone => false,
        }
    }

    /// Leaves the connection with the gate; nothing is left for Pingora.
    fn give_away(&mut self, gate: Arc<UpgradeGate>) -> Part {
        let nothing: Box<[u8]> = Box::default();
        let inner = std::mem::replace(&mut self.inner, Box::new(Cursor::new(nothing)));
        gate.give(inner, std::mem::take(&mut self.held));
        Part::Gone
    }

    fn answers(&mut self) {
        if let Part::Upgrade(gate) = &self.part {
            self.answered |= gate.is_open();
        }
    }

    /// Hands out what is held.
    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let n = self.held.len().min(buf.remaining());
        buf.put_slice(self.held.get(..n).unwrap_or_default());
        self.held.advance(n);
        if self.held.is_empty() {
            // An idle connection holds no buffer.
            self.held = BytesMut::new();
        }
    }

    /// Nothing is for this request any more. The end of the connection still is.
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.held.len() < HELD {
            let mut space = [MaybeUninit::uninit(); PEEP];
            let mut peep = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut peep))?;
            if peep.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.held.extend_from_slice(peep.filled());
        }
        // A read would have let go what the stream beneath holds back.
        let _ = Pin::new(&mut self.inner).poll_flush(cx);
        Poll::Pending
    }

    fn poll_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let came = buf.filled().get(before..).unwrap_or_default();
        let mine = self.part.take(came).map_err(io::Error::other)?;
        self.held
            .extend_from_slice(came.get(mine..).unwrap_or_default());
        buf.set_filled(before + mine);
        Poll::Ready(Ok(()))
    }
}

impl Part {
    /// How many of the next bytes are the request's; moves on behind its end.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, ChunkFault> {
        match self {
            Part::Open => Ok(bytes.len()),
            Part::Over | Part::Upgrade(_) | Part::Gone => Ok(0),
            Part::Length(left) => {
                let mine = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                *left -= mine as u64;
                if *left == 0 {
                    *self = Part::Over;
                }
                Ok(mine)
            }
            Part::Chunks(chunks) => match chunks.push(bytes)? {
                None => Ok(bytes.len()),
                Some(mine) => {
                    *self = Part::Over;
                    Ok(mine)
                }
            },
        }
    }
}

impl AsyncRead for Turn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Part::Upgrade(gate) = &self.part
            && gate.poll_open(cx)
        {
            match gate.lending().is_returned() {
                false => self.part = Part::Open,
                true if self.answered => {
                    let gate = gate.clone();
                    self.part = self.give_away(gate);
                }
                // Its answer comes first.
                true => {}
            }
        }
        match &self.part {
            Part::Open if !self.held.is_empty() => {
                self.give(buf);
                Poll::Ready(Ok(()))
            }
            Part::Open => Pin::new(&mut self.inner).poll_read(cx, buf),
            Part::Length(_) | Part::Chunks(_) => self.poll_body(cx, buf),
            Part::Over | Part::Upgrade(_) => self.poll_wait(cx),
            Part::Gone => Poll::Pending,
        }
    }
}

impl AsyncWrite for Turn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.answers();
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.answers();
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.connection.head_waits.takes_a_flush() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Turn {
    async fn shutdown(&mut self) {
        self.inner.shutdown().await;
    }
}

impl UniqueID for Turn {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Turn {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

/// Nobody peeks behind the edge: what is held would have to come first.
impl Peek for Turn {}

digests_of_inner!(Turn);

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::{super::stream::EdgeStream, *};
    use crate::net::Entry;

    async fn pair() -> (Turn, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        #[allow(clippy::disallowed_methods, reason = "the test's own client")]
        let client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (ours, _) = listener.accept().await.unwrap();
        let connection = Connection {
            entry: Entry::Reverse,
            client: "127.0.0.1:1".parse().unwrap(),
            tls: false,
            bound_to: None,
            visitor: None,
            leash: Default::default(),
            head_waits: Default::default(),
        };
        let stream = Box::new(EdgeStream::new(ours.into()));
        (Turn::new(stream, Arc::new(connection)), client)
    }

    /// What comes before the reader has to wait.
    async fn at_hand(turn: &mut Turn) -> Vec<u8> {
        let mut all = Vec::new();
        let mut space = [0u8; 16];
        loop {
            tokio::select! {
                biased;
                read = turn.read(&mut space) => match read.unwrap() {
                    0 => return all,
                    n => all.extend_from_slice(&space[..n]),
                },
                // The reactor looks at the socket in between.
                () = async { for _ in 0..20 { tokio::task::yield_now().await } } => return all,
            }
        }
    }

    #[tokio::test]
    async fn a_body_ends_where_its_framing_says_and_the_rest_is_the_next_requests() {
        let rows: &[(&str, Framing, &str, &str, &str, &str)] = &[
            (
                "nothing",
                Framing::Nothing,
                "GET 2",
                "GET 3",
                "",
                "GET 2GET 3",
            ),
            (
                "a length of 0",
                Framing::Length(0),
                "",
                "GET 2",
                "",
                "GET 2",
            ),
            (
                "a length, in two pieces",
                Framing::Length(5),
                "ab",
                "cdeGET 2",
                "abcde",
                "GET 2",
            ),
            (
                "a length, all there",
                Framing::Length(2),
                "abGET 2",
                "GET 3",
                "ab",
                "GET 2GET 3",
            ),
            (
                "chunks",
                Framing::Chunked,
                "1\r\na\r",
                "\n0\r\n\r\nGET 2",
                "1\r\na\r\n0\r\n\r\n",
                "GET 2",
            ),
        ];
        for (name, framing, behind, later, body, next) in rows {
            let (mut turn, mut client) = pair().await;
            let mut got = turn
                .begin(BytesMut::from(*behind), *framing, None)
                .unwrap()
                .to_vec();
            client.write_all(later.as_bytes()).await.unwrap();
            turn.inner.flush().await.unwrap();
            // The bytes are there when the client's write has returned: both ends are this machine.
            got.extend(at_hand(&mut turn).await);
            assert_eq!(String::from_utf8_lossy(&got), *body, "{name}");
            assert!(turn.next(), "{name}");
            assert_eq!(
                String::from_utf8_lossy(&at_hand(&mut turn).await),
                *next,
                "{name}"
            );
        }
    }

    #[tokio::test]
    async fn a_body_that_was_not_read_to_its_end_leaves_no_next_request() {
        let (mut turn, _client) = pair().await;
        turn.begin(BytesMut::from("ab"), Framing::Length(3), None)
            .unwrap();
        assert!(!turn.next());
    }

    #[tokio::test]
    async fn a_client_that_leaves_is_noticed_though_its_next_request_is_held() {
        let (mut turn, mut client) = pair().await;
        turn.begin(BytesMut::from("GET 2"), Framing::Nothing, None)
            .unwrap();
        client.write_all(b" and more").await.unwrap();
        drop(client);
        let mut space = [0u8; 16];
        assert_eq!(turn.read(&mut space).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn what_is_held_is_bounded() {
        let (mut turn, mut client) = pair().await;
        turn.begin(BytesMut::new(), Framing::Nothing, None).unwrap();
        let flood = tokio::spawn(async move {
            let _ = client.write_all(&vec![b'a'; 64 << 20]).await;
        });
        for _ in 0..2000 {
            assert_eq!(at_hand(&mut turn).await, b"");
            tokio::task::yield_now().await;
        }
        assert!(turn.held.len() <= HELD + PEEP, "{}", turn.held.len());
        drop(turn);
        flood.await.unwrap();
    }

    #[tokio::test]
    async fn behind_an_upgrade_everything_waits_for_the_switch() {
        let (mut turn, mut client) = pair().await;
        let gate = Arc::new(UpgradeGate::default());
        let body = turn
            .begin(BytesMut::from("early"), Framing::Nothing, Some(&gate))
            .unwrap();
        assert!(body.is_empty());
        client.write_all(b" too").await.unwrap();
        assert_eq!(at_hand(&mut turn).await, b"");
        let mut space = [0u8; 16];
        let opening = async {
            tokio::task::yield_now().await;
            gate.open();
        };
        let (read, ()) = tokio::join!(turn.read(&mut space), opening);
        assert_eq!(&space[..read.unwrap()], b"early too");
        assert!(!turn.next(), "an upgraded connection has no next request");
    }

    #[tokio::test]
    async fn a_head_waits_for_its_body_once_and_never_for_the_clients_next_bytes() {
        let (mut turn, mut client) = pair().await;
        let mut space = [0u8; 64];
        turn.connection.head_waits.for_the_body();
        turn.write_all(b"head ").await.unwrap();
        turn.flush().await.unwrap();
        assert!(came(&mut client).await.is_none(), "the head waits");
        turn.write_all(b"body").await.unwrap();
        turn.flush().await.unwrap();
        let n = client.read(&mut space).await.unwrap();
        assert_eq!(&space[..n], b"head body", "in one segment");

        turn.write_all(b"more").await.unwrap();
        turn.flush().await.unwrap();
        assert_eq!(came(&mut client).await.as_deref(), Some(&b"more"[..]));

        turn.connection.head_waits.for_the_body();
        turn.write_all(b"head").await.unwrap();
        turn.flush().await.unwrap();
        // Whoever looks for the client's bytes has nothing more to say for now.
        at_hand(&mut turn).await;
        assert_eq!(came(&mut client).await.as_deref(), Some(&b"head"[..]));
    }

    /// What the client gets without waiting for it.
    async fn came(client: &mut TcpStream) -> Option<Vec<u8>> {
        let mut space = [0u8; 64];
        tokio::select! {
            biased;
            read = client.read(&mut space) => Some(space[..read.unwrap()].to_vec()),
            () = async { for _ in 0..20 { tokio::task::yield_now().await } } => None,
        }
    }
}
