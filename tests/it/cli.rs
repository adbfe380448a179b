//! The command line as a person and a script use it: words, JSON shapes, exit codes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::Airlock;

const COMMANDS: [&str; 15] = [
    "models",
    "session",
    "secret",
    "user",
    "key",
    "run",
    "demo",
    "exec",
    "env",
    "check",
    "explain",
    "doctor",
    "ca",
    "health",
    "completions",
];
const VENDOR: &str = "https://comfyui-copilot-server.onrender.com";

/// A home of its own, with a configuration file in it.
struct Home(TempDir);

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|e| panic!("no JSON: {e}\n{}{}", self.out, self.err))
    }
}

impl Home {
    fn new(config: &str) -> Self {
        let dir = TempDir::with_prefix("airlock-cli-").unwrap();
        fs::write(dir.path().join("airlock.yaml"), config).unwrap();
        Self(dir)
    }

    /// With all listeners on ports that were free a moment ago, and no LLM anywhere.
    fn with_free_ports() -> Self {
        Self::new(&free_ports())
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    fn config(&self) -> String {
        self.0.path().join("airlock.yaml").display().to_string()
    }

    /// Runs with nothing of the tester's environment but `PATH`; `--config` is this home's.
    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &[])
    }

    fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
        let Output {
            status,
            stdout,
            stderr,
        } = Command::new(env!("CARGO_BIN_EXE_airlock"))
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.0.path())
            .env("AIRLOCK_STATE_DIR", self.state())
            .env("AIRLOCK_CONFIG", self.config())
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        Ran {
            code: status.code(),
            out: String::from_utf8(stdout).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
        }
    }
}

