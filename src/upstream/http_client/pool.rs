//! Connections that wait for their next request.

use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{runtime::Handle, time::Instant};

use super::{Origin, line::Line};
use crate::net::Authority;

/// Shorter than the keep-alive of the servers met here (uvicorn closes after 5 s), so that a
/// request never meets a connection that is being closed.
pub(super) const IDLE: Duration = Duration::from_secs(4);
const IDLE_CONNECTIONS: usize = 16;

#[derive(Default)]
pub(super) struct Pool(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    plain: Lines,
    tls: Lines,
    /// Somebody closes what has waited too long.
    swept: bool,
}

/// The youngest last.
type Lines = HashMap<Authority, Vec<(Instant, Box<Line>)>>;

impl Kept {
    fn of(&mut self, origin: &Origin) -> &mut Lines {
        match origin.tls {
            true => &mut self.tls,
            false => &mut self.plain,
        }
    }
}

impl Pool {
    /// An open connection, if one is kept. Always ready; the context is for what it waits for later.
    pub(super) fn poll_take(
        &self,
        cx: &mut Context<'_>,
        origin: &Origin,
    ) -> Poll<Option<Box<Line>>> {
        loop {
            let mut kept = self.0.lock();
            let lines = kept.of(origin).get_mut(&origin.authority);
            let Some((since, mut line)) = lines.and_then(Vec::pop) else {
                return Poll::Ready(None);
            };
            drop(kept);
            if since.elapsed() < IDLE && line.is_free(cx) {
                return Poll::Ready(Some(line));
            }
        }
    }

    /// For the next request. Closed instead where it cannot take one.
    pub(super) fn keep(self: &Arc<Self>, mut line: Box<Line>) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        // Nobody waits for it now. The next who takes it sees whether it was closed.
        if !line.is_free(&mut Context::from_waker(Waker::noop())) {
            return;
        }
        line.release();
        let mut kept = self.0.lock();
        let authority = line.origin.authority.clone();
        let lines = kept.of(&line.origin).entry(authority).or_default();
        if lines.len() >= IDLE_CONNECTIONS {
            return;
        }
        lines.push((Instant::now(), line));
        if !std::mem::replace(&mut kept.swept, true) {
            runtime.spawn(sweep(Arc::downgrade(self)));
        }
    }
}

/// Closes connections that nobody wanted, until none is left.
async fn sweep(pool: std::sync::Weak<Pool>) {
    loop {
        tokio::time::sleep(IDLE).await;
        let Some(pool) = pool.upgrade() else {
            return;
        };
        let mut kept = pool.0.lock();
        let Kept { plain, tls, swept } = &mut *kept;
        for lines in [&mut *plain, &mut *tls] {
            lines.retain(|_, lines| {
                lines.retain(|(since, _)| since.elapsed() < IDLE);
                !lines.is_empty()
            });
        }
        *swept = !(plain.is_empty() && tls.is_empty());
        if !*swept {
            return;
        }
    }
}
