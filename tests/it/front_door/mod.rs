//! Airlock before ComfyUI: what passes, what is rewritten, who is refused, what the browser is told.
//!
//! [`browser`] and [`channels`] ask a real one whether it keeps to that, [`programs`] are others than browsers, [`hostile`]
//! is what none of them sends.

#[cfg(target_os = "linux")]
mod browser;
#[cfg(target_os = "linux")]
mod browser_login;
mod channels;
mod chats;
mod checkpoints;
pub mod comfyui;
#[cfg(target_os = "linux")]
mod frontend;
mod guards;
mod hostile;
mod limits;
mod login;
mod owners;
mod people;
mod programs;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
};

use crate::support::{Airlock, Origin, Reply, Wire, eventually};
use comfyui::{Answer, ComfyUi};

const PLUGIN: &str = "const base=\"https://comfyui-copilot-server-pre.onrender.com\",\
    old='http://comfyui-copilot-server.onrender.com/v1',other=\"https://example.org\";";
const REWRITTEN: &str = "const base=\"/airlock/copilot\",\
    old='/airlock/copilot/v1',other=\"https://example.org\";";
const PAGE: &str = "<!doctype html><script type=\"importmap\">{\"imports\":{}}</script>\
    <script type=\"module\" src=\"/copilot_web/a.js\"></script>";

/// All listeners on free ports, the plugin's pack, and ComfyUI at `address`.
fn before(address: SocketAddr, more: &str) -> Airlock {
    Airlock::start(&format!(
        "listeners:\n  explicit: off\n  reverse: off\n  admin: 127.0.0.1:0\nllm:\n  discover: false\n\
         front_door:\n  listen: 127.0.0.1:0\n  comfyui: http://{address}\n{more}"
    ))
}

fn door(airlock: &Airlock) -> SocketAddr {
    airlock.ready.front_door.expect("there is a front door")
}

/// With a Host of its own, and these header lines.
fn ask(airlock: &Airlock, request: &str, lines: &str) -> Reply {
    let door = door(airlock);
    Wire::to(door).ask(format!("{request} HTTP/1.1\r\nHost: {door}\r\n{lines}\r\n"))
}

fn post(airlock: &Airlock, path: &str, lines: &str, body: &str) -> Reply {
    let length = body.len();
    let door = door(airlock);
    Wire::to(door).ask(format!(
        "POST {path} HTTP/1.1\r\nHost: {door}\r\n{lines}Content-Length: {length}\r\n\r\n{body}"
    ))
}

fn comfyui() -> ComfyUi {
    ComfyUi::serving(vec![
        ("/", Answer::file("text/html", PAGE)),
        (
            "/copilot_web/a.js",
            Answer::file("text/javascript; charset=utf-8", PLUGIN),
        ),
        (
            "/copilot_web/coded.js",
            Answer::coded("text/javascript", "gzip", include_bytes!("plugin.js.gz")),
        ),
        ("/api/queue", Answer::file("application/json", "{}")),
        (
            "/api/userdata/workflows%2Fa%20b.json",
            Answer::file("application/json", "[1]"),
        ),
    ])
}

#[test]
fn scripts_of_the_plugin_call_us_in_place_of_the_vendor() {
    let comfyui = comfyui();
    let airlock = before(comfyui.address(), "");
    for path in ["/copilot_web/a.js", "/copilot_web/coded.js"] {
        let reply = ask(
            &airlock,
            &format!("GET {path}"),
            "Accept-Encoding: gzip\r\n",
        );
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (200, REWRITTEN),
            "{path}"
        );
        assert_eq!(reply.header("content-encoding"), None, "{path}");
        assert_eq!(reply.header("cache-control"), Some("no-cache"), "{path}");
        assert_eq!(reply.header("last-modified"), None, "{path}");
    }
    assert_eq!(
        airlock.metric("airlock_page_addresses_rewritten_total", &[]),
        4
    );
}

