//! All sources that policy allows, as one: searched at once, within the time that ComfyUI can stand still
//! (WIRE.md 0.4), with words about those that gave nothing.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures_util::{StreamExt, future::join_all};
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{Download, ModelSource, Requester, SourceError, memo::Memo, room};
use crate::weights::{ByteRange, Details, FilePath, ModelId, Query, Source, Summary, comfyui};

/// ComfyUI stands still for as long as a search takes.
pub const SEARCH_TIME: Duration = Duration::from_millis(1500);
/// A question may go on for the next one who asks.
const PATIENCE: Duration = Duration::from_secs(15);
const FOUND_KEPT: Duration = Duration::from_secs(60);
/// A download's list of files has to stay the same while it goes on.
const DETAILS_KEPT: Duration = Duration::from_secs(3600);
/// The SDK waits for the list of files in a thread of its own.
const LIST_TIME: Duration = Duration::from_secs(12);
const DOWNLOADS: usize = 32;
const SEARCHES: usize = 256;
const MODELS: usize = 512;
const SUMMARIES: usize = 2048;

/// A search's outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub summaries: Vec<Summary>,
    /// Why a source gave nothing.
    pub notes: Vec<(Source, SourceError)>,
}

pub struct Library {
    sources: Vec<Arc<dyn ModelSource>>,
    searches: Memo<(Source, Query), Vec<Summary>>,
    details: Memo<ModelId, Details>,
    /// Of searches, for the card of each hit that the plugin asks for next.
    seen: Mutex<HashMap<ModelId, Summary>>,
    downloads: Arc<Semaphore>,
    /// On the disk that models go to, as far as we can see it.
    room_at: Option<PathBuf>,
}

impl Library {
    /// `sources` in the order in which their hits are shown.
    pub fn new(sources: Vec<Arc<dyn ModelSource>>, room_at: Option<PathBuf>) -> Self {
        Self {
            sources,
            searches: Memo::new(SEARCHES, FOUND_KEPT, PATIENCE),
            details: Memo::new(MODELS, DETAILS_KEPT, PATIENCE),
            seen: Mutex::default(),
            downloads: Arc::new(Semaphore::new(DOWNLOADS)),
            room_at,
        }
    }

    pub fn sources(&self) -> impl Iterator<Item = Source> {
        self.sources.iter().map(|s| s.source())
    }

    fn source(&self, source: Source) -> Result<&Arc<dyn ModelSource>, SourceError> {
        let found = self.sources.iter().find(|s| s.source() == source);
        found.ok_or(SourceError::Off(source))
    }

    /// At most `most` hits, within [`SEARCH_TIME`].
    pub async fn search(&self, query: &Query, most: usize, by: Requester) -> Found {
        let asked = self
            .sources
            .iter()
            .filter(|s| s.source() == Source::Local || query.is_worth_asking());
        let asking = asked.map(|source| async move {
            let name = source.source();
            if name == Source::Local {
                // Its list is at hand, and another one after each look.
                return (name, source.search(query, by).await.map(Arc::new));
            }
            let key = (name, query.clone());
            let (source, query) = (source.clone(), query.clone());
            let late = SourceError::TooSlow(name);
            let ask = || async move { source.search(&query, by).await };
            (name, self.searches.ask(&key, SEARCH_TIME, late, ask).await)
        });
        let mut found = Found::default();
        let mut lists = Vec::new();
        for (source, answer) in join_all(asking).await {
            match answer {
                Ok(list) => lists.push(list),
                Err(e) => found.notes.push((source, e)),
            }
        }
        found.summaries = dealt(&lists, most);
        self.remember(&found.summaries);
        found
    }

    fn remember(&self, summaries: &[Summary]) {
        let mut seen = self.seen.lock();
        if seen.len() + summaries.len() > SUMMARIES {
            seen.clear();
        }
        for summary in summaries {
            seen.insert(summary.id.clone(), summary.clone());
        }
    }

    /// A model's card; the plugin asks for one after the other while ComfyUI stands still.
    pub async fn summary(&self, id: &ModelId, by: Requester) -> Result<Summary, SourceError> {
        let seen = self.seen.lock().get(id).cloned();
        match seen {
            Some(summary) => Ok(summary),
            None => Ok(self.ask(id, SEARCH_TIME, by).await?.summary.clone()),
        }
    }

