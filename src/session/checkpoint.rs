//! Whose the plugin's workflow checkpoints are.
//!
//! The plugin numbers the workflows that it saves from one, for all users of one ComfyUI together, and
//! gives each to whoever names its number. So the front door notes for whom a number was given out, as
//! the answers pass, and lets nobody else name it: a number that nobody is known to have is nobody's,
//! because it can be guessed.
//!
//! An owner is a user, as with chats ([`super::binding`]): the page keeps its numbers for longer than a
//! session lasts. Bounded per user and as a whole; what has not been used for long is forgotten.

use std::{str::FromStr, sync::Arc, time::Duration};

use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::{
    store::{Change, StoreError, Table},
    token::{UnixTime, Username},
};

use super::{
    Records,
    deed::{Deed, Deeds},
    owners::{Full, Owned, Owners, Room},
    record::{self, CheckpointRecord, RecordError},
};

const ROOM: Room = Room {
    table: Table::Checkpoints,
    per_user: 4096,
    all: 131_072,
    keep: Duration::from_secs(90 * 24 * 3600),
};
const MAX_ID: usize = 64;
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
    table: RwLock<Owners<CheckpointRecord>>,
    /// Held while records are made and written, so that the disk gets them in order.
    writing: Mutex<()>,
}

impl Owned for CheckpointRecord {
    fn owner(&self) -> &Username {
        &self.username
    }

    fn touched(&self) -> UnixTime {
        self.last_used
    }
}

impl Checkpoints {
    /// Blocking.
    pub fn open(records: Arc<dyn Records>, deeds: Arc<Deeds>) -> Result<Self, RecordError> {
        let stored = record::load(records.as_ref(), ROOM.table)?;
        Ok(Self {
            records,
            table: RwLock::new(Owners::new(ROOM, stored, deeds)),
            writing: Mutex::default(),
        })
    }

    /// The plugin has just made it for this user. Whoever had the number before had one of a database
    /// that is gone.
    pub fn saved(&self, id: &CheckpointId, user: &Username, now: UnixTime) -> Option<Deed> {
        let mut owners = self.table.write();
        if owners.get(id.as_str()).is_some_and(|r| r.username != *user) {
            owners.forget(id.as_str());
        }
        use_or_add(&mut owners, id, user, now).ok()?
    }

    /// Named in the answer of an agent that this user has run. Parts of such an answer are a model's, so
    /// it takes nothing from another user.
    pub fn named(&self, id: &CheckpointId, user: &Username, now: UnixTime) -> Option<Deed> {
        use_or_add(&mut self.table.write(), id, user, now).ok()?
    }

    /// Whether this user may have it; a use, if so. Writes nothing to the disk.
    pub fn is_of(&self, id: &CheckpointId, user: &Username, now: UnixTime) -> bool {
        match self.table.read().get(id.as_str()) {
            Some(found) if found.username == *user => {
                if now.since(found.last_used) < GRAIN {
                    return true;
                }
            }
            Some(_) | None => return false,
        }
        // Used for the first time in an hour. It may have been given to somebody between the two locks.
        let mut owners = self.table.write();
        let theirs = owners.get(id.as_str()).is_some_and(|r| r.username == *user);
        theirs && use_or_add(&mut owners, id, user, now).is_ok()
    }

    /// For a user who is removed: whoever gets the name next gets none of their workflows.
    pub fn forget_user(&self, user: &Username) {
        self.table.write().forget_user(user);
    }

    /// Nobody else writes while it is held.
    pub(super) fn in_order(&self) -> MutexGuard<'_, ()> {
        self.writing.lock()
    }

    /// Hands over what is to be written.
    pub(super) fn unwritten(&self) -> Vec<Change> {
        self.table.write().unwritten()
    }

    /// They were not written after all.
    pub(super) fn not_written(&self, changes: &[Change]) {
        self.table.write().not_written(changes);
    }

    /// Blocking. Forgets what was not used for long, and writes what is only in memory.
    pub fn flush(&self, now: UnixTime) -> Result<(), StoreError> {
        let _in_order = self.in_order();
        let changes = self.table.write().changes(now);
        let written = self.records.write(&changes);
        if written.is_err() {
            self.not_written(&changes);
        }
        written
    }
}

/// It is another's, or there are too many.
struct NotTheirs;

/// This user's from now on. A deed: that it is theirs is not known to be on disk.
fn use_or_add(
    owners: &mut Owners<CheckpointRecord>,
    id: &CheckpointId,
    user: &Username,
    now: UnixTime,
) -> Result<Option<Deed>, NotTheirs> {
    match owners.get(id.as_str()) {
        Some(found) if found.username != *user => return Err(NotTheirs),
        Some(found) if now.since(found.last_used) < GRAIN => {
            return Ok(owners.deed(id.as_str()));
        }
        Some(_) | None => {}
    }
    if let Some(found) = owners.change(id.as_str()) {
        found.last_used = found.last_used.max(now);
        return Ok(owners.deed(id.as_str()));
    }
    let record = CheckpointRecord {
        username: user.clone(),
        last_used: now,
    };
    let added = owners.add(id.as_str(), record);
    added.map(Some).map_err(|Full| NotTheirs)
}