#[test]
fn the_tag_is_that_of_what_is_served_and_a_browser_that_has_it_is_told() {
    let comfyui = comfyui();
    let airlock = before(comfyui.address(), "");
    let path = "/copilot_web/a.js";
    let get = ask(&airlock, &format!("GET {path}"), "");
    let tag = get.header("etag").unwrap().to_owned();
    assert_ne!(tag, comfyui::TAG);

    let head = ask(&airlock, &format!("HEAD {path}"), "");
    assert_eq!(head.status, 200);
    for name in [
        "etag",
        "content-type",
        "content-length",
        "content-security-policy",
    ] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
    for (name, lines, status) in [
        ("the tag", format!("If-None-Match: {tag}\r\n"), 304),
        (
            "a weak one",
            format!("If-None-Match: \"x\", W/{tag}\r\n"),
            304,
        ),
        (
            "ComfyUI's own",
            format!("If-None-Match: {}\r\n", comfyui::TAG),
            200,
        ),
        (
            "a date, which is that of other bytes",
            "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n".into(),
            200,
        ),
        ("a range of other bytes", "Range: bytes=0-3\r\n".into(), 200),
    ] {
        let reply = ask(&airlock, &format!("GET {path}"), &lines);
        assert_eq!(reply.status, status, "{name}");
        if status == 304 {
            assert_eq!(reply.header("etag"), Some(tag.as_str()), "{name}");
        } else {
            assert_eq!(reply.text(), REWRITTEN, "{name}");
        }
    }
    for head in comfyui.heads() {
        let head = head.to_ascii_lowercase();
        for gone in [
            "if-none-match",
            "if-modified-since",
            "range:",
            "accept-encoding",
        ] {
            assert!(!head.contains(gone), "{head}");
        }
    }
}

#[test]
fn the_browser_is_told_the_tightest_policy_with_the_hash_of_the_import_map() {
    let comfyui = comfyui();
    let airlock = before(comfyui.address(), "");
    let page = ask(&airlock, "GET /", "");
    assert_eq!((page.status, page.text().as_str()), (200, PAGE));
    let policy = page.header("content-security-policy").unwrap();
    // printf '{"imports":{}}' | openssl dgst -sha256 -binary | base64
    assert!(
        policy.starts_with(
            "default-src 'none'; script-src 'self' \
             'sha256-URrTy+Il/Nz0lHojVUx275hWqAWhkSF0VsHbUM4/6Hw='; style-src 'self'"
        ),
        "{policy}"
    );
    assert!(policy.contains("; connect-src 'self'; "), "{policy}");
    assert!(policy.ends_with("; report-uri /airlock/csp"), "{policy}");
    assert_eq!(
        page.header("connection-allowlist"),
        Some("(response-origin)")
    );
    for path in [
        "/api/queue",
        "/copilot_web/a.js",
        "/airlock/copilot/v1/models",
    ] {
        let reply = ask(&airlock, &format!("GET {path}"), "");
        let policy = reply.header("content-security-policy").unwrap();
        assert!(
            policy.contains("script-src 'self'; style-src"),
            "{path}: {policy}"
        );
    }
}

#[test]
fn a_policy_of_comfyuis_own_stands_beside_ours_and_reports_to_nobody() {
    let lines = "Content-Security-Policy: default-src 'self'; report-uri https://evil.example/\r\n\
                 Content-Security-Policy-Report-Only: default-src 'none'; report-uri https://evil.example/\r\n\
                 Report-To: {}\r\n";
    let comfyui = ComfyUi::serving(vec![
        ("/", Answer::saying("text/html", lines, PAGE)),
        (
            "/api/queue",
            Answer::saying("application/json", lines, "{}"),
        ),
    ]);
    let airlock = before(comfyui.address(), "");
    for path in ["/", "/api/queue"] {
        let reply = ask(&airlock, &format!("GET {path}"), "");
        let policies: Vec<&str> = reply
            .headers
            .iter()
            .filter(|(name, _)| name == "content-security-policy")
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(policies.len(), 2, "{path}: {policies:?}");
        assert_eq!(policies[0], "default-src 'self'", "{path}");
        assert!(policies[1].ends_with("report-uri /airlock/csp"), "{path}");
        let all = format!("{:?}", reply.headers);
        assert!(
            !all.contains("evil.example") && !all.contains("report-only"),
            "{path}: {all}"
        );
    }
}

