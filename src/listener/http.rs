//! The keep-alive loop of one connection: read a head, judge its form, let Pingora run the request.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use pingora::{
    apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream},
    protocols::{Stream, http::ServerSession},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::Sleep,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::{
    accept::Edge,
    connect,
    entered::Entered,
    head::{self, Head, KnownHost, Target},
    judge,
    relay::Relay,
    stream::EdgeStream,
    turn::Turn,
};
use crate::{
    audit::AuditKind,
    net::Entry,
    policy::Reason,
    proxy::{Connection, Denial, Finish, Held, LINGER, LINGER_QUIET, Leash, Outcome, request_id},
};

/// Of the first read; the plugin's chats mostly fit with their prompt.
const FIRST_READ: usize = 16 << 10;
/// So much of a head is nobody's concern; what is beyond is counted, and read in such pieces.
const HEAD_BUFFER: usize = 4096;

/// How long a request that is cut may take to say so.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// Serves requests until the connection ends, or one of them makes it a WebSocket: the caller runs
/// that, where it is best for something that lasts.
pub async fn serve(
    edge: &Arc<Edge>,
    stream: Stream,
    connection: Arc<Connection>,
) -> Option<Box<Relay>> {
    let mut stream = Box::new(Turn::new(stream, connection.clone()));
    let mut settings: Option<HttpPersistentSettings> = None;
    let mut patience = Patience::new(edge);
    let leashed = connection.clone();
    let mut pulled = pin!(leashed.leash.pulled());
    let mut end = End {
        pulled: Entered::new(pulled.as_mut()),
        leash: &leashed.leash,
    };
    let mut known_host = KnownHost::default();
    loop {
        // Lives as long as the request whose head it is.
        let mut held = edge.services.memory.hold();
        let mut buffer = BytesMut::new();
        let length = match read_head(edge, &mut stream, &mut buffer, &mut held, &mut patience).await
        {
            Ok(Some(length)) => length,
            Ok(None) => return None,
            Err(denial) => {
                // Being told so takes a while; the memory is for others.
                drop((buffer, held));
                refuse(edge, stream, &connection, denial).await;
                return None;
            }
        };
        let started = Instant::now();
        let parsed = head::parse_next(
            &buffer[..length],
            connection.default_port(),
            &mut known_host,
        );
        let head = match parsed {
            Ok(head) => head,
            Err(e) => {
                let denial = Denial::early(e.reason, e.message);
                refuse(edge, stream, &connection, denial).await;
                return None;
            }
        };
        if let Target::Authority(_) = head.target {
            begin_tunnel(edge, stream, connection, &head, buffer, started).await;
            return None;
        }
        let arrival = match judge::arrival(&edge.services.routes, &connection, &head, started) {
            Ok(arrival) => arrival,
            Err(denial) => {
                refuse(edge, stream, &connection, denial).await;
                return None;
            }
        };
        // Splitting costs an allocation, and mostly there is nothing behind a head.
        let behind = match buffer.len() > head.length {
            true => buffer.split_off(head.length),
            false => BytesMut::new(),
        };
        if matches!(head.target, Target::Absolute { .. }) {
            let port = connection.default_port();
            let (target, authority) = (&arrival.target, &arrival.authority);
            head::rewrite_to_origin(&mut buffer, &head, target, authority, port);
        }
        let gate = arrival.gate.clone();
        match stream.begin(behind, head.framing, arrival.gate.as_ref()) {
            Ok(body) => buffer.unsplit(body),
            Err(fault) => {
                let mut denial = Denial::early(fault.reason(), fault.words());
                denial.authority = Some(arrival.authority.clone());
                refuse(edge, stream, &connection, denial).await;
                return None;
            }
        }
        let mut session = ServerSession::new_http1(stream);
        if let Some(settings) = settings.take() {
            settings.apply_to_session(&mut session);
        }
        session.set_pipelined_prefix(buffer);
        session.set_connection_user_context(Some(Box::new(arrival)));
        let serving = edge.proxy.process_new_http(session, &edge.pingora_shutdown);
        let serving = until_cut(serving, &mut end);
        let served = match &gate {
            // A WebSocket has no end to wait for when we stop.
            Some(gate) => tokio::select! {
                served = serving => served,
                () = gate.given() => None,
                () = edge.closing.cancelled() => None,
            },
            None => serving.await,
        };
        // Pingora's part of it is dropped by now.
        if let Some(switched) = gate.and_then(|gate| gate.take()) {
            let patience = edge.services.limits.upstream_timeout;
            return Some(Box::new(Relay::new(switched, connection, patience)));
        }
        let (reused, kept) = served.map(ReusedHttpStream::consume)?;
        let mut turn = reused.into_any().downcast::<Turn>().ok()?;
        if !turn.next() || connection.leash.why().is_some() {
            return None;
        }
        (stream, settings) = (turn, kept);
    }
}

