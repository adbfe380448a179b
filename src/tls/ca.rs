//! The root CA: one P-256 key and one certificate, in `ca/` below the state directory.
//!
//! `app` calls [`RootCa::load_or_create`] with the names that the policy intercepts; `cli ca`
//! shows and rotates. The certificate carries critical name constraints for those names alone, so
//! the key is of no use against any other. The key never leaves this module: it is written 0600,
//! and used only to sign.
//!
//! Two processes that start at once on an empty directory end with one key. Their certificates
//! may differ in serial and date, but have one subject and one key, so leaves chain to either.

mod certificate;
mod names;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use rcgen::{Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339, macros};
use zeroize::Zeroizing;

use super::files;
pub use super::files::FileError;
use certificate::RootFacts;
pub(super) use certificate::{BACKDATED, SUBJECT_PREFIX, random_serial, to_pem};
pub use names::PermittedNames;

/// A root this close to its end is re-issued at the next start, from the same key.
const RENEW_BEFORE: Duration = Duration::days(60);
const MAX_KEY_FILE: u64 = 16 << 10;
const MAX_CERTIFICATE_FILE: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum CaError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{name:?} cannot be intercepted: {why}")]
    BadName { name: String, why: String },
    #[error(
        "{count} names are too many for one root certificate: list at most {max}, or use *.name"
    )]
    TooManyNames { count: usize, max: usize },
    #[error(
        "{path} is not a P-256 private key in PEM: restore it, or make a new root with \
         `airlock ca rotate`"
    )]
    BadKey { path: PathBuf },
    #[error(
        "{path} is missing, but its certificate is there: restore the key, or make a new root \
         with `airlock ca rotate`"
    )]
    KeyMissing { path: PathBuf },
    #[error(
        "{path} is not a root certificate: delete it to have it issued again from the same key"
    )]
    BadCertificate { path: PathBuf },
    #[error(
        "{certificate} does not belong to {key}: restore the pair, or delete the certificate to \
         have it issued again from the key"
    )]
    KeyMismatch { certificate: PathBuf, key: PathBuf },
    #[error("the operating system gives no random bytes")]
    NoRandomness,
    #[error("signing failed: {0}")]
    Crypto(rcgen::Error),
}

/// What [`RootCa::load_or_create`] had to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum CaEvent {
    /// A new key and certificate: clients must be told to trust it.
    Created,
    Loaded,
    /// A new certificate from the same key. Clients that hold a copy of the old one need the new
    /// one for added names. Both lists empty: the old one was near its end, missing, or not of
    /// this version's shape.
    Reissued {
        added: Vec<String>,
        removed: Vec<String>,
    },
}

/// What may be shown of a root: everything but the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaInfo {
    pub subject: String,
    pub serial: String,
    /// Upper-case pairs with colons, as browsers show it.
    pub fingerprint_sha256: String,
    /// RFC 3339, UTC.
    pub not_before: String,
    pub not_after: String,
    /// Each stands for itself and all names below it.
    pub permitted_names: Vec<String>,
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Where [`super::write_bundle`] puts system roots + this one.
    pub bundle: PathBuf,
}

/// Files of the CA below a state directory.
#[derive(Clone, Debug)]
pub struct CaPaths {
    dir: PathBuf,
}

impl CaPaths {
    pub fn below(state_dir: &Path) -> Self {
        Self {
            dir: state_dir.join("ca"),
        }
    }
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("root.pem")
    }
    pub fn key(&self) -> PathBuf {
        self.dir.join("root.key")
    }
    pub fn bundle(&self) -> PathBuf {
        self.dir.join("bundle.pem")
    }
}

/// The root CA, ready to sign leaves.
pub struct RootCa {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
    facts: RootFacts,
    names: PermittedNames,
    paths: CaPaths,
}

