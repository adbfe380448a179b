//! What this machine has, as a source: it answers searches at once, from the list that it was given last.
//!
//! The plugin searches from ComfyUI's own event loop, which stands still until we answer: to ask ComfyUI
//! for its list meanwhile would wait for itself. So [`Local::tend`] asks in the background, after each
//! search, and a search takes what is known. A folder is read at the start, too; ComfyUI is asked nothing
//! before somebody searched.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Download, ModelSource, Requester, SourceError};
use crate::{
    comfy::template::segment,
    comfyui::client::{Ask, Client},
    weights::{
        ByteRange, Details, File, FilePath, Format, ModelId, Query, Source, Summary,
        comfyui::{self, Installed},
    },
};

const FOUND: usize = 30;
/// ComfyUI may be busy for long; nobody waits.
const LIST_TIME: Duration = Duration::from_secs(30);
/// Between two looks, however often somebody searches.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// While there is no list.
const TRY_EVERY: Duration = Duration::from_secs(10);
/// After a download, which the plugin moves into its folder once it has all of it.
const LOOKS: usize = 6;
const LIST: Ask = Ask {
    what: "the list of models",
    max: 8 << 20,
    within: LIST_TIME,
};
const MAX_FILES: usize = 20_000;
const MAX_DEPTH: usize = 6;

/// Lists the models of this machine: ComfyUI by its API, or a folder.
#[async_trait]
pub trait Shelf: Send + Sync {
    async fn list(&self) -> Result<Vec<Installed>, String>;

    /// To list is to ask somebody, who is left alone until there is a reason.
    fn asks_somebody(&self) -> bool;
}

pub struct Local {
    shelf: Option<Arc<dyn Shelf>>,
    known: ArcSwapOption<Vec<Installed>>,
    wanted: Notify,
    /// Looks that are due whether somebody searches or not.
    due: AtomicUsize,
    /// Told after each look, whatever came of it.
    looked: Notify,
}

impl Local {
    /// `None`: nobody knows of any folder.
    pub fn new(shelf: Option<Arc<dyn Shelf>>) -> Self {
        Self {
            shelf,
            known: ArcSwapOption::empty(),
            wanted: Notify::new(),
            due: AtomicUsize::new(0),
            looked: Notify::new(),
        }
    }

    /// A model came by, and will be on the shelf in a while.
    pub fn expect(&self) {
        self.due.store(LOOKS, Ordering::Relaxed);
        self.wanted.notify_one();
    }

    fn is_due(&self) -> bool {
        let less = |due: usize| due.checked_sub(1);
        let taken = self
            .due
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        taken.is_ok()
    }

    /// Keeps the list young until `closing`.
    pub async fn tend(&self, closing: CancellationToken) {
        let Some(shelf) = &self.shelf else {
            return;
        };
        if shelf.asks_somebody() {
            tokio::select! {
                () = closing.cancelled() => return,
                () = self.wanted.notified() => {}
            }
        }
        loop {
            let listed = tokio::select! {
                () = closing.cancelled() => return,
                listed = tokio::time::timeout(LIST_TIME, shelf.list()) => listed,
            };
            let pause = match listed {
                Ok(Ok(list)) => {
                    self.known.store(Some(Arc::new(list)));
                    None
                }
                Ok(Err(detail)) => {
                    tracing::debug!(detail, "no list of local models");
                    Some(TRY_EVERY)
                }
                Err(_) => Some(TRY_EVERY),
            };
            self.looked.notify_waiters();
            let next = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => {
                        tokio::time::sleep(LOOK_EVERY).await;
                        if !self.is_due() {
                            self.wanted.notified().await;
                        }
                    }
                }
            };
            tokio::select! {
                () = closing.cancelled() => return,
                () = next => {}
            }
        }
    }

    /// Waits for the first list, for somebody who can: not for long, and not where it fails.
    pub async fn listed(&self, within: Duration) {
        let looked = self.looked.notified();
        tokio::pin!(looked);
        looked.as_mut().enable();
        if self.shelf.is_none() || self.known.load().is_some() {
            return;
        }
        self.wanted.notify_one();
        // Late is as good as never: the search says so.
        let _ = tokio::time::timeout(within, looked).await;
    }

    fn find(&self, id: &ModelId) -> Result<Installed, SourceError> {
        let known = self.known.load();
        let found = known.iter().flat_map(|k| k.iter()).find(|i| i.id == *id);
        found.cloned().ok_or(SourceError::NotKnown)
    }
}

