//! Where the signing key comes from: `SESSION_SECRET`, or `session.key` in the state folder.
//!
//! The file is made on first use, 0600, with the key before the last rotation beside the current
//! one. What the previous key signed stays good until its tokens have expired, so that a rotation
//! logs nobody out.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    tls::files::{self, FileError},
    token::{KeyRing, Previous, SigningKey, UnixTime, WeakKey},
};

use super::random::{self, NoRandomness};

const MAX_FILE: u64 = 8 << 10;
const FILE_VERSION: u32 = 1;

/// What the configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretSource {
    /// `SESSION_SECRET`; `None`: the file.
    pub current: Option<SigningKey>,
    /// `SESSION_SECRET_PREVIOUS`: taken for as long as it is set.
    pub previous: Option<SigningKey>,
}

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("{0}")]
    File(FileError),
    #[error(
        "{path} can be read by group or others: run `chmod 600 {path}`, and if others had access to \
         it, remove it: everybody then logs in again"
    )]
    Exposed { path: PathBuf },
    #[error("{path} holds no session keys: move it away, and everybody logs in again")]
    NotKeys { path: PathBuf },
    #[error("a key of {path} {weak}")]
    Weak { path: PathBuf, weak: WeakKey },
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    #[error(
        "the secret is SESSION_SECRET, which only you can change: put its value into \
         SESSION_SECRET_PREVIOUS and the output of `openssl rand -hex 32` into SESSION_SECRET, and \
         start again; take the former out when the old tokens have expired"
    )]
    InEnvironment,
    #[error(
        "the key before this one still has tokens (for {} more minutes), and a second rotation \
         would log their owners out: wait, or use --force",
        minutes(.left)
    )]
    TooSoon { left: Duration },
}

fn minutes(span: &Duration) -> u64 {
    span.as_secs().div_ceil(60)
}

impl SecretError {
    fn of(e: FileError) -> Self {
        match e {
            FileError::KeyExposed { path, .. } => Self::Exposed { path },
            FileError::NotText { path } => Self::NotKeys { path },
            other @ (FileError::Io { .. }
            | FileError::DirExposed { .. }
            | FileError::WrongKind { .. }
            | FileError::TooLarge { .. }) => Self::File(other),
        }
    }
}

/// The file: JSON, so that a person can see what is in it, and how old it is.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    version: u32,
    current: String,
    since: UnixTime,
    previous: Option<PreviousKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PreviousKey {
    key: String,
    until: UnixTime,
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        self.current.zeroize();
    }
}

impl Drop for PreviousKey {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("session.key")
}

/// Blocking. Reads the keys, or makes the first.
pub fn load_or_create(
    state_dir: &Path,
    source: &SecretSource,
    now: UnixTime,
) -> Result<KeyRing, SecretError> {
    if let Some(current) = &source.current {
        return Ok(KeyRing::new(current.clone(), environments(source)));
    }
    let path = path(state_dir);
    if let Some(ring) = load(&path, source)? {
        return Ok(ring);
    }
    let file = KeyFile {
        version: FILE_VERSION,
        current: random::text()?.to_string(),
        since: now,
        previous: None,
    };
    // Where another process was first, its file is the one that counts.
    files::create_secret(&path, &text(&file)).map_err(SecretError::of)?;
    load(&path, source)?.ok_or(SecretError::NotKeys { path })
}

/// Blocking. The keys that are there already; none is made.
pub fn existing(state_dir: &Path, source: &SecretSource) -> Result<Option<KeyRing>, SecretError> {
    match &source.current {
        Some(current) => Ok(Some(KeyRing::new(current.clone(), environments(source)))),
        None => load(&path(state_dir), source),
    }
}

/// Blocking. A new current key; the old one is taken for `keep` longer.
pub fn rotate(
    state_dir: &Path,
    source: &SecretSource,
    keep: Duration,
    force: bool,
    now: UnixTime,
) -> Result<KeyRing, SecretError> {
    if source.current.is_some() {
        return Err(SecretError::InEnvironment);
    }
    let old = load_or_create(state_dir, source, now)?;
    let file = path(state_dir);
    let stored = read(&file)?.ok_or(SecretError::NotKeys { path: file.clone() })?;
    if let Some(previous) = stored.previous.as_ref().filter(|p| now < p.until && !force) {
        let left = previous.until.since(now);
        return Err(SecretError::TooSoon { left });
    }
    let old = std::str::from_utf8(old.current().expose())
        .map_err(|_| SecretError::NotKeys { path: file.clone() })?;
    let new = KeyFile {
        version: FILE_VERSION,
        current: random::text()?.to_string(),
        since: now,
        previous: Some(PreviousKey {
            key: old.to_owned(),
            until: now.plus(keep),
        }),
    };
    files::replace(&file, &text(&new), 0o600).map_err(SecretError::of)?;
    load(&file, source)?.ok_or(SecretError::NotKeys { path: file })
}

/// Set beside a file's key as well: that is how one moves from the variable to the file.
fn environments(source: &SecretSource) -> Option<Previous> {
    source.previous.clone().map(|key| Previous {
        key,
        until: UnixTime(u64::MAX),
    })
}

fn text(file: &KeyFile) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(serde_json::to_vec_pretty(file).unwrap_or_default())
}

fn read(path: &Path) -> Result<Option<KeyFile>, SecretError> {
    let Some(text) = files::read_secret(path, MAX_FILE).map_err(SecretError::of)? else {
        return Ok(None);
    };
    let file: Option<KeyFile> = serde_json::from_str(&text).ok();
    match file.filter(|file| file.version == FILE_VERSION) {
        Some(file) => Ok(Some(file)),
        None => Err(SecretError::NotKeys {
            path: path.to_owned(),
        }),
    }
}

fn load(path: &Path, source: &SecretSource) -> Result<Option<KeyRing>, SecretError> {
    let Some(file) = read(path)? else {
        return Ok(None);
    };
    let key = |text: &str| {
        SigningKey::new(text.as_bytes()).map_err(|weak| SecretError::Weak {
            path: path.to_owned(),
            weak,
        })
    };
    let current = key(&file.current)?;
    let previous = match &file.previous {
        Some(old) => Some(Previous {
            key: key(&old.key)?,
            until: old.until,
        }),
        None => environments(source),
    };
    Ok(Some(KeyRing::new(current, previous)))
}
