//! `airlock exec --isolate`: the program's only way out is Airlock, and its end is clean.
//!
//! `tests/netns/probe.py` tries the ways out, under the capture of [`crate::leak`]; the same probe
//! without `--isolate` shows that both would see a leak. Skipped where the kernel allows no
//! namespaces, unless `AIRLOCK_REQUIRE_NETNS` is set.

use std::{
    fs,
    os::unix::{net::UnixListener, process::ExitStatusExt},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    leak::{assert_silent, captured, counted},
    support::{Wire, eventually, namespaces_are_there},
};

const PROBE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/netns/probe.py");
const FAMILIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/netns/families.py");
const SERVE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/netns/serve.py");
const AIRLOCK: &str = env!("CARGO_BIN_EXE_airlock");

/// A configuration, a state folder and a `TMPDIR` of its own.
struct Home(TempDir);

impl Home {
    /// `None`, with a word, where the kernel allows no namespaces.
    fn new() -> Option<Self> {
        if !namespaces_are_there() {
            return None;
        }
        let home = Self(TempDir::with_prefix_in("airlock-iso-", "/tmp").unwrap());
        fs::create_dir(home.path("tmp")).unwrap();
        fs::write(
            home.path("airlock.yaml"),
            "version: 1\nstate_dir: state\nlisteners: {explicit: \"127.0.0.1:0\", \
             reverse: {listen: \"127.0.0.1:0\"}, admin: \"127.0.0.1:0\"}\nllm: {discover: false}\n",
        )
        .unwrap();
        Some(home)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// `airlock exec --isolate` with these options and this program.
    fn command(&self, options: &[&str], program: &[&str]) -> Command {
        let mut command = Command::new(AIRLOCK);
        command
            .args(["exec", "--isolate", "--config", &self.text("airlock.yaml")])
            .args(options)
            .arg("--")
            .args(program)
            .env("TMPDIR", self.path("tmp"))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, options: &[&str], program: &[&str]) -> Output {
        self.command(options, program).output().unwrap()
    }

    /// The private folders of programs that run, or were not cleaned up.
    fn private_folders(&self) -> usize {
        fs::read_dir(self.path("tmp")).unwrap().count()
    }
}

fn words(output: &Output) -> String {
    format!(
        "{:?}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// An argument for `sleep` that no other process has.
fn marker() -> String {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("3600.{}{n:03}", std::process::id())
}

/// Processes that were started as `sleep MARKER`.
fn sleeping(marker: &str) -> usize {
    let wanted = format!("sleep\0{marker}\0");
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| line == wanted.as_bytes())
        .count()
}

/// Sends a signal by name.
fn kill(signal: &str, child: &Child) {
    let sent = Command::new("sh")
        .args(["-c", "kill -s \"$1\" \"$2\"", "sh", signal])
        .arg(child.id().to_string())
        .status();
    assert!(sent.unwrap().success());
}

/// The code with which `child` ends.
fn ended(mut child: Child) -> Option<i32> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().or(status.signal().map(|s| -s));
        }
        if began.elapsed() > Duration::from_secs(20) {
            let _ = child.kill();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn not_one_packet_leaves_an_isolated_program_that_tries_everything() {
    let Some(home) = Home::new() else { return };
    let (config, socket) = (home.text("airlock.yaml"), home.text("host.sock"));
    // Of a server in another network namespace than airlock's own: the kernel's table does not show it.
    let _host = UnixListener::bind(&socket).unwrap();
    let key = home.text("state/ca/root.key");
    let Some((stdout, report)) = captured(&[
        AIRLOCK,
        "exec",
        "--isolate",
        "--config",
        &config,
        "--",
        "python3",
        PROBE,
        "--unix",
        &socket,
        "--absent",
        &key,
    ]) else {
        return;
    };
    let probe: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(probe["escaped"], serde_json::json!({}), "{probe:#}");
    assert_eq!(probe["ok"], true, "{probe:#}");
    assert!(
        probe["refused"].as_object().unwrap().len() > 40,
        "{probe:#}"
    );
    assert_silent(&report);
    assert_eq!(report["exit_code"], 0);
    assert!(fs::exists(key).unwrap(), "hidden inside, there outside");
}

/// Every row of the probe is seen on the wire without isolation, so that its silence with it says
/// something.
#[test]
fn the_same_program_without_isolation_is_seen_to_leak() {
    let Some(home) = Home::new() else { return };
    let config = home.text("airlock.yaml");
    let mut command = vec![AIRLOCK, "exec", "--config", &config, "--", "python3", PROBE];
    // Unanswered attempts wait.
    command.extend(["--patience", "0.2", "--skip", "undoing a mount"]);
    let Some((stdout, report)) = captured(&command) else {
        return;
    };
    let probe: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(probe["ok"], false, "{probe:#}");
    for (name, result) in probe["controls"].as_object().unwrap() {
        assert_eq!(result, true, "{name}: {probe:#}");
    }
    let leaked = report["leaked"].as_array().unwrap();
    let protocols = |number: i64| {
        leaked
            .iter()
            .filter(|l| l["summary"]["protocol"] == number)
            .count()
    };
    for (name, number) in [
        ("icmp", 1),
        ("igmp", 2),
        ("tcp", 6),
        ("udp", 17),
        ("icmpv6", 58),
        ("own", 253),
    ] {
        assert!(protocols(number) > 0, "{name} was not captured: {report:#}");
    }
    let Some(counters) = report["counters"].as_object() else {
        eprintln!("no nft: the attempts were not told apart");
        return;
    };
    let seen = counted(&report);
    let unknown = probe["unknown"].as_array().unwrap();
    let unseen: Vec<_> = counters
        .keys()
        .map(String::as_str)
        .filter(|name| !["the controls", "anything else"].contains(name))
        .filter(|name| !seen.contains(name) && !unknown.iter().any(|u| u == name))
        .collect();
    assert_eq!(unseen, Vec::<&str>::new(), "{report:#}");
    // Kernels are built without it; everything else must be there.
    assert!(unknown.iter().all(|u| u == "SCTP" || u == "Multipath TCP"));
}

#[test]
fn a_published_port_leads_to_the_program_and_a_signal_reaches_it() {
    let Some(home) = Home::new() else { return };
    let log = home.path("stderr");
    let child = home
        .command(&["--publish", "0:8188"], &["python3", SERVE, "8188"])
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut address = None;
    eventually("the published address is told", || {
        let text = fs::read_to_string(&log).unwrap();
        address = text
            .split("published: http://")
            .nth(1)
            .and_then(|rest| rest.split(' ').next()?.parse().ok());
        address.is_some()
    });
    let address = address.unwrap();
    let ask = |path: &str| {
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        Wire::to(address).send(request).try_reply(false)
    };
    // Until the program listens, a visitor's connection is closed.
    eventually("the page answers", || ask("/").is_some());
    for n in 0..20 {
        let page = ask(&format!("/{n}")).unwrap();
        assert_eq!(page.status, 200);
        let text = String::from_utf8(page.body).unwrap();
        assert!(text.starts_with(&format!("page /{n} of process")), "{text}");
    }
    assert_eq!(home.private_folders(), 1);
    kill("TERM", &child);
    assert_eq!(ended(child), Some(7), "the program's own answer to SIGTERM");
    assert_eq!(home.private_folders(), 0);
}

#[test]
fn the_programs_end_is_told_as_it_was() {
    let Some(home) = Home::new() else { return };
    for (name, program, code) in [
        ("success", &["true"][..], 0),
        ("a code of its own", &["sh", "-c", "exit 42"], 42),
        ("killed", &["sh", "-c", "kill -9 $$"], 137),
        ("not there", &["/nonexistent/program"], 127),
        ("not executable", &["/etc/passwd"], 126),
        (
            "arguments with spaces",
            &["sh", "-c", "test \"$1\" = 'a  b'", "sh", "a  b"],
            0,
        ),
    ] {
        let output = home.run(&[], program);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{name}: {}",
            words(&output)
        );
    }
    assert_eq!(home.private_folders(), 0);
}

/// vsock leads to the hypervisor, Bluetooth to the air: their sockets know no network namespace.
#[test]
fn the_program_makes_no_socket_that_leaves_the_namespace_by_another_way() {
    let Some(home) = Home::new() else { return };
    let outside = Command::new("python3").arg(FAMILIES).output().unwrap();
    let inside = home.run(&[], &["python3", FAMILIES]);
    let told = |output: &Output, key: &str| -> Value {
        let found: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", words(output)));
        found[key].clone()
    };
    let families = |output, key| -> Vec<u64> {
        let list = told(output, key);
        let numbers = list.as_array().unwrap().iter().map(|f| f.as_u64().unwrap());
        numbers.collect()
    };
    // AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET; as far as this kernel has them.
    let kept = [1, 2, 10, 16, 17];
    for key in ["families", "pairs"] {
        let (there, here) = (families(&outside, key), families(&inside, key));
        let expected: Vec<u64> = there.into_iter().filter(|f| kept.contains(f)).collect();
        assert_eq!(here, expected, "{key}: {}", words(&inside));
        assert!(here.contains(&1), "{key}: {}", words(&inside));
    }
    // ENOSYS, as where the kernel does not have it.
    assert_eq!(told(&inside, "io_uring"), 38, "{}", words(&inside));

    // The kernel's own word for it, so that the test also says something where it has none of them.
    let status = home.run(&[], &["cat", "/proc/self/status"]);
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(text.contains("\nSeccomp:\t2\n"), "{}", words(&status));
}

/// A running airlock reads its configuration again when it changes.
#[test]
fn the_program_cannot_write_the_configuration_of_its_firewall() {
    let Some(home) = Home::new() else { return };
    let before = fs::read_to_string(home.path("airlock.yaml")).unwrap();
    let file = home.text("airlock.yaml");
    for (name, script) in [
        ("append", "echo 'mode: report' >> \"$0\""),
        ("replace", "cp \"$0\" \"$0.new\" && mv -f \"$0.new\" \"$0\""),
        ("remove", "rm -f \"$0\""),
        ("make writable", "chmod 666 \"$0\""),
        ("truncate", ": > \"$0\""),
    ] {
        let output = home.run(&[], &["sh", "-c", script, &file]);
        assert_ne!(output.status.code(), Some(0), "{name}: {}", words(&output));
        assert_eq!(fs::read_to_string(&file).unwrap(), before, "{name}");
    }
    assert_eq!(home.run(&[], &["cat", &file]).status.code(), Some(0));
}

#[test]
fn what_the_program_leaves_running_ends_with_it() {
    let Some(home) = Home::new() else { return };
    let marker = marker();
    let script = format!("setsid sleep {marker} >/dev/null 2>&1 & sleep 0.2; exit 3");
    let output = home.run(&[], &["sh", "-c", &script]);
    assert_eq!(output.status.code(), Some(3), "{}", words(&output));
    eventually("nothing of it is left", || sleeping(&marker) == 0);
}

#[test]
fn a_killed_parent_takes_the_program_with_it() {
    let Some(home) = Home::new() else { return };
    let marker = marker();
    let script = format!("setsid sleep {marker} & trap '' TERM HUP INT; sleep {marker}");
    let mut child = home
        .command(&[], &["sh", "-c", &script])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("both sleep", || sleeping(&marker) == 2);
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("nothing of it is left", || sleeping(&marker) == 0);
}

#[test]
fn every_signal_that_ends_a_program_is_passed_on() {
    let Some(home) = Home::new() else { return };
    for (signal, code) in [
        ("HUP", 129),
        ("INT", 130),
        ("QUIT", 131),
        ("TERM", 143),
        ("USR1", 138),
    ] {
        let marker = marker();
        let child = home.command(&[], &["sleep", &marker]).spawn().unwrap();
        eventually("it sleeps", || sleeping(&marker) == 1);
        kill(signal, &child);
        assert_eq!(ended(child), Some(code), "{signal}");
    }
}

#[test]
fn where_it_cannot_be_done_the_way_out_is_named() {
    let Some(home) = Home::new() else { return };
    let empty = home.path("empty");
    fs::create_dir(&empty).unwrap();
    let without_tools = home.command(&[], &["true"]).env("PATH", &empty).output();

    let mut no_namespaces = Command::new("unshare");
    no_namespaces
        .args(["--user", "--map-root-user", "sh", "-c"])
        .arg("echo 0 >/proc/sys/user/max_user_namespaces && exec \"$@\"")
        .args(["sh", AIRLOCK, "exec", "--isolate", "--config"])
        .arg(home.path("airlock.yaml"))
        .args(["--", "true"]);

    let mut in_state = home.command(&[], &["true"]);
    in_state.current_dir(home.path("state"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();

    for (name, output, code, want) in [
        ("no util-linux", without_tools.unwrap(), 69, "util-linux"),
        (
            "user namespaces are off",
            no_namespaces.output().unwrap(),
            69,
            "sysctl -w user.max_user_namespaces=",
        ),
        (
            "the working directory would vanish",
            in_state.output().unwrap(),
            64,
            "start it from another folder",
        ),
        (
            "the published port is taken",
            home.run(&["--publish", &port], &["true"]),
            69,
            "--publish 8190:8188",
        ),
        (
            "the published port is none",
            home.run(&["--publish", "http"], &["true"]),
            64,
            "write a port, as in 8188",
        ),
        (
            "a port is published twice",
            home.run(&["--publish", "81:1", "--publish", "81:2"], &["true"]),
            64,
            "name each one once",
        ),
    ] {
        let text = words(&output);
        assert_eq!(output.status.code(), Some(code), "{name}: {text}");
        assert!(text.contains(want), "{name}: {text}");
    }
    assert_eq!(home.private_folders(), 0);
}