#[async_trait]
impl ModelSource for Local {
    fn source(&self) -> Source {
        Source::Local
    }

    async fn search(&self, query: &Query, _: Requester) -> Result<Vec<Summary>, SourceError> {
        self.wanted.notify_one();
        let unknown = |detail: &str| SourceError::Unreachable {
            from: Source::Local,
            detail: detail.to_owned(),
        };
        if self.shelf.is_none() {
            return Err(unknown(
                "set models.dir or models.comfyui in airlock's configuration",
            ));
        }
        let known = self.known.load_full();
        let known =
            known.ok_or_else(|| unknown("they are being listed; search again in a moment"))?;
        Ok(comfyui::find(&known, query, FOUND))
    }

    async fn details(&self, id: &ModelId, _: Requester) -> Result<Details, SourceError> {
        let ModelId::Local { path, .. } = id else {
            return Err(SourceError::NotKnown);
        };
        let installed = self.find(id)?;
        let format = Format::of(path).ok_or(SourceError::NotKnown)?;
        Ok(Details {
            summary: installed.summary(),
            files: vec![File {
                path: path.clone(),
                size: installed.size.unwrap_or(0),
                sha256: None,
                format,
                target: String::new(),
            }],
            held_back: Vec::new(),
            gated: false,
        })
    }

    async fn open(
        &self,
        file: &File,
        _: Option<ByteRange>,
        _: Requester,
    ) -> Result<Download, SourceError> {
        Err(SourceError::AlreadyHere(file.path.to_string()))
    }
}

/// ComfyUI's lists, asked for over HTTP.
pub struct ComfyUi(pub Arc<Client>);

impl ComfyUi {
    /// `None`: it has no such list.
    async fn get(&self, path: &str) -> Result<Option<Value>, String> {
        let answer = self.0.json(path, LIST).await.map_err(|e| e.to_string())?;
        Ok(Some(answer).filter(|answer| !answer.is_null()))
    }
}

#[async_trait]
impl Shelf for ComfyUi {
    async fn list(&self) -> Result<Vec<Installed>, String> {
        let folders = self.get("/models").await?;
        let folders = folders.and_then(|f| comfyui::folders(&f));
        let folders = folders.ok_or("it lists no folders")?;
        let mut all = Vec::new();
        for folder in folders {
            let name = segment(&folder);
            // Older versions have no sizes to tell.
            let answer = match self.get(&format!("/experiment/models/{name}")).await {
                Ok(Some(answer)) => Ok(Some(answer)),
                Ok(None) | Err(_) => self.get(&format!("/models/{name}")).await,
            };
            let listed = answer.ok().flatten();
            let listed = listed.and_then(|a| comfyui::files(&folder, &a));
            all.extend(listed.unwrap_or_default());
            all.truncate(MAX_FILES);
        }
        Ok(all)
    }

    fn asks_somebody(&self) -> bool {
        true
    }
}

/// A models folder that Airlock can see; its first level are ComfyUI's folders.
pub struct Folder(pub PathBuf);

#[async_trait]
impl Shelf for Folder {
    async fn list(&self) -> Result<Vec<Installed>, String> {
        let root = self.0.clone();
        let walked = tokio::task::spawn_blocking(move || walk(&root)).await;
        walked.map_err(|e| e.to_string())?
    }

    fn asks_somebody(&self) -> bool {
        false
    }
}

fn walk(root: &Path) -> Result<Vec<Installed>, String> {
    let mut all = Vec::new();
    let entries = std::fs::read_dir(root).map_err(|e| format!("cannot read models.dir: {e}"))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        // A link may lead to another disk, where many keep their models; deeper ones are not followed.
        if let Some(name) = name.to_str()
            && entry.path().is_dir()
        {
            below(name, "", &entry.path(), 0, &mut all);
        }
    }
    Ok(all)
}

