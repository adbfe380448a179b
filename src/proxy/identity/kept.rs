//! Nobody is told that a chat or a saved workflow is theirs before that is on disk.
//!
//! [`Doorkeeper::keep`] is awaited by `pipeline` before a request is answered or sent on that takes
//! something for its user for the first time; [`Doorkeeper::keep_now`] is called where an answer is read on its
//! way and nothing can be awaited. Who comes while a write is under way is in the next one, with all others
//! that came meanwhile. What is known already never waits.

use super::Doorkeeper;
use crate::{
    policy::Reason,
    proxy::outgoing::Stopped,
    session::{Deed, Identity},
};

/// It may be lost to a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unkept;

impl From<Unkept> for Stopped {
    fn from(Unkept: Unkept) -> Self {
        Self {
            reason: Reason::StateUnavailable,
            detail: "whose this is could not be written to the disk".into(),
        }
    }
}

impl Doorkeeper {
    /// The deed is on disk. One person alone, whom nobody can take anything from, goes on without.
    pub async fn keep(&self, deed: Option<Deed>) -> Result<(), Unkept> {
        let Some(deed) = deed else {
            return Ok(());
        };
        if self.identity.deeds.is_kept(deed) {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        if self.identity.deeds.is_kept(deed) {
            return Ok(());
        }
        let identity = self.identity.clone();
        let written = tokio::task::spawn_blocking(move || write(&identity)).await;
        self.enough(written.unwrap_or(Err(Unkept)))
    }

    /// The same, keeping a thread of the runtime waiting, which is told.
    pub fn keep_now(&self, deed: Option<Deed>) -> Result<(), Unkept> {
        match deed {
            Some(deed) if !self.identity.deeds.is_kept(deed) => {
                self.enough(tokio::task::block_in_place(|| write(&self.identity)))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn enough(&self, written: Result<(), Unkept>) -> Result<(), Unkept> {
        match self.users_required {
            true => written,
            false => Ok(()),
        }
    }
}

fn write(identity: &Identity) -> Result<(), Unkept> {
    identity.keep_deeds().map_err(|e| {
        tracing::warn!(error = %e, "not saved whose a chat or a saved workflow is");
        Unkept
    })
}
