//! The kill switch by every entry at once: what it cuts, and what stays on this machine.

use super::{forward_rule, streaming, switching, upstreams};
use crate::support::{Airlock, Origin, Setup, Wire};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Sends this and reads the answer's head, and a byte or more behind it.
fn open(mut wire: Wire, target: &str, host: &str, more: &str) -> Wire {
    wire.send(format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"
    ));
    let head = String::from_utf8(wire.head().expect("an answer")).unwrap();
    match more.is_empty() {
        true => {
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert_eq!(wire.exact(10), b"5\r\nfirst\r\n");
        }
        false => {
            assert!(head.starts_with("HTTP/1.1 101"), "{head}");
            echoes(&mut wire);
        }
    }
    wire
}

fn echoes(wire: &mut Wire) {
    wire.send("x");
    assert_eq!(wire.exact(1), b"x");
}

fn lockdown(airlock: &Airlock, arguments: &[&str]) -> u64 {
    let out = airlock.command(&[&["lockdown", "on", "--json"], arguments].concat());
    assert_eq!(out.0, 0, "{out:?}");
    super::json_of(&out)["cut"].as_u64().unwrap()
}

#[test]
fn a_lockdown_cuts_streams_and_web_sockets_of_every_entry_and_leaves_comfyui_until_all_is_shut() {
    let (stream, socket, comfyui) = (streaming(), switching(), switching());
    let rules =
        forward_rule(stream.port(), "") + &forward_rule(socket.port(), "    upgrade: true\n");
    let route = |prefix: &str, to: &Origin, upgrade: bool| {
        format!(
            "      - path_prefix: /{prefix}\n        upstream: http://{}\n        upgrade: {upgrade}\n",
            to.address
        )
    };
    let airlock = Setup {
        listeners: "  transparent_http: 127.0.0.1:0\n".into(),
        routes: route("stream", &stream, false) + &route("socket", &socket, true),
        ..Setup::rules(rules)
    }
    .more(upstreams(&[stream.port(), socket.port()]))
    .more(format!(
        "front_door:\n  listen: 127.0.0.1:0\n  comfyui: http://{}",
        comfyui.address
    ))
    .start();
    let ready = &airlock.ready;
    let door = ready.front_door.unwrap();
    let (stream, socket) = (stream.address.to_string(), socket.address.to_string());
    let whole = |to: &str| format!("http://{to}/x");
    let transparent = ready.transparent_http.unwrap();
    let to = |address| Wire::to(address);
    let mut cut = [
        (
            "explicit, stream",
            open(to(ready.explicit), &whole(&stream), &stream, ""),
        ),
        (
            "explicit, socket",
            open(to(ready.explicit), &whole(&socket), &socket, UPGRADE),
        ),
        (
            "transparent, stream",
            open(to(transparent), "/x", &stream, ""),
        ),
        (
            "transparent, socket",
            open(to(transparent), "/x", &socket, UPGRADE),
        ),
        (
            "reverse, stream",
            open(to(ready.reverse), "/stream/x", "a", ""),
        ),
        (
            "reverse, socket",
            open(to(ready.reverse), "/socket/x", "a", UPGRADE),
        ),
    ];
    let mut on_this_machine = open(to(door), "/ws", &door.to_string(), UPGRADE);

    assert_eq!(lockdown(&airlock, &[]), 6);
    for (name, wire) in &mut cut {
        assert!(wire.closed(), "{name}");
    }
    echoes(&mut on_this_machine);
    assert_eq!(lockdown(&airlock, &["--all"]), 1);
    assert!(on_this_machine.closed());
    let records = airlock.exactly(7);
    assert!(
        records.iter().all(|r| r["ended"] == "locked_down"),
        "{records:#?}"
    );
}
