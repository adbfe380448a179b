//! Hosts and origins that are meant to be read in two ways, at every listener that answers by itself.
//!
//! A proxy port (`explicit`, transparent) is called by any name, and pages of any site go through it; there
//! the Host has to be the one that the request line judges by. Everywhere else a name has to be ours, a page
//! has to be one that may call, and who is behind hears nothing of the rest.

use std::net::SocketAddr;

use super::comfyui::{Answer, ComfyUi};
use crate::support::{Airlock, Wire};

/// Reads `PORT` as the listener's own.
const HOSTS: &[(&str, &str)] = &[
    ("a name that is rebound", "Host: evil.example:PORT"),
    (
        "one that begins like ours",
        "Host: localhost.evil.example:PORT",
    ),
    (
        "one that ends like ours",
        "Host: evil.example.127.0.0.1.example:PORT",
    ),
    (
        "a wildcard name of an address",
        "Host: 127.0.0.1.nip.io:PORT",
    ),
    ("a path behind it", "Host: 127.0.0.1:PORT/evil.example"),
    ("a query behind it", "Host: 127.0.0.1:PORT?evil.example"),
    ("a fragment behind it", "Host: 127.0.0.1:PORT#evil.example"),
    ("a user before it", "Host: 127.0.0.1:PORT@evil.example"),
    ("it as a user", "Host: evil.example@127.0.0.1:PORT"),
    ("two in one line", "Host: 127.0.0.1:PORT, evil.example"),
    (
        "two lines, ours first",
        "Host: 127.0.0.1:PORT\r\nHost: evil.example",
    ),
    (
        "two lines, ours last",
        "Host: evil.example\r\nHost: 127.0.0.1:PORT",
    ),
    (
        "the same twice",
        "Host: 127.0.0.1:PORT\r\nHost: 127.0.0.1:PORT",
    ),
    ("a backslash", "Host: 127.0.0.1:PORT\\@evil.example"),
    ("an encoded null", "Host: 127.0.0.1%00.evil.example"),
    ("a space in it", "Host: 127.0.0.1 evil.example"),
    ("a space before the colon", "Host : 127.0.0.1:PORT"),
    ("a folded line", "Host: 127.0.0.1:PORT\r\n evil.example"),
    ("an open bracket", "Host: [::1"),
    ("two ports", "Host: 127.0.0.1:PORT:80"),
    ("a scheme", "Host: http://127.0.0.1:PORT"),
    ("nothing but a port", "Host: :PORT"),
];

/// Each with our own Host before it.
const ORIGINS: &[(&str, &str)] = &[
    ("null", "Origin: null"),
    ("a public site", "Origin: https://evil.example"),
    (
        "one that begins like ours",
        "Origin: http://127.0.0.1:PORT.evil.example",
    ),
    ("a path behind ours", "Origin: http://127.0.0.1:PORT/"),
    (
        "a query behind ours",
        "Origin: http://127.0.0.1:PORT?evil.example",
    ),
    (
        "a fragment behind ours",
        "Origin: http://127.0.0.1:PORT#evil.example",
    ),
    (
        "ours as a user",
        "Origin: http://127.0.0.1:PORT@evil.example",
    ),
    (
        "a user before ours",
        "Origin: http://evil.example@127.0.0.1:PORT",
    ),
    (
        "two in one line",
        "Origin: http://127.0.0.1:PORT, https://evil.example",
    ),
    (
        "two in one line, as RFC 6454 has lists",
        "Origin: http://127.0.0.1:PORT https://evil.example",
    ),
    (
        "two lines, ours first",
        "Origin: http://127.0.0.1:PORT\r\nOrigin: https://evil.example",
    ),
    (
        "the same twice",
        "Origin: http://127.0.0.1:PORT\r\nOrigin: http://127.0.0.1:PORT",
    ),
    ("another scheme", "Origin: file://127.0.0.1:PORT"),
    (
        "an extension of the browser",
        "Origin: chrome-extension://abcdefghijklmnop",
    ),
    ("no scheme", "Origin: 127.0.0.1:PORT"),
    ("nothing", "Origin: "),
    ("a backslash", "Origin: http:\\\\127.0.0.1:PORT"),
    ("a name with a space", "Origin: http://local host:PORT"),
];

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

struct Place {
    name: &'static str,
    address: SocketAddr,
    path: &'static str,
}

