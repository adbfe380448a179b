//! The reverse entry: routes of the user's own, the vendor behind the rest, WebSockets.

use std::{fs, io::Read, thread, time::Duration};

use super::assert_refused;
use crate::support::{Airlock, Identity, Origin, Setup, Wire};

fn named(name: &str) -> Origin {
    Origin::answering(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}",
        name.len()
    ))
}

fn route(prefix: &str, origin: &Origin, more: &str) -> String {
    format!(
        "      - path_prefix: {prefix}\n        upstream: http://{}\n{more}",
        origin.address
    )
}

fn with(routes: &[String]) -> Airlock {
    Setup {
        routes: routes.concat(),
        ..Setup::default()
    }
    .start()
}

fn get(airlock: &Airlock, path: &str) -> crate::support::Reply {
    Wire::to(airlock.ready.reverse).ask(format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n",
        airlock.ready.reverse
    ))
}

#[test]
fn the_longest_prefix_wins_and_ends_at_a_slash() {
    let (comfy, api) = (named("comfy"), named("api"));
    let airlock = with(&[route("/comfy", &comfy, ""), route("/comfy/api", &api, "")]);
    for (path, answer) in [
        ("/comfy", "comfy"),
        ("/comfy/x", "comfy"),
        ("/comfy?a=/comfy/api", "comfy"),
        ("/comfy/apis", "comfy"),
        ("/comfy/api", "api"),
        ("/comfy/api/x", "api"),
        // The path that is judged and sent chooses the route.
        ("/other/../comfy/x", "comfy"),
        ("//comfy/x", "comfy"),
        ("/%63omfy/x", "comfy"),
        ("/comfy/x/../api/y", "api"),
    ] {
        assert_eq!(get(&airlock, path).text(), answer, "{path}");
    }
    for path in [
        "/comfyx",
        "/",
        "/comfy/../secret",
        "/comfy/api/../../secret",
    ] {
        let reply = get(&airlock, path);
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (403, "no_rule_matched"),
            "{path}"
        );
    }
}

#[test]
fn what_is_judged_is_what_is_sent() {
    let origin = named("x");
    let airlock = with(&[route("/", &origin, "")]);
    for (path, sent) in [
        ("/a/%61/../b?x=%61%2f..", "/a/b?x=%61%2f.."),
        ("//a//b", "/a/b"),
        ("/%7euser/%e4%b8%ad", "/~user/%E4%B8%AD"),
        ("/plain", "/plain"),
    ] {
        assert_eq!(get(&airlock, path).status, 200, "{path}");
        let head = origin.heads().pop().unwrap();
        assert!(
            head.starts_with(&format!("GET {sent} HTTP/1.1\r\n")),
            "{path}: {head}"
        );
    }
}

#[test]
fn the_upstream_gets_its_own_host_or_the_one_that_the_route_names() {
    let (own, named_host) = (named("own"), named("named"));
    let airlock = with(&[
        route("/own", &own, ""),
        route("/named", &named_host, "        host: Comfy.Example:8188\n"),
    ]);
    get(&airlock, "/own");
    get(&airlock, "/named");
    assert!(
        own.heads()[0].contains(&format!("\r\nHost: {}\r\n", own.address)),
        "{:?}",
        own.heads()
    );
    assert!(
        named_host.heads()[0].contains("\r\nHost: comfy.example:8188\r\n"),
        "{:?}",
        named_host.heads()
    );
}

#[test]
fn a_page_that_rebinds_its_name_is_refused_and_local_names_are_not() {
    let origin = named("x");
    let airlock = with(&[route("/", &origin, "")]);
    let port = airlock.ready.reverse.port();
    for host in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        format!("airlock:{port}"),
        format!("[::1]:{port}"),
    ] {
        let reply =
            Wire::to(airlock.ready.reverse).ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(reply.status, 200, "{host}");
    }
    let reply = Wire::to(airlock.ready.reverse)
        .ask(format!("GET / HTTP/1.1\r\nHost: evil.test:{port}\r\n\r\n"));
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (421, "authority_mismatch")
    );
    let reply = Wire::to(airlock.ready.reverse)
        .ask("GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    assert_eq!((reply.status, reply.code().as_str()), (400, "wrong_entry"));
    assert_eq!(origin.heads().len(), 4);
}

