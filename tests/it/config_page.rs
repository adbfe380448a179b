//! docs/CONFIG.md lists every key with its default, every host of every pack and every variable,
//! and nothing that the program does not read.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
};

use airlock::{config, packs};
use serde_json::Value;

const PAGE: &str = include_str!("../../docs/CONFIG.md");
const README: &str = include_str!("../../README.md");
const STARTED: &str = include_str!("../../docs/GETTING-STARTED.md");
const DEFAULTS: &str = include_str!("../../config/default.yaml");
const READERS: [&str; 14] = [
    include_str!("../../src/config/compile.rs"),
    include_str!("../../src/config/front_door.rs"),
    include_str!("../../src/config/comfyui.rs"),
    include_str!("../../src/config/egress.rs"),
    include_str!("../../src/config/guards.rs"),
    include_str!("../../src/config/places.rs"),
    include_str!("../../src/config/rates.rs"),
    include_str!("../../src/config/sections.rs"),
    include_str!("../../src/config/rules.rs"),
    include_str!("../../src/config/identity.rs"),
    include_str!("../../src/config/terms.rs"),
    include_str!("../../src/config/models.rs"),
    include_str!("../../src/config/providers.rs"),
    include_str!("../../src/config/web_search.rs"),
];
/// Calls of the configuration's reader whose first literal is a key of the file.
const CALLS: [&str; 8] = [
    "take(",
    "take_off(",
    "require(",
    "boolean(",
    "duration(",
    "size(",
    "count(",
    "integer(",
];

/// Full key to its default cell, of the tables whose first column is `key`.
fn documented() -> BTreeMap<String, String> {
    let mut of_keys = false;
    let mut found = BTreeMap::new();
    for line in PAGE.lines() {
        match line
            .strip_prefix("| `")
            .and_then(|row| row.split_once("` | "))
        {
            Some((key, rest)) if of_keys => {
                let default = rest.split(" | ").nth(1).unwrap_or_default();
                found.insert(key.to_owned(), default.to_owned());
            }
            Some(_) => {}
            None if line.starts_with("|---") => {}
            None => of_keys = line.starts_with("| key |"),
        }
    }
    found
}

fn last(key: &str) -> &str {
    key.rsplit_once('.').map_or(key, |(_, last)| last)
}

/// Keys that the program takes out of the file, by their last part.
fn read_by_the_program() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for source in READERS {
        for call in CALLS {
            for after in source.split(call).skip(1) {
                // The first argument may be the section; a key is the first literal of either.
                let arguments = after.split(')').next().unwrap_or_default();
                let Some((before, rest)) = arguments.split_once('"') else {
                    continue;
                };
                let only_names = before
                    .chars()
                    .all(|c| c.is_whitespace() || "&mut ,s".contains(c));
                let key = rest.split('"').next().unwrap_or_default();
                let plain = key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
                if only_names && plain && !key.is_empty() {
                    keys.insert(key.to_owned());
                }
            }
        }
    }
    keys
}

#[test]
fn every_key_that_is_read_is_on_the_page_and_no_other() {
    let read = read_by_the_program();
    assert!(read.len() > 50, "found only {read:?}");
    let documented: BTreeSet<String> = documented()
        .keys()
        .map(|key| last(key).to_owned())
        .collect();
    let missing: Vec<_> = read.difference(&documented).collect();
    assert!(missing.is_empty(), "docs/CONFIG.md lacks {missing:?}");
    let gone: Vec<_> = documented.difference(&read).collect();
    assert!(
        gone.is_empty(),
        "docs/CONFIG.md has {gone:?}, which nothing reads"
    );
}

/// Dotted paths of scalars and empty lists.
fn leaves(prefix: &str, value: &Value, out: &mut BTreeMap<String, String>) {
    let text = match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let path = if prefix.is_empty() {
                    key.clone()
                } else {
                    format!("{prefix}.{key}")
                };
                leaves(&path, value, out);
            }
            return;
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().filter_map(Value::as_str).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(_) => "{}".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    out.insert(prefix.to_owned(), text);
}

#[test]
fn every_default_of_the_default_file_is_on_the_page() {
    let value: Value = serde_yaml::from_str(DEFAULTS).unwrap();
    let mut defaults = BTreeMap::new();
    leaves("", &value, &mut defaults);
    assert!(defaults.len() > 30, "{defaults:?}");
    let documented = documented();
    for (key, default) in &defaults {
        let Some(cell) = documented.get(key) else {
            panic!("docs/CONFIG.md does not list {key}")
        };
        // Told in words, because it is long; and the one key without a default.
        if ["llm.discover_ports", "version"].contains(&key.as_str()) {
            continue;
        }
        // YAML 1.1 reads a bare `off` as false.
        let accepted = [
            format!("`{default}`"),
            format!("`{}`", default.replace("false", "off")),
        ];
        assert!(
            accepted.contains(cell),
            "docs/CONFIG.md says {cell} for {key}, it is {default}"
        );
    }
}

#[test]
fn every_pack_rule_and_host_is_on_the_page() {
    for pack in packs::names() {
        for rule in packs::load(pack).unwrap() {
            let name = format!("| `{}` |", rule.name);
            let Some(row) = PAGE.lines().find(|line| line.starts_with(&name)) else {
                panic!("docs/CONFIG.md does not list the rule {}", rule.name);
            };
            for host in &rule.hosts {
                let told = row.contains(&format!("`{host}`")) || row.contains("| the same two |");
                assert!(told, "docs/CONFIG.md does not list {host} of {}", rule.name);
            }
        }
    }
}

#[test]
fn every_variable_that_is_read_is_on_the_page() {
    for name in config::Config::VARIABLES {
        assert!(
            PAGE.contains(&format!("| `{name}` |")),
            "docs/CONFIG.md does not list {name}"
        );
    }
}

#[test]
fn every_example_that_is_a_whole_file_loads() {
    let mut whole = 0;
    for (page, text) in [
        ("CONFIG", PAGE),
        ("README", README),
        ("GETTING-STARTED", STARTED),
    ] {
        for block in text.split("```yaml\n").skip(1) {
            let yaml = block.split("```").next().unwrap_or_default();
            if !yaml.starts_with("version:") {
                continue;
            }
            whole += 1;
            let env = HashMap::from([("HOME".to_owned(), "/nonexistent".to_owned())]);
            let loaded = config::compile(yaml, page, PathBuf::from("."), &env);
            assert!(loaded.is_ok(), "{page}: {}\n{yaml}", loaded.err().unwrap());
        }
    }
    assert!(whole >= 4, "only {whole} whole examples");
}

#[test]
fn links_between_the_pages_lead_somewhere() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    for (page, text, folder) in [
        ("README.md", README, root.clone()),
        ("docs/CONFIG.md", PAGE, root.join("docs")),
        ("docs/GETTING-STARTED.md", STARTED, root.join("docs")),
    ] {
        for after in text.split("](").skip(1) {
            let target = after.split([')', '#']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            assert!(folder.join(target).exists(), "{page} links to {target}");
        }
    }
}
