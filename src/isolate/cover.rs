//! What a namespace without a route does not close: Unix sockets in the file system. Through one of
//! them a service outside would act for the program (the resolver's, D-Bus, a container engine, an X
//! server). They are covered by mounts, in the helper's own mount namespace.
//!
//! [`Hidden::found`] runs outside. `/proc/net/unix` lists the sockets of the host's network namespace;
//! those of others (rootless containers) are looked for in the folders for temporary files. [`Plan`]
//! carries the list; [`put_out_of_sight`] runs inside, with capabilities that the program does not get.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{IsolateError, plan::Plan};

/// Sockets of services live here: D-Bus, systemd, nscd, resolved, docker, Wayland, WSL's interop.
const RUN: &str = "/run";
/// What stays of it: removable drives, where models may lie, and udev's tables, which hold no socket.
const KEPT_OF_RUN: [&str; 2] = ["media", "udev"];
/// Other folders that hold sockets and nothing else, hidden whole: theirs come and go. The last one
/// holds RDMA devices, which every network namespace shares by default.
const OTHER_FOLDERS: [&str; 6] = [
    "/var/run",
    "/tmp/.X11-unix",
    "/tmp/.ICE-unix",
    "/var/lib/sss/pipes",
    "/mnt/wslg",
    "/dev/infiniband",
];
/// Each costs a mount. More would be a machine that nobody has seen.
const MAX_SOCKETS: usize = 512;
/// Where sockets are looked for one by one: folders that everybody may write to.
const SHARED_FOLDERS: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];
/// `/tmp/tmux-1000/default` lies two deep.
const SHARED_DEPTH: usize = 3;
/// Folders that are read in this search; a build tree in /tmp is not worth minutes.
const MAX_FOLDERS_READ: usize = 5000;
const TMPFS: &str = "mode=0755,size=16m,nosuid,nodev";

/// What the program must not see.
pub struct Hidden {
    pub folders: Vec<PathBuf>,
    pub sockets: Vec<PathBuf>,
}

impl Hidden {
    /// Looks around outside. `state_dir` holds keys; `own` is the private folder, which stays.
    pub fn found(state_dir: &Path, own: &Path) -> Result<Self, IsolateError> {
        let table = fs::read_to_string("/proc/net/unix")
            .map_err(IsolateError::io("read /proc/net/unix"))?;
        let state_dir = fs::canonicalize(state_dir).ok();
        let folders: Vec<PathBuf> = [RUN]
            .into_iter()
            .chain(OTHER_FOLDERS)
            .map(PathBuf::from)
            .chain(state_dir)
            .filter(|path| fs::symlink_metadata(path).is_ok_and(|m| m.is_dir()))
            .collect();
        let mut known = socket_paths(&table);
        known.extend(sockets_below(&SHARED_FOLDERS.map(Path::new)));
        let sockets: BTreeSet<PathBuf> = known
            .into_iter()
            // What this user cannot see, the program cannot either; what is gone is gone.
            .filter_map(|path| fs::canonicalize(path).ok())
            .filter(|path| !path.starts_with(own))
            .filter(|path| !folders.iter().any(|folder| path.starts_with(folder)))
            .collect();
        if sockets.len() > MAX_SOCKETS {
            return Err(IsolateError::Namespace(format!(
                "{} Unix sockets lie outside of /run, and at most {MAX_SOCKETS} can be hidden",
                sockets.len()
            )));
        }
        Ok(Self {
            folders,
            sockets: sockets.into_iter().collect(),
        })
    }

    /// The hidden folder that `path` lies in. Kept parts of `/run` are not hidden.
    pub fn around(&self, path: &Path) -> Option<&Path> {
        let kept = KEPT_OF_RUN
            .iter()
            .any(|name| path.starts_with(Path::new(RUN).join(name)));
        self.folders
            .iter()
            .find(|folder| path.starts_with(folder) && !kept)
            .map(PathBuf::as_path)
    }
}

/// Absolute paths in `/proc/net/unix`: seven columns, then the path. Abstract names begin with `@`,
/// and belong to a network namespace as it is.
fn socket_paths(table: &str) -> BTreeSet<PathBuf> {
    let mut paths = BTreeSet::new();
    for line in table.lines().skip(1) {
        let mut rest = line;
        for _ in 0..7 {
            rest = rest.trim_start();
            rest = rest.find(' ').map_or("", |at| rest.split_at(at).1);
        }
        if let Some(path) = rest.strip_prefix(' ').filter(|p| p.starts_with('/')) {
            paths.insert(PathBuf::from(path));
        }
    }
    paths
}

/// Sockets some levels below these folders, nearest first. What cannot be read is passed over: the
/// program cannot read it either.
fn sockets_below(folders: &[&Path]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut level: Vec<PathBuf> = folders.iter().map(PathBuf::from).collect();
    let mut left = MAX_FOLDERS_READ;
    for _ in 0..SHARED_DEPTH {
        let mut below = Vec::new();
        for folder in level {
            if left == 0 {
                return found;
            }
            left -= 1;
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => below.push(entry.path()),
                    Ok(kind) if kind.is_socket() => found.push(entry.path()),
                    Ok(_) | Err(_) => {}
                }
            }
        }
        level = below;
    }
    found
}

