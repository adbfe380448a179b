//! Start, stop, and what is left behind.

use std::{
    fs, os::unix::fs::PermissionsExt, path::Path, process::Command, sync::mpsc, thread,
    time::Duration,
};

use super::PICTURE;
use crate::support::{Airlock, Origin, Setup, Wire, client_hello, eventually};

/// An event every 100 ms, `n` of them.
fn events(n: usize) -> Origin {
    Origin::scripted(move |mut guest| {
        guest.head();
        guest.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for n in 0..n {
            guest.send(format!("b\r\ndata: {n:03}\n\n\r\n"));
            thread::sleep(Duration::from_millis(100));
        }
        guest.send("0\r\n\r\n");
    })
}

fn before(origin: &Origin, drain: &str) -> Airlock {
    Setup {
        routes: format!(
            "      - path_prefix: /\n        upstream: http://{}\n",
            origin.address
        ),
        ..Setup::rules(PICTURE)
    }
    .more(format!("limits:\n  drain_timeout: {drain}"))
    .start()
}

#[test]
fn a_stop_lets_a_stream_end_takes_no_new_connection_and_exits_0() {
    let origin = events(10);
    let mut airlock = before(&origin, "10s");
    let mut idle = Wire::to(airlock.ready.explicit);
    idle.ask("GET http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\n\r\n");
    let mut wire = Wire::to(airlock.ready.reverse);
    wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    eventually("the stream has begun", || origin.connections() == 1);
    airlock.process.signal("TERM");
    assert!(idle.closed(), "an idle connection is no reason to wait");
    eventually("readiness is withdrawn", || {
        airlock.admin("/readyz").0 == 503
    });
    assert_eq!(airlock.metric("airlock_ready", &[]), 0);
    // Readiness goes first, so that a balancer looks away; each listener closes when its task is
    // next run.
    eventually("no new connection is taken", || {
        std::net::TcpStream::connect(airlock.ready.explicit).is_err()
    });
    let reply = wire.reply();
    assert!(reply.whole, "the stream was cut");
    assert_eq!(reply.body.len(), 110);
    let status = airlock
        .process
        .exit(Duration::from_secs(5))
        .expect("it ends with its last stream");
    assert_eq!(status.code(), Some(0));
    let records = airlock.records();
    assert_eq!(records.len(), 2, "{records:#?}");
    assert!(records[1].get("ended").is_none(), "{records:#?}");
}

#[test]
fn a_stream_that_outlives_the_drain_is_cut_and_recorded_and_the_exit_is_0() {
    let origin = events(100);
    let mut airlock = before(&origin, "300ms");
    let mut wire = Wire::to(airlock.ready.reverse);
    wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    eventually("the stream has begun", || origin.connections() == 1);
    wire.head().unwrap();
    airlock.process.signal("TERM");
    let status = airlock
        .process
        .exit(Duration::from_secs(5))
        .expect("it does not wait for ever");
    assert_eq!(status.code(), Some(0));
    let records = airlock.records();
    assert_eq!(records.len(), 1, "what was cut has its record");
    assert_eq!(
        (&records[0]["action"], &records[0]["ended"]),
        (&"forward".into(), &"client_gone".into()),
        "{records:#?}"
    );
    assert_eq!(records[0]["detail"], "cut");
    assert_eq!(records[0]["status"], 200, "{records:#?}");
    let sent = records[0]["bytes_out"].as_u64().unwrap();
    assert!(
        (11..1100).contains(&sent) && sent.is_multiple_of(11),
        "{records:#?}"
    );
}

