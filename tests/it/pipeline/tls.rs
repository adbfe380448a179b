//! ClientHellos that hide, lie, never end or resume what is another's; and versions of TLS.

use std::{fs, sync::Arc};

use rustls::{
    HandshakeKind, ServerConfig,
    version::{TLS12, TLS13},
};

use super::PICTURE;
use crate::support::{
    Airlock, Identity, Origin, Setup, Wire, client_hello, handshake, outer_ech, speaking, trusting,
    with_extension, without_extension,
};

const ECH: u16 = 0xfe0d;

/// A tunnel to `localhost`, whose TLS server has the CA of `identity`.
fn tunnel(identity: &Identity, origin: &Origin, ca: bool, more: &str) -> Airlock {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    fs::write(&file, &identity.ca_pem).unwrap();
    let port = origin.port();
    let ca_file = match ca {
        true => format!("\n    ca_file: {}", file.display()),
        false => String::new(),
    };
    Setup::rules(format!(
        "{PICTURE}  - name: through\n    hosts: [localhost]\n    ports: [{port}]\n    action: tunnel\n"
    ))
    .more(format!(
        "upstreams:\n  - name: mine\n    url: https://localhost:{port}{ca_file}\n{more}"
    ))
    .start()
}

/// Takes the hello and says so: what comes behind is not looked at.
fn takes_hellos() -> (Identity, Origin) {
    let identity = Identity::of(&["localhost"]);
    let origin = Origin::scripted_tls(
        identity.server.clone(),
        |mut guest| {
            while guest.line().is_some() {}
        },
    );
    (identity, origin)
}

/// Whether the server's answer to this hello comes back through a tunnel.
fn answered(airlock: &Airlock, origin: &Origin, hello: &[u8]) -> bool {
    let authority = format!("localhost:{}", origin.port());
    let mut wire = Wire::to(airlock.ready.explicit).connect(&authority);
    wire.send(hello);
    // A ServerHello is a handshake record.
    !wire.closed() && wire.exact(1) == [0x16]
}

fn with_ech() -> Vec<u8> {
    with_extension(&client_hello("localhost"), ECH, &outer_ech())
}

#[test]
fn grease_passes_a_tunnel_whose_server_takes_no_encrypted_hellos() {
    let (identity, origin) = takes_hellos();
    let airlock = tunnel(&identity, &origin, true, "");
    for _ in 0..3 {
        assert!(answered(&airlock, &origin, &with_ech()));
    }
    // The server was asked once, by a connection of its own.
    assert_eq!(
        airlock.metric("airlock_upstream_sockets_total", &[("outcome", "ok")]),
        4
    );
    let records = airlock.exactly(3);
    assert!(
        records.iter().all(|r| r["action"] == "tunnel"),
        "{records:#?}"
    );
}

#[test]
fn grease_passes_a_tunnel_whose_server_knows_tls_1_2_alone() {
    let identity = Identity::of(&["localhost"]);
    let mut server = ServerConfig::builder_with_protocol_versions(&[&TLS12])
        .with_no_client_auth()
        .with_cert_resolver(identity.server.cert_resolver.clone());
    server.alpn_protocols = Vec::new();
    let origin = Origin::scripted_tls(
        Arc::new(server),
        |mut guest| while guest.line().is_some() {},
    );
    let airlock = tunnel(&identity, &origin, true, "");
    assert!(answered(&airlock, &origin, &with_ech()));
}

#[test]
fn an_encrypted_hello_is_refused_where_its_server_might_read_it() {
    let (identity, origin) = takes_hellos();
    let silent = Origin::scripted(|mut guest| {
        guest.exact(200);
    });
    let rows = [
        (
            "the setting refuses it",
            &origin,
            true,
            "tls:\n  encrypted_client_hello: refuse",
            0,
        ),
        ("the server cannot prove its name", &origin, false, "", 1),
        ("the server breaks off", &silent, true, "", 1),
    ];
    for (name, origin, ca, more, asked) in rows {
        let airlock = tunnel(&identity, origin, ca, more);
        let before = origin.connections();
        assert!(!answered(&airlock, origin, &with_ech()), "{name}");
        let record = airlock.only_record();
        assert_eq!(
            (&record["action"], &record["reason"]),
            (&"deny".into(), &"ech_refused".into()),
            "{name}: {record}"
        );
        assert_eq!(origin.connections() - before, asked, "{name}");
        assert_eq!(
            airlock.metric("airlock_decisions_total", &[("reason", "ech_refused")]),
            1
        );
        // Without the extension it passes.
        assert!(
            more.is_empty() || answered(&airlock, origin, &client_hello("localhost")),
            "{name}"
        );
    }
}

