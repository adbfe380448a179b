//! Which user has what the plugin names by itself: chats ([`super::binding`]), saved workflows
//! ([`super::checkpoint`]).
//!
//! Bounded per user and as a whole: a user's own oldest make room, nobody can push out another's. What
//! was not touched for long is forgotten. Changes are kept in memory until somebody writes them; nothing
//! here does, and nothing locks. A new one is a [`Deed`]: its user is told when it is on disk.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use serde::Serialize;

use super::{
    deed::{Deed, Deeds},
    record::{put, remove},
};
use crate::{
    store::{Change, Table},
    token::{UnixTime, Username},
};

/// A record of who has something.
pub trait Owned: Serialize {
    fn owner(&self) -> &Username;
    fn touched(&self) -> UnixTime;
}

/// Where the records are stored, how many may be, and for how long after they were last touched.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub table: Table,
    pub per_user: usize,
    pub all: usize,
    pub keep: Duration,
}

/// There is room for no more of anybody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

pub struct Owners<R> {
    room: Room,
    by_id: HashMap<Box<str>, R>,
    of_user: HashMap<Username, usize>,
    /// To be written, or removed where they are not in `by_id`.
    dirty: HashSet<Box<str>>,
    /// New ones that were not on disk when this was last looked through.
    fresh: HashMap<Box<str>, Deed>,
    deeds: Arc<Deeds>,
}

impl<R: Owned> Owners<R> {
    pub fn new(room: Room, stored: Vec<(String, R)>, deeds: Arc<Deeds>) -> Self {
        let mut owners = Self {
            room,
            by_id: HashMap::new(),
            of_user: HashMap::new(),
            dirty: HashSet::new(),
            fresh: HashMap::new(),
            deeds,
        };
        for (id, record) in stored {
            *owners.of_user.entry(record.owner().clone()).or_default() += 1;
            owners.by_id.insert(id.into(), record);
        }
        owners
    }

    pub fn get(&self, id: &str) -> Option<&R> {
        self.by_id.get(id)
    }

    /// For a change, which is written. The owner stays who it is.
    pub fn change(&mut self, id: &str) -> Option<&mut R> {
        let found = self.by_id.get_mut(id)?;
        self.dirty.insert(id.into());
        Some(found)
    }

    /// It may not be on disk yet. `None`: it is, or there is none.
    pub fn deed(&self, id: &str) -> Option<Deed> {
        let deed = *self.fresh.get(id)?;
        (!self.deeds.is_kept(deed)).then_some(deed)
    }

    /// A new one.
    pub fn add(&mut self, id: &str, record: R) -> Result<Deed, Full> {
        let owner = record.owner().clone();
        if self.of_user.get(&owner).copied().unwrap_or_default() >= self.room.per_user {
            self.make_room(&owner);
        }
        if self.by_id.len() >= self.room.all {
            return Err(Full);
        }
        self.by_id.insert(id.into(), record);
        *self.of_user.entry(owner).or_default() += 1;
        self.dirty.insert(id.into());
        let deed = self.deeds.make();
        self.fresh.insert(id.into(), deed);
        Ok(deed)
    }

    pub fn forget(&mut self, id: &str) {
        let Some(record) = self.by_id.remove(id) else {
            return;
        };
        self.dirty.insert(id.into());
        self.fresh.remove(id);
        if let Some(count) = self.of_user.get_mut(record.owner()) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.of_user.remove(record.owner());
            }
        }
    }

    /// Their name may be given to somebody else.
    pub fn forget_user(&mut self, user: &Username) {
        for id in self.ids(|record| record.owner() == user) {
            self.forget(&id);
        }
    }

    /// Forgets what was not touched for long, and hands over what is to be written.
    pub fn changes(&mut self, now: UnixTime) -> Vec<Change> {
        let keep = self.room.keep;
        for id in self.ids(|record| now.since(record.touched()) > keep) {
            self.forget(&id);
        }
        self.unwritten()
    }

    /// Hands over what is to be written.
    pub fn unwritten(&mut self) -> Vec<Change> {
        self.fresh.retain(|_, deed| !self.deeds.is_kept(*deed));
        let change = |id: Box<str>| match self.by_id.get(&id) {
            Some(record) => put(self.room.table, id.into(), record),
            None => remove(self.room.table, id.into()),
        };
        std::mem::take(&mut self.dirty)
            .into_iter()
            .map(change)
            .collect()
    }

    /// They were not written after all.
    pub fn not_written<'c>(&mut self, changes: impl IntoIterator<Item = &'c Change>) {
        let ids = changes.into_iter().map(|change| change.key.as_str().into());
        self.dirty.extend(ids);
    }

    fn make_room(&mut self, user: &Username) {
        let theirs = self.ids(|record| record.owner() == user);
        let mut theirs: Vec<(UnixTime, Box<str>)> = theirs
            .into_iter()
            .filter_map(|id| Some((self.by_id.get(&id)?.touched(), id)))
            .collect();
        theirs.sort();
        for (_, id) in theirs.into_iter().take(self.room.per_user / 8) {
            self.forget(&id);
        }
    }

    fn ids(&self, of: impl Fn(&R) -> bool) -> Vec<Box<str>> {
        let found = self.by_id.iter().filter(|(_, record)| of(record));
        found.map(|(id, _)| id.clone()).collect()
    }
}