#[test]
fn report_mode_only_asks_for_reports() {
    let comfyui = comfyui();
    let airlock = before(comfyui.address(), "mode: report\n");
    let page = ask(&airlock, "GET /", "");
    assert_eq!(page.header("content-security-policy"), None);
    assert_eq!(page.header("connection-allowlist"), None);
    assert!(page.header("content-security-policy-report-only").is_some());
    assert!(page.header("connection-allowlist-report-only").is_some());
}

#[test]
fn a_rule_that_names_the_front_door_opens_its_host_to_the_page() {
    let comfyui = comfyui();
    let airlock = before(
        comfyui.address(),
        "  connection_allowlist: false\nrules:\n  - name: hub\n    hosts: [hub.test]\n    \
         entries: [front_door]\n    action: tunnel\n  - name: elsewhere\n    hosts: [else.test]\n    \
         action: tunnel\n",
    );
    let page = ask(&airlock, "GET /", "");
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.contains("connect-src 'self' https://hub.test;"),
        "{policy}"
    );
    assert!(!policy.contains("else.test"), "{policy}");
    assert_eq!(page.header("connection-allowlist"), None);
}

#[test]
fn calls_of_the_page_are_answered_like_those_of_the_python_side() {
    let comfyui = comfyui();
    let airlock = before(comfyui.address(), "");
    let own = format!("Origin: http://{}\r\n", door(&airlock));
    let events = post(
        &airlock,
        "/airlock/copilot/api/chat/track_event",
        &own,
        "{\"event_type\":\"chat_request\"}",
    );
    assert_eq!(
        (events.status, &events.json()["success"]),
        (200, &true.into())
    );
    let announcement = ask(&airlock, "GET /airlock/copilot/api/chat/announcement", &own);
    assert_eq!(announcement.status, 200, "{}", announcement.text());
    for path in ["/airlock/llm/v1/models", "/airlock/copilot/v1/models"] {
        let models = ask(&airlock, &format!("GET {path}"), &own);
        // No LLM is there: the gateway says so, in its own way.
        assert!(
            models
                .header("x-airlock-decision")
                .is_some_and(|d| d.contains("llm")),
            "{path}"
        );
    }
    let records = airlock.exactly(4);
    let rules: Vec<_> = records
        .iter()
        .map(|r| r["rule"].as_str().unwrap())
        .collect();
    assert_eq!(
        rules,
        [
            "comfyui-copilot/telemetry",
            "comfyui-copilot/api",
            "comfyui-copilot/llm",
            "comfyui-copilot/llm"
        ]
    );
    assert!(records.iter().all(|r| r["entry"] == "front_door"));
    assert!(comfyui.heads().is_empty(), "{:?}", comfyui.heads());
    // What is ours never goes to ComfyUI, and is nothing unless we know it.
    for path in [
        "/airlock",
        "/airlock/",
        "/airlock/x",
        "/%61irlock/csp",
        "//airlock/x",
    ] {
        let reply = ask(&airlock, &format!("GET {path}"), "");
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (403, "host_known_request_not"),
            "{path}"
        );
    }
    assert!(comfyui.heads().is_empty());
}

