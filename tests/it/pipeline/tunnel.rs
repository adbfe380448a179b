//! Undecrypted tunnels: what passes, what is counted, and what is never dialled.

use std::{fs, net::Shutdown, thread, time::Duration};

use super::assert_refused;
use crate::support::{Airlock, Guest, Identity, Origin, Setup, Wire, handshake, shown, trusting};

/// A tunnel to `localhost:port`, whose loopback address is opened by naming it as an upstream.
fn to(port: u16) -> Airlock {
    Setup::rules(rule(port))
        .more(format!(
            "upstreams:\n  - name: mine\n    url: https://localhost:{port}"
        ))
        .start()
}

fn rule(port: u16) -> String {
    format!("  - name: through\n    hosts: [localhost]\n    ports: [{port}]\n    action: tunnel\n")
}

/// Sends back every line that it gets.
fn echo(mut guest: Guest) {
    while let Some(line) = guest.line() {
        guest.send(format!("{line}\r\n"));
    }
}

#[test]
fn the_client_sees_the_servers_own_certificate_and_the_bytes_are_counted() {
    let identity = Identity::of(&["localhost"]);
    let origin = Origin::scripted_tls(identity.server.clone(), echo);
    let airlock = to(origin.port());
    let ca = airlock.scratch.path().join("ca.pem");
    fs::write(&ca, &identity.ca_pem).unwrap();

    let outside = Wire::to(airlock.ready.explicit).connect(&format!("localhost:{}", origin.port()));
    let mut inside = handshake(outside, &trusting(&ca), "localhost").unwrap();
    assert_eq!(
        shown(&inside),
        identity.certificate,
        "the tunnel was decrypted"
    );
    inside.send("hello\r\n");
    assert_eq!(inside.line().as_deref(), Some("hello"));
    inside.stream.conn.send_close_notify();
    inside.send("");
    drop(inside);

    let record = airlock.only_record();
    assert_eq!(
        (&record["kind"], &record["action"]),
        (&"connection".into(), &"tunnel".into())
    );
    assert_eq!(
        (&record["rule"], &record["status"]),
        (&"through".into(), &200.into())
    );
    assert_eq!(record["upstream"], origin.address.to_string());
    let (sent, received) = (
        record["bytes_in"].as_u64().unwrap(),
        record["bytes_out"].as_u64().unwrap(),
    );
    assert!(
        sent > 200 && received > 300,
        "handshakes are larger: {record}"
    );
    assert_eq!(record["left_machine_bytes"], 0, "loopback is this machine");
    let counted = |direction| {
        airlock.metric(
            "airlock_bytes_total",
            &[("direction", direction), ("destination", "through")],
        )
    };
    assert_eq!((counted("sent"), counted("received")), (sent, received));
    assert_eq!(
        airlock.metric("airlock_upstream_sockets_total", &[("outcome", "ok")]),
        1
    );
    assert_eq!(
        airlock.metric("airlock_leaf_cache_total", &[]),
        0,
        "no certificate was minted"
    );
}

#[test]
fn twenty_mebibytes_pass_both_ways() {
    const SIZE: usize = 20 << 20;
    let identity = Identity::of(&["localhost"]);
    let origin = Origin::scripted_tls(identity.server.clone(), |mut guest| {
        let got = guest.exact(SIZE);
        guest.send(got);
    });
    let airlock = to(origin.port());
    let ca = airlock.scratch.path().join("ca.pem");
    fs::write(&ca, &identity.ca_pem).unwrap();
    let outside = Wire::to(airlock.ready.explicit).connect(&format!("localhost:{}", origin.port()));
    let mut inside = handshake(outside, &trusting(&ca), "localhost").unwrap();
    let sent: Vec<u8> = (0..SIZE).map(|n| (n % 251) as u8).collect();
    inside.send(&sent);
    assert!(inside.exact(SIZE) == sent, "bytes differ");
    drop(inside);
    let record = airlock.only_record();
    assert!(
        record["bytes_in"].as_u64().unwrap() > SIZE as u64,
        "{record}"
    );
    assert!(
        record["bytes_out"].as_u64().unwrap() > SIZE as u64,
        "{record}"
    );
}

