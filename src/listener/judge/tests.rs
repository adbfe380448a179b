//! Every entry's way to its one authority and one target, and every way to be refused before policy.

use std::net::SocketAddr;

use super::*;
use crate::{
    listener::head,
    net::{Host, Port},
    page::OwnNames,
    proxy::{DoorRoute, Leash, Route},
};

fn authority(text: &str) -> Authority {
    Authority::parse(text, None).unwrap()
}

fn routes() -> Routes {
    let route = |prefix: &str, to: &str| Route {
        prefix: prefix.into(),
        authority: authority(to),
        tls: false,
        host: to.into(),
    };
    Routes {
        vendor: authority("vendor.test:443"),
        routes: vec![
            route("/comfy/queue", "queue.test:80"),
            route("/comfy", "comfy.test:8188"),
        ],
        door: Some(DoorRoute {
            names: OwnNames::default(),
            comfyui: authority("comfy.test:8188"),
            tls: false,
            own: authority("own.test:80"),
            upload_bytes: None,
            guards: Default::default(),
        }),
    }
}

fn connection(entry: Entry, tls: bool, bound_to: Option<&str>) -> Arc<Connection> {
    Arc::new(Connection {
        entry,
        client: SocketAddr::from(([127, 0, 0, 1], 1)),
        tls,
        visitor: None,
        bound_to: bound_to.map(authority),
        leash: Leash::default(),
        head_waits: Default::default(),
    })
}

fn judged(connection: &Arc<Connection>, text: &str) -> Result<Arrival, Denial> {
    let head = head::parse(text.as_bytes(), connection.default_port())
        .unwrap_or_else(|e| panic!("{text:?}: {}", e.message));
    arrival(&routes(), connection, &head, Instant::now())
}

fn explicit_port() -> Arc<Connection> {
    connection(Entry::Explicit, false, None)
}
fn intercepted() -> Arc<Connection> {
    connection(Entry::Explicit, true, Some("a.test:443"))
}
fn base_url() -> Arc<Connection> {
    connection(Entry::Reverse, false, None)
}
fn redirected() -> Arc<Connection> {
    connection(Entry::Transparent, false, None)
}

/// Request line without its version, and Host; the judged authority and target.
type Good<'a> = (&'a str, Arc<Connection>, &'a str, &'a str, &'a str, &'a str);

#[test]
fn each_entry_leads_to_one_authority_and_one_target() {
    let rows: &[Good<'_>] = &[
        (
            "a proxy's URL",
            explicit_port(),
            "GET http://A.test/x?y=1",
            "a.test",
            "a.test:80",
            "/x?y=1",
        ),
        (
            "a proxy's URL with a port",
            explicit_port(),
            "GET http://a.test:8080",
            "a.test:8080",
            "a.test:8080",
            "/",
        ),
        (
            "a decrypted request",
            intercepted(),
            "GET /x",
            "a.test",
            "a.test:443",
            "/x",
        ),
        (
            "a decrypted OPTIONS of the host",
            intercepted(),
            "OPTIONS *",
            "a.test",
            "a.test:443",
            "/",
        ),
        (
            "a base URL stands for the vendor",
            base_url(),
            "GET /v1",
            "localhost:8787",
            "vendor.test:443",
            "/v1",
        ),
        (
            "a base URL by address",
            base_url(),
            "GET /v1",
            "127.0.0.1:8787",
            "vendor.test:443",
            "/v1",
        ),
        (
            "a base URL by a container's name",
            base_url(),
            "GET /v1",
            "airlock:8787",
            "vendor.test:443",
            "/v1",
        ),
        (
            "a base URL below localhost",
            base_url(),
            "GET /v1",
            "a.localhost",
            "vendor.test:443",
            "/v1",
        ),
        (
            "a base URL by the vendor's own name",
            base_url(),
            "GET /v1",
            "vendor.test",
            "vendor.test:443",
            "/v1",
        ),
        (
            "a route",
            base_url(),
            "GET /comfy/prompt",
            "localhost",
            "comfy.test:8188",
            "/comfy/prompt",
        ),
        (
            "a route itself",
            base_url(),
            "GET /comfy?x",
            "localhost",
            "comfy.test:8188",
            "/comfy?x",
        ),
        (
            "the longer of two routes",
            base_url(),
            "GET /comfy/queue/1",
            "localhost",
            "queue.test:80",
            "/comfy/queue/1",
        ),
        (
            "a longer word is no route",
            base_url(),
            "GET /comfyui",
            "localhost",
            "vendor.test:443",
            "/comfyui",
        ),
        (
            "a route by the path that is sent, not by the one that came",
            base_url(),
            "GET /comfy/../v1",
            "localhost",
            "vendor.test:443",
            "/v1",
        ),
        (
            "redirected plain HTTP goes by its Host",
            redirected(),
            "GET /x",
            "a.test:8080",
            "a.test:8080",
            "/x",
        ),
        (
            "a query is left as it is",
            explicit_port(),
            "GET http://a.test/x?a=%2e%2e/..&b='",
            "a.test",
            "a.test:80",
            "/x?a=%2e%2e/..&b='",
        ),
    ];
    for (name, connection, line, host, to, target) in rows {
        let text = format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let found = judged(connection, &text).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert_eq!(found.authority, authority(to), "{name}");
        assert_eq!(&*found.target, *target, "{name}");
        let path = target.split('?').next().unwrap();
        assert_eq!(found.path(), path, "{name}");
        let as_it_came = line.split(' ').nth(1) == Some(*target);
        assert_eq!(found.rewritten, !as_it_came, "{name}");
        assert!(!found.upgrade, "{name}");
        let route = match *to {
            "queue.test:80" => Some(0),
            "comfy.test:8188" => Some(1),
            _ => None,
        };
        assert_eq!(found.route, route, "{name}");
    }
}

