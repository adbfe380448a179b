//! Connections to the control plane: few, short, and the newest first.
//!
//! Health checks and scrapes are answered at once or not at all. Who holds a connection without asking
//! (a plugin may, where it shares a network with this port) is cut: after [`PATIENCE`], or as soon as
//! [`MOST`] newer ones have come. So neither file descriptors nor this port can be taken hostage.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{extract::connect_info::Connected, serve::IncomingStream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::Sleep,
};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

/// Connections at a time.
const MOST: usize = 32;
/// Since the last byte of an answer: the next one has to begin by then. A reload takes a while.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two attempts to accept while there is no descriptor for it.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// A listener that keeps the newest [`MOST`] connections.
pub struct Visits {
    listener: TcpListener,
    open: VecDeque<CancellationToken>,
}

impl Visits {
    pub fn at(listener: TcpListener) -> Self {
        Self {
            listener,
            open: VecDeque::new(),
        }
    }

    fn admit(&mut self, stream: TcpStream) -> Visit {
        self.open.retain(|visit| !visit.is_cancelled());
        while self.open.len() >= MOST {
            if let Some(oldest) = self.open.pop_front() {
                oldest.cancel();
            }
        }
        let token = CancellationToken::new();
        self.open.push_back(token.clone());
        Visit::new(stream, token, PATIENCE)
    }
}

impl axum::serve::Listener for Visits {
    type Io = Visit;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visit, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, client)) => return (self.admit(stream), client),
                Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// The client's address, for the routes that ask whether it is this machine.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

impl Connected<IncomingStream<'_, Visits>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Visits>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// One connection; its end is a clean one to who reads, and an error to who writes.
pub struct Visit<S = TcpStream> {
    stream: S,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    patience: Duration,
    deadline: Pin<Box<Sleep>>,
    /// Tells [`Visits`] that it is over.
    _over: DropGuard,
}

impl<S> Visit<S> {
    fn new(stream: S, token: CancellationToken, patience: Duration) -> Self {
        Self {
            stream,
            cut: Box::pin(token.clone().cancelled_owned()),
            patience,
            deadline: Box::pin(tokio::time::sleep(patience)),
            _over: token.drop_guard(),
        }
    }

    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        self.cut.as_mut().poll(cx).is_ready() || self.deadline.as_mut().poll(cx).is_ready()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Visit<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // First, or a client that drips bytes would never be late.
        if self.is_over(cx) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Visit<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if written.is_ready() {
            let patience = self.patience;
            self.deadline
                .as_mut()
                .reset(tokio::time::Instant::now() + patience);
        } else if self.is_over(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_visit_ends_when_no_answer_is_written_however_much_is_sent() {
        let (mut client, server) = tokio::io::duplex(64);
        let patience = Duration::from_millis(200);
        let mut visit = Visit::new(server, CancellationToken::new(), patience);
        let dripping = tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let mut byte = [0; 1];
        assert_eq!(visit.read(&mut byte).await.unwrap(), 1);
        visit.write_all(b"answer").await.unwrap();
        while visit.read(&mut byte).await.unwrap() > 0 {}
        drop(visit);
        dripping.await.unwrap();
    }

    #[tokio::test]
    async fn the_oldest_visit_makes_way_and_one_that_ended_takes_no_place() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut visits = Visits::at(listener);
        let mut clients = Vec::new();
        let mut inside = Vec::new();
        for _ in 0..MOST {
            #[allow(clippy::disallowed_methods, reason = "a loopback peer")]
            clients.push(TcpStream::connect(address).await.unwrap());
            inside.push(axum::serve::Listener::accept(&mut visits).await.0);
        }
        drop(inside.pop());
        for (expected, name) in [(0, "there was a place"), (1, "one had to go")] {
            #[allow(clippy::disallowed_methods, reason = "a loopback peer")]
            clients.push(TcpStream::connect(address).await.unwrap());
            inside.push(axum::serve::Listener::accept(&mut visits).await.0);
            let mut over = 0;
            for visit in &mut inside {
                let over_now = std::future::poll_fn(|cx| Poll::Ready(visit.is_over(cx))).await;
                over += usize::from(over_now);
            }
            assert_eq!(over, expected, "{name}");
        }
        let first = std::future::poll_fn(|cx| Poll::Ready(inside[0].is_over(cx))).await;
        assert!(first, "the oldest one");
    }
}
