//! Which headers cross, in both directions.

use crate::support::{Airlock, Origin, Setup, Wire};

fn to(port: u16) -> Airlock {
    Setup::rules(format!(
        "  - name: onward\n    hosts: [localhost]\n    ports: [{port}]\n    action: forward\n"
    ))
    .more(format!(
        "upstreams:\n  - name: mine\n    url: http://localhost:{port}"
    ))
    .start()
}

/// The head that the upstream saw, in lower case, for a request with these header lines.
fn seen(more: &str) -> String {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let airlock = to(origin.port());
    let authority = format!("localhost:{}", origin.port());
    let reply = Wire::to(airlock.ready.explicit).ask(format!(
        "GET http://{authority}/x HTTP/1.1\r\nHost: {authority}\r\n{more}\r\n"
    ));
    assert_eq!(reply.status, 200, "{}", reply.text());
    origin.heads()[0].to_ascii_lowercase()
}

#[test]
fn what_is_meant_for_us_or_would_steer_the_next_hop_is_not_sent_on() {
    for line in [
        "X-Airlock-Decision: allow",
        "X-Airlock-Anything: 1",
        "Proxy-Authorization: Basic c2VjcmV0",
        "Proxy-Connection: keep-alive",
        "X-Forwarded-For: 10.0.0.1",
        "X-Forwarded-Host: evil.test",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Port: 443",
        "Forwarded: for=10.0.0.1",
        "X-Forwarded: evil.test",
        "X-Host: evil.test",
        "X_Host: evil.test",
        "X-HTTP-Host-Override: evil.test",
        "Via: 1.1 elsewhere",
        "X-Real-IP: 10.0.0.1",
        "X-Original-URL: /admin",
        "X-Rewrite-URL: /admin",
        "X-HTTP-Method-Override: DELETE",
        "X-HTTP-Method: DELETE",
        "X-Method-Override: DELETE",
        "Keep-Alive: timeout=5",
        "TE: trailers",
        "Trailer: X",
        "HTTP2-Settings: AAMAAABk",
    ] {
        let name = line.split(':').next().unwrap().to_ascii_lowercase();
        let head = seen(&format!("{line}\r\n"));
        assert!(
            !head.contains(&format!("\r\n{name}:")),
            "{line} was sent on: {head}"
        );
    }
}

#[test]
fn what_connection_names_ends_here_and_what_frames_and_routes_does_not() {
    let head =
        seen("X-Foo: 1\r\nX-Bar: 2\r\nAuthorization: Bearer a\r\nConnection: close, x-foo\r\n");
    assert!(!head.contains("x-foo"), "{head}");
    assert!(!head.contains("\r\nconnection: close"), "{head}");
    assert!(
        head.contains("x-bar: 2") && head.contains("authorization: bearer a"),
        "{head}"
    );
    assert!(head.contains("\r\nhost: localhost:"), "{head}");
    assert_eq!(head.matches("\r\nhost:").count(), 1, "{head}");
}

/// CVE-2026-105299: what frames and routes a request cannot be made to end here.
#[test]
fn connection_cannot_take_away_what_frames_and_routes() {
    for (name, taken) in [
        ("Host", false),
        ("x y", false),
        ("Content-Length", true),
        ("Transfer-Encoding", true),
    ] {
        let origin = Origin::scripted(|mut guest| {
            let head = String::from_utf8(guest.head().unwrap())
                .unwrap()
                .to_ascii_lowercase();
            let body = if head.contains("\r\ncontent-length: 3\r\n") {
                guest.exact(3)
            } else {
                assert!(
                    head.contains("\r\ntransfer-encoding: chunked\r\n"),
                    "{head}"
                );
                assert_eq!(guest.exact(13), b"3\r\nabc\r\n0\r\n\r\n");
                b"abc".to_vec()
            };
            guest
                .send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
                .send(body);
        });
        let airlock = to(origin.port());
        let authority = format!("localhost:{}", origin.port());
        let reply = Wire::to(airlock.ready.explicit).ask(format!(
            "POST http://{authority}/x HTTP/1.1\r\nHost: {authority}\r\nConnection: {name}\r\nContent-Length: 3\r\n\r\nabc"
        ));
        if taken {
            assert_eq!(
                (reply.status, reply.text().as_str()),
                (200, "abc"),
                "{name}"
            );
        } else {
            assert_eq!(
                (reply.status, reply.code().as_str()),
                (400, "malformed_request"),
                "{name}"
            );
        }
        airlock.exactly(1);
    }
}

