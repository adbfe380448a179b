//! The real ModelScope SDKs, old and new, called as the plugin calls them: they find, list, download,
//! resume and verify through Airlock, and nothing of them is changed.

use std::process::Command;

use serde_json::Value;

use super::{
    CIVITAI, GOOD,
    hub::{Hubs, SIZE, digest, search},
};
use crate::support::{Airlock, Sdk, eventually};

/// What the script printed, a line each.
fn run(sdk: Sdk, airlock: &Airlock, wanted: &str, models: &[&str]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/clients/modelscope_client.py"
    );
    let proxy = format!("http://{}", airlock.ready.explicit);
    let mut command = Command::new(sdk.python());
    command
        .arg("-B")
        .arg(script)
        .arg(folder.path())
        .arg(wanted)
        .args(models)
        .env_clear()
        .env("HOME", folder.path())
        .env("PYTHONUTF8", "1")
        .env("REQUESTS_CA_BUNDLE", &airlock.ready.ca_bundle);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
        command.env(name, &proxy);
    }
    let out = command
        .output()
        .expect("the Python environment has a python");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{sdk:?}: {text}\n{errors}");
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn downloads(sdk: Sdk, resumed: &str) {
    let hubs = Hubs::start();
    let airlock = hubs.with_both();
    let lines = run(sdk, &airlock, &digest(), &[GOOD, CIVITAI]);
    assert_eq!(lines.len(), 4, "{lines:#?}");
    for line in &lines {
        assert_eq!(line["sha256"], digest(), "{line}");
        assert_eq!(line["size"], SIZE, "{line}");
        assert_eq!(line["progress"], SIZE, "{line}");
        assert_eq!(line["ended"], true, "{line}");
    }
    let stored = hubs.store.heads();
    let resuming = stored.iter().filter(|h| h.contains(resumed)).count();
    assert_eq!(resuming, 2, "{stored:#?}");
    airlock.assert_healthy();
}

#[test]
fn modelscope_1_33_downloads_resumes_and_verifies() {
    downloads(Sdk::Old, "range: bytes=100000-299999\r\n");
}

#[test]
fn modelscope_1_40_downloads_resumes_and_verifies() {
    downloads(Sdk::New, "range: bytes=100000-299999\r\n");
}

/// The plugin shows the exception's text in the dialog.
#[test]
fn the_reason_of_a_refusal_reaches_the_person_at_the_dialog() {
    let hubs = Hubs::start();
    let airlock = hubs.with_both();
    for sdk in [Sdk::Old, Sdk::New] {
        for (model, words) in [
            ("hf--org/gated", "wants a login"),
            ("hf--org/pickles", "safetensors"),
        ] {
            let lines = run(sdk, &airlock, "-", &[model]);
            let error = lines[0]["error"].as_str().unwrap_or_default();
            assert!(error.contains(words), "{sdk:?}, {model}: {lines:?}");
        }
    }
}

/// The dialog shows a tick where a download ends well, and no words where it does not.
#[test]
fn a_model_that_is_here_already_is_a_download_with_nothing_left_to_fetch() {
    let hubs = Hubs::start();
    let models = tempfile::tempdir().unwrap();
    let folder = models.path().join("checkpoints");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("pose.safetensors"), b"weights").unwrap();
    let dir = format!(
        "  sources: [local, huggingface]\n  dir: {}\n",
        models.path().display()
    );
    let airlock = hubs.setup(&dir, "").start();
    let mut id = String::new();
    eventually("the folder is listed", || {
        let found = search(&airlock, "pose");
        let local = found
            .iter()
            .find(|m| m["Path"].as_str().is_some_and(|p| p.starts_with("local")));
        let words = |m: &Value, name: &str| m[name].as_str().unwrap_or_default().to_owned();
        id = local.map_or_else(String::new, |m| {
            format!("{}/{}", words(m, "Path"), words(m, "Name"))
        });
        !id.is_empty()
    });
    for sdk in [Sdk::Old, Sdk::New] {
        let lines = run(sdk, &airlock, "+", &[&id]);
        assert_eq!(lines[0]["came"], 0, "{sdk:?}: {lines:?}");
    }
    assert!(hubs.store.heads().is_empty(), "nothing was fetched");
}
