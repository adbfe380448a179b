//! A new policy into the running program, and the kill switch: what they cut, what they leave alone,
//! and what a broken file does (nothing).

mod many;
mod shut;
mod stricter;

use std::{fs, net::TcpStream, thread, time::Duration};

use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::support::{
    Airlock, Identity, Origin, Setup, TlsWire, Wire, eventually, handshake, trusting,
};

/// A host that is answered in the process.
const PICTURE: &str = "  - name: picture\n    hosts: [pic.test]\n    respond: image\n";
const GET_PICTURE: &str = "GET http://pic.test/a.png HTTP/1.1\r\nHost: pic.test\r\n\r\n";

/// Writes back what it reads.
fn echo(mut guest: crate::support::Guest) {
    while let Some(byte) = guest.byte() {
        guest.send([byte]);
    }
}

fn upstreams(ports: &[u16]) -> String {
    let items: String = ports
        .iter()
        .flat_map(|port| [("a", "localhost", port), ("b", "127.0.0.1", port)])
        .map(|(name, host, port)| {
            format!("  - name: {name}{port}\n    url: http://{host}:{port}\n")
        })
        .collect();
    format!("upstreams:\n{items}")
}

fn tunnel_rule(port: u16) -> String {
    format!(
        "  - name: tunnel-{port}\n    hosts: [localhost]\n    ports: [{port}]\n    action: tunnel\n"
    )
}

fn forward_rule(port: u16, more: &str) -> String {
    format!(
        "  - name: forward-{port}\n    ips: [127.0.0.1]\n    ports: [{port}]\n    action: forward\n{more}"
    )
}

fn tunnel_to(airlock: &Airlock, port: u16, ca: &str) -> TlsWire {
    let pem = airlock.scratch.path().join("peer.pem");
    fs::write(&pem, ca).unwrap();
    let mut wire = Wire::to(airlock.ready.explicit);
    wire.send(format!(
        "CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"
    ));
    let head = wire.head().expect("an answer to the CONNECT");
    assert!(
        head.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    handshake(wire, &trusting(&pem), "localhost").expect("the tunnel carries TLS")
}

fn get(origin: &Origin, extra: &str) -> String {
    let address = origin.address;
    format!("GET http://{address}/x HTTP/1.1\r\nHost: {address}\r\n{extra}\r\n")
}

/// Begins a stream that goes on.
fn streaming() -> Origin {
    Origin::scripted(|mut guest| {
        guest.head();
        guest.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        while guest.byte().is_some() {}
    })
}

/// Agrees to a WebSocket, and echoes in it.
fn switching() -> Origin {
    Origin::scripted(|mut guest| {
        guest.head();
        guest.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        );
        echo(guest);
    })
}

