//! `airlock learn` from end to end: a client under report mode, the rules that its log gives, and the
//! same client under those rules, enforced.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

use crate::support::{Airlock, Origin, Setup, Wire, eventually};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// `localhost` at the port of the origin may be loopback; the rest is policy.
fn setup(rules: &str, origin: &Origin, mode: &str) -> Setup {
    Setup::rules(rules)
        .more(format!("mode: {mode}"))
        .more(format!(
            "upstreams:\n  - name: origin\n    url: http://localhost:{}",
            origin.port()
        ))
}

fn ask(airlock: &Airlock, origin: &Origin, method: &str, path: &str) -> u16 {
    let authority = format!("localhost:{}", origin.port());
    let mut wire = Wire::to(airlock.ready.explicit);
    let length = if method == "POST" {
        "Content-Length: 0\r\n"
    } else {
        ""
    };
    wire.ask(format!(
        "{method} http://{authority}{path} HTTP/1.1\r\nHost: {authority}\r\n{length}\r\n"
    ))
    .status
}

fn learn(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_airlock"))
        .arg("learn")
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .output()
        .expect("airlock starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn rules_learned_in_report_mode_allow_the_same_when_enforced_and_nothing_else() {
    let origin = Origin::answering(OK);
    let seen = [
        ("GET", "/v1/models"),
        ("GET", "/v1/models?x=1"),
        ("POST", "/prompt"),
    ];

    let reporting = setup("", &origin, "report").start();
    for (method, path) in seen {
        assert_eq!(
            ask(&reporting, &origin, method, path),
            200,
            "{method} {path}"
        );
    }
    reporting.exactly(seen.len());
    let log = reporting.state().join("audit.jsonl");
    let folder = reporting.scratch.path();
    let output = learn(
        &["--audit", log.to_str().unwrap(), "--out", "learned.yaml"],
        folder,
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let learned = std::fs::read_to_string(folder.join("learned.yaml")).unwrap();
    assert!(
        learned.contains("# 2 times by 127.0.0.1 (explicit)"),
        "{learned}"
    );
    let (_, rules) = learned.split_once("\nrules:\n").expect("there are rules");

    let enforcing = setup(rules, &origin, "enforce").start();
    for (method, path) in seen {
        assert_eq!(
            ask(&enforcing, &origin, method, path),
            200,
            "{method} {path}: {rules}"
        );
    }
    let arrived = origin.heads().len();
    for (method, path) in [
        ("POST", "/v1/models"),
        ("GET", "/prompt"),
        ("GET", "/v1/other"),
    ] {
        assert_eq!(
            ask(&enforcing, &origin, method, path),
            403,
            "{method} {path}: {rules}"
        );
    }
    assert_eq!(origin.heads().len(), arrived, "a refused request arrived");
}

#[test]
fn what_was_refused_is_learned_only_when_asked_for() {
    let origin = Origin::answering(OK);
    let airlock = setup("", &origin, "enforce").start();
    assert_eq!(ask(&airlock, &origin, "GET", "/a"), 403);
    airlock.exactly(1);
    let log = airlock.state().join("audit.jsonl");
    let report = |more: &[&str]| -> Value {
        let arguments = [&["--json", "--audit", log.to_str().unwrap()], more].concat();
        let output = learn(&arguments, airlock.scratch.path());
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let without = report(&[]);
    assert_eq!(without["rules"], Value::Array(vec![]), "{without}");
    assert_eq!(without["skipped"][0]["why"], "denied", "{without}");
    let with = report(&["--include-denied"]);
    assert_eq!(with["rules"][0]["hosts"][0], "localhost", "{with}");
    assert_eq!(with["rules"][0]["paths"][0], "/a", "{with}");
    assert_eq!(
        with["rules"][0]["seen"]["clients"]["127.0.0.1"], 1,
        "{with}"
    );
}

/// A log of rotated files, as the writer leaves them.
fn rotated(folder: &Path) -> PathBuf {
    let line = |host: &str| {
        format!(
            r#"{{"time":"2026-11-20T10:00:00Z","id":"0190163d-8694-739b-aea5-966c26f8ad91","kind":"connection","entry":"explicit","client":"127.0.0.1","authority":"{host}:443","method":"CONNECT","path":"","action":"tunnel","rule":"none","reason":"no_rule_matched","would_deny":"no_rule_matched","bytes_in":1,"bytes_out":2,"left_machine_bytes":1,"duration_us":3,"generation":1}}"#
        )
    };
    let log = folder.join("audit.jsonl");
    std::fs::write(&log, format!("{}\nno record\n", line("new.example.org"))).unwrap();
    std::fs::write(folder.join("audit.jsonl.1"), line("older.example.org")).unwrap();
    std::fs::write(folder.join("audit.jsonl.2"), line("203.0.113.9")).unwrap();
    log
}

#[test]
fn rotated_files_are_read_bad_lines_are_named_and_warned_rules_are_comments() {
    let folder = tempfile::tempdir().unwrap();
    rotated(folder.path());
    let output = learn(&["--audit", "audit.jsonl"], folder.path());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let (rules, words) = (text(&output.stdout), text(&output.stderr));
    for live in [
        "\n  - name: learned-new.example.org\n",
        "\n  - name: learned-older.example.org\n",
    ] {
        assert!(rules.contains(live), "{rules}");
    }
    assert!(
        rules.contains("\n  # - name: learned-203.0.113.9\n"),
        "{rules}"
    );
    assert!(
        words.contains("audit.jsonl:2 is not a JSON record"),
        "{words}"
    );
    assert!(
        words.contains("2 rules, and 1 with a warning; 3 records read"),
        "{words}"
    );

    let file = folder.path().join("learned.yaml");
    std::fs::write(&file, &rules).unwrap();
    let check = Command::new(env!("CARGO_BIN_EXE_airlock"))
        .args(["check", "--config"])
        .arg(&file)
        .env_clear()
        .env("HOME", folder.path())
        .output()
        .unwrap();
    assert!(check.status.success(), "{}", text(&check.stderr));
}

#[test]
fn a_log_that_is_not_there_and_a_file_that_is_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let output = learn(&["--audit", "none.jsonl"], folder.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("none.jsonl"),
        "{}",
        text(&output.stderr)
    );

    rotated(folder.path());
    std::fs::write(folder.path().join("mine.yaml"), "mine").unwrap();
    let output = learn(
        &["--audit", "audit.jsonl", "--out", "mine.yaml"],
        folder.path(),
    );
    assert_eq!(output.status.code(), Some(1));
    let kept = std::fs::read_to_string(folder.path().join("mine.yaml")).unwrap();
    assert_eq!(kept, "mine");
}

#[test]
fn without_a_file_the_log_of_the_configuration_is_read() {
    let origin = Origin::answering(OK);
    let airlock = setup("", &origin, "report").start();
    assert_eq!(ask(&airlock, &origin, "GET", "/a"), 200);
    let config = airlock.scratch.path().join("airlock.yaml");
    eventually("a rule is learned", || {
        let output = learn(
            &["--config", config.to_str().unwrap()],
            airlock.scratch.path(),
        );
        text(&output.stdout).contains("- name: learned-localhost")
    });
}
