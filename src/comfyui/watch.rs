//! When ComfyUI is asked, and how a round becomes the state that serves.
//!
//! Somebody's need starts the watch, and it ends when nobody has had one for a while. While it runs, a
//! cheap question tells every few seconds whether ComfyUI is there and the same; the expensive one, what
//! it can do, is asked when it was away, and otherwise only while there is need, and not too often.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    ComfyUi, Knowledge,
    gather::{self, Outline, Progress},
    news::Noticed,
    trouble::Trouble,
};
use crate::{
    comfy::{Catalogue, System},
    search::SearchIndex,
};

/// Between two cheap questions.
const POLL: Duration = Duration::from_secs(15);
/// An outline older than this is asked for again when there is need.
const STALE: Duration = Duration::from_secs(60);
/// Without need for so long, nothing is asked any more.
const REST: Duration = Duration::from_secs(600);
/// After a failure; each further one doubles it.
const AGAIN: Duration = Duration::from_secs(2);
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);

/// When what happened.
#[derive(Debug, Default)]
pub(super) struct Clock {
    needed: Option<Instant>,
    /// A round is under way.
    asking: bool,
    /// The newest question, answered or not.
    asked: Option<Instant>,
    /// The newest outline that came.
    outlined: Option<Instant>,
    print: u64,
    failures: u32,
    pub(super) noticed: Noticed,
}

impl Clock {
    fn needed_within(&self, time: Duration) -> bool {
        self.needed.is_some_and(|at| at.elapsed() < time)
    }

    fn is_stale(&self) -> bool {
        self.outlined.is_none_or(|at| at.elapsed() >= STALE)
    }

    /// Until the next question.
    fn pause(&self) -> Duration {
        match self.failures.checked_sub(1) {
            None => match self.noticed.due(Instant::now()) {
                Some(due) => due.min(POLL),
                None => POLL,
            },
            Some(before) => AGAIN.saturating_mul(1 << before.min(5)).min(AGAIN_AT_MOST),
        }
    }
}

impl ComfyUi {
    /// Somebody will ask soon. Returns at once: whether ComfyUI is being asked now.
    pub fn need(self: &Arc<Self>) -> bool {
        let (asking, urgent) = {
            let mut clock = self.clock.lock();
            clock.needed = Some(Instant::now());
            let waited = clock.asked.is_none_or(|at| at.elapsed() >= AGAIN);
            let urgent = waited && (clock.failures > 0 || clock.is_stale());
            let urgent = urgent || (clock.failures == 0 && clock.noticed.is_behind());
            (clock.asking, urgent)
        };
        if !self.watching.swap(true, Ordering::AcqRel) {
            tokio::spawn(self.clone().watch());
            return true;
        }
        if urgent {
            self.wake.notify_one();
        }
        asking || urgent
    }

    async fn watch(self: Arc<Self>) {
        loop {
            self.clock.lock().asking = true;
            let outcome = tokio::time::timeout(gather::ROUND, self.round()).await;
            let trouble = outcome.unwrap_or(Err(Trouble::Slow)).err();
            let pause = {
                let mut clock = self.clock.lock();
                clock.asked = Some(Instant::now());
                clock.asking = false;
                clock.failures = match trouble {
                    Some(_) => clock.failures.saturating_add(1),
                    None => 0,
                };
                clock.pause()
            };
            self.stands(trouble);
            self.rounds.send_modify(|n| *n += 1);
            if !self.clock.lock().needed_within(REST) {
                self.watching.store(false, Ordering::Release);
                // A need that came in between saw a watch and started none.
                let missed = self.clock.lock().needed_within(REST);
                if !missed || self.watching.swap(true, Ordering::AcqRel) {
                    return;
                }
            }
            // A pause and a need, whichever comes first.
            let woken = tokio::time::timeout(pause, self.wake.notified()).await;
            let gap = {
                let noticed = &self.clock.lock().noticed;
                noticed.due(Instant::now()).filter(|_| noticed.is_behind())
            };
            if let (Ok(()), Some(gap)) = (woken, gap) {
                // Of many news at once the first is not all.
                tokio::time::sleep(gap).await;
            }
        }
    }

    /// One cheap question, and what follows from its answer.
    async fn round(&self) -> Result<(), Trouble> {
        let stats = self.client.json("/system_stats", gather::SYSTEM).await?;
        let system = System::read(&stats);
        let same = self
            .known()
            .is_some_and(|known| *known.catalogue.system() == system);
        let worth = {
            let clock = self.clock.lock();
            let news = clock.noticed.due(Instant::now());
            !same
                || clock.failures > 0
                || (clock.is_stale() && clock.needed_within(STALE))
                || news.is_some_and(|due| due.is_zero())
        };
        match worth {
            true => self.refresh().await,
            false => Ok(()),
        }
    }

    /// Asks for everything; a state is made where something changed.
    pub(crate) async fn refresh(&self) -> Result<(), Trouble> {
        let mut memory = self.memory.lock().await;
        let began = Instant::now();
        let mut outline = gather::outline(&self.client, &mut memory, self).await?;
        let changed = {
            let mut clock = self.clock.lock();
            clock.outlined = Some(Instant::now());
            std::mem::replace(&mut clock.print, outline.print) != outline.print
        };
        if changed || self.known().is_none() {
            // Names and titles serve while the files are still on their way.
            self.publish(&outline).await?;
            self.told(outline.parts.left_out);
        }
        self.clock.lock().noticed.looked(began, changed);
        // For who waits for it.
        self.rounds.send_modify(|n| *n += 1);
        let more = gather::details(&self.client, &mut memory, &mut outline, self).await?;
        match more {
            true => self.publish(&outline).await,
            false => Ok(()),
        }
    }

    /// Builds the index beside the one that serves, and swaps the two.
    async fn publish(&self, outline: &Outline) -> Result<(), Trouble> {
        let parts = outline.parts.clone();
        let documents =
            parts.nodes.len() + parts.templates.len() + parts.saved.len() + parts.models.len();
        self.doing("index", 0, documents);
        let began = Instant::now();
        let metrics = self.metrics.clone();
        let built = tokio::task::spawn_blocking(move || {
            let catalogue = Catalogue::new(parts);
            let tell = |done| metrics.search_progress(Some((done, documents)));
            SearchIndex::build(&catalogue, tell).map(|index| (catalogue, index))
        });
        let built = built.await.map_err(|e| e.to_string());
        let (catalogue, index) = built
            .and_then(|built| built.map_err(|e| e.to_string()))
            .map_err(|words| {
                self.metrics.search_built(None);
                Trouble::Index(words)
            })?;
        self.metrics.search_built(Some(index.len()));
        let generation = self.known().map_or(0, |known| known.generation) + 1;
        tracing::info!(
            nodes = catalogue.nodes().len(),
            templates = catalogue.templates().len(),
            models = catalogue.models().len(),
            took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            generation,
            "search index built"
        );
        self.known.store(Some(Arc::new(Knowledge {
            catalogue: Arc::new(catalogue),
            index,
            generation,
            made: Instant::now(),
        })));
        // Who waits for the first state need not wait for its details.
        self.rounds.send_modify(|n| *n += 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comfyui_that_is_not_there_is_asked_less_and_less() {
        let pause = |failures| {
            Clock {
                failures,
                ..Clock::default()
            }
            .pause()
        };
        let pauses: Vec<u64> = (0..8).map(|n| pause(n).as_secs()).collect();
        assert_eq!(pauses, [15, 2, 4, 8, 16, 32, 60, 60]);
    }
}
