//! Bodies whose framing two readers could take in two ways.

use std::sync::mpsc;
use std::time::Duration;

use super::PICTURE;
use crate::support::{Airlock, Origin, Setup, Wire, handshake, trusting};

/// Every body here has a chunked head in front of it.
const BODIES: &[(&str, &[u8], &str)] = &[
    (
        "a chunk extension",
        b"3;a=b\r\nabc\r\n0\r\n\r\n",
        "ambiguous_framing",
    ),
    (
        "an extension of the last chunk",
        b"3\r\nabc\r\n0;a\r\n\r\n",
        "ambiguous_framing",
    ),
    (
        "an extension with a line end",
        b"3;a\nb\r\nabc\r\n0\r\n\r\n",
        "ambiguous_framing",
    ),
    (
        "a bare LF behind the size",
        b"3\nabc\r\n0\r\n\r\n",
        "ambiguous_framing",
    ),
    (
        "a bare CR behind the size",
        b"3\rabc\r\n0\r\n\r\n",
        "ambiguous_framing",
    ),
    (
        "a bare LF behind the last chunk",
        b"3\r\nabc\r\n0\n\r\n",
        "ambiguous_framing",
    ),
    (
        "a bare LF at the end",
        b"3\r\nabc\r\n0\r\n\n",
        "ambiguous_framing",
    ),
    (
        "a size with a plus",
        b"+3\r\nabc\r\n0\r\n\r\n",
        "ambiguous_framing",
    ),
    (
        "a size with a minus",
        b"-3\r\nabc\r\n0\r\n\r\n",
        "ambiguous_framing",
    ),
    (
        "a size with a prefix",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        "ambiguous_framing",
    ),
    (
        "a size with a blank behind it",
        b"3 \r\nabc\r\n0\r\n\r\n",
        "ambiguous_framing",
    ),
    (
        "a size with a tab before it",
        b"\t3\r\nabc\r\n0\r\n\r\n",
        "ambiguous_framing",
    ),
    (
        "a size over 64 bits",
        b"10000000000000003\r\nabc\r\n0\r\n\r\n",
        "ambiguous_framing",
    ),
    (
        "a size of 0 that is not written",
        b"3\r\nabc\r\n\r\n\r\n",
        "ambiguous_framing",
    ),
    (
        "a chunk that is longer than its size",
        b"2\r\nabc\r\n0\r\n\r\n",
        "malformed_request",
    ),
    (
        "a trailer without a colon",
        b"3\r\nabc\r\n0\r\nabc\r\n\r\n",
        "malformed_request",
    ),
    (
        "a folded trailer",
        b"3\r\nabc\r\n0\r\nA: b\r\n c\r\n\r\n",
        "malformed_request",
    ),
    (
        "a NUL in a trailer",
        b"3\r\nabc\r\n0\r\nA: \0\r\n\r\n",
        "malformed_request",
    ),
    ("no chunks at all", b"abc\x01", "malformed_request"),
];

/// A picture, and an upstream that must never see the end of a bad body.
fn before(origin: &Origin) -> Airlock {
    let port = origin.port();
    Setup::rules(format!(
        "{PICTURE}  - name: onward\n    hosts: [localhost]\n    ports: [{port}]\n    action: forward\n"
    ))
    .more(format!(
        "upstreams:\n  - name: mine\n    url: http://localhost:{port}"
    ))
    .start()
}

/// Tells, for each connection, what came behind the head.
fn listener() -> (Origin, mpsc::Receiver<String>) {
    let (tell, told) = mpsc::channel();
    let origin = Origin::scripted(move |mut guest| {
        guest.head();
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(&mut guest, &mut rest);
        let _ = tell.send(String::from_utf8_lossy(&rest).into_owned());
    });
    (origin, told)
}

