//! The kill switch's memory: the file `lockdown` in the state folder. None: it is off.
//!
//! A file and no table, so that it can be set while nothing runs and seen by anyone who looks.
//! What cannot be read counts as the tightest level.

use std::{fs, io, path::Path, path::PathBuf};

use crate::{policy::Lockdown, tls::files};

const MAX_FILE: u64 = 64;

#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {problem}; the lockdown would not survive a restart")]
pub struct LockdownError {
    path: PathBuf,
    problem: String,
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("lockdown")
}

/// The level that was set last, and a remark where the file could not be understood.
pub fn load(state_dir: &Path) -> (Lockdown, Option<String>) {
    let path = path(state_dir);
    let problem = match files::read_text(&path, MAX_FILE) {
        Ok(None) => return (Lockdown::Off, None),
        Ok(Some(text)) => match Lockdown::parse(text.trim()) {
            Some(level) => return (level, None),
            None => format!("{} holds no level", path.display()),
        },
        Err(e) => e.to_string(),
    };
    let remark =
        format!("everything is locked down, because {problem}; `airlock lockdown off` ends it");
    (Lockdown::All, Some(remark))
}

pub fn save(state_dir: &Path, level: Lockdown) -> Result<(), LockdownError> {
    let path = path(state_dir);
    let fail = |problem: String| LockdownError {
        path: path.clone(),
        problem,
    };
    match level {
        Lockdown::Off => match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(fail(e.to_string())),
            Ok(()) | Err(_) => Ok(()),
        },
        Lockdown::Egress | Lockdown::All => {
            files::replace(&path, format!("{level}\n").as_bytes(), 0o600)
                .map_err(|e| fail(e.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_kept_and_what_cannot_be_read_is_the_tightest() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()), (Lockdown::Off, None));
        for level in [
            Lockdown::Egress,
            Lockdown::All,
            Lockdown::Off,
            Lockdown::Off,
        ] {
            save(dir.path(), level).unwrap();
            assert_eq!(load(dir.path()), (level, None));
        }
        for broken in ["", "on\n", "off or so", &"x".repeat(100)] {
            fs::write(path(dir.path()), broken).unwrap();
            let (level, remark) = load(dir.path());
            assert_eq!(level, Lockdown::All, "{broken:?}");
            assert!(remark.is_some());
        }
        fs::remove_file(path(dir.path())).unwrap();
        fs::create_dir(path(dir.path())).unwrap();
        assert_eq!(load(dir.path()).0, Lockdown::All);
        assert!(save(dir.path(), Lockdown::Egress).is_err());
    }
}
