//! The system's roots: for verifying upstreams, and for the bundle that clients get.
//!
//! `app` loads [`SystemRoots`] once at start; `cli ca` and `cli exec` write the bundle. This
//! process may itself run with the bundle in `SSL_CERT_FILE` (under `airlock exec`, or in a
//! container that shares its environment). Trusting our own root upstream would let a stolen CA
//! key pose as any intercepted host towards us, so paths inside the state directory are ignored,
//! and roots of ours are left out wherever they are found.
//!
//! The environment comes in as a look-up function; nothing here reads the process's own.

use std::path::{Path, PathBuf};

use memchr::memmem;
use rustls::{RootCertStore, pki_types::CertificateDer};
use rustls_native_certs::load_certs_from_paths;

use super::{
    ca::{FileError, RootCa, SUBJECT_PREFIX, to_pem},
    files,
};

/// Where distributions keep their bundle; the first that is there is used.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/ssl/cert.pem",
    "/opt/etc/ssl/certs/ca-certificates.crt",
    "/usr/local/share/certs/ca-root-nss.crt",
];

/// Hashed directories, for systems without any bundle.
const DIRECTORIES: &[&str] = &["/etc/ssl/certs", "/etc/pki/tls/certs"];

const FILE_VARIABLE: &str = "SSL_CERT_FILE";
const DIR_VARIABLE: &str = "SSL_CERT_DIR";
/// A bundle of a few hundred roots is a quarter of a megabyte.
const MAX_BUNDLE: u64 = 16 << 20;

/// Something about the roots that a person should know; loading goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootsWarning {
    #[error("{variable} names {path}, which is our own: ignored, the system's roots are used")]
    OwnBundleIgnored {
        variable: &'static str,
        path: PathBuf,
    },
    #[error("{0}")]
    Unreadable(String),
    #[error(
        "no roots were found, so every upstream certificate will be refused: install the \
         ca-certificates package, or set SSL_CERT_FILE to a bundle"
    )]
    NoRoots,
}

/// The roots that this machine trusts, less our own.
#[derive(Clone, Debug, Default)]
pub struct SystemRoots {
    certificates: Vec<CertificateDer<'static>>,
    warnings: Vec<RootsWarning>,
}

impl SystemRoots {
    /// `env` looks a variable up. `SSL_CERT_FILE` and `SSL_CERT_DIR` stand in place of the system's
    /// own, as they do for OpenSSL, unless they lie in `state_dir`.
    pub fn load(env: impl Fn(&str) -> Option<String>, state_dir: &Path) -> Self {
        Self::load_from(&Sources::choose(env, state_dir, BUNDLES, DIRECTORIES))
    }

    fn load_from(sources: &Sources) -> Self {
        let mut warnings = sources.warnings.clone();
        let mut certificates = Vec::new();
        let places = std::iter::once((sources.file.as_deref(), None))
            .chain(sources.dirs.iter().map(|d| (None, Some(d.as_path()))));
        for (file, dir) in places {
            let loaded = load_certs_from_paths(file, dir);
            certificates.extend(loaded.certs);
            warnings.extend(
                loaded
                    .errors
                    .iter()
                    .map(|e| RootsWarning::Unreadable(e.to_string())),
            );
        }
        certificates.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
        certificates.dedup();
        certificates.retain(|der| !is_ours(der));
        if certificates.is_empty() {
            warnings.push(RootsWarning::NoRoots);
        }
        Self {
            certificates,
            warnings,
        }
    }

    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    pub fn warnings(&self) -> &[RootsWarning] {
        &self.warnings
    }

    /// For verifying. Roots that rustls cannot read are left out, as every system has one or two.
    pub fn store(&self) -> RootCertStore {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(self.certificates.iter().cloned());
        store
    }
}

/// [`SystemRoots::load`] for callers that only verify.
pub fn system_roots(
    env: impl Fn(&str) -> Option<String>,
    state_dir: &Path,
) -> (RootCertStore, Vec<RootsWarning>) {
    let roots = SystemRoots::load(env, state_dir);
    (roots.store(), roots.warnings)
}

/// The PEM file with the system's roots, for a library that wants a path (Pingora's `ca_file`).
/// `None` where there is only a directory. The file itself is not filtered.
pub fn system_bundle_path(
    env: impl Fn(&str) -> Option<String>,
    state_dir: &Path,
) -> Option<PathBuf> {
    Sources::choose(env, state_dir, BUNDLES, &[]).file
}

/// Writes system roots + `root` to `ca/bundle.pem` below the state directory, mode 0644, in one
/// step, and only when its content changes.
pub fn write_bundle(root: &RootCa, system: &SystemRoots) -> Result<PathBuf, FileError> {
    let path = root.paths().bundle();
    let mut bundle = String::new();
    for der in &system.certificates {
        bundle.push_str(&to_pem(der));
    }
    bundle.push_str(root.pem());
    // Whatever stands there and cannot be read as ours is replaced.
    let unchanged = matches!(files::read_text(&path, MAX_BUNDLE), Ok(Some(old)) if old == bundle);
    if !unchanged {
        files::replace(&path, bundle.as_bytes(), 0o644)?;
    }
    Ok(path)
}

/// Which files and directories to read.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sources {
    file: Option<PathBuf>,
    dirs: Vec<PathBuf>,
    warnings: Vec<RootsWarning>,
}

impl Sources {
    fn choose(
        env: impl Fn(&str) -> Option<String>,
        state_dir: &Path,
        bundles: &[&str],
        directories: &[&str],
    ) -> Self {
        let mut chosen = Self::default();
        let file = env(FILE_VARIABLE).filter(|v| !v.is_empty());
        chosen.file = chosen.keep(FILE_VARIABLE, file.map(PathBuf::from), state_dir);
        let dirs = env(DIR_VARIABLE).unwrap_or_default();
        for dir in std::env::split_paths(&dirs).filter(|p| !p.as_os_str().is_empty()) {
            let kept = chosen.keep(DIR_VARIABLE, Some(dir), state_dir);
            chosen.dirs.extend(kept);
        }
        if chosen.file.is_some() || !chosen.dirs.is_empty() {
            return chosen;
        }
        chosen.file = bundles.iter().map(PathBuf::from).find(|p| p.is_file());
        if chosen.file.is_none() {
            chosen.dirs = directories
                .iter()
                .map(PathBuf::from)
                .filter(|p| p.is_dir())
                .collect();
        }
        chosen
    }

    /// The path, unless it lies in our state directory.
    fn keep(
        &mut self,
        variable: &'static str,
        path: Option<PathBuf>,
        state_dir: &Path,
    ) -> Option<PathBuf> {
        let path = path?;
        if real(&path).starts_with(real(state_dir)) {
            self.warnings
                .push(RootsWarning::OwnBundleIgnored { variable, path });
            return None;
        }
        Some(path)
    }
}

/// With symbolic links resolved where the path exists.
fn real(path: &Path) -> PathBuf {
    path.canonicalize()
        .or_else(|_| std::path::absolute(path))
        .unwrap_or_else(|_| path.to_owned())
}

/// A root that this program made, on this machine or another: its common name says so.
fn is_ours(der: &[u8]) -> bool {
    memmem::find(der, SUBJECT_PREFIX.as_bytes()).is_some()
}

#[cfg(test)]
mod tests;