fn free_ports() -> String {
    let held: [TcpListener; 3] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let [explicit, reverse, admin] = held.map(|h| h.local_addr().unwrap());
    format!(
        "version: 1\nlisteners: {{explicit: \"{explicit}\", reverse: {{listen: \"{reverse}\"}}, \
         admin: \"{admin}\"}}\nllm: {{discover_ports: [\"http://127.0.0.1:1/v1\"]}}\n"
    )
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn help_of_every_command_has_an_example() {
    let home = Home::new("version: 1\n");
    let all = home.run(&["--help"]);
    assert_eq!(all.code, Some(0));
    for command in COMMANDS {
        assert!(
            all.out.contains(&format!("  {command}")),
            "{command} is not in --help:\n{}",
            all.out
        );
        let help = home.run(&[command, "--help"]);
        assert_eq!(help.code, Some(0), "{command}: {}", help.err);
        assert!(
            help.out.contains(&format!("airlock {command}")),
            "{command}:\n{}",
            help.out
        );
        assert!(
            help.out.contains("Example"),
            "{command} --help has no example:\n{}",
            help.out
        );
    }
}

#[test]
fn a_command_line_that_cannot_be_read_ends_with_64() {
    let home = Home::new("version: 1\n");
    for arguments in [&["nonsense"][..], &["run", "--nonsense"], &["exec"], &[]] {
        let ran = home.run(arguments);
        assert_eq!(ran.code, Some(64), "{arguments:?}: {}", ran.err);
        assert!(!ran.err.is_empty(), "{arguments:?} says nothing");
    }
}

/// Path of a key and a word of the fix.
type Mistakes = &'static [(&'static str, &'static str)];

/// Name, text, and what must be named.
const BROKEN: [(&str, &str, Mistakes); 5] = [
    (
        "the version forgotten",
        "mode: enforce\n",
        &[("version", "version: 1")],
    ),
    (
        "several mistakes at once",
        "version: 1\nmode: strict\nlistners: {}\nlisteners: {explicit: 3128}\n\
         rules:\n  - {name: a, hosts: [\"*\"], action: forward}\n  - {name: a, hosts: [x.org], action: allow}\n",
        &[
            ("mode", "enforce or report"),
            ("listners", "listeners"),
            ("listeners.explicit", "127.0.0.1:3128"),
            ("rules[0].hosts[0]", ""),
            ("rules[1].action", "tunnel"),
        ],
    ),
    (
        "two listeners on one port",
        "version: 1\nlisteners: {explicit: 127.0.0.1:4000, admin: 127.0.0.1:4000}\n",
        &[("listeners.admin", "another port")],
    ),
    (
        "a CA file that is not there",
        "version: 1\nllm: {base_url: https://sparkle:13000/v1, ca_file: missing.pem}\n",
        &[("llm.ca_file", "missing.pem")],
    ),
    ("no YAML", "version: [1\n", &[("", "")]),
];

#[test]
fn check_names_every_mistake_and_run_starts_nothing() {
    for (name, config, wanted) in BROKEN {
        let home = Home::new(config);
        let words = home.run(&["check"]);
        assert_eq!(words.code, Some(64), "{name}: {}{}", words.out, words.err);
        let ran = home.run(&["check", "--json"]);
        assert_eq!(ran.code, Some(64), "{name}");
        let report = ran.json();
        assert_eq!(report["ok"], false, "{name}");
        let errors = report["errors"].as_array().unwrap();
        for (path, fix) in wanted {
            let told = errors.iter().any(|e| {
                let message = e["message"].as_str().unwrap();
                e["path"].as_str().unwrap() == *path && message.contains(fix)
            });
            assert!(told, "{name}: {path} with {fix:?} is not in {errors:#?}");
            assert!(
                words.err.contains(path),
                "{name}: {path} is not in {}",
                words.err
            );
        }
        let run = home.run(&["run"]);
        assert_eq!(run.code, Some(64), "{name}: {}", run.err);
        assert!(!home.state().exists(), "{name}: a state folder was made");
        let doctor = home.run(&["doctor", "--json"]);
        assert_eq!(doctor.code, Some(64), "{name}");
        let found = doctor.json()["findings"].as_array().unwrap().len();
        assert_eq!(
            found,
            errors.len(),
            "{name}: doctor tells all mistakes as well"
        );
    }
}

#[test]
fn a_good_configuration_is_told_with_its_rules() {
    let home = Home::with_free_ports();
    let ran = home.run(&["check", "--json"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    let report = ran.json();
    assert_eq!(
        (&report["ok"], &report["errors"]),
        (&true.into(), &Value::Array(vec![]))
    );
    assert!(report["rules"].as_u64().unwrap() >= 8, "{report}");
    assert!(home.run(&["check"]).out.contains("comfyui-copilot/llm"));
}

#[test]
fn a_broken_configuration_is_found_before_a_port_is_bound() {
    // The port is held: binding it first would end with 69.
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    let config = format!("version: 1\nlisteners: {{explicit: \"{address}\"}}\nmode: strict\n");
    let ran = Home::new(&config).run(&["run"]);
    assert_eq!(ran.code, Some(64), "{}", ran.err);
    assert!(ran.err.contains("mode"), "{}", ran.err);
}

#[test]
fn a_busy_port_is_named_with_its_setting() {
    for setting in [
        "listeners.explicit",
        "listeners.reverse.listen",
        "listeners.admin",
    ] {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        let at = |name| if setting == name { port } else { 0 };
        let home = Home::new(&format!(
            "version: 1\nlisteners:\n  explicit: 127.0.0.1:{}\n  reverse: {{listen: \"127.0.0.1:{}\"}}\n  \
             admin: 127.0.0.1:{}\n",
            at("listeners.explicit"),
            at("listeners.reverse.listen"),
            at("listeners.admin"),
        ));
        let ran = home.run(&["run"]);
        assert_eq!(ran.code, Some(69), "{setting}: {}", ran.err);
        assert!(
            ran.err.contains(&port.to_string()),
            "{setting}: {}",
            ran.err
        );
        assert!(ran.err.contains(setting), "{setting}: {}", ran.err);
    }
}

#[test]
fn explain_says_which_rule_and_how_to_allow() {
    let home = Home::new("version: 1\n");
    let chat = format!("{VENDOR}/v1/chat/completions");
    let rows = [
        (
            "POST",
            chat.as_str(),
            "respond",
            "comfyui-copilot/llm",
            "rule_allows",
        ),
        (
            "GET",
            "https://example.org/x",
            "deny",
            "none",
            "no_rule_matched",
        ),
        (
            "GET",
            "https://api.openai.com/v1/models",
            "deny",
            "comfyui-copilot/agent-traces",
            "host_known_request_not",
        ),
    ];
    for (method, url, action, rule, reason) in rows {
        let ran = home.run(&["explain", method, url, "--json"]);
        assert_eq!(ran.code, Some(0), "{url}: {}", ran.err);
        let found = ran.json();
        for key in ["action", "rule", "reason", "how_to_allow"] {
            assert!(
                keys(&found).contains(key),
                "{url}: {key} is missing: {found}"
            );
        }
        let told = (
            found["action"].as_str(),
            found["rule"].as_str(),
            found["reason"].as_str(),
        );
        assert_eq!(told, (Some(action), Some(rule), Some(reason)), "{url}");
        assert_eq!(
            found["how_to_allow"].is_string(),
            action == "deny",
            "{url}: {found}"
        );
        let words = home.run(&["explain", method, url]).out;
        assert!(
            words.contains(rule) && words.contains(reason),
            "{url}: {words}"
        );
    }
    assert_ne!(home.run(&["explain", "GET", "not a url"]).code, Some(0));
}

#[test]
fn env_says_the_same_in_every_format() {
    let home = Home::with_free_ports();
    let json = home.run(&["env", "--format", "json"]);
    assert_eq!(json.code, Some(0), "{}", json.err);
    let variables: BTreeMap<String, String> = serde_json::from_str(&json.out).unwrap();
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        let (upper, lower) = (&variables[name], &variables[&name.to_ascii_lowercase()]);
        assert_eq!(upper, lower, "{name}");
        assert!(upper.starts_with("http://127.0.0.1:"), "{name} is {upper}");
    }
    for loopback in ["127.0.0.1", "localhost", "::1"] {
        assert!(
            variables["NO_PROXY"].split(',').any(|h| h == loopback),
            "{variables:?}"
        );
    }
    let bundle = home.state().join("ca/bundle.pem").display().to_string();
    for name in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"] {
        assert_eq!(variables[name], bundle, "{name}");
    }
    for (format, line) in [
        ("sh", "export SSL_CERT_FILE='@'"),
        ("fish", "set -gx SSL_CERT_FILE '@'"),
        ("powershell", "$env:SSL_CERT_FILE = '@'"),
        ("dotenv", "SSL_CERT_FILE=@"),
    ] {
        let out = home.run(&["env", "--format", format]).out;
        let line = line.replace('@', &bundle);
        assert!(
            out.lines().any(|l| l == line),
            "{format} has no line {line}:\n{out}"
        );
        assert_eq!(out.lines().count(), variables.len(), "{format}");
    }
    assert_eq!(home.run(&["env", "--json"]).out, json.out);
}

#[test]
fn ca_is_shown_exported_bundled_and_rotated_and_its_key_stays() {
    let home = Home::new("version: 1\n");
    let show = || home.run(&["ca", "show", "--json"]).json();
    let first = show();
    for key in [
        "subject",
        "fingerprint_sha256",
        "not_after",
        "permitted_names",
        "bundle",
    ] {
        assert!(keys(&first).contains(key), "{key} is missing: {first}");
    }
    let names = first["permitted_names"].as_array().unwrap();
    assert!(
        names.contains(&"comfyui-copilot-server.onrender.com".into()),
        "{names:?}"
    );
    assert_eq!(show(), first, "looking changes nothing");

    let pem = home.0.path().join("out.pem");
    let export = home.run(&["ca", "export", "--out", pem.to_str().unwrap()]);
    assert_eq!(export.code, Some(0), "{}", export.err);
    let exported = fs::read_to_string(&pem).unwrap();
    assert_eq!(home.run(&["ca", "export"]).out, exported);
    assert!(
        exported.starts_with("-----BEGIN CERTIFICATE-----"),
        "{exported}"
    );
    assert!(!exported.contains("PRIVATE"), "the key was exported");

    // As the compose file writes it: behind the action, too.
    let behind = home.run(&["ca", "bundle", "--config", &home.config()]);
    assert_eq!(behind.code, Some(0), "{}", behind.err);
    let bundle = home.run(&["ca", "bundle"]);
    assert_eq!(bundle.out, behind.out);
    let held = fs::read_to_string(bundle.out.trim()).unwrap();
    assert!(
        held.contains(&exported),
        "the bundle does not hold our root"
    );

    let rotated = home.run(&["ca", "rotate"]);
    assert_eq!(rotated.code, Some(0), "{}", rotated.err);
    assert_ne!(show()["fingerprint_sha256"], first["fingerprint_sha256"]);
    let bundle = fs::read_to_string(bundle.out.trim()).unwrap();
    assert!(
        !bundle.contains(&exported),
        "the bundle still holds the old root"
    );
}

#[cfg(unix)]
#[test]
fn keys_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new("version: 1\n");
    home.run(&["ca", "show"]);
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(home.state().join("ca/root.key")), 0o600);
    assert_eq!(mode(home.state().join("ca")), 0o700);
}