fn before(comfyui: &ComfyUi) -> (Airlock, Vec<Place>) {
    let behind = comfyui.address();
    let airlock = Airlock::start(&format!(
        "listeners:\n  explicit: 127.0.0.1:0\n  admin: 127.0.0.1:0\n  reverse:\n    listen: 127.0.0.1:0\n    \
         routes:\n      - path_prefix: /behind\n        upstream: http://{behind}\n        upgrade: true\n\
         llm:\n  discover: false\nfront_door:\n  listen: 127.0.0.1:0\n  comfyui: http://{behind}\n"
    ));
    let ready = &airlock.ready;
    let places = vec![
        Place {
            name: "the front door",
            address: ready.front_door.unwrap(),
            path: "/behind",
        },
        Place {
            name: "the base URL",
            address: ready.reverse,
            path: "/behind",
        },
        Place {
            name: "the control plane",
            address: ready.admin,
            path: "/status",
        },
    ];
    (airlock, places)
}

fn comfyui() -> ComfyUi {
    ComfyUi::serving(vec![("/behind", Answer::file("application/json", "{}"))])
}

/// The status, and whether we said it.
fn ask(place: &Place, lines: &str) -> u16 {
    let lines = lines.replace("PORT", &place.address.port().to_string());
    let request = format!("GET {} HTTP/1.1\r\n{lines}\r\n\r\n", place.path);
    Wire::to(place.address).ask(request).status
}

#[test]
fn no_listener_answers_to_a_name_that_is_not_its_own() {
    let comfyui = comfyui();
    let (_airlock, places) = before(&comfyui);
    for place in &places {
        let own = ask(place, "Host: 127.0.0.1:PORT");
        assert_eq!(own, 200, "{}: its own name", place.name);
        let heard = comfyui.heads().len();
        for (name, lines) in HOSTS {
            let status = ask(place, lines);
            assert!(
                matches!(status, 400 | 403 | 421),
                "{}, {name}: {status}",
                place.name
            );
        }
        assert_eq!(comfyui.heads().len(), heard, "{}", place.name);
    }
}

#[test]
fn no_listener_answers_a_page_that_may_not_call_it() {
    let comfyui = comfyui();
    let (airlock, places) = before(&comfyui);
    for place in &places {
        let own = ask(
            place,
            "Host: 127.0.0.1:PORT\r\nOrigin: http://127.0.0.1:PORT",
        );
        assert_eq!(own, 200, "{}: its own page", place.name);
        let heard = comfyui.heads().len();
        for (name, lines) in ORIGINS {
            for upgrade in ["", UPGRADE] {
                let lines = format!("Host: 127.0.0.1:PORT\r\n{upgrade}{lines}");
                let status = ask(place, &lines);
                assert!(
                    matches!(status, 400 | 403),
                    "{}, {name}: {status}",
                    place.name
                );
            }
        }
        assert_eq!(comfyui.heads().len(), heard, "{}", place.name);
    }
    let refused = airlock.metric(
        "airlock_decisions_total",
        &[("reason", "origin_not_allowed")],
    );
    assert!(refused > 40, "{refused} are counted as what they are");
}

/// On a proxy port a Host may be anything, as long as it is what is judged.
#[test]
fn a_proxy_port_goes_by_one_name() {
    let comfyui = comfyui();
    let (airlock, _) = before(&comfyui);
    let address = airlock.ready.explicit;
    for (name, lines) in HOSTS {
        let lines = lines.replace("PORT", &address.port().to_string());
        for target in ["http://127.0.0.1/behind", "/behind"] {
            let request = format!("GET {target} HTTP/1.1\r\n{lines}\r\n\r\n");
            let status = Wire::to(address).ask(request).status;
            assert!(
                matches!(status, 400 | 403 | 421),
                "{name}, {target}: {status}"
            );
        }
    }
    assert!(comfyui.heads().is_empty(), "{:?}", comfyui.heads());
}

/// What reaches ComfyUI agrees with itself, so that its own check of Host and Origin holds and passes.
#[test]
fn what_comfyui_compares_is_what_the_browser_sent() {
    let comfyui = comfyui();
    let (_airlock, places) = before(&comfyui);
    let door = &places[0];
    for (host, origin) in [
        ("127.0.0.1:PORT", "http://127.0.0.1:PORT"),
        ("localhost:PORT", "http://localhost:PORT"),
        ("LOCALHOST:PORT", "http://localhost:PORT"),
        ("[::1]:PORT", "http://[::1]:PORT"),
    ] {
        let lines = format!("Host: {host}\r\nOrigin: {origin}");
        assert_eq!(ask(door, &lines), 200, "{host}");
        let head = comfyui.heads().pop().unwrap().to_ascii_lowercase();
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let (host, origin) = (field("host: ").unwrap(), field("origin: ").unwrap());
        assert_eq!(origin.strip_prefix("http://"), Some(host), "{head}");
    }
}