/// Lets a request run until it ends or is cut. One that is cut may still say so, if it can at once;
/// an idle WebSocket or a silent upstream cannot, and is dropped with its connection.
async fn until_cut<T>(
    answering: impl Future<Output = Option<T>>,
    end: &mut End<'_, '_>,
) -> Option<T> {
    let mut answering = pin!(answering);
    let answered = poll_fn(|cx| match answering.as_mut().poll(cx) {
        Poll::Ready(reused) => Poll::Ready(Some(reused)),
        Poll::Pending => end.poll_cut(cx).map(|()| None),
    });
    if let Some(reused) = answered.await {
        return reused;
    }
    let _ = tokio::time::timeout(LAST_WORDS, answering).await;
    None
}

/// The end of a connection from outside. One for all its requests, which are one task.
struct End<'p, 'l> {
    pulled: Entered<&'p mut WaitForCancellationFuture<'l>>,
    leash: &'l Leash,
}

impl End<'_, '_> {
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The reason is set before anybody is woken.
        self.pulled.poll(cx, |_| self.leash.why().is_some())
    }
}

/// Reads until the blank line. `Ok(None)`: the client closed, idled out, or we are draining.
async fn read_head(
    edge: &Edge,
    stream: &mut Turn,
    buffer: &mut BytesMut,
    held: &mut Held,
    patience: &mut Patience<'_>,
) -> Result<Option<usize>, Denial> {
    let limits = &edge.services.limits;
    if !patience
        .first_bytes(stream, buffer, limits.idle_timeout)
        .await
    {
        return Ok(None);
    }
    let room = |held: &mut Held, bytes| match held.grow(bytes) {
        true => Ok(()),
        false => {
            let words = "too many large request heads at once; try again";
            Err(Denial::early(Reason::Overloaded, words))
        }
    };
    if buffer.len() > HEAD_BUFFER {
        room(held, buffer.capacity() - HEAD_BUFFER)?;
    }
    // Nearly every head comes in one piece, and then wants no timer.
    if let Some(end) = head::head_end(buffer, 0) {
        return within(end, limits.head_bytes);
    }
    let rest = async {
        let mut seen = 0;
        loop {
            if let Some(e) = head::hopeless(buffer, seen) {
                return Err(Denial::early(e.reason, e.message));
            }
            seen = buffer.len();
            if seen > limits.head_bytes {
                return Err(too_large(limits.head_bytes));
            }
            let before = buffer.capacity();
            buffer.reserve(HEAD_BUFFER);
            room(held, buffer.capacity().saturating_sub(before))?;
            if !matches!(stream.read_buf(buffer).await, Ok(n) if n > 0) {
                let words = "the connection ended inside the request head";
                return Err(Denial::early(Reason::MalformedRequest, words));
            }
            if let Some(end) = head::head_end(buffer, seen) {
                return within(end, limits.head_bytes);
            }
        }
    };
    match tokio::time::timeout(limits.head_timeout, rest).await {
        Ok(result) => result,
        Err(_) => Err(Denial::early(
            Reason::HeadTimeout,
            format!(
                "the request head was not complete after {:?}",
                limits.head_timeout
            ),
        )),
    }
}

/// Waits for the next request of a connection. Its timers live as long as the connection: making
/// and registering them anew for every request costs more than judging it.
struct Patience<'e> {
    closing: Entered<Box<WaitForCancellationFuture<'e>>>,
    closes: &'e CancellationToken,
    /// Fires at the earliest when the connection may have idled out.
    idle: Entered<Box<Sleep>>,
}

impl<'e> Patience<'e> {
    fn new(edge: &'e Edge) -> Self {
        let idle = tokio::time::sleep(edge.services.limits.idle_timeout);
        Self {
            closing: Entered::new(Box::pin(edge.closing.cancelled())),
            closes: &edge.closing,
            idle: Entered::new(Box::pin(idle)),
        }
    }

    /// False when the client closed or idled out, or we are draining.
    async fn first_bytes(
        &mut self,
        stream: &mut Turn,
        buffer: &mut BytesMut,
        idle_timeout: Duration,
    ) -> bool {
        let due = tokio::time::Instant::now() + idle_timeout;
        poll_fn(|cx| match poll_first(stream, cx, buffer) {
            Poll::Ready(came) => Poll::Ready(came),
            Poll::Pending => self.poll_end(cx, due).map(|()| false),
        })
        .await
    }

