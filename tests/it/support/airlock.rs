//! Airlock itself, as the process that a person starts.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;
use tempfile::TempDir;

use super::{llm::Llm, process::Process};

/// `airlock run --print-ready` prints this once every port is bound.
#[derive(Debug, Deserialize)]
pub struct Ready {
    pub ready: bool,
    #[serde(default = "nowhere")]
    pub explicit: SocketAddr,
    #[serde(default = "nowhere")]
    pub reverse: SocketAddr,
    pub front_door: Option<SocketAddr>,
    pub admin: SocketAddr,
    pub transparent_tls: Option<SocketAddr>,
    pub transparent_http: Option<SocketAddr>,
    pub ca_bundle: PathBuf,
}

/// A listener that is off.
fn nowhere() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 0))
}

pub struct Airlock {
    pub process: Process,
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
        Self::launch(binary(), scratch(), config)
    }

    /// Again on the same files, after the process has ended or by killing it.
    pub fn restart(self) -> Self {
        let Self {
            process, scratch, ..
        } = self;
        drop(process);
        Self::run(binary(), scratch)
    }

    fn launch(command: Command, scratch: TempDir, config: &str) -> Self {
        let state = scratch.path().join("state");
        std::fs::write(
            scratch.path().join("airlock.yaml"),
            with_state(&state, config),
        )
        .expect("scratch is writable");
        Self::run(command, scratch)
    }

    fn run(command: Command, scratch: TempDir) -> Self {
        let mut command = environment(command, scratch.path());
        command
            .args(["run", "--print-ready", "--config"])
            .arg(scratch.path().join("airlock.yaml"));
        let (process, ready) = Process::start::<Ready>("airlock", command, scratch.path());
        assert!(ready.ready, "airlock is not ready: {ready:?}");
        Self {
            process,
            ready,
            scratch,
        }
    }

    pub fn config(&self) -> PathBuf {
        self.scratch.path().join("airlock.yaml")
    }

    /// Puts another configuration in place, in one step.
    pub fn rewrite(&self, setup: &Setup) {
        self.replace(&with_state(&self.state(), &setup.yaml()));
    }

    /// Any text at all.
    pub fn replace(&self, text: &str) {
        let draft = self.scratch.path().join("draft.yaml");
        std::fs::write(&draft, text).expect("scratch is writable");
        std::fs::rename(&draft, self.config()).expect("scratch is writable");
    }

    pub fn hang_up(&self) {
        self.process.signal("HUP");
    }

    /// A command of the same program about this one: exit code, stdout, stderr.
    pub fn command(&self, arguments: &[&str]) -> (i32, String, String) {
        let out = environment(binary(), self.scratch.path())
            .args(arguments)
            .args(["--admin", &self.ready.admin.to_string(), "--config"])
            .arg(self.config())
            .output()
            .expect("the binary starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = out.status.code().expect("it ends by itself");
        (code, text(&out.stdout), text(&out.stderr))
    }

    pub fn state(&self) -> PathBuf {
        self.scratch.path().join("state")
    }
}

fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_airlock"))
}

fn with_state(state: &Path, config: &str) -> String {
    format!("version: 1\nstate_dir: {}\n{config}", state.display())
}

/// The environment of the person who runs the tests must not configure it.
fn environment(mut command: Command, home: &Path) -> Command {
    command
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("RUST_BACKTRACE", "1");
    command
}

fn scratch() -> TempDir {
    TempDir::with_prefix("airlock-it-").expect("a scratch folder can be made")
}

/// The configuration of a pipeline test: no pack, no LLM, all listeners on free ports.
/// Each field is YAML at its place.
#[derive(Default)]
pub struct Setup {
    /// Items of `rules`.
    pub rules: String,
    /// Items of `listeners.reverse.routes`.
    pub routes: String,
    /// Further keys of `listeners.reverse`.
    pub reverse: String,
    /// Further keys of `listeners`.
    pub listeners: String,
    /// Further sections.
    pub more: String,
    /// Names that resolve to 127.0.0.1 (see [`Setup::start_in_namespace`]).
    pub names: Vec<&'static str>,
    /// Further lines of that `/etc/hosts`.
    pub hosts: String,
}

impl Setup {
    pub fn rules(rules: impl Into<String>) -> Self {
        Self {
            rules: rules.into(),
            ..Self::default()
        }
    }

    pub fn more(mut self, more: impl AsRef<str>) -> Self {
        self.more.push_str(more.as_ref());
        self.more.push('\n');
        self
    }

    pub fn start(&self) -> Airlock {
        let names = self.names.is_empty() && self.hosts.is_empty();
        assert!(names, "names need a namespace");
        Airlock::start(&self.yaml())
    }

    /// Under a limit of the shell that starts it, as in `ulimit -n 256`.
    pub fn start_under(&self, limit: &str) -> Airlock {
        let mut command = Command::new("sh");
        command
            .args(["-ec", &format!("{limit}; exec \"$@\""), "sh"])
            .arg(env!("CARGO_BIN_EXE_airlock"));
        Airlock::launch(command, scratch(), &self.yaml())
    }

    /// With these variables, and no others, in its environment.
    pub fn start_with(&self, variables: &[(&str, &str)]) -> Airlock {
        assert!(self.names.is_empty(), "names need a namespace");
        // What starts it clears the environment; this comes after.
        let mut command = Command::new("env");
        command
            .args(
                variables
                    .iter()
                    .map(|(name, value)| format!("{name}={value}")),
            )
            .arg(env!("CARGO_BIN_EXE_airlock"));
        Airlock::launch(command, scratch(), &self.yaml())
    }

    /// In a mount namespace with an `/etc/hosts` of its own. `None` where the kernel allows none
    /// (a failure if `AIRLOCK_REQUIRE_NETNS` is set, as it is in CI).
    pub fn start_in_namespace(&self) -> Option<Airlock> {
        let works = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "true"])
            .status()
            .is_ok_and(|status| status.success());
        if !works {
            let required = std::env::var_os("AIRLOCK_REQUIRE_NETNS").is_some();
            assert!(!required, "`unshare --user --mount` does not work here");
            eprintln!("skipped: this kernel allows no unprivileged mount namespace");
            return None;
        }
        let scratch = scratch();
        let hosts = scratch.path().join("hosts");
        let lines: String = self
            .names
            .iter()
            .map(|name| format!("127.0.0.1 {name}\n"))
            .collect();
        let more = &self.hosts;
        std::fs::write(&hosts, format!("127.0.0.1 localhost\n{lines}{more}"))
            .expect("scratch is writable");
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
            .arg("mount --bind \"$0\" /etc/hosts && exec \"$@\"")
            .arg(&hosts)
            .arg(env!("CARGO_BIN_EXE_airlock"));
        Some(Airlock::launch(command, scratch, &self.yaml()))
    }

    fn yaml(&self) -> String {
        let list = |items: &str| match items {
            "" => "[]".to_owned(),
            items => format!("\n{items}"),
        };
        format!(
            "listeners:\n  explicit: 127.0.0.1:0\n  admin: 127.0.0.1:0\n{}\n  reverse:\n{}    \
             listen: 127.0.0.1:0\n    routes: {}\npacks: []\nllm:\n  discover: false\nrules: {}\n{}",
            self.listeners,
            self.reverse,
            list(&self.routes),
            list(&self.rules),
            self.more,
        )
    }
}