/// Mounts over everything the plan hides. `own` is the private folder. A cover that fails is an
/// error: the program must not start with a socket in sight.
pub fn put_out_of_sight(plan: &Plan, own: &Path) -> io::Result<()> {
    let bundle = fs::read(&plan.ca_bundle)?;
    for folder in &plan.hidden_folders {
        if folder == Path::new(RUN) {
            hide_run(&own.join("run"))?;
        } else if fs::symlink_metadata(folder).is_ok_and(|m| m.is_dir()) {
            // May be gone already, below a folder that is hidden.
            mount(&["-t", "tmpfs", "-o", TMPFS, "airlock"], &[folder])?;
        }
    }
    for socket in &plan.hidden_sockets {
        let covered = mount(&["--bind", "/dev/null"], &[socket]);
        // Sockets go away at any time; one that is gone needs no cover.
        if covered.is_err() && fs::symlink_metadata(socket).is_ok() {
            return covered;
        }
    }
    if let Some(file) = plan.sealed.as_deref().filter(|file| file.exists()) {
        seal(file);
    }
    if let Some(folder) = &plan.runtime_folder {
        // A convenience for programs that want the folder; where it cannot be made they go without.
        let _ = fs::create_dir_all(folder);
    }
    if !plan.ca_bundle.exists() {
        if let Some(folder) = plan.ca_bundle.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&plan.ca_bundle, bundle)?;
    }
    Ok(())
}

/// Makes a file read-only at its place: it cannot be written, replaced or removed there. A folder above
/// it can still be renamed, which is why this is a bar and no promise (docs/ISOLATION.md).
fn seal(file: &Path) {
    let sealed =
        mount(&["--bind"], &[file, file]).and_then(|()| mount(&["-o", "remount,bind,ro"], &[file]));
    if let Err(e) = sealed {
        tracing::warn!(error = %e, "the program can write airlock's configuration");
    }
}

/// A new `/run`: without sockets, with the links (NixOS has its drivers there) and the kept folders.
fn hide_run(stage: &Path) -> io::Result<()> {
    let run = Path::new(RUN);
    fs::create_dir(stage)?;
    mount(&["-t", "tmpfs", "-o", TMPFS, "airlock"], &[stage])?;
    for entry in fs::read_dir(run)? {
        let entry = entry?;
        let (from, to) = (entry.path(), stage.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&from)?, &to)?;
        } else if kind.is_dir() && KEPT_OF_RUN.iter().any(|name| entry.file_name() == *name) {
            fs::create_dir(&to)?;
            mount(&["--rbind"], &[&from, &to])?;
        }
    }
    mount(&["--move"], &[stage, run])
}

/// This instance of `/proc` shows the processes of the namespace. A container may forbid it; then
/// the program sees the others' names, and still cannot touch them.
pub fn own_proc() -> io::Result<()> {
    mount(&["-t", "proc", "proc"], &[Path::new("/proc")])
}

/// By mount(8): the call itself has no safe wrapper among our dependencies.
fn mount(options: &[&str], paths: &[&Path]) -> io::Result<()> {
    // Without its own table, which lies in the /run that is being hidden.
    let output = Command::new("mount")
        .arg("--no-mtab")
        .args(options)
        .args(paths)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(said.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn sockets_in_the_file_system_are_read_from_the_kernels_table() {
        let table = "\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 18427 /run/dbus/system_bus_socket
0000000000000000: 00000003 00000000 00000000 0001 03 22018
0000000000000000: 00000002 00000000 00010000 0001 01  1234 @/tmp/.X11-unix/X0
0000000000000000: 00000002 00000000 00010000 0001 01    12 /tmp/a folder/s
0000000000000000: 00000002 00000000 00010000 0001 01 99999 relative.sock
0000000000000000: 00000002 00000000 00010000 0001 01 18428 /run/dbus/system_bus_socket
";
        let paths: Vec<_> = socket_paths(table).into_iter().collect();
        assert_eq!(
            paths,
            [
                Path::new("/run/dbus/system_bus_socket"),
                Path::new("/tmp/a folder/s")
            ]
        );
    }

    #[test]
    fn a_search_finds_sockets_at_three_levels_and_goes_no_deeper() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = dir.path().to_owned();
        let mut held = Vec::new();
        for depth in 0..4 {
            held.push(UnixListener::bind(folder.join(format!("{depth}.sock"))).unwrap());
            folder.push("d");
            fs::create_dir(&folder).unwrap();
        }
        let names: Vec<_> = sockets_below(&[dir.path(), Path::new("/nonexistent")])
            .iter()
            .map(|path| path.file_name().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["0.sock", "1.sock", "2.sock"]);
    }

    #[test]
    fn a_folder_knows_whether_it_will_be_hidden() {
        let hidden = Hidden {
            folders: vec!["/run".into(), "/home/me/.local/state/airlock".into()],
            sockets: vec![],
        };
        for (path, want) in [
            ("/run/user/1000", Some("/run")),
            ("/run/media/me/models", None),
            ("/home/me/ComfyUI", None),
            (
                "/home/me/.local/state/airlock/ca",
                Some("/home/me/.local/state/airlock"),
            ),
            ("/running", None),
        ] {
            assert_eq!(
                hidden.around(Path::new(path)),
                want.map(Path::new),
                "{path}"
            );
        }
    }

    #[test]
    fn a_socket_outside_of_the_hidden_folders_is_found_and_our_own_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (foreign, own) = (root.join("agent.sock"), root.join("own"));
        fs::create_dir(&own).unwrap();
        let _foreign = UnixListener::bind(&foreign).unwrap();
        let _own = UnixListener::bind(own.join("door.sock")).unwrap();
        let hidden = Hidden::found(&root.join("state"), &own).unwrap();
        assert!(hidden.sockets.contains(&foreign), "{:?}", hidden.sockets);
        assert!(!hidden.sockets.iter().any(|s| s.starts_with(&own)));
    }
}
