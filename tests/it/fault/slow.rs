//! Slow clients: they hold what is theirs, for as long as the limits say, and starve nobody.

use std::io::{Read, Write};

use super::{PICTURE, assert_serves, count, get, said};
use crate::support::{Airlock, Origin, Setup, Wire, eventually};

const CLIENTS: usize = 100;

fn slow(airlock: &Airlock, first: &[u8]) -> Vec<Wire> {
    (0..CLIENTS)
        .map(|_| {
            let mut wire = Wire::to(airlock.ready.explicit);
            let _ = wire.stream.write_all(first);
            wire
        })
        .collect()
}

fn setup(limits: &str) -> Airlock {
    Setup::rules(format!(
        "{PICTURE}  - name: sink\n    hosts: [sink.test]\n    respond: sink\n"
    ))
    .more(format!("limits:\n  {limits}"))
    .start()
}

/// Every kind of slow client, in number, while a normal one is served; each ends with its reason.
#[test]
fn slow_heads_hellos_and_bodies_starve_nobody_and_end_with_a_reason() {
    let body = "POST http://sink.test/ HTTP/1.1\r\nHost: sink.test\r\nContent-Length: 100\r\n\r\n{";
    for (name, limits, first, drip, ends) in [
        (
            "a head a byte at a time",
            "head_timeout: 6s",
            "GET http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\nX: ",
            "a",
            Some((408, "head_timeout")),
        ),
        (
            "a head of one letter",
            "head_timeout: 6s",
            "G",
            "",
            Some((408, "head_timeout")),
        ),
        (
            "a body a byte at a time",
            "head_timeout: 6s",
            body,
            " ",
            None,
        ),
        ("nothing at all", "idle_timeout: 6s", "", "", None),
    ] {
        let airlock = setup(limits);
        let mut clients = slow(&airlock, first.as_bytes());
        eventually("all are inside", || {
            airlock.metric("airlock_connections", &[("entry", "explicit")]) >= CLIENTS as u64
        });
        for _ in 0..10 {
            assert_serves(&airlock);
            assert_eq!(airlock.admin("/healthz").0, 200);
            for client in &mut clients {
                let _ = client.stream.write_all(drip.as_bytes());
            }
        }
        if let Some(ends) = ends {
            for client in &mut clients {
                let (status, code) = said(&client.reply());
                assert_eq!((status, code.as_str()), ends, "{name}");
            }
            eventually("each has its record", || {
                count(&airlock.records(), "reason", ends.1) == CLIENTS
            });
        }
        drop(clients);
        eventually("all are gone", || {
            airlock.metric("airlock_connections", &[("entry", "explicit")]) == 0
        });
        airlock.assert_healthy();
    }
}

#[test]
fn readers_that_do_not_read_hold_back_their_own_answer_alone() {
    let origin = Origin::scripted(|mut guest| {
        while guest.head().is_some() {
            guest.send("HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n");
            let block = vec![0; 1 << 20];
            if (0..64).any(|_| guest.write_all(&block).is_err()) {
                return;
            }
        }
    });
    let port = origin.port();
    let airlock = Setup::rules(format!(
        "{PICTURE}  - name: big\n    hosts: [localhost]\n    ports: [{port}]\n    action: forward\n"
    ))
    .more(format!(
        "upstreams:\n  - name: mine\n    url: http://localhost:{port}\nlimits:\n  upstream_timeout: 4s"
    ))
    .start();
    let request = get("localhost", port);
    let mut clients: Vec<_> = (0..20)
        .map(|_| {
            let mut wire = Wire::to(airlock.ready.explicit);
            wire.send(&request);
            wire
        })
        .collect();
    eventually("all are served", || origin.connections() >= 20);
    for _ in 0..10 {
        assert_serves(&airlock);
    }
    // Who reads is served whole, while twenty beside it do not.
    let reply = Wire::to(airlock.ready.explicit).ask(&request);
    assert_eq!((reply.whole, reply.body.len()), (true, 64 << 20));
    // Who never reads is cut when the time is up.
    eventually("they are cut", || {
        airlock.metric("airlock_connections", &[("entry", "explicit")]) == 0
    });
    let mut rest = Vec::new();
    let _ = clients[0].stream.read_to_end(&mut rest);
    assert!(rest.len() < 64 << 20, "it was sent whole");
}

/// EGRESS 55: overload is refused on every entry, in words where there are any, and lets nothing past.
#[test]
fn a_full_house_refuses_on_every_entry_and_dials_nobody() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let port = origin.port();
    let airlock = Setup {
        listeners: "  transparent_tls: 127.0.0.1:0\n  transparent_http: 127.0.0.1:0\n".into(),
        ..Setup::rules(format!(
            "{PICTURE}  - name: through\n    hosts: [localhost]\n    ports: [{port}]\n    action: forward\n"
        ))
    }
    .more(format!(
        "upstreams:\n  - name: mine\n    url: http://localhost:{port}\nlimits:\n  connections: 4"
    ))
    .start();
    let inside: Vec<_> = (0..4)
        .map(|_| {
            let mut wire = Wire::to(airlock.ready.explicit);
            assert_eq!(wire.ask(super::GET_PICTURE).status, 200);
            wire
        })
        .collect();
    let through = get("localhost", port);
    let tunnel = format!("CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
    let origin_form = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let ready = &airlock.ready;
    for (name, door, request) in [
        ("a forwarded request", ready.explicit, through.as_str()),
        ("a tunnel", ready.explicit, &tunnel),
        ("a base URL", ready.reverse, origin_form),
        (
            "a redirected request",
            ready.transparent_http.unwrap(),
            origin_form,
        ),
    ] {
        let reply = Wire::to(door).ask(request);
        assert_eq!(said(&reply), (503, "overloaded".into()), "{name}");
        assert_eq!(reply.header("retry-after"), Some("1"), "{name}");
    }
    let mut tls = Wire::to(ready.transparent_tls.unwrap());
    tls.send(crate::support::client_hello("localhost"));
    assert!(tls.closed(), "there are no words before a handshake");
    let records = airlock.exactly(4 + 5);
    assert_eq!(count(&records, "reason", "overloaded"), 5);
    assert_eq!(origin.connections(), 0);
    airlock.assert_touched_nothing();
    drop(inside);
    eventually("there is room again", || {
        Wire::to(airlock.ready.explicit).ask(&through).status == 200
    });
}

/// Who shares a network with the control plane may connect to it; its health is seen all the same.
#[test]
fn a_control_plane_full_of_silent_connections_still_answers() {
    let airlock = setup("idle_timeout: 6s");
    let silent: Vec<_> = (0..200)
        .map(|n| {
            let mut wire = Wire::to(airlock.ready.admin);
            let part = if n % 2 == 0 {
                ""
            } else {
                "GET /healthz HTTP/1.1\r\nX: "
            };
            wire.send(part);
            wire
        })
        .collect();
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(airlock.admin(path).0, 200, "{path}");
    }
    // Far fewer than have come.
    eventually("the oldest are cut", || {
        airlock.metric("process_open_fds", &[]) < 120
    });
    drop(silent);
}