/// TLS ends here: the outer name is the one that was judged, and the one that is served.
#[test]
fn an_intercepted_host_takes_grease_and_serves_the_outer_name() {
    for mode in ["refuse", "allow_grease"] {
        let airlock = Setup {
            listeners: "  transparent_tls: 127.0.0.1:0\n".into(),
            ..Setup::rules(PICTURE)
        }
        .more(format!("tls:\n  encrypted_client_hello: {mode}"))
        .start();
        let hello = with_extension(&client_hello("pic.test"), ECH, &outer_ech());
        let mut wire = Wire::to(airlock.ready.explicit).connect("pic.test:443");
        assert_eq!(wire.send(&hello).exact(1), [0x16], "{mode}");
        let mut wire = Wire::to(airlock.ready.transparent_tls.unwrap());
        assert_eq!(wire.send(&hello).exact(1), [0x16], "{mode}");
        airlock.assert_touched_nothing();
    }
}

/// A name in the SNI extension, with its type.
fn names(entries: &[(u8, &[u8])]) -> Vec<u8> {
    let mut list = Vec::new();
    for (kind, name) in entries {
        list.push(*kind);
        list.extend((name.len() as u16).to_be_bytes());
        list.extend(*name);
    }
    let mut data = (list.len() as u16).to_be_bytes().to_vec();
    data.extend(list);
    data
}

#[test]
fn a_hello_that_two_servers_could_read_two_ways_is_refused_in_tunnels_and_interceptions() {
    // An address as server name gives a hello without SNI, to which one is added.
    let bare = client_hello("127.0.0.1");
    let full = client_hello("pic.test");
    let rows: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "SNI twice",
            with_extension(&full, 0, &names(&[(0, b"pic.test")])),
            "client_hello_invalid",
        ),
        (
            "two names in it",
            with_extension(&bare, 0, &names(&[(0, b"pic.test"), (0, b"evil.test")])),
            "client_hello_invalid",
        ),
        (
            "two names of two types",
            with_extension(&bare, 0, &names(&[(1, b"x"), (0, b"pic.test")])),
            "client_hello_invalid",
        ),
        (
            "a name of an unknown type",
            with_extension(&bare, 0, &names(&[(1, b"pic.test")])),
            "client_hello_invalid",
        ),
        (
            "an IPv4 literal",
            with_extension(&bare, 0, &names(&[(0, b"127.0.0.1")])),
            "client_hello_invalid",
        ),
        (
            "an IPv6 literal",
            with_extension(&bare, 0, &names(&[(0, b"::1")])),
            "client_hello_invalid",
        ),
        (
            "a bracketed literal",
            with_extension(&bare, 0, &names(&[(0, b"[::1]")])),
            "client_hello_invalid",
        ),
        (
            "a NUL in the name",
            with_extension(&bare, 0, &names(&[(0, b"pic.test\0.evil.test")])),
            "client_hello_invalid",
        ),
        (
            "an empty name",
            with_extension(&bare, 0, &names(&[(0, b"")])),
            "client_hello_invalid",
        ),
        (
            "an 8-bit name",
            with_extension(&bare, 0, &names(&[(0, b"p\xc3\xafc.test")])),
            "client_hello_invalid",
        ),
        (
            "the inner form of an encrypted hello",
            with_extension(&full, ECH, &[1]),
            "client_hello_invalid",
        ),
        (
            "the extension twice",
            with_extension(&with_extension(&full, ECH, &outer_ech()), ECH, &outer_ech()),
            "client_hello_invalid",
        ),
        ("another name", client_hello("evil.test"), "sni_mismatch"),
        ("no name", bare.clone(), "sni_missing"),
    ];
    let airlock = Setup::rules(format!(
        "{PICTURE}  - name: through\n    hosts: [tunnel.test]\n    action: tunnel\n"
    ))
    .start();
    for (n, (name, hello, reason)) in rows.iter().enumerate() {
        let mut wire = Wire::to(airlock.ready.explicit).connect("pic.test:443");
        wire.send(hello);
        assert!(wire.closed(), "{name}: left open, or answered");
        let record = airlock.record(n + 1);
        assert_eq!(
            (&record["action"], &record["reason"]),
            (&"deny".into(), &(*reason).into()),
            "{name}: {record}"
        );
    }
    airlock.assert_touched_nothing();
    airlock.assert_healthy();
}

