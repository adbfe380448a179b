//! The moment in which an upgrade becomes one, and what is left of a request behind it.
//!
//! `listener` holds what a client sends behind its request until `pipeline` has seen the upstream
//! switch. A WebSocket client may send nothing before that (RFC 6455 4.1); one that does wants an
//! upstream that refuses the upgrade to read it as a request that nobody has judged.
//!
//! Behind the switch there is nothing left to decide. Where the upstream's connection was lent
//! (`upstream::lent`), the client's is given back here as well, Pingora's part of the request is
//! dropped with all its buffers, and [`Passing`] is what remains: the open record, the place in
//! [`super::Live`], the sums. `listener::relay` has all three.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Context,
};

use bytes::BytesMut;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use pingora::protocols::Stream;
use tokio::sync::Notify;

use super::{
    finish::{Finish, Outcome},
    live::Standing,
};
use crate::{
    handler::{EgressMeter, NoteFields},
    policy::Reason,
    upstream::lent::{Lending, Returned},
};

/// Shut until the upstream has switched protocols.
#[derive(Debug, Default)]
pub struct UpgradeGate {
    open: AtomicBool,
    waiting: AtomicWaker,
    lending: Arc<Lending>,
    /// Pingora is out of it: the client's connection, and what it sent early.
    downstream: Mutex<Option<(Stream, BytesMut)>>,
    given: Notify,
    passing: Mutex<Option<Passing>>,
}

/// Both ends of an upgraded connection, with what was read from each and has not been sent on.
#[derive(Debug)]
pub struct Switched {
    pub downstream: Stream,
    pub from_client: BytesMut,
    pub upstream: Returned,
    pub passing: Passing,
}

impl UpgradeGate {
    pub fn open(&self) {
        self.open.store(true, Ordering::Release);
        self.waiting.wake();
    }

    /// Whether it is open; if not, the task is woken when it is.
    pub fn poll_open(&self, cx: &mut Context<'_>) -> bool {
        self.waiting.register(cx.waker());
        self.is_open()
    }

    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Where the upstream's connection goes behind the switch, if it is lent.
    pub fn lending(&self) -> &Arc<Lending> {
        &self.lending
    }

    /// The client's connection, once its answer is written and [`Lending::is_returned`].
    pub fn give(&self, downstream: Stream, from_client: BytesMut) {
        *self.downstream.lock() = Some((downstream, from_client));
        self.given.notify_one();
    }

    pub fn is_given(&self) -> bool {
        self.downstream.lock().is_some()
    }

    /// Resolves when both connections are here.
    pub async fn given(&self) {
        self.given.notified().await;
    }

    pub(super) fn keep(&self, passing: Passing) {
        *self.passing.lock() = Some(passing);
    }

    /// All of it, once: `None` before [`Self::given`], and while Pingora has its part still.
    pub fn take(&self) -> Option<Switched> {
        let passing = self.passing.lock().take()?;
        let (downstream, from_client) = self.downstream.lock().take()?;
        Some(Switched {
            downstream,
            from_client,
            upstream: self.lending.take()?,
            passing,
        })
    }
}

/// What an upgraded connection keeps of its request. Dropped, it records like [`Finish`] does.
pub struct Passing {
    pub(super) finish: Finish,
    /// Gone with this: nobody cuts what has ended.
    pub(super) _standing: Option<Standing>,
    pub(super) status: Option<u16>,
    pub(super) note: NoteFields,
    pub(super) egress: EgressMeter,
    pub(super) leaves_machine: bool,
}

impl std::fmt::Debug for Passing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passing")
    }
}

impl Passing {
    /// These went to the upstream; told as they go, so that the sum is true however it ends.
    pub fn sent_on(&self, bytes: u64) {
        if self.leaves_machine {
            self.egress.add(bytes);
        }
    }

    /// Writes the record; with a reason, where it did not end by itself.
    pub fn done(self, from_client: u64, to_client: u64, broken: Option<(Reason, Option<String>)>) {
        let mut finish = self.finish;
        if let Some((reason, detail)) = broken {
            finish.failed(reason, detail);
        }
        finish.done(Outcome {
            status: self.status,
            bytes_in: from_client,
            bytes_out: to_client,
            left_machine_bytes: self.egress.bytes(),
            note: self.note,
        });
    }
}
