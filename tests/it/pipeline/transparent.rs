//! Redirected TLS and HTTP: the client does not know that we are here.

use super::{PICTURE, assert_refused};
use crate::support::{Airlock, Setup, Wire, client_hello, handshake, trusting};

fn listening() -> Airlock {
    Setup {
        listeners: "  transparent_tls: 127.0.0.1:0\n  transparent_http: 127.0.0.1:0\n".into(),
        ..Setup::rules(PICTURE)
    }
    .more("limits:\n  client_hello_timeout: 300ms")
    .start()
}

#[test]
fn an_intercepted_name_is_answered_over_tls() {
    let airlock = listening();
    let wire = Wire::to(airlock.ready.transparent_tls.unwrap());
    let mut inside = handshake(wire, &trusting(&airlock.ready.ca_bundle), "pic.test").unwrap();
    for _ in 0..2 {
        assert_eq!(
            inside
                .ask("GET / HTTP/1.1\r\nHost: pic.test\r\n\r\n")
                .status,
            200
        );
    }
    let reply = inside.ask("GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n");
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (421, "authority_mismatch")
    );
    let records = airlock.exactly(4);
    assert!(
        records
            .iter()
            .all(|r| r["entry"] == "transparent" && r["authority"] == "pic.test:443")
    );
    assert_eq!(records[0]["action"], "intercept");
}

#[test]
fn what_cannot_be_named_or_is_not_allowed_is_closed_and_recorded() {
    let rows: &[(&str, Vec<u8>, &str)] = &[
        (
            "a name that no rule knows",
            client_hello("evil.test"),
            "no_rule_matched",
        ),
        ("no SNI", client_hello("127.0.0.1"), "sni_missing"),
        (
            "plain HTTP",
            b"GET / HTTP/1.1\r\nHost: pic.test\r\n\r\n".to_vec(),
            "not_tls",
        ),
        (
            "half a ClientHello",
            client_hello("pic.test")[..30].to_vec(),
            "client_hello_timeout",
        ),
        ("nothing", Vec::new(), "client_hello_timeout"),
    ];
    for (name, bytes, reason) in rows {
        let airlock = listening();
        let mut wire = Wire::to(airlock.ready.transparent_tls.unwrap());
        wire.send(bytes);
        assert!(wire.closed(), "{name}: left open, or answered");
        let record = airlock.only_record();
        assert_eq!(
            (&record["action"], &record["reason"]),
            (&"deny".into(), &(*reason).into()),
            "{name}: {record}"
        );
        assert_eq!(
            airlock.metric(
                "airlock_decisions_total",
                &[("reason", reason), ("entry", "transparent")]
            ),
            1,
            "{name}"
        );
        airlock.assert_touched_nothing();
    }
}

#[test]
fn plain_http_goes_by_its_host() {
    let airlock = listening();
    let door = airlock.ready.transparent_http.unwrap();
    let mut wire = Wire::to(door);
    assert_eq!(
        wire.ask("GET /a.png HTTP/1.1\r\nHost: pic.test\r\n\r\n")
            .status,
        200
    );
    // A kept connection may ask another host, which is judged by itself.
    let reply = wire.ask("GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n");
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (403, "no_rule_matched")
    );

    for (name, request, code) in [
        ("no Host", "GET / HTTP/1.0\r\n\r\n", "bad_authority"),
        (
            "absolute form",
            "GET http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\n\r\n",
            "wrong_entry",
        ),
        (
            "CONNECT",
            "CONNECT pic.test:443 HTTP/1.1\r\nHost: pic.test:443\r\n\r\n",
            "wrong_entry",
        ),
    ] {
        let airlock = listening();
        let reply = Wire::to(airlock.ready.transparent_http.unwrap()).ask(request);
        println!("{name}");
        assert_refused(&airlock, &reply, 400, code, 1);
    }
}
