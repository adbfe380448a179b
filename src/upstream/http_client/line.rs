//! One connection of the HTTP client. It has no task of its own: whoever waits for its answer moves it
//! on, so an answer wakes nobody twice, and what nobody waits for is closed by being dropped.

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

use super::{Origin, SendError, connect::Conn, innermost, wire::Wire};
use crate::handler::EgressMeter;

type Outgoing = Request<Full<Bytes>>;
type Moving = Connection<TokioIo<Conn>, Full<Bytes>>;

pub(super) struct Line {
    pub(super) origin: Origin,
    sender: SendRequest<Full<Bytes>>,
    /// Until it has ended.
    connection: Option<Pin<Box<Moving>>>,
    wire: Option<Arc<Wire>>,
}

impl Line {
    pub(super) async fn open(conn: Conn, origin: &Origin) -> Result<Box<Self>, SendError> {
        let wire = conn.wire.clone();
        let (sender, connection) = http1::handshake(TokioIo::new(conn))
            .await
            .map_err(|e| SendError::Broken(innermost(&e)))?;
        Ok(Box::new(Self {
            origin: origin.clone(),
            sender,
            connection: Some(Box::pin(connection)),
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
        let connection = &mut self.connection;
        poll_fn(|cx| poll_moved(connection, cx, |cx| answer.as_mut().poll(cx)))
            .await
            .map_err(|mut e| {
                let unsent = e.take_message();
                (e.into_error(), unsent)
            })
    }

    /// Asks `waiting`, which this connection's bytes make ready.
    pub(super) fn poll_with<W: Unpin, T>(
        &mut self,
        cx: &mut Context<'_>,
        waiting: &mut W,
        poll: impl Fn(Pin<&mut W>, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        poll_moved(&mut self.connection, cx, |cx| {
            poll(Pin::new(&mut *waiting), cx)
        })
    }

    /// Whether another request can be sent: it is open, and all of the last answer was read.
    pub(super) fn is_free(&mut self, cx: &mut Context<'_>) -> bool {
        poll_on(&mut self.connection, cx);
        self.connection.is_some() && self.sender.is_ready()
    }

    /// What is written from now on is nobody's yet.
    pub(super) fn release(&self) {
        if let Some(wire) = &self.wire {
            wire.release();
        }
    }
}

fn poll_on(connection: &mut Option<Pin<Box<Moving>>>, cx: &mut Context<'_>) {
    // How it ended is told to whoever waits for an answer.
    if let Some(moving) = connection
        && moving.as_mut().poll(cx).is_ready()
    {
        *connection = None;
    }
}

/// Moves the connection on and asks for what comes of it, which then need not wake anybody: the socket
/// does.
fn poll_moved<T>(
    connection: &mut Option<Pin<Box<Moving>>>,
    cx: &mut Context<'_>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    // To be asked for the first time is what lets it read a body: hence twice.
    for _ in 0..2 {
        poll_on(connection, cx);
        if connection.is_none() {
            return poll(cx);
        }
        let ready = poll(&mut Context::from_waker(Waker::noop()));
        if ready.is_ready() {
            return ready;
        }
    }
    Poll::Pending
}
