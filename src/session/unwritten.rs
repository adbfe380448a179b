//! What sessions have that is a [`Deed`]: the chats of their users, and the workflow checkpoints noted with
//! them, on the way to the disk.
//!
//! [`super::Identity::keep_deeds`] takes them from here and writes; nothing here does.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{
    deed::Deed,
    service::{Entry, Sessions, change},
};
use crate::{store::Change, token::SessionId};

/// Checkpoint ids kept per session, the newest ones.
const MAX_CHECKPOINTS: usize = 256;
const MAX_CHECKPOINT: usize = 128;

/// What deeds are about, on its way to the disk.
pub(super) struct Unwritten {
    pub sessions: Vec<Change>,
    pub bindings: Vec<Change>,
    noted: Vec<Arc<Mutex<Entry>>>,
}

impl Sessions {
    /// Notes a workflow checkpoint of the plugin as this session's. `None`: it is known, there is no such
    /// session, or it is no id.
    pub fn note_checkpoint(&self, id: SessionId, checkpoint: &str) -> Option<Deed> {
        let good = (1..=MAX_CHECKPOINT).contains(&checkpoint.len())
            && checkpoint.bytes().all(|b| b.is_ascii_graphic());
        let shared = self.entry(id).filter(|_| good)?;
        let mut entry = shared.lock();
        let known = &mut entry.record.checkpoints;
        if known.iter().any(|c| c == checkpoint) {
            return None;
        }
        if known.len() >= MAX_CHECKPOINTS {
            known.pop_front();
        }
        known.push_back(checkpoint.to_owned());
        entry.dirty = true;
        drop(entry);
        let mut noted = self.noted.lock();
        noted.push(shared);
        Some(self.deeds.make())
    }

    /// Hands over what deeds are about.
    pub(super) fn unwritten(&self) -> Unwritten {
        let noted = std::mem::take(&mut *self.noted.lock());
        let of = |shared: &Arc<Mutex<Entry>>| {
            // Swept meanwhile, or written.
            let id = shared.lock().record.session_id;
            self.entry(id)?;
            let mut entry = shared.lock();
            std::mem::take(&mut entry.dirty).then(|| change(&entry.record))
        };
        Unwritten {
            sessions: noted.iter().filter_map(of).collect(),
            bindings: self.bindings.unwritten(),
            noted,
        }
    }

    /// They were not written after all.
    pub(super) fn not_written(&self, unwritten: Unwritten) {
        self.bindings.not_written(&unwritten.bindings);
        let entries = unwritten.noted.iter();
        entries.for_each(|entry| entry.lock().dirty = true);
        self.noted.lock().extend(unwritten.noted);
    }
}
