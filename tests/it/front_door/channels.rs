//! ComfyUI's own page, and every way out that a page has: straight, where they have to be seen, and by the
//! door, where nobody may hear of one. Three witnesses: a name server, listening sockets, and datagrams.
//!
//! In a network namespace of its own, with a normal profile: preconnect and dns-prefetch do nothing in an
//! incognito one. A link that is only pressed, not clicked, is not tried here.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, UdpSocket},
    path::Path,
    process::Command,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use super::{
    before,
    browser::{Browser, INSIDE, KNOWS_ALLOWLIST, chromium, in_a_namespace, resolve},
    door,
    frontend::{self, Frontend, Helper},
};
use crate::support::Sdk;

/// The folder of ComfyUI's page.
const FRONTEND: &str = "AIRLOCK_TEST_FRONTEND";
/// Where every name of the outside leads.
const OUTSIDE: &str = "127.0.0.9";
/// For one page, on a machine that compiles.
const PATIENCE: Duration = Duration::from_secs(60);
/// Chromium stops now and then while it loads modules, and asks for nothing more; then another one is
/// started.
const BROWSERS: usize = 3;
/// What still wants to go out when the page says that it has tried everything.
const AFTERMATH: Duration = Duration::from_secs(4);
/// Longer than all of it takes: a browser that hangs ends in a verdict, too.
const WATCHDOG: Duration = Duration::from_secs(560);

/// What the witnesses hear of the page without us, by the names in `channels.js`. A worker of a foreign
/// script never starts; audio, video, a track and speculation rules were not heard either, for a reason of the
/// headless browser's. They are tried all the same, and must not be heard by the door.
const SEEN_WITHOUT_US: &[&str] = &[
    "beacon",
    "blank",
    "css-font",
    "css-import",
    "css-mask",
    "css-url",
    "dns-prefetch",
    "download",
    "embed",
    "eventsource",
    "fetch",
    "fetch-cors",
    "fetch-later",
    "font",
    "form",
    "icon",
    "form-frame",
    "iframe",
    "image",
    "import",
    "input-image",
    "keepalive",
    "meta-refresh",
    "modulepreload",
    "navigation",
    "object",
    "ping",
    "popup",
    "poster",
    "preconnect",
    "prefetch",
    "preload",
    "script",
    "service",
    "shared",
    "srcdoc",
    "srcset",
    "stun",
    "style",
    "svg",
    "tcp 80",
    "tcp 8080",
    "udp 3478",
    "udp 443",
    "websocket",
    "webtransport",
    "worker",
    "worker-blob",
    "worker-import",
    "worker-socket",
    "xhr",
];

#[test]
fn no_way_out_of_comfyuis_page_is_open() {
    let folder = "import comfyui_frontend_package as f; print(f.__path__[0])";
    let python = Sdk::New.python();
    let out = Command::new(python).args(["-c", folder]).output().unwrap();
    assert!(
        out.status.success(),
        "comfyui-frontend-package is not there"
    );
    let text = String::from_utf8(out.stdout).unwrap();
    let root = Path::new(text.trim()).join("static");
    in_a_namespace(
        "front_door::channels::inside_every_way_out_is_tried",
        &[(FRONTEND, root.to_str().unwrap())],
    );
}

#[test]
#[ignore = "runs inside of the namespace that another test makes"]
fn inside_every_way_out_is_tried() {
    let Some(root) = std::env::var_os(FRONTEND) else {
        return;
    };
    watch();
    let (program, version) = chromium().unwrap();
    let witnesses = Witnesses::listen();
    let serve = || frontend::serve_with(root.clone().into(), include_str!("channels.js"), HELPERS);

    let mut seen = BTreeSet::new();
    // A busy machine may not come to all of it in one go.
    for _ in 0..2 {
        let bare = serve();
        let Some(heard) = witnesses.hear(program, bare.address, &bare) else {
            return;
        };
        seen.extend(heard);
        if SEEN_WITHOUT_US.iter().all(|way| seen.contains(*way)) {
            break;
        }
    }
    let blind: Vec<_> = SEEN_WITHOUT_US
        .iter()
        .filter(|way| !seen.contains(**way))
        .collect();
    if !blind.is_empty() {
        return skip(&format!(
            "the witnesses are blind to {blind:?}; they hear {seen:?}"
        ));
    }

    if version < KNOWS_ALLOWLIST {
        eprintln!("skipped: {program} {version} does not know Connection-Allowlist");
        return;
    }
    let comfyui = serve();
    let airlock = before(comfyui.address, "");
    let seen = witnesses.hear(program, door(&airlock), &comfyui);
    let seen = seen.unwrap_or_else(|| witnesses.so_far());
    assert!(seen.is_empty(), "by the door: {seen:?}");
}

/// Aloud, and not at all where a browser is asked for.
fn skip(why: &str) {
    let required = std::env::var_os("AIRLOCK_REQUIRE_CHROMIUM").is_some();
    assert!(!required, "{why}");
    eprintln!("skipped: {why}");
}

/// The page that stands in for ComfyUI looks again by itself, under the headers that close it.
#[test]
fn a_browser_comes_back_when_comfyui_does() {
    in_a_namespace("front_door::channels::inside_the_browser_comes_back", &[]);
}