#[test]
fn a_local_answer_that_is_cut_says_how_far_it_came() {
    // An LLM that begins an answer and never ends it.
    let llm = Origin::scripted(|mut guest| {
        while let Some(head) = guest.head() {
            if head.starts_with(b"GET ") {
                let models = r#"{"object":"list","data":[{"id":"tiny","object":"model"}]}"#;
                guest.send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{models}",
                    models.len()
                ));
                continue;
            }
            let event = r#"data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"tiny","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}"#;
            guest.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{event}\n\n\r\n",
                event.len() + 2
            ));
            while guest.line().is_some() {}
        }
    });
    let mut airlock = Airlock::start(&format!(
        "listeners:\n  explicit: 127.0.0.1:0\n  reverse:\n    listen: 127.0.0.1:0\n  admin: 127.0.0.1:0\n\
         llm:\n  base_url: http://{}/v1\nlimits:\n  drain_timeout: 200ms\n",
        llm.address
    ));
    let body =
        r#"{"model":"gemini-2.5-flash","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let mut wire = Wire::to(airlock.ready.reverse);
    wire.send(format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    wire.head().unwrap();
    assert!(wire.line().is_some(), "the stream has begun");
    airlock.process.signal("TERM");
    airlock
        .process
        .exit(Duration::from_secs(5))
        .expect("it does not wait for ever");
    let records = airlock.records();
    let record = records.last().expect("what was cut has its record");
    assert_eq!(
        (&record["status"], &record["ended"], &record["bytes_in"]),
        (&200.into(), &"client_gone".into(), &body.len().into()),
        "{record}"
    );
    assert!(record["bytes_out"].as_u64().unwrap() > 0, "{record}");
}

#[test]
fn a_second_signal_cuts_what_a_first_one_lets_end() {
    for (first, second) in [("TERM", "INT"), ("INT", "TERM"), ("TERM", "TERM")] {
        let origin = events(600);
        let mut airlock = before(&origin, "60s");
        let mut wire = Wire::to(airlock.ready.reverse);
        wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        wire.head().unwrap();
        airlock.process.signal(first);
        eventually("it drains", || airlock.admin("/readyz").0 == 503);
        assert!(
            airlock.process.exit(Duration::from_millis(50)).is_none(),
            "{first}: the stream was cut by the first"
        );
        airlock.process.signal(second);
        let status = airlock.process.exit(Duration::from_secs(5));
        assert_eq!(
            status.expect("the second ends it").code(),
            Some(0),
            "{first}, {second}"
        );
        let record = &airlock.records()[0];
        assert_eq!(
            (&record["status"], &record["detail"]),
            (&200.into(), &"cut".into()),
            "{record}"
        );
    }
}

