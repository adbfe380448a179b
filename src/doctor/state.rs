//! The state folder: there, a folder, and closed to everyone else.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::Finding;
use crate::tls::ca::CaPaths;

/// Secrets of a state folder: the CA's key, and the key that the page encrypts to.
const SECRET_ENDINGS: [&str; 2] = ["key", "pkcs8"];
/// A state folder holds a dozen files; someone's home folder named by mistake holds more.
const MAX_ENTRIES: usize = 1000;

pub fn examine(dir: &Path) -> Vec<Finding> {
    let shown = dir.display();
    match fs::metadata(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => vec![Finding::ok(
            "state_folder",
            format!("{shown} is not there yet; the first `airlock run` makes it"),
        )],
        Err(e) => vec![Finding::fail(
            "state_folder",
            format!("{shown} cannot be looked into: {e}"),
            "set AIRLOCK_STATE_DIR to a folder of the user that runs airlock",
        )],
        Ok(found) if !found.is_dir() => vec![Finding::fail(
            "state_folder",
            format!("{shown} is no folder"),
            "move the file away, or set AIRLOCK_STATE_DIR to another place",
        )],
        Ok(found) => {
            let mut findings = vec![folder(dir, &found)];
            findings.extend(secrets(dir));
            findings
        }
    }
}

fn folder(dir: &Path, found: &fs::Metadata) -> Finding {
    let shown = dir.display();
    let open = others_may(found);
    if open == 0 {
        return Finding::ok("state_folder", format!("{shown}, closed to other users"));
    }
    Finding::warn(
        "state_folder",
        format!("{shown} is open to other users of this machine (mode {open:o} for them)"),
        format!("chmod 700 {shown}"),
    )
}

/// The permission bits of group and others. Zero where a file system has none.
fn others_may(found: &fs::Metadata) -> u32 {
    #[cfg(unix)]
    {
        std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o077
    }
    #[cfg(not(unix))]
    {
        let _ = found;
        0
    }
}

fn secrets(dir: &Path) -> Vec<Finding> {
    let files = files_of(dir)
        .into_iter()
        .chain(files_of(CaPaths::below(dir).dir()));
    let secret = |path: &PathBuf| {
        let ending = path.extension().and_then(|e| e.to_str());
        ending.is_some_and(|e| SECRET_ENDINGS.contains(&e))
    };
    files
        .filter(secret)
        .filter_map(|path| secret_file(&path))
        .collect()
}

fn files_of(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .take(MAX_ENTRIES)
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    files
}

fn secret_file(path: &Path) -> Option<Finding> {
    let shown = path.display();
    let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let open = others_may(&found);
    if open != 0 {
        return Some(Finding::fail(
            "key_permissions",
            format!("other users of this machine may use the key {shown} (mode {open:o} for them)"),
            format!("chmod 600 {shown}; if someone may have read it: airlock ca rotate"),
        ));
    }
    Some(match fs::File::open(path) {
        Ok(_) => Finding::ok("key_permissions", format!("{shown} is for its owner alone")),
        Err(e) => Finding::fail(
            "key_permissions",
            format!("the key {shown} cannot be read: {e}"),
            "run airlock as the user that owns it, or give this user a state folder of its own",
        ),
    })
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::doctor::Status;

    fn with_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn folders_and_keys_are_judged_by_who_may_read_them() {
        let rows = [
            (
                "as airlock makes them",
                0o700,
                0o600,
                [Status::Ok, Status::Ok],
            ),
            (
                "a folder that all may list",
                0o755,
                0o600,
                [Status::Warn, Status::Ok],
            ),
            (
                "a key that the group may read",
                0o700,
                0o640,
                [Status::Ok, Status::Fail],
            ),
        ];
        for (name, folder, key, want) in rows {
            let dir = tempfile::tempdir().unwrap();
            let ca = dir.path().join("ca");
            fs::create_dir(&ca).unwrap();
            fs::write(ca.join("root.key"), "k").unwrap();
            with_mode(&ca.join("root.key"), key);
            with_mode(dir.path(), folder);
            let got: Vec<_> = examine(dir.path()).iter().map(|f| f.status).collect();
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_fine_and_a_file_in_its_place_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let missing = examine(&dir.path().join("none"));
        assert_eq!(missing[0].status, Status::Ok, "{missing:?}");
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(examine(&file)[0].status, Status::Fail);
    }
}