    async fn ask(
        &self,
        id: &ModelId,
        wait: Duration,
        by: Requester,
    ) -> Result<Arc<Details>, SourceError> {
        let source = self.source(id.source())?.clone();
        let late = SourceError::TooSlow(id.source());
        if id.source() == Source::Local {
            return source.details(id, by).await.map(Arc::new);
        }
        let asked = id.clone();
        let ask = || async move { source.details(&asked, by).await };
        self.details.ask(id, wait, late, ask).await
    }

    /// The files that a download would bring, once it is clear that it can go on.
    pub async fn files(&self, id: &ModelId, by: Requester) -> Result<Arc<Details>, SourceError> {
        let details = self.ask(id, LIST_TIME, by).await?;
        if id.source() == Source::Local {
            return Err(SourceError::AlreadyHere(comfyui::place(id)));
        }
        if details.files.is_empty() {
            let formats: Vec<_> = details.held_back.iter().map(|f| f.as_str()).collect();
            return Err(match formats.is_empty() {
                true => SourceError::NoWeights,
                false => SourceError::Unsafe(formats.join(", ")),
            });
        }
        self.room_for(details.total())?;
        Ok(details)
    }

    fn room_for(&self, needed: u64) -> Result<(), SourceError> {
        let free = self.room_at.as_deref().and_then(room::free);
        match free {
            Some(free) if free < needed => Err(SourceError::NoRoom { needed, free }),
            Some(_) | None => Ok(()),
        }
    }

    /// One file of the list.
    pub async fn file(
        &self,
        id: &ModelId,
        path: &str,
        by: Requester,
    ) -> Result<crate::weights::File, SourceError> {
        let path = FilePath::parse(path).map_err(|_| SourceError::NotKnown)?;
        let details = self.files(id, by).await?;
        let found = details.files.iter().find(|f| f.path == path);
        found.cloned().ok_or(SourceError::NotKnown)
    }

    pub async fn open(
        &self,
        id: &ModelId,
        file: &crate::weights::File,
        range: Option<ByteRange>,
        by: Requester,
    ) -> Result<Download, SourceError> {
        let source = self.source(id.source())?;
        let permit = self.downloads.clone().try_acquire_owned();
        let permit = permit.map_err(|_| SourceError::Busy {
            from: id.source(),
            pause: Duration::from_secs(5),
        })?;
        let Download { length, body } = source.open(file, range, by).await?;
        let body = body.map(move |piece| {
            // Until the last piece is out.
            let _held = &permit;
            piece
        });
        Ok(Download {
            length,
            body: Box::pin(body),
        })
    }
}

/// Local hits first, the others in turn, as from a deck each: nobody's list hides another's.
fn dealt(lists: &[Arc<Vec<Summary>>], most: usize) -> Vec<Summary> {
    let is_local = |s: &&Summary| s.id.source() == Source::Local;
    let all = || lists.iter().flat_map(|l| l.iter());
    let mut out: Vec<Summary> = all().filter(is_local).take(most).cloned().collect();
    let mut decks: Vec<_> = lists
        .iter()
        .map(|l| l.iter().filter(|s| !is_local(s)))
        .collect();
    while out.len() < most {
        let before = out.len();
        for deck in &mut decks {
            if out.len() < most {
                out.extend(deck.next().cloned());
            }
        }
        if out.len() == before {
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(ids: &[&str]) -> Arc<Vec<Summary>> {
        let summary = |text: &&str| {
            let (owner, name) = text.split_once('/').unwrap();
            Summary {
                id: ModelId::parse(owner, name).unwrap(),
                updated: 0,
                downloads: 0,
                tags: Vec::new(),
            }
        };
        Arc::new(ids.iter().map(summary).collect())
    }

    #[test]
    fn local_hits_come_first_and_the_hubs_take_turns() {
        let lists = [
            list(&["local--vae/a.safetensors"]),
            list(&["hf--o/one", "hf--o/two", "hf--o/three"]),
            list(&["civitai--1/x~~2"]),
        ];
        let dealt = |most| -> Vec<String> {
            let dealt = super::dealt(&lists, most);
            dealt.iter().map(|s| s.id.to_string()).collect()
        };
        assert_eq!(
            dealt(30),
            [
                "local--vae/a.safetensors",
                "hf--o/one",
                "civitai--1/x~~2",
                "hf--o/two",
                "hf--o/three"
            ]
        );
        assert_eq!(dealt(2), ["local--vae/a.safetensors", "hf--o/one"]);
    }
}