/// A page keeps its WebSocket, an agent its MCP stream, a browser its tunnel: none of them has an end.
#[test]
fn what_has_no_end_of_its_own_is_no_reason_to_wait() {
    let quiet = Origin::scripted(|mut guest| {
        let head = guest.head().unwrap_or_default();
        if head.starts_with(b"GET /ws") {
            guest.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        }
        while guest.line().is_some() {}
    });
    let port = quiet.port();
    let mut airlock = Setup {
        routes: format!(
            "      - path_prefix: /ws\n        upstream: http://{}\n        upgrade: true\n",
            quiet.address
        ),
        ..Setup::rules(format!(
            "  - name: tools\n    hosts: [mcp.test]\n    respond: mcp\n\
             \x20 - name: through\n    hosts: [localhost]\n    ports: [{port}]\n    action: tunnel\n"
        ))
    }
    .more(format!("upstreams:\n  - name: mine\n    url: https://localhost:{port}"))
    .start();

    let mut mcp = Wire::to(airlock.ready.explicit);
    mcp.send(
        "GET http://mcp.test/sse HTTP/1.1\r\nHost: mcp.test\r\nAccept: text/event-stream\r\n\r\n",
    );
    assert!(mcp.head().unwrap().starts_with(b"HTTP/1.1 200 "));
    let mut socket = Wire::to(airlock.ready.reverse);
    let reply = socket.ask(
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    assert_eq!(reply.status, 101);
    let mut tunnel = Wire::to(airlock.ready.explicit).connect(&format!("localhost:{port}"));
    tunnel.send(client_hello("localhost"));
    eventually("the tunnel stands", || quiet.connections() == 2);

    airlock.process.signal("TERM");
    let status = airlock.process.exit(Duration::from_secs(4));
    assert_eq!(
        status.expect("it waits for what never ends").code(),
        Some(0)
    );
    let records = airlock.records();
    assert_eq!(records.len(), 3, "{records:#?}");
    let tunnel = records.iter().find(|r| r["action"] == "tunnel").unwrap();
    assert!(tunnel["bytes_in"].as_u64().unwrap() > 100, "{tunnel}");
}

#[test]
fn a_tunnel_with_something_under_way_may_end_it() {
    let origin = Origin::scripted(|mut guest| {
        for _ in 0..10 {
            guest.send("a piece");
            thread::sleep(Duration::from_millis(100));
        }
    });
    let port = origin.port();
    let mut airlock = Setup::rules(format!(
        "  - name: through\n    hosts: [localhost]\n    ports: [{port}]\n    action: tunnel\n"
    ))
    .more(format!(
        "upstreams:\n  - name: mine\n    url: https://localhost:{port}"
    ))
    .start();
    let mut wire = Wire::to(airlock.ready.explicit).connect(&format!("localhost:{port}"));
    wire.send(client_hello("localhost"));
    wire.exact(7);
    airlock.process.signal("TERM");
    wire.exact(63);
    drop(wire);
    assert_eq!(
        airlock.process.exit(Duration::from_secs(4)).unwrap().code(),
        Some(0)
    );
}

/// `airlock run` with this configuration, which must fail: exit code and stderr.
fn fails(folder: &Path, config: &str) -> (Option<i32>, String) {
    let file = folder.join("failing.yaml");
    fs::write(&file, config).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_airlock"))
        .args(["run", "--config"])
        .arg(&file)
        .env_clear()
        .env("HOME", folder)
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn a_busy_port_is_named_with_its_setting() {
    let airlock = Setup::rules(PICTURE).start();
    let folder = tempfile::tempdir().unwrap();
    let free = "127.0.0.1:0";
    for (setting, busy) in [
        ("listeners.explicit", airlock.ready.explicit),
        ("listeners.reverse.listen", airlock.ready.explicit),
        ("listeners.admin", airlock.ready.explicit),
    ] {
        let at = |name: &str| {
            if name == setting {
                busy.to_string()
            } else {
                free.to_owned()
            }
        };
        let (code, stderr) = fails(
            folder.path(),
            &format!(
                "version: 1\nstate_dir: {}\nllm:\n  discover: false\nlisteners:\n  explicit: {}\n  reverse:\n    listen: {}\n  admin: {}\n",
                folder.path().join(setting).display(),
                at("listeners.explicit"),
                at("listeners.reverse.listen"),
                at("listeners.admin"),
            ),
        );
        assert!(code.is_some_and(|c| c != 0), "{code:?}");
        assert!(
            stderr.contains(&format!("port {} is in use", busy.port())),
            "{stderr}"
        );
        assert!(stderr.contains(setting), "{stderr}");
    }
}

#[test]
fn a_second_airlock_on_one_state_folder_is_told_what_to_do() {
    let airlock = Setup::rules(PICTURE).start();
    let folder = tempfile::tempdir().unwrap();
    let (code, stderr) = fails(
        folder.path(),
        &format!(
            "version: 1\nstate_dir: {}\nlisteners:\n  explicit: 127.0.0.1:0\n  reverse:\n    listen: 127.0.0.1:0\n  admin: 127.0.0.1:0\n",
            airlock.state().display()
        ),
    );
    assert!(code.is_some_and(|c| c != 0), "{code:?}");
    assert!(
        stderr.contains("open in another process") && stderr.contains("AIRLOCK_STATE_DIR"),
        "{stderr}"
    );
    airlock.assert_healthy();
}

#[test]
fn a_broken_configuration_ends_with_64_before_any_effect() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let config = format!(
        "version: 1\nstate_dir: {}\nlisteners:\n  explicit: nowhere\nnonsense: 1\n",
        state.display()
    );
    let (code, stderr) = fails(folder.path(), &config);
    assert_eq!(code, Some(64), "{stderr}");
    assert!(
        stderr.contains("listeners.explicit") && stderr.contains("nonsense"),
        "{stderr}"
    );
    assert!(!state.exists());
}

#[test]
fn the_state_folder_and_what_is_in_it_are_for_their_owner() {
    let airlock = Setup::rules(PICTURE).start();
    Wire::to(airlock.ready.explicit).ask("GET http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\n\r\n");
    airlock.exactly(1);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&airlock.state()), 0o700);
    let mut secret = 0;
    let mut paths: Vec<_> = fs::read_dir(airlock.state())
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(fs::read_dir(path).unwrap().map(|e| e.unwrap().path()));
            continue;
        }
        let text = fs::read(&path).unwrap();
        let is_certificate = text.starts_with(b"-----BEGIN CERTIFICATE") || text.starts_with(b"#");
        if !is_certificate {
            secret += 1;
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }
    assert!(secret >= 3, "key, store and audit log");
}

