//! A connection behind its switch of protocols: bytes both ways, and nothing else.
//!
//! An idle WebSocket lives for hours, and a page of ComfyUI has one open at all times. [`Relay`] holds
//! two sockets and the open record; a buffer is there only while one side does not take what the other
//! has sent. Made by `listener::http` from what `proxy::upgrade` has kept; it looks into no frame.

use std::{
    future::{Future, poll_fn},
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use pingora::protocols::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};

use super::{accept::Edge, entered::Entered, stream::EdgeStream};
use crate::{
    policy::Reason,
    proxy::{Connection, Passing, Switched},
    upstream::lent::Returned,
};

/// Of one read; it lies on the stack.
const PIECE: usize = 16 << 10;

pub struct Relay {
    connection: Arc<Connection>,
    passing: Passing,
    ends: Ends<Stream, TcpStream>,
}

impl Relay {
    pub fn new(switched: Switched, connection: Arc<Connection>, patience: Duration) -> Self {
        let Switched {
            downstream,
            from_client,
            upstream,
            passing,
        } = switched;
        let Returned { stream, early } = upstream;
        Self {
            connection,
            passing,
            ends: Ends {
                client: bare(downstream),
                upstream: stream,
                up: Flow::new(from_client),
                down: Flow::new(early),
                stalled: None,
                patience,
            },
        }
    }

    /// Until both sides are done, one is broken or takes nothing, or it is cut. Boxed, and used where
    /// it lies: the task of an idle WebSocket is nearly all of what that weighs.
    pub async fn run(mut self: Box<Self>, edge: &Edge) {
        let ended = self.until_the_end(edge).await;
        let Self { passing, ends, .. } = *self;
        passing.done(ends.up.passed, ends.down.passed, ended);
    }

    async fn until_the_end(&mut self, edge: &Edge) -> Option<(Reason, Option<String>)> {
        let Self {
            connection,
            passing,
            ends,
        } = self;
        let leash = &connection.leash;
        let (closing, pulled) = (pin!(edge.closing.cancelled()), pin!(leash.pulled()));
        let (mut closing, mut pulled) = (Entered::new(closing), Entered::new(pulled));
        poll_fn(|cx| {
            if closing.poll(cx, |_| edge.closing.is_cancelled()).is_ready() {
                return Poll::Ready(Some((Reason::ClientGone, Some("cut".into()))));
            }
            if pulled.poll(cx, |_| leash.why().is_some()).is_ready() {
                return Poll::Ready(leash.why().map(|why| (why, None)));
            }
            let before = ends.up.passed;
            let polled = ends.poll(cx);
            passing.sent_on(ends.up.passed - before);
            polled.map(|broken| broken.map(|(reason, words)| (reason, Some(words.into()))))
        })
        .await
    }
}

/// Without the layer that joins small writes: here each piece is passed on as it came.
fn bare(stream: Stream) -> Stream {
    let edge = (*stream).as_any().downcast_ref::<EdgeStream>();
    if !edge.is_some_and(EdgeStream::is_flushed) {
        return stream;
    }
    match stream.into_any().downcast::<EdgeStream>() {
        Ok(edge) => Box::new(edge.into_inner()),
        // It was one a line ago; anything else is at its end.
        Err(_) => Box::new(io::Cursor::new(Box::<[u8]>::default())),
    }
}

/// Why it broke off, with words for the record; `None`: both sides are done.
type Broken = Option<(Reason, &'static str)>;

struct Ends<C, U> {
    client: C,
    upstream: U,
    up: Flow,
    down: Flow,
    /// Since when nothing has moved that should, as the sum that had passed then.
    stalled: Option<(u64, Pin<Box<Sleep>>)>,
    patience: Duration,
}

impl<C, U> Ends<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Broken> {
        let (client, upstream) = (&mut self.client, &mut self.upstream);
        let up = self.up.poll(cx, client, upstream);
        let down = self.down.poll(cx, upstream, client);
        // A reset is how many clients leave; the sums stand all the same.
        let reset = Some((Reason::ClientGone, "closed by reset"));
        match (up, down) {
            (Poll::Ready(Ended::Whole), Poll::Ready(Ended::Whole)) => Poll::Ready(None),
            (Poll::Ready(_), Poll::Ready(_)) => Poll::Ready(reset),
            (Poll::Ready(Ended::Source), _) | (_, Poll::Ready(Ended::Source)) => Poll::Ready(reset),
            // Who takes nothing more may have said why before.
            (Poll::Ready(Ended::Whole | Ended::Sink), Poll::Pending)
            | (Poll::Pending, Poll::Ready(Ended::Whole | Ended::Sink)) => {
                self.poll_stalled(cx, true).map(Some)
            }
            (Poll::Pending, Poll::Pending) => self.poll_stalled(cx, false).map(Some),
        }
    }

    /// What waits for a side that takes nothing, or for the other half to end, waits for so long. An
    /// idle connection, which has nothing to pass, may be so for ever.
    fn poll_stalled(&mut self, cx: &mut Context<'_>, half: bool) -> Poll<(Reason, &'static str)> {
        if !half && self.up.waiting.is_empty() && self.down.waiting.is_empty() {
            self.stalled = None;
            return Poll::Pending;
        }
        let passed = self.up.passed + self.down.passed;
        let due = Instant::now() + self.patience;
        let (before, timer) = self
            .stalled
            .get_or_insert_with(|| (passed, Box::pin(tokio::time::sleep_until(due))));
        if *before != passed {
            *before = passed;
            timer.as_mut().reset(due);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready((Reason::ClientGone, "one side takes nothing"))
    }
}

/// How a direction came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// All of it was passed on, the end too.
    Whole,
    /// Where it came from is broken; what had come is passed on.
    Source,
    /// Where it went to is.
    Sink,
}

