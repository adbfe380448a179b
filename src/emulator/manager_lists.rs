//! The lists of ComfyUI-Manager on this disk: read when somebody asks, and again when they changed.
//!
//! Called by [`super::copilot`] for nodes that are not installed. Reads two files below ComfyUI's own
//! folder, never writes, and asks nobody: where there is no list, nothing is known.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use parking_lot::Mutex;
use serde_json::Value;

use crate::comfy::NodePacks;

/// The real ones have three to five megabytes.
const MAX_FILE: u64 = 32 << 20;
/// Entries of one folder that are looked at.
const MAX_ENTRIES: usize = 4_096;
const MAP: &str = "extension-node-map.json";
const LIST: &str = "custom-node-list.json";
/// Where the Manager keeps what it fetched, newest design first; names there begin with a hash.
const CACHES: [&str; 3] = [
    "user/__manager/cache",
    "user/default/ComfyUI-Manager/cache",
    "user/default/comfyui-manager/cache",
];

/// Which files were read, as they were.
type Stamps = Vec<(PathBuf, Option<SystemTime>, u64)>;

#[derive(Debug, Default)]
pub struct ManagerLists {
    /// ComfyUI's own folder.
    dir: Option<PathBuf>,
    read: Mutex<Option<(Stamps, Arc<NodePacks>)>>,
}

impl ManagerLists {
    /// `None`: there is no folder to look in.
    pub fn below(dir: Option<PathBuf>) -> Self {
        Self {
            dir,
            read: Mutex::default(),
        }
    }

    /// Blocking: some tens of milliseconds where the lists changed.
    pub fn packs(&self) -> Arc<NodePacks> {
        let Some(dir) = &self.dir else {
            return Arc::default();
        };
        let (map, list) = (newest(dir, MAP), newest(dir, LIST));
        let files = [&map, &list].into_iter().flatten();
        let stamps: Stamps = files
            .map(|(path, at, len)| (path.clone(), *at, *len))
            .collect();
        // Held while reading: two who ask at once read once.
        let mut read = self.read.lock();
        if let Some((old, packs)) = &*read
            && *old == stamps
        {
            return packs.clone();
        }
        let json =
            |file: &Option<Found>| file.as_ref().map_or(Value::Null, |(path, ..)| parsed(path));
        let packs = Arc::new(NodePacks::read(&json(&map), &json(&list)));
        tracing::debug!(classes = packs.len(), "read the lists of ComfyUI-Manager");
        *read = Some((stamps, packs.clone()));
        packs
    }
}

type Found = (PathBuf, Option<SystemTime>, u64);

/// The newest file of that name, in a cache or in the Manager's own folder.
fn newest(dir: &Path, name: &str) -> Option<Found> {
    let mut found: Vec<Found> = Vec::new();
    for cache in CACHES {
        for entry in entries(&dir.join(cache)) {
            let file = entry.file_name().and_then(|n| n.to_str());
            if file.is_some_and(|file| file == name || file.ends_with(&format!("_{name}"))) {
                found.extend(stamp(entry));
            }
        }
    }
    for pack in entries(&dir.join("custom_nodes")) {
        let folder = pack.file_name().and_then(|n| n.to_str());
        if folder.is_some_and(|folder| folder.eq_ignore_ascii_case("comfyui-manager")) {
            found.extend(stamp(pack.join(name)));
        }
    }
    found.into_iter().max_by_key(|(_, at, _)| *at)
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(dir).into_iter().flatten();
    read.flatten()
        .take(MAX_ENTRIES)
        .map(|entry| entry.path())
        .collect()
}

fn stamp(path: PathBuf) -> Option<Found> {
    let meta = fs::metadata(&path).ok()?;
    let sound = meta.is_file() && meta.len() <= MAX_FILE;
    sound.then(|| (path, meta.modified().ok(), meta.len()))
}

fn parsed(path: &Path) -> Value {
    let read = || -> io::Result<Value> {
        let mut bytes = Vec::new();
        io::Read::read_to_end(
            &mut io::Read::take(fs::File::open(path)?, MAX_FILE),
            &mut bytes,
        )?;
        serde_json::from_slice(&bytes).map_err(io::Error::other)
    };
    read().unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "a list of ComfyUI-Manager cannot be read");
        Value::Null
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(dir: &Path, path: &str, text: &str) {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(path, text).expect("a file");
    }

    fn map_of(repository: &str) -> String {
        format!(r#"{{"https://github.com/{repository}":[["Node"],{{}}]}}"#)
    }

    #[test]
    fn lists_are_found_where_the_manager_keeps_them() {
        for (row, path) in [
            (
                "its own folder",
                "custom_nodes/ComfyUI-Manager/extension-node-map.json",
            ),
            (
                "in lower case",
                "custom_nodes/comfyui-manager/extension-node-map.json",
            ),
            (
                "its cache",
                "user/default/ComfyUI-Manager/cache/1514988643_extension-node-map.json",
            ),
            (
                "its newer cache",
                "user/__manager/cache/9_extension-node-map.json",
            ),
        ] {
            let dir = tempfile::tempdir().expect("dir");
            put(dir.path(), path, &map_of("a/b"));
            let lists = ManagerLists::below(Some(dir.path().to_owned()));
            assert_eq!(
                lists.packs().repository("Node"),
                Some("https://github.com/a/b"),
                "{row}"
            );
        }
    }

    #[test]
    fn a_list_that_changed_is_read_again_and_another_is_not() {
        let dir = tempfile::tempdir().expect("dir");
        let path = "custom_nodes/ComfyUI-Manager/extension-node-map.json";
        put(dir.path(), path, &map_of("a/b"));
        let lists = ManagerLists::below(Some(dir.path().to_owned()));
        let first = lists.packs();
        assert!(Arc::ptr_eq(&first, &lists.packs()), "read once");
        put(dir.path(), path, &map_of("a/longer-name"));
        let address = lists.packs().repository("Node").map(str::to_owned);
        assert_eq!(address.as_deref(), Some("https://github.com/a/longer-name"));
    }

    #[test]
    fn what_is_no_list_is_nothing() {
        let dir = tempfile::tempdir().expect("dir");
        assert!(ManagerLists::default().packs().is_empty(), "no folder");
        let lists = ManagerLists::below(Some(dir.path().join("gone")));
        assert!(lists.packs().is_empty(), "a folder that is gone");
        let path = "custom_nodes/ComfyUI-Manager/extension-node-map.json";
        put(dir.path(), path, "{ not json");
        let lists = ManagerLists::below(Some(dir.path().to_owned()));
        assert!(lists.packs().is_empty(), "a broken file");
        fs::remove_file(dir.path().join(path)).expect("it was there");
        fs::create_dir(dir.path().join(path)).expect("a folder of that name");
        assert!(lists.packs().is_empty(), "a folder of that name");
    }
}
