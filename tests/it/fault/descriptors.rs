//! File descriptors run out: by the client's doing, which the budget prevents, and by the system's.

use std::{net::TcpStream, process::Command};

use super::{GET_PICTURE, PICTURE, ask, assert_serves, count, forwarding, get, said};
use crate::support::{Airlock, Origin, Setup, Wire, eventually};

/// Sets the soft limit of open files of a running process. What is open stays open; with 1 nothing more
/// is opened.
fn grant(airlock: &Airlock, files: usize) {
    let id = airlock.process.id().to_string();
    let done = Command::new("prlimit")
        .args(["--pid", &id, &format!("--nofile={files}:")])
        .status()
        .unwrap();
    assert!(done.success());
}

#[test]
fn more_clients_than_descriptors_are_refused_in_words_and_health_stays_in_reach() {
    let airlock = Setup::rules(PICTURE).start_under("ulimit -n 256");
    let stderr = airlock.process.stderr();
    assert!(
        stderr.contains("40 connections at a time instead of 4096") && stderr.contains("ulimit -n"),
        "{stderr}"
    );
    let mut inside = Wire::to(airlock.ready.explicit);
    assert_eq!(inside.ask(GET_PICTURE).status, 200);
    let idle: Vec<_> = (0..300)
        .map(|_| TcpStream::connect(airlock.ready.explicit).unwrap())
        .collect();
    eventually("the limit is reached", || {
        airlock.metric("airlock_decisions_total", &[("reason", "overloaded")]) >= 261
    });
    for path in ["/healthz", "/readyz", "/metrics", "/status"] {
        assert_eq!(airlock.admin(path).0, 200, "{path}");
    }
    assert_eq!(inside.ask(GET_PICTURE).status, 200, "who is inside stays");
    // Those that are told so are bounded in number, too; the rest is closed.
    eventually("one more is refused in words", || {
        let mut wire = Wire::to(airlock.ready.explicit);
        let reply = wire.send(GET_PICTURE).try_reply(false);
        reply.is_some_and(|r| said(&r) == (503, "overloaded".into()))
    });
    let stderr = airlock.process.stderr();
    assert!(!stderr.contains("accept failed"), "{stderr}");
    drop(idle);
    eventually("there is room again", || {
        ask(&airlock, GET_PICTURE).status == 200
    });
    eventually("each refusal is recorded", || {
        count(&airlock.records(), "reason", "overloaded") >= 262
    });
    airlock.assert_healthy();
}

#[test]
fn without_a_descriptor_nothing_is_accepted_or_dialled_and_all_is_well_afterwards() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let airlock = forwarding("localhost", &origin).start();
    let through = get("localhost", origin.port());
    let mut inside = Wire::to(airlock.ready.explicit);
    assert_eq!(inside.ask(GET_PICTURE).status, 200);
    grant(&airlock, 1);

    // Accepted by the kernel, not by Airlock; and what is inside can open nothing.
    let mut outside = Wire::to(airlock.ready.explicit);
    outside.send(GET_PICTURE);
    let reply = inside.ask(&through);
    assert!(
        [(503, "overloaded".into()), (502, "resolve_failed".into())].contains(&said(&reply)),
        "{reply:?}"
    );
    assert_eq!(origin.connections(), 0);
    eventually("it is said, once", || {
        airlock.process.stderr().contains("accept failed")
    });
    assert_eq!(airlock.process.stderr().matches("accept failed").count(), 1);

    grant(&airlock, 1024);
    assert_eq!(outside.reply().status, 200, "who waited is served");
    eventually("what failed works", || {
        ask(&airlock, &through).status == 200
    });
    assert_serves(&airlock);
    airlock.assert_healthy();
    // Its record was made while no file could be opened.
    eventually("the refusal is recorded", || {
        let records = airlock.records();
        count(&records, "reason", "overloaded") + count(&records, "ended", "resolve_failed") > 0
    });
}

/// An address instead of a name: no file is opened for it, so it is the socket that fails.
#[test]
fn a_dial_that_fails_for_want_of_a_descriptor_is_our_overload_and_not_the_servers_fault() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let port = origin.port();
    let airlock = Setup::rules(format!(
        "  - name: through\n    ips: [127.0.0.1]\n    ports: [{port}]\n    action: forward\n"
    ))
    .more(format!(
        "upstreams:\n  - name: mine\n    url: http://127.0.0.1:{port}"
    ))
    .start();
    let through = get("127.0.0.1", port);
    // Not opened by the request itself: its connection is there before.
    let mut inside = Wire::to(airlock.ready.explicit);
    eventually("it is accepted", || {
        airlock.metric("airlock_connections", &[("entry", "explicit")]) == 1
    });
    grant(&airlock, 1);
    let reply = inside.ask(&through);
    assert_eq!(said(&reply), (503, "overloaded".into()), "{}", reply.text());
    assert_eq!(origin.connections(), 0);
    grant(&airlock, 1024);
    eventually("it works", || ask(&airlock, &through).status == 200);
    eventually("the refusal is recorded", || {
        let records = airlock.records();
        let first = records.first();
        first.is_some_and(|r| r["action"] == "deny" && r["reason"] == "overloaded")
    });
}
