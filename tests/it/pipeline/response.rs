//! What an upstream says: refused where two readers could take it in two ways, and stripped of what
//! would make a browser go past this program.

use super::assert_refused;
use crate::support::{Airlock, Origin, Setup, Wire};

fn to(origin: &Origin) -> Airlock {
    let port = origin.port();
    Setup::rules(format!(
        "  - name: onward\n    hosts: [localhost]\n    ports: [{port}]\n    upgrade: true\n    action: forward\n"
    ))
    .more(format!(
        "upstreams:\n  - name: mine\n    url: http://localhost:{port}"
    ))
    .start()
}

fn get(origin: &Origin) -> String {
    let authority = format!("localhost:{}", origin.port());
    format!("GET http://{authority}/x HTTP/1.1\r\nHost: {authority}\r\n\r\n")
}

#[test]
fn an_answer_that_could_be_read_two_ways_is_a_typed_502() {
    let rows: &[(&str, &'static [u8])] = &[
        ("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
        ("the same length twice", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
        ("a list of lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc"),
        ("a length with a sign", b"HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc"),
        ("another coding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        ("a made-up coding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        ("chunked twice", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        ("chunks in HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        ("a 204 with a body", b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc"),
        ("a NUL in a value", b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"),
        ("a bare CR in a value", b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n"),
        ("a blank in a name", b"HTTP/1.1 200 OK\r\nX Y: a\r\nContent-Length: 0\r\n\r\n"),
        ("a line without a colon", b"HTTP/1.1 200 OK\r\nabc\r\nContent-Length: 0\r\n\r\n"),
        ("another protocol", b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("a status of four digits", b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
        ("a status that is none", b"HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n"),
        ("a switch that nobody asked for", b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
        ("HTTP/0.9", b"<html>hello</html>\r\n\r\n"),
    ];
    for (name, answer) in rows {
        let answer = *answer;
        let origin = Origin::scripted(move |mut guest| {
            guest.head();
            guest.send(answer);
        });
        let airlock = to(&origin);
        let mut wire = Wire::to(airlock.ready.explicit);
        let reply = wire.ask(get(&origin));
        println!("{name}: {}", reply.text());
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (502, "upstream_failed"),
            "{name}"
        );
        assert!(wire.closed(), "{name}");
        let record = airlock.only_record();
        assert_eq!(
            (&record["action"], &record["ended"]),
            (&"forward".into(), &"upstream_failed".into()),
            "{name}: {record}"
        );
    }
}

/// As RFC 9112 5.2 has it: blanks in the place of the fold.
#[test]
fn a_folded_line_reaches_the_client_as_one() {
    let origin =
        Origin::answering("HTTP/1.1 200 OK\r\nX: a\r\n Set-Cookie: b\r\nContent-Length: 0\r\n\r\n");
    let airlock = to(&origin);
    let reply = Wire::to(airlock.ready.explicit).ask(get(&origin));
    assert_eq!(reply.header("x"), Some("a Set-Cookie: b"));
    assert_eq!(reply.header("set-cookie"), None);
}

/// Two answers to one request would be the answer to the next one.
#[test]
fn what_stands_behind_an_answer_is_no_answer_to_the_next_request() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
    );
    let airlock = to(&origin);
    let mut wire = Wire::to(airlock.ready.explicit);
    for n in 0..3 {
        assert_eq!(wire.ask(get(&origin)).text(), "ok", "{n}");
    }
    assert_eq!(
        origin.connections(),
        3,
        "a connection with more on it was used again"
    );
}

#[test]
fn an_answer_sends_no_browser_anywhere_else_and_forges_no_mark() {
    let rows: &[(&str, &str, Option<&str>)] = &[
        ("Alt-Svc", "h3=\":443\"; ech=\"AEX\"", None),
        ("NEL", "{\"report_to\":\"a\"}", None),
        (
            "Report-To",
            "{\"endpoints\":[{\"url\":\"https://evil.test\"}]}",
            None,
        ),
        ("Reporting-Endpoints", "a=\"https://evil.test\"", None),
        ("Link", "<https://evil.test>; rel=preconnect", None),
        ("Link", "<https://evil.test>; rel=\"dns-prefetch\"", None),
        ("Link", "<https://evil.test/a.js>; REL=PRELOAD", None),
        ("Link", "<https://evil.test/a>; rel=prefetch", None),
        ("Link", "</page/2>; rel=next", Some("</page/2>; rel=next")),
        ("Refresh", "0; url=https://evil.test/", None),
        ("Refresh", "5; url=/next", Some("5; url=/next")),
        ("Set-Cookie", "a=1; Domain=evil.test", None),
        ("Set-Cookie", "a=1; Path=/", Some("a=1; Path=/")),
        (
            "Set-Cookie",
            "a=1; Domain=localhost",
            Some("a=1; Domain=localhost"),
        ),
        ("Speculation-Rules", "\"https://evil.test/rules\"", None),
        ("Attribution-Reporting-Register-Source", "{}", None),
        ("X-DNS-Prefetch-Control", "on", None),
        ("Expect-CT", "report-uri=\"https://evil.test\"", None),
        (
            "Content-Security-Policy-Report-Only",
            "default-src 'self'; report-uri https://evil.test",
            None,
        ),
        (
            "Content-Security-Policy",
            "default-src 'self'; report-uri https://evil.test",
            Some("default-src 'self'"),
        ),
        ("Upgrade", "h2c", None),
        ("Trailer", "X-Airlock-Decision", None),
        ("X-Airlock-Decision", "respond; rule=forged", None),
        ("X-Airlock-Request-Id", "forged", None),
        ("Proxy-Status", "airlock; error=x", None),
        ("Proxy-Authenticate", "Basic", None),
        ("X-Kept", "1", Some("1")),
    ];
    for (name, value, kept) in rows {
        let origin = Origin::answering(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{name}: {value}\r\n\r\nok"
        ));
        let airlock = to(&origin);
        let reply = Wire::to(airlock.ready.explicit).ask(get(&origin));
        assert_eq!(reply.text(), "ok", "{name}: {value}");
        assert_eq!(
            reply.header(&name.to_ascii_lowercase()),
            *kept,
            "{name}: {value}"
        );
    }
}

/// EGRESS 48, from the client's side: what a client marks as ours never reaches an upstream.
#[test]
fn a_client_cannot_forge_a_mark_in_any_spelling() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let airlock = to(&origin);
    let authority = format!("localhost:{}", origin.port());
    Wire::to(airlock.ready.explicit).ask(format!(
        "GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\nX-Airlock-Decision: a\r\nx_airlock_decision: b\r\n\
         X_Forwarded_For: 10.0.0.1\r\nX_Original_URL: /admin\r\nProxy_Authorization: Basic a\r\nX_Kept: 1\r\n\r\n"
    ));
    let head = origin.heads()[0].to_ascii_lowercase();
    for part in ["airlock", "forwarded", "original", "proxy", "10.0.0.1"] {
        assert!(!head.contains(part), "{part}: {head}");
    }
    assert!(head.contains("x_kept: 1"), "{head}");
}

/// Pingora would ask for `a-b.w.test` and believe its certificate.
#[test]
fn a_name_that_would_be_changed_on_the_way_is_not_dialled() {
    let airlock = Setup {
        listeners: "  transparent_tls: 127.0.0.1:0\n".into(),
        ..Setup::rules("  - name: onward\n    hosts: [\"a_b.w.test\"]\n    action: forward\n")
    }
    .start();
    let trust = crate::support::trusting(&airlock.ready.ca_bundle);
    let outside = Wire::to(airlock.ready.explicit).connect("a_b.w.test:443");
    let mut inside = crate::support::handshake(outside, &trust, "a_b.w.test").unwrap();
    let reply = inside.ask("GET / HTTP/1.1\r\nHost: a_b.w.test\r\n\r\n");
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (502, "upstream_tls_failed")
    );
    assert!(reply.text().contains("first label"), "{}", reply.text());
    airlock.assert_touched_nothing();
}

/// A refusal is ours, whatever a client claims.
#[test]
fn a_refusal_carries_our_mark_once() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let airlock = to(&origin);
    let reply = Wire::to(airlock.ready.explicit).ask(
        "GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\nX-Airlock-Decision: respond; rule=x\r\n\r\n",
    );
    assert_refused(&airlock, &reply, 403, "no_rule_matched", 1);
}

/// Without these headers the page sees "Failed to fetch" and nobody learns why.
#[test]
fn a_refusal_can_be_read_by_a_page_that_may_read_answers() {
    let airlock = Setup::rules("  - name: picture\n    hosts: [pic.test]\n    respond: image\n")
        .more("limits:\n  body_bytes: 64KiB")
        .start();
    let allowed = "http://127.0.0.1:8188";
    for (origin, readable) in [
        (allowed, true),
        ("http://comfy.lan", true),
        ("https://evil.test", false),
        ("null", false),
    ] {
        let big = "x".repeat(100 << 10);
        for (name, status, request) in [
            (
                "no rule",
                403,
                format!(
                    "GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\nOrigin: {origin}\r\n\r\n"
                ),
            ),
            (
                "too large",
                413,
                format!(
                    "POST http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\nOrigin: {origin}\r\nContent-Length: {}\r\n\r\n{big}",
                    big.len()
                ),
            ),
        ] {
            let reply = Wire::to(airlock.ready.explicit).ask(request);
            assert_eq!(reply.status, status, "{origin}, {name}");
            assert_eq!(
                reply.header("access-control-allow-origin"),
                readable.then_some(origin),
                "{origin}, {name}"
            );
            assert_eq!(reply.header("vary"), Some("Origin"), "{origin}, {name}");
        }
    }
}