impl fmt::Debug for RootCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootCa")
            .field("subject", &self.facts.subject)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl RootCa {
    /// Loads the root below `state_dir`, making or re-issuing it as needed, so that its
    /// constraints are exactly `permitted` (`x` or `*.x`; `localhost` is left out).
    pub fn load_or_create<S: AsRef<str>>(
        state_dir: &Path,
        permitted: &[S],
    ) -> Result<(Self, CaEvent), CaError> {
        Self::load_or_create_at(state_dir, permitted, OffsetDateTime::now_utc())
    }

    fn load_or_create_at<S: AsRef<str>>(
        state_dir: &Path,
        permitted: &[S],
        now: OffsetDateTime,
    ) -> Result<(Self, CaEvent), CaError> {
        let names = PermittedNames::parse(permitted)?;
        let paths = CaPaths::below(state_dir);
        files::ensure_private_dir(paths.dir())?;

        let stored = files::read_text(&paths.certificate(), MAX_CERTIFICATE_FILE)?;
        let (key, created) = match load_key(&paths.key())? {
            Some(key) => (key, false),
            // The key is always written first, so this is no race: it was lost.
            None if stored.is_some() => return Err(CaError::KeyMissing { path: paths.key() }),
            None => create_key(&paths.key())?,
        };
        let Some(pem) = stored else {
            let root = Self::issue(key, names, paths, now)?;
            let event = if created {
                CaEvent::Created
            } else {
                CaEvent::Reissued {
                    added: Vec::new(),
                    removed: Vec::new(),
                }
            };
            return Ok((root, event));
        };

        let (certificate, facts) = certificate::from_pem(&pem)
            .and_then(|der| certificate::read(&der).map(|facts| (der, facts)))
            .ok_or_else(|| CaError::BadCertificate {
                path: paths.certificate(),
            })?;
        if facts.public_key != key.subject_public_key_info()
            || facts.subject != certificate::subject_of(&key)
        {
            return Err(CaError::KeyMismatch {
                certificate: paths.certificate(),
                key: paths.key(),
            });
        }
        let current = facts.not_before <= now && now + RENEW_BEFORE < facts.not_after;
        if current && facts.names.as_ref() == Some(&names) {
            let root = Self::assemble(key, certificate, facts, names, paths);
            return Ok((root, CaEvent::Loaded));
        }
        let (added, removed) = match &facts.names {
            Some(old) => (names.without(old), old.without(&names)),
            None => (Vec::new(), Vec::new()),
        };
        let root = Self::issue(key, names, paths, now)?;
        Ok((root, CaEvent::Reissued { added, removed }))
    }

    /// Makes a new key and root. The old certificate is kept beside it as `root.<time>.pem` (the
    /// returned path), the old key is deleted. Works on a damaged CA too: it is the way out of one.
    pub fn rotate<S: AsRef<str>>(
        state_dir: &Path,
        permitted: &[S],
    ) -> Result<(Self, Option<PathBuf>), CaError> {
        let now = OffsetDateTime::now_utc();
        let names = PermittedNames::parse(permitted)?;
        let paths = CaPaths::below(state_dir);
        files::ensure_private_dir(paths.dir())?;
        let (key, pem) = generate_key()?;
        let aside = kept_name(&paths, now);
        let kept = files::move_aside(&paths.certificate(), &aside)?.then_some(aside);
        // Should we die here, the next start re-issues from whichever key is in place.
        files::replace(&paths.key(), pem.as_bytes(), 0o600)?;
        Ok((Self::issue(key, names, paths, now)?, kept))
    }

    /// Signs and stores a certificate over `key`.
    fn issue(
        key: KeyPair,
        names: PermittedNames,
        paths: CaPaths,
        now: OffsetDateTime,
    ) -> Result<Self, CaError> {
        let issued = certificate::issue(&key, &names, now)?;
        let der = CertificateDer::from(issued);
        let facts = certificate::read(&der).ok_or_else(|| CaError::BadCertificate {
            path: paths.certificate(),
        })?;
        files::replace(&paths.certificate(), to_pem(&der).as_bytes(), 0o644)?;
        Ok(Self::assemble(key, der, facts, names, paths))
    }

    fn assemble(
        key: KeyPair,
        certificate: CertificateDer<'static>,
        facts: RootFacts,
        names: PermittedNames,
        paths: CaPaths,
    ) -> Self {
        let params = certificate::issuer_params(&key);
        // Not the file's own text, which may hold more than our certificate.
        let pem = to_pem(&certificate);
        Self {
            issuer: Issuer::new(params, key),
            certificate,
            pem,
            facts,
            names,
            paths,
        }
    }

    /// The certificate alone, for export; never the key.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub fn paths(&self) -> &CaPaths {
        &self.paths
    }

    /// Whether a leaf for this canonical name would be accepted by clients.
    pub fn permits(&self, name: &str) -> bool {
        self.names.permits(name)
    }

    pub fn not_before(&self) -> OffsetDateTime {
        self.facts.not_before
    }

    pub fn not_after(&self) -> OffsetDateTime {
        self.facts.not_after
    }

    /// Whether the root ends within `margin` of `now`, or has ended.
    pub fn expires_within(&self, now: OffsetDateTime, margin: Duration) -> bool {
        self.facts.not_after - now <= margin
    }

    pub fn info(&self) -> CaInfo {
        // Formatting a date that a certificate can hold does not fail.
        let date = |d: OffsetDateTime| d.format(&Rfc3339).unwrap_or_else(|_| d.to_string());
        CaInfo {
            subject: format!("CN={}", self.facts.subject),
            serial: self.facts.serial.clone(),
            fingerprint_sha256: self.facts.fingerprint.clone(),
            not_before: date(self.facts.not_before),
            not_after: date(self.facts.not_after),
            permitted_names: self.names.to_vec(),
            certificate: self.paths.certificate(),
            key: self.paths.key(),
            bundle: self.paths.bundle(),
        }
    }

    /// For `leaf` alone: signs with the private key.
    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }
}

