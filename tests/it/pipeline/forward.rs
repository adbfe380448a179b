//! Forwarded requests: bodies both ways, and every way an upstream can fail.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::support::{Airlock, Guest, Origin, Setup, Wire};

/// By the proxy port, in plain HTTP, to `localhost:port`.
fn to(port: u16) -> Airlock {
    Setup::rules(format!(
        "  - name: onward\n    hosts: [localhost]\n    ports: [{port}]\n    action: forward\n"
    ))
    .more(format!(
        "upstreams:\n  - name: mine\n    url: http://localhost:{port}"
    ))
    .start()
}

fn request(method: &str, origin: &Origin, more: &str) -> String {
    let authority = format!("localhost:{}", origin.port());
    format!("{method} http://{authority}/x HTTP/1.1\r\nHost: {authority}\r\n{more}\r\n")
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n % 251) as u8).collect()
}

const BIG: usize = 20 << 20;

#[test]
fn a_large_answer_comes_whole_by_length_by_chunks_and_by_close() {
    for (framing, chunked) in [
        ("Content-Length: 20971520", false),
        ("Transfer-Encoding: chunked", true),
        ("Connection: close", false),
    ] {
        let origin = Origin::scripted(move |mut guest| {
            guest.head();
            guest.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n"));
            for piece in pattern(BIG).chunks(100_000) {
                if chunked {
                    guest.send(format!("{:x}\r\n", piece.len()));
                }
                guest.send(piece);
                if chunked {
                    guest.send("\r\n");
                }
            }
            if chunked {
                guest.send("0\r\n\r\n");
            }
        });
        let airlock = to(origin.port());
        let reply = Wire::to(airlock.ready.explicit).ask(request("GET", &origin, ""));
        assert!(
            reply.whole && reply.body == pattern(BIG),
            "{framing}: {} bytes",
            reply.body.len()
        );
        let record = airlock.only_record();
        assert_eq!(record["bytes_out"], BIG, "{framing}");
        assert!(record.get("ended").is_none(), "{framing}: {record}");
    }
}

#[test]
fn a_large_request_body_arrives_whole_by_length_and_by_chunks() {
    for chunked in [false, true] {
        let origin = Origin::scripted(move |mut guest| {
            let head = String::from_utf8(guest.head().unwrap())
                .unwrap()
                .to_lowercase();
            assert_eq!(
                head.contains("transfer-encoding: chunked"),
                chunked,
                "{head}"
            );
            let body = if chunked {
                read_chunks(&mut guest)
            } else {
                guest.exact(BIG)
            };
            let ok = body == pattern(BIG);
            guest.send(format!(
                "HTTP/1.1 {} X\r\nContent-Length: 0\r\n\r\n",
                if ok { 200 } else { 400 }
            ));
        });
        let airlock = to(origin.port());
        let mut wire = Wire::to(airlock.ready.explicit);
        if chunked {
            wire.send(request("POST", &origin, "Transfer-Encoding: chunked\r\n"));
            for piece in pattern(BIG).chunks(77_777) {
                wire.send(format!("{:x}\r\n", piece.len()))
                    .send(piece)
                    .send("\r\n");
            }
            wire.send("0\r\n\r\n");
        } else {
            wire.send(request("POST", &origin, "Content-Length: 20971520\r\n"));
            wire.send(pattern(BIG));
        }
        assert_eq!(wire.reply().status, 200, "chunked {chunked}");
        assert_eq!(airlock.only_record()["bytes_in"], BIG);
    }
}

fn read_chunks(guest: &mut Guest) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let size = usize::from_str_radix(&guest.line().unwrap(), 16).unwrap();
        body.extend(guest.exact(size));
        assert_eq!(guest.line().as_deref(), Some(""));
        if size == 0 {
            return body;
        }
    }
}

#[test]
fn an_answer_is_passed_on_as_it_comes() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::scripted(move |mut guest| {
        guest.head();
        guest.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for n in 0..3 {
            guest.send(format!("9\r\ndata: {n}\n\n\r\n"));
            // The next event is not even written before the client has this one.
            wait.lock()
                .unwrap()
                .recv_timeout(Duration::from_secs(5))
                .unwrap();
        }
        guest.send("0\r\n\r\n");
    });
    let airlock = to(origin.port());
    let mut wire = Wire::to(airlock.ready.explicit);
    wire.send(request("GET", &origin, ""));
    wire.head().unwrap();
    for n in 0..3 {
        assert_eq!(wire.line().as_deref(), Some("9"));
        assert_eq!(wire.exact(11), format!("data: {n}\n\n\r\n").as_bytes());
        go.send(()).unwrap();
    }
    assert_eq!(wire.line().as_deref(), Some("0"));
}

