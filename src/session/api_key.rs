//! API keys: one per client program, each with its own role and limits.
//!
//! `airlock_<id>_<secret>`: the id is no secret (the plugin logs the first twelve characters of
//! whatever key it has), the secret is shown once and stored as a hash. Changes are on disk when
//! they return; last use is written behind.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use zeroize::Zeroizing;

use crate::{
    store::{StoreError, Table},
    token::{Role, UnixTime, Username},
};

use super::{
    NoRandomness, Records, random,
    record::{self, ApiKeyRecord, PreviousHash, RecordError},
};

const PREFIX: &str = "airlock_";
const ID: usize = 12;
const SECRET: usize = 43;
const MAX_KEYS: usize = 10_000;
/// One request, in the units of the rate limit's account.
const REQUEST: u64 = 60;

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    #[error("there is a key {0} already: choose another name, or `airlock key rotate {0}`")]
    Exists(Username),
    #[error("there is no key {0}: `airlock key list` shows them")]
    Unknown(Username),
    #[error("{MAX_KEYS} keys are enough: remove some")]
    Full,
}

/// Why a key does not let a request in: 401 for the first two, 429 for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefused {
    #[error("there is no such key")]
    Unknown,
    #[error("the key has expired")]
    Expired,
    #[error("the key has used up its requests; try again in {} s", .0.as_secs())]
    TooMany(Duration),
    #[error("the key has as many requests open as it may")]
    Busy,
}

impl KeyRefused {
    pub fn code(self) -> &'static str {
        match self {
            Self::Unknown => "key_unknown",
            Self::Expired => "key_expired",
            Self::TooMany(_) => "key_too_many",
            Self::Busy => "key_busy",
        }
    }

    /// For `Retry-After`; `None`: another key is needed, not patience.
    pub fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Unknown | Self::Expired => None,
            Self::TooMany(wait) => Some(wait),
            Self::Busy => Some(Duration::from_secs(1)),
        }
    }
}

/// As listed: without the hashes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ApiKey {
    pub name: Username,
    pub id: String,
    pub role: Role,
    pub created_at: UnixTime,
    pub rotated_at: Option<UnixTime>,
    pub last_used: Option<UnixTime>,
    pub expires: Option<UnixTime>,
    pub requests_per_minute: Option<u32>,
    pub concurrent: Option<u32>,
}

/// What a new key may do.
#[derive(Clone, Debug)]
pub struct Wish {
    pub name: Username,
    pub role: Role,
    pub expires: Option<UnixTime>,
    pub requests_per_minute: Option<u32>,
    pub concurrent: Option<u32>,
}

/// A key that may act now. Counts as one open request of the key until it is dropped.
#[derive(Debug)]
pub struct Grant {
    name: Username,
    role: Role,
    open: Arc<AtomicU32>,
}

impl Grant {
    pub fn name(&self) -> &Username {
        &self.name
    }

    pub fn role(&self) -> Role {
        self.role
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }
}

struct Entry {
    record: ApiKeyRecord,
    open: Arc<AtomicU32>,
    last_used: AtomicU64,
    account: Mutex<Account>,
}

/// Requests that are left, in sixtieths; filled up second by second to a minute's worth.
struct Account {
    left: u64,
    at: UnixTime,
}

pub struct ApiKeys {
    records: Arc<dyn Records>,
    by_id: RwLock<HashMap<String, Arc<Entry>>>,
    /// Removed, and still on a disk that failed; tried again by the next flush.
    gone: Mutex<Vec<String>>,
    endings: Arc<Notify>,
    writing: Mutex<()>,
}

impl ApiKeys {
    /// Blocking.
    pub fn open(records: Arc<dyn Records>) -> Result<Self, RecordError> {
        let stored: Vec<(String, ApiKeyRecord)> = record::load(records.as_ref(), Table::ApiKeys)?;
        let by_id = stored
            .into_iter()
            .map(|(_, r)| (r.id.clone(), Entry::of(r)));
        Ok(Self {
            by_id: RwLock::new(by_id.collect()),
            records,
            gone: Mutex::default(),
            endings: Arc::default(),
            writing: Mutex::default(),
        })
    }

