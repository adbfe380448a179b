//! What a real browser does with what it is told: every channel of a page, tried in a network
//! namespace whose name server and whose outside are ours, so that a look-up shows as well.
//!
//! Skipped where there is no Chromium or no namespace, unless `AIRLOCK_REQUIRE_CHROMIUM` is set.

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use super::{
    before,
    comfyui::{Answer, ComfyUi},
    door, frontend,
};
use crate::support::{Sdk, eventually};

/// Set for the test that runs inside.
pub(super) const INSIDE: &str = "AIRLOCK_TEST_INSIDE";
/// The folder of ComfyUI's page.
const FRONTEND: &str = "AIRLOCK_TEST_FRONTEND";
/// Where every name leads inside of the namespace.
const OUTSIDE: &str = "127.0.0.9";
/// A browser on a machine that compiles.
const PATIENCE: Duration = Duration::from_secs(180);
/// What still wants to go out when the page says that it has tried everything.
const AFTERMATH: Duration = Duration::from_secs(4);
/// Chromium knows `Connection-Allowlist` from here on.
pub(super) const KNOWS_ALLOWLIST: u32 = 152;

/// What a Content-Security-Policy alone stops, name look-up included.
const CLOSED_BY_CSP: &[&str] = &[
    "fetch",
    "keepalive",
    "xhr",
    "beacon",
    "eventsource",
    "websocket",
    "image",
    "style",
    "preload",
    "modulepreload",
    "font",
    "audio",
    "script",
    "import",
    "worker",
    "object",
    "ping",
];
/// What it leaves open, and `Connection-Allowlist` closes.
const LEFT_OPEN_BY_CSP: &[&str] = &["iframe", "preconnect", "dns-prefetch", "stun", "navigation"];

pub(super) fn chromium() -> Option<(&'static str, u32)> {
    ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find_map(|name| {
            let out = Command::new(name).arg("--version").output().ok()?;
            let text = String::from_utf8(out.stdout).ok()?;
            let version = text.split(' ').find_map(|word| word.split_once('.'))?.0;
            Some((name, version.parse().ok()?))
        })
}

#[test]
fn a_page_behind_the_front_door_reaches_nothing_else() {
    in_a_namespace("front_door::browser::inside_every_channel_is_tried", &[]);
}

/// Only where a browser is asked for: now and then Chromium does not come to an end here, and why
/// is not known yet.
#[test]
fn comfyuis_own_page_works_behind_the_front_door() {
    if std::env::var_os("AIRLOCK_REQUIRE_CHROMIUM").is_none() {
        eprintln!("skipped: set AIRLOCK_REQUIRE_CHROMIUM to open ComfyUI's own page");
        return;
    }
    let folder = "import comfyui_frontend_package as f; print(f.__path__[0])";
    let python = Sdk::New.python();
    let out = Command::new(python).args(["-c", folder]).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(
        out.status.success(),
        "comfyui-frontend-package is not there"
    );
    let root = Path::new(text.trim()).join("static");
    in_a_namespace(
        "front_door::browser::inside_comfyuis_page_is_opened",
        &[(FRONTEND, root.to_str().unwrap())],
    );
}

