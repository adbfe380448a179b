//! A legacy session's bounded queue, and the event stream that drains it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, Interval, MissedTickBehavior},
};

use super::session::SessionGuard;
use crate::{handler::StreamAbort, mcp::Reply};

/// Replies that wait for a client that does not read, in number and in bytes.
const MAX_QUEUED: usize = 64;
const MAX_QUEUED_BYTES: usize = 4 << 20;

pub(super) const PING: &[u8] = b": ping\n\n";

/// A reply as one server-sent event.
pub(super) fn event(reply: &Reply) -> Bytes {
    Bytes::from(format!("event: message\ndata: {}\n\n", reply.as_str()))
}

#[derive(Debug)]
struct Queued {
    event: Bytes,
    /// Gives the bytes back when the event leaves the queue.
    _room: OwnedSemaphorePermit,
}

/// The sending side.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    queue: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
}

/// The receiving side.
#[derive(Debug)]
pub(super) struct Inbox(mpsc::Receiver<Queued>);

/// Why a reply could not be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsent {
    /// The client does not read its stream.
    Full,
    /// The stream is gone.
    Gone,
}

impl Outbox {
    pub(super) fn new() -> (Self, Inbox) {
        let (queue, inbox) = mpsc::channel(MAX_QUEUED);
        let room = Arc::new(Semaphore::new(MAX_QUEUED_BYTES));
        (Self { queue, room }, Inbox(inbox))
    }

    pub(super) fn try_send(&self, reply: &Reply) -> Result<(), Unsent> {
        let event = event(reply);
        let room = self
            .room
            .clone()
            .try_acquire_many_owned(size(&event))
            .map_err(|_| Unsent::Full)?;
        self.queue
            .try_send(Queued { event, _room: room })
            .map_err(|e| match e {
                mpsc::error::TrySendError::Full(_) => Unsent::Full,
                mpsc::error::TrySendError::Closed(_) => Unsent::Gone,
            })
    }

    /// Waits for room. The caller stops waiting when the session ends.
    pub(super) async fn send(&self, reply: &Reply) -> Result<(), Unsent> {
        let event = event(reply);
        let room = self
            .room
            .clone()
            .acquire_many_owned(size(&event))
            .await
            .map_err(|_| Unsent::Gone)?;
        self.queue
            .send(Queued { event, _room: room })
            .await
            .map_err(|_| Unsent::Gone)
    }
}

/// Never more than the whole room, or the wait would have no end.
fn size(event: &Bytes) -> u32 {
    u32::try_from(event.len().min(MAX_QUEUED_BYTES)).unwrap_or(u32::MAX)
}

/// Body of the legacy GET: the endpoint event, then replies, with a comment when it is silent.
/// Dropping it frees the session.
#[derive(Debug)]
pub(super) struct EventStream {
    first: Option<Bytes>,
    inbox: Inbox,
    ping: Interval,
    guard: SessionGuard,
}

impl EventStream {
    pub(super) fn new(endpoint: &str, inbox: Inbox, ping: Duration, guard: SessionGuard) -> Self {
        Self {
            first: Some(Bytes::from(format!(
                "event: endpoint\ndata: {endpoint}\n\n"
            ))),
            inbox,
            ping: pings(ping),
            guard,
        }
    }
}

/// The first one is a whole period away.
pub(super) fn pings(period: Duration) -> Interval {
    let mut interval = tokio::time::interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

impl Stream for EventStream {
    type Item = Result<Bytes, StreamAbort>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        match this.inbox.0.poll_recv(cx) {
            Poll::Ready(Some(queued)) => {
                this.ping.reset();
                return Poll::Ready(Some(Ok(queued.event)));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {}
        }
        match this.ping.poll_tick(cx) {
            Poll::Ready(_) if this.guard.table.has_ended(&this.guard.session) => Poll::Ready(None),
            Poll::Ready(_) => Poll::Ready(Some(Ok(Bytes::from_static(PING)))),
            Poll::Pending => Poll::Pending,
        }
    }
}
