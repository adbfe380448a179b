//! Brings the code that a request runs through into the caches, all of it at once, when a thread is woken
//! after a pause. Code that is met line by line is waited for line by line (ADR 0015).
//!
//! `app` has it [`learn`] where that code lies, `cli` has the runtime call [`after_a_pause`]. A hint and nothing
//! more: no byte is read or written here, and a wrong address does no harm.

mod program;
mod runs;
mod table;

use std::{
    cell::Cell,
    collections::BTreeSet,
    sync::OnceLock,
    time::{Duration, Instant},
};

use self::runs::Runs;

/// A thread that was woken this lately has the code at hand.
const PAUSE: Duration = Duration::from_millis(1);
/// Bytes of a cache line.
const LINE: usize = 64;
/// More lines than this would push out what they are to join: 640 KiB, of the 1 to 2 MiB that a core has.
const MOST: usize = 10_000;

static CODE: OnceLock<Runs> = OnceLock::new();

thread_local! {
    static LAST: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Finds the code of requests in this process, by reading the program's own file. Without its symbols, and in
/// a program that was compiled otherwise than the one of the table, there is nothing to be found, and nothing
/// is done from then on.
pub fn learn() {
    let sought = table::embedded();
    let mut lines = BTreeSet::new();
    let read = program::functions(
        |size| sought.has_size(size),
        |function| lines.extend(sought.lines(&function)),
    );
    if let Err(e) = read {
        tracing::debug!("no code is fetched ahead: {e}");
        return;
    }
    tracing::debug!("{} cache lines of code are fetched ahead", lines.len());
    // Learned twice is learned the same.
    let _ = CODE.set(lines.into_iter().take(MOST).collect());
}

/// Called when the thread is woken. Does nothing while it is busy with requests.
pub fn after_a_pause() {
    let Some(code) = CODE.get() else {
        return;
    };
    let now = Instant::now();
    let paused = LAST
        .replace(Some(now))
        .is_none_or(|last| now.duration_since(last) > PAUSE);
    if paused {
        code.fetch();
    }
}
