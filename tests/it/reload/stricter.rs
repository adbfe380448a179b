//! A reload that tightens what is beside the rules: what is looked for in requests, encrypted hellos, CAs.
//! What would be refused now is cut, and the rest goes on.

use std::fs;

use super::{echo, forward_rule, get, json_of, streaming, switching, tunnel_rule, upstreams};
use crate::support::{
    Airlock, Identity, Origin, Setup, Wire, client_hello, outer_ech, with_extension,
};

const ECH: u16 = 0xfe0d;

fn reload(airlock: &Airlock, setup: &Setup) -> u64 {
    airlock.rewrite(setup);
    let out = airlock.command(&["reload", "--json"]);
    assert_eq!(out.0, 0, "{out:?}");
    json_of(&out)["cut"].as_u64().unwrap()
}

/// Opens a stream; it goes on for as long as nobody cuts it.
fn open(airlock: &Airlock, request: String) -> Wire {
    let mut wire = Wire::to(airlock.ready.explicit);
    wire.send(request);
    let head = wire.head().expect("an answer");
    assert!(head.starts_with(b"HTTP/1.1 200"), "{head:?}");
    assert_eq!(wire.exact(10), b"5\r\nfirst\r\n");
    wire
}

/// Whether so many are open: they all end when everything is refused.
fn assert_open(airlock: &Airlock, open: u64) {
    assert_eq!(reload(airlock, &Setup::rules(super::PICTURE)), open);
}

#[test]
fn a_string_that_is_looked_for_now_cuts_what_holds_it_and_what_nobody_can_look_into_again() {
    let (stream, sink) = (streaming(), swallowing());
    let more = upstreams(&[stream.port(), sink.port()]);
    let rules = forward_rule(stream.port(), "") + &forward_rule(sink.port(), "");
    let setup =
        |secrets: &str| Setup::rules(rules.clone()).more(format!("{more}secrets:\n  {secrets}\n"));
    let airlock = setup("own: [harmless-word]").start();
    let mut named = open(
        &airlock,
        get(&stream, "X-Note: about the heron-project\r\n"),
    );
    let mut asking = open(
        &airlock,
        get(&stream, "").replace("/x ", "/x?q=heron%2Dproject "),
    );
    let clean = open(&airlock, get(&stream, "X-Note: about birds\r\n"));
    let mut sending = Wire::to(airlock.ready.explicit);
    sending.send(post(&sink));
    assert!(sending.head().unwrap().starts_with(b"HTTP/1.1 200"));

    let closer = setup("own: [harmless-word, heron-project]");
    assert_eq!(reload(&airlock, &closer), 3);
    for (name, wire) in [
        ("the string is in a header", &mut named),
        ("the string is in the query, encoded", &mut asking),
        ("its body was not looked through for it", &mut sending),
    ] {
        assert!(wire.closed(), "{name}");
    }
    let records = airlock.exactly(3);
    assert!(
        records.iter().all(|r| r["ended"] == "policy_changed"),
        "{records:#?}"
    );
    // Looking for less cuts nobody.
    assert_eq!(reload(&airlock, &setup("own: [heron-project]")), 0);
    assert_open(&airlock, 1);
    drop(clean);
}

#[test]
fn a_rule_that_looks_at_last_cuts_what_it_let_pass_unread() {
    let (stream, socket) = (streaming(), switching());
    let more = upstreams(&[stream.port(), socket.port()]);
    let setup = |mode: &str| {
        let read = format!("    secrets: {mode}\n");
        let rules = forward_rule(stream.port(), &read)
            + &forward_rule(socket.port(), "    upgrade: true\n    secrets: redact\n");
        Setup::rules(rules).more(&more)
    };
    let airlock = setup("off").start();
    let mut unread = open(&airlock, get(&stream, ""));
    let mut talking = super::web_socket(&airlock, &socket);
    assert_eq!(reload(&airlock, &setup("block")), 1);
    assert!(unread.closed());
    let looked_into = open(&airlock, get(&stream, ""));
    // Less is looked for: nobody is cut.
    assert_eq!(reload(&airlock, &setup("redact")), 0);
    talking.send("x");
    assert_eq!(talking.exact(1), b"x", "the other rule's is not touched");
    assert_open(&airlock, 2);
    drop(looked_into);
}

