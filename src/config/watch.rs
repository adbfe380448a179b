//! Whether the configuration file is another one than it was. Asked now and then by `app::reload`.
//!
//! Looks at what a path leads to, so that a rename into place and a swapped symlink (Kubernetes'
//! config maps) are seen like an edit. A file is only taken when it has stood still for one look:
//! an editor may still be writing.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

/// Identity and age of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Also moves when the modification time is set back by hand.
    changed: (i64, i64),
}

impl Stamp {
    /// `None`: there is no such file, or it cannot be looked at.
    pub fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

/// Tells a change from a change that is still going on.
#[derive(Debug)]
pub struct Watch {
    taken: Option<Stamp>,
    last: Option<Stamp>,
}

impl Watch {
    /// `taken`: of the file as it was loaded.
    pub fn new(taken: Option<Stamp>) -> Self {
        Self { taken, last: taken }
    }

    /// It is being loaded for another reason.
    pub fn took(&mut self, now: Option<Stamp>) {
        *self = Self::new(now);
    }

    /// True when `now` is new and was the same at the last look; from then on it counts as taken.
    pub fn look(&mut self, now: Option<Stamp>) -> bool {
        let settled = now == self.last;
        self.last = now;
        if settled && now != self.taken {
            self.taken = now;
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a look finds, and whether the file is then taken.
    fn look(watch: &mut Watch, path: &Path) -> bool {
        watch.look(Stamp::of(path))
    }

    #[test]
    fn edits_renames_and_swapped_symlinks_are_seen_once_they_stand_still() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a.yaml"), dir.path().join("b.yaml"));
        fs::write(&path, "one").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut watch = Watch::new(Stamp::of(&link));
        assert!(!look(&mut watch, &link), "nothing happened");

        let steps: [(&str, &dyn Fn()); 4] = [
            ("an edit", &|| fs::write(&path, "two, longer").unwrap()),
            ("a rename into place", &|| {
                fs::write(&other, "two, longer").unwrap();
                fs::rename(&other, &path).unwrap();
            }),
            ("a swapped symlink", &|| {
                fs::write(&other, "three").unwrap();
                let new = dir.path().join("new");
                std::os::unix::fs::symlink(&other, &new).unwrap();
                fs::rename(&new, &link).unwrap();
            }),
            ("it is gone", &|| fs::remove_file(&other).unwrap()),
        ];
        for (name, change) in steps {
            change();
            assert!(!look(&mut watch, &link), "{name}: may still go on");
            assert!(look(&mut watch, &link), "{name}: stands still");
            assert!(!look(&mut watch, &link), "{name}: is taken");
        }
    }

    #[test]
    fn a_change_that_is_taken_back_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "one").unwrap();
        let stamp = Stamp::of(&path);
        let mut watch = Watch::new(stamp);
        assert!(!watch.look(None), "a moment between delete and create");
        assert!(!watch.look(stamp));
        assert!(!watch.look(stamp));
    }
}
