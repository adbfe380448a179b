//! Whose the plugin's own session ids are.
//!
//! The unmodified plugin names a chat by an `X-Session-Id` of its own making, on the page's calls
//! and again on those of its Python side. Its key is one global that concurrent users overwrite, so
//! that header is what tells users apart there (FRONTDOOR 4): the first signed session that brings
//! an id owns it, and it is worth nothing in another user's hands.
//!
//! An owner is a user: a person who logs in again goes on with their chats. Bounded per user and as
//! a whole; what has not been seen for long is forgotten.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use parking_lot::RwLock;

use crate::{
    store::{Change, Table},
    token::{SessionId, UnixTime, Username},
};

use super::{
    deed::{Deed, Deeds},
    owners::{Full, Owned, Owners, Room},
    record::BindingRecord,
};

const ROOM: Room = Room {
    table: Table::Bindings,
    per_user: 1024,
    all: 65_536,
    keep: Duration::from_secs(30 * 24 * 3600),
};
const MAX_ID: usize = 128;
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

pub struct Bindings {
    table: RwLock<Owners<BindingRecord>>,
}

impl Owned for BindingRecord {
    fn owner(&self) -> &Username {
        &self.username
    }

    fn touched(&self) -> UnixTime {
        self.last_seen
    }
}

impl Bindings {
    pub fn new(stored: Vec<(String, BindingRecord)>, deeds: Arc<Deeds>) -> Self {
        Self {
            table: RwLock::new(Owners::new(ROOM, stored, deeds)),
        }
    }

    /// The id is this user's from now on, and the session the one it speaks for. A deed: that it is this
    /// user's is not known to be on disk.
    pub fn bind(
        &self,
        id: &VendorId,
        user: &Username,
        session: SessionId,
        now: UnixTime,
    ) -> Result<Option<Deed>, Foreign> {
        let known = self.table.read();
        if let Some(found) = known.get(id.as_str()) {
            if found.username != *user {
                return Err(Foreign::Others);
            }
            if found.session_id == session && now.since(found.last_seen) < GRAIN {
                return Ok(known.deed(id.as_str()));
            }
        }
        drop(known);
        let mut known = self.table.write();
        // Somebody may have been quicker between the two locks.
        if known.get(id.as_str()).is_some_and(|r| r.username != *user) {
            return Err(Foreign::Others);
        }
        if let Some(found) = known.change(id.as_str()) {
            found.session_id = session;
            found.last_seen = found.last_seen.max(now);
            return Ok(known.deed(id.as_str()));
        }
        let record = BindingRecord {
            username: user.clone(),
            session_id: session,
            last_seen: now,
        };
        let added = known.add(id.as_str(), record);
        added.map(Some).map_err(|Full| Foreign::Full)
    }

    /// The session that the id speaks for.
    pub fn owner(&self, id: &VendorId) -> Option<(Username, SessionId)> {
        let known = self.table.read();
        let found = known.get(id.as_str())?;
        Some((found.username.clone(), found.session_id))
    }

    /// Forgets the user: their name may be given to somebody else.
    pub fn forget_user(&self, user: &Username) {
        self.table.write().forget_user(user);
    }

    /// Forgets what was not seen for long, and hands over what is to be written.
    pub fn changes(&self, now: UnixTime) -> Vec<Change> {
        self.table.write().changes(now)
    }

    /// Hands over what is to be written.
    pub fn unwritten(&self) -> Vec<Change> {
        self.table.write().unwritten()
    }

    /// They were not written after all.
    pub fn not_written(&self, changes: &[Change]) {
        self.table.write().not_written(changes);
    }
}
