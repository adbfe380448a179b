//! The real SDKs: two virtual environments made by `./run`, and the scripts in `tests/clients`.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use serde::Deserialize;

use super::{airlock::Airlock, llm::Llm};

/// A script that takes longer hangs: each of its checks has a limit of its own.
const SCRIPT_WITHIN: Duration = Duration::from_secs(180);

/// A set of SDKs that can be installed together (`tests/clients/requirements-*.txt`).
#[derive(Clone, Copy, Debug)]
pub enum Sdk {
    /// openai 1.x, openai-agents 0.3, mcp 1.14, urllib3 1.26.
    Old,
    /// openai 3.x on httpx2, openai-agents 0.24, mcp 2.3, urllib3 2.
    New,
}

impl Sdk {
    pub fn python(self) -> PathBuf {
        let set = match self {
            Sdk::Old => "old",
            Sdk::New => "new",
        };
        environments().join(set).join("bin").join("python")
    }
}

/// Which way a script reaches Airlock.
#[derive(Clone, Copy, Debug)]
pub enum Entry {
    /// The vendor's own URLs, through `HTTPS_PROXY`.
    Proxy,
    /// The reverse listener as base URL.
    Reverse,
}

pub fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// `./run test` names the folder; under plain `cargo test` `./run` is asked for it here.
/// It makes what is missing, one process at a time, and is quick when all is there.
fn environments() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        if let Some(folder) = std::env::var_os("AIRLOCK_CLIENTS_DIR") {
            return folder.into();
        }
        let output = Command::new("./run")
            .arg("clients-env")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stderr(Stdio::inherit())
            .output()
            .expect("./run can be started");
        assert!(
            output.status.success(),
            "./run clients-env could not set up the Python SDKs"
        );
        let stdout = String::from_utf8(output.stdout).expect("./run speaks UTF-8");
        stdout
            .lines()
            .last()
            .expect("./run clients-env names a folder")
            .into()
    })
}

/// One line of a script's report.
#[derive(Debug, Deserialize)]
struct Check {
    check: String,
    ok: bool,
    detail: String,
}

/// Runs `tests/clients/<script>.py` at the front door, with ComfyUI's own address beside it.
pub fn run_at_door(
    script: &str,
    airlock: &Airlock,
    door: SocketAddr,
    comfyui: SocketAddr,
    more: &[(&str, &str)],
) {
    let scratch = airlock.scratch.path();
    let mut command = command(script, Sdk::New, scratch);
    command
        .env("AIRLOCK_ENTRY", "front door")
        .env("AIRLOCK_DOOR", door.to_string())
        .env("COMFYUI_DIRECT", comfyui.to_string())
        .envs(more.iter().copied());
    run(script, "New SDKs at the front door", command, scratch);
}

fn command(script: &str, sdk: Sdk, scratch: &Path) -> Command {
    let mut command = Command::new(sdk.python());
    command
        .arg("-B")
        .arg(scripts().join(format!("{script}.py")))
        .env_clear()
        .env("HOME", scratch)
        .env("PYTHONUTF8", "1");
    command
}

/// Runs `tests/clients/<script>.py` and panics with the checks that failed.
pub fn run_script(script: &str, sdk: Sdk, entry: Entry, airlock: &Airlock, llm: &Llm) {
    let scratch = airlock.scratch.path();
    let proxy = format!("http://{}", airlock.ready.explicit);

    let mut command = command(script, sdk, scratch);
    // What `airlock exec` gives its child.
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
        command.env(name, &proxy);
    }
    for name in ["NO_PROXY", "no_proxy"] {
        command.env(name, "127.0.0.1,localhost");
    }
    for name in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"] {
        command.env(name, &airlock.ready.ca_bundle);
    }
    command
        .env("AIRLOCK_PROXY", &proxy)
        .env(
            "AIRLOCK_REVERSE",
            format!("http://{}", airlock.ready.reverse),
        )
        .env(
            "AIRLOCK_ENTRY",
            match entry {
                Entry::Proxy => "proxy",
                Entry::Reverse => "reverse",
            },
        )
        .env("AIRLOCK_LLM", if llm.is_up() { "up" } else { "down" })
        .env("FAKE_LLM_LOG", llm.log(scratch));
    let how = format!("{sdk:?} SDKs by {entry:?}");
    run(script, &how, command, scratch);
}

fn run(script: &str, how: &str, mut command: Command, scratch: &Path) {
    let (stdout, stderr) = (scratch.join("script.stdout"), scratch.join("script.stderr"));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(File::create(&stdout).expect("scratch is writable"))
        .stderr(File::create(&stderr).expect("scratch is writable"))
        .spawn()
        .expect("the Python environment has a python");
    let deadline = Instant::now() + SCRIPT_WITHIN;
    let status = loop {
        match child.try_wait().expect("the script can be waited for") {
            Some(status) => break Some(status),
            None if Instant::now() > deadline => {
                child.kill().expect("the script can be killed");
                child.wait().expect("the script can be waited for");
                break None;
            }
            None => thread::sleep(Duration::from_millis(50)),
        }
    };

    let report = fs::read_to_string(&stdout).expect("the report is there");
    let complaints = fs::read_to_string(&stderr).expect("stderr is there");
    let checks: Vec<Check> = report
        .lines()
        .map(|line| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{script} printed {line:?}: {error}\n{complaints}"))
        })
        .collect();
    let failed: Vec<String> = checks
        .iter()
        .filter(|check| !check.ok)
        .map(|check| format!("  {}\n      {}", check.check, check.detail))
        .collect();
    for check in checks.iter().filter(|check| check.ok) {
        println!("ok  {}  ({})", check.check, check.detail);
    }
    assert!(
        failed.is_empty(),
        "{script} with {how}: {} of {} checks failed:\n{}",
        failed.len(),
        checks.len(),
        failed.join("\n"),
    );
    let status = status.unwrap_or_else(|| panic!("{script} was stopped after {SCRIPT_WITHIN:?}"));
    assert!(
        status.success() && !checks.is_empty(),
        "{script} ended with {status} after {} checks:\n{complaints}",
        checks.len(),
    );
}