fn post(authority: &str) -> String {
    format!(
        "POST http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
}

#[test]
fn a_body_with_its_head_is_refused_before_anything_is_dialled() {
    let (origin, _told) = listener();
    let airlock = before(&origin);
    let authority = format!("localhost:{}", origin.port());
    for (n, (name, body, code)) in BODIES.iter().enumerate() {
        let mut wire = Wire::to(airlock.ready.explicit);
        let bytes = [post(&authority).as_bytes(), body].concat();
        let reply = wire.ask(bytes);
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (400, *code),
            "{name}"
        );
        assert!(wire.closed(), "{name}: left open");
        let record = airlock.record(n + 1);
        assert_eq!(
            (&record["action"], &record["reason"]),
            (&"deny".into(), &(*code).into()),
            "{name}: {record}"
        );
    }
    airlock.assert_touched_nothing();
}

#[test]
fn a_body_that_comes_later_is_broken_off_and_never_ended_cleanly_upstream() {
    let (origin, told) = listener();
    let airlock = before(&origin);
    let authority = format!("localhost:{}", origin.port());
    for (n, (name, body, code)) in BODIES.iter().enumerate() {
        let mut wire = Wire::to(airlock.ready.explicit);
        wire.send(post(&authority)).send("1\r\n");
        // The rest of the chunk comes when the head has been judged and sent on.
        crate::support::eventually("the upstream is dialled", || {
            airlock.metric("airlock_upstream_sockets_total", &[("outcome", "ok")]) == n as u64 + 1
        });
        wire.send([b"x\r\n", *body].concat());
        let reply = wire.reply();
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (400, *code),
            "{name}"
        );
        assert!(wire.closed(), "{name}: left open");
        let seen = told
            .recv_timeout(Duration::from_secs(5))
            .unwrap_or_else(|_| panic!("{name}: the upstream is kept waiting"));
        assert!(!seen.ends_with("0\r\n\r\n"), "{name}: {seen:?}");
    }
    airlock.exactly(BODIES.len());
}

#[test]
fn a_body_for_a_stand_in_is_refused_alike_through_every_entry() {
    let airlock = Setup {
        listeners: "  transparent_http: 127.0.0.1:0\n".into(),
        ..Setup::rules(format!(
            "{PICTURE}  - name: base\n    hosts: [copilot.test]\n    respond: image\n"
        ))
    }
    .start();
    let trust = trusting(&airlock.ready.ca_bundle);
    for (name, body, code) in BODIES {
        let explicit = [post("pic.test").as_bytes(), body].concat();
        let origin_form = [
            b"POST / HTTP/1.1\r\nHost: pic.test\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice(),
            body,
        ]
        .concat();
        let outside = Wire::to(airlock.ready.explicit).connect("pic.test:443");
        let mut inside = handshake(outside, &trust, "pic.test").unwrap();
        for (entry, reply) in [
            ("explicit", Wire::to(airlock.ready.explicit).ask(&explicit)),
            ("intercepted", inside.ask(&origin_form)),
            (
                "transparent",
                Wire::to(airlock.ready.transparent_http.unwrap()).ask(&origin_form),
            ),
        ] {
            assert_eq!(
                (reply.status, reply.code().as_str()),
                (400, *code),
                "{name}, {entry}"
            );
        }
    }
    airlock.assert_touched_nothing();
    airlock.assert_healthy();
}

#[test]
fn good_chunks_are_taken_however_they_are_cut() {
    let origin = Origin::scripted(|mut guest| {
        while guest.head().is_some() {
            let mut body = Vec::new();
            loop {
                let size = usize::from_str_radix(&guest.line().unwrap(), 16).unwrap();
                body.extend(guest.exact(size));
                assert_eq!(guest.line().as_deref(), Some(""));
                if size == 0 {
                    break;
                }
            }
            guest.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                body.len()
            ));
            guest.send(body);
        }
    });
    let airlock = before(&origin);
    let authority = format!("localhost:{}", origin.port());
    let body = b"3\r\nabc\r\n00A\r\n0123456789\r\n4\r\n\r\n\r\n\r\n0\r\nHost: evil.test\r\nX-Airlock-Decision: x\r\n\r\n";
    for size in [1, 2, 3, 5, 7, body.len()] {
        let mut wire = Wire::to(airlock.ready.explicit);
        wire.send(post(&authority));
        for piece in body.chunks(size) {
            wire.send(piece);
        }
        assert_eq!(
            wire.reply().text(),
            "abc0123456789\r\n\r\n",
            "pieces of {size}"
        );
    }
}