#[test]
fn a_hello_in_any_pieces_is_taken_and_one_without_end_is_not() {
    let airlock = Setup::rules(PICTURE)
        .more("limits:\n  client_hello_timeout: 500ms")
        .start();
    let hello = client_hello("pic.test");
    // One handshake message over many records, each in a segment of its own.
    for size in [1, 7, 50] {
        let mut wire = Wire::to(airlock.ready.explicit).connect("pic.test:443");
        for piece in hello[5..].chunks(size) {
            let mut record = vec![0x16, 3, 1];
            record.extend((piece.len() as u16).to_be_bytes());
            record.extend(piece);
            wire.send(record);
        }
        assert_eq!(wire.exact(1), [0x16], "records of {size}");
    }
    // Padding is an extension, too.
    let padded = |n: usize| with_extension(&hello, 21, &vec![0; n]);
    let mut wire = Wire::to(airlock.ready.explicit).connect("pic.test:443");
    assert_eq!(wire.send(padded(12 << 10)).exact(1), [0x16]);
    let before = airlock.exactly(4).len();

    let mut endless = vec![0x16, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff];
    endless.extend(vec![3; 100 << 10]);
    let mut huge = vec![0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
    huge.extend(vec![3; 16 << 10]);
    let empties: Vec<u8> = std::iter::repeat_n([0x16_u8, 3, 1, 0, 0], 1000)
        .flatten()
        .collect();
    let rows = [
        ("bytes without end", endless, "client_hello_invalid"),
        ("a length of 16 MiB", huge, "client_hello_invalid"),
        ("empty records without end", empties, "client_hello_invalid"),
        (
            "a first half",
            hello[..hello.len() / 2].to_vec(),
            "client_hello_timeout",
        ),
    ];
    for (n, (name, bytes, reason)) in rows.into_iter().enumerate() {
        let mut wire = Wire::to(airlock.ready.explicit).connect("pic.test:443");
        wire.send(bytes);
        assert!(wire.closed(), "{name}");
        assert_eq!(airlock.record(before + n + 1)["reason"], reason, "{name}");
    }
}

#[test]
fn tls_1_2_and_1_3_are_spoken_and_nothing_older() {
    let airlock = Setup::rules(PICTURE).start();
    let get = "GET / HTTP/1.1\r\nHost: pic.test\r\n\r\n";
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(speaking(&airlock.ready.ca_bundle, &[version]));
        let outside = Wire::to(airlock.ready.explicit).connect("pic.test:443");
        let mut inside = handshake(outside, &config, "pic.test").unwrap();
        assert_eq!(inside.ask(get).status, 200);
        assert_eq!(inside.stream.conn.protocol_version(), Some(version.version));
    }
    // TLS 1.1, as clients of its time asked for it.
    const SUPPORTED_VERSIONS: u16 = 43;
    let mut hello = without_extension(&client_hello("pic.test"), SUPPORTED_VERSIONS);
    hello[10] = 2;
    let mut wire = Wire::to(airlock.ready.explicit).connect("pic.test:443");
    wire.send(hello);
    // An alert, and the end.
    assert!(wire.closed() || wire.exact(1) == [0x15]);
    let record = airlock.record(5);
    assert_eq!(record["ended"], "tls_handshake_failed", "{record}");
}

/// EGRESS 32: a session of one name says nothing about another.
#[test]
fn a_session_is_resumed_under_its_own_name_and_under_no_other() {
    let airlock = Setup::rules(format!(
        "{PICTURE}  - name: other\n    hosts: [other.test]\n    respond: image\n"
    ))
    .start();
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(speaking(&airlock.ready.ca_bundle, &[version]));
        let kind = |host: &str, config: &Arc<rustls::ClientConfig>| {
            let outside = Wire::to(airlock.ready.explicit).connect(&format!("{host}:443"));
            let mut inside = handshake(outside, config, host).unwrap();
            // The ticket comes behind the handshake.
            let reply = inside.ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            assert_eq!(reply.status, 200);
            inside.stream.conn.handshake_kind()
        };
        assert_eq!(kind("pic.test", &config), Some(HandshakeKind::Full));
        assert_eq!(kind("pic.test", &config), Some(HandshakeKind::Resumed));
        // A client that shows the ticket of one name to another: its store knows one session only.
        let mut confused = (*config).clone();
        confused.resumption =
            rustls::client::Resumption::store(Arc::new(confusion::OneForAll::default()));
        let confused = Arc::new(confused);
        kind("pic.test", &confused);
        assert_eq!(
            kind("other.test", &confused),
            Some(HandshakeKind::Full),
            "{:?}: the ticket of pic.test was taken under other.test",
            version.version
        );
    }
}

