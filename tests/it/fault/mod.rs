//! What happens when something breaks: refused with a reason, recorded, never let through; and as ever
//! when it is mended.
//!
//! EGRESS 55. The real binary in every test. Where a fault needs the system to be broken (a name server
//! that is silent, a disk that is full, an address that nobody answers on), the test runs itself again
//! in namespaces of its own ([`alone`]), where it may break what it likes.

mod audit;
mod descriptors;
mod memory;
mod names;
mod resolver;
mod slow;
mod stand_in_dns;
mod upstream;

use std::process::Command;

use serde_json::Value;

use crate::{
    leak::namespaces_are_there,
    support::{Airlock, Origin, Reply, Setup, Wire},
};

/// A host that is answered in the process: a picture for every GET.
const PICTURE: &str = "  - name: picture\n    hosts: [pic.test]\n    respond: image\n";
const GET_PICTURE: &str = "GET http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\n\r\n";

/// Set in the second run of a test.
const INSIDE: &str = "AIRLOCK_TEST_INSIDE";

/// True in namespaces of its own (network with `lo` only, mounts, processes), as root there. Outside,
/// runs the test of this name in such ones, fails if it does, and is false.
fn alone(test: &str) -> bool {
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
fn system(words: &str) {
    let done = Command::new("sh").args(["-ec", words]).status().unwrap();
    assert!(done.success(), "{words}");
}

/// Forwards `name` at the port of `origin`, which is on loopback.
fn forwarding(name: &str, origin: &Origin) -> Setup {
    let port = origin.port();
    Setup::rules(format!(
        "{PICTURE}  - name: through\n    hosts: [{name}]\n    ports: [{port}]\n    action: forward\n"
    ))
    .more(format!(
        "upstreams:\n  - name: mine\n    url: http://{name}:{port}"
    ))
}

fn get(name: &str, port: u16) -> String {
    format!("GET http://{name}:{port}/ HTTP/1.1\r\nHost: {name}:{port}\r\n\r\n")
}

fn ask(airlock: &Airlock, request: &str) -> Reply {
    Wire::to(airlock.ready.explicit).ask(request)
}

/// Status and code of a typed refusal.
fn said(reply: &Reply) -> (u16, String) {
    (reply.status, reply.code())
}

fn count(records: &[Value], field: &str, value: &str) -> usize {
    records.iter().filter(|r| r[field] == value).count()
}

/// What needs nothing that is broken goes on.
fn assert_serves(airlock: &Airlock) {
    assert_eq!(ask(airlock, GET_PICTURE).status, 200);
}
