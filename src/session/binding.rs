//! Whose the plugin's own session ids are.
//!
//! The unmodified plugin names a chat by an `X-Session-Id` of its own making, on the page's calls
//! and again on those of its Python side. Its key is one global that concurrent users overwrite, so
//! that header is what tells users apart there (FRONTDOOR 4): the first signed session that brings
//! an id owns it, and it is worth nothing in another user's hands.
//!
//! An owner is a user: a person who logs in again goes on with their chats. Bounded per user and as
//! a whole; what has not been seen for long is forgotten.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    str::FromStr,
    time::Duration,
};

use parking_lot::RwLock;

use crate::{
    store::{Change, Table},
    token::{SessionId, UnixTime, Username},
};

use super::record::{BindingRecord, put, remove};

const MAX_PER_USER: usize = 1024;
const MAX_ALL: usize = 65_536;
const MAX_ID: usize = 128;
/// Kept this long after it was last seen.
const KEEP: Duration = Duration::from_secs(30 * 24 * 3600);
/// Last seen is kept to the minute.
const GRAIN: Duration = Duration::from_secs(60);

/// A value of `X-Session-Id`: 1 to 128 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VendorId(Box<str>);

impl VendorId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VendorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no session id of the plugin: 1 to {MAX_ID} visible ASCII characters are")]
pub struct NotAnId;

impl FromStr for VendorId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let good = (1..=MAX_ID).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        good.then(|| Self(text.into())).ok_or(NotAnId)
    }
}

/// Why an id is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    #[error("this session id belongs to somebody else")]
    Others,
    #[error("too many session ids are in use")]
    Full,
}

impl Foreign {
    pub fn code(self) -> &'static str {
        match self {
            Self::Others => "session_id_foreign",
            Self::Full => "session_ids_full",
        }
    }
}

#[derive(Default)]
pub struct Bindings {
    table: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    by_id: HashMap<Box<str>, BindingRecord>,
    of_user: HashMap<Username, usize>,
    /// To be written, or removed where they are not in `by_id`.
    dirty: HashSet<Box<str>>,
}

impl Bindings {
    pub fn new(stored: Vec<(String, BindingRecord)>) -> Self {
        let mut known = Known::default();
        for (id, record) in stored {
            *known.of_user.entry(record.username.clone()).or_default() += 1;
            known.by_id.insert(id.into(), record);
        }
        Self {
            table: RwLock::new(known),
        }
    }

    /// The id is this user's from now on, and the session the one it speaks for.
    pub fn bind(
        &self,
        id: &VendorId,
        user: &Username,
        session: SessionId,
        now: UnixTime,
    ) -> Result<(), Foreign> {
        if let Some(found) = self.table.read().by_id.get(id.as_str()) {
            if found.username != *user {
                return Err(Foreign::Others);
            }
            if found.session_id == session && now.since(found.last_seen) < GRAIN {
                return Ok(());
            }
        }
        let mut known = self.table.write();
        match known.by_id.get_mut(id.as_str()) {
            // Somebody may have been quicker between the two locks.
            Some(found) if found.username != *user => return Err(Foreign::Others),
            Some(found) => {
                found.session_id = session;
                found.last_seen = found.last_seen.max(now);
            }
            None => known.add(id, user, session, now)?,
        }
        known.dirty.insert(id.0.clone());
        Ok(())
    }

    /// The session that the id speaks for.
    pub fn owner(&self, id: &VendorId) -> Option<(Username, SessionId)> {
        let known = self.table.read();
        let found = known.by_id.get(id.as_str())?;
        Some((found.username.clone(), found.session_id))
    }

    /// Forgets the user: their name may be given to somebody else.
    pub fn forget_user(&self, user: &Username) {
        let mut known = self.table.write();
        let theirs = known.of(user);
        known.forget(&theirs);
    }

    /// Forgets what was not seen for long, and hands over what is to be written.
    pub fn changes(&self, now: UnixTime) -> Vec<Change> {
        let mut known = self.table.write();
        let old = |r: &BindingRecord| now.since(r.last_seen) > KEEP;
        let stale: Vec<Box<str>> = known
            .by_id
            .iter()
            .filter(|(_, r)| old(r))
            .map(|(id, _)| id.clone())
            .collect();
        known.forget(&stale);
        let dirty = std::mem::take(&mut known.dirty);
        dirty
            .into_iter()
            .map(|id| match known.by_id.get(&id) {
                Some(record) => put(Table::Bindings, id.into(), record),
                None => remove(Table::Bindings, id.into()),
            })
            .collect()
    }

    /// They were not written after all.
    pub fn not_written<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        self.table.write().dirty.extend(ids.map(Box::from));
    }
}

impl Known {
    fn add(
        &mut self,
        id: &VendorId,
        user: &Username,
        session: SessionId,
        now: UnixTime,
    ) -> Result<(), Foreign> {
        if self.of_user.get(user).copied().unwrap_or_default() >= MAX_PER_USER {
            // Their own oldest ones make room: nobody can push out another's.
            let mut theirs: Vec<(UnixTime, Box<str>)> = self
                .of(user)
                .into_iter()
                .filter_map(|id| Some((self.by_id.get(&id)?.last_seen, id)))
                .collect();
            theirs.sort();
            let oldest = theirs.into_iter().take(MAX_PER_USER / 8);
            self.forget(&oldest.map(|(_, id)| id).collect::<Vec<_>>());
        }
        if self.by_id.len() >= MAX_ALL {
            return Err(Foreign::Full);
        }
        let record = BindingRecord {
            username: user.clone(),
            session_id: session,
            last_seen: now,
        };
        self.by_id.insert(id.0.clone(), record);
        *self.of_user.entry(user.clone()).or_default() += 1;
        Ok(())
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