/// Request line without its version, and Host if there is one; the reason, and the authority that the
/// record names.
type Bad<'a> = (
    &'a str,
    Arc<Connection>,
    &'a str,
    Option<&'a str>,
    Reason,
    Option<&'a str>,
);

#[test]
fn what_cannot_be_one_destination_is_refused_before_policy() {
    use Reason::*;
    let known = Some("a.test");
    let rows: &[Bad<'_>] = &[
        (
            "a path on the proxy port",
            explicit_port(),
            "GET /x",
            known,
            WrongEntry,
            None,
        ),
        (
            "a star on the proxy port",
            explicit_port(),
            "OPTIONS *",
            known,
            WrongEntry,
            None,
        ),
        (
            "URL against Host",
            explicit_port(),
            "GET http://a.test/",
            Some("b.test"),
            AuthorityMismatch,
            Some("a.test:80"),
        ),
        (
            "URL against the port in Host",
            explicit_port(),
            "GET http://a.test/",
            Some("a.test:81"),
            AuthorityMismatch,
            Some("a.test:80"),
        ),
        (
            "a URL inside of a tunnel",
            intercepted(),
            "GET http://a.test/",
            known,
            WrongEntry,
            None,
        ),
        (
            "another Host inside of a tunnel",
            intercepted(),
            "GET /",
            Some("b.test"),
            AuthorityMismatch,
            Some("a.test:443"),
        ),
        (
            "a URL on a base URL",
            base_url(),
            "GET http://a.test/",
            known,
            WrongEntry,
            None,
        ),
        (
            "a foreign name that leads to loopback",
            base_url(),
            "GET /v1",
            Some("rebound.evil.test"),
            AuthorityMismatch,
            Some("rebound.evil.test:80"),
        ),
        (
            "a URL on redirected plain HTTP",
            redirected(),
            "GET http://a.test/",
            known,
            WrongEntry,
            None,
        ),
        (
            "redirected plain HTTP without Host",
            redirected(),
            "GET /",
            None,
            BadAuthority,
            None,
        ),
        (
            "a path with two readings",
            explicit_port(),
            "GET http://a.test/x%2fy",
            known,
            MalformedRequest,
            Some("a.test:80"),
        ),
        (
            "a path that climbs out, on a base URL",
            base_url(),
            "GET /comfy/../../x",
            Some("localhost"),
            MalformedRequest,
            Some("comfy.test:8188"),
        ),
        (
            "a query with a quote",
            explicit_port(),
            "GET http://a.test/?\"",
            known,
            MalformedRequest,
            Some("a.test:80"),
        ),
        (
            "a query with an angle bracket",
            explicit_port(),
            "GET http://a.test/?a<b",
            known,
            MalformedRequest,
            Some("a.test:80"),
        ),
        (
            "a tunnel that is bound to nothing asks as its entry does",
            connection(Entry::Explicit, true, None),
            "GET /",
            known,
            WrongEntry,
            None,
        ),
    ];
    for (name, connection, line, host, reason, about) in rows {
        let (version, host) = match host {
            Some(host) => ("1.1", format!("Host: {host}\r\n")),
            None => ("1.0", String::new()),
        };
        let denial =
            judged(connection, &format!("{line} HTTP/{version}\r\n{host}\r\n")).expect_err(name);
        assert_eq!(denial.reason, *reason, "{name}: {denial:?}");
        assert_eq!(denial.authority, about.map(authority), "{name}");
        assert!(denial.detail.is_some_and(|d| !d.is_empty()), "{name}");
    }
}

#[test]
fn only_websockets_are_upgraded_to() {
    let ask = |protocol: &str| {
        judged(
            &explicit_port(),
            &format!(
                "GET http://a.test/ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
            ),
        )
    };
    assert!(ask("WebSocket").unwrap().upgrade);
    for protocol in ["h2c", "websocket, h2c", "TLS/1.0", ""] {
        let denial = ask(protocol).expect_err(protocol);
        assert_eq!(denial.reason, Reason::UpgradeNotAllowed, "{protocol}");
        assert_eq!(denial.authority, Some(authority("a.test:80")));
    }
}

#[test]
fn a_connect_that_got_this_far_is_of_no_known_form() {
    for connection in [explicit_port(), intercepted(), base_url(), redirected()] {
        let denial = judged(
            &connection,
            "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
        )
        .expect_err("no request");
        assert_eq!(denial.reason, Reason::WrongEntry);
    }
}

#[test]
fn a_name_that_a_browser_can_be_lured_to_is_not_ours() {
    let routes = routes();
    for (host, ours) in [
        ("localhost", true),
        ("airlock", true),
        ("a.localhost", true),
        ("127.0.0.1", true),
        ("192.0.2.7", true),
        ("[::1]", true),
        ("vendor.test", true),
        ("a.vendor.test", false),
        ("evil.test", false),
        ("localhost.evil.test", false),
        ("evillocalhost.test", false),
    ] {
        let parsed = Host::parse(host).unwrap();
        assert_eq!(routes.host_is_ours(&parsed), ours, "{host}");
    }
    assert_eq!(routes.vendor.port, Port::HTTPS);
}