    fn poll_end(&mut self, cx: &mut Context<'_>, due: tokio::time::Instant) -> Poll<()> {
        let closing = self.closing.poll(cx, |_| self.closes.is_cancelled());
        if closing.is_ready() {
            return Poll::Ready(());
        }
        while self.idle.poll(cx, Sleep::is_elapsed).is_ready() {
            // Set for an earlier request: this one has waited for a part of it.
            if tokio::time::Instant::now() >= due {
                return Poll::Ready(());
            }
            self.idle.again().reset(due);
        }
        Poll::Pending
    }
}

/// Whether anything came. An idle connection holds no buffer.
fn poll_first(stream: &mut Turn, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<bool> {
    buffer.reserve(FIRST_READ);
    let read = pin!(stream.read_buf(buffer)).poll(cx);
    // A long one stays where it is; a short one would keep much room for itself.
    if read.is_pending() {
        *buffer = BytesMut::new();
    } else if buffer.len() <= HEAD_BUFFER {
        *buffer = BytesMut::from(&buffer[..]);
    }
    read.map(|came| came.is_ok_and(|bytes| bytes > 0))
}

fn within(end: usize, limit: usize) -> Result<Option<usize>, Denial> {
    if end > limit {
        Err(too_large(limit))
    } else {
        Ok(Some(end))
    }
}

fn too_large(limit: usize) -> Denial {
    Denial::early(
        Reason::HeadTooLarge,
        format!("a request head may have {limit} bytes"),
    )
}

async fn begin_tunnel(
    edge: &Arc<Edge>,
    stream: Box<Turn>,
    connection: Arc<Connection>,
    head: &Head,
    mut buffer: BytesMut,
    started: Instant,
) {
    let Target::Authority(authority) = &head.target else {
        return;
    };
    let wrong = if connection.bound_to.is_some() {
        Some("CONNECT inside a tunnel")
    } else if connection.entry != Entry::Explicit {
        Some("CONNECT goes to the proxy port (listeners.explicit)")
    } else {
        None
    };
    if let Some(words) = wrong {
        let mut denial = Denial::early(Reason::WrongEntry, words);
        denial.authority = Some(authority.clone());
        return refuse(edge, stream, &connection, denial).await;
    }
    if let Some(host) = head.host.as_ref().filter(|host| *host != authority) {
        let mut denial = Denial::early(
            Reason::AuthorityMismatch,
            format!("Host says {host}, CONNECT {authority}"),
        );
        denial.authority = Some(authority.clone());
        return refuse(edge, stream, &connection, denial).await;
    }
    let (stream, held) = stream.into_parts();
    let Ok(stream) = stream.into_any().downcast::<EdgeStream>() else {
        return;
    };
    let mut l4 = stream.into_inner();
    // A client may send its ClientHello without waiting for our 200.
    let mut early = buffer.split_off(head.length);
    early.unsplit(held);
    l4.rewind(&early);
    let authority = authority.clone();
    let key = head.proxy_key.as_ref();
    connect::explicit(edge, l4, connection, authority, key, started).await;
}

/// Answers a head that goes nowhere, records it, and closes.
async fn refuse(edge: &Edge, stream: Box<Turn>, connection: &Connection, denial: Denial) {
    let mut finish = Finish::begin(
        &edge.services,
        AuditKind::Request,
        request_id(),
        connection.entry,
        connection.client.ip(),
        Instant::now(),
    );
    if let Some(authority) = &denial.authority {
        finish.authority(authority);
    }
    finish.denied(&denial);
    finish.done(Outcome::default());
    write_refusal(stream, &denial).await;
}

/// Writes the refusal and reads off, within bounds, what the client still sends: closing a socket
/// with unread bytes resets it, and the client would lose the answer.
pub async fn write_refusal(mut stream: impl AsyncRead + AsyncWrite + Unpin, denial: &Denial) {
    let talk = async {
        if stream.write_all(&denial.raw()).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        let _ = stream.shutdown().await;
        let mut sink = vec![0u8; 16 << 10];
        while matches!(
            tokio::time::timeout(LINGER_QUIET, stream.read(&mut sink)).await,
            Ok(Ok(n)) if n > 0
        ) {}
    };
    let _ = tokio::time::timeout(LINGER, talk).await;
}
