//! `airlock selftest`, and the rounds of the running process: green against a whole airlock, and red
//! against a wall with a hole.

use std::{process::Command, time::Duration};

use airlock::{
    selftest::{Doors, Driver, Judgement, Lane, corpus},
    tls::ClientTls,
};
use rustls::RootCertStore;
use serde_json::Value;

use super::{ground, without_tunnel};
use crate::support::{Airlock, Origin, eventually_within};

/// As a person has it, but for the ports and the patience.
const SHIPPED: &str = "listeners:
  explicit: 127.0.0.1:0
  reverse:
    listen: 127.0.0.1:0
  admin: 127.0.0.1:0
front_door:
  listen: 127.0.0.1:0
  comfyui: http://127.0.0.1:1
llm:
  discover: false
limits:
  client_hello_timeout: 400ms
  head_timeout: 400ms
";

fn json_of(out: &(i32, String, String)) -> Value {
    serde_json::from_str(&out.1).unwrap_or_else(|e| panic!("{e}: {out:?}"))
}

#[test]
fn the_shipped_policy_withstands_it_and_nothing_is_dialled() {
    let airlock = Airlock::start(SHIPPED);
    let out = airlock.command(&["selftest", "--json"]);
    let report = json_of(&out);
    assert_eq!((out.0, &report["ok"]), (0, &true.into()), "{report:#}");
    let keys: Vec<_> = report.as_object().unwrap().keys().cloned().collect();
    let wanted = ["cases", "entries", "escapes", "failed", "groups", "ok"];
    assert_eq!(keys, wanted);
    assert_eq!(report["escapes"], 0);
    assert!(report["cases"].as_u64().unwrap() > 3000, "{report:#}");
    assert!(report["groups"].as_u64().unwrap() >= 42, "{report:#}");
    let entries = report["entries"].as_object().unwrap();
    for entry in [
        "explicit_plain",
        "connect_tunnel",
        "connect_intercepted",
        "reverse",
        "front_door",
    ] {
        let cases = entries[entry]["cases"].as_u64().unwrap();
        assert!(cases > 300, "{entry}: {report:#}");
        assert_eq!(entries[entry]["escapes"], 0, "{entry}");
    }
    let off = !entries.contains_key("transparent_tls");
    assert!(off, "that listener is off");
    airlock.assert_touched_nothing();
    airlock.assert_healthy();

    let report = json_of(&airlock.command(&[
        "selftest",
        "--json",
        "--entry",
        "connect_tunnel",
        "--group",
        "12",
        "--group",
        "10",
    ]));
    assert_eq!(report["groups"], 2, "{report:#}");
    assert_eq!(report["entries"].as_object().unwrap().len(), 1);
    let (code, table, _) = airlock.command(&["selftest", "--group", "12"]);
    assert_eq!(code, 0);
    assert!(
        table.contains("IPv4 in decimal") && table.contains("0 escaped"),
        "{table}"
    );
}

/// The command is told of another policy than the one that runs: to it, what that one lets through
/// is a hole.
#[test]
fn a_hole_is_found_named_and_ends_with_1() {
    let hole = "packs: []
rules:
  - name: hole
    hosts: ['*.evil.test', evil.test]
    respond: image
";
    let airlock = Airlock::start(&format!("{SHIPPED}{hole}"));
    let told = airlock.scratch.path().join("told.yaml");
    let state = airlock.state();
    let yaml = format!("version: 1\nstate_dir: {}\n{SHIPPED}", state.display());
    std::fs::write(&told, yaml).unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_airlock"))
        .env_clear()
        .args(["selftest", "--json", "--group", "27", "--config"])
        .arg(&told)
        .args(["--admin", &airlock.ready.admin.to_string()])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(1), "{report:#}");
    assert_eq!(report["ok"], false);
    let failed = report["failed"].as_array().unwrap();
    let named = failed.iter().any(|f| {
        f["escape"] == true
            && f["group"] == 27
            && f["entry"] == "explicit_plain"
            && f["case"].as_str().unwrap().contains("X-Forwarded-Host")
    });
    assert!(named, "{report:#}");
    assert!(report["escapes"].as_u64().unwrap() >= 20, "{report:#}");
}