#[test]
fn one_side_may_end_before_the_other() {
    // Any bytes behind a ClientHello: the tunnel does not look at them.
    let origin = Origin::scripted(|mut guest| {
        let hello = guest.exact(client_hello_length());
        assert_eq!(hello[0], 0x16);
        while guest.line().is_some() {}
        thread::sleep(Duration::from_millis(100));
        guest.send("late");
    });
    let airlock = to(origin.port());
    let mut wire =
        Wire::to(airlock.ready.explicit).connect(&format!("localhost:{}", origin.port()));
    wire.send(crate::support::client_hello("localhost"));
    wire.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(wire.exact(4), b"late");
    drop(wire);
    assert!(airlock.only_record().get("ended").is_none());
}

fn client_hello_length() -> usize {
    crate::support::client_hello("localhost").len()
}

#[test]
fn a_private_address_that_is_not_named_as_an_upstream_is_never_dialled() {
    let trap = Origin::scripted(echo);
    let airlock = Setup::rules(rule(trap.port())).start();
    let authority = format!("localhost:{}", trap.port());
    let mut wire = Wire::to(airlock.ready.explicit);
    let reply = wire.ask(format!(
        "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"
    ));
    assert_refused(&airlock, &reply, 403, "address_closed", 1);
    assert!(wire.closed());
    assert_eq!(trap.connections(), 0);
    assert_eq!(airlock.metric("airlock_upstream_sockets_total", &[]), 0);
}

#[test]
fn a_tunnel_back_into_airlock_is_refused() {
    let setup = |ports: &[u16]| {
        let rules: String = ports
            .iter()
            .map(|port| rule(*port).replace("through", &format!("through-{port}")))
            .collect();
        let upstreams: String = ports
            .iter()
            .map(|port| format!("  - name: u{port}\n    url: https://localhost:{port}\n"))
            .collect();
        Setup {
            listeners: "  transparent_http: 127.0.0.1:0\n".into(),
            ..Setup::rules(rules)
        }
        .more(match ports {
            [] => String::new(),
            _ => format!("upstreams:\n{upstreams}"),
        })
    };
    // Ports are known once it runs, and are allowed then: a port that was free a moment ago may be
    // somebody else's by the time it is bound.
    let airlock = setup(&[]).start();
    let ready = &airlock.ready;
    let own = [
        ready.explicit,
        ready.reverse,
        ready.admin,
        ready.transparent_http.unwrap(),
    ]
    .map(|address| address.port());
    airlock.rewrite(&setup(&own));
    let out = airlock.command(&["reload", "--json"]);
    assert_eq!(out.0, 0, "{out:?}");
    for (n, port) in (1u64..).zip(own) {
        let authority = format!("localhost:{port}");
        let reply = Wire::to(ready.explicit).ask(format!(
            "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"
        ));
        assert_eq!((reply.status, reply.code().as_str()), (403, "own_listener"));
        let counted = airlock.metric("airlock_decisions_total", &[("reason", "own_listener")]);
        assert_eq!(counted, n, "{authority}");
    }
    for record in airlock.exactly(own.len()) {
        assert_eq!(
            (&record["action"], &record["reason"]),
            (&"deny".into(), &"own_listener".into()),
            "{record}"
        );
    }
    assert_eq!(airlock.metric("airlock_upstream_sockets_total", &[]), 0);
}

#[test]
fn an_upstream_that_refuses_ends_the_tunnel_with_its_reason_on_record() {
    let airlock = to(1);
    let mut wire = Wire::to(airlock.ready.explicit).connect("localhost:1");
    wire.send(crate::support::client_hello("localhost"));
    assert!(wire.closed());
    let record = airlock.only_record();
    assert_eq!(
        (&record["action"], &record["ended"]),
        (&"tunnel".into(), &"connect_failed".into()),
        "{record}"
    );
    assert_eq!(record["status"], 502, "{record}");
}
