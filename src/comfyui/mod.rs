//! The user's own ComfyUI as a source of facts: asked over HTTP, kept, and searched.
//!
//! | file | holds |
//! |---|---|
//! | this one | [`ComfyUi`]: what everyone else holds; [`Knowledge`]: one state of it, with its index |
//! | [`watch`] | when it is asked again |
//! | [`news`] | word that it has something new |
//! | [`gather`] | one round of questions, and what is remembered between two |
//! | [`client`] | one question: its bounds, its validators |
//! | [`trouble`] | why it could not be asked |
//! | [`status`] | what the control plane shows of all this |
//!
//! Called by the tools of `emulator` and by `app`. Nothing is asked before somebody needs it, and then
//! only while it is needed: a ComfyUI that is not there costs a refused connection now and then. The old
//! state serves while the next is made. Sockets are `upstream`'s; nothing here is written to disk.

pub mod client;
mod gather;
mod news;
pub mod status;
pub mod trouble;
mod watch;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{Notify, watch as channel};

pub use self::news::News;
use self::{
    client::{Client, parse},
    gather::Memory,
    status::Standing,
    trouble::Trouble,
    watch::Clock,
};
use crate::{
    comfy::{Catalogue, Queue, WorkflowId, template::segment},
    metrics::Metrics,
    search::SearchIndex,
};

/// How long a call may wait for the first state: an index of a default ComfyUI takes a second.
const FIRST: Duration = Duration::from_secs(30);

/// One state of a ComfyUI: its catalogue, and the index over it.
#[derive(Debug)]
pub struct Knowledge {
    pub catalogue: Arc<Catalogue>,
    pub index: SearchIndex,
    /// Counts the states since the start; what was made from one is stale with the next.
    pub generation: u64,
    pub(crate) made: Instant,
}

/// ComfyUI, as far as it is known.
pub struct ComfyUi {
    client: Arc<Client>,
    metrics: Arc<Metrics>,
    known: ArcSwapOption<Knowledge>,
    /// Says that a round has ended, well or not.
    rounds: channel::Sender<u64>,
    standing: Mutex<Standing>,
    memory: tokio::sync::Mutex<Memory>,
    clock: Mutex<Clock>,
    watching: AtomicBool,
    wake: Notify,
}

/// Why there is nothing to answer with; its text is for the person who asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "ComfyUI at {url} cannot be asked: it {trouble}. Start ComfyUI, or set comfyui.url in Airlock's configuration to where it listens"
)]
pub struct Unavailable {
    pub url: String,
    pub trouble: Trouble,
}

impl ComfyUi {
    /// Asks nothing yet.
    pub fn new(client: Arc<Client>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            client,
            metrics,
            known: ArcSwapOption::empty(),
            rounds: channel::Sender::new(0),
            standing: Mutex::default(),
            memory: tokio::sync::Mutex::default(),
            clock: Mutex::default(),
            watching: AtomicBool::new(false),
            wake: Notify::new(),
        })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        self.client.base().to_string()
    }

    /// For others who ask the same ComfyUI.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// The newest state; waits for the first one, and for a look at news, within bounds. Keeps it fresh
    /// for a while.
    pub async fn knowledge(self: &Arc<Self>) -> Result<Arc<Knowledge>, Unavailable> {
        let mut rounds = self.rounds.subscribe();
        let asking = self.need();
        if let Some(known) = self.known.load_full() {
            let behind = self.clock.lock().noticed.is_behind();
            return Ok(match behind {
                false => known,
                true => self.behind(known, rounds).await,
            });
        }
        if let Some(trouble) = self.trouble().filter(|_| !asking) {
            // It has only just failed, and is left alone for a moment.
            return Err(self.unavailable(trouble));
        }
        let waited = tokio::time::timeout(FIRST, async {
            while rounds.changed().await.is_ok() {
                if let Some(known) = self.known.load_full() {
                    return Ok(known);
                }
                if let Some(trouble) = self.trouble() {
                    return Err(trouble);
                }
            }
            Err(Trouble::Slow)
        });
        let outcome = waited.await.unwrap_or(Err(Trouble::Slow));
        outcome.map_err(|trouble| self.unavailable(trouble))
    }

    /// What is known once the news was looked at, or what was known before.
    async fn behind(
        &self,
        known: Arc<Knowledge>,
        mut rounds: channel::Receiver<u64>,
    ) -> Arc<Knowledge> {
        let looked = async {
            let waits = || self.trouble().is_none() && self.clock.lock().noticed.is_behind();
            while waits() && rounds.changed().await.is_ok() {}
        };
        // Late is as good as never: what was known before serves.
        let _ = tokio::time::timeout(news::PATIENCE, looked).await;
        self.known.load_full().unwrap_or(known)
    }

    /// What is known now, without asking or waiting.
    pub fn known(&self) -> Option<Arc<Knowledge>> {
        self.known.load_full()
    }

    /// Why the newest round failed; `None` after one that went well, and before the first.
    pub fn trouble(&self) -> Option<Trouble> {
        self.standing.lock().trouble.clone()
    }

    /// A workflow file as ComfyUI has it: of a template, or a saved one. `None` where there is none of
    /// that name, or it is not ComfyUI that keeps it.
    pub async fn workflow(&self, id: &WorkflowId) -> Result<Option<Value>, Unavailable> {
        let (path, ask) = match id {
            WorkflowId::Template(name) => (
                format!("/templates/{}.json", segment(name)),
                gather::TEMPLATE,
            ),
            WorkflowId::Saved(path) => (gather::saved_path(path), gather::SAVED_FILE),
            WorkflowId::Generated(_) => return Ok(None),
        };
        let fetched = self.client.get(&path, None, ask).await;
        let body = fetched.map_err(|t| self.unavailable(t))?.body();
        let parsed = body.map(|b| parse(&b, ask.what)).transpose();
        parsed.map_err(|t| self.unavailable(t))
    }

    /// What it works on now, asked each time.
    pub async fn queue(&self) -> Result<Queue, Unavailable> {
        let answer = self.client.json("/queue", gather::QUEUE).await;
        let answer = answer.map_err(|t| self.unavailable(t))?;
        Ok(Queue::read(&answer))
    }

    fn unavailable(&self, trouble: Trouble) -> Unavailable {
        Unavailable {
            url: self.url(),
            trouble,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
