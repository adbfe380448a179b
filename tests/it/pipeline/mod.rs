//! The pipeline from outside: what each door lets in, what it refuses and how it says so.
//!
//! No HTTP library stands between a test and the wire. A refusal is checked in three places: the
//! typed answer, exactly one audit record, and the count of its reason.

mod client_gone;
mod connect;
mod forward;
mod framing;
mod garbage;
mod headers;
mod heads;
mod intercept;
mod lifecycle;
#[cfg(target_os = "linux")]
mod own_address;
mod pipelining;
mod response;
mod reverse;
mod tls;
mod transparent;
mod tunnel;

use crate::support::{Airlock, Reply};

/// A host that is answered in the process: a picture for every GET.
const PICTURE: &str = "  - name: picture\n    hosts: [pic.test]\n    respond: image\n";

/// The `n`th record of this airlock is this refusal, counted once.
fn assert_refused(airlock: &Airlock, reply: &Reply, status: u16, code: &str, n: usize) {
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (status, code),
        "{}",
        reply.text()
    );
    let record = airlock.record(n);
    assert_eq!(
        (&record["action"], &record["reason"]),
        (&"deny".into(), &code.into()),
        "{record}"
    );
    assert_eq!(record["status"], status, "{record}");
    assert_eq!(
        airlock.metric("airlock_decisions_total", &[("reason", code)]),
        1
    );
    assert_eq!(airlock.metric("airlock_decisions_total", &[]), n as u64);
}
