//! Which records count, and what the text looks like. That the text loads and what it allows is
//! tested in `cli::learn`.

use serde_json::{Value, json};

use super::*;

fn record() -> Value {
    json!({
        "time": "2026-11-20T10:00:00.5Z", "kind": "request", "entry": "explicit",
        "client": "10.0.0.7", "authority": "api.test:80", "method": "GET", "path": "/a",
        "action": "forward", "rule": "none", "reason": "no_rule_matched",
        "would_deny": "no_rule_matched", "bytes_in": 0, "bytes_out": 10,
    })
}

fn with(changes: Value) -> Value {
    let mut out = record();
    for (key, value) in changes.as_object().unwrap() {
        out[key] = value.clone();
    }
    out
}

fn learn(records: &[Value], include_denied: bool) -> Learned {
    let mut learner = Learner::new(Options {
        include_denied,
        with_warned: false,
    });
    for record in records {
        learner.line(record.to_string().as_bytes()).unwrap();
    }
    learner.finish()
}

#[test]
fn which_records_make_a_rule() {
    let rows = [
        ("let through by report mode", json!({}), false, Ok(true)),
        (
            "allowed by a rule",
            json!({"reason": "rule_allows", "would_deny": null}),
            true,
            Err("allowed_already"),
        ),
        (
            "refused",
            json!({"action": "deny", "would_deny": null}),
            false,
            Err("denied"),
        ),
        (
            "refused, and asked for",
            json!({"action": "deny", "would_deny": null}),
            true,
            Ok(true),
        ),
        (
            "refused for its form",
            json!({"action": "deny", "would_deny": null, "reason": "malformed_request"}),
            true,
            Err("not_by_rules"),
        ),
        (
            "refused for a reason of a newer version",
            json!({"action": "deny", "would_deny": null, "reason": "of_the_future"}),
            true,
            Err("not_by_rules"),
        ),
        (
            "matched a deny rule, which no allow outdoes",
            json!({"would_deny": "rule_denies", "reason": "rule_denies"}),
            true,
            Err("deny_rule"),
        ),
        (
            "refused by a deny rule",
            json!({"action": "deny", "would_deny": null, "reason": "rule_denies"}),
            true,
            Err("deny_rule"),
        ),
        (
            "an interception, whose requests have records of their own",
            json!({"kind": "connection", "action": "intercept"}),
            true,
            Err("allowed_already"),
        ),
        (
            "without a destination",
            json!({"authority": null}),
            true,
            Err("no_authority"),
        ),
        (
            "let through and then refused for its address",
            json!({"action": "deny", "reason": "address_closed"}),
            false,
            Ok(false),
        ),
        (
            "let through and then refused for its form",
            json!({"action": "deny", "reason": "sni_mismatch", "kind": "connection"}),
            false,
            Ok(false),
        ),
        (
            "a method that no rule can name",
            json!({"method": "M-SEARCH2"}),
            false,
            Ok(false),
        ),
        (
            "a method in small letters",
            json!({"method": "get"}),
            false,
            Ok(false),
        ),
        (
            "a method of two words",
            json!({"method": "M-SEARCH"}),
            false,
            Ok(true),
        ),
        (
            "a folder that no rule can name",
            json!({"path": "/a b/c"}),
            false,
            Ok(false),
        ),
    ];
    for (what, changes, include_denied, want) in rows {
        let learned = learn(&[with(changes)], include_denied);
        let got = match learned.rules.as_slice() {
            [] => Err(learned.skipped[0].why),
            [rule] => Ok(rule.live),
            more => panic!("{what}: {more:?}"),
        };
        assert_eq!(got, want, "{what}");
        assert_eq!(learned.records, 1, "{what}");
    }
}

#[test]
fn a_refused_upgrade_makes_a_rule_that_allows_one() {
    let upgrade = with(json!({
        "action": "deny", "would_deny": null, "reason": "upgrade_not_allowed",
    }));
    let learned = learn(&[upgrade], true);
    assert!(learned.rules[0].upgrade);
    assert!(learned.to_yaml().contains("\n    upgrade: true\n"));
}

