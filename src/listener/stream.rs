//! The downstream stream as Pingora gets it: small writes are joined, and nothing is held back.
//!
//! Pingora writes a response as a head, then a body, and flushes behind the last of them. Straight
//! to the socket each of them is a system call and a segment; its own listeners put a buffer under
//! that, which a stream made from a socket does not have. This one joins what is written until the
//! flush, or until the pipeline looks for the client's next bytes: from then on it waits, and what
//! is ready must not wait with it. The buffer exists only while it holds something.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use async_trait::async_trait;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType, l4::stream::Stream as L4Stream, raw_connect::ProxyDigest,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Above this many bytes a copy costs more than it saves; they go out beside the held ones.
const HELD: usize = 4096;

#[derive(Debug)]
pub struct EdgeStream {
    inner: L4Stream,
    /// Written by the pipeline, not yet by the system: `held[sent..]`.
    held: Vec<u8>,
    sent: usize,
}

impl EdgeStream {
    pub fn new(inner: L4Stream) -> Self {
        Self {
            inner,
            held: Vec::new(),
            sent: 0,
        }
    }

    /// The stream beneath. Whoever asks has flushed: nothing is held any more.
    pub fn into_inner(self) -> L4Stream {
        self.inner
    }

    /// Nothing is held back.
    pub fn is_flushed(&self) -> bool {
        self.waiting().is_empty()
    }

    fn waiting(&self) -> &[u8] {
        self.held.get(self.sent..).unwrap_or_default()
    }

    fn took(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent >= self.held.len() {
            self.held = Vec::new();
            self.sent = 0;
        }
    }

    fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting().is_empty() {
            let waiting = self.held.get(self.sent..).unwrap_or_default();
            let n = ready!(Pin::new(&mut self.inner).poll_write(cx, waiting))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.took(n);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the held bytes and `bufs` in one call. Returns how much of `bufs` went.
    fn poll_beside(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let waiting = self.held.get(self.sent..).unwrap_or_default();
            if waiting.is_empty() {
                return Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
            }
            let held = waiting.len();
            let mut all = Vec::with_capacity(bufs.len() + 1);
            all.push(IoSlice::new(waiting));
            all.extend_from_slice(bufs);
            let n = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, &all))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.took(n.min(held));
            if n > held {
                return Poll::Ready(Ok(n - held));
            }
        }
    }
}

impl AsyncRead for EdgeStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if read.is_pending() && !self.held.is_empty() {
            // A broken pipe shows itself to the next write.
            let _ = self.poll_release(cx);
        }
        read
    }
}

impl AsyncWrite for EdgeStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.waiting().len() + buf.len() > HELD {
            return self.poll_beside(cx, &[IoSlice::new(buf)]);
        }
        self.held.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = bufs.iter().map(|b| b.len()).sum();
        if self.waiting().len() + length > HELD {
            return self.poll_beside(cx, bufs);
        }
        self.held.reserve(length);
        bufs.iter().for_each(|b| self.held.extend_from_slice(b));
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_release(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_release(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for EdgeStream {
    async fn shutdown(&mut self) {
        // The peer may have gone already; there is nobody left to tell.
        let _ = tokio::io::AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for EdgeStream {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for EdgeStream {}

#[async_trait]
impl Peek for EdgeStream {
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        self.inner.try_peek(buf).await
    }
}

/// What Pingora asks of a stream about its connection is answered by the one in its field `inner`.
macro_rules! digests_of_inner {
    ($stream:ty) => {
        impl GetTimingDigest for $stream {
            fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
                self.inner.get_timing_digest()
            }
            fn get_read_pending_time(&self) -> Duration {
                self.inner.get_read_pending_time()
            }
            fn get_write_pending_time(&self) -> Duration {
                self.inner.get_write_pending_time()
            }
        }

        impl GetProxyDigest for $stream {
            fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
                self.inner.get_proxy_digest()
            }
            fn set_proxy_digest(&mut self, digest: ProxyDigest) {
                self.inner.set_proxy_digest(digest);
            }
        }

        impl GetSocketDigest for $stream {
            fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
                self.inner.get_socket_digest()
            }
            fn set_socket_digest(&mut self, digest: SocketDigest) {
                self.inner.set_socket_digest(digest);
            }
        }
    };
}
pub(super) use digests_of_inner;

digests_of_inner!(EdgeStream);

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// Our end, and the client's.
    async fn pair() -> (EdgeStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        #[allow(clippy::disallowed_methods, reason = "the test's own client")]
        let client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (ours, _) = listener.accept().await.unwrap();
        (EdgeStream::new(ours.into()), client)
    }

    fn nothing_came(client: &TcpStream) -> bool {
        let mut byte = [0u8; 1];
        client
            .try_read(&mut byte)
            .is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
    }

    async fn read(client: &mut TcpStream, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        client.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    #[tokio::test]
    async fn a_head_and_a_small_body_leave_together_at_the_flush() {
        let (mut ours, mut client) = pair().await;
        ours.write_all(b"head ").await.unwrap();
        ours.write_all(b"body").await.unwrap();
        assert!(nothing_came(&client));
        ours.flush().await.unwrap();
        assert_eq!(read(&mut client, 9).await, b"head body");
        assert_eq!(
            ours.held.capacity(),
            0,
            "an idle connection holds no buffer"
        );
    }

    #[tokio::test]
    async fn what_is_held_goes_out_when_the_pipeline_waits_for_the_client() {
        let (mut ours, mut client) = pair().await;
        ours.write_all(b"head").await.unwrap();
        let mut next = [0u8; 4];
        let waiting = ours.read_exact(&mut next);
        tokio::pin!(waiting);
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("the client has sent nothing"),
            head = read(&mut client, 4) => assert_eq!(head, b"head"),
        }
        client.write_all(b"more").await.unwrap();
        waiting.await.unwrap();
        assert_eq!(&next, b"more");
    }

    #[tokio::test]
    async fn bytes_of_every_size_keep_their_order() {
        let (mut ours, mut client) = pair().await;
        let sizes = [1, HELD - 1, 1, 2, HELD, HELD + 1, 3, 200_000, 5];
        let sent: Vec<Vec<u8>> = (0u8..).zip(sizes).map(|(n, size)| vec![n; size]).collect();
        let expected = sent.concat();
        let writing = tokio::spawn(async move {
            for (n, piece) in sent.iter().enumerate() {
                if n % 2 == 0 {
                    ours.write_all(piece).await.unwrap();
                } else {
                    let (a, b) = piece.split_at(piece.len() / 2);
                    let mut both = bytes::Buf::chain(a, b);
                    ours.write_all_buf(&mut both).await.unwrap();
                }
            }
            AsyncWriteExt::shutdown(&mut ours).await.unwrap();
        });
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        writing.await.unwrap();
        assert!(
            got == expected,
            "{} of {} bytes, or in another order",
            got.len(),
            expected.len()
        );
    }
}