#[test]
fn a_body_that_nobody_could_read_is_cut_where_it_has_to_be_read() {
    let sink = swallowing();
    let more = upstreams(&[sink.port()]);
    let setup = |pass: &str| {
        Setup::rules(forward_rule(
            sink.port(),
            &format!("    encoded_bodies: {pass}\n"),
        ))
        .more(&more)
    };
    let airlock = setup("true").start();
    let send = |extra: &str| {
        let mut wire = Wire::to(airlock.ready.explicit);
        wire.send(post(&sink).replace("\r\n\r\n", &format!("\r\n{extra}\r\n")));
        assert!(wire.head().unwrap().starts_with(b"HTTP/1.1 200"));
        wire
    };
    let mut packed = send("Content-Encoding: gzip\r\n");
    let plain = send("");
    assert_eq!(reload(&airlock, &setup("false")), 1);
    assert!(packed.closed());
    assert_open(&airlock, 1);
    drop(plain);
}

#[test]
fn a_tunnel_that_hides_a_name_is_cut_when_such_tunnels_are_refused() {
    let identity = Identity::of(&["localhost"]);
    let origin = Origin::scripted_tls(
        identity.server.clone(),
        |mut guest| while guest.line().is_some() {},
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    fs::write(&file, &identity.ca_pem).unwrap();
    let port = origin.port();
    let setup = |mode: &str| {
        Setup::rules(tunnel_rule(port)).more(format!(
            "upstreams:\n  - name: mine\n    url: https://localhost:{port}\n    ca_file: {}\ntls:\n  encrypted_client_hello: {mode}\n",
            file.display()
        ))
    };
    let airlock = setup("allow_grease").start();
    let tunnel = |hello: &[u8]| {
        let mut wire = Wire::to(airlock.ready.explicit).connect(&format!("localhost:{port}"));
        wire.send(hello);
        assert_eq!(wire.exact(1), [0x16], "the server's answer");
        wire
    };
    let plain = client_hello("localhost");
    let mut hiding = tunnel(&with_extension(&plain, ECH, &outer_ech()));
    let showing = tunnel(&plain);
    assert_eq!(reload(&airlock, &setup("refuse")), 1);
    while hiding.byte().is_some() {}
    let record = airlock.only_record();
    assert_eq!(record["ended"], "policy_changed", "{record}");
    assert_open(&airlock, 1);
    drop(showing);
}

#[test]
fn a_stream_from_a_server_whose_ca_is_trusted_no_more_is_cut() {
    let identity = Identity::of(&["127.0.0.1"]);
    let other = Identity::of(&["127.0.0.1"]);
    let stream = || {
        Origin::scripted_tls(identity.server.clone(), |mut guest| {
            guest.head();
            guest.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
            echo(guest);
        })
    };
    let (left, kept) = (stream(), stream());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: &str| {
        let path = folder.path().join(name);
        fs::write(&path, pem).unwrap();
        path.display().to_string()
    };
    let ours = file("ours.pem", &identity.ca_pem);
    let both = file("both.pem", &format!("{}{}", identity.ca_pem, other.ca_pem));
    let theirs = file("theirs.pem", &other.ca_pem);
    let setup = |of_left: &str, of_kept: &str| {
        let items: String = [(&left, of_left), (&kept, of_kept)]
            .iter()
            .map(|(origin, ca)| {
                let port = origin.port();
                format!(
                    "  - name: up{port}\n    url: https://127.0.0.1:{port}\n    ca_file: {ca}\n"
                )
            })
            .collect();
        let route = |prefix: &str, origin: &Origin| {
            let port = origin.port();
            format!("      - path_prefix: /{prefix}\n        upstream: https://127.0.0.1:{port}\n")
        };
        Setup {
            routes: route("left", &left) + &route("kept", &kept),
            ..Setup::rules(super::PICTURE)
        }
        .more(format!("upstreams:\n{items}"))
    };
    let airlock = setup(&ours, &ours).start();
    let open = |prefix: &str| {
        let mut wire = Wire::to(airlock.ready.reverse);
        wire.send(format!("GET /{prefix}/x HTTP/1.1\r\nHost: a\r\n\r\n"));
        let head = wire.head().expect("an answer");
        assert!(head.starts_with(b"HTTP/1.1 200"), "{head:?}");
        assert_eq!(wire.exact(10), b"5\r\nfirst\r\n");
        wire
    };
    let mut cut = open("left");
    let goes_on = open("kept");
    assert_eq!(reload(&airlock, &setup(&theirs, &both)), 1);
    assert!(cut.closed());
    let record = airlock.only_record();
    assert_eq!(record["ended"], "policy_changed", "{record}");
    drop(goes_on);
}

/// Answers at once, and reads on.
fn swallowing() -> Origin {
    Origin::scripted(|mut guest| {
        guest.head();
        guest.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while guest.byte().is_some() {}
    })
}

/// A body that is not at its end.
fn post(to: &Origin) -> String {
    let address = to.address;
    format!("POST http://{address}/x HTTP/1.1\r\nHost: {address}\r\nContent-Length: 9000\r\n\r\n")
}