#[test]
fn exec_gives_its_child_every_variable_and_its_exit_code() {
    let home = Home::with_free_ports();
    let wanted: BTreeMap<String, String> =
        serde_json::from_str(&home.run(&["env", "--json"]).out).unwrap();
    let ran = home.run(&[
        "exec",
        "--",
        "sh",
        "-c",
        "env; test -s \"$SSL_CERT_FILE\" && exit 7",
    ]);
    assert_eq!(ran.code, Some(7), "{}{}", ran.out, ran.err);
    for (name, value) in wanted {
        let line = format!("{name}={value}");
        assert!(
            ran.out.lines().any(|l| l == line),
            "the child has no {line}:\n{}",
            ran.out
        );
    }
    let missing = home.run(&["exec", "--", "/nonexistent/program"]);
    assert_ne!(missing.code, Some(0));
    assert!(
        missing.err.contains("/nonexistent/program"),
        "{}",
        missing.err
    );
}

#[test]
fn completions_are_made_for_bash() {
    let home = Home::new("version: 1\n");
    let ran = home.run(&["completions", "bash"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for word in ["complete -F", "doctor", "--print-ready"] {
        assert!(ran.out.contains(word), "{word} is missing");
    }
}

#[test]
fn health_and_doctor_say_when_nothing_runs() {
    let home = Home::with_free_ports();
    let health = home.run(&["health"]);
    assert_eq!(health.code, Some(1), "{}", health.err);
    assert!(health.err.contains("airlock run"), "{}", health.err);

    let ran = home.run(&["doctor", "--json"]);
    assert_eq!(ran.code, Some(1), "no LLM is a failure: {}", ran.out);
    let report = ran.json();
    assert_eq!(report["ok"], false);
    let findings = report["findings"].as_array().unwrap();
    for finding in findings {
        assert_eq!(
            keys(finding),
            BTreeSet::from(["check", "status", "finding", "fix"]),
            "{finding}"
        );
        let ok = finding["status"] == "ok";
        assert_eq!(
            finding["fix"].is_null(),
            ok,
            "a fix unless it is ok: {finding}"
        );
    }
    let status = |check: &str| {
        let of = findings.iter().filter(|f| f["check"] == check);
        of.map(|f| f["status"].as_str().unwrap())
            .collect::<BTreeSet<_>>()
    };
    for (check, want) in [
        ("configuration", "ok"),
        ("state_folder", "ok"),
        ("ca", "ok"),
        ("shell_ca", "warn"),
        ("shell_proxy", "warn"),
        ("running", "warn"),
        ("ports", "ok"),
        ("llm", "fail"),
    ] {
        assert_eq!(
            status(check),
            BTreeSet::from([want]),
            "{check}: {findings:#?}"
        );
    }
    assert!(!home.state().exists(), "the doctor made a state folder");
}

#[test]
fn doctor_sees_a_running_airlock_from_within_its_child() {
    let config = free_ports().replace("version: 1\n", "");
    let airlock = Airlock::start(&config);
    let home = Home::new("version: 1\n");
    let file = airlock
        .scratch
        .path()
        .join("airlock.yaml")
        .display()
        .to_string();
    let state = airlock.scratch.path().join("state").display().to_string();
    let this = [
        ("AIRLOCK_CONFIG", file.as_str()),
        ("AIRLOCK_STATE_DIR", state.as_str()),
    ];
    let program = env!("CARGO_BIN_EXE_airlock");
    let ran = home.run_with(
        &["exec", "--", program, "doctor", "--quick", "--json"],
        &this,
    );
    let report = ran.json();
    let findings = report["findings"].as_array().unwrap();
    for check in [
        "running",
        "ca",
        "ca_bundle",
        "shell_ca",
        "shell_proxy",
        "shell_no_proxy",
        "key_permissions",
    ] {
        let of: Vec<_> = findings.iter().filter(|f| f["check"] == check).collect();
        assert!(!of.is_empty(), "{check} is missing: {findings:#?}");
        assert!(of.iter().all(|f| f["status"] == "ok"), "{check}: {of:#?}");
    }
}