#[test]
fn a_rebound_name_and_a_foreign_page_are_refused_before_comfyui_hears_of_them() {
    let comfyui = comfyui();
    let airlock = before(comfyui.address(), "  hosts: [studio.lan]\n");
    let port = door(&airlock).port();
    let ours = format!("127.0.0.1:{port}");
    let elsewhere =
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n";
    let mut refused = 0;
    for (name, host, lines, want) in [
        ("a program", ours.clone(), String::new(), None),
        (
            "its own page",
            ours.clone(),
            format!("Origin: http://{ours}\r\n"),
            None,
        ),
        (
            "a name that is listed",
            format!("studio.lan:{port}"),
            String::new(),
            None,
        ),
        (
            "a name that is rebound, host and origin alike",
            format!("evil.example:{port}"),
            format!("Origin: http://evil.example:{port}\r\n"),
            Some((421, "host_not_allowed")),
        ),
        (
            "a name that ends like ours",
            format!("localhost.evil.example:{port}"),
            String::new(),
            Some((421, "host_not_allowed")),
        ),
        (
            "a page of another origin",
            ours.clone(),
            "Origin: https://evil.example\r\n".into(),
            Some((403, "origin_not_allowed")),
        ),
        (
            "a page on ComfyUI's own port",
            ours.clone(),
            format!("Origin: http://{}\r\n", comfyui.address()),
            Some((403, "origin_not_allowed")),
        ),
        (
            "null",
            ours.clone(),
            "Origin: null\r\n".into(),
            Some((403, "origin_not_allowed")),
        ),
        (
            "an origin with a user",
            ours.clone(),
            format!("Origin: http://x@{ours}\r\n"),
            Some((403, "origin_not_allowed")),
        ),
        (
            "two of them",
            ours.clone(),
            format!("Origin: http://{ours}\r\nOrigin: http://{ours}\r\n"),
            Some((403, "origin_not_allowed")),
        ),
        (
            "a picture elsewhere",
            ours.clone(),
            elsewhere.into(),
            Some((403, "origin_not_allowed")),
        ),
    ] {
        let before = comfyui.heads().len();
        let reply = Wire::to(door(&airlock)).ask(format!(
            "GET /api/queue HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n"
        ));
        match want {
            None => assert_eq!(reply.status, 200, "{name}: {}", reply.text()),
            Some((status, code)) => {
                refused += 1;
                assert_eq!(
                    (reply.status, reply.code().as_str()),
                    (status, code),
                    "{name}"
                );
                assert_eq!(comfyui.heads().len(), before, "{name}");
            }
        }
    }
    let denied = || {
        let count = |reason| airlock.metric("airlock_decisions_total", &[("reason", reason)]);
        count("host_not_allowed") + count("origin_not_allowed")
    };
    eventually("every refusal is counted", || denied() == refused);
}

#[test]
fn host_and_origin_reach_comfyui_as_the_browser_sent_them() {
    let comfyui = comfyui();
    let airlock = before(comfyui.address(), "");
    let own = door(&airlock);
    for path in ["/api/queue", "/copilot_web/a.js"] {
        let lines = format!("Origin: http://{own}\r\nX-Forwarded-For: 6.6.6.6\r\n");
        assert_eq!(ask(&airlock, &format!("GET {path}"), &lines).status, 200);
        let head = comfyui.heads().pop().unwrap().to_ascii_lowercase();
        assert!(head.contains(&format!("host: {own}\r\n")), "{head}");
        assert!(
            head.contains(&format!("origin: http://{own}\r\n")),
            "{head}"
        );
        assert!(!head.contains("x-forwarded-for"), "{head}");
    }
}

#[test]
fn paths_of_user_data_keep_their_encoded_slashes_and_climb_nowhere() {
    let comfyui = comfyui();
    let airlock = before(comfyui.address(), "");
    let reply = ask(&airlock, "GET /api/userdata/workflows%2fa%20b.json", "");
    assert_eq!((reply.status, reply.text().as_str()), (200, "[1]"));
    for path in [
        "/api/userdata/..%2f..%2fx",
        "/api/userdata/a%2F%2e%2e%2Fb",
        "/a%5c..%5cb",
    ] {
        let reply = ask(&airlock, &format!("GET {path}"), "");
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (400, "malformed_request"),
            "{path}"
        );
    }
    assert_eq!(comfyui.heads().len(), 1);
}

