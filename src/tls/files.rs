//! Files of the CA: private ones that nobody else may read, public ones replaced in one step.
//!
//! Called by `ca` and `roots`. Never follows a half-written file: everything is written beside
//! its place, synced, and then linked or renamed into it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// Why a file of the CA could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "{path} can be read by group or others (mode {mode:04o}): run `chmod 600 {path}`, and if \
         others had access to it, replace the key with `airlock ca rotate`"
    )]
    KeyExposed { path: PathBuf, mode: u32 },
    #[error("{path} can be written by group or others (mode {mode:04o}): run `chmod 700 {path}`")]
    DirExposed { path: PathBuf, mode: u32 },
    #[error("{path} is not a {wanted}: move it away and start again")]
    WrongKind { path: PathBuf, wanted: &'static str },
    #[error("{path} is larger than {max} bytes: it is not a file of ours, move it away")]
    TooLarge { path: PathBuf, max: u64 },
    #[error("{path} is not text: it is not a PEM file, move it away")]
    NotText { path: PathBuf },
}

/// Attaches the path to an IO error.
fn at(path: &Path) -> impl FnOnce(io::Error) -> FileError + '_ {
    move |source| FileError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Makes `path` with mode 0700, or checks that nobody else may write to the one that is there.
/// Reading and entering stay the owner's choice, so that a bundle in it can be shared.
pub fn ensure_private_dir(path: &Path) -> Result<(), FileError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(at(path))?;
    let meta = fs::metadata(path).map_err(at(path))?;
    if !meta.is_dir() {
        return Err(FileError::WrongKind {
            path: path.to_owned(),
            wanted: "directory",
        });
    }
    let mode = meta.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(FileError::DirExposed {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(())
}

/// Reads a secret that only its owner may read; `None` when it does not exist.
/// The mode is that of the opened file, so it cannot be swapped after the check.
pub fn read_secret(path: &Path, max: u64) -> Result<Option<Zeroizing<String>>, FileError> {
    let Some(file) = open_regular(path)? else {
        return Ok(None);
    };
    let mode = file.metadata().map_err(at(path))?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(FileError::KeyExposed {
            path: path.to_owned(),
            mode,
        });
    }
    read_bounded(path, &file, max).map(|text| Some(Zeroizing::new(text)))
}

/// Reads a public text file; `None` when it does not exist.
pub fn read_text(path: &Path, max: u64) -> Result<Option<String>, FileError> {
    open_regular(path)?
        .map(|file| read_bounded(path, &file, max))
        .transpose()
}

/// Writes a secret with mode 0600 unless the file exists: `false` when somebody was first.
pub fn create_secret(path: &Path, content: &[u8]) -> Result<bool, FileError> {
    let draft = Draft::write(path, content, 0o600)?;
    // A hard link puts the whole file in place and fails when the name is taken.
    match fs::hard_link(&draft.path, path) {
        Ok(()) => sync_dir(path).map(|()| true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        // Some mounted file systems have no hard links; O_EXCL still lets only one win.
        Err(_) => match write_new(path, content, 0o600) {
            Ok(()) => sync_dir(path).map(|()| true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(at(path)(e)),
        },
    }
}

/// Puts a file in place of whatever was there, in one step.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), FileError> {
    let draft = Draft::write(path, content, mode)?;
    fs::rename(&draft.path, path).map_err(at(path))?;
    sync_dir(path)
}

/// Moves a file to a name that is not taken yet. `Ok(false)` when there was none to move.
pub fn move_aside(from: &Path, to: &Path) -> Result<bool, FileError> {
    match fs::rename(from, to) {
        Ok(()) => sync_dir(to).map(|()| true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(at(from)(e)),
    }
}

fn open_regular(path: &Path) -> Result<Option<File>, FileError> {
    // Looked at before opening: opening a FIFO would wait for a writer for ever.
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(at(path)(e)),
    };
    if !meta.is_file() {
        return Err(FileError::WrongKind {
            path: path.to_owned(),
            wanted: "regular file",
        });
    }
    File::open(path).map(Some).map_err(at(path))
}

fn read_bounded(path: &Path, file: &File, max: u64) -> Result<String, FileError> {
    let size = file.metadata().map_err(at(path))?.len();
    // Sized up front, so that a growing buffer leaves no copies of a secret behind.
    let mut bytes = Vec::with_capacity(usize::try_from(size.min(max)).unwrap_or(0) + 1);
    file.take(max + 1)
        .read_to_end(&mut bytes)
        .map_err(at(path))?;
    if bytes.len() as u64 > max {
        return Err(FileError::TooLarge {
            path: path.to_owned(),
            max,
        });
    }
    String::from_utf8(bytes).map_err(|e| {
        drop(Zeroizing::new(e.into_bytes()));
        FileError::NotText {
            path: path.to_owned(),
        }
    })
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    // Again, because the umask may have taken bits that the readers of a bundle need.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()
}

fn sync_dir(file: &Path) -> Result<(), FileError> {
    let Some(dir) = file.parent() else {
        return Ok(());
    };
    File::open(dir).and_then(|d| d.sync_all()).map_err(at(dir))
}

/// A finished file under a temporary name in the same directory, removed when dropped.
struct Draft {
    path: PathBuf,
}

impl Draft {
    fn write(target: &Path, content: &[u8], mode: u32) -> Result<Self, FileError> {
        let name = format!(".{}.tmp", uuid::Uuid::new_v4().simple());
        let draft = Draft {
            path: target.with_file_name(name),
        };
        write_new(&draft.path, content, mode).map_err(at(&draft.path))?;
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Gone already after a rename.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_created_once_and_leaves_no_draft() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        assert!(create_secret(&path, b"first").unwrap());
        assert!(!create_secret(&path, b"second").unwrap());
        assert_eq!(read_secret(&path, 100).unwrap().unwrap().as_str(), "first");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_secret_others_can_read_is_refused_with_the_command_that_repairs_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        create_secret(&path, b"x").unwrap();
        for mode in [0o640, 0o604, 0o660, 0o610] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let said = read_secret(&path, 100).unwrap_err().to_string();
            assert!(said.contains("chmod 600"), "{mode:o}: {said}");
        }
    }

    #[test]
    fn a_directory_others_can_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("a/ca");
        ensure_private_dir(&ca).unwrap();
        assert_eq!(fs::metadata(&ca).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&ca, Permissions::from_mode(0o755)).unwrap();
        ensure_private_dir(&ca).unwrap();
        fs::set_permissions(&ca, Permissions::from_mode(0o775)).unwrap();
        let said = ensure_private_dir(&ca).unwrap_err().to_string();
        assert!(said.contains("chmod 700"), "{said}");
    }

    #[test]
    fn odd_files_are_refused_and_absent_ones_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        assert!(read_text(&path, 10).unwrap().is_none());
        fs::write(&path, "12345678901").unwrap();
        assert!(matches!(
            read_text(&path, 10),
            Err(FileError::TooLarge { .. })
        ));
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(
            read_text(&path, 10),
            Err(FileError::NotText { .. })
        ));
        assert!(matches!(
            read_text(dir.path(), 10),
            Err(FileError::WrongKind { .. })
        ));
    }

    #[test]
    fn replacing_sets_the_mode_whatever_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bundle");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        replace(&path, b"new", 0o644).unwrap();
        assert_eq!(read_text(&path, 10).unwrap().unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
    }
}
