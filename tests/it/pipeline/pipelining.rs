//! Requests behind requests: each waits its turn, is judged for itself, and cuts nobody's answer.

use std::{sync::mpsc, time::Duration};

use super::PICTURE;
use crate::support::{Airlock, Origin, Setup, Wire, eventually};

fn to(origin: &Origin) -> Airlock {
    let port = origin.port();
    Setup::rules(format!(
        "{PICTURE}  - name: onward\n    hosts: [localhost]\n    ports: [{port}]\n    upgrade: true\n    action: forward\n"
    ))
    .more(format!(
        "upstreams:\n  - name: mine\n    url: http://localhost:{port}"
    ))
    .start()
}

fn get(origin: &Origin, path: &str, more: &str) -> String {
    let authority = format!("localhost:{}", origin.port());
    format!("GET http://{authority}/{path} HTTP/1.1\r\nHost: {authority}\r\n{more}\r\n")
}

const PIC: &str = "GET http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\n\r\n";
const EVIL: &str = "GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n";

/// Begins an answer, waits to be told, and ends it.
fn slow() -> (Origin, mpsc::Sender<()>) {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::scripted(move |mut guest| {
        while let Some(head) = guest.head() {
            let length = String::from_utf8_lossy(&head)
                .to_ascii_lowercase()
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.split("\r\n").next()?.parse().ok())
                .unwrap_or(0);
            guest.exact(length);
            guest.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
            let _ = wait.lock().unwrap().recv_timeout(Duration::from_secs(5));
            guest.send("-last");
        }
    });
    (origin, go)
}

#[test]
fn a_request_that_comes_while_an_answer_is_passed_on_waits_its_turn() {
    let rows: [(&str, bool, &str, &str); 4] = [
        ("behind the request's head", true, "", ""),
        (
            "behind the request's body",
            true,
            "Content-Length: 3\r\n",
            "abc",
        ),
        ("in a segment of its own", false, "", ""),
        (
            "in a segment of its own behind a body",
            false,
            "Content-Length: 3\r\n",
            "abc",
        ),
    ];
    for (name, together, framing, body) in rows {
        let (origin, go) = slow();
        let airlock = to(&origin);
        let mut wire = Wire::to(airlock.ready.explicit);
        let first = format!("{}{body}", get(&origin, "1", framing));
        if together {
            wire.send(format!("{first}{PIC}{EVIL}"));
        } else {
            wire.send(first);
        }
        assert!(wire.head().unwrap().starts_with(b"HTTP/1.1 200 "), "{name}");
        assert_eq!(wire.exact(5), b"first", "{name}");
        if !together {
            wire.send(format!("{PIC}{EVIL}"));
        }
        go.send(()).unwrap();
        assert_eq!(wire.exact(5), b"-last", "{name}: the first answer was cut");
        let second = wire.reply();
        assert_eq!(second.status, 200, "{name}");
        assert!(second.text().contains("svg"), "{name}");
        assert_eq!(wire.reply().code(), "no_rule_matched", "{name}");
        assert!(wire.closed(), "{name}");
        let records = airlock.exactly(3);
        assert!(
            records.iter().all(|r| r.get("ended").is_none()),
            "{name}: {records:#?}"
        );
    }
}