/// A 401 is no proof of a wall: what wants a key is named, and nothing of it is counted.
#[test]
fn a_listener_that_wants_a_key_is_named_as_not_tested() {
    let airlock = Airlock::start(&format!("{SHIPPED}users:\n  required: true\n"));
    let out = airlock.command(&["selftest", "--json"]);
    let report = json_of(&out);
    assert_eq!((out.0, &report["ok"]), (0, &true.into()), "{report:#}");
    assert!(report["wants_key"]["front_door"].as_u64().unwrap() > 300);
    let entries = report["entries"].as_object().unwrap();
    assert!(!entries.contains_key("front_door"), "{report:#}");
    assert!(entries.contains_key("reverse"), "{report:#}");
    let (code, table, _) = airlock.command(&["selftest", "--group", "12"]);
    assert!(table.contains("front_door: NOT TESTED"), "{code}: {table}");
    // Of it alone there is nothing to be green about.
    let alone = airlock.command(&["selftest", "--json", "--entry", "front_door"]);
    let report = json_of(&alone);
    assert_eq!((alone.0, &report["ok"]), (1, &false.into()), "{report:#}");
    assert_eq!(report["cases"], 0);
}

#[test]
fn without_an_airlock_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = listener.local_addr().unwrap().to_string();
    drop(listener);
    let out = Command::new(env!("CARGO_BIN_EXE_airlock"))
        .env_clear()
        .env("HOME", folder.path())
        .args(["selftest", "--admin", &free])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&out.stderr);
    assert!(words.contains("airlock run"), "{words}");
    assert_eq!(out.status.code(), Some(69), "{words}");
}

/// A proxy that lets everything through: the driver must not take it for a wall.
#[test]
fn a_proxy_without_rules_is_seen_through_in_every_case() {
    let open = Origin::scripted(|mut guest| {
        if guest.head().is_some() {
            guest.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let trap = Origin::answering("");
    let airlock = without_tunnel(trap.address).start();
    let root = airlock.state().join("ca/root.pem");
    let tls = ClientTls::new(RootCertStore::empty());
    let driver = Driver {
        doors: Doors {
            explicit: Some(open.address),
            transparent_http: Some(open.address),
            ..Doors::default()
        },
        tls: tls.config_for(Some(&root)).unwrap(),
        patience: Duration::from_secs(10),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut seen = 0;
    for case in corpus::cases(&ground(&airlock, false)) {
        let plain = matches!(case.lane, Lane::ExplicitPlain | Lane::TransparentHttp);
        // Hosts that no rule names: nothing but a rule refuses them.
        if !plain || !matches!(case.group, 2 | 13 | 16 | 21 | 27) || case.destination.is_none() {
            continue;
        }
        seen += 1;
        let verdict = runtime.block_on(driver.play(&case));
        let judgement = case.judge(&verdict);
        let unmarked = matches!(judgement, Judgement::Escaped(_));
        assert!(unmarked, "{case:?} was taken for a refusal: {verdict}");
    }
    assert!(seen >= 300, "only {seen} cases");
}

#[test]
fn the_running_process_tests_itself_at_its_start_and_says_so() {
    let airlock = Airlock::start(&format!("{SHIPPED}selftest:\n  at_start: true\n"));
    let ended = || airlock.metric("airlock_selftest_last_run_timestamp_seconds", &[]) > 0;
    eventually_within(Duration::from_secs(120), "the end of a round", ended);
    let failed = airlock.metric("airlock_selftest_failed", &[]);
    assert_eq!(failed, 0, "{}", airlock.process.stderr());
    assert!(airlock.metric("airlock_selftest_cases", &[]) > 3000);
    assert_eq!(airlock.metric("airlock_selftest_escapes_total", &[]), 0);
    let status: Value = serde_json::from_str(&airlock.admin("/status").1).unwrap();
    assert_eq!(status["selftest"]["ok"], true, "{status:#}");
    assert_eq!(airlock.admin("/healthz").0, 200);
    airlock.assert_touched_nothing();
}
