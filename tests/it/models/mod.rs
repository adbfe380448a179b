//! Model sources: ModelScope's endpoints answered from hubs, over stand-ins that speak the hubs' formats.
//!
//! | module | what it shows |
//! |---|---|
//! | [`hub`] | the stand-ins |
//! | [`command`] | `airlock models`, and the tool of the chat |
//! | [`hostile`] | hubs that lie, loop, do not end or lead astray |
//! | [`sdk`] | the real ModelScope SDKs download through it |

mod command;
mod hostile;
pub mod hub;
mod sdk;

use serde_json::{Value, json};

use self::hub::{Hubs, ask, content, digest, file_target, search};
use crate::support::{Airlock, eventually};

const GOOD: &str = "hf--org/good";
const CIVITAI: &str = "civitai--11/Pose-Helper~~22";

/// Records of our own requests, once there are `n`.
fn own(airlock: &Airlock, n: usize) -> Vec<Value> {
    let own = || -> Vec<Value> {
        let all = airlock.records();
        all.into_iter().filter(|r| r["entry"] == "models").collect()
    };
    eventually(&format!("{n} records of our own requests"), || {
        own().len() >= n
    });
    own()
}

#[test]
fn a_search_asks_both_hubs_and_its_hits_have_cards() {
    let hubs = Hubs::start();
    let airlock = hubs.with_both();
    let found = search(&airlock, "姿势");
    let paths: Vec<String> = found
        .iter()
        .map(|m| {
            format!(
                "{}/{}",
                m["Path"].as_str().unwrap(),
                m["Name"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(&paths[..2], [GOOD, CIVITAI], "{found:#?}");
    assert_eq!(found[0]["Downloads"], 1234);
    assert_eq!(found[0]["LastUpdatedTime"], 1_706_933_106);
    assert!(
        found[1]["Libraries"]
            .as_array()
            .unwrap()
            .contains(&json!("for models/loras"))
    );
    // Nobody has told where ComfyUI's models are, and the dialog shows that.
    assert_eq!(found[2]["Path"], "airlock");
    let asked = hubs.hub.heads().concat();
    assert!(asked.contains("search=pose&"), "{asked}");
    assert!(asked.contains("query=pose&"), "{asked}");

    // The plugin asks for each card next: nobody is asked again.
    let before = hubs.hub.heads().len();
    for id in [GOOD, CIVITAI] {
        let card = ask(&airlock, "GET", &format!("/api/v1/models/{id}"), "", "").json();
        assert_eq!(card["Data"]["Id"], found[usize::from(id == CIVITAI)]["Id"]);
    }
    search(&airlock, "姿势");
    assert_eq!(hubs.hub.heads().len(), before);

    for record in own(&airlock, 2) {
        assert_eq!(record["action"], "forward", "{record}");
        assert_eq!(record["status"], 200);
        assert_eq!(record["client"], "127.0.0.1");
        let rule = record["rule"].as_str().unwrap();
        assert!(
            ["models/huggingface", "models/civitai"].contains(&rule),
            "{record}"
        );
        assert!(record["bytes_out"].as_u64().unwrap() > 100);
    }
    for source in ["huggingface", "civitai"] {
        let labels = [("source", source), ("outcome", "ok")];
        assert_eq!(airlock.metric("airlock_model_requests_total", &labels), 1);
    }
}

#[test]
fn a_file_is_listed_streamed_resumed_and_each_hop_is_on_record() {
    let hubs = Hubs::start();
    let airlock = hubs.with_both();
    for model in [GOOD, CIVITAI] {
        let list = format!("/api/v1/models/{model}/repo/files?Revision=master&Recursive=True");
        let files = ask(&airlock, "GET", &list, "", "").json();
        let file = &files["Data"]["Files"][0];
        assert_eq!(file["Path"], hub::FILE, "{files}");
        assert_eq!(file["Size"], hub::SIZE);
        assert_eq!(file["Sha256"], json!(digest()));

        let target = file_target(model);
        let whole = ask(&airlock, "GET", &target, "", "");
        assert_eq!(whole.status, 200, "{}", whole.text());
        assert_eq!(whole.header("content-length"), Some("300000"));
        assert!(whole.body == content() && whole.whole, "{model}");
        let rest = ask(&airlock, "GET", &target, "Range: bytes=100000-\r\n", "");
        assert_eq!(rest.status, 206);
        assert_eq!(
            rest.header("content-range"),
            Some("bytes 100000-299999/300000")
        );
        assert!(rest.body == content()[100_000..], "{model}");
        let part = ask(&airlock, "GET", &target, "Range: bytes=5-6\r\n", "");
        assert_eq!((part.status, &part.body[..]), (206, &content()[5..7]));
        let behind = ask(&airlock, "GET", &target, "Range: bytes=300000-\r\n", "");
        assert_eq!(behind.status, 416);
    }
    let head = crate::support::Wire::to(airlock.ready.explicit).ask(format!(
        "HEAD http://www.modelscope.cn{} HTTP/1.1\r\nHost: www.modelscope.cn\r\n\r\n",
        file_target(GOOD)
    ));
    assert_eq!(head.header("content-length"), Some("300000"));

    // Each source: its card, and for each of three downloads the link and the store; Civitai's size once
    // more, because it was rounded.
    let records = own(&airlock, 7 + 9);
    assert_eq!(records.len(), 7 + 9, "{records:#?}");
    // One stand-in is both hubs here, so the first hub's rule lets both through.
    let of = |rule: &str| records.iter().filter(|r| r["rule"] == rule).count();
    assert_eq!((of("models/huggingface"), of("store")), (9, 7));
    assert!(
        records
            .iter()
            .all(|r| r["action"] == "forward" && r.get("ended").is_none())
    );
    // All of that on loopback.
    assert!(records.iter().all(|r| r["left_machine_bytes"] == 0));
    let bytes = |source| airlock.metric("airlock_model_bytes_total", &[("source", source)]);
    assert_eq!((bytes("huggingface"), bytes("civitai")), (500_002, 500_002));
}

/// Put together here, so that no scanner takes this file for a leak.
fn token() -> String {
    format!("hf_{}", "A1B2C3D4E5F6G7H8".repeat(2))
}

#[test]
fn a_token_goes_to_its_hub_and_not_along_with_a_redirect() {
    let hubs = Hubs::start();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), token() + "\n").unwrap();
    let airlock = hubs
        .setup(
            "  sources: [huggingface, civitai]\n",
            &format!("    token_file: {}\n", file.path().display()),
        )
        .start();
    for model in [GOOD, CIVITAI, "hf--org/gated"] {
        assert_eq!(
            ask(&airlock, "GET", &file_target(model), "", "").status,
            200,
            "{model}"
        );
    }
    let bearer = format!("authorization: Bearer {}", token());
    for head in hubs.hub.heads() {
        let of_its_hub = !head.contains("/api/v1/") && !head.contains("/api/download/");
        assert_eq!(head.contains(&bearer), of_its_hub, "{head}");
    }
    let stored = hubs.store.heads();
    assert!(stored.len() >= 3);
    for head in stored {
        assert!(!head.to_lowercase().contains("authorization"), "{head}");
    }
    let log = std::fs::read_to_string(airlock.state().join("audit.jsonl")).unwrap();
    assert!(!log.contains(&token()) && !airlock.process.stderr().contains(&token()));
}

#[test]
fn without_a_source_nobody_is_asked_and_the_dialog_says_so() {
    let hubs = Hubs::start();
    let models = tempfile::tempdir().unwrap();
    std::fs::create_dir(models.path().join("loras")).unwrap();
    std::fs::write(models.path().join("loras/pose_v2.safetensors"), b"12345").unwrap();
    let airlock = hubs
        .setup(&format!("  dir: {}\n", models.path().display()), "")
        .start();
    eventually("the folder is listed", || {
        search(&airlock, "pose")[0]["Path"] == "local--loras"
    });
    let none = search(&airlock, "nothing like it");
    let words = none[0]["Name"].as_str().unwrap();
    assert!(words.contains("models.sources"), "{words}");
    let local = "/api/v1/models/local--loras/pose_v2.safetensors/repo/files";
    let refusal = ask(&airlock, "GET", local, "", "").json();
    let words = refusal["Message"].as_str().unwrap();
    assert!(
        words.contains("already") && words.contains("loras/pose_v2"),
        "{words}"
    );
    for target in [file_target(GOOD), file_target(CIVITAI)] {
        let refusal = ask(&airlock, "GET", &target, "", "");
        assert_eq!(refusal.status, 403);
        assert!(
            refusal.text().contains("models.sources"),
            "{}",
            refusal.text()
        );
    }
    // The rules of a source are there only with it.
    let (_, explained, _) = airlock.command(&["explain", "--help"]);
    assert!(explained.contains("--entry"));
    assert_eq!(hubs.hub.connections() + hubs.store.connections(), 0);
    airlock.assert_touched_nothing();
}

#[test]
fn a_users_deny_stands_above_a_source_and_the_kill_switch_above_both() {
    let hubs = Hubs::start();
    let mut setup = hubs.setup("  sources: [huggingface, civitai]\n", "");
    setup.rules.push_str(
        "  - name: no-civitai\n    ips: [127.0.0.1]\n    paths: [/api/v1/*]\n    entries: [models]\n    action: deny\n",
    );
    let airlock = setup.start();
    let found = search(&airlock, "pose");
    assert_eq!(found[0]["Path"], "hf--org");
    let words = found[1]["Name"].as_str().unwrap();
    assert!(words.contains("rule_denies"), "{words}");
    let denied = own(&airlock, 2)
        .into_iter()
        .find(|r| r["action"] == "deny")
        .unwrap();
    assert_eq!(denied["rule"], "no-civitai");
    assert_eq!(denied["status"], 403);

    let (code, _, stderr) = airlock.command(&["lockdown", "on"]);
    assert_eq!(code, 0, "{stderr}");
    let before = hubs.hub.heads().len();
    let refusal = ask(&airlock, "GET", &file_target(GOOD), "", "");
    assert!(refusal.text().contains("locked_down"), "{}", refusal.text());
    assert_eq!(hubs.hub.heads().len(), before);
}
