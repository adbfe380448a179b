//! Request heads and framing, good and bad.

use std::{thread, time::Duration};

use super::{PICTURE, assert_refused};
use crate::support::{Airlock, Setup, Wire, client_hello};

fn picture() -> Airlock {
    Setup::rules(PICTURE)
        .more("limits:\n  head_timeout: 300ms\n  body_bytes: 64KiB")
        .start()
}

const GET: &str = "GET http://pic.test/a.png HTTP/1.1\r\nHost: pic.test\r\n\r\n";

#[test]
fn what_could_be_read_two_ways_is_refused_recorded_once_and_the_connection_is_closed() {
    let rows: &[(&str, &[u8], u16, &str)] = &[
        ("both framing headers", b"POST http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "ambiguous_framing"),
        ("two lengths", b"POST http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400, "ambiguous_framing"),
        ("a length with a form feed", b"POST http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\nContent-Length: 3\x0c\r\n\r\nabc", 400, "malformed_request"),
        ("a folded line", b"GET http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\nX: a\r\n b\r\n\r\n", 400, "malformed_request"),
        ("a space before the colon", b"GET http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\nX : a\r\n\r\n", 400, "malformed_request"),
        ("bare line feeds", b"GET http://pic.test/ HTTP/1.1\nHost: pic.test\n\n", 400, "malformed_request"),
        ("one bare line feed", b"GET http://pic.test/ HTTP/1.1\r\nHost: pic.test\nX: y\r\n\r\n", 400, "malformed_request"),
        ("a NUL in a value", b"GET http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\nX: \0\r\n\r\n", 400, "malformed_request"),
        ("a NUL in the target", b"GET http://pic.test/\0 HTTP/1.1\r\nHost: pic.test\r\n\r\n", 400, "malformed_request"),
        ("an 8-bit byte in the host", b"GET http://pic\xff.test/ HTTP/1.1\r\nHost: pic.test\r\n\r\n", 400, "malformed_request"),
        ("no version", b"GET http://pic.test/\r\n\r\n", 400, "malformed_request"),
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "malformed_request"),
        ("an empty line first", b"\r\n\r\nGET http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\n\r\n", 400, "malformed_request"),
        ("no Host", b"GET http://pic.test/ HTTP/1.1\r\n\r\n", 400, "malformed_request"),
        ("two Hosts", b"GET http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\nHost: pic.test\r\n\r\n", 400, "malformed_request"),
        ("a Host that is another", b"GET http://pic.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n", 421, "authority_mismatch"),
        ("user information", b"GET http://pic.test@evil.test/ HTTP/1.1\r\nHost: pic.test\r\n\r\n", 400, "bad_authority"),
        ("origin form on the proxy port", b"GET / HTTP/1.1\r\nHost: pic.test\r\n\r\n", 400, "wrong_entry"),
        ("an encoded slash", b"GET http://pic.test/a%2fb HTTP/1.1\r\nHost: pic.test\r\n\r\n", 400, "malformed_request"),
        ("a climb above the root", b"GET http://pic.test/../x HTTP/1.1\r\nHost: pic.test\r\n\r\n", 400, "malformed_request"),
        ("a quote in the query", b"GET http://pic.test/?q=\"a\" HTTP/1.1\r\nHost: pic.test\r\n\r\n", 400, "malformed_request"),
        ("an unknown expectation", b"GET http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\nExpect: tea\r\n\r\n", 400, "malformed_request"),
        ("an upgrade to h2c", b"GET http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 403, "upgrade_not_allowed"),
        ("an upgrade that Connection does not nominate", b"GET http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\nUpgrade: websocket\r\n\r\n", 400, "malformed_request"),
        ("an upgrade with a body", b"GET http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\nx", 400, "malformed_request"),
        ("an https URL in the clear", b"GET https://pic.test/ HTTP/1.1\r\nHost: pic.test\r\n\r\n", 400, "malformed_request"),
        ("chunks that are none", b"POST http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", 400, "malformed_request"),
    ];
    for (name, bytes, status, code) in rows {
        let airlock = picture();
        let mut wire = Wire::to(airlock.ready.explicit);
        let reply = wire.ask(bytes);
        println!("{name}: {} {}", reply.status, reply.text());
        assert_eq!(reply.header("connection"), Some("close"), "{name}");
        assert!(wire.closed(), "{name}: left open");
        assert_refused(&airlock, &reply, *status, code, 1);
        airlock.assert_touched_nothing();
    }
}

#[test]
fn a_client_hello_on_a_plain_port_is_refused_at_once() {
    let airlock = picture();
    let mut wire = Wire::to(airlock.ready.explicit);
    let reply = wire.ask(client_hello("pic.test"));
    assert!(reply.text().contains("plain HTTP"), "{}", reply.text());
    assert_refused(&airlock, &reply, 400, "malformed_request", 1);
}

#[test]
fn an_oversize_head_is_refused_while_the_client_still_sends() {
    let airlock = picture();
    let mut wire = Wire::to(airlock.ready.explicit);
    let filler = format!("X-Filler: {}\r\n", "a".repeat(1000));
    wire.send("GET http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\n");
    for _ in 0..3000 {
        wire.send(&filler);
    }
    let reply = wire.reply();
    assert_refused(&airlock, &reply, 431, "head_too_large", 1);
}

#[test]
fn a_slow_head_gets_a_timeout_and_a_broken_off_one_a_record() {
    let airlock = picture();
    let mut wire = Wire::to(airlock.ready.explicit);
    wire.send("GET http://pic.test/ HTTP/1.1\r\nHo");
    let reply = wire.reply();
    assert_refused(&airlock, &reply, 408, "head_timeout", 1);

    let mut wire = Wire::to(airlock.ready.explicit);
    wire.send("GET http://pic.test/ HTTP/1.1\r\nHo");
    wire.stream.shutdown(std::net::Shutdown::Write).unwrap();
    let reply = wire.reply();
    assert_refused(&airlock, &reply, 400, "malformed_request", 2);
}

/// The whole body is on its way when the refusal is written: a reset would lose the answer.
#[test]
fn an_oversize_body_is_refused_and_the_client_reads_the_answer_every_time() {
    for (name, framing) in [("declared", true), ("chunked", false)] {
        let airlock = picture();
        for n in 1..=20 {
            let mut wire = Wire::to(airlock.ready.explicit);
            let size = 16 << 20;
            let head = if framing {
                format!("Content-Length: {size}\r\n\r\n")
            } else {
                format!("Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n")
            };
            wire.send(format!(
                "POST http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\n{head}"
            ));
            wire.send(vec![b'a'; size]);
            let reply = wire
                .try_reply(false)
                .unwrap_or_else(|| panic!("{name} {n}: answer lost"));
            assert_eq!(
                (reply.status, reply.code().as_str()),
                (413, "body_too_large"),
                "{name} {n}"
            );
        }
        let records = airlock.exactly(20);
        assert!(
            records.iter().all(|r| r["reason"] == "body_too_large"),
            "{name}"
        );
    }
}

#[test]
fn a_refused_host_says_so_while_the_client_still_sends() {
    let airlock = picture();
    for n in 1..=20 {
        let mut wire = Wire::to(airlock.ready.explicit);
        wire.send(
            "POST http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\nContent-Length: 4194304\r\n\r\n",
        );
        wire.send(vec![b'a'; 4 << 20]);
        let reply = wire
            .try_reply(false)
            .unwrap_or_else(|| panic!("{n}: answer lost"));
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (403, "no_rule_matched")
        );
    }
    airlock.exactly(20);
    airlock.assert_touched_nothing();
}

#[test]
fn a_client_that_expects_100_continue_gets_it_before_it_sends_its_body() {
    let airlock = picture();
    let mut wire = Wire::to(airlock.ready.explicit);
    wire.send("POST http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(wire.head().unwrap(), b"HTTP/1.1 100 Continue\r\n\r\n");
    wire.send("abc");
    assert_eq!(wire.reply().status, 405);

    let mut wire = Wire::to(airlock.ready.explicit);
    wire.send("POST http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    let head = wire.head().unwrap();
    assert!(
        head.starts_with(b"HTTP/1.1 403 "),
        "a refused body is not asked for"
    );
}

#[test]
fn several_requests_on_one_connection_are_answered_and_recorded_one_by_one() {
    let airlock = picture();
    let mut wire = Wire::to(airlock.ready.explicit);
    for n in 1..=5 {
        let reply = wire.ask(GET);
        assert_eq!(
            (reply.status, reply.header("connection")),
            (200, Some("keep-alive")),
            "{n}"
        );
        assert!(reply.text().contains("svg"));
    }
    // An allow, then a refusal on the same connection.
    let reply = wire.ask("GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n");
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (403, "no_rule_matched")
    );
    assert!(wire.closed());
    let records = airlock.exactly(6);
    let ids: std::collections::HashSet<_> = records.iter().map(|r| r["id"].to_string()).collect();
    assert_eq!(ids.len(), 6, "a request has an id of its own");
    assert!(
        records[..5]
            .iter()
            .all(|r| r["action"] == "respond" && r["status"] == 200)
    );
}

#[test]
fn the_request_id_of_an_answer_is_that_of_its_record() {
    let airlock = picture();
    let reply = Wire::to(airlock.ready.explicit).ask(GET);
    let id = reply
        .header("x-airlock-request-id")
        .expect("an answer names its request");
    assert_eq!(airlock.only_record()["id"], id);
    assert_eq!(
        reply.header("x-airlock-decision"),
        Some("respond; rule=picture")
    );
}

#[test]
fn http_1_0_is_answered_and_closed_unless_it_asks_to_be_kept() {
    let airlock = picture();
    let mut wire = Wire::to(airlock.ready.explicit);
    let reply = wire.ask("GET http://pic.test/ HTTP/1.0\r\n\r\n");
    assert_eq!(
        (reply.status, reply.header("connection")),
        (200, Some("close"))
    );
    assert!(wire.closed());
    let mut wire = Wire::to(airlock.ready.explicit);
    for _ in 0..2 {
        let reply = wire.ask("GET http://pic.test/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(
            (reply.status, reply.header("connection")),
            (200, Some("keep-alive"))
        );
    }
}

#[test]
fn a_head_request_gets_the_head_of_the_answer_and_keeps_its_connection() {
    let airlock = picture();
    let mut wire = Wire::to(airlock.ready.explicit);
    for _ in 0..2 {
        let reply = wire.ask("HEAD http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\n\r\n");
        assert_eq!((reply.status, reply.body.len()), (200, 0));
    }
    let reply = wire.ask("HEAD http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n");
    assert_eq!(reply.status, 403);
    assert!(wire.closed(), "a refusal of HEAD has no body");
}

/// The first is answered. The second is answered by its own verdict, or the connection is closed and
/// the client asks again; it is never answered by the verdict on the first.
#[test]
fn a_pipelined_second_request_is_never_answered_by_the_first_ones_verdict() {
    let airlock = picture();
    for second in [
        "GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        GET,
    ] {
        let mut wire = Wire::to(airlock.ready.explicit);
        wire.send(format!("{GET}{second}"));
        assert_eq!(wire.reply().status, 200);
        match wire.try_reply(false) {
            None => {}
            Some(reply) if second == GET => assert_eq!(reply.status, 200),
            Some(reply) => assert_eq!(reply.status, 403),
        }
    }
    airlock.assert_touched_nothing();
    airlock.assert_healthy();
}

/// Bytes behind a request that is refused are not read as a request.
#[test]
fn a_request_behind_a_refused_one_is_not_served() {
    let airlock = picture();
    let mut wire = Wire::to(airlock.ready.explicit);
    wire.send(format!("GET / HTTP/1.1\r\nHost: pic.test\r\n\r\n{GET}"));
    assert_eq!(wire.reply().status, 400);
    assert!(wire.closed());
    airlock.exactly(1);
}

#[test]
fn a_head_in_small_pieces_is_put_together() {
    let airlock = picture();
    let mut wire = Wire::to(airlock.ready.explicit);
    for piece in GET.as_bytes().chunks(7) {
        wire.send(piece);
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(wire.reply().status, 200);
}

#[test]
fn a_connection_over_the_limit_reads_503_and_is_recorded() {
    let airlock = Setup::rules(PICTURE)
        .more("limits:\n  connections: 1")
        .start();
    let mut first = Wire::to(airlock.ready.explicit);
    assert_eq!(first.ask(GET).status, 200);
    for n in 1..=10 {
        let mut wire = Wire::to(airlock.ready.explicit);
        wire.send(GET);
        let reply = wire
            .try_reply(false)
            .unwrap_or_else(|| panic!("{n}: answer lost"));
        assert_eq!((reply.status, reply.code().as_str()), (503, "overloaded"));
    }
    assert_eq!(first.ask(GET).status, 200, "who is inside stays inside");
    let records = airlock.exactly(12);
    assert_eq!(
        records
            .iter()
            .filter(|r| r["reason"] == "overloaded")
            .count(),
        10
    );
}
