//! What happens when something breaks: refused with a reason, recorded, never let through; and as ever
//! when it is mended.
//!
//! EGRESS 55. The real binary in every test. Where a fault needs the system to be broken (a name server
//! that is silent, a disk that is full, an address that nobody answers on), the test runs itself again
//! in namespaces of its own ([`crate::support::alone`]), where it may break what it likes.

mod audit;
mod descriptors;
mod memory;
mod names;
mod resolver;
mod slow;
mod stand_in_dns;
mod upstream;

use serde_json::Value;

use crate::support::{Airlock, Origin, Reply, Setup, Wire, alone, system};

/// A host that is answered in the process: a picture for every GET.
const PICTURE: &str = "  - name: picture\n    hosts: [pic.test]\n    respond: image\n";
const GET_PICTURE: &str = "GET http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\n\r\n";

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
