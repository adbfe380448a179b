//! A connection that wakes whoever waits for it, whatever waker it is polled with.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connect::Conn;

/// Who waits.
#[derive(Clone)]
pub(super) struct Waiting(Arc<Mutex<Waker>>);

impl Default for Waiting {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Waker::noop().clone())))
    }
}

impl Waiting {
    pub(super) fn set(&self, waker: &Waker) {
        self.0.lock().clone_from(waker);
    }
}

pub(super) struct Waking {
    conn: Conn,
    waiting: Waiting,
}

impl Waking {
    pub(super) fn new(conn: Conn, waiting: Waiting) -> Self {
        Self { conn, waiting }
    }

    fn poll<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut Conn>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let waker = self.waiting.0.lock();
        poll(Pin::new(&mut self.conn), &mut Context::from_waker(&waker))
    }
}

impl AsyncRead for Waking {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll(|conn, cx| conn.poll_read(cx, buf))
    }
}

impl AsyncWrite for Waking {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(|conn, cx| conn.poll_write(cx, buf))
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll(|conn, cx| conn.poll_write_vectored(cx, bufs))
    }
    fn is_write_vectored(&self) -> bool {
        self.conn.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|conn, cx| conn.poll_flush(cx))
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|conn, cx| conn.poll_shutdown(cx))
    }
}