#[test]
fn an_open_state_folder_is_closed_or_refused() {
    let open = |path: &Path, mode: u32| {
        fs::create_dir_all(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;

    let airlock = Setup::rules(PICTURE).start();
    open(&airlock.state(), 0o755);
    let airlock = airlock.restart();
    assert_eq!(mode(&airlock.state()), 0o700);
    assert!(
        airlock.process.stderr().contains("was open to others"),
        "{}",
        airlock.process.stderr()
    );

    // Somebody else's folder is not ours to close.
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().join("shared");
    open(&shared, 0o755);
    fs::write(shared.join("thesis.txt"), "").unwrap();
    let (code, stderr) = fails(
        folder.path(),
        &format!(
            "version: 1\nstate_dir: {}\nlisteners:\n  explicit: 127.0.0.1:0\n  reverse:\n    listen: 127.0.0.1:0\n  admin: 127.0.0.1:0\n",
            shared.display()
        ),
    );
    assert!(code.is_some_and(|c| c != 0), "{code:?}");
    assert!(stderr.contains("chmod 700"), "{stderr}");
    assert_eq!(mode(&shared), 0o755);
}

#[test]
fn the_control_plane_does_not_wait_for_slow_visitors_and_takes_so_many() {
    let airlock = Setup::rules(PICTURE).start();
    let mut slow = Wire::to(airlock.ready.admin);
    slow.send("GET /healthz HTTP/1.1\r\nHo");
    let many: Vec<Wire> = (0..100).map(|_| Wire::to(airlock.ready.admin)).collect();
    // Past the bound they are closed; the slow ones are, too, and room is made.
    assert!(slow.closed(), "a head may take for ever");
    drop(many);
    eventually("the next visitor is served", || {
        let mut wire = Wire::to(airlock.ready.admin);
        wire.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        wire.try_reply(false)
            .is_some_and(|reply| reply.status == 200)
    });
}

#[test]
fn a_kill_leaves_whole_records_and_a_folder_that_starts_again() {
    let mut airlock = Setup::rules(PICTURE).start();
    let door = airlock.ready.explicit;
    let (stop, stopped) = mpsc::channel::<()>();
    let busy = thread::spawn(move || {
        while stopped.try_recv().is_err() {
            let Ok(stream) = std::net::TcpStream::connect(door) else {
                return;
            };
            let mut wire = Wire::over(stream);
            wire.send("GET http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\n\r\n");
            wire.try_reply(false);
        }
    });
    eventually("records come", || airlock.records().len() > 50);
    airlock.process.signal("KILL");
    airlock.process.exit(Duration::from_secs(5)).unwrap();
    let _ = stop.send(());
    busy.join().unwrap();
    // Every line is JSON, the last one included, and ends.
    let text = fs::read_to_string(airlock.state().join("audit.jsonl")).unwrap();
    assert!(text.ends_with('\n'));
    assert!(airlock.records().len() > 50);

    let again = airlock.restart();
    again.assert_healthy();
}

#[test]
fn health_readiness_metrics_and_status_answer_local_names_only() {
    let airlock = Setup::rules(PICTURE).start();
    assert_eq!(airlock.admin("/healthz"), (200, "ok\n".into()));
    assert_eq!(airlock.admin("/readyz"), (200, "ready\n".into()));
    assert_eq!(airlock.metric("airlock_ready", &[]), 1);
    let (code, status) = airlock.admin("/status");
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(
        (code, &status["ready"], &status["rules"]),
        (200, &true.into(), &1.into())
    );
    let mut wire = Wire::to(airlock.ready.admin);
    let reply = wire.ask("GET /metrics HTTP/1.1\r\nHost: rebound.evil.test\r\n\r\n");
    assert_eq!(reply.status, 421);
}

/// EGRESS 51: the control plane is not reached through the proxy.
#[test]
fn the_control_plane_is_not_reached_through_the_proxy() {
    let setup = |allowed: Option<u16>| {
        match allowed {
        None => Setup::default(),
        Some(port) => Setup::rules(format!(
            "  - name: oops\n    hosts: [localhost]\n    ips: [127.0.0.1]\n    ports: [{port}]\n    action: forward\n"
        ))
        .more(format!("upstreams:\n  - name: oops\n    url: http://localhost:{port}")),
    }
    };
    // Allowed once its port is known.
    let airlock = setup(None).start();
    let port = airlock.ready.admin.port();
    airlock.rewrite(&setup(Some(port)));
    let out = airlock.command(&["reload", "--json"]);
    assert_eq!(out.0, 0, "{out:?}");
    let reply = Wire::to(airlock.ready.explicit).ask(format!(
        "GET http://localhost:{port}/metrics HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"
    ));
    assert_eq!((reply.status, reply.code().as_str()), (403, "own_listener"));
}

/// EGRESS 55: what cannot be recorded is not let through.
#[test]
fn a_full_audit_disk_refuses_and_shows_on_readyz() {
    let airlock = Setup::rules(PICTURE)
        .more("audit:\n  path: /dev/full")
        .start();
    let get = || {
        Wire::to(airlock.ready.explicit)
            .ask("GET http://pic.test/ HTTP/1.1\r\nHost: pic.test\r\n\r\n")
    };
    get();
    eventually("readiness is withdrawn", || {
        airlock.admin("/readyz").0 == 503
    });
    let reply = get();
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (503, "audit_unavailable")
    );
    let mut wire = Wire::to(airlock.ready.explicit);
    let reply = wire.ask("CONNECT pic.test:443 HTTP/1.1\r\nHost: pic.test:443\r\n\r\n");
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (503, "audit_unavailable")
    );
}

#[test]
fn records_and_counted_decisions_are_one_and_the_same_number() {
    let origin = events(1);
    let airlock = before(&origin, "1s");
    let explicit = airlock.ready.explicit;
    let threads: Vec<_> = (0..8)
        .map(|n| {
            thread::spawn(move || {
                for m in 0..25 {
                    let host = if (n + m) % 2 == 0 {
                        "pic.test"
                    } else {
                        "evil.test"
                    };
                    Wire::to(explicit).ask(format!(
                        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"
                    ));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    let records = airlock.exactly(200);
    let count = |reason: &str| records.iter().filter(|r| r["reason"] == reason).count() as u64;
    for reason in ["rule_allows", "no_rule_matched"] {
        assert_eq!(count(reason), 100);
        assert_eq!(
            airlock.metric("airlock_decisions_total", &[("reason", reason)]),
            100
        );
    }
    assert_eq!(airlock.metric("airlock_audit_records_total", &[]), 200);
    eventually("no connection is left in the gauge", || {
        airlock.metric("airlock_connections", &[("entry", "explicit")]) == 0
    });
}
