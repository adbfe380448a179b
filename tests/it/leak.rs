//! Nothing leaves: the demo's whole traffic in a network namespace, under a packet capture.
//!
//! `tests/netns/capture.py` gives the namespace an interface with a default route, captures it, counts
//! what arrives at its far end by nftables, and sends controls that must be seen. Where the kernel
//! allows no namespace the test says so and passes, unless `AIRLOCK_REQUIRE_NETNS` is set, as it is in
//! CI; without nftables the capture stands alone, unless `AIRLOCK_REQUIRE_NFT` is set.

use std::process::Command;

use serde_json::Value;

use crate::support::namespaces_are_there;

/// Runs `command` in a fresh namespace under the capture; its standard output and the report.
pub fn captured(command: &[&str]) -> Option<(String, Value)> {
    if !namespaces_are_there() {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("capture.json");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/netns/capture.py");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount"])
        .args(["python3", script])
        .arg(&report)
        .args(command)
        .output()
        .unwrap();
    let text = std::fs::read_to_string(&report).unwrap_or_else(|e| {
        panic!(
            "no report ({e}): {}",
            String::from_utf8_lossy(&output.stderr)
        );
    });
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_witnesses_are_awake(&report);
    Some((String::from_utf8_lossy(&output.stdout).into_owned(), report))
}

/// The controls were seen by the capture, and by the counters where there are any.
pub fn assert_witnesses_are_awake(report: &Value) {
    assert_eq!(
        report["controls_seen"], report["controls_sent"],
        "the capture is blind: {report}"
    );
    match report["counters"].as_object() {
        Some(counters) => assert!(
            counters["the controls"].as_u64() >= report["controls_sent"].as_u64(),
            "the counters are blind: {report}"
        ),
        None => assert!(
            std::env::var_os("AIRLOCK_REQUIRE_NFT").is_none(),
            "AIRLOCK_REQUIRE_NFT is set, and there is no `nft`"
        ),
    }
}

/// Attempts of `tests/netns/probe.py` (and `anything else`) of which at least one packet got out.
pub fn counted(report: &Value) -> Vec<&str> {
    let counters = report["counters"].as_object().into_iter().flatten();
    counters
        .filter(|(name, packets)| *name != "the controls" && packets.as_u64() != Some(0))
        .map(|(name, _)| name.as_str())
        .collect()
}

/// Not one packet, by either witness.
pub fn assert_silent(report: &Value) {
    assert_eq!(report["leaked"], Value::Array(vec![]), "{report:#}");
    assert_eq!(counted(report), Vec::<&str>::new(), "{report:#}");
}

#[test]
fn during_the_whole_demo_not_one_packet_leaves_the_machine() {
    let Some((stdout, report)) = captured(&[env!("CARGO_BIN_EXE_airlock"), "demo", "--json"])
    else {
        return;
    };
    assert_eq!(report["exit_code"], 0, "{stdout}");
    assert_silent(&report);
    let demo: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(demo["ok"], true, "{demo}");
    assert_eq!(demo["left_machine_bytes"], 0, "{demo}");
}

#[test]
fn the_capture_sees_what_a_careless_program_sends() {
    let careless = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\
                    .sendto(b'x', ('203.0.113.9', 53))";
    let Some((_, report)) = captured(&["python3", "-c", careless]) else {
        return;
    };
    let leaked = report["leaked"].as_array().unwrap();
    assert!(
        leaked.iter().any(|l| l["summary"]["to"] == "203.0.113.9"),
        "{report}"
    );
}
