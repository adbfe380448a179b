//! CONNECT, up to the point where a tunnel or an interception begins.

use super::{PICTURE, assert_refused};
use crate::support::{Airlock, Origin, Setup, Wire, client_hello, handshake, trusting};

fn picture() -> Airlock {
    Setup::rules(PICTURE)
        .more("limits:\n  client_hello_timeout: 300ms")
        .start()
}

#[test]
fn what_is_refused_before_the_200_is_said_in_json_and_touches_nothing() {
    let trap = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let port = trap.port();
    let rows: &[(&str, String, u16, &str)] = &[
        (
            "a host that no rule names",
            format!("CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"),
            403,
            "no_rule_matched",
        ),
        (
            "an address that no rule names",
            format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"),
            403,
            "no_rule_matched",
        ),
        (
            "a port that the rule does not name",
            "CONNECT pic.test:22 HTTP/1.1\r\nHost: pic.test:22\r\n\r\n".into(),
            403,
            "host_known_request_not",
        ),
        (
            "a Host that is another",
            "CONNECT pic.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n".into(),
            421,
            "authority_mismatch",
        ),
        (
            "a Host with another port",
            "CONNECT pic.test:443 HTTP/1.1\r\nHost: pic.test:80\r\n\r\n".into(),
            421,
            "authority_mismatch",
        ),
        (
            "HTTP/1.1 without Host",
            "CONNECT pic.test:443 HTTP/1.1\r\n\r\n".into(),
            400,
            "malformed_request",
        ),
        (
            "no port",
            "CONNECT pic.test HTTP/1.1\r\nHost: pic.test\r\n\r\n".into(),
            400,
            "bad_authority",
        ),
        (
            "port 0443",
            "CONNECT pic.test:0443 HTTP/1.1\r\nHost: pic.test\r\n\r\n".into(),
            400,
            "bad_authority",
        ),
        (
            "user information",
            "CONNECT pic.test:443@evil.test:443 HTTP/1.1\r\nHost: pic.test\r\n\r\n".into(),
            400,
            "bad_authority",
        ),
        (
            "absolute form",
            "CONNECT http://pic.test:443/ HTTP/1.1\r\nHost: pic.test\r\n\r\n".into(),
            400,
            "bad_authority",
        ),
        (
            "a lower-case method",
            "connect pic.test:443 HTTP/1.1\r\nHost: pic.test\r\n\r\n".into(),
            400,
            "malformed_request",
        ),
        (
            "two spaces",
            "CONNECT  pic.test:443 HTTP/1.1\r\nHost: pic.test\r\n\r\n".into(),
            400,
            "malformed_request",
        ),
        (
            "a body",
            "CONNECT pic.test:443 HTTP/1.1\r\nHost: pic.test\r\nContent-Length: 3\r\n\r\nabc"
                .into(),
            400,
            "ambiguous_framing",
        ),
    ];
    for (name, request, status, code) in rows {
        let airlock = picture();
        let mut wire = Wire::to(airlock.ready.explicit);
        let reply = wire.ask(request);
        println!("{name}: {} {}", reply.status, reply.text());
        assert!(wire.closed(), "{name}: left open");
        assert_refused(&airlock, &reply, *status, code, 1);
        airlock.assert_touched_nothing();
    }
    assert_eq!(trap.connections(), 0);
}

#[test]
fn a_refusal_names_the_host_and_the_rule_that_would_allow_it() {
    let airlock = picture();
    let reply = Wire::to(airlock.ready.explicit)
        .ask("CONNECT Evil.Test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n");
    let error = &reply.json()["error"];
    assert_eq!(
        (&error["host"], &error["rule"]),
        (&"evil.test".into(), &"none".into())
    );
    assert!(
        error["how_to_allow"]
            .as_str()
            .unwrap()
            .contains("hosts: [evil.test]"),
        "{error}"
    );
    assert_eq!(airlock.only_record()["authority"], "evil.test:443");
}

#[test]
fn what_stands_behind_a_refused_connect_is_not_read_as_a_request() {
    let airlock = picture();
    let mut wire = Wire::to(airlock.ready.explicit);
    wire.send(
        "CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n\
         GET http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\n\r\n",
    );
    assert_eq!(wire.reply().code(), "no_rule_matched");
    assert!(wire.closed());
    airlock.exactly(1);
}

#[test]
fn a_connect_on_the_reverse_port_or_inside_a_tunnel_is_refused() {
    let airlock = picture();
    let reply = Wire::to(airlock.ready.reverse)
        .ask("CONNECT pic.test:443 HTTP/1.1\r\nHost: pic.test:443\r\n\r\n");
    assert_refused(&airlock, &reply, 400, "wrong_entry", 1);

    let trust = trusting(&airlock.ready.ca_bundle);
    let outside = Wire::to(airlock.ready.explicit).connect("pic.test:443");
    let mut inside = handshake(outside, &trust, "pic.test").unwrap();
    let reply = inside.ask("CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n");
    assert_eq!((reply.status, reply.code().as_str()), (400, "wrong_entry"));
    assert!(inside.closed());
    airlock.exactly(3);
    airlock.assert_touched_nothing();
}