    /// Blocking. The key, which is shown once and cannot be had again.
    pub fn add(&self, wish: Wish, now: UnixTime) -> Result<(ApiKey, Zeroizing<String>), KeyError> {
        let _in_order = self.writing.lock();
        let all = self.by_name();
        if all.contains_key(&wish.name) {
            return Err(KeyError::Exists(wish.name));
        }
        if all.len() >= MAX_KEYS {
            return Err(KeyError::Full);
        }
        let id = new_id()?;
        let secret = random::text()?;
        let Wish {
            name,
            role,
            expires,
            requests_per_minute,
            concurrent,
        } = wish;
        let record = ApiKeyRecord {
            id,
            name,
            role,
            hash: hash(&secret),
            previous: None,
            created_at: now,
            rotated_at: None,
            last_used: None,
            expires,
            requests_per_minute,
            concurrent,
        };
        let text = text(&record.id, &secret);
        Ok((self.keep(record)?, text))
    }

    /// Blocking. A new secret; the old one is taken for `overlap` longer.
    pub fn rotate(
        &self,
        name: &Username,
        overlap: Duration,
        now: UnixTime,
    ) -> Result<(ApiKey, Zeroizing<String>), KeyError> {
        let _in_order = self.writing.lock();
        let mut record = self.record(name)?;
        let secret = random::text()?;
        let until = now.plus(overlap);
        let old = std::mem::replace(&mut record.hash, hash(&secret));
        record.previous = (until > now).then_some(PreviousHash { hash: old, until });
        record.rotated_at = Some(now);
        let text = text(&record.id, &secret);
        Ok((self.keep(record)?, text))
    }

    /// Blocking.
    pub fn remove(&self, name: &Username) -> Result<ApiKey, KeyError> {
        let _in_order = self.writing.lock();
        let record = self.record(name)?;
        // It is worth nothing from now on, even where the disk fails.
        self.by_id.write().remove(&record.id);
        self.endings.notify_one();
        self.gone.lock().push(record.id.clone());
        self.forget()?;
        Ok(shown(&record))
    }

    pub fn list(&self) -> Vec<ApiKey> {
        self.by_name().into_values().collect()
    }

    /// Judges a key as it came in `Authorization`, and counts a request. Writes nothing.
    pub fn admit(&self, key: &str, now: UnixTime) -> Result<Grant, KeyRefused> {
        let (id, secret) = split(key).ok_or(KeyRefused::Unknown)?;
        let entry = self.by_id.read().get(id).cloned();
        let entry = entry.ok_or(KeyRefused::Unknown)?;
        let record = &entry.record;
        let offered = hash(secret);
        let previous = record.previous.as_ref().filter(|p| now < p.until);
        if !same(&offered, &record.hash) && !previous.is_some_and(|p| same(&offered, &p.hash)) {
            return Err(KeyRefused::Unknown);
        }
        if record.expires.is_some_and(|end| end <= now) {
            return Err(KeyRefused::Expired);
        }
        // Counted before it is compared, so that two at once cannot both be the last.
        let grant = Grant {
            name: record.name.clone(),
            role: record.role,
            open: entry.open.clone(),
        };
        let before = entry.open.fetch_add(1, Ordering::AcqRel);
        if record.concurrent.is_some_and(|most| before >= most) {
            return Err(KeyRefused::Busy);
        }
        if let Some(rate) = record.requests_per_minute {
            entry.account.lock().take(rate, now)?;
        }
        entry.last_used.fetch_max(now.0, Ordering::Relaxed);
        Ok(grant)
    }

    /// Whether a key that had acted may go on; it is not counted again.
    pub fn stands(&self, name: &Username, now: UnixTime) -> Result<(), KeyRefused> {
        let by_id = self.by_id.read();
        let entry = by_id.values().find(|e| e.record.name == *name);
        let expires = entry.ok_or(KeyRefused::Unknown)?.record.expires;
        match expires.is_some_and(|end| end <= now) {
            true => Err(KeyRefused::Expired),
            false => Ok(()),
        }
    }

    /// Told when a key was removed: what it has open is to be cut.
    pub fn endings(&self) -> Arc<Notify> {
        self.endings.clone()
    }

    /// Under `writing`.
    fn forget(&self) -> Result<(), StoreError> {
        let mut gone = self.gone.lock();
        let remove = |id: &String| record::remove(Table::ApiKeys, id.clone());
        self.records
            .write(&gone.iter().map(remove).collect::<Vec<_>>())?;
        gone.clear();
        Ok(())
    }

    /// Blocking. Writes when keys were last used.
    pub fn flush(&self) -> Result<(), StoreError> {
        let _in_order = self.writing.lock();
        self.forget()?;
        let used: Vec<_> = self
            .by_id
            .read()
            .values()
            .filter_map(|e| e.used())
            .collect();
        let put = |r: &ApiKeyRecord| record::put(Table::ApiKeys, r.id.clone(), r);
        self.records
            .write(&used.iter().map(put).collect::<Vec<_>>())?;
        for record in used {
            self.place(record);
        }
        Ok(())
    }