fn below(folder: &str, prefix: &str, at: &Path, depth: usize, all: &mut Vec<Installed>) {
    if depth >= MAX_DEPTH {
        return;
    }
    for entry in std::fs::read_dir(at).into_iter().flatten().flatten() {
        if all.len() >= MAX_FILES {
            return;
        }
        let (Ok(kind), Some(name)) = (
            entry.file_type(),
            entry.file_name().to_str().map(str::to_owned),
        ) else {
            continue;
        };
        let path = format!("{prefix}{name}");
        if kind.is_dir() {
            below(folder, &format!("{path}/"), &entry.path(), depth + 1, all);
            continue;
        }
        let Ok(path) = FilePath::parse(&path) else {
            continue;
        };
        if Format::of(&path).is_none() {
            continue;
        }
        let Ok(metadata) = std::fs::metadata(entry.path()) else {
            continue;
        };
        let modified = metadata.modified().ok();
        let updated = modified
            .and_then(|m| m.duration_since(UNIX_EPOCH).ok())
            .map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(0));
        all.extend(Installed::new(folder, path, Some(metadata.len()), updated));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY: Requester = Requester(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    #[tokio::test]
    async fn a_folder_is_listed_and_what_is_in_it_is_not_downloaded_again() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("checkpoints/sd");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("xl_base.safetensors"), b"12345").unwrap();
        std::fs::write(deep.join("notes.txt"), b"x").unwrap();
        std::fs::write(root.path().join("stray.safetensors"), b"x").unwrap();
        let local = Arc::new(Local::new(Some(Arc::new(Folder(root.path().to_owned())))));
        let query = Query::of("base").unwrap();
        let early = local.search(&query, BY).await;
        assert!(
            matches!(early, Err(SourceError::Unreachable { .. })),
            "{early:?}"
        );

        let closing = CancellationToken::new();
        let (tended, token) = (local.clone(), closing.clone());
        let tending = tokio::spawn(async move { tended.tend(token).await });
        while local.known.load().is_none() {
            tokio::task::yield_now().await;
        }
        let found = local.search(&query, BY).await.unwrap();
        assert_eq!(found.len(), 1);
        let id = &found[0].id;
        assert_eq!(id.to_string(), "local--checkpoints/sd~.xl_base.safetensors");
        let details = local.details(id, BY).await.unwrap();
        assert_eq!(details.total(), 5);
        assert!(local.open(&details.files[0], None, BY).await.is_err());
        closing.cancel();
        tending.await.unwrap();
    }

    struct Counted(AtomicUsize);

    #[async_trait]
    impl Shelf for Counted {
        async fn list(&self) -> Result<Vec<Installed>, String> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(Vec::new())
        }

        fn asks_somebody(&self) -> bool {
            true
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_download_the_shelf_is_looked_at_a_few_times_and_then_left_alone() {
        let shelf = Arc::new(Counted(AtomicUsize::new(0)));
        let local = Arc::new(Local::new(Some(shelf.clone())));
        let closing = CancellationToken::new();
        let (tended, token) = (local.clone(), closing.clone());
        let tending = tokio::spawn(async move { tended.tend(token).await });
        tokio::time::sleep(LOOK_EVERY * 20).await;
        assert_eq!(shelf.0.load(Ordering::Relaxed), 0, "nobody asked");
        local.expect();
        tokio::time::sleep(LOOK_EVERY * 20).await;
        assert_eq!(shelf.0.load(Ordering::Relaxed), LOOKS + 1);
        closing.cancel();
        tending.await.unwrap();
    }

    #[tokio::test]
    async fn without_a_folder_it_says_what_to_set() {
        let local = Local::new(None);
        local.tend(CancellationToken::new()).await;
        let told = local
            .search(&Query::of("x").unwrap(), BY)
            .await
            .unwrap_err();
        assert!(told.to_string().contains("models.dir"), "{told}");
    }
}
