//! The LLM behind Airlock: scripted and strict, not there, or silent.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;
use tempfile::TempDir;

use super::{
    process::Process,
    python::{Sdk, scripts},
};

/// The credential that Airlock is configured with; `tests/clients/fake_llm.py` insists on it.
pub const KEY: &str = "local-llm-secret-93ab";

#[derive(Deserialize)]
struct Ready {
    port: u16,
}

pub enum Llm {
    /// `tests/clients/fake_llm.py`.
    Scripted {
        _process: Process,
        scratch: TempDir,
        port: u16,
    },
    /// Nobody listens: connections are refused.
    Down,
    /// Connections are accepted by the kernel, and never answered.
    Hung(TcpListener),
}

impl Llm {
    pub fn scripted() -> Self {
        let scratch = TempDir::with_prefix("airlock-llm-").expect("a scratch folder can be made");
        let mut command = Command::new(Sdk::Old.python());
        command
            .arg("-B")
            .arg(scripts().join("fake_llm.py"))
            .arg("--log")
            .arg(scratch.path().join("requests.jsonl"));
        let (process, ready) = Process::start::<Ready>("fake_llm", command, scratch.path());
        Self::Scripted {
            _process: process,
            scratch,
            port: ready.port,
        }
    }

    pub fn hung() -> Self {
        Self::Hung(TcpListener::bind("127.0.0.1:0").expect("loopback has a free port"))
    }

    pub fn is_up(&self) -> bool {
        matches!(self, Self::Scripted { .. })
    }

    pub fn base_url(&self) -> String {
        let port = match self {
            Self::Scripted { port, .. } => *port,
            // tcpmux: nobody has served it for decades.
            Self::Down => 1,
            Self::Hung(listener) => listener.local_addr().expect("it is bound").port(),
        };
        format!("http://127.0.0.1:{port}/v1")
    }

    /// One JSON line per request that reached it. Empty, and not written, unless it is up.
    pub fn log(&self, fallback: &Path) -> PathBuf {
        match self {
            Self::Scripted { scratch, .. } => scratch.path().join("requests.jsonl"),
            Self::Down | Self::Hung(_) => fallback.join("no-llm.jsonl"),
        }
    }
}
