//! A wait that is entered once among what wakes its task, and then looked at by a flag.
//!
//! The tasks of a connection are woken for every message, and each of them waits for its end too.
//! Polling that again on every wake takes a lock and compares wakers, which costs more than passing a
//! message on or judging a request. Used by `listener::http` and `listener::relay`, each of which is
//! one task from beginning to end: no other one may poll what it has entered.

use std::{
    future::Future,
    ops::DerefMut,
    pin::Pin,
    task::{Context, Poll},
};

pub struct Entered<F> {
    future: Pin<F>,
    entered: bool,
}

impl<F> Entered<F>
where
    F: DerefMut,
    F::Target: Future<Output = ()>,
{
    pub fn new(future: Pin<F>) -> Self {
        Self {
            future,
            entered: false,
        }
    }

    /// `over` tells without a lock whether it has ended; it is never late, as the flag is set before
    /// the task is woken.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        over: impl FnOnce(&F::Target) -> bool,
    ) -> Poll<()> {
        if self.entered && !over(&self.future) {
            return Poll::Pending;
        }
        self.entered = true;
        self.future.as_mut().poll(cx)
    }

    /// The future, to be set anew: it has to be entered once more.
    pub fn again(&mut self) -> Pin<&mut F::Target> {
        self.entered = false;
        self.future.as_mut()
    }
}
