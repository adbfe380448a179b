//! Interception: a leaf of ours, the pipeline inside, and an upstream that is verified all the same.

use super::PICTURE;
use crate::support::{Airlock, Identity, Origin, Setup, TlsWire, Wire, handshake, shown, trusting};

fn inside(airlock: &Airlock, authority: &str) -> TlsWire {
    let name = authority.split(':').next().unwrap();
    let outside = Wire::to(airlock.ready.explicit).connect(authority);
    handshake(outside, &trusting(&airlock.ready.ca_bundle), name).expect("our leaf is trusted")
}

#[test]
fn requests_inside_are_judged_and_recorded_one_by_one() {
    let airlock = Setup::rules(
        "  - name: picture\n    hosts: [pic.test]\n    paths: [/ok/*]\n    respond: image\n",
    )
    .start();
    let mut wire = inside(&airlock, "pic.test:443");
    for path in ["/ok/a.png", "/ok/b.png"] {
        let reply = wire.ask(format!("GET {path} HTTP/1.1\r\nHost: pic.test\r\n\r\n"));
        assert_eq!(
            (reply.status, reply.header("connection")),
            (200, Some("keep-alive"))
        );
    }
    let reply = wire.ask("GET /other HTTP/1.1\r\nHost: pic.test\r\n\r\n");
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (403, "host_known_request_not")
    );
    assert!(wire.closed());

    let records = airlock.exactly(4);
    let seen: Vec<_> = records
        .iter()
        .map(|r| [&r["kind"], &r["action"], &r["authority"]].map(|v| v.as_str().unwrap()))
        .collect();
    let authority = "pic.test:443";
    assert_eq!(
        seen,
        [
            ["connection", "intercept", authority],
            ["request", "respond", authority],
            ["request", "respond", authority],
            ["request", "deny", authority],
        ]
    );
    airlock.assert_touched_nothing();
}

#[test]
fn another_host_inside_is_misdirected() {
    for (name, request) in [
        ("by Host", "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n"),
        ("by port", "GET / HTTP/1.1\r\nHost: pic.test:8443\r\n\r\n"),
    ] {
        let airlock = Setup::rules(PICTURE).start();
        let mut wire = inside(&airlock, "pic.test:443");
        let reply = wire.ask(request);
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (421, "authority_mismatch"),
            "{name}"
        );
        assert!(wire.closed(), "{name}");
    }
}

#[test]
fn a_client_that_does_not_trust_our_ca_is_told_so_in_the_record() {
    let airlock = Setup::rules(PICTURE).start();
    let stranger = Identity::of(&["pic.test"]);
    let ca = airlock.scratch.path().join("stranger.pem");
    std::fs::write(&ca, &stranger.ca_pem).unwrap();
    let outside = Wire::to(airlock.ready.explicit).connect("pic.test:443");
    assert!(handshake(outside, &trusting(&ca), "pic.test").is_err());
    let record = airlock.only_record();
    assert_eq!(
        (&record["action"], &record["ended"]),
        (&"intercept".into(), &"tls_handshake_failed".into())
    );
    assert!(
        record["detail"]
            .as_str()
            .unwrap()
            .contains("trust the airlock CA"),
        "{record}"
    );
}

/// `up.test`, intercepted and forwarded to a TLS upstream of ours that `ca` vouches for.
fn forwarding(origin: &Origin, ca: &str) -> Option<(Airlock, String)> {
    let port = origin.port();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, ca).unwrap();
    let setup = Setup {
        names: vec!["up.test"],
        ..Setup::rules(format!(
            "  - name: onward\n    hosts: [up.test]\n    ports: [{port}]\n    action: forward\n"
        ))
    }
    .more(format!(
        "upstreams:\n  - name: mine\n    url: https://up.test:{port}\n    ca_file: {}",
        file.display()
    ));
    Some((setup.start_in_namespace()?, format!("up.test:{port}")))
}

fn hello(identity: &Identity) -> Origin {
    Origin::scripted_tls(identity.server.clone(), |mut guest| {
        while guest.head().is_some() {
            guest.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        }
    })
}

/// What `openssl req -x509` makes is its own CA; the LLM's client takes it, and so does forwarding.
#[test]
fn an_upstream_with_a_self_signed_certificate_is_reached_by_that_very_one() {
    let identity = Identity::self_signed(&["up.test"]);
    let origin = hello(&identity);
    let Some((airlock, authority)) = forwarding(&origin, &identity.ca_pem) else {
        return;
    };
    let mut wire = inside(&airlock, &authority);
    for n in 0..3 {
        let reply = wire.ask(format!("GET /{n} HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello"), "{n}");
    }

    for (name, shown, named) in [
        (
            "another key",
            Identity::self_signed(&["up.test"]),
            identity.ca_pem.clone(),
        ),
        {
            let other = Identity::self_signed(&["other.test"]);
            let pem = other.ca_pem.clone();
            ("another name", other, pem)
        },
    ] {
        let origin = hello(&shown);
        let Some((airlock, authority)) = forwarding(&origin, &named) else {
            return;
        };
        let reply = inside(&airlock, &authority)
            .ask(format!("GET / HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (502, "upstream_tls_failed"),
            "{name}: {}",
            reply.text()
        );
    }
}

#[test]
fn an_upstream_whose_ca_is_named_is_reached_through_the_interception() {
    let identity = Identity::of(&["up.test"]);
    let origin = hello(&identity);
    let Some((airlock, authority)) = forwarding(&origin, &identity.ca_pem) else {
        return;
    };
    let mut wire = inside(&airlock, &authority);
    assert_ne!(
        shown(&wire),
        identity.certificate,
        "the client talks to our leaf"
    );
    for _ in 0..3 {
        let reply = wire.ask(format!("GET / HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello"));
    }
    assert_eq!(origin.connections(), 1, "the upstream's connection is kept");
    let records = airlock.exactly(4);
    assert_eq!(
        (&records[3]["action"], &records[3]["answered_by"]),
        (&"forward".into(), &"upstream".into())
    );
}

#[test]
fn an_upstream_that_cannot_prove_its_name_gets_no_request() {
    let rows = [
        (
            "another CA",
            Identity::of(&["up.test"]),
            Identity::of(&["up.test"]).ca_pem,
        ),
        {
            let other = Identity::of(&["other.test"]);
            let ca = other.ca_pem.clone();
            ("another name", other, ca)
        },
    ];
    for (name, identity, ca) in rows {
        let origin = hello(&identity);
        let Some((airlock, authority)) = forwarding(&origin, &ca) else {
            return;
        };
        let mut wire = inside(&airlock, &authority);
        let reply = wire.ask(format!("GET / HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
        println!("{name}: {}", reply.text());
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (502, "upstream_tls_failed"),
            "{name}"
        );
        assert!(wire.closed(), "{name}");
        let record = airlock.record(2);
        assert_eq!(
            (&record["action"], &record["ended"]),
            (&"forward".into(), &"upstream_tls_failed".into()),
            "{name}"
        );
        assert_eq!(record["left_machine_bytes"], 0);
    }
}
