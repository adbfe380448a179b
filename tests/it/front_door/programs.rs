//! Programs, not browsers, through the door: WebSocket clients frame by frame, comfy-headless from PyPI,
//! and more bytes than fit in memory. ComfyUI is a stand-in on aiohttp, which ComfyUI is built on.
//!
//! The checks are in `tests/clients`.

use std::{fs, net::SocketAddr, process::Command};

use serde::Deserialize;

use super::{
    before, door,
    people::{REQUIRED, issue},
};
use crate::support::{Airlock, Process, Sdk, Wire, eventually, run_at_door, scripts};

/// `tests/clients/comfyui.py`, gone with its value.
struct OnAiohttp {
    address: SocketAddr,
    _process: Process,
    _scratch: tempfile::TempDir,
}

impl OnAiohttp {
    fn start() -> Self {
        #[derive(Deserialize)]
        struct Ready {
            address: SocketAddr,
        }
        let scratch = tempfile::tempdir().unwrap();
        let mut command = Command::new(Sdk::New.python());
        command.arg("-B").arg(scripts().join("comfyui.py"));
        let (process, Ready { address }) = Process::start("comfyui", command, scratch.path());
        Self {
            address,
            _process: process,
            _scratch: scratch,
        }
    }
}

fn run(script: &str, more: &[(&str, &str)]) -> Airlock {
    let comfyui = OnAiohttp::start();
    let airlock = before(comfyui.address, "");
    run_at_door(script, &airlock, door(&airlock), comfyui.address, more);
    airlock
}

#[test]
fn every_web_socket_gets_the_verdict_that_it_gets_without_us() {
    let airlock = run("web_sockets", &[]);
    eventually("every connection is closed", || {
        airlock.metric("airlock_connections", &[("entry", "front_door")]) == 0
    });
    let switched = || {
        let records = airlock.records().into_iter();
        records.filter(|r| r["status"] == 101).collect::<Vec<_>>()
    };
    eventually("each of them stands in the log", || switched().len() > 100);
    let records = switched();
    // Sums of a WebSocket are those of its frames: the message of a megabyte, there and back.
    let large = |r: &&serde_json::Value| r["bytes_in"].as_u64() > Some(1 << 20);
    let large: Vec<_> = records.iter().filter(large).collect();
    assert!(
        large
            .iter()
            .any(|r| r["bytes_out"].as_u64() > Some(1 << 20)),
        "{large:#?}"
    );
}

#[test]
fn comfy_headless_works_by_the_door() {
    let airlock = run("comfy_headless_client", &[]);
    let refused = |r: &&serde_json::Value| r["action"] == "deny" || r["reason"] == "internal";
    let records = airlock.records();
    let refused: Vec<_> = records.iter().filter(refused).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

/// The secret was rotated: the program's token is of the previous key, and gets a fresh one with its next
/// answer, which it goes on with when the old key is gone.
#[test]
fn a_program_goes_on_with_the_token_that_it_is_given() {
    let comfyui = OnAiohttp::start();
    let airlock = before(comfyui.address, REQUIRED);
    let (_, token) = issue(&airlock, "ada", "user", "12h");
    assert_eq!(airlock.command(&["secret", "rotate"]).0, 0);
    let kept = airlock.scratch.path().join("kept");
    let more = [
        ("AIRLOCK_TOKEN", token.as_str()),
        ("AIRLOCK_KEPT", kept.to_str().unwrap()),
    ];
    let at = door(&airlock);
    run_at_door("token_client", &airlock, at, comfyui.address, &more);
    assert_eq!(airlock.command(&["secret", "rotate", "--force"]).0, 0);
    let status = |token: &str| {
        Wire::to(at)
            .ask(format!(
                "GET /api/queue HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {token}\r\n\r\n"
            ))
            .status
    };
    assert_eq!(status(&token), 401, "the one it began with");
    assert_eq!(status(&fs::read_to_string(kept).unwrap()), 200);
}

/// Bodies of any size pass, and what Airlock holds of them does not grow with it.
#[test]
#[cfg(target_os = "linux")]
fn what_passes_is_not_held() {
    const MIB: u64 = 1 << 20;
    // `AIRLOCK_UPLOAD_BYTES=4294967296` for the gigabytes that ComfyUI's users send.
    let bytes = std::env::var("AIRLOCK_UPLOAD_BYTES").unwrap_or_else(|_| (256 * MIB).to_string());
    let comfyui = OnAiohttp::start();
    let airlock = before(comfyui.address, "");
    let more = [("AIRLOCK_UPLOAD_BYTES", bytes.as_str())];
    run_at_door(
        "comfy_headless_client",
        &airlock,
        door(&airlock),
        comfyui.address,
        &more,
    );
    let status = fs::read_to_string(format!("/proc/{}/status", airlock.process.id())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    // A debug build at rest has about 60 MiB.
    assert!(
        peak < 160 * 1024,
        "at most {peak} KiB, for bodies of {bytes} bytes"
    );
}
