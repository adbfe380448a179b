//! One connection of the HTTP client. It has no task of its own: whoever waits for its answer moves it
//! on, and what nobody waits for is closed by being dropped.
//!
//! Only its socket wakes whoever waits. hyper's halves of a connection wake each other too; here both are
//! asked in one go, and a task that wakes itself would wake another thread to take it away.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http1::{self, Connection, SendRequest},
};
use hyper_util::rt::TokioIo;

use super::{
    Origin, SendError,
    connect::Conn,
    innermost,
    waking::{Waiting, Waking},
    wire::Wire,
};
use crate::handler::EgressMeter;

type Outgoing = Request<Full<Bytes>>;
type Connecting = Connection<TokioIo<Waking>, Full<Bytes>>;

/// Moved on by who waits for it.
struct Moving<C = Connecting> {
    /// Until it has ended.
    connection: Option<Pin<Box<C>>>,
    waiting: Arc<Waiting>,
    /// `waiting`, which it is polled with.
    own: Waker,
}

pub(super) struct Line {
    pub(super) origin: Origin,
    sender: SendRequest<Full<Bytes>>,
    moving: Moving,
    wire: Option<Arc<Wire>>,
}

impl Line {
    pub(super) async fn open(conn: Conn, origin: &Origin) -> Result<Box<Self>, SendError> {
        let Conn { stream, wire } = conn;
        let waiting = Arc::new(Waiting::default());
        let io = Waking {
            stream,
            waiting: waiting.clone(),
        };
        let (sender, connection) = http1::handshake(TokioIo::new(io))
            .await
            .map_err(|e| SendError::Broken(innermost(&e)))?;
        Ok(Box::new(Self {
            origin: origin.clone(),
            sender,
            moving: Moving {
                connection: Some(Box::pin(connection)),
                own: waiting.clone().into(),
                waiting,
            },
            wire,
        }))
    }

    /// What is written from now on is this request's.
    pub(super) fn claim(&self, egress: &EgressMeter) {
        if let Some(wire) = &self.wire {
            wire.claim(egress);
        }
    }

    /// Waits for the head of the answer. The error has the request if nothing of it was sent.
    pub(super) async fn ask(
        &mut self,
        request: Outgoing,
    ) -> Result<Response<Incoming>, (hyper::Error, Option<Outgoing>)> {
        let answer = self.sender.try_send_request(request);
        let mut answer = pin!(answer);
        let moving = &mut self.moving;
        poll_fn(|cx| moving.poll_for(cx, |cx| answer.as_mut().poll(cx)))
            .await
            .map_err(|mut e| {
                let unsent = e.take_message();
                (e.into_error(), unsent)
            })
    }

    /// Asks for what this connection's bytes make ready.
    pub(super) fn poll_for<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.moving.poll_for(cx, poll)
    }

    /// Whether another request can be sent: it is open, and all of the last answer was read.
    pub(super) fn is_free(&mut self, cx: &mut Context<'_>) -> bool {
        self.moving.poll(cx) && self.sender.is_ready()
    }

    /// What is written from now on is nobody's yet.
    pub(super) fn release(&self) {
        if let Some(wire) = &self.wire {
            wire.release();
        }
    }
}

impl<C: Future> Moving<C> {
    /// False when it has ended. How is told to whoever waits for an answer.
    fn poll(&mut self, cx: &Context<'_>) -> bool {
        let Some(connection) = &mut self.connection else {
            return false;
        };
        self.waiting.begin(cx.waker());
        let mut own = Context::from_waker(&self.own);
        if connection.as_mut().poll(&mut own).is_ready() {
            self.connection = None;
        } else if self.waiting.again() {
            cx.waker().wake_by_ref();
        }
        self.connection.is_some()
    }

    /// Asks for what comes of it.
    fn poll_for<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        // Asked first: that a body is wanted is what lets the connection read it.
        let ready = poll(&mut silent());
        if ready.is_ready() {
            return ready;
        }
        match self.poll(cx) {
            true => poll(&mut silent()),
            false => poll(cx),
        }
    }
}

/// Of what is asked again whenever the connection has moved.
fn silent() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_connection_that_wants_to_go_on_at_once_is_moved_on() {
        let mut rounds = 0;
        let connection = poll_fn(|cx| {
            rounds += 1;
            if rounds == 3 {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        let waiting = Arc::new(Waiting::default());
        let mut moving = Moving {
            connection: Some(Box::pin(connection)),
            own: waiting.clone().into(),
            waiting,
        };

        let ended = poll_fn(|cx| match moving.poll(cx) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        });
        tokio::time::timeout(Duration::from_secs(10), ended)
            .await
            .expect("it was not asked again");
    }
}
