//! The moment in which an upgrade becomes one.
//!
//! `listener` holds what a client sends behind its request until `pipeline` has seen the upstream
//! switch. A WebSocket client may send nothing before that (RFC 6455 4.1); one that does wants an
//! upstream that refuses the upgrade to read it as a request that nobody has judged.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    task::Context,
};

use futures_util::task::AtomicWaker;

/// Shut until the upstream has switched protocols.
#[derive(Debug, Default)]
pub struct UpgradeGate {
    open: AtomicBool,
    waiting: AtomicWaker,
}

impl UpgradeGate {
    pub fn open(&self) {
        self.open.store(true, Ordering::Release);
        self.waiting.wake();
    }

    /// Whether it is open; if not, the task is woken when it is.
    pub fn poll_open(&self, cx: &mut Context<'_>) -> bool {
        self.waiting.register(cx.waker());
        self.open.load(Ordering::Acquire)
    }
}