#[test]
fn the_text_of_a_whole_log() {
    let tunnel = json!({
        "kind": "connection", "action": "tunnel", "method": "CONNECT", "path": "",
        "authority": "files.example.org:443", "bytes_in": 1500, "bytes_out": 3_000_000,
    });
    let records = [
        with(tunnel.clone()),
        {
            let mut other = with(tunnel);
            other["client"] = json!("10.0.0.9");
            other["time"] = json!("2026-11-21T09:30:00+01:00");
            other
        },
        record(),
        with(json!({"method": "POST", "path": "/b"})),
        with(json!({"authority": "localhost:8188", "path": "/prompt"})),
        with(json!({"authority": "8.8.8.8:80"})),
        with(json!({"reason": "rule_allows", "would_deny": null})),
    ];
    let want = "\
# Rules that `airlock learn` made from an audit log. Read them before you use them: they allow what
# was seen, and cannot tell whether it was wanted. Copy the rules you want into your configuration,
# then `airlock check --config FILE`.
#
# 7 records read.
# 1: allowed already by a rule of their time.
version: 1

rules:
  # once by 10.0.0.7 (explicit); 0 B sent, 10 B received
  # first 2026-11-20T10:00:00Z, last 2026-11-20T10:00:00Z
  - name: learned-api.test
    hosts: [api.test]
    ports: [80]
    methods: [GET]
    paths: [\"/a\"]
    action: forward

  # once by 10.0.0.7 (explicit); 0 B sent, 10 B received
  # first 2026-11-20T10:00:00Z, last 2026-11-20T10:00:00Z
  - name: learned-api.test-2
    hosts: [api.test]
    ports: [80]
    methods: [POST]
    paths: [\"/b\"]
    action: forward

  # 2 times by 10.0.0.7 (1), 10.0.0.9 (1) (explicit); 2.9 KiB sent, 5.7 MiB received
  # first 2026-11-20T10:00:00Z, last 2026-11-21T08:30:00Z
  - name: learned-files.example.org
    hosts: [files.example.org]
    ports: [443]
    action: tunnel

  # once by 10.0.0.7 (explicit); 0 B sent, 10 B received
  # first 2026-11-20T10:00:00Z, last 2026-11-20T10:00:00Z
  # a name of your own network: `upstreams:` has to name the host and port too
  - name: learned-localhost
    hosts: [\"localhost\"]
    ports: [8188]
    methods: [GET]
    paths: [\"/prompt\"]
    action: forward

  # WARNING: an address, not a name: nothing says whose it is tomorrow
  # once by 10.0.0.7 (explicit); 0 B sent, 10 B received
  # first 2026-11-20T10:00:00Z, last 2026-11-20T10:00:00Z
  # - name: learned-8.8.8.8
  #   ips: [\"8.8.8.8\"]
  #   ports: [80]
  #   methods: [GET]
  #   paths: [\"/a\"]
  #   action: forward
";
    assert_eq!(learn(&records, false).to_yaml(), want);
}

#[test]
fn nothing_of_a_record_gets_into_the_text_unparsed() {
    let evil = "x\n  - name: evil\n    hosts: [evil.test]\n    action: tunnel\n#";
    for field in [
        "client",
        "authority",
        "method",
        "path",
        "rule",
        "reason",
        "entry",
        "time",
    ] {
        let mut record = record();
        record[field] = json!(evil);
        let mut learner = Learner::new(Options {
            include_denied: true,
            with_warned: true,
        });
        // Refused as a line, or taken without that text.
        if learner.line(record.to_string().as_bytes()).is_ok() {
            let yaml = learner.finish().to_yaml();
            assert!(!yaml.contains("evil"), "{field}: {yaml}");
        }
    }
}

#[test]
fn a_log_with_endless_destinations_and_paths_is_bounded() {
    let mut learner = Learner::new(Options::default());
    for i in 0..5000 {
        let record = with(json!({"authority": format!("h{i}.test:80")}));
        learner.line(record.to_string().as_bytes()).unwrap();
        let record = with(json!({"path": format!("/f{}/{i}", i % 20)}));
        learner.line(record.to_string().as_bytes()).unwrap();
    }
    let learned = learner.finish();
    assert_eq!(learned.records, 10_000);
    assert!(learned.rules.len() <= 4096);
    assert_eq!(learned.skipped[0].why, "too_many_destinations");
    let one = learned
        .rules
        .iter()
        .find(|r| r.hosts == ["api.test"])
        .unwrap();
    assert_eq!(one.seen.count, 5000);
    assert!(one.paths.len() <= 8, "{:?}", one.paths);
}