/// Runs an ignored test of this file where nothing leads out and every name server is ours.
pub(super) fn in_a_namespace(test: &str, variables: &[(&str, &str)]) {
    let works = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount", "true"])
        .status()
        .is_ok_and(|status| status.success());
    if chromium().is_none() || !works {
        let required = std::env::var_os("AIRLOCK_REQUIRE_CHROMIUM").is_some();
        assert!(
            !required,
            "no chromium, or `unshare --net --mount` does not work here"
        );
        eprintln!("skipped: no chromium, or no unprivileged namespaces");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let resolver = scratch.path().join("resolv.conf");
    let lines = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";
    fs::write(&resolver, lines).unwrap();
    // WebRTC asks nobody without an interface beside loopback; this one leads nowhere.
    let script = "ip link set lo up && ip link add out0 type veth peer name out1 && \
                  ip addr add 10.99.0.1/24 dev out0 && ip link set out0 up && ip link set out1 up && \
                  mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
    let out = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount"])
        .args(["sh", "-c", script])
        .arg(&resolver)
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .args(["--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        out.status.success() && text(&out.stdout).contains("1 passed"),
        "{}\n{}",
        text(&out.stdout),
        text(&out.stderr)
    );
}

#[test]
#[ignore = "runs inside of the namespace that another test makes"]
fn inside_every_channel_is_tried() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let (program, version) = chromium().unwrap();
    let outside = Outside::listen();

    // Without the front door every channel is open: the probe can see what it looks for.
    let bare = ComfyUi::serving(page());
    let seen = outside.heard(program, bare.address(), &bare);
    let blind: Vec<_> = CLOSED_BY_CSP
        .iter()
        .chain(LEFT_OPEN_BY_CSP)
        .filter(|way| !seen.contains(**way))
        .collect();
    assert!(
        blind.is_empty(),
        "the probe does not see {blind:?}, only {seen:?}"
    );

    let comfyui = ComfyUi::serving(page());
    let airlock = before(comfyui.address(), "  connection_allowlist: false\n");
    let seen = outside.heard(program, door(&airlock), &comfyui);
    let leaks: Vec<_> = CLOSED_BY_CSP
        .iter()
        .filter(|way| seen.contains(**way))
        .collect();
    assert!(leaks.is_empty(), "by the policy alone: {leaks:?}");
    let refused = || airlock.metric("airlock_page_violations_total", &[("outcome", "refused")]);
    eventually("violations are reported", || refused() > 5);
    let told = |record: &serde_json::Value| {
        record["detail"] == "the browser refused fetch.outside.test:80 on / (connect-src)"
    };
    eventually("the refused fetch stands in the log", || {
        airlock.records().iter().any(told)
    });

    if version < KNOWS_ALLOWLIST {
        eprintln!("{program} {version} does not know Connection-Allowlist");
        return;
    }
    let comfyui = ComfyUi::serving(page());
    let airlock = before(comfyui.address(), "");
    let seen = outside.heard(program, door(&airlock), &comfyui);
    assert!(seen.is_empty(), "with the list of connections: {seen:?}");
}

#[test]
#[ignore = "runs inside of the namespace that another test makes"]
fn inside_comfyuis_page_is_opened() {
    let Some(root) = std::env::var_os(FRONTEND) else {
        return;
    };
    let (program, _) = chromium().unwrap();
    let outside = Outside::listen();
    let comfyui = frontend::serve(root.into());
    let airlock = before(comfyui.address, "");
    let profile = tempfile::tempdir().unwrap();
    let browser = Browser::open(program, profile.path(), door(&airlock));
    let came = |what: &str| {
        let heads = comfyui.heads();
        heads
            .iter()
            .any(|h| h.starts_with(&format!("GET /api/probe/{what} ")))
    };
    let began = Instant::now();
    // The extension has seen: the app set up, its socket open, a preview of it, the vendor's answer.
    for what in ["setup", "status", "preview", "vendor-200", "canvas"] {
        while !came(what) {
            assert!(
                began.elapsed() < PATIENCE,
                "{what} did not come; asked was {:#?}",
                comfyui.lines()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }
    drop(browser);
    // What ComfyUI's page itself tries outside is refused, reported, and nothing else is.
    let refused: BTreeSet<String> = airlock
        .records()
        .iter()
        .filter(|r| r["rule"] == "front_door/own")
        .map(|r| r["detail"].as_str().unwrap_or_default().to_owned())
        .collect();
    let known = "the browser refused api.comfy.org:443 on / (connect-src)";
    assert!(refused.iter().all(|what| what == known), "{refused:?}");
    let names = outside.names.lock().unwrap();
    let comfy: Vec<_> = names.iter().filter(|n| n.contains("comfy")).collect();
    assert!(comfy.is_empty(), "looked up: {comfy:?}");
    let vendor = airlock
        .records()
        .into_iter()
        .find(|r| r["rule"] == "comfyui-copilot/api");
    assert_eq!(
        vendor.expect("the announcement was asked for")["entry"],
        "front_door"
    );
}

fn page() -> Vec<(&'static str, Answer)> {
    vec![
        (
            "/",
            Answer::plain(
                "text/html",
                "<!doctype html><script type=\"importmap\">{\"imports\":{\"probe\":\"/probe.js\"}}</script>\
                 <script type=\"module\" src=\"/start.js\"></script><body></body>",
            ),
        ),
        // By its name in the import map: that must be let through.
        (
            "/start.js",
            Answer::plain("text/javascript", "import \"probe\";"),
        ),
        (
            "/probe.js",
            Answer::plain("text/javascript", include_str!("probe.js")),
        ),
        ("/done", Answer::plain("text/plain", "")),
    ]
}

/// The name server, and where all names lead.
struct Outside {
    names: Arc<Mutex<BTreeSet<String>>>,
}

impl Outside {
    fn listen() -> Self {
        let names: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let dns = UdpSocket::bind("127.0.0.1:53").expect("root of the namespace");
        let asked = names.clone();
        thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((length, from)) = dns.recv_from(&mut query) {
                if let Some((name, answer)) = resolve(&query[..length]) {
                    asked.lock().unwrap().insert(name);
                    let _ = dns.send_to(&answer, from);
                }
            }
        });
        for port in [80, 443] {
            let listener = TcpListener::bind((OUTSIDE, port)).expect("root of the namespace");
            thread::spawn(move || {
                for mut stream in listener.incoming().flatten() {
                    // Its name was looked up; here it only must not hang.
                    thread::spawn(move || stream.read(&mut [0; 4096]));
                }
            });
        }
        Self { names }
    }

    /// The ways by which the page at `address` got out.
    fn heard(&self, program: &str, address: SocketAddr, comfyui: &ComfyUi) -> BTreeSet<String> {
        self.names.lock().unwrap().clear();
        let profile = tempfile::tempdir().unwrap();
        let browser = Browser::open(program, profile.path(), address);
        let began = Instant::now();
        let done = || {
            comfyui
                .heads()
                .iter()
                .any(|head| head.starts_with("GET /done"))
        };
        while !done() {
            let asked = comfyui.heads();
            assert!(
                began.elapsed() < PATIENCE,
                "the page is not through: {asked:?}"
            );
            thread::sleep(Duration::from_millis(50));
        }
        thread::sleep(AFTERMATH);
        drop(browser);
        let names = self.names.lock().unwrap();
        let ways = names
            .iter()
            .filter_map(|name| name.strip_suffix(".outside.test"));
        ways.map(str::to_owned).collect()
    }
}

/// The name that a query asks for, and the answer: [`OUTSIDE`] for every A, nothing for the rest.
pub(super) fn resolve(query: &[u8]) -> Option<(String, Vec<u8>)> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let is_address = query.get(at..at + 2)? == [0, 1];
    let question = query.get(12..at + 4)?;
    let mut answer = query.get(..2)?.to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0]);
    answer.extend(question);
    if is_address {
        // The name of the question, A, IN, no second to live, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 9]);
    }
    Some((labels.join("."), answer))
}

/// Gone, with all its processes, when it is dropped.
pub(super) struct Browser(Child);

impl Browser {
    pub(super) fn open(program: &str, profile: &Path, address: SocketAddr) -> Self {
        let child = Command::new(program)
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-popup-blocking",
                "--disable-background-networking",
                "--disable-component-update",
                "--no-first-run",
                "--no-default-browser-check",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!("http://{address}/"))
            .env("HOME", profile)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("the browser starts");
        Self(child)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.0.wait();
    }
}
