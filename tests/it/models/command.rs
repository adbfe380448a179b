//! `airlock models`, and the chat's `search_model`: the same sources, by the same rules.

use serde_json::{Value, json};

use super::{CIVITAI, GOOD, hub::Hubs, own};
use crate::{
    front_door::comfyui::ComfyUi,
    support::Airlock,
    tools::{call, config, files},
};

fn search(airlock: &Airlock, words: &[&str]) -> Value {
    let arguments: Vec<&str> = ["models", "search", "--json"]
        .iter()
        .chain(words)
        .copied()
        .collect();
    let (code, out, err) = airlock.command(&arguments);
    assert_eq!(code, 0, "{out}{err}");
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"))
}

fn ids(found: &Value) -> Vec<&str> {
    let models = found["models"].as_array().expect("a list");
    models.iter().filter_map(|m| m["id"].as_str()).collect()
}

#[test]
fn a_person_searches_every_allowed_source_and_each_request_is_on_record() {
    let hubs = Hubs::start();
    let folder = tempfile::tempdir().unwrap();
    let loras = folder.path().join("loras");
    std::fs::create_dir(&loras).unwrap();
    std::fs::write(loras.join("pose_mine.safetensors"), b"x").unwrap();
    let dir = format!("  dir: {}\n", folder.path().display());
    let sources = format!("  sources: [local, huggingface, civitai]\n{dir}");
    let airlock = hubs.setup(&sources, "").start();

    let found = search(&airlock, &["姿势"]);
    let mine = "local--loras/pose_mine.safetensors";
    assert_eq!(&ids(&found)[..3], [mine, GOOD, CIVITAI], "{found:#}");
    assert_eq!(found["asked"], json!(["local", "huggingface", "civitai"]));
    assert_eq!(
        (&found["local_only"], &found["notes"]),
        (&json!(false), &json!([]))
    );
    let civitai = &found["models"][2];
    assert_eq!(
        civitai["url"],
        "https://civitai.com/models/11?modelVersionId=22"
    );
    let records = own(&airlock, 2);
    assert!(
        records.iter().all(|r| r["client"] == "127.0.0.1"),
        "{records:#?}"
    );
    let (code, table, _) = airlock.command(&["models", "search", "pose", "--limit", "1"]);
    assert!(
        code == 0 && table.contains(mine) && !table.contains(GOOD),
        "{table}"
    );

    // Nothing leaves: what is here is found, and that it is no more is said.
    assert_eq!(airlock.command(&["lockdown", "on"]).0, 0);
    let asked = hubs.hub.heads().len();
    let found = search(&airlock, &["mine"]);
    assert_eq!(
        (ids(&found), &found["local_only"]),
        (vec![mine], &json!(true)),
        "{found:#}"
    );
    assert_eq!(
        found["notes"].as_array().map(Vec::len),
        Some(2),
        "{found:#}"
    );
    let (code, words, _) = airlock.command(&["models", "search", "mine"]);
    assert!(
        code == 0 && words.contains(mine) && words.contains("of this machine alone"),
        "{words}"
    );
    assert_eq!(hubs.hub.heads().len(), asked, "no hub was asked");
    let (code, _, err) = airlock.command(&["models", "search", "///"]);
    assert!(code == 1 && err.contains("no word is left"), "{err}");
}

#[test]
fn the_sources_of_a_configuration_are_listed_without_their_keys() {
    let hubs = Hubs::start();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), super::token() + "\n").unwrap();
    let key = format!("    token_file: {}\n", file.path().display());
    let airlock = hubs.setup("  sources: [huggingface]\n", &key).start();
    let (code, out, _) = airlock.command(&["models", "sources", "--json"]);
    let listed: Value = serde_json::from_str(&out).unwrap();
    let seen = |field: &str| -> Vec<Value> {
        let all = listed["sources"].as_array().unwrap();
        all.iter().map(|s| s[field].clone()).collect()
    };
    assert_eq!(code, 0);
    assert_eq!(seen("source"), ["local", "huggingface", "civitai"]);
    assert_eq!(seen("allowed"), [false, true, false]);
    assert_eq!(seen("key"), [false, true, false]);
    let (_, table, _) = airlock.command(&["models", "sources"]);
    assert!(!out.contains(&super::token()) && !table.contains(&super::token()));
    assert!(table.contains("huggingface"), "{table}");
}

/// The tool of the chat was given no source at all once.
#[test]
fn the_chats_search_asks_the_allowed_hubs_and_says_where_none_is() {
    let hubs = Hubs::start();
    let comfyui = ComfyUi::serving(files());
    let asked = json!({"query": "pose"});
    let at = hubs.hub.port();
    let with_hub = format!(
        "{}models:\n  sources: [local, huggingface]\n  huggingface:\n    endpoint: http://127.0.0.1:{at}\n",
        config(comfyui.address())
    );
    let airlock = Airlock::start(&with_hub);
    let found = call(&airlock, "s1", "search_model", &asked);
    let cards = found["data"].as_array().unwrap();
    assert!(cards.iter().any(|c| c["id"] == GOOD), "{found:#}");
    assert_eq!(own(&airlock, 1)[0]["rule"], "models/huggingface");

    let alone = Airlock::start(&config(comfyui.address()));
    let found = call(&alone, "s1", "search_model", &asked);
    let words = found["answer"].as_str().unwrap();
    assert!(words.contains("Only this machine was searched"), "{words}");
}
