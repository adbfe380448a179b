//! The network of `deploy/compose/`, built from namespaces as the file describes it, and what the
//! plugin's container can reach in it.
//!
//! There is no container engine in a test. `tests/netns/compose.py` makes a bridge per network, a
//! namespace per service and Docker's DNS server as it was before the fix of CVE-2024-29018, from the
//! very file that is shipped; runs the real binary in `airlock` and `tests/netns/probe.py` in `comfyui`;
//! and watches what arrives outside and what the plugin's interface sends. The same file with one
//! line changed must be seen to leak, or its silence would say nothing.

use std::{
    collections::BTreeSet,
    io::Write,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    leak::{assert_silent, assert_witnesses_are_awake, counted},
    support::namespaces_are_there,
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// A server of the host that listens on all addresses; `compose.py` puts its address there. The kernel
/// asks for a neighbour three seconds before it says that there is none.
const HOST_SERVER: [&str; 4] = ["--reach", "HOST", "--patience", "8"];
const HOST_ROW: &str = "a server of the host that listens on all addresses";

fn compose() -> Value {
    file("docker-compose.yaml")
}

fn file(name: &str) -> Value {
    let text = std::fs::read_to_string(format!("{ROOT}/deploy/compose/{name}")).unwrap();
    serde_yaml::from_str(&text).unwrap()
}

/// As compose merges a second `-f`: maps by key, the rest replaced.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// What was seen of a probe in the plugin's container of this compose file.
fn probed(compose: &Value, options: &[&str]) -> Option<Value> {
    if !namespaces_are_there() {
        return None;
    }
    let scratch = tempfile::tempdir().unwrap();
    let report = scratch.path().join("report.json");
    let plan = json!({
        "compose": compose,
        "folder": format!("{ROOT}/deploy/compose"),
        "binary": env!("CARGO_BIN_EXE_airlock"),
        "scratch": scratch.path(),
        "plugin": "comfyui",
        "probe": format!("{ROOT}/tests/netns/probe.py"),
        "options": options,
    });
    let mut child = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount"])
        // Whatever it started ends with it.
        .args(["--pid", "--fork", "--kill-child"])
        .args(["python3", &format!("{ROOT}/tests/netns/compose.py")])
        .arg(&report)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(plan.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = std::fs::read_to_string(&report).unwrap_or_else(|e| {
        panic!(
            "no report ({e}): {}",
            String::from_utf8_lossy(&output.stderr)
        )
    });
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_witnesses_are_awake(&report);
    for (name, result) in report["probe"]["controls"].as_object().unwrap() {
        assert_eq!(result, true, "{name}: {report:#}");
    }
    Some(report)
}

/// Destinations of what the plugin's interfaces sent, Airlock's own address aside.
fn elsewhere(report: &Value) -> BTreeSet<String> {
    let airlock = report["airlock"].as_array().unwrap();
    let sent = report["from_plugin"].as_array().unwrap();
    assert!(!sent.is_empty(), "the capture is blind: {report:#}");
    sent.iter()
        .filter(|frame| !airlock.contains(&frame["to"]))
        .map(|frame| match frame["to"].as_str() {
            Some(to) => to.to_owned(),
            None => frame.to_string(),
        })
        .collect()
}

fn escaped(report: &Value) -> Vec<&str> {
    let rows = report["probe"]["escaped"].as_object().unwrap();
    rows.keys().map(String::as_str).collect()
}

#[test]
fn every_packet_of_the_plugins_container_goes_to_airlock() {
    let Some(report) = probed(&compose(), &[]) else {
        return;
    };
    assert_eq!(escaped(&report), Vec::<&str>::new(), "{report:#}");
    assert!(report["probe"]["refused"].as_object().unwrap().len() > 40);
    assert_eq!(elsewhere(&report), BTreeSet::new(), "{report:#}");
    assert_silent(&report);
}

#[test]
fn the_hosts_own_servers_are_in_reach_until_the_gateway_is_isolated() {
    let Some(report) = probed(&compose(), &HOST_SERVER) else {
        return;
    };
    // The limit that SECURITY.md states; nothing beyond it.
    assert_eq!(escaped(&report), [HOST_ROW], "{report:#}");
    assert_silent(&report);

    let mut isolated = compose();
    merge(&mut isolated, file("docker-compose.isolated.yaml"));
    let report = probed(&isolated, &HOST_SERVER).unwrap();
    assert_eq!(escaped(&report), Vec::<&str>::new(), "{report:#}");
    assert!(report["probe"]["refused"][HOST_ROW].is_string());
    assert_eq!(elsewhere(&report), BTreeSet::new(), "{report:#}");
    assert_silent(&report);
}

/// Attempts that a container without privileges can make, and a router passes on.
const ROUTED: [&str; 16] = [
    "TCP to an IPv4 address",
    "TCP to an IPv4 address written as an IPv6 one",
    "TCP to the cloud's metadata service",
    "TCP to the router of a home",
    "TCP Fast Open, data in the first packet",
    "UDP to an IPv4 address",
    "QUIC",
    "DNS over UDP",
    "DNS over TCP",
    "DNS over QUIC",
    "DNS over TLS",
    "DNS over HTTPS, proxy variables ignored",
    "NTP",
    "ping without privileges",
    "HTTP, proxy variables ignored",
    "HTTP with NO_PROXY=*",
];
const BY_NAME: [&str; 2] = [
    "the system's resolver",
    "HTTPS by name, proxy variables ignored",
];
const FRAME: &str = "a frame by AF_PACKET on every interface";

#[test]
fn one_changed_line_of_the_compose_file_is_seen_to_leak() {
    if !namespaces_are_there() {
        return;
    }
    type Change = fn(&mut Value);
    // What leaves outside, and what the probe itself says has escaped.
    let rows: [(&str, Change, &[&str], &[&str]); 4] = [
        (
            "the plugin joins a network with a route",
            |c| {
                let networks = &mut c["services"]["comfyui"]["networks"];
                networks.as_array_mut().unwrap().push("egress".into());
            },
            &ROUTED,
            &ROUTED,
        ),
        (
            "the plugin's network is not internal",
            |c| c["networks"]["llm_net"]["internal"] = false.into(),
            &ROUTED,
            &ROUTED,
        ),
        (
            "no resolver of its own, on an engine that asks for an internal network from the host",
            |c| {
                let comfyui = c["services"]["comfyui"].as_object_mut().unwrap();
                comfyui.remove("dns").unwrap();
            },
            &BY_NAME,
            &[],
        ),
        (
            "the capabilities are not dropped",
            |c| {
                let comfyui = c["services"]["comfyui"].as_object_mut().unwrap();
                comfyui.remove("cap_drop").unwrap();
            },
            &[],
            &[FRAME],
        ),
    ];
    for (name, change, outside, said) in rows {
        let mut changed = compose();
        change(&mut changed);
        // Unanswered attempts wait.
        let report = probed(&changed, &["--patience", "0.2"]).unwrap();
        for row in said {
            assert!(escaped(&report).contains(row), "{name}: {row}: {report:#}");
        }
        if report["counters"].is_object() {
            let counted = counted(&report);
            for row in outside {
                assert!(counted.contains(row), "{name}: {row}: {report:#}");
            }
        }
        let leaked = report["leaked"].as_array().unwrap();
        assert_eq!(leaked.is_empty(), outside.is_empty(), "{name}: {report:#}");
        if said == [FRAME] {
            let frames = elsewhere(&report);
            assert!(
                frames.iter().any(|f| f.contains("0x88b5")),
                "{name}: {frames:?}"
            );
        }
    }
}