#[test]
fn uploads_and_ranges_stream_through() {
    const MIB: usize = 1 << 20;
    const LENGTH: usize = 64 * MIB;
    let origin = Origin::scripted(|mut guest| {
        while let Some(head) = guest.head() {
            let head = String::from_utf8(head).unwrap();
            if head.starts_with("POST") {
                assert!(
                    head.to_ascii_lowercase()
                        .contains(&format!("content-length: {LENGTH}"))
                );
                let mut sum = 0_u64;
                for _ in 0..LENGTH / MIB {
                    sum += guest.exact(MIB).iter().map(|b| u64::from(*b)).sum::<u64>();
                }
                let sum = sum.to_string();
                guest.send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{sum}",
                    sum.len()
                ));
            } else {
                assert!(
                    head.to_ascii_lowercase().contains("range: bytes=5-8"),
                    "{head}"
                );
                guest.send(
                    "HTTP/1.1 206 Partial Content\r\nContent-Type: image/png\r\n\
                     Content-Range: bytes 5-8/9\r\nContent-Length: 4\r\n\r\nabcd",
                );
            }
        }
    });
    let airlock = before(origin.address, "");
    let own = door(&airlock);
    let mut wire = Wire::to(own);
    wire.send(format!(
        "POST /upload/image HTTP/1.1\r\nHost: {own}\r\nContent-Length: {LENGTH}\r\n\r\n"
    ));
    let piece: Vec<u8> = (0..MIB).map(|n| (n % 251) as u8).collect();
    for _ in 0..LENGTH / MIB {
        wire.send(&piece);
    }
    let sum: u64 = piece.iter().map(|b| u64::from(*b)).sum::<u64>() * (LENGTH / MIB) as u64;
    assert_eq!(wire.reply().text(), sum.to_string());
    let range = ask(&airlock, "GET /view?filename=a.png", "Range: bytes=5-8\r\n");
    assert_eq!((range.status, range.text().as_str()), (206, "abcd"));
    assert_eq!(range.header("content-range"), Some("bytes 5-8/9"));
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Switches, says something by itself, and then sends back whatever comes.
fn web_socket() -> Origin {
    Origin::scripted(|mut guest| {
        let Some(_) = guest.head() else { return };
        guest.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        );
        guest.send([0x82, 3, 0, 0xff, 1]);
        let mut bytes = [0; 1024];
        loop {
            match guest.stream.read(&mut bytes) {
                Ok(0) => return,
                Ok(n) => drop(guest.send(&bytes[..n])),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    })
}

#[test]
fn the_web_socket_passes_both_ways_and_belongs_to_our_page_alone() {
    let origin = web_socket();
    let airlock = before(origin.address, "  hosts: [studio.lan]\n");
    let own = door(&airlock);
    let mut wire = Wire::to(own);
    let reply = wire.ask(format!(
        "GET /ws?clientId=1 HTTP/1.1\r\nHost: {own}\r\nOrigin: http://{own}\r\n{UPGRADE}\r\n"
    ));
    assert_eq!(
        (reply.status, reply.header("upgrade")),
        (101, Some("websocket"))
    );
    // A preview comes unasked, and is not looked at.
    assert_eq!(wire.exact(5), [0x82, 3, 0, 0xff, 1]);
    wire.send([0x81, 2, b'h', b'i']);
    assert_eq!(wire.exact(4), [0x81, 2, b'h', b'i']);
    let opened = origin.connections();
    for (name, host, page, want) in [
        (
            "a page of elsewhere",
            own.to_string(),
            "http://evil.example".to_owned(),
            "origin_not_allowed",
        ),
        (
            "in the clear beyond this machine",
            format!("studio.lan:{}", own.port()),
            format!("http://studio.lan:{}", own.port()),
            "plain_websocket",
        ),
    ] {
        let reply = Wire::to(own).ask(format!(
            "GET /ws HTTP/1.1\r\nHost: {host}\r\nOrigin: {page}\r\n{UPGRADE}\r\n"
        ));
        assert_eq!((reply.status, reply.code().as_str()), (403, want), "{name}");
    }
    assert_eq!(origin.connections(), opened);
}

#[test]
fn what_a_browser_refused_stands_in_the_log_and_the_metrics() {
    let comfyui = comfyui();
    let airlock = before(comfyui.address(), "");
    let own = format!(
        "Origin: http://{}\r\nContent-Type: application/csp-report\r\n",
        door(&airlock)
    );
    let report = r#"{"csp-report":{"document-uri":"http://127.0.0.1/?s3cret","effective-directive":"connect-src","blocked-uri":"https://evil.example/a?s3cret","disposition":"enforce"}}"#;
    assert_eq!(post(&airlock, "/airlock/csp", &own, report).status, 204);
    let record = airlock.only_record();
    assert_eq!(
        record["detail"],
        "the browser refused evil.example:443 on / (connect-src)"
    );
    assert_eq!(record["rule"], "front_door/own");
    assert!(!record.to_string().contains("s3cret"));
    let count = |outcome| airlock.metric("airlock_page_violations_total", &[("outcome", outcome)]);
    assert_eq!(count("refused"), 1);
    assert_eq!(post(&airlock, "/airlock/csp", &own, "[]").status, 400);
    assert_eq!(count("malformed"), 1);
    let long = "x".repeat(20 << 10);
    assert_eq!(post(&airlock, "/airlock/csp", &own, &long).status, 413);
    let foreign = post(
        &airlock,
        "/airlock/csp",
        "Origin: http://evil.example\r\n",
        report,
    );
    assert_eq!(
        (foreign.status, foreign.code().as_str()),
        (403, "origin_not_allowed")
    );
}

#[test]
fn while_comfyui_is_down_a_page_says_so_and_comes_back_by_itself() {
    let place = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = place.local_addr().unwrap();
    drop(place);
    let airlock = before(address, "");
    let down = ask(&airlock, "GET /", "Sec-Fetch-Dest: document\r\n");
    assert_eq!(down.status, 502);
    assert_eq!(
        down.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(
        down.text().contains("http-equiv=\"refresh\""),
        "{}",
        down.text()
    );
    let script = ask(&airlock, "GET /a.js", "Sec-Fetch-Dest: script\r\n");
    assert_eq!(
        script.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    let api = ask(&airlock, "GET /api/queue", "");
    assert_eq!((api.status, api.code().as_str()), (502, "connect_failed"));
    for record in airlock.exactly(3) {
        assert_eq!(
            (&record["action"], &record["ended"]),
            (&"forward".into(), &"connect_failed".into()),
            "{record}"
        );
    }
    let back = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for mut stream in back.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\nConnection: close\r\n\r\nup",
            );
        }
    });
    assert_eq!(ask(&airlock, "GET /", "").text(), "up");
}

