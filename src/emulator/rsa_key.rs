//! The RSA key whose public half the page asks for (WIRE.md 10).
//!
//! Without it the page sends the user's own OpenAI key in clear to the vendor's host (WIRE.md 9),
//! so an answer matters more than a file: a state folder that cannot be used costs a warning and
//! gives a key that lives as long as the process. The page keeps the public half for good, so the
//! private one is kept too: 0600, in the state folder, made once. What it opens is [`opening`]'s.

mod opening;

use std::{
    fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rsa::{KeySize, PrivateDecryptingKey},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use self::opening::Opener;
use crate::gateway::settings::ApiKey;

/// In the state folder: PKCS#8, DER.
const FILE_NAME: &str = "copilot-rsa.pkcs8";
/// A 2048-bit key takes about 1220 bytes.
const MAX_FILE_BYTES: u64 = 8 << 10;

#[derive(Debug, thiserror::Error)]
pub enum RsaKeyError {
    #[error("cannot use {path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{path} holds no RSA-2048 key: move it away and a new one is made")]
    NotAKey { path: PathBuf },
    #[error("an RSA key could not be generated")]
    Generate,
}

/// Made or read on first use, off the async threads.
#[derive(Debug)]
pub struct RsaKey {
    path: PathBuf,
    halves: OnceCell<Halves>,
}

#[derive(Clone, Debug)]
struct Halves {
    public_pem: Arc<str>,
    opener: Arc<Opener>,
}

impl RsaKey {
    pub fn in_folder(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join(FILE_NAME),
            halves: OnceCell::new(),
        }
    }

    /// SPKI PEM of the public half. Takes a fraction of a second the first time ever.
    pub async fn public_pem(&self) -> Result<Arc<str>, RsaKeyError> {
        Ok(self.halves().await?.public_pem.clone())
    }

    /// The key that the page sealed with the public half; `None` for whatever is no such key.
    pub async fn open(&self, sealed: &[u8]) -> Option<ApiKey> {
        let opener = self.halves().await.ok()?.opener.clone();
        let sealed = sealed.to_vec();
        // A private operation takes its time.
        let opening = tokio::task::spawn_blocking(move || opener.open(&sealed, Instant::now()));
        opening.await.ok()?
    }

    async fn halves(&self) -> Result<&Halves, RsaKeyError> {
        self.halves
            .get_or_try_init(|| async {
                let path = self.path.clone();
                tokio::task::spawn_blocking(move || halves_of(&path))
                    .await
                    .map_err(|_| RsaKeyError::Generate)?
            })
            .await
    }
}

fn halves_of(path: &Path) -> Result<Halves, RsaKeyError> {
    let key = match load(path) {
        Ok(Some(key)) => key,
        Ok(None) => {
            let key = generate()?;
            match store(path, &key) {
                Ok(()) => key,
                // Another process was first: its key is the one that stays.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => match load(path) {
                    Ok(Some(theirs)) => theirs,
                    Ok(None) | Err(_) => key,
                },
                Err(e) => {
                    tracing::warn!(path = %path.display(), error = %e, "rsa key is kept in memory only");
                    key
                }
            }
        }
        Err(e) => {
            tracing::warn!(error = %e, "rsa key is kept in memory only");
            generate()?
        }
    };
    let der: PublicKeyX509Der<'_> = key
        .public_key()
        .as_der()
        .map_err(|_| RsaKeyError::Generate)?;
    Ok(Halves {
        public_pem: pem("PUBLIC KEY", der.as_ref()).into(),
        opener: Arc::new(Opener::new(&key).ok_or(RsaKeyError::Generate)?),
    })
}

fn generate() -> Result<PrivateDecryptingKey, RsaKeyError> {
    PrivateDecryptingKey::generate(KeySize::Rsa2048).map_err(|_| RsaKeyError::Generate)
}

