//! A test by itself, in namespaces of its own: there it may break what it likes, and listen where it
//! likes. Where the kernel allows none it says so and passes, unless `AIRLOCK_REQUIRE_NETNS` is set.

use std::process::Command;

/// Set in the second run of a test.
const INSIDE: &str = "AIRLOCK_TEST_INSIDE";

fn namespaces_work() -> bool {
    Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "true"])
        .status()
        .is_ok_and(|s| s.success())
}

/// False, with a word, where the kernel allows no namespaces; a failure where they are required.
pub fn namespaces_are_there() -> bool {
    if namespaces_work() {
        return true;
    }
    assert!(
        std::env::var_os("AIRLOCK_REQUIRE_NETNS").is_none(),
        "AIRLOCK_REQUIRE_NETNS is set, and `unshare --user --net` does not work here"
    );
    eprintln!("skipped: this kernel allows no unprivileged network namespace");
    false
}

/// True in namespaces of its own (network with `lo` only, mounts, processes), as root there. Outside,
/// runs the test of this name in such ones, fails if it does, and is false.
pub fn alone(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if !namespaces_are_there() {
        return false;
    }
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount"])
        .args(["--pid", "--fork", "--kill-child"])
        .args(["sh", "-ec", "ip link set lo up; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success() && out.contains("1 passed"),
        "inside: {}\n{out}{err}",
        output.status
    );
    false
}

/// Runs a shell's words in the namespaces of [`alone`].
pub fn system(words: &str) {
    let done = Command::new("sh").args(["-ec", words]).status().unwrap();
    assert!(done.success(), "{words}");
}