#[test]
fn http_1_0_without_a_host_is_enough_for_a_connect() {
    let airlock = picture();
    let mut wire = Wire::to(airlock.ready.explicit);
    wire.send("CONNECT pic.test:443 HTTP/1.0\r\n\r\n");
    assert!(wire.head().unwrap().starts_with(b"HTTP/1.1 200 "));
    let trust = trusting(&airlock.ready.ca_bundle);
    let mut inside = handshake(wire, &trust, "pic.test").unwrap();
    assert_eq!(
        inside
            .ask("GET / HTTP/1.1\r\nHost: pic.test\r\n\r\n")
            .status,
        200
    );
}

/// Python's `http.client` waits for the 200; others do not.
#[test]
fn a_client_hello_in_the_same_segment_as_the_connect_is_taken() {
    let airlock = picture();
    let mut wire = Wire::to(airlock.ready.explicit);
    let mut early = b"CONNECT pic.test:443 HTTP/1.1\r\nHost: pic.test:443\r\n\r\n".to_vec();
    let trust = trusting(&airlock.ready.ca_bundle);
    let name = "pic.test".try_into().unwrap();
    let mut connection = rustls::ClientConnection::new(trust, name).unwrap();
    connection.write_tls(&mut early).unwrap();
    wire.send(early);
    assert!(wire.head().unwrap().starts_with(b"HTTP/1.1 200 "));
    while connection.is_handshaking() {
        connection.complete_io(&mut wire).unwrap();
    }
    let mut inside = Wire::over(rustls::StreamOwned::new(connection, wire));
    assert_eq!(
        inside
            .ask("GET / HTTP/1.1\r\nHost: pic.test\r\n\r\n")
            .status,
        200
    );
}

/// After the 200 only closing is left to say; the record says why.
#[test]
fn what_is_no_client_hello_for_this_host_is_closed_and_recorded() {
    let hello = client_hello("pic.test");
    let rows: &[(&str, Vec<u8>, &str, &str)] = &[
        (
            "an SSH banner",
            b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
            "deny",
            "not_tls",
        ),
        (
            "plain HTTP",
            b"GET / HTTP/1.1\r\nHost: pic.test\r\n\r\n".to_vec(),
            "deny",
            "not_tls",
        ),
        (
            "the preface of HTTP/2",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            "deny",
            "not_tls",
        ),
        (
            "another name in the SNI",
            client_hello("evil.test"),
            "deny",
            "sni_mismatch",
        ),
        (
            "a name below the host in the SNI",
            client_hello("a.pic.test"),
            "deny",
            "sni_mismatch",
        ),
        ("no SNI", client_hello("127.0.0.1"), "deny", "sni_missing"),
        (
            "half a ClientHello and no more",
            hello[..40].to_vec(),
            "deny",
            "client_hello_timeout",
        ),
        (
            "a record of another type first",
            [&[0x15, 3, 1, 0, 2, 1, 0][..], &hello].concat(),
            "deny",
            "not_tls",
        ),
        ("nothing", Vec::new(), "deny", "client_hello_timeout"),
    ];
    for (name, bytes, action, reason) in rows {
        let airlock = picture();
        let mut wire = Wire::to(airlock.ready.explicit).connect("pic.test:443");
        wire.send(bytes);
        assert!(wire.closed(), "{name}: left open, or answered");
        let record = airlock.only_record();
        assert_eq!(
            (&record["action"], &record["reason"]),
            (&(*action).into(), &(*reason).into()),
            "{name}: {record}"
        );
        assert_eq!(record["authority"], "pic.test:443", "{name}");
        assert_eq!(
            airlock.metric("airlock_decisions_total", &[("reason", reason)]),
            1,
            "{name}"
        );
        airlock.assert_touched_nothing();
    }
}

#[test]
fn a_client_hello_byte_by_byte_is_taken() {
    let airlock = Setup::rules(PICTURE).start();
    let mut wire = Wire::to(airlock.ready.explicit).connect("pic.test:443");
    for byte in client_hello("pic.test") {
        wire.send([byte]);
    }
    assert_eq!(wire.exact(1), [0x16], "a ServerHello comes");
}

#[test]
fn a_client_that_leaves_after_the_200_was_not_refused() {
    let airlock = picture();
    drop(Wire::to(airlock.ready.explicit).connect("pic.test:443"));
    let record = airlock.only_record();
    assert_eq!(
        (&record["action"], &record["ended"]),
        (&"intercept".into(), &"client_gone".into()),
        "{record}"
    );
}
