//! What is stored, as JSON: one record per session, binding, checkpoint, user and API key.
//!
//! The shapes are of schema 3 (`store`): a field that is not known is refused, as is a record that
//! cannot be read. A start with one ends with its name, so that nobody's password or revocation is
//! lost in silence.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    store::{Change, StoreError, Table},
    token::{Role, SessionId, UnixTime, Username},
};

use super::Records;

/// A session as it is stored; without `config`, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionRecord {
    pub session_id: SessionId,
    pub username: Username,
    pub role: Role,
    pub created_at: UnixTime,
    pub last_activity: UnixTime,
    pub expires: UnixTime,
    /// Seconds that activity extends it by.
    pub lifetime: u64,
    /// When the whole tokens end that were handed out and have not yet.
    pub token_expiries: Vec<UnixTime>,
    pub revoked_at: Option<UnixTime>,
    /// Of the plugin's workflow checkpoints, oldest first.
    pub checkpoints: VecDeque<String>,
    /// The user's own settings: a JSON object, as text.
    pub config: String,
}

/// The owner of one of the plugin's session ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindingRecord {
    pub username: Username,
    pub session_id: SessionId,
    pub last_seen: UnixTime,
}

/// The owner of a workflow that the plugin has saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointRecord {
    pub username: Username,
    pub last_used: UnixTime,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserRecord {
    pub username: Username,
    pub role: Role,
    /// PHC string of argon2id.
    pub password: String,
    pub created_at: UnixTime,
    pub password_changed_at: UnixTime,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyRecord {
    /// Twelve hexadecimal digits; part of the key, no secret.
    pub id: String,
    pub name: Username,
    pub role: Role,
    /// SHA-256 of the secret part, in hexadecimal. The secret has 256 random bits, so that a slow
    /// hash would add nothing.
    pub hash: String,
    /// The secret before the last rotation, and until when it is taken.
    pub previous: Option<PreviousHash>,
    pub created_at: UnixTime,
    pub rotated_at: Option<UnixTime>,
    pub last_used: Option<UnixTime>,
    pub expires: Option<UnixTime>,
    pub requests_per_minute: Option<u32>,
    pub concurrent: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviousHash {
    pub hash: String,
    pub until: UnixTime,
}

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "the record {key:?} of {table} cannot be read ({problem}); put airlock.redb back from a backup, or move it away and make users and keys anew"
    )]
    Unreadable {
        table: &'static str,
        key: String,
        problem: String,
    },
}

pub fn load<T: DeserializeOwned>(
    records: &dyn Records,
    table: Table,
) -> Result<Vec<(String, T)>, RecordError> {
    let read = |(key, value): (String, Vec<u8>)| match serde_json::from_slice(&value) {
        Ok(record) => Ok((key, record)),
        Err(e) => Err(RecordError::Unreadable {
            table: table.name(),
            key,
            problem: e.to_string(),
        }),
    };
    records.read(table)?.into_iter().map(read).collect()
}

pub fn put(table: Table, key: String, record: &impl Serialize) -> Change {
    // Our own records are maps of text and numbers: nothing in them fails. Were one to, it would
    // be removed, never kept half.
    let value = serde_json::to_vec(record).ok();
    Change { table, key, value }
}

pub fn remove(table: Table, key: String) -> Change {
    let value = None;
    Change { table, key, value }
}
