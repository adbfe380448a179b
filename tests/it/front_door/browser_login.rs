//! The login page in a real browser, without a script: a wrong password, the right one, and what is kept.
//!
//! Skipped where there is no Chromium or no namespace, unless `AIRLOCK_REQUIRE_CHROMIUM` is set. Every wait
//! ends. `AIRLOCK_SCREENSHOTS` names a folder for pictures of what a person sees.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    before,
    browser::{INSIDE, chromium, in_a_namespace},
    door,
    people::{Plugin, REQUIRED},
};

/// A browser on a machine that compiles.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_person_logs_in_by_a_browser_that_runs_no_script() {
    in_a_namespace("front_door::browser_login::inside_somebody_logs_in", &[]);
}

#[test]
#[ignore = "runs inside of the namespace that another test makes"]
fn inside_somebody_logs_in() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let plugin = Plugin::start();
    let airlock = before(plugin.address(), REQUIRED);
    let (code, out, err) = airlock.command(&["user", "add", "ada", "--json"]);
    assert_eq!(code, 0, "{out}{err}");
    let made: Value = serde_json::from_str(&out).unwrap();
    let password = made["password"].as_str().unwrap();

    let profile = tempfile::tempdir().unwrap();
    let (program, _) = chromium().unwrap();
    let mut page = Page::open(program, profile.path());
    page.call(
        "Emulation.setScriptExecutionDisabled",
        json!({"value": true}),
    );
    let start = format!("http://{}/?workflow=1", door(&airlock));
    page.call("Page.navigate", json!({"url": start}));
    page.until_titled("Log in");
    page.picture("login-light");
    let dark = json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]});
    page.call("Emulation.setEmulatedMedia", dark);
    page.picture("login-dark");

    page.log_in("ada", "not the password");
    let logins = |outcome| airlock.metric("airlock_logins_total", &[("outcome", outcome)]);
    page.until("the wrong one is told", |page| {
        logins("login_wrong") == 1 && page.shows(".bad")
    });
    page.picture("login-wrong");
    assert!(
        plugin.seen().is_empty(),
        "ComfyUI heard of it: {:?}",
        plugin.seen()
    );

    page.log_in("ada", password);
    page.until("she goes on to where she wanted", |_| {
        let seen = plugin.seen();
        seen.iter()
            .any(|(head, _)| head.starts_with("GET /?workflow=1 "))
    });
    assert_eq!(logins("ok"), 1);
    let cookies = page.call("Network.getCookies", json!({"urls": [start]}));
    let all = cookies["cookies"].as_array().unwrap();
    let ours = all.iter().find(|c| c["name"] == "airlock_session").unwrap();
    assert_eq!(
        (&ours["httpOnly"], &ours["sameSite"], &ours["path"]),
        (&json!(true), &json!("Strict"), &json!("/"))
    );
    let account = format!("http://{}/airlock/login", door(&airlock));
    page.call("Page.navigate", json!({"url": account}));
    page.until_titled("Logged in");
    page.picture("account");
}

/// One page, by the browser's debugging pipe.
struct Page {
    browser: Child,
    orders: ChildStdin,
    answers: Receiver<Value>,
    session: Option<String>,
    next: u64,
    began: Instant,
}

impl Page {
    fn open(program: &str, profile: &Path) -> Self {
        // The pipe is file descriptors 3 and 4 of the browser.
        let script = "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1";
        let mut browser = Command::new("sh")
            .args(["-c", script, program])
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--no-first-run",
                "--no-default-browser-check",
                "--window-size=1000,800",
                "--remote-debugging-pipe",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .env("HOME", profile)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("the browser starts");
        let orders = browser.stdin.take().unwrap();
        let mut told = BufReader::new(browser.stdout.take().unwrap());
        let (send, answers) = channel();
        thread::spawn(move || {
            let mut message = Vec::new();
            while told.read_until(0, &mut message).is_ok_and(|n| n > 0) {
                message.pop();
                if let Ok(value) = serde_json::from_slice(&message) {
                    let _ = send.send(value);
                }
                message.clear();
            }
        });
        let mut page = Self {
            browser,
            orders,
            answers,
            session: None,
            next: 0,
            began: Instant::now(),
        };
        let target = page.call("Target.createTarget", json!({"url": "about:blank"}));
        let target = &target["targetId"];
        let attached = page.call(
            "Target.attachToTarget",
            json!({"targetId": target, "flatten": true}),
        );
        page.session = attached["sessionId"].as_str().map(str::to_owned);
        page.call("Page.enable", json!({}));
        page.call("DOM.enable", json!({}));
        page
    }

    /// Sends an order and waits for its answer; events in between are of no interest.
    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let mut order = json!({"id": self.next, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            order["sessionId"] = session.as_str().into();
        }
        let mut bytes = order.to_string().into_bytes();
        bytes.push(0);
        self.orders.write_all(&bytes).expect("the browser is there");
        loop {
            let left = PATIENCE.saturating_sub(self.began.elapsed());
            let Ok(answer) = self.answers.recv_timeout(left) else {
                panic!("no answer to {method} in {PATIENCE:?}");
            };
            if answer["id"] == self.next {
                return answer["result"].clone();
            }
        }
    }

    fn until(&mut self, what: &str, done: impl Fn(&mut Self) -> bool) {
        while !done(self) {
            assert!(
                self.began.elapsed() < PATIENCE,
                "not in {PATIENCE:?}: {what}"
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn until_titled(&mut self, title: &str) {
        self.until(title, |page| {
            let targets = page.call("Target.getTargets", json!({}));
            let all = targets["targetInfos"].as_array().cloned();
            let all = all.unwrap_or_default();
            all.iter()
                .any(|t| t["type"] == "page" && t["title"] == title)
        });
    }

    /// Without a script of ours in the page, which its policy would not let run.
    fn shows(&mut self, selector: &str) -> bool {
        let document = self.call("DOM.getDocument", json!({}));
        let root = &document["root"]["nodeId"];
        let found = self.call(
            "DOM.querySelector",
            json!({"nodeId": root, "selector": selector}),
        );
        found["nodeId"].as_u64().is_some_and(|id| id > 0)
    }

    /// By the keyboard, from the field that has the focus.
    fn log_in(&mut self, name: &str, password: &str) {
        self.until("the form is there", |page| page.shows("#name"));
        let document = self.call("DOM.getDocument", json!({}));
        let root = &document["root"]["nodeId"];
        for (selector, text) in [("#name", name), ("#password", password)] {
            let field = self.call(
                "DOM.querySelector",
                json!({"nodeId": root, "selector": selector}),
            );
            self.call("DOM.focus", json!({"nodeId": field["nodeId"]}));
            self.call("Input.insertText", json!({"text": text}));
        }
        for kind in ["keyDown", "keyUp"] {
            let enter = json!({"type": kind, "key": "Enter", "code": "Enter",
                "windowsVirtualKeyCode": 13, "text": "\r"});
            self.call("Input.dispatchKeyEvent", enter);
        }
    }

    fn picture(&mut self, name: &str) {
        let taken = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let png = STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        assert!(png.len() > 1000, "a picture of nothing");
        if let Some(folder) = std::env::var_os("AIRLOCK_SCREENSHOTS") {
            std::fs::write(Path::new(&folder).join(format!("{name}.png")), png).unwrap();
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let group = format!("-{}", self.browser.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.browser.wait();
    }
}
