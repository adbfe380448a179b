//! Brings the code that a chat runs through into the caches, all of it at once, when a thread is woken after a
//! pause. Code that is met line by line is waited for line by line (ADR 0015).
//!
//! What runs until the LLM is asked does not wait for what runs once it answers: that is fetched while the LLM
//! works ([`before_the_wait`]), and again when it has taken its time ([`Expected`]).
//!
//! `app` has it [`learn`] where that code lies, `cli` has the runtime call [`after_a_pause`]. A hint and nothing
//! more: no byte is read or written here, and a wrong address does no harm.

mod lines;
mod program;
mod table;

use std::{
    cell::Cell,
    collections::BTreeSet,
    future::poll_fn,
    pin::Pin,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use self::{lines::Lines, table::Phase};

/// A thread that was woken this lately has the code at hand.
const PAUSE: Duration = Duration::from_millis(1);
/// Bytes of a cache line.
const LINE: usize = 64;
/// More lines than this would push out what they are to join: 640 KiB, of the 1 to 2 MiB that a core has.
const MOST: usize = 10_000;

static CODE: OnceLock<Code> = OnceLock::new();
/// Answers that are expected.
static EXPECTED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static LAST: Cell<Option<Instant>> = const { Cell::new(None) };
    /// The last wake came after a pause.
    static PAUSED: Cell<bool> = const { Cell::new(false) };
}

/// What runs in each phase.
struct Code {
    asking: Lines,
    /// And not in the other.
    answering: Lines,
}

/// Finds the code of chats in this process, by reading the program's own file. Without its symbols, and in a
/// program that was compiled otherwise than the one of the table, there is nothing to be found, and nothing is
/// done from then on.
pub fn learn() {
    // What the table was made for.
    if cfg!(debug_assertions) || !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return;
    }
    let sought = table::embedded();
    let (mut asking, mut answering) = (BTreeSet::new(), BTreeSet::new());
    let read = program::functions(
        |size| sought.has_size(size),
        |function| {
            asking.extend(sought.lines(&function, Phase::Asking));
            answering.extend(sought.lines(&function, Phase::Answering));
        },
    );
    if let Err(e) = read {
        tracing::debug!("no code is fetched ahead: {e}");
        return;
    }
    // Those that the asking has just run through are at hand.
    answering.retain(|line| !asking.contains(line));
    let (before, behind) = (asking.len().min(MOST), answering.len().min(MOST));
    tracing::debug!("{before} cache lines of code are fetched ahead, and {behind} for an answer");
    // Learned twice is learned the same.
    let _ = CODE.set(Code {
        asking: asking.into_iter().take(MOST).collect(),
        answering: answering.into_iter().take(MOST).collect(),
    });
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
    PAUSED.set(paused);
    if paused {
        // Whoever woke it: with an answer expected it is most likely that one.
        if EXPECTED.load(Relaxed) > 0 {
            code.answering.fetch();
        }
        code.asking.fetch();
    }
}

/// An answer is expected as long as this lives.
pub struct Expected(());

impl Expected {
    pub fn new() -> Self {
        EXPECTED.fetch_add(1, Relaxed);
        Self(())
    }
}

impl Default for Expected {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        EXPECTED.fetch_sub(1, Relaxed);
    }
}

/// `asking`, which asks when it is polled first: the time that it then waits is used to fetch the code that its
/// answer runs through.
pub async fn before_the_wait<F: Future>(mut asking: Pin<&mut F>) -> F::Output {
    let mut first = true;
    poll_fn(|cx| {
        let polled = asking.as_mut().poll(cx);
        if polled.is_pending()
            && std::mem::take(&mut first)
            && PAUSED.get()
            && let Some(code) = CODE.get()
        {
            code.answering.fetch();
        }
        polled
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_expected_until_it_is_there() {
        let before = EXPECTED.load(Relaxed);
        let (first, second) = (Expected::new(), Expected::new());
        assert_eq!(EXPECTED.load(Relaxed), before + 2);
        drop(first);
        drop(second);
        assert_eq!(EXPECTED.load(Relaxed), before);
    }

    #[tokio::test]
    async fn what_asks_is_neither_held_up_nor_changed() {
        let mut polls = 0;
        let asking = async {
            for _ in 0..2 {
                polls += 1;
                tokio::task::yield_now().await;
            }
            polls += 1;
            7
        };
        assert_eq!(before_the_wait(std::pin::pin!(asking)).await, 7);
        assert_eq!(polls, 3);
    }
}
