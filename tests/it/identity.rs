//! Sessions, users, keys and the secret, by commands: while nothing runs, through the airlock that
//! runs, and after it was killed.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Airlock, Setup, Wire, eventually};

/// A person at a shell, with a state folder and nothing that runs.
struct Shell(TempDir);

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|e| panic!("no JSON: {e}\n{}{}", self.out, self.err))
    }
}

impl Shell {
    fn new() -> Self {
        let dir = TempDir::with_prefix("airlock-identity-").unwrap();
        let config = "version: 1\nlisteners: {admin: 127.0.0.1:1}\n";
        fs::write(dir.path().join("airlock.yaml"), config).unwrap();
        Self(dir)
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "", &[])
    }

    fn run_with(&self, arguments: &[&str], stdin: &str, environment: &[(&str, &str)]) -> Ran {
        let mut child = Command::new(env!("CARGO_BIN_EXE_airlock"))
            .args(arguments)
            .env_clear()
            .env("HOME", self.0.path())
            .env("AIRLOCK_STATE_DIR", self.0.path().join("state"))
            .env("AIRLOCK_CONFIG", self.0.path().join("airlock.yaml"))
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads nothing may be gone already.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn done(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.out, ran.err);
        ran
    }
}

#[test]
fn a_session_is_issued_shown_verified_and_revoked_by_commands() {
    let shell = Shell::new();
    let words = shell.done(&["session", "issue", "ada", "--role", "user", "--for", "12h"]);
    let token = words.out.trim();
    assert_eq!(words.out.lines().count(), 1, "the token alone, for $(...)");
    assert!(words.err.contains("shown this once"), "{}", words.err);

    let issued = shell
        .done(&["session", "issue", "bob", "--role", "viewer", "--json"])
        .json();
    let mut fields: Vec<_> = issued
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    fields.sort_unstable();
    let all = [
        "checkpoints",
        "config",
        "created_at",
        "expires",
        "last_activity",
        "revoked_at",
        "role",
        "session_id",
        "state",
        "token",
        "username",
    ];
    assert_eq!(fields, all);

    let judged = shell.run_with(&["session", "verify", "--json"], &format!("{token}\n"), &[]);
    let judged = judged.json();
    assert_eq!(
        (
            &judged["valid"],
            &judged["username"],
            &judged["role"],
            &judged["reason"]
        ),
        (&json!(true), &json!("ada"), &json!("user"), &Value::Null)
    );
    let id = judged["session_id"].as_str().unwrap();
    let shown = shell.done(&["session", "show", id, "--json"]).json();
    assert_eq!(
        (&shown["state"], &shown["token"]),
        (&json!("active"), &Value::Null)
    );
    assert!(
        shell
            .done(&["session", "show", id])
            .out
            .contains("ada (user)")
    );
    let list = shell.done(&["session", "list"]).out;
    assert!(
        list.contains(id) && list.contains("LAST ACTIVITY") && list.contains("viewer"),
        "{list}"
    );

    // One token in sixteen ends with the letter that another is forged with.
    let last = if token.ends_with('A') { 'E' } else { 'A' };
    let forged = format!("{}{last}", &token[..token.len() - 1]);
    for (name, token, reason) in [
        ("forged", forged.as_str(), "token_"),
        ("cut", &token[..token.len() / 2], "token_malformed"),
    ] {
        let judged = shell.run(&["session", "verify", token, "--json"]);
        assert_eq!(judged.code, 1, "{name}: {}", judged.out);
        let told = judged.json()["reason"].as_str().unwrap().to_owned();
        assert!(told.starts_with(reason), "{name}: {told}");
    }

    let revoked = shell.done(&["session", "revoke", id, "--json"]).json();
    assert_eq!(revoked["state"], "revoked");
    let judged = shell.run(&["session", "verify", token]);
    assert_eq!(
        (judged.code, judged.out.trim()),
        (1, "not valid: session_revoked")
    );
    let all = shell
        .done(&["session", "revoke", "--user", "bob", "--json"])
        .json();
    assert_eq!(all["sessions_revoked"], 1);
    let sessions = shell.done(&["session", "list", "--json"]).json();
    let states: Vec<_> = sessions["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| &s["state"])
        .collect();
    assert_eq!(states, ["revoked", "revoked"]);
}

#[test]
fn a_session_is_never_more_than_its_user() {
    let shell = Shell::new();
    let nobody = shell.run(&["session", "issue", "ada"]);
    assert_eq!(nobody.code, 1);
    assert!(
        nobody.err.contains("airlock user add ada"),
        "{}",
        nobody.err
    );
    shell.done(&["user", "add", "ada", "--role", "user"]);
    let role = |arguments: &[&str]| shell.run(arguments).json()["role"].clone();
    assert_eq!(role(&["session", "issue", "ada", "--json"]), "user");
    assert_eq!(
        role(&["session", "issue", "ada", "--role", "viewer", "--json"]),
        "viewer"
    );
    let above = shell.run(&["session", "issue", "ada", "--role", "admin"]);
    assert_eq!(above.code, 1);
    assert!(above.err.contains("user only"), "{}", above.err);
}

#[test]
fn users_are_added_listed_and_removed_and_no_password_stays() {
    let shell = Shell::new();
    let made = shell
        .done(&["user", "add", "ada", "--role", "admin", "--json"])
        .json();
    assert_eq!(made["password"].as_str().unwrap().len(), 29);
    let chosen = shell.run_with(
        &["user", "add", "bob", "--password-stdin", "--json"],
        "tractor lantern velvet\n",
        &[],
    );
    assert_eq!(chosen.code, 0, "{}", chosen.err);
    assert_eq!(chosen.json()["password"], Value::Null, "not shown again");
    for (name, user, password, says) in [
        ("too short", "eve", "tractor", "12 characters"),
        (
            "the one of every list",
            "eve",
            "password1234",
            "easy to guess",
        ),
        ("none", "eve", "\n", "empty"),
        (
            "a name that is taken",
            "bob",
            "tractor lantern velvet",
            "airlock user passwd bob",
        ),
    ] {
        let ran = shell.run_with(&["user", "add", user, "--password-stdin"], password, &[]);
        assert_eq!(ran.code, 1, "{name}");
        assert!(ran.err.contains(says), "{name}: {}", ran.err);
    }
    let token = shell.done(&["session", "issue", "bob"]).out;
    let changed = shell.done(&["user", "passwd", "bob", "--json"]).json();
    assert_eq!(changed["sessions_revoked"], 1);
    assert_eq!(shell.run(&["session", "verify", token.trim()]).code, 1);
    let list = shell.done(&["user", "list", "--json"]).json();
    let users: Vec<_> = list["users"]
        .as_array()
        .unwrap()
        .iter()
        .map(|u| (&u["username"], &u["role"]))
        .collect();
    assert_eq!(
        users,
        [
            (&json!("ada"), &json!("admin")),
            (&json!("bob"), &json!("user"))
        ]
    );
    assert!(!list.to_string().contains("argon2"), "{list}");
    let last = shell.run(&["user", "remove", "ada"]);
    assert!(
        last.code == 1 && last.err.contains("last admin"),
        "{}",
        last.err
    );
    shell.done(&["user", "remove", "bob"]);
    assert!(!shell.done(&["user", "list"]).out.contains("bob"));
    let capital = shell.run(&["user", "add", "Ada"]);
    assert!(
        capital.code == 64 && capital.err.contains("a-z"),
        "{}",
        capital.err
    );
}

#[test]
fn keys_are_shown_once_listed_rotated_and_removed() {
    let shell = Shell::new();
    let words = shell.done(&[
        "key",
        "add",
        "box",
        "--per-minute",
        "60",
        "--concurrent",
        "4",
        "--for",
        "720h",
    ]);
    let key = words.out.trim();
    assert!(
        key.starts_with("airlock_") && words.out.lines().count() == 1,
        "{}",
        words.out
    );
    let list = shell.done(&["key", "list", "--json"]);
    // Of `airlock_ID_SECRET`; the secret may have a `_` of its own.
    let secret = key.splitn(3, '_').nth(2).unwrap();
    assert!(
        !list.out.contains(secret) && !list.out.contains("hash"),
        "{}",
        list.out
    );
    let listed = &list.json()["keys"][0];
    assert_eq!(
        (
            &listed["name"],
            &listed["requests_per_minute"],
            &listed["concurrent"]
        ),
        (&json!("box"), &json!(60), &json!(4))
    );
    let rotated = shell.done(&["key", "rotate", "box", "--json"]).json();
    assert_ne!(rotated["key"], key);
    assert!(shell.done(&["key", "list"]).out.contains("PER MINUTE"));
    let zero = shell.run(&["key", "add", "other", "--per-minute", "0"]);
    assert!(
        zero.code == 1 && zero.err.contains("1 or more"),
        "{}",
        zero.err
    );
    shell.done(&["key", "remove", "box"]);
    assert_eq!(shell.done(&["key", "list"]).out.trim(), "no keys");
    assert_eq!(shell.run(&["key", "remove", "box"]).code, 1);
}

#[test]
fn a_rotated_secret_logs_nobody_out_and_a_weak_one_starts_nothing() {
    let shell = Shell::new();
    let token = shell
        .done(&["session", "issue", "ada", "--role", "user"])
        .out;
    let rotated = shell.done(&["secret", "rotate", "--json"]).json();
    assert!(rotated["previous_until"].is_u64(), "{rotated}");
    assert_eq!(shell.run(&["session", "verify", token.trim()]).code, 0);
    let again = shell.run(&["secret", "rotate"]);
    assert!(
        again.code == 1 && again.err.contains("--force"),
        "{}",
        again.err
    );
    shell.done(&["secret", "rotate", "--force"]);
    assert_eq!(shell.run(&["session", "verify", token.trim()]).code, 1);
    for command in [&["session", "list"][..], &["run"], &["check"]] {
        let weak = [("SESSION_SECRET", "hunter2hunter2hunter2hunter2hunter2")];
        let ran = shell.run_with(command, "", &weak);
        assert_eq!(ran.code, 64, "{command:?}: {}", ran.err);
        assert!(
            ran.err.contains("openssl rand -hex 32"),
            "{command:?}: {}",
            ran.err
        );
        assert!(!ran.err.contains("hunter2"), "{command:?}: {}", ran.err);
    }
}

/// What the commands send; `None` where the connection breaks.
fn post(airlock: &Airlock, body: &Value) -> Option<(u16, Value)> {
    let token = fs::read_to_string(airlock.state().join("admin.token")).unwrap();
    let body = body.to_string();
    let stream = std::net::TcpStream::connect(airlock.ready.admin).ok()?;
    let mut wire = Wire::over(stream);
    wire.send(format!(
        "POST /identity HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    ));
    let reply = wire.try_reply(false).filter(|r| r.whole)?;
    let value = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
    Some((reply.status, value))
}

fn valid(airlock: &Airlock, token: &str) -> bool {
    let (_, judged) = post(airlock, &json!({"do": "session_verify", "token": token})).unwrap();
    judged["valid"].as_bool().unwrap()
}

#[test]
fn commands_go_through_the_airlock_that_runs() {
    let airlock = Setup::default().start();
    let run = |arguments: &[&str]| {
        let (code, out, err) = airlock.command(arguments);
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
        out
    };
    run(&["user", "add", "ada", "--role", "admin"]);
    let token = run(&["session", "issue", "ada"]);
    assert!(valid(&airlock, token.trim()));
    run(&["secret", "rotate"]);
    assert!(valid(&airlock, token.trim()), "by the key before");
    let fresh = run(&["session", "issue", "ada"]);
    run(&["session", "revoke", "--user", "ada"]);
    assert!(
        !valid(&airlock, token.trim()) && !valid(&airlock, fresh.trim()),
        "at once"
    );
    let (code, _, err) = airlock.command(&["user", "remove", "ada"]);
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = airlock.command(&["user", "remove", "ada"]);
    assert!(code == 1 && err.contains("airlock user list"), "{err}");
    let (code, _, err) = airlock.command(&["session", "issue", "ada"]);
    assert!(code == 1 && err.contains("airlock user add ada"), "{err}");
    // Without the airlock's own address, the store is in use and nobody can be asked.
    let log = airlock.process.stderr();
    assert!(
        log.contains("session_issue") && !log.contains(token.trim()),
        "{log}"
    );
}

#[test]
fn a_running_airlock_that_cannot_be_asked_is_named() {
    let airlock = Setup::default().start();
    let out = Command::new(env!("CARGO_BIN_EXE_airlock"))
        .args(["session", "list", "--admin", "127.0.0.1:1", "--config"])
        .arg(airlock.config())
        .env_clear()
        .env("HOME", airlock.scratch.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(69), "{said}");
    assert!(said.contains("open in another process"), "{said}");
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    let mut airlock = Setup::default().start();
    // Tokens that must be good, and tokens that must not.
    let told: Arc<Mutex<Vec<(String, bool)>>> = Arc::default();
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = || told.lock().unwrap().len();
    thread::scope(|scope| {
        for worker in 0..4 {
            let (airlock, told, stop) = (&airlock, told.clone(), stop.clone());
            scope.spawn(move || {
                let issue = json!({"do": "session_issue", "username": format!("user{worker}"), "role": "user", "lifetime": 3600});
                // Fewer than a user may have, so that none is pushed out.
                for n in 0..90 {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let Some((200, issued)) = post(airlock, &issue) else { return };
                    let token = issued["token"].as_str().unwrap().to_owned();
                    if n % 2 == 0 {
                        told.lock().unwrap().push((token, true));
                        continue;
                    }
                    let revoke = json!({"do": "session_revoke", "session_id": issued["session_id"]});
                    let Some((200, _)) = post(airlock, &revoke) else { return };
                    told.lock().unwrap().push((token, false));
                }
            });
        }
        eventually("sessions are acknowledged", || acknowledged() >= 40);
        airlock.process.signal("KILL");
        stop.store(true, Ordering::SeqCst);
    });
    airlock.process.exit(Duration::from_secs(10)).unwrap();
    let again = airlock.restart();
    let told = told.lock().unwrap();
    assert!(told.len() >= 40);
    for (token, good) in told.iter() {
        assert_eq!(valid(&again, token), *good, "{token}");
    }
}

#[test]
fn the_first_admin_is_shown_once() {
    let airlock = Setup::default().more("users: {required: true}").start();
    let log = airlock.process.stderr();
    let line = log
        .lines()
        .find(|l| l.contains("password "))
        .expect("it is shown");
    assert!(line.contains("admin"), "{line}");
    let password = line.rsplit("password ").next().unwrap().to_owned();
    assert_eq!(password.len(), 29, "{line}");
    let (_, users) = post(&airlock, &json!({"do": "user_list"})).unwrap();
    assert_eq!(users["users"][0]["role"], "admin");
    let again = airlock.restart();
    assert!(
        !again.process.stderr().contains("password "),
        "{}",
        again.process.stderr()
    );
    let without = Setup::default().start();
    let (_, users) = post(&without, &json!({"do": "user_list"})).unwrap();
    assert_eq!(users["users"], json!([]), "nobody asked for users");
}

#[test]
fn a_stop_writes_what_requests_left_in_memory() {
    let mut airlock = Setup::default().start();
    let before = post(
        &airlock,
        &json!({"do": "key_add", "name": "box", "role": "user"}),
    )
    .unwrap();
    assert_eq!(before.0, 200);
    airlock.process.signal("TERM");
    assert!(
        airlock
            .process
            .exit(Duration::from_secs(30))
            .unwrap()
            .success()
    );
    let again = airlock.restart();
    let (_, keys) = post(&again, &json!({"do": "key_list"})).unwrap();
    assert_eq!(keys["keys"][0]["name"], "box");
}