#[test]
fn a_route_opens_its_upstream_to_the_reverse_entry_alone() {
    let origin = named("x");
    let airlock = with(&[route("/", &origin, "")]);
    let authority = origin.address.to_string();
    let reply = Wire::to(airlock.ready.explicit).ask(format!(
        "GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\n\r\n"
    ));
    assert_refused(&airlock, &reply, 403, "host_known_request_not", 1);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_tls_upstream_by_address_is_verified_by_the_ca_that_the_route_names() {
    let identity = Identity::of(&["127.0.0.1"]);
    let origin = Origin::scripted_tls(identity.server.clone(), |mut guest| {
        while guest.head().is_some() {
            guest.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntls");
        }
    });
    let folder = tempfile::tempdir().unwrap();
    for (name, pem, status) in [
        ("its own CA", identity.ca_pem.clone(), 200),
        ("another CA", Identity::of(&["127.0.0.1"]).ca_pem, 502),
    ] {
        let ca = folder.path().join(format!("{status}.pem"));
        fs::write(&ca, pem).unwrap();
        let route = format!(
            "      - path_prefix: /\n        upstream: https://{}\n        ca_file: {}\n",
            origin.address,
            ca.display()
        );
        let airlock = with(&[route]);
        let reply = get(&airlock, "/");
        assert_eq!(reply.status, status, "{name}: {}", reply.text());
        if status == 502 {
            assert_eq!(reply.code(), "upstream_tls_failed");
        }
    }
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Switches, and then sends back whatever comes.
fn web_socket() -> Origin {
    Origin::scripted(|mut guest| {
        let head = String::from_utf8(guest.head().unwrap())
            .unwrap()
            .to_ascii_lowercase();
        assert!(
            head.contains("upgrade: websocket") && head.contains("connection: upgrade"),
            "{head}"
        );
        assert!(
            head.contains("sec-websocket-key: dghlihnhbxbszsbub25jzq=="),
            "{head}"
        );
        guest.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
        let mut bytes = [0; 1024];
        loop {
            match guest.read(&mut bytes) {
                Ok(0) => return,
                Ok(n) => drop(guest.send(&bytes[..n])),
                // A read timeout of the test's own.
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    })
}

#[test]
fn a_web_socket_passes_where_the_route_says_so() {
    let origin = web_socket();
    let airlock = with(&[route("/", &origin, "        upgrade: true\n")]);
    let mut wire = Wire::to(airlock.ready.reverse);
    let reply = wire.ask(format!(
        "GET /ws?clientId=1 HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}"
    ));
    assert_eq!(
        (reply.status, reply.header("upgrade")),
        (101, Some("websocket")),
        "{}",
        reply.text()
    );
    assert_eq!(
        reply.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    for n in 0..3 {
        // Frames as bytes: nothing in between may look at them.
        let frame = [0x82, 4, n, 0, 0xff, n];
        wire.send(frame);
        assert_eq!(wire.exact(6), frame);
        thread::sleep(Duration::from_millis(20));
    }
    drop(wire);
    let record = airlock.only_record();
    assert_eq!(
        (&record["action"], &record["status"]),
        (&"forward".into(), &101.into()),
        "{record}"
    );
    assert_eq!(
        (&record["bytes_in"], &record["bytes_out"]),
        (&18.into(), &18.into()),
        "{record}"
    );
}

#[test]
fn a_web_socket_without_a_rule_that_says_so_is_refused_before_any_socket() {
    let origin = web_socket();
    let airlock = with(&[route("/", &origin, "")]);
    let reply = Wire::to(airlock.ready.reverse)
        .ask(format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}"));
    assert_refused(&airlock, &reply, 403, "upgrade_not_allowed", 1);
    assert_eq!(origin.connections(), 0);
}

/// CVE-2026-2833: bytes behind an upgrade that the upstream does not take are no request.
#[test]
fn bytes_behind_an_upgrade_that_is_declined_are_not_a_request() {
    let origin = named("no");
    let airlock = with(&[route("/", &origin, "        upgrade: true\n")]);
    let mut wire = Wire::to(airlock.ready.reverse);
    wire.send(format!(
        "GET /ws HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
    ));
    assert_eq!(wire.reply().text(), "no");
    thread::sleep(Duration::from_millis(200));
    let heads = origin.heads();
    assert_eq!(heads.len(), 1, "{heads:?}");
    airlock.exactly(1);
}

/// Takes more than a minute: Pingora's own read timeout is one, and was felt by idle WebSockets.
#[test]
#[ignore = "takes 65 s"]
fn a_web_socket_whose_client_only_listens_lives() {
    let origin = web_socket();
    let airlock = with(&[route("/", &origin, "        upgrade: true\n")]);
    let mut wire = Wire::to(airlock.ready.reverse);
    let reply = wire.ask(format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}"));
    assert_eq!(reply.status, 101);
    thread::sleep(Duration::from_secs(65));
    wire.send("still here");
    assert_eq!(wire.exact(10), b"still here");
    airlock.assert_healthy();
}