    fn by_name(&self) -> BTreeMap<Username, ApiKey> {
        let by_id = self.by_id.read();
        let now = |e: &Arc<Entry>| e.used().unwrap_or_else(|| e.record.clone());
        by_id
            .values()
            .map(|e| (e.record.name.clone(), shown(&now(e))))
            .collect()
    }

    fn record(&self, name: &Username) -> Result<ApiKeyRecord, KeyError> {
        let by_id = self.by_id.read();
        let found = by_id.values().find(|e| e.record.name == *name);
        let found = found.map(|e| e.used().unwrap_or_else(|| e.record.clone()));
        found.ok_or_else(|| KeyError::Unknown(name.clone()))
    }

    /// Under `writing`.
    fn keep(&self, record: ApiKeyRecord) -> Result<ApiKey, KeyError> {
        self.records
            .write(&[record::put(Table::ApiKeys, record.id.clone(), &record)])?;
        let key = shown(&record);
        self.place(record);
        Ok(key)
    }

    /// What is open and used goes on counting.
    fn place(&self, record: ApiKeyRecord) {
        let mut by_id = self.by_id.write();
        let entry = match by_id.get(&record.id) {
            Some(old) => old.with(record),
            None => Entry::of(record),
        };
        by_id.insert(entry.record.id.clone(), entry);
    }
}

impl Entry {
    fn of(record: ApiKeyRecord) -> Arc<Self> {
        let account = Account {
            left: u64::from(record.requests_per_minute.unwrap_or_default()) * REQUEST,
            at: UnixTime::default(),
        };
        Arc::new(Self {
            open: Arc::default(),
            last_used: AtomicU64::new(record.last_used.unwrap_or_default().0),
            account: Mutex::new(account),
            record,
        })
    }

    fn with(&self, record: ApiKeyRecord) -> Arc<Self> {
        let account = self.account.lock();
        Arc::new(Self {
            record,
            open: self.open.clone(),
            last_used: AtomicU64::new(self.last_used.load(Ordering::Relaxed)),
            account: Mutex::new(Account {
                left: account.left,
                at: account.at,
            }),
        })
    }

    /// The record with its last use, where that is news.
    fn used(&self) -> Option<ApiKeyRecord> {
        let last_used = UnixTime(self.last_used.load(Ordering::Relaxed));
        let known = self.record.last_used.unwrap_or_default();
        (last_used > known).then(|| ApiKeyRecord {
            last_used: Some(last_used),
            ..self.record.clone()
        })
    }
}

impl Account {
    fn take(&mut self, per_minute: u32, now: UnixTime) -> Result<(), KeyRefused> {
        let rate = u64::from(per_minute);
        let full = rate * REQUEST;
        // `rate` sixtieths of a request come back each second.
        let back = now.since(self.at).as_secs().saturating_mul(rate);
        self.left = self.left.saturating_add(back).min(full);
        self.at = self.at.max(now);
        match self.left.checked_sub(REQUEST) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                let missing = REQUEST - self.left;
                Err(KeyRefused::TooMany(Duration::from_secs(
                    missing.div_ceil(rate.max(1)),
                )))
            }
        }
    }
}

fn split(key: &str) -> Option<(&str, &str)> {
    let (id, secret) = key.strip_prefix(PREFIX)?.split_once('_')?;
    (id.len() == ID && secret.len() == SECRET).then_some((id, secret))
}

fn text(id: &str, secret: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("{PREFIX}{id}_{secret}"))
}

fn new_id() -> Result<String, NoRandomness> {
    Ok(hex(random::bytes::<{ ID / 2 }>()?.as_slice()))
}

fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Looks at every byte. (They are hashes: what a difference's place would tell is worth little.)
fn same(a: &str, b: &str) -> bool {
    let differing = a
        .bytes()
        .zip(b.bytes())
        .fold(a.len() ^ b.len(), |sum, (a, b)| sum | usize::from(a ^ b));
    differing == 0
}

fn shown(record: &ApiKeyRecord) -> ApiKey {
    let ApiKeyRecord {
        id,
        name,
        role,
        hash: _,
        previous: _,
        created_at,
        rotated_at,
        last_used,
        expires,
        requests_per_minute,
        concurrent,
    } = record;
    ApiKey {
        name: name.clone(),
        id: id.clone(),
        role: *role,
        created_at: *created_at,
        rotated_at: *rotated_at,
        last_used: *last_used,
        expires: *expires,
        requests_per_minute: *requests_per_minute,
        concurrent: *concurrent,
    }
}
