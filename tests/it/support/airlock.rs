//! Airlock itself, as the process that a person starts.

use std::{net::SocketAddr, path::PathBuf, process::Command};

use serde::Deserialize;
use tempfile::TempDir;

use super::{llm::Llm, process::Process};

/// `airlock run --print-ready` prints this once every port is bound (and `admin`, which no test dials yet).
#[derive(Debug, Deserialize)]
pub struct Ready {
    pub ready: bool,
    pub explicit: SocketAddr,
    pub reverse: SocketAddr,
    pub ca_bundle: PathBuf,
}

pub struct Airlock {
    _process: Process,
    pub ready: Ready,
    /// Configuration and state; removed with the value.
    pub scratch: TempDir,
}

impl Airlock {
    /// With all listeners on free ports and this LLM behind it; everything else as shipped.
    pub fn before(llm: &Llm) -> Self {
        Self::start(&format!(
            "listeners:\n  explicit: 127.0.0.1:0\n  reverse:\n    listen: 127.0.0.1:0\n  admin: 127.0.0.1:0\n\
             llm:\n  base_url: {}\n  api_key: {}\n",
            llm.base_url(),
            super::llm::KEY,
        ))
    }

    /// With this YAML; `version` and `state_dir` are added.
    pub fn start(config: &str) -> Self {
        let scratch = TempDir::with_prefix("airlock-it-").expect("a scratch folder can be made");
        let state = scratch.path().join("state");
        let file = scratch.path().join("airlock.yaml");
        std::fs::write(
            &file,
            format!("version: 1\nstate_dir: {}\n{config}", state.display()),
        )
        .expect("scratch is writable");

        let mut command = Command::new(env!("CARGO_BIN_EXE_airlock"));
        command
            .args(["run", "--print-ready", "--config"])
            .arg(&file)
            // The environment of the person who runs the tests must not configure it.
            .env_clear()
            .env("HOME", scratch.path())
            .env("RUST_BACKTRACE", "1");
        let (process, ready) = Process::start::<Ready>("airlock", command, scratch.path());
        assert!(ready.ready, "airlock is not ready: {ready:?}");
        Self {
            _process: process,
            ready,
            scratch,
        }
    }
}
