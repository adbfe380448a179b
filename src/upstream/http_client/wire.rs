//! What one connection of the HTTP client writes, counted for the request that owns it, and broken off by
//! the kill switch. Called by `http_client` alone.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::{handler::EgressMeter, policy::Lockdown, upstream::gate::Gate};

/// Counts what one connection writes off this machine.
#[derive(Debug, Default)]
pub(super) struct Wire(Mutex<WireState>);

#[derive(Debug, Default)]
struct WireState {
    /// Written while no request had claimed the connection yet.
    pending: u64,
    owner: Option<EgressMeter>,
}

impl Wire {
    fn wrote(&self, bytes: usize) {
        let mut state = self.0.lock();
        match &state.owner {
            Some(owner) => owner.add(bytes as u64),
            None => state.pending += bytes as u64,
        }
    }
    pub(super) fn claim(&self, owner: &EgressMeter) {
        let mut state = self.0.lock();
        owner.add(std::mem::take(&mut state.pending));
        state.owner = Some(owner.clone());
    }
    pub(super) fn release(&self) {
        self.0.lock().owner = None;
    }
}

/// A TCP stream that counts what is written to it.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) stream: TcpStream,
    pub(super) wire: Option<Arc<Wire>>,
    /// Of a connection that leaves this machine: a kept one must not outlive the kill switch.
    pub(super) gate: Option<Arc<Gate>>,
}

impl Counted {
    fn shut(&self) -> Option<io::Error> {
        let gate = self.gate.as_ref()?;
        (gate.level() != Lockdown::Off).then(Gate::error)
    }

    fn note(&self, written: &Poll<io::Result<usize>>) {
        if let (Some(wire), Poll::Ready(Ok(n))) = (&self.wire, written) {
            wire.wrote(*n);
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(shut) = self.shut() {
            return Poll::Ready(Err(shut));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(shut) = self.shut() {
            return Poll::Ready(Err(shut));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(&written);
        written
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(shut) = self.shut() {
            return Poll::Ready(Err(shut));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note(&written);
        written
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
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
    use super::*;

    #[test]
    fn bytes_are_counted_for_the_request_that_owns_the_connection() {
        let wire = Wire::default();
        let (first, second, cancelled) = (
            EgressMeter::default(),
            EgressMeter::default(),
            EgressMeter::default(),
        );
        wire.wrote(10);
        wire.claim(&first);
        wire.wrote(5);
        wire.release();
        wire.wrote(7);
        wire.claim(&second);
        wire.release();
        wire.wrote(1);
        wire.claim(&cancelled);
        wire.wrote(2);
        assert_eq!(
            (first.bytes(), second.bytes(), cancelled.bytes()),
            (15, 7, 3)
        );
    }
}