#[test]
fn a_request_behind_a_chunked_body_waits_its_turn() {
    let origin = Origin::scripted(|mut guest| {
        while guest.head().is_some() {
            assert_eq!(guest.exact(13), b"3\r\nabc\r\n0\r\n\r\n");
            guest.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let airlock = to(&origin);
    let mut wire = Wire::to(airlock.ready.explicit);
    let head = get(&origin, "1", "Transfer-Encoding: chunked\r\n");
    let one = format!("{head}3\r\nabc\r\n0\r\n\r\n");
    wire.send(format!("{one}{PIC}{one}"));
    assert_eq!(wire.reply().text(), "ok");
    assert!(wire.reply().text().contains("svg"));
    assert_eq!(wire.reply().text(), "ok");
    airlock.exactly(3);
}

#[test]
fn twenty_requests_in_one_segment_are_answered_in_order() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let airlock = to(&origin);
    let mut wire = Wire::to(airlock.ready.explicit);
    let all: String = (0..20)
        .map(|n| match n % 2 {
            0 => get(&origin, &n.to_string(), ""),
            _ => PIC.to_owned(),
        })
        .collect();
    wire.send(all);
    for n in 0..20 {
        let text = wire.reply().text();
        assert_eq!(text == "ok", n % 2 == 0, "{n}: {text}");
    }
    airlock.exactly(20);
    let paths: Vec<_> = origin
        .heads()
        .iter()
        .map(|h| h.split(' ').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(
        paths,
        (0..10).map(|n| format!("/{}", n * 2)).collect::<Vec<_>>()
    );
}

#[test]
fn a_connect_behind_a_request_begins_its_tunnel_with_the_bytes_behind_it() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let airlock = to(&origin);
    let mut wire = Wire::to(airlock.ready.explicit);
    let mut bytes = get(&origin, "1", "").into_bytes();
    bytes.extend(b"CONNECT pic.test:443 HTTP/1.1\r\nHost: pic.test:443\r\n\r\n");
    bytes.extend(crate::support::client_hello("pic.test"));
    wire.send(bytes);
    assert_eq!(wire.reply().text(), "ok");
    assert!(wire.head().unwrap().starts_with(b"HTTP/1.1 200 "));
    assert_eq!(wire.exact(1), [0x16], "a ServerHello comes");
}

#[test]
fn a_client_that_leaves_is_noticed_though_it_sent_another_request() {
    let (tell, told) = mpsc::channel();
    let origin = Origin::scripted(move |mut guest| {
        guest.head();
        guest.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
        // Only the end of the connection wakes this.
        while guest.line().is_some() {}
        let _ = tell.send(());
    });
    let airlock = to(&origin);
    let mut wire = Wire::to(airlock.ready.explicit);
    wire.send(format!("{}{EVIL}", get(&origin, "1", "")));
    wire.head().unwrap();
    drop(wire);
    told.recv_timeout(Duration::from_secs(5))
        .expect("the upstream is told");
    let record = airlock.only_record();
    assert_eq!(record["ended"], "client_gone", "{record}");
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

/// CVE-2026-2833: an upstream that refuses the upgrade would read them as a request.
#[test]
fn what_stands_behind_an_upgrade_waits_for_the_switch() {
    for (name, together) in [("together", true), ("later", false)] {
        let (tell, told) = mpsc::channel();
        let (go, wait) = mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let origin = Origin::scripted(move |mut guest| {
            guest.head();
            tell.send(()).unwrap();
            wait.lock()
                .unwrap()
                .recv_timeout(Duration::from_secs(5))
                .unwrap();
            // Read with the head, had it been sent on early.
            assert!(!guest.has_more(), "bytes came before the 101");
            guest.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
            let early = guest.exact(5);
            guest.send(early);
        });
        let airlock = to(&origin);
        let mut wire = Wire::to(airlock.ready.explicit);
        let head = get(&origin, "ws", UPGRADE);
        if together {
            wire.send(format!("{head}early"));
        } else {
            wire.send(head);
        }
        told.recv_timeout(Duration::from_secs(5)).unwrap();
        if !together {
            wire.send("early");
        }
        go.send(()).unwrap();
        assert!(wire.head().unwrap().starts_with(b"HTTP/1.1 101 "), "{name}");
        assert_eq!(wire.exact(5), b"early", "{name}");
    }
}

#[test]
fn what_stands_behind_an_upgrade_that_is_refused_goes_nowhere() {
    for status in ["200 OK", "400 Bad Request", "426 Upgrade Required"] {
        let origin = Origin::answering(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno"));
        let airlock = to(&origin);
        let mut wire = Wire::to(airlock.ready.explicit);
        let authority = format!("localhost:{}", origin.port());
        wire.send(format!(
            "{}GET /smuggled HTTP/1.1\r\nHost: {authority}\r\n\r\n",
            get(&origin, "ws", UPGRADE)
        ));
        let reply = wire.reply();
        assert_eq!(reply.text(), "no", "{status}");
        assert_eq!(reply.header("connection"), Some("close"), "{status}");
        assert!(wire.closed(), "{status}");
        airlock.exactly(1);
        assert_eq!(origin.heads().len(), 1, "{status}: {:?}", origin.heads());
    }
}

#[test]
fn an_upgrade_still_carries_bytes_both_ways() {
    let origin = Origin::scripted(|mut guest| {
        guest.head();
        guest.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello\r\n");
        while let Some(line) = guest.line() {
            guest.send(format!("{line}\r\n"));
        }
    });
    let airlock = to(&origin);
    let mut wire = Wire::to(airlock.ready.explicit);
    wire.send(get(&origin, "ws", UPGRADE));
    wire.head().unwrap();
    assert_eq!(wire.line().as_deref(), Some("hello"));
    for n in 0..50 {
        wire.send(format!("{n}\r\n"));
        assert_eq!(wire.line(), Some(n.to_string()));
    }
    let big = "x".repeat(300_000);
    wire.send(format!("{big}\r\n"));
    assert_eq!(wire.line().map(|l| l.len()), Some(big.len()));
    drop(wire);
    eventually("it is recorded", || airlock.records().len() == 1);
}