#[test]
#[ignore = "runs inside of the namespace that another test makes"]
fn inside_the_browser_comes_back() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    watch();
    let (program, _) = chromium().unwrap();
    let place = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = place.local_addr().unwrap();
    drop(place);
    let airlock = before(address, "");
    let profile = tempfile::tempdir().unwrap();
    let _browser = Browser::open(program, profile.path(), door(&airlock));
    let looks = || {
        let records = airlock.records();
        records.iter().filter(|r| r["path"] == "/").count()
    };
    let began = Instant::now();
    while looks() < 2 {
        if began.elapsed() > PATIENCE {
            return skip("the browser does not look a second time");
        }
        thread::sleep(Duration::from_millis(50));
    }
    let back = TcpListener::bind(address).unwrap();
    let (came, there) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in back.incoming().flatten() {
            let mut head = [0; 4096];
            let length = stream.read(&mut head).unwrap_or(0);
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\nConnection: close\r\n\r\nup",
            );
            // Its icon may be asked for first.
            if head
                .get(..length)
                .is_some_and(|head| head.starts_with(b"GET / "))
            {
                let _ = came.send(());
            }
        }
    });
    assert_eq!(there.recv_timeout(PATIENCE), Ok(()));
}

/// Ends the process where nothing else does.
fn watch() {
    thread::spawn(|| {
        thread::sleep(WATCHDOG);
        eprintln!("no verdict after {WATCHDOG:?}");
        std::process::exit(3);
    });
}

/// Of our own origin: they do what their address says behind `?`.
const HELPERS: &[Helper] = &[
    (
        "/probe/work.js",
        "text/javascript",
        "fetch(`http://${location.search.slice(1)}.outside.test/`, { mode: 'no-cors' }).catch(() => {});",
    ),
    (
        "/probe/navigate",
        "text/html",
        "<!doctype html><script src=\"/probe/navigate.js\"></script>",
    ),
    (
        "/probe/navigate.js",
        "text/javascript",
        "location.href = `http://${location.search.slice(1)}.outside.test/`;",
    ),
    (
        "/probe/download",
        "text/html",
        "<!doctype html><a download href=\"http://download.outside.test/\">x</a><script src=\"/probe/click.js\"></script>",
    ),
    (
        "/probe/click.js",
        "text/javascript",
        "document.querySelector('a').click();",
    ),
    (
        "/probe/refresh",
        "text/html",
        "<!doctype html><meta http-equiv=\"refresh\" content=\"0; url=http://meta-refresh.outside.test/\">",
    ),
];

/// Who hears of a way out.
struct Witnesses(Arc<Mutex<BTreeSet<String>>>);

impl Witnesses {
    fn listen() -> Self {
        let heard: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let dns = UdpSocket::bind("127.0.0.1:53").expect("root of the namespace");
        let by_name = heard.clone();
        thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((length, from)) = dns.recv_from(&mut query) {
                let Some((name, answer)) = resolve(&query[..length]) else {
                    continue;
                };
                // A browser looks up names of its maker, of which no page knows.
                if let Some(way) = name.strip_suffix(".outside.test") {
                    by_name.lock().unwrap().insert(way.to_owned());
                    let _ = dns.send_to(&answer, from);
                }
            }
        });
        for port in [80, 443, 8080] {
            let listener = TcpListener::bind((OUTSIDE, port)).expect("root of the namespace");
            let by_socket = heard.clone();
            thread::spawn(move || {
                for mut stream in listener.incoming().flatten() {
                    by_socket.lock().unwrap().insert(format!("tcp {port}"));
                    // It only must not hang.
                    thread::spawn(move || stream.read(&mut [0; 4096]));
                }
            });
        }
        for port in [443, 3478] {
            let socket = UdpSocket::bind((OUTSIDE, port)).expect("root of the namespace");
            let by_datagram = heard.clone();
            thread::spawn(move || {
                while socket.recv_from(&mut [0; 1500]).is_ok() {
                    by_datagram.lock().unwrap().insert(format!("udp {port}"));
                }
            });
        }
        Self(heard)
    }

    fn so_far(&self) -> BTreeSet<String> {
        self.0.lock().unwrap().clone()
    }

    /// What is heard while the page at `address` tries everything; `None` where it comes to no end.
    fn hear(
        &self,
        program: &str,
        address: SocketAddr,
        comfyui: &Frontend,
    ) -> Option<BTreeSet<String>> {
        self.0.lock().unwrap().clear();
        for _ in 0..BROWSERS {
            let profile = tempfile::tempdir().unwrap();
            let _browser = Browser::open(program, profile.path(), address);
            if comes_to_an_end(comfyui) {
                thread::sleep(AFTERMATH);
                return Some(self.so_far());
            }
            eprintln!("the page is not through after {PATIENCE:?}");
        }
        skip(&format!("no end of it; asked was {:#?}", comfyui.lines()));
        None
    }
}

/// Whether the page has tried everything.
fn comes_to_an_end(comfyui: &Frontend) -> bool {
    let tried = |head: &String| head.starts_with("GET /api/probe/tried ");
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if comfyui.heads().iter().any(tried) {
            return true;
        }
        thread::sleep(Duration::from_millis(50));
    }
    false
}
