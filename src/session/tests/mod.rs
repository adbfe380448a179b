//! Sessions, users, keys and secrets over a real store, and over one that fails.

mod bounds;
mod keys;
mod secrets;
mod sessions;
mod users;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::*;
use crate::token::{Role, UnixTime, Username};

const NOW: UnixTime = UnixTime(1_800_000_000);
const HOUR: u64 = 3600;

fn after(seconds: u64) -> UnixTime {
    UnixTime(NOW.0 + seconds)
}

fn name(text: &str) -> Username {
    text.parse().unwrap()
}

/// A store whose disk can be full.
struct Disk {
    store: Store,
    full: AtomicBool,
}

impl Disk {
    fn at(dir: &Path) -> Arc<Self> {
        Arc::new(Self {
            store: Store::open(dir).unwrap(),
            full: AtomicBool::new(false),
        })
    }

    fn fill(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }
}

impl Records for Disk {
    fn read(&self, table: Table) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.store.records(table)
    }

    fn write(&self, changes: &[Change]) -> Result<(), StoreError> {
        match self.full.load(Ordering::SeqCst) && !changes.is_empty() {
            true => Err(StoreError::Failed {
                path: "test".into(),
                problem: "the disk is full".into(),
            }),
            false => self.store.write(changes),
        }
    }
}

fn settings(dir: &Path) -> Settings {
    Settings {
        state_dir: dir.to_owned(),
        secret: SecretSource::default(),
        lifetime: Duration::from_secs(HOUR),
        max_lifetime: Duration::from_secs(10 * HOUR),
        max_sessions: 1000,
    }
}

fn open(dir: &Path) -> Identity {
    Identity::open(Disk::at(dir), settings(dir), NOW).unwrap()
}

fn issue(identity: &Identity, user: &str) -> Issued {
    identity
        .sessions
        .issue(name(user), Role::User, None, NOW)
        .unwrap()
}

/// The database as it is on disk at this moment, as a kill would leave it.
fn as_killed(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in ["airlock.redb", "session.key"] {
        std::fs::copy(dir.join(file), copy.path().join(file)).unwrap();
    }
    copy
}