/// One direction.
struct Flow {
    /// Read, and not taken by the other side yet.
    waiting: BytesMut,
    /// Nothing more is read, and how the end will be.
    last: Option<Ended>,
    ended: Option<Ended>,
    passed: u64,
}

impl Flow {
    fn new(waiting: BytesMut) -> Self {
        Self {
            waiting,
            last: None,
            ended: None,
            passed: 0,
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<Ended> {
        if let Some(ended) = self.ended {
            return Poll::Ready(ended);
        }
        let ended = match ready!(self.poll_pass(cx, from, to)) {
            Ok(ended) => ended,
            Err(_) => Ended::Sink,
        };
        self.waiting = BytesMut::new();
        self.ended = Some(ended);
        Poll::Ready(ended)
    }

    /// The error is one of `to`.
    fn poll_pass(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<Ended>> {
        loop {
            while !self.waiting.is_empty() {
                match ready!(Pin::new(&mut *to).poll_write(cx, &self.waiting))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    n => self.take(n),
                }
            }
            if let Some(last) = self.last {
                ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                return Poll::Ready(Ok(last));
            }
            let mut space = [MaybeUninit::uninit(); PIECE];
            let mut piece = ReadBuf::uninit(&mut space);
            match Pin::new(&mut *from).poll_read(cx, &mut piece) {
                Poll::Pending => {
                    ready!(Pin::new(&mut *to).poll_flush(cx))?;
                    return Poll::Pending;
                }
                Poll::Ready(Err(_)) => self.last = Some(Ended::Source),
                Poll::Ready(Ok(())) if piece.filled().is_empty() => self.last = Some(Ended::Whole),
                Poll::Ready(Ok(())) => {
                    let came = piece.filled();
                    let sent = match Pin::new(&mut *to).poll_write(cx, came)? {
                        Poll::Ready(n) => n.min(came.len()),
                        Poll::Pending => 0,
                    };
                    self.passed += sent as u64;
                    self.waiting
                        .extend_from_slice(came.get(sent..).unwrap_or_default());
                }
            }
        }
    }

    fn take(&mut self, n: usize) {
        self.passed += n as u64;
        self.waiting.advance(n.min(self.waiting.len()));
        if self.waiting.is_empty() {
            self.waiting = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// Two ends with these many bytes of room between, and the far sides of both.
    fn ends(
        room: usize,
        early: &'static [u8],
    ) -> (Ends<DuplexStream, DuplexStream>, DuplexStream, DuplexStream) {
        let (client, page) = duplex(room);
        let (upstream, comfyui) = duplex(room);
        let ends = Ends {
            client,
            upstream,
            up: Flow::new(BytesMut::from(early)),
            down: Flow::new(BytesMut::new()),
            stalled: None,
            patience: Duration::from_secs(60),
        };
        (ends, page, comfyui)
    }

    async fn run(ends: &mut Ends<DuplexStream, DuplexStream>) -> Broken {
        poll_fn(|cx| ends.poll(cx)).await
    }

    #[tokio::test]
    async fn a_half_that_ends_lets_the_other_one_end() {
        let (mut ends, page, mut comfyui) = ends(64, b"early");
        let (mut read, mut write) = tokio::io::split(page);
        let page = async move {
            write.write_all(b" and late").await.unwrap();
            write.shutdown().await.unwrap();
            let mut came = Vec::new();
            read.read_to_end(&mut came).await.unwrap();
            came.len()
        };
        let comfyui = async move {
            let mut came = Vec::new();
            comfyui.read_to_end(&mut came).await.unwrap();
            comfyui.write_all(&[7; 500]).await.unwrap();
            comfyui.shutdown().await.unwrap();
            came
        };
        let (broken, got, came) = tokio::join!(run(&mut ends), page, comfyui);
        assert_eq!((broken, got, came), (None, 500, b"early and late".to_vec()));
        assert_eq!((ends.up.passed, ends.down.passed), (14, 500));
    }

    #[tokio::test]
    async fn who_takes_nothing_is_given_up_and_who_says_nothing_is_not() {
        let (mut ends, mut page, _comfyui) = ends(8, b"");
        ends.patience = Duration::from_millis(10);
        let longer = ends.patience * 10;
        for fits in [&[][..], &[1; 8]] {
            page.write_all(fits).await.unwrap();
            let idle = tokio::time::timeout(longer, run(&mut ends)).await;
            assert!(idle.is_err(), "{fits:?}: {idle:?}");
        }
        page.write_all(&[1; 8]).await.unwrap();
        let why = Some((Reason::ClientGone, "one side takes nothing"));
        assert_eq!(run(&mut ends).await, why);
        assert_eq!(ends.up.waiting.len(), 8);
    }

    /// Refuses every write, and has something to say.
    struct Refusing(&'static [u8]);

    impl AsyncRead for Refusing {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            buf.put_slice(std::mem::take(&mut self.0));
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Refusing {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }
    }

    #[tokio::test]
    async fn who_takes_nothing_more_is_heard_to_the_end() {
        let (client, mut page) = duplex(64);
        let mut ends = Ends {
            client,
            upstream: Refusing(b"too big"),
            up: Flow::new(BytesMut::from("more")),
            down: Flow::new(BytesMut::new()),
            stalled: None,
            patience: Duration::from_secs(60),
        };
        let broken = poll_fn(|cx| ends.poll(cx)).await;
        assert_eq!(broken, Some((Reason::ClientGone, "closed by reset")));
        let mut came = Vec::new();
        page.read_to_end(&mut came).await.unwrap();
        assert_eq!(came, b"too big");
    }
}