#[test]
fn a_body_that_cannot_be_read_whole_is_not_served_at_all() {
    let comfyui = ComfyUi::serving(vec![
        (
            "/cut.js",
            Answer::coded(
                "text/javascript",
                "gzip",
                &include_bytes!("plugin.js.gz")[..40],
            ),
        ),
        (
            "/odd.js",
            Answer::coded("text/javascript", "compress", b"xx"),
        ),
    ]);
    let airlock = before(comfyui.address(), "");
    for path in ["/cut.js", "/odd.js"] {
        let reply = ask(
            &airlock,
            &format!("GET {path}"),
            "Sec-Fetch-Dest: script\r\n",
        );
        assert_eq!(reply.status, 502, "{path}: {}", reply.text());
        assert_eq!(reply.header("etag"), None, "{path}");
    }
    assert!(
        airlock
            .exactly(2)
            .iter()
            .all(|r| r["ended"] == "upstream_failed")
    );
}

#[test]
fn a_door_that_others_can_reach_stops_the_start_and_says_what_to_write() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("airlock.yaml");
    std::fs::write(&file, "version: 1\nfront_door:\n  listen: 0.0.0.0:8189\n").unwrap();
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_airlock"))
        .args(["run", "--config"])
        .arg(&file)
        .env("AIRLOCK_STATE_DIR", scratch.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(64), "{said}");
    assert!(said.contains("users:\n    required: true"), "{said}");
}