fn generate_key() -> Result<(KeyPair, Zeroizing<String>), CaError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CaError::Crypto)?;
    let pem = Zeroizing::new(key.serialize_pem());
    Ok((key, pem))
}

/// The key in place afterwards, and whether it is ours.
fn create_key(path: &Path) -> Result<(KeyPair, bool), CaError> {
    let (key, pem) = generate_key()?;
    if files::create_secret(path, pem.as_bytes())? {
        return Ok((key, true));
    }
    match load_key(path)? {
        Some(key) => Ok((key, false)),
        None => Err(CaError::KeyMissing {
            path: path.to_owned(),
        }),
    }
}

fn load_key(path: &Path) -> Result<Option<KeyPair>, CaError> {
    let Some(pem) = files::read_secret(path, MAX_KEY_FILE)? else {
        return Ok(None);
    };
    KeyPair::from_pem(&pem)
        .ok()
        .filter(|key| key.algorithm() == &PKCS_ECDSA_P256_SHA256)
        .map(Some)
        .ok_or_else(|| CaError::BadKey {
            path: path.to_owned(),
        })
}

/// A name in the CA's directory that no kept certificate has yet.
fn kept_name(paths: &CaPaths, now: OffsetDateTime) -> PathBuf {
    let format = macros::format_description!("[year][month][day]T[hour][minute][second]Z");
    let stamp = now
        .format(&format)
        .unwrap_or_else(|_| now.unix_timestamp().to_string());
    let free = |path: &PathBuf| path.symlink_metadata().is_err();
    let plain = paths.dir().join(format!("root.{stamp}.pem"));
    if free(&plain) {
        return plain;
    }
    (2..)
        .map(|n: u32| paths.dir().join(format!("root.{stamp}-{n}.pem")))
        .find(free)
        .unwrap_or(plain)
}

#[cfg(test)]
mod tests;
