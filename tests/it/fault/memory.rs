//! Heads and bodies of many clients at once, and more certificates than are held.

use std::io::Write;

use super::{GET_PICTURE, PICTURE, assert_serves, said};
use crate::support::{Setup, Wire, eventually, handshake, shown, trusting};

/// What a client has sent of its request before the test asks how much that weighs.
fn held_back(airlock: &crate::support::Airlock, part: &[u8]) -> Wire {
    let mut wire = Wire::to(airlock.ready.explicit);
    let _ = wire.stream.write_all(part);
    wire
}

#[test]
fn many_large_heads_and_bodies_share_one_bound_and_what_is_over_it_reads_503() {
    let head = {
        let mut head = b"GET http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\nX: ".to_vec();
        head.resize(60 << 10, b'a');
        head
    };
    let body = {
        let mut request =
            b"POST http://sink.test/ HTTP/1.1\r\nHost: sink.test\r\nContent-Length: 900000\r\n\r\n"
                .to_vec();
        request.resize(300 << 10, b'a');
        request
    };
    for (name, part, clients) in [
        ("heads that never end", &head, 40),
        ("bodies that never end", &body, 12),
    ] {
        let airlock = Setup::rules(format!(
            "{PICTURE}  - name: sink\n    hosts: [sink.test]\n    respond: sink\n"
        ))
        .more("limits:\n  held_bytes: 1MiB\n  body_bytes: 1MiB\n  head_timeout: 60s")
        .start();
        let before = airlock.metric("process_resident_memory_bytes", &[]);
        let mut held: Vec<_> = (0..clients).map(|_| held_back(&airlock, part)).collect();
        eventually("the bound is reached", || {
            airlock.metric("airlock_decisions_total", &[("reason", "overloaded")]) > 0
        });
        // A request that needs no more than its first read is served all the while.
        for _ in 0..10 {
            assert_serves(&airlock);
        }
        let grown = airlock
            .metric("process_resident_memory_bytes", &[])
            .saturating_sub(before);
        assert!(
            grown < 24 << 20,
            "{name}: {clients} clients cost {grown} bytes"
        );
        let refused = airlock.metric("airlock_decisions_total", &[("reason", "overloaded")]);
        assert!(refused >= 1 && refused < clients, "{name}: {refused}");
        let mut answers = 0;
        for wire in &mut held {
            wire.stream.set_nonblocking(true).unwrap();
            let mut first = [0; 1];
            if wire.stream.peek(&mut first).is_ok_and(|n| n > 0) {
                wire.stream.set_nonblocking(false).unwrap();
                assert_eq!(said(&wire.reply()), (503, "overloaded".into()), "{name}");
                answers += 1;
            }
        }
        assert!(answers > 0, "{name}");
        drop(held);
        eventually("what they held is given back", || {
            let mut wire = held_back(&airlock, &head);
            wire.send("\r\n\r\n")
                .try_reply(false)
                .is_some_and(|r| r.status == 200)
        });
        airlock.assert_healthy();
    }
}

#[test]
fn a_body_that_is_announced_and_does_not_come_costs_nothing() {
    let airlock = Setup::rules("  - name: sink\n    hosts: [sink.test]\n    respond: sink\n")
        .more("limits:\n  body_bytes: 1GiB\n  held_bytes: 2GiB")
        // A process that set it all aside would end here.
        .start_under("ulimit -v 4194304");
    let part =
        "POST http://sink.test/ HTTP/1.1\r\nHost: sink.test\r\nContent-Length: 67108864\r\n\r\n{";
    let held: Vec<_> = (0..100)
        .map(|_| {
            let mut wire = held_back(&airlock, part.as_bytes());
            wire.send(" ");
            wire
        })
        .collect();
    eventually("all are inside", || {
        airlock.metric("airlock_connections", &[("entry", "explicit")]) == 100
    });
    let weighs = airlock.metric("process_resident_memory_bytes", &[]);
    assert!(
        weighs < 256 << 20,
        "a hundred announcements cost {weighs} bytes"
    );
    drop(held);
    airlock.assert_healthy();
}

/// EGRESS 55: the cache gives up the oldest certificate; it never shows one that is not this name's,
/// and never lets the connection through uninspected.
#[test]
fn a_full_certificate_cache_mints_again_and_shows_the_right_name() {
    let names = ["one.test", "two.test", "three.test"];
    let rules: String = names
        .iter()
        .map(|name| {
            format!(
                "  - name: {}\n    hosts: [{name}]\n    respond: image\n",
                &name[..3]
            )
        })
        .collect();
    let airlock = Setup::rules(rules).more("limits:\n  leaf_cache: 1").start();
    let trusting = trusting(&airlock.ready.ca_bundle);
    let mut open = Vec::new();
    for round in 0..3 {
        for name in names {
            let wire = Wire::to(airlock.ready.explicit).connect(&format!("{name}:443"));
            let mut tls = handshake(wire, &trusting, name)
                .unwrap_or_else(|e| panic!("{name} in round {round}: {e}"));
            assert!(!shown(&tls).is_empty());
            let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n");
            assert_eq!(tls.ask(&request).status, 200, "{name} in round {round}");
            open.push((name, tls, request));
        }
    }
    assert_eq!(airlock.metric("airlock_leaf_cache_size", &[]), 1);
    for (name, tls, request) in &mut open {
        assert_eq!(tls.ask(request).status, 200, "{name} stays open");
    }
    assert_eq!(airlock.metric("airlock_upstream_sockets_total", &[]), 0);
    let reply = Wire::to(airlock.ready.explicit).ask(GET_PICTURE);
    assert_eq!(said(&reply), (403, "no_rule_matched".into()));
}