/// A client's session store that gives out whatever it has, whoever is asked for.
mod confusion {
    use std::sync::Mutex;

    use rustls::{
        NamedGroup,
        client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue},
        pki_types::ServerName,
    };

    #[derive(Debug, Default)]
    pub struct OneForAll {
        tls12: Mutex<Option<Tls12ClientSessionValue>>,
        tls13: Mutex<Vec<Tls13ClientSessionValue>>,
    }

    impl ClientSessionStore for OneForAll {
        fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}
        fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
            None
        }
        fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
            *self.tls12.lock().unwrap() = Some(value);
        }
        fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
            self.tls12.lock().unwrap().clone()
        }
        fn remove_tls12_session(&self, _: &ServerName<'static>) {
            *self.tls12.lock().unwrap() = None;
        }
        fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
            self.tls13.lock().unwrap().push(value);
        }
        fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
            self.tls13.lock().unwrap().pop()
        }
    }
}

/// Whoever asks for a retry: the second hello goes by the first one's name, or the handshake ends.
#[test]
fn a_second_name_after_a_hello_retry_request_is_not_served() {
    let airlock = Setup::rules(format!(
        "{PICTURE}  - name: other\n    hosts: [other.test]\n    respond: image\n"
    ))
    .start();
    // Offers a group without a share for it: the server has to ask again.
    let retried = |second: &str| {
        let first = hello_without_share("pic.test");
        let mut wire = Wire::to(airlock.ready.explicit).connect("pic.test:443");
        wire.send(&first);
        let header = wire.exact(5);
        assert_eq!(header[0], 0x16);
        let body = wire.exact(usize::from(u16::from_be_bytes([header[3], header[4]])));
        // The random that marks a HelloRetryRequest (RFC 8446 4.1.3).
        assert_eq!(
            &body[6..10],
            [0xcf, 0x21, 0xad, 0x74],
            "no retry was asked for"
        );
        wire.send(client_hello(second));
        // Change-cipher-spec for compatibility, then the verdict.
        loop {
            if wire.closed() {
                return false;
            }
            let header = wire.exact(5);
            let body = wire.exact(usize::from(u16::from_be_bytes([header[3], header[4]])));
            match header[0] {
                0x14 => {}
                0x15 => return false,
                _ => return body[0] == 2,
            }
        }
    };
    assert!(!retried("other.test"));
    airlock.assert_touched_nothing();
}

/// A hello whose key share list is empty.
fn hello_without_share(name: &str) -> Vec<u8> {
    const KEY_SHARE: u16 = 51;
    let bare = without_extension(&client_hello(name), KEY_SHARE);
    with_extension(&bare, KEY_SHARE, &[0, 0])
}

#[test]
fn whoever_is_intercepted_is_offered_http_1_1_alone() {
    let airlock = Setup::rules(PICTURE).start();
    let mut config = (*trusting(&airlock.ready.ca_bundle)).clone();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let outside = Wire::to(airlock.ready.explicit).connect("pic.test:443");
    let mut inside = handshake(outside, &Arc::new(config.clone()), "pic.test").unwrap();
    assert_eq!(
        inside.stream.conn.alpn_protocol(),
        Some(b"http/1.1".as_slice())
    );
    // And who speaks h2 all the same is told so.
    let reply = inside.ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (400, "malformed_request")
    );
    assert!(reply.text().contains("HTTP/2"), "{}", reply.text());
    assert!(inside.closed());

    config.alpn_protocols = vec![b"h2".to_vec()];
    let outside = Wire::to(airlock.ready.explicit).connect("pic.test:443");
    assert!(handshake(outside, &Arc::new(config), "pic.test").is_err());
    airlock.assert_touched_nothing();
}