#[test]
fn bodiless_answers_leave_the_connection_usable() {
    let origin = Origin::scripted(|mut guest| {
        while let Some(head) = guest.head() {
            let head = String::from_utf8(head).unwrap();
            guest.send(if head.starts_with("HEAD ") {
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
            } else if head.starts_with("DELETE ") {
                "HTTP/1.1 204 No Content\r\n\r\n"
            } else if head.starts_with("PUT ") {
                "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n"
            } else {
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
            });
        }
    });
    let airlock = to(origin.port());
    let mut wire = Wire::to(airlock.ready.explicit);
    for (method, status, length) in [
        ("HEAD", 200, Some("5")),
        ("DELETE", 204, None),
        ("PUT", 304, None),
        ("GET", 200, Some("5")),
    ] {
        let reply = wire.ask(request(method, &origin, ""));
        assert_eq!(
            (reply.status, reply.header("content-length")),
            (status, length),
            "{method}"
        );
        assert_eq!(reply.header("connection"), Some("keep-alive"), "{method}");
    }
    assert_eq!(origin.connections(), 1);
}

/// A client must never take half an answer for a whole one.
#[test]
fn an_upstream_that_dies_in_its_body_breaks_the_clients_body() {
    for framing in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let origin = Origin::scripted(move |mut guest| {
            guest.head();
            let chunk = if framing.starts_with('T') {
                "5\r\nhello\r\n"
            } else {
                "hello"
            };
            guest.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{chunk}"));
            thread::sleep(Duration::from_millis(100));
        });
        let airlock = to(origin.port());
        let mut wire = Wire::to(airlock.ready.explicit);
        let reply = wire.ask(request("GET", &origin, ""));
        assert!(!reply.whole, "{framing}: the body ended cleanly");
        assert_eq!(reply.text(), "hello", "{framing}");
        assert!(wire.closed(), "{framing}");
        let record = airlock.only_record();
        assert_eq!(
            (&record["status"], &record["ended"]),
            (&200.into(), &"upstream_failed".into()),
            "{framing}: {record}"
        );
    }
}

#[test]
fn an_upstream_that_gives_no_answer_is_a_typed_502() {
    let rows: [(&str, &'static str); 5] = [
        ("closes at once", ""),
        ("closes inside its head", "HTTP/1.1 200 OK\r\nContent-"),
        ("speaks something else", "SSH-2.0-OpenSSH_9.6\r\n\r\n"),
        (
            "switches protocols unasked",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        ),
        (
            "frames its body twice over",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        ),
    ];
    for (name, bytes) in rows {
        let origin = Origin::scripted(move |mut guest| {
            guest.head();
            guest.send(bytes);
        });
        let airlock = to(origin.port());
        let mut wire = Wire::to(airlock.ready.explicit);
        let reply = wire.ask(request("POST", &origin, "Content-Length: 0\r\n"));
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
            "{name}"
        );
        assert_eq!(origin.connections(), 1, "{name}: a POST is not sent twice");
    }
}

#[test]
fn an_upstream_that_refuses_is_a_typed_502_and_each_address_is_tried_once() {
    let airlock = to(1);
    let mut wire = Wire::to(airlock.ready.explicit);
    let reply = wire.ask("GET http://localhost:1/ HTTP/1.1\r\nHost: localhost:1\r\n\r\n");
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (502, "connect_failed")
    );
    assert!(reply.text().contains("refused"), "{}", reply.text());
    assert!(
        reply
            .header("proxy-status")
            .unwrap()
            .contains("connection_refused")
    );
    let tried = airlock.metric(
        "airlock_upstream_sockets_total",
        &[("outcome", "connect_failed")],
    );
    assert!(
        (1..=2).contains(&tried),
        "localhost has one or two addresses, tried {tried}"
    );
    assert_eq!(airlock.only_record()["left_machine_bytes"], 0);
}

