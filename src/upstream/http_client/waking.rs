//! A socket that wakes whoever waits for its connection, whatever waker it is polled with.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connect::Stream;

/// Who waits for a connection. As a waker, what the connection itself is polled with: it notes that it
/// wants to go on at once, as hyper does after some rounds to let others run.
pub(super) struct Waiting {
    who: Mutex<Waker>,
    again: AtomicBool,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            who: Mutex::new(Waker::noop().clone()),
            again: AtomicBool::new(false),
        }
    }
}

impl Waiting {
    /// From now on the socket wakes this one.
    pub(super) fn begin(&self, who: &Waker) {
        self.who.lock().clone_from(who);
        self.again.store(false, Ordering::Relaxed);
    }

    /// Whether the connection has asked since to be polled again.
    pub(super) fn again(&self) -> bool {
        self.again.load(Ordering::Relaxed)
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.again.store(true, Ordering::Relaxed);
    }
}

pub(super) struct Waking {
    pub(super) stream: Stream,
    pub(super) waiting: Arc<Waiting>,
}

impl Waking {
    fn poll<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let who = self.waiting.who.lock();
        poll(Pin::new(&mut self.stream), &mut Context::from_waker(&who))
    }
}

impl AsyncRead for Waking {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll(|stream, cx| stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Waking {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(|stream, cx| stream.poll_write(cx, buf))
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll(|stream, cx| stream.poll_write_vectored(cx, bufs))
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|stream, cx| stream.poll_flush(cx))
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|stream, cx| stream.poll_shutdown(cx))
    }
}
