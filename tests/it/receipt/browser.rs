//! The receipt in a real browser: it is drawn, goes live, and breaks none of its own rules, in light and
//! dark, narrow and wide, and on paper.
//!
//! Skipped where there is no Chromium, unless `AIRLOCK_REQUIRE_CHROMIUM` is set. With
//! `AIRLOCK_RECEIPT_SHOTS=DIR` the pictures are left there to be looked at.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::House;
use crate::support::{eventually, eventually_within};

/// A browser on a machine that compiles.
const PATIENCE: Duration = Duration::from_secs(120);

fn chromium() -> Option<&'static str> {
    let works = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(works)
}

/// Gone, with all its processes, when it is dropped.
struct Browser(Child);

impl Browser {
    fn run(program: &str, profile: &Path, arguments: &[&str], out: Stdio) -> Self {
        let child = Command::new(program)
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--no-first-run",
                "--hide-scrollbars",
                // Nothing of this test is anywhere else.
                "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .args(arguments)
            .env("HOME", profile)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("the browser starts");
        Self(child)
    }

    fn ends(&mut self, what: &str) {
        eventually_within(PATIENCE, what, || matches!(self.0.try_wait(), Ok(Some(_))));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill")
            .args(["-KILL", "--", &group])
            .stderr(Stdio::null())
            .status();
        let _ = self.0.wait();
    }
}

#[test]
fn a_browser_draws_the_receipt_and_follows_it() {
    let Some(program) = chromium() else {
        let required = std::env::var_os("AIRLOCK_REQUIRE_CHROMIUM").is_some();
        assert!(!required, "there is no chromium");
        eprintln!("skipped: there is no chromium");
        return;
    };
    let house = House::open();
    house.busy();
    let url = format!("http://{}/airlock/receipt", house.door());
    let profile = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("AIRLOCK_RECEIPT_SHOTS").map(PathBuf::from);
    let folder = kept.unwrap_or_else(|| profile.path().to_owned());

    let dark = "--blink-settings=preferredColorScheme=0";
    for (name, size, more) in [
        ("light.png", "1200,2400", None),
        ("dark.png", "1200,2400", Some(dark)),
        ("narrow.png", "500,3200", None),
    ] {
        let file = folder.join(name);
        let shot = format!("--screenshot={}", file.display());
        let window = format!("--window-size={size}");
        let mut arguments = vec![window.as_str(), shot.as_str()];
        arguments.extend(more);
        arguments.push(&url);
        let mut browser = Browser::run(program, profile.path(), &arguments, Stdio::null());
        browser.ends(name);
        let bytes = fs::read(&file).unwrap_or_default();
        assert!(
            bytes.starts_with(b"\x89PNG") && bytes.len() > 20_000,
            "{name}: {}",
            bytes.len()
        );
    }
    let paper = folder.join("paper.pdf");
    let print = format!("--print-to-pdf={}", paper.display());
    let mut browser = Browser::run(program, profile.path(), &[&print, &url], Stdio::null());
    browser.ends("paper");
    assert!(fs::read(&paper).unwrap_or_default().starts_with(b"%PDF"));

    // The script ran, though the page allows none but its own.
    let dump = profile.path().join("dom.html");
    let out = fs::File::create(&dump).unwrap();
    let arguments = ["--dump-dom", &url];
    let mut browser = Browser::run(program, profile.path(), &arguments, out.into());
    browser.ends("the page's tree");
    let dom = fs::read_to_string(&dump).unwrap();
    assert!(
        dom.contains("id=\"print\">Print"),
        "the button is hidden: {dom}"
    );
    assert!(dom.contains("This browser is"), "{dom}");
    assert!(dom.contains("api.comfy.org:80"), "{dom}");
    // It asked for the news, and got them.
    eventually("the browser followed", || {
        let records = house.airlock.records();
        let of = |r: &serde_json::Value| r["path"] == "/airlock/receipt/live" && r["status"] == 200;
        records.iter().any(of)
    });
    let reports: Vec<_> = house
        .airlock
        .records()
        .into_iter()
        .filter(|r| r["path"] == "/airlock/csp")
        .collect();
    assert!(reports.is_empty(), "against the policy: {reports:#?}");
}