#[test]
fn a_slow_upstream_is_waited_for() {
    let origin = Origin::scripted(|mut guest| {
        guest.head();
        thread::sleep(Duration::from_millis(700));
        guest.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let airlock = to(origin.port());
    let began = Instant::now();
    let reply = Wire::to(airlock.ready.explicit).ask(request("GET", &origin, ""));
    assert_eq!(reply.text(), "ok");
    assert!(began.elapsed() >= Duration::from_millis(700));
}

#[test]
fn a_request_body_that_breaks_its_framing_is_refused_and_not_ended_cleanly_upstream() {
    let (tell, told) = mpsc::channel();
    let origin = Origin::scripted(move |mut guest| {
        guest.head();
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(&mut guest, &mut rest);
        tell.send(String::from_utf8_lossy(&rest).into_owned())
            .unwrap();
    });
    let airlock = to(origin.port());
    let mut wire = Wire::to(airlock.ready.explicit);
    wire.send(request("POST", &origin, "Transfer-Encoding: chunked\r\n"))
        .send("3\r\nabc\r\n");
    thread::sleep(Duration::from_millis(50));
    wire.send("GET /smuggled HTTP/1.1\r\n\r\n");
    let reply = wire.reply();
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (400, "malformed_request")
    );
    assert!(wire.closed());
    let seen = told.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(
        !seen.contains("smuggled") && !seen.contains("0\r\n\r\n"),
        "{seen:?}"
    );
    airlock.exactly(1);
}

#[test]
fn a_client_that_expects_100_continue_gets_the_upstreams() {
    let origin = Origin::scripted(|mut guest| {
        guest.head();
        guest.send("HTTP/1.1 100 Continue\r\n\r\n");
        let body = guest.exact(3);
        guest.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}",
            String::from_utf8(body).unwrap()
        ));
    });
    let airlock = to(origin.port());
    let mut wire = Wire::to(airlock.ready.explicit);
    wire.send(request(
        "POST",
        &origin,
        "Content-Length: 3\r\nExpect: 100-continue\r\n",
    ));
    assert!(wire.head().unwrap().starts_with(b"HTTP/1.1 100 "));
    wire.send("abc");
    assert_eq!(wire.reply().text(), "abc");
}

#[test]
fn an_http_1_0_client_gets_no_chunks() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    let airlock = to(origin.port());
    let mut wire = Wire::to(airlock.ready.explicit);
    let authority = format!("localhost:{}", origin.port());
    let reply = wire.ask(format!("GET http://{authority}/ HTTP/1.0\r\n\r\n"));
    assert_eq!(reply.header("transfer-encoding"), None, "{reply:?}");
    assert_eq!(reply.text(), "hello");
    assert!(
        origin.heads()[0].contains(&format!("\r\nHost: {authority}\r\n")),
        "{:?}",
        origin.heads()
    );
}

/// A trailer could carry a header that was stripped from the head.
#[test]
fn trailers_do_not_pass() {
    let (tell, told) = mpsc::channel();
    let origin = Origin::scripted(move |mut guest| {
        guest.head();
        let mut seen = Vec::new();
        loop {
            let line = guest.line().unwrap();
            let last = line == "0";
            seen.push(line);
            if last {
                break;
            }
        }
        loop {
            let line = guest.line().unwrap();
            if line.is_empty() {
                break;
            }
            seen.push(line);
        }
        tell.send(seen.join("|")).unwrap();
        guest.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Airlock-Decision\r\n\r\n5\r\nhello\r\n0\r\nX-Airlock-Decision: allow\r\n\r\n");
    });
    let airlock = to(origin.port());
    let mut wire = Wire::to(airlock.ready.explicit);
    wire.send(request(
        "POST",
        &origin,
        "Transfer-Encoding: chunked\r\nTrailer: Authorization\r\n",
    ));
    wire.send("3\r\nabc\r\n0\r\nAuthorization: secret\r\nHost: evil.test\r\n\r\n");
    let reply = wire.reply();
    assert_eq!((reply.text().as_str(), reply.whole), ("hello", true));
    assert_eq!(reply.trailers, Vec::<String>::new());
    assert_eq!(
        told.recv_timeout(Duration::from_secs(5)).unwrap(),
        "3|abc|0"
    );
}

/// Two readers of one answer must not disagree where it ends.
#[test]
fn an_answer_with_both_framing_headers_reaches_the_client_with_one() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    let airlock = to(origin.port());
    let mut wire = Wire::to(airlock.ready.explicit);
    let reply = wire.ask(request("GET", &origin, ""));
    let framed = [
        reply.header("content-length"),
        reply.header("transfer-encoding"),
    ];
    assert_eq!(framed.iter().flatten().count(), 1, "{reply:?}");
    if reply.status == 200 {
        assert_eq!(reply.text(), "hello");
    }
}

/// EGRESS 44: the next request is judged afresh.
#[test]
fn a_redirect_is_passed_on_and_not_followed() {
    let origin = Origin::answering(
        "HTTP/1.1 302 Found\r\nLocation: http://evil.test/\r\nContent-Length: 0\r\n\r\n",
    );
    let airlock = to(origin.port());
    let mut wire = Wire::to(airlock.ready.explicit);
    let reply = wire.ask(request("GET", &origin, ""));
    assert_eq!(
        (reply.status, reply.header("location")),
        (302, Some("http://evil.test/"))
    );
    assert_eq!(
        wire.ask("GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n")
            .status,
        403
    );
    assert_eq!(origin.connections(), 1);
}