fn web_socket(airlock: &Airlock, to: &Origin) -> Wire {
    let mut wire = Wire::to(airlock.ready.explicit);
    wire.send(get(to, "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
    assert!(wire.head().unwrap().starts_with(b"HTTP/1.1 101"));
    wire.send("x");
    assert_eq!(wire.exact(1), b"x");
    wire
}

fn assert_echoes(wire: &mut TlsWire) {
    wire.send("x");
    assert_eq!(wire.exact(1), b"x");
}

fn status(airlock: &Airlock) -> Value {
    serde_json::from_str(&airlock.admin("/status").1).unwrap()
}

fn await_generation(airlock: &Airlock, generation: u64) {
    eventually(&format!("generation {generation}"), || {
        airlock.metric("airlock_policy_generation", &[]) == generation
    });
}

fn json_of(out: &(i32, String, String)) -> Value {
    serde_json::from_str(&out.1).unwrap_or_else(|e| panic!("{e}: {out:?}"))
}

#[test]
fn sighup_cuts_the_tunnel_that_is_refused_now_and_leaves_the_other() {
    let identity = Identity::of(&["localhost"]);
    let (kept, cut) = (
        Origin::scripted_tls(identity.server.clone(), echo),
        Origin::scripted_tls(identity.server.clone(), echo),
    );
    let more = upstreams(&[kept.port(), cut.port()]);
    let before = tunnel_rule(kept.port()) + &tunnel_rule(cut.port());
    let airlock = Setup::rules(before).more(&more).start();
    let mut stays = tunnel_to(&airlock, kept.port(), &identity.ca_pem);
    let mut goes = tunnel_to(&airlock, cut.port(), &identity.ca_pem);
    assert_echoes(&mut stays);
    assert_echoes(&mut goes);

    airlock.rewrite(&Setup::rules(tunnel_rule(kept.port())).more(&more));
    airlock.hang_up();
    assert!(goes.closed());
    assert_echoes(&mut stays);

    let record = airlock.only_record();
    assert_eq!(record["action"], "tunnel", "{record}");
    assert_eq!(record["ended"], "policy_changed", "{record}");
    assert_eq!(record["generation"], 1, "{record}");
    assert!(record["bytes_in"].as_u64().unwrap() > 100, "{record}");
    let found = status(&airlock);
    assert_eq!(found["policy_generation"], 2, "{found}");
    assert_eq!(found["reload"]["trigger"], "sighup", "{found}");
    assert!(!airlock.process.stderr().contains("loosens"));

    // A CONNECT now is refused like any other, and what was open is gone upstream as well.
    let mut wire = Wire::to(airlock.ready.explicit);
    let port = cut.port();
    let reply = wire.ask(format!(
        "CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"
    ));
    assert_eq!(reply.code(), "host_known_request_not");
}

#[test]
fn forwarded_streams_and_web_sockets_are_cut_and_kept_connections_judged_anew() {
    let (stream, socket) = (streaming(), switching());
    let plain = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let more = upstreams(&[stream.port(), socket.port(), plain.port()]);
    let rules = forward_rule(stream.port(), "")
        + &forward_rule(socket.port(), "    upgrade: true\n")
        + &forward_rule(plain.port(), "")
        + PICTURE;
    let airlock = Setup::rules(rules).more(&more).start();
    let open = || Wire::to(airlock.ready.explicit);
    let mut streaming = open();
    streaming.send(get(&stream, ""));
    assert!(streaming.head().unwrap().starts_with(b"HTTP/1.1 200"));
    assert_eq!(streaming.exact(10), b"5\r\nfirst\r\n");
    let mut talking = web_socket(&airlock, &socket);
    let mut kept = open();
    assert_eq!(kept.ask(get(&plain, "")).status, 200);
    let mut local = open();
    assert_eq!(local.ask(GET_PICTURE).status, 200);

    airlock.rewrite(&Setup::rules(PICTURE).more(&more));
    airlock.hang_up();
    for (name, wire) in [("stream", &mut streaming), ("web socket", &mut talking)] {
        assert!(wire.closed(), "{name}");
    }
    assert_eq!(
        local.ask(GET_PICTURE).status,
        200,
        "its connection was not touched"
    );
    assert_eq!(kept.ask(get(&plain, "")).code(), "no_rule_matched");

    let records = airlock.exactly(6);
    let cut: Vec<&Value> = records
        .iter()
        .filter(|r| r["ended"] == "policy_changed")
        .collect();
    assert_eq!(cut.len(), 2, "{records:#?}");
    assert_eq!(
        cut.iter().filter(|r| r["status"] == 200).count(),
        1,
        "{cut:#?}"
    );
    assert!(
        cut.iter().all(|r| r["bytes_out"].as_u64() > Some(0)),
        "{cut:#?}"
    );
}

#[test]
fn what_a_time_boxed_rule_opened_is_cut_when_it_ends_and_nothing_else_is() {
    let identity = Identity::of(&["localhost"]);
    let tunnel = Origin::scripted_tls(identity.server.clone(), echo);
    let boxed = |port| forward_rule(port, "    upgrade: true\n");
    let (socket, kept) = (switching(), switching());
    let stream = streaming();
    let ports = [tunnel.port(), socket.port(), kept.port(), stream.port()];
    let setup = |until: &str| {
        let rules = tunnel_rule(ports[0]) + &boxed(ports[1]) + &boxed(ports[3]);
        let rules = rules.replace("    action", &format!("{until}    action"));
        Setup::rules(rules + &boxed(ports[2])).more(upstreams(&ports))
    };
    let airlock = setup("").start();
    let mut in_tunnel = tunnel_to(&airlock, ports[0], &identity.ca_pem);
    assert_echoes(&mut in_tunnel);
    let mut talking = web_socket(&airlock, &socket);
    let mut stays = web_socket(&airlock, &kept);
    let mut reading = Wire::to(airlock.ready.explicit);
    reading.send(get(&stream, ""));
    assert!(reading.head().unwrap().starts_with(b"HTTP/1.1 200"));
    assert_eq!(reading.exact(10), b"5\r\nfirst\r\n");

    // The end comes by itself, some time after the reload; were it here already, the reload's own
    // sweep would say the same.
    let end = OffsetDateTime::now_utc() + time::Duration::seconds(3);
    airlock.rewrite(&setup(&format!(
        "    until: {}\n",
        end.format(&Rfc3339).unwrap()
    )));
    let out = airlock.command(&["reload", "--json"]);
    assert_eq!(out.0, 0, "{out:?}");
    assert!(in_tunnel.closed(), "tunnel");
    assert!(talking.closed(), "web socket");
    assert!(reading.closed(), "stream");
    assert!(OffsetDateTime::now_utc() >= end, "cut before its end");
    stays.send("x");
    assert_eq!(stays.exact(1), b"x");
    let mut wire = Wire::to(airlock.ready.explicit);
    assert_eq!(wire.ask(get(&stream, "")).code(), "allow_expired");

    let records = airlock.exactly(4);
    let expired = records.iter().filter(|r| r["ended"] == "allow_expired");
    assert_eq!(expired.count(), 3, "{records:#?}");
}

#[test]
fn a_local_stream_is_cut_by_a_policy_that_denies_it_and_by_a_lockdown_of_all() {
    const MCP: &str = "  - name: mcp\n    hosts: [mcp.test]\n    respond: mcp\n";
    const OPEN: &str = "GET http://mcp.test/mcp-server/mcp HTTP/1.1\r\nHost: mcp.test\r\nAccept: text/event-stream\r\n\r\n";
    let airlock = Setup::rules(MCP).start();
    let open = || {
        let mut wire = Wire::to(airlock.ready.explicit);
        wire.send(OPEN);
        let head = wire.head().expect("a stream begins");
        assert!(
            head.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&head)
        );
        wire.line().expect("its first event");
        wire
    };
    let ends = |mut wire: Wire<TcpStream>| {
        while wire.line().is_some() {}
    };
    let streaming = open();
    // Egress alone does not touch it: it never left this machine.
    let out = airlock.command(&["lockdown", "on", "--json"]);
    assert_eq!(json_of(&out)["cut"], 0, "{out:?}");
    let out = airlock.command(&["lockdown", "on", "--all", "--json"]);
    assert_eq!(json_of(&out)["cut"], 1, "{out:?}");
    ends(streaming);
    assert_eq!(airlock.record(1)["ended"], "locked_down");

    airlock.command(&["lockdown", "off"]);
    let streaming = open();
    airlock.rewrite(&Setup::rules(PICTURE));
    airlock.hang_up();
    ends(streaming);
    assert_eq!(airlock.record(2)["ended"], "policy_changed");
}

#[test]
fn a_broken_file_keeps_the_old_policy_and_says_so() {
    let airlock = Setup::rules(PICTURE).start();
    airlock.replace("version: 1\nrules: [{name: x, hosts: ['*'], action: tunnel}]\nsurprise: 1\n");
    eventually("the watch sees it", || {
        airlock.metric("airlock_policy_reloads_total", &[("outcome", "refused")]) == 1
    });
    let mut wire = Wire::to(airlock.ready.explicit);
    assert_eq!(wire.ask(GET_PICTURE).status, 200);
    assert_eq!(airlock.metric("airlock_policy_last_reload_ok", &[]), 0);
    assert_eq!(airlock.metric("airlock_policy_generation", &[]), 1);
    let (code, words) = airlock.admin("/readyz");
    assert_eq!(code, 200, "{words}");
    assert!(words.contains("refused"), "{words}");
    let found = status(&airlock);
    let errors = found["reload"]["errors"].as_array().unwrap();
    assert!(errors.len() >= 2, "{found}");
    let log = airlock.process.stderr();
    assert!(
        log.contains("surprise") && log.contains("the older policy stands"),
        "{log}"
    );

    // By hand: told the same, by a command that cannot read the file either.
    airlock.replace(&format!(
        "version: 1\nstate_dir: {}\nsurprise: 1\n",
        airlock.state().display()
    ));
    let out = airlock.command(&["reload", "--json"]);
    assert_eq!(out.0, 1, "{out:?}");
    assert_eq!(json_of(&out)["generation"], 1, "{out:?}");
    assert!(
        json_of(&out)["errors"][0]
            .as_str()
            .unwrap()
            .contains("surprise"),
        "{out:?}"
    );

    airlock.rewrite(&Setup::rules(PICTURE));
    await_generation(&airlock, 2);
    assert_eq!(airlock.metric("airlock_policy_last_reload_ok", &[]), 1);
}

/// Not only rules open doors.
#[test]
fn what_is_looser_beside_the_rules_is_named_too() {
    let [one, other] = [(); 2].map(|()| Identity::of(&["up.test"]));
    let airlock = Setup::rules(PICTURE).start();
    let file = |name: &str, pem: &str| {
        let path = airlock.scratch.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.display().to_string()
    };
    let by = |path: &str| {
        format!("upstreams:\n  - name: up\n    url: https://up.test\n    ca_file: {path}\n")
    };
    let (first, second) = (
        by(&file("one.pem", &one.ca_pem)),
        by(&file("other.pem", &other.ca_pem)),
    );
    let both = by(&file(
        "both.pem",
        &format!("{}{}", one.ca_pem, other.ca_pem),
    ));
    let plain = "upstreams:\n  - name: up\n    url: https://up.test\n".to_owned();
    let ech = |mode: &str| format!("{plain}tls:\n  encrypted_client_hello: {mode}\n");
    let another = "up.test:443 may be certified by another ca_file";
    let any = "up.test:443 may be certified by any CA of the system: its ca_file is gone";
    let grease = "tls.encrypted_client_hello no longer refuses what looks like GREASE";
    for (more, wanted) in [
        (
            plain.clone(),
            vec!["up.test:443 may live at a private address"],
        ),
        (first.clone(), vec![another]),
        (first.clone(), vec![]),
        (second, vec![another]),
        (both, vec![another]),
        (first, vec![]),
        (ech("refuse"), vec![any]),
        (ech("refuse"), vec![]),
        (ech("allow_grease"), vec![grease]),
        (ech("refuse"), vec![]),
    ] {
        airlock.rewrite(&Setup::rules(PICTURE).more(&more));
        let out = airlock.command(&["reload", "--json"]);
        assert_eq!(out.0, 0, "{more}: {out:?}");
        assert_eq!(
            json_of(&out)["loosened"],
            serde_json::json!(wanted),
            "{more}"
        );
    }
}

#[test]
fn a_reload_by_command_names_what_is_looser_and_what_wants_a_restart() {
    let airlock = Setup::rules(PICTURE).start();
    let wider =
        format!("{PICTURE}  - name: wide\n    hosts: ['*.example.test']\n    action: tunnel\n");
    airlock.rewrite(&Setup::rules(wider).more("limits:\n  head_bytes: 8KiB"));
    let out = airlock.command(&["reload", "--json"]);
    assert_eq!(out.0, 0, "{out:?}");
    let report = json_of(&out);
    assert_eq!(report["generation"], 2, "{report}");
    assert_eq!(
        report["loosened"][0], "rule wide is new (tunnel)",
        "{report}"
    );
    assert_eq!(report["restart_needed"][0], "limits", "{report}");
    assert!(
        airlock
            .process
            .stderr()
            .contains("loosens the policy: rule wide is new")
    );
    // The watch knows that this file was taken.
    thread::sleep(Duration::from_millis(2500));
    await_generation(&airlock, 2);
    // Plain words for a person.
    let out = airlock.command(&["reload"]);
    assert!(
        out.1.contains("generation 3") && out.1.contains("wants a restart: limits"),
        "{out:?}"
    );
}

#[test]
fn a_name_that_a_reload_intercepts_gets_a_certificate_that_the_new_bundle_trusts() {
    let airlock = Setup::rules(PICTURE).start();
    airlock.rewrite(&Setup::rules(
        PICTURE.replace("[pic.test]", "[pic.test, new.test]"),
    ));
    airlock.hang_up();
    await_generation(&airlock, 2);
    for name in ["new.test", "pic.test"] {
        let mut wire = Wire::to(airlock.ready.explicit);
        wire.send(format!(
            "CONNECT {name}:443 HTTP/1.1\r\nHost: {name}:443\r\n\r\n"
        ));
        assert!(wire.head().unwrap().starts_with(b"HTTP/1.1 200"));
        let trust = trusting(&airlock.state().join("ca/root.pem"));
        let mut inside = handshake(wire, &trust, name).expect("a leaf for the new name");
        let reply = inside.ask(format!("GET /a.png HTTP/1.1\r\nHost: {name}\r\n\r\n"));
        assert_eq!(reply.status, 200, "{name}");
    }
}

#[test]
fn a_lockdown_cuts_refuses_and_survives_a_restart() {
    let identity = Identity::of(&["localhost"]);
    let tunnel = Origin::scripted_tls(identity.server.clone(), echo);
    let plain = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let rules = tunnel_rule(tunnel.port()) + &forward_rule(plain.port(), "") + PICTURE;
    let setup = Setup::rules(rules).more(upstreams(&[tunnel.port(), plain.port()]));
    let airlock = setup.start();
    let mut open = tunnel_to(&airlock, tunnel.port(), &identity.ca_pem);
    assert_echoes(&mut open);
    let address = plain.address;
    let get = format!("GET http://{address}/x HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let ask = |airlock: &Airlock, request: &str| Wire::to(airlock.ready.explicit).ask(request);
    assert_eq!(ask(&airlock, &get).status, 200);

    let out = airlock.command(&["lockdown", "on", "--json"]);
    assert_eq!((out.0, &json_of(&out)["cut"]), (0, &1.into()), "{out:?}");
    assert!(open.closed());
    let connections = plain.connections();
    let connect = format!(
        "CONNECT localhost:{0} HTTP/1.1\r\nHost: localhost:{0}\r\n\r\n",
        tunnel.port()
    );
    let assert_shut = |airlock: &Airlock| {
        assert_eq!(ask(airlock, &get).code(), "locked_down");
        assert_eq!(ask(airlock, &connect).code(), "locked_down");
        assert_eq!(
            ask(airlock, GET_PICTURE).status,
            200,
            "stand-ins still answer"
        );
        assert_eq!(airlock.metric("airlock_lockdown", &[]), 1);
        assert_eq!(status(airlock)["lockdown"], "egress");
    };
    assert_shut(&airlock);
    let ended: Vec<Value> = airlock
        .exactly(5)
        .into_iter()
        .filter(|r| r["ended"] == "locked_down")
        .collect();
    assert_eq!(ended.len(), 1, "{ended:?}");
    // A reload does not end it.
    airlock.hang_up();
    await_generation(&airlock, 2);
    assert_shut(&airlock);

    let airlock = airlock.restart();
    assert_shut(&airlock);
    let out = airlock.command(&["lockdown", "on", "--all"]);
    assert_eq!(out.0, 0, "{out:?}");
    assert_eq!(ask(&airlock, GET_PICTURE).code(), "locked_down");
    let out = airlock.command(&["lockdown", "status", "--json"]);
    assert_eq!(json_of(&out)["lockdown"], "all", "{out:?}");
    assert_eq!(
        plain.connections(),
        connections,
        "nothing was dialled meanwhile"
    );

    // What cannot be read means shut.
    fs::write(airlock.state().join("lockdown"), "?").unwrap();
    let airlock = airlock.restart();
    assert_eq!(ask(&airlock, GET_PICTURE).code(), "locked_down");
    let out = airlock.command(&["lockdown", "off", "--json"]);
    assert_eq!(
        (out.0, &json_of(&out)["lockdown"]),
        (0, &"off".into()),
        "{out:?}"
    );
    assert_eq!(ask(&airlock, &get).status, 200);
    assert!(!airlock.state().join("lockdown").exists());
}

#[test]
fn a_lockdown_can_be_set_while_nothing_runs() {
    let airlock = Setup::rules(PICTURE).start();
    let file = airlock.state().join("lockdown");
    // Its port is closed: the address of a listener that is gone.
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_airlock"))
        .env_clear()
        .args(["lockdown", "on", "--admin", &gone.to_string(), "--config"])
        .arg(airlock.config())
        .output()
        .unwrap();
    assert!(out.status.success(), "{out:?}");
    assert_eq!(fs::read_to_string(file).unwrap(), "egress\n");
    let airlock = airlock.restart();
    assert_eq!(status(&airlock)["lockdown"], "egress");
}