/// `None` if there is no file yet.
fn load(path: &Path) -> Result<Option<PrivateDecryptingKey>, RsaKeyError> {
    let file_error = |source| RsaKeyError::File {
        path: path.to_owned(),
        source,
    };
    let not_a_key = || RsaKeyError::NotAKey {
        path: path.to_owned(),
    };
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(file_error(e)),
    };
    if !meta.is_file() || meta.len() > MAX_FILE_BYTES {
        return Err(not_a_key());
    }
    if meta.permissions().mode() & 0o077 != 0 {
        // A restored backup or a copied volume: close it again, and say so.
        tracing::warn!(path = %path.display(), "rsa key was readable by others, mode is set to 0600");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(file_error)?;
    }
    let der = Zeroizing::new(fs::read(path).map_err(file_error)?);
    match PrivateDecryptingKey::from_pkcs8(&der) {
        Ok(key) if key.key_size_bits() == 2048 => Ok(Some(key)),
        Ok(_) | Err(_) => Err(not_a_key()),
    }
}

/// Appears under its name whole or not at all; never replaces a key that is there.
fn store(path: &Path, key: &PrivateDecryptingKey) -> io::Result<()> {
    let der: Pkcs8V1Der<'_> = key
        .as_der()
        .map_err(|_| io::Error::other("key has no PKCS#8 form"))?;
    if let Some(folder) = path.parent() {
        // A folder that is there keeps its mode.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    let draft = path.with_extension(format!("{}.new", uuid::Uuid::new_v4().simple()));
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(der.as_ref())?;
            file.sync_all()
        })
        .and_then(|()| fs::hard_link(&draft, path));
    let _ = fs::remove_file(&draft);
    written
}

fn pem(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = tail;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rsa::{
        OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
        PublicEncryptingKey,
    };

    fn der_of(pem: &str) -> Vec<u8> {
        let body: String = pem.lines().filter(|l| !l.starts_with("-----")).collect();
        STANDARD.decode(body).expect("base64")
    }

    #[tokio::test]
    async fn the_page_can_encrypt_to_the_kept_key() {
        let dir = tempfile::tempdir().expect("dir");
        let state = dir.path().join("state");
        let public = RsaKey::in_folder(&state).public_pem().await.expect("key");
        assert!(public.starts_with("-----BEGIN PUBLIC KEY-----\nMIIB"));
        assert!(public.ends_with("\n-----END PUBLIC KEY-----\n"));

        let path = state.join(FILE_NAME);
        let mode = fs::metadata(&path).expect("file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            fs::read_dir(&state).expect("dir").count(),
            1,
            "no draft is left"
        );

        let public_key = PublicEncryptingKey::from_der(&der_of(&public)).expect("SPKI");
        assert_eq!(public_key.key_size_bits(), 2048);
        let public_key = OaepPublicEncryptingKey::new(public_key).expect("OAEP");
        let mut sealed = vec![0; public_key.ciphertext_size()];
        let sealed = public_key
            .encrypt(&OAEP_SHA256_MGF1SHA256, b"sk-test", &mut sealed, None)
            .expect("encrypt");
        let private = load(&path).expect("load").expect("there");
        let private = OaepPrivateDecryptingKey::new(private).expect("OAEP");
        let mut opened = vec![0; private.min_output_size()];
        let opened = private
            .decrypt(&OAEP_SHA256_MGF1SHA256, sealed, &mut opened, None)
            .expect("decrypt");
        assert_eq!(opened, b"sk-test");

        let again = RsaKey::in_folder(&state).public_pem().await.expect("key");
        assert_eq!(again, public, "a restart keeps the key");
    }

    #[tokio::test]
    async fn an_open_file_is_closed_again() {
        let dir = tempfile::tempdir().expect("dir");
        let first = RsaKey::in_folder(dir.path())
            .public_pem()
            .await
            .expect("key");
        let path = dir.path().join(FILE_NAME);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
        let again = RsaKey::in_folder(dir.path())
            .public_pem()
            .await
            .expect("key");
        assert_eq!(again, first);
        let mode = fs::metadata(&path).expect("file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_broken_file_is_left_alone_and_the_page_still_gets_a_key() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join(FILE_NAME);
        fs::write(&path, b"not a key").expect("write");
        let key = RsaKey::in_folder(dir.path());
        let public = key.public_pem().await.expect("key");
        assert_eq!(key.public_pem().await.expect("key"), public);
        assert_eq!(fs::read(&path).expect("read"), b"not a key");
    }

    #[tokio::test]
    async fn a_state_folder_that_cannot_be_made_costs_no_answer() {
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("file");
        fs::write(&file, b"").expect("write");
        assert!(
            RsaKey::in_folder(&file.join("state"))
                .public_pem()
                .await
                .is_ok()
        );
    }
}
