//! Who may come in: sessions, users, API keys, and the secret that signs.
//!
//! [`Identity`] holds all four, and whose workflow checkpoints are; `app` builds one, the front door asks it, and the control plane and
//! the commands change it through [`request::Request`]. What was acknowledged (issued, revoked, a
//! password, a key) is on disk; so is what a request takes for its user, when it is told so
//! ([`Identity::keep_deeds`]); what it touches (last activity, extended life) is in memory and written by
//! [`Identity::tick`].
//!
//! Everything here is synchronous, and `now` is passed in. What says "blocking" waits for the disk
//! or hashes a password: call it from a blocking thread. Nothing here knows HTTP.

mod active;
pub mod api_key;
pub mod binding;
pub mod checkpoint;
pub mod deed;
mod identity;
mod owners;
pub mod password;
mod random;
pub mod record;
pub mod request;
pub mod secret;
pub mod service;
pub mod throttle;
mod unwritten;
pub mod user;

#[cfg(test)]
mod tests;

pub use active::{Active, Bounds, Issued, Refused, SessionError};
pub use api_key::{ApiKeys, Grant, KeyRefused};
pub use binding::{Foreign, VendorId};
pub use checkpoint::{CheckpointId, Checkpoints};
pub use deed::{Deed, Deeds};
pub use identity::{FirstAdmin, Identity, IdentityError, Settings};
pub use random::NoRandomness;
pub use request::{Request, RequestError};
pub use secret::{SecretError, SecretSource};
pub use service::Sessions;
pub use throttle::{Throttle, Wait};
pub use user::{LoginRefused, UserError, Users};

use crate::{
    store::{Change, Store, StoreError, Table},
    token::UnixTime,
};

/// The clock, for whoever calls what is in here.
pub fn now() -> UnixTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // A clock before 1970 is broken: then everything has expired.
    UnixTime(since.map_or(u64::MAX, |s| s.as_secs()))
}

/// Where records are kept: `store::Store`, and in tests one that fails.
pub trait Records: Send + Sync {
    fn read(&self, table: Table) -> Result<Vec<(String, Vec<u8>)>, StoreError>;
    /// All or nothing, on disk when it returns.
    fn write(&self, changes: &[Change]) -> Result<(), StoreError>;
}

impl Records for Store {
    fn read(&self, table: Table) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.records(table)
    }

    fn write(&self, changes: &[Change]) -> Result<(), StoreError> {
        Store::write(self, changes)
    }
}