#[test]
fn the_rest_goes_as_it_came() {
    let head = seen(
        "Accept: */*\r\nUser-Agent: AsyncOpenAI/Python 1.99\r\nX-Stainless-Read-Timeout: 600\r\nCookie: a=1; b=2\r\nAccept-Encoding: gzip\r\n",
    );
    for line in [
        "get /x http/1.1",
        "accept: */*",
        "user-agent: asyncopenai/python 1.99",
        "x-stainless-read-timeout: 600",
        "cookie: a=1; b=2",
        "accept-encoding: gzip",
    ] {
        assert!(head.contains(line), "{line} is missing: {head}");
    }
}

#[test]
fn an_answer_opens_no_other_door_and_forges_no_mark() {
    let origin = Origin::answering(concat!(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
        "Alt-Svc: h3=\":443\"\r\nNEL: {}\r\nReport-To: {}\r\nReporting-Endpoints: a=\"https://evil.test\"\r\n",
        "Link: <https://evil.test>; rel=preconnect\r\nProxy-Authenticate: Basic\r\nProxy-Status: airlock; error=x\r\n",
        "X-Airlock-Decision: respond; rule=forged\r\nX-Airlock-Request-Id: forged\r\n",
        "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-Kept: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n",
    ));
    let airlock = to(origin.port());
    let authority = format!("localhost:{}", origin.port());
    let reply = Wire::to(airlock.ready.explicit).ask(format!(
        "GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\n\r\n"
    ));
    let mut names: Vec<_> = reply.headers.iter().map(|(n, _)| n.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "connection",
            "content-length",
            "date",
            "set-cookie",
            "set-cookie",
            "x-kept"
        ],
        "{:?}",
        reply.headers
    );
    assert_eq!(reply.header("connection"), Some("keep-alive"));
}

#[test]
fn an_early_hint_opens_no_door_either() {
    let origin = Origin::answering(concat!(
        "HTTP/1.1 103 Early Hints\r\nLink: <https://evil.test>; rel=preconnect\r\nX-Airlock-Decision: forged\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ));
    let airlock = to(origin.port());
    let authority = format!("localhost:{}", origin.port());
    let mut wire = Wire::to(airlock.ready.explicit);
    wire.send(format!(
        "GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\n\r\n"
    ));
    loop {
        let head = String::from_utf8(wire.head().unwrap())
            .unwrap()
            .to_ascii_lowercase();
        assert!(
            !head.contains("evil.test") && !head.contains("forged"),
            "{head}"
        );
        if head.starts_with("http/1.1 200") {
            break;
        }
    }
}

/// The audit log holds paths, never queries, headers or bodies.
#[test]
fn no_secret_of_a_request_reaches_the_audit_log_or_the_process_log() {
    let origin =
        Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: s=secret-4\r\n\r\n");
    let airlock = to(origin.port());
    let authority = format!("localhost:{}", origin.port());
    for host in [authority.as_str(), "evil.test"] {
        Wire::to(airlock.ready.explicit).ask(format!(
            "GET http://{host}/p?key=secret-1 HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer secret-2\r\nCookie: secret-3\r\n\r\n"
        ));
    }
    Wire::to(airlock.ready.explicit)
        .ask("GET http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\nX secret-5\r\n\r\n");
    airlock.exactly(3);
    let audit = std::fs::read_to_string(airlock.state().join("audit.jsonl")).unwrap();
    assert!(!audit.contains("secret-"), "{audit}");
    assert!(
        !airlock.process.stderr().contains("secret-"),
        "{}",
        airlock.process.stderr()
    );
}
