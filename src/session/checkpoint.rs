//! Whose the plugin's workflow checkpoints are.
//!
//! The plugin numbers the workflows that it saves from one, for all users of one ComfyUI together, and
//! gives each to whoever names its number. So the front door notes for whom a number was given out, as
//! the answers pass, and lets nobody else name it: a number that nobody is known to have is nobody's,
//! because it can be guessed.
//!
//! An owner is a user, as with chats ([`super::binding`]): the page keeps its numbers for longer than a
//! session lasts. Bounded per user and as a whole; what has not been used for long is forgotten.

use std::{
    collections::{HashMap, HashSet},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, RwLock};

use crate::{
    store::{StoreError, Table},
    token::{UnixTime, Username},
};

use super::{
    Records,
    record::{self, CheckpointRecord, RecordError},
};

const MAX_PER_USER: usize = 4096;
const MAX_ALL: usize = 131_072;
const MAX_ID: usize = 64;
/// Kept this long after it was last used.
const KEEP: Duration = Duration::from_secs(90 * 24 * 3600);
/// Last use is kept to the hour.
const GRAIN: Duration = Duration::from_secs(3600);

/// What the plugin calls a saved workflow: a number today, in any case 1 to 64 visible ASCII characters.
/// Compared as text, so that another spelling of a number (`07`, `7.0`) is no id that anybody has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CheckpointId(Box<str>);

impl CheckpointId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no workflow checkpoint: 1 to {MAX_ID} visible ASCII characters are")]
pub struct NotACheckpoint;

impl FromStr for CheckpointId {
    type Err = NotACheckpoint;

    fn from_str(text: &str) -> Result<Self, NotACheckpoint> {
        let good = (1..=MAX_ID).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        good.then(|| Self(text.into())).ok_or(NotACheckpoint)
    }
}

pub struct Checkpoints {
    records: Arc<dyn Records>,
    table: RwLock<Owners>,
    /// Held while records are made and written, so that the disk gets them in order.
    writing: Mutex<()>,
}

#[derive(Default)]
struct Owners {
    by_id: HashMap<Box<str>, CheckpointRecord>,
    of_user: HashMap<Username, usize>,
    /// To be written, or removed where they are not in `by_id`.
    dirty: HashSet<Box<str>>,
}

impl Checkpoints {
    /// Blocking.
    pub fn open(records: Arc<dyn Records>) -> Result<Self, RecordError> {
        let mut owners = Owners::default();
        let stored: Vec<(String, CheckpointRecord)> =
            record::load(records.as_ref(), Table::Checkpoints)?;
        for (id, record) in stored {
            *owners.of_user.entry(record.username.clone()).or_default() += 1;
            owners.by_id.insert(id.into(), record);
        }
        Ok(Self {
            records,
            table: RwLock::new(owners),
            writing: Mutex::default(),
        })
    }

    /// The plugin has just made it for this user. Whoever had the number before had one of a database
    /// that is gone.
    pub fn saved(&self, id: &CheckpointId, user: &Username, now: UnixTime) {
        let mut owners = self.table.write();
        if owners
            .by_id
            .get(id.as_str())
            .is_some_and(|r| r.username != *user)
        {
            owners.forget(std::slice::from_ref(&id.0));
        }
        owners.add(id, user, now);
    }

    /// Named in the answer of an agent that this user has run. Parts of such an answer are a model's, so
    /// it takes nothing from another user.
    pub fn named(&self, id: &CheckpointId, user: &Username, now: UnixTime) {
        self.table.write().add(id, user, now);
    }

    /// Whether this user may have it; a use, if so. Writes nothing to the disk.
    pub fn is_of(&self, id: &CheckpointId, user: &Username, now: UnixTime) -> bool {
        match self.table.read().by_id.get(id.as_str()) {
            Some(found) if found.username == *user => {
                if now.since(found.last_used) < GRAIN {
                    return true;
                }
            }
            Some(_) | None => return false,
        }
        // Used for the first time in an hour. It may have been given to somebody between the two locks.
        let mut owners = self.table.write();
        owners.is_of(id, user) && owners.add(id, user, now)
    }

    /// For a user who is removed: whoever gets the name next gets none of their workflows.
    pub fn forget_user(&self, user: &Username) {
        let mut owners = self.table.write();
        let theirs = owners.of(user);
        owners.forget(&theirs);
    }

    /// Blocking. Forgets what was not used for long, and writes what is only in memory.
    pub fn flush(&self, now: UnixTime) -> Result<(), StoreError> {
        let _in_order = self.writing.lock();
        let mut owners = self.table.write();
        let stale = |r: &CheckpointRecord| now.since(r.last_used) > KEEP;
        let stale: Vec<Box<str>> = owners
            .by_id
            .iter()
            .filter(|(_, r)| stale(r))
            .map(|(id, _)| id.clone())
            .collect();
        owners.forget(&stale);
        let dirty = std::mem::take(&mut owners.dirty);
        let change = |id: &str| match owners.by_id.get(id) {
            Some(found) => record::put(Table::Checkpoints, id.to_string(), found),
            None => record::remove(Table::Checkpoints, id.to_string()),
        };
        let changes: Vec<_> = dirty.iter().map(|id| change(id)).collect();
        drop(owners);
        let written = self.records.write(&changes);
        if written.is_err() {
            self.table.write().dirty.extend(dirty);
        }
        written
    }
}

impl Owners {
    fn is_of(&self, id: &CheckpointId, user: &Username) -> bool {
        let found = self.by_id.get(id.as_str());
        found.is_some_and(|r| r.username == *user)
    }

    /// This user's from now on, unless it is another's or there are too many.
    fn add(&mut self, id: &CheckpointId, user: &Username, now: UnixTime) -> bool {
        match self.by_id.get_mut(id.as_str()) {
            Some(found) if found.username != *user => return false,
            Some(found) => {
                if now.since(found.last_used) < GRAIN {
                    return true;
                }
                found.last_used = found.last_used.max(now);
            }
            None => {
                if self.of_user.get(user).copied().unwrap_or_default() >= MAX_PER_USER {
                    self.make_room(user);
                }
                if self.by_id.len() >= MAX_ALL {
                    return false;
                }
                let record = CheckpointRecord {
                    username: user.clone(),
                    last_used: now,
                };
                self.by_id.insert(id.0.clone(), record);
                *self.of_user.entry(user.clone()).or_default() += 1;
            }
        }
        self.dirty.insert(id.0.clone());
        true
    }

    /// Their own oldest ones go: nobody can push out another's.
    fn make_room(&mut self, user: &Username) {
        let mut theirs: Vec<(UnixTime, Box<str>)> = self
            .of(user)
            .into_iter()
            .filter_map(|id| Some((self.by_id.get(&id)?.last_used, id)))
            .collect();
        theirs.sort();
        let oldest = theirs.into_iter().take(MAX_PER_USER / 8);
        self.forget(&oldest.map(|(_, id)| id).collect::<Vec<_>>());
    }

    fn of(&self, user: &Username) -> Vec<Box<str>> {
        let theirs = self.by_id.iter().filter(|(_, r)| r.username == *user);
        theirs.map(|(id, _)| id.clone()).collect()
    }

    fn forget(&mut self, ids: &[Box<str>]) {
        for id in ids {
            let Some(record) = self.by_id.remove(id) else {
                continue;
            };
            self.dirty.insert(id.clone());
            if let Some(count) = self.of_user.get_mut(&record.username) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.of_user.remove(&record.username);
                }
            }
        }
    }
}
