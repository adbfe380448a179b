//! A connection that is lent to Pingora for the handshake of an upgrade, and taken back behind it.
//!
//! `proxy` has it dialled where a request asks for a WebSocket. Pingora writes the request and reads
//! the head of the answer as ever. Where that says 101, nothing behind it is given to Pingora any more:
//! the connection lies in [`Lending`], for `listener` to relay without the buffers and tasks of a
//! request. It looks at the status line alone, and at no byte of a body.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use bytes::BytesMut;
use memchr::memmem;
use parking_lot::Mutex;
use pingora::{
    connectors::L4Connect,
    protocols::l4::{
        socket::SocketAddr as PingoraAddr,
        stream::Stream as L4Stream,
        virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::connector::{CountingConnector, undialled};

/// A head longer than this is not looked through: its connection stays with Pingora.
const LONGEST_HEAD: usize = 64 << 10;
/// Of one read while the head comes.
const PIECE: usize = 4096;

/// Where a lent connection lies once its upstream has switched.
#[derive(Debug, Default)]
pub struct Lending(Mutex<Option<Returned>>);

impl Lending {
    /// Whether the upstream has switched, and Pingora gets nothing more of it.
    pub fn is_returned(&self) -> bool {
        self.0.lock().is_some()
    }

    pub fn take(&self) -> Option<Returned> {
        self.0.lock().take()
    }
}

/// The connection, and what its upstream sent behind the switch.
#[derive(Debug)]
pub struct Returned {
    pub stream: TcpStream,
    pub early: BytesMut,
}

/// Dials like [`CountingConnector`], and lends what it has dialled.
#[derive(Debug)]
pub struct LendingConnector {
    tcp: Arc<CountingConnector>,
    lending: Arc<Lending>,
}

impl LendingConnector {
    pub fn new(tcp: Arc<CountingConnector>, lending: Arc<Lending>) -> Self {
        Self { tcp, lending }
    }
}

#[async_trait]
impl L4Connect for LendingConnector {
    async fn connect(&self, address: &PingoraAddr) -> pingora::Result<L4Stream> {
        let tcp = self.tcp.dial(address).await.map_err(undialled)?;
        let lent = Lent {
            stream: Some(tcp),
            seen: Seen::Head(Vec::new()),
            lending: self.lending.clone(),
        };
        Ok(VirtualSocketStream::new(Box::new(lent)).into())
    }
}

/// What Pingora holds.
#[derive(Debug)]
struct Lent {
    /// Until the switch; Pingora, which is being dropped then, has nothing more to say.
    stream: Option<TcpStream>,
    seen: Seen,
    lending: Arc<Lending>,
}

/// What of the answer went by.
#[derive(Debug)]
enum Seen {
    /// So much of its head.
    Head(Vec<u8>),
    /// The end of a head that is no 101: the rest is Pingora's.
    Answer,
    /// The end of a 101: nothing more is.
    Switch,
}

impl Seen {
    /// How many of the next bytes are Pingora's.
    fn push(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        loop {
            let head = match self {
                Seen::Head(head) => head,
                Seen::Answer => return bytes.len(),
                Seen::Switch => return passed,
            };
            let before = head.len();
            head.extend_from_slice(bytes.get(passed..).unwrap_or_default());
            // The blank line may have begun in the piece before.
            let from = before.saturating_sub(3);
            let rest = head.get(from..).unwrap_or_default();
            let Some(end) = memmem::find(rest, b"\r\n\r\n").map(|at| from + at + 4) else {
                if head.len() > LONGEST_HEAD {
                    *self = Seen::Answer;
                }
                return bytes.len();
            };
            passed += end - before;
            match status(head) {
                Some(b"101") => *self = Seen::Switch,
                // Something provisional; the answer is still to come.
                Some([b'1', _, _]) => head.clear(),
                Some(_) | None => *self = Seen::Answer,
            }
        }
    }
}

/// Of `HTTP/1.1 101 Switching Protocols`, the three digits.
fn status(head: &[u8]) -> Option<&[u8]> {
    head.strip_prefix(b"HTTP/1.")?.get(2..5)
}

impl VirtualSocket for Lent {
    /// Set when it was dialled.
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Lent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // Whoever relays it has the end of it, too; Pingora's part is dropped.
        let Some(stream) = &mut this.stream else {
            return Poll::Pending;
        };
        if let Seen::Answer = this.seen {
            return Pin::new(stream).poll_read(cx, buf);
        }
        let mut space = [MaybeUninit::uninit(); PIECE];
        let room = space.get_mut(..buf.remaining().min(PIECE));
        let mut piece = ReadBuf::uninit(room.unwrap_or_default());
        ready!(Pin::new(stream).poll_read(cx, &mut piece))?;
        let came = piece.filled();
        let passed = this.seen.push(came);
        let (theirs, behind) = came.split_at(passed.min(came.len()));
        buf.put_slice(theirs);
        if let Seen::Switch = this.seen
            && let Some(stream) = this.stream.take()
        {
            *this.lending.0.lock() = Some(Returned {
                stream,
                early: BytesMut::from(behind),
            });
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Lent {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_write(cx, buf),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_shutdown(cx),
            // It is somebody else's to end.
            None => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

    #[test]
    fn what_comes_behind_a_switch_is_not_pingoras() {
        let early = format!("{SWITCH}frame");
        let hints = format!("HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n{SWITCH}frame");
        let refused = "HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nbody".to_owned();
        let nonsense = "\u{1}\r\n\r\nmore".to_owned();
        let in_a_body = format!("HTTP/1.1 200 OK\r\n\r\n{SWITCH}frame");
        for (name, answer, theirs, switches) in [
            ("a switch", &SWITCH.to_owned(), SWITCH.len(), true),
            ("with a frame behind it", &early, SWITCH.len(), true),
            ("hints before it", &hints, hints.len() - 5, true),
            ("another answer", &refused, refused.len(), false),
            ("one in a body", &in_a_body, in_a_body.len(), false),
            ("no answer at all", &nonsense, nonsense.len(), false),
        ] {
            for size in [1, 2, 3, 7, 4096] {
                let mut seen = Seen::Head(Vec::new());
                let passed: usize = answer
                    .as_bytes()
                    .chunks(size)
                    .map(|piece| seen.push(piece))
                    .sum();
                assert_eq!(passed, theirs, "{name}, {size} bytes at a time");
                assert_eq!(matches!(seen, Seen::Switch), switches, "{name}");
            }
        }
    }

    #[test]
    fn a_head_without_an_end_stays_with_pingora() {
        let mut seen = Seen::Head(Vec::new());
        let piece = [b'a'; 4096];
        for _ in 0..40 {
            assert_eq!(seen.push(&piece), piece.len());
        }
        assert!(matches!(seen, Seen::Answer));
    }
}
