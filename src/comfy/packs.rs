//! Which repository a node comes from, as the lists of ComfyUI-Manager have it.
//!
//! `extension-node-map.json` maps a repository, or a single file, to the classes in it;
//! `custom-node-list.json` says which repository a file belongs to. Both are written by many hands: names
//! are bounded, and an address that a person should not be sent to is left out. A pack may name its nodes by
//! a pattern (`nodename_pattern`), which counts where no pack lists the class; patterns are bounded, and run
//! in linear time.

use std::collections::{BTreeMap, HashMap};

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::sound;

const MAX_CLASSES: usize = 500_000;
const MAX_ADDRESS: usize = 300;
/// The real lists have about a hundred.
const MAX_PATTERNS: usize = 1_000;
const MAX_PATTERN: usize = 200;
/// Bytes of one that is compiled.
const MAX_COMPILED: usize = 64 << 10;
const MAX_DEPTH: u32 = 16;

/// Classes, each with the address of its repository.
#[derive(Clone, Debug, Default)]
pub struct NodePacks {
    addresses: Vec<String>,
    by_class: HashMap<String, u32>,
    /// In the order of the packs.
    by_pattern: Vec<(Regex, u32)>,
}

impl NodePacks {
    /// `map` and `list` are the two files, as JSON; either may be something else.
    pub fn read(map: &Value, list: &Value) -> Self {
        let references = references(list);
        let mut out = Self::default();
        let mut at = HashMap::new();
        // Packs of the list first: where two have a class, the one that people can install is meant.
        let entries: Vec<(&String, &Value)> = map.as_object().into_iter().flatten().collect();
        let (listed, others): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|(key, _)| references.contains_key(key.trim_end_matches('/')));
        for (key, entry) in listed.into_iter().chain(others) {
            let key = key.trim_end_matches('/');
            let address = references.get(key).copied().unwrap_or(key);
            let Some(address) = address_of(address) else {
                continue;
            };
            let number = *at.entry(address.to_owned()).or_insert_with(|| {
                out.addresses.push(address.to_owned());
                out.addresses.len() - 1
            });
            let Ok(number) = u32::try_from(number) else {
                break;
            };
            let pattern = entry.pointer("/1/nodename_pattern").and_then(Value::as_str);
            let room = out.by_pattern.len() < MAX_PATTERNS;
            if let Some(pattern) = pattern.filter(|_| room).and_then(pattern_of) {
                out.by_pattern.push((pattern, number));
            }
            let classes = entry.get(0).and_then(Value::as_array);
            for class in classes.into_iter().flatten().filter_map(Value::as_str) {
                if out.by_class.len() >= MAX_CLASSES {
                    return out;
                }
                if let Some(class) = sound::name(class) {
                    out.by_class.entry(class.to_owned()).or_insert(number);
                }
            }
        }
        out
    }

    /// The address of the repository that has this class.
    pub fn repository(&self, class: &str) -> Option<&str> {
        let by_pattern = || {
            let mut patterns = self.by_pattern.iter();
            let found = patterns.find(|(pattern, _)| pattern.is_match(class));
            found.map(|(_, number)| *number)
        };
        let number = self.by_class.get(class).copied().or_else(by_pattern)?;
        let number = usize::try_from(number).ok()?;
        self.addresses.get(number).map(String::as_str)
    }

    pub fn len(&self) -> usize {
        self.by_class.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_class.is_empty()
    }
}

/// As the Manager takes it: found anywhere in a name. `None`: it is none, is too large, or names everything.
fn pattern_of(text: &str) -> Option<Regex> {
    if text.len() > MAX_PATTERN {
        return None;
    }
    let mut builder = RegexBuilder::new(text);
    builder
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_COMPILED)
        .nest_limit(MAX_DEPTH);
    let pattern = builder.build().ok()?;
    let names_everything = pattern.is_match("") || pattern.is_match("\u{1}");
    (!names_everything).then_some(pattern)
}

/// From what the map may name (a repository, one of its files) to the repository.
fn references(list: &Value) -> BTreeMap<&str, &str> {
    let packs = list.get("custom_nodes").and_then(Value::as_array);
    let mut out = BTreeMap::new();
    for pack in packs.into_iter().flatten() {
        let Some(reference) = pack.get("reference").and_then(Value::as_str) else {
            continue;
        };
        let files = pack.get("files").and_then(Value::as_array);
        let files = files.into_iter().flatten().filter_map(Value::as_str);
        for name in files.chain([reference]) {
            out.entry(name.trim_end_matches('/')).or_insert(reference);
        }
    }
    out
}

/// An address that can stand in a link: https, a name with a dot, no user, no port, no odd letters.
fn address_of(text: &str) -> Option<&str> {
    let text = text.trim().trim_end_matches('/');
    let text = text.strip_suffix(".git").unwrap_or(text);
    let (host, path) = text.strip_prefix("https://")?.split_once('/')?;
    let host_letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
    let path_letter = |b: u8| b.is_ascii_alphanumeric() || b"-._~/%+@".contains(&b);
    let sound = host.contains('.')
        && host.bytes().all(host_letter)
        && !path.is_empty()
        && path.bytes().all(path_letter)
        && !path.split('/').any(|part| part == "..");
    (sound && text.len() <= MAX_ADDRESS).then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn packs() -> NodePacks {
        let map = json!({
            "https://github.com/zz/fork": [["Shared", "OnlyFork"], {"title_aux": "Fork"}],
            "https://github.com/ann/pack/": [["Shared", "Mine", 7, "a\nb"], {}],
            "https://raw.githubusercontent.com/bob/one/main/one.py": [["FromAFile"], {}],
            "https://github.com/eve/dotgit.git": [["DotGit"], {}],
            "javascript:alert(1)": [["Script"], {}],
            "http://github.com/plain/http": [["Plain"], {}],
            "https://user:pw@github.com/a/b": [["WithUser"], {}],
            "https://localhost/a": [["Local"], {}],
            "https://github.com/a/<b>": [["Odd"], {}],
            "https://github.com/a/broken": {"no": "list"},
            "a-registry-id": [["ById"], {}],
            "https://github.com/kim/suffix": [[], {"nodename_pattern": " \\(kim\\)$"}],
            "https://github.com/lee/prefix": [["LeeOwn"], {"nodename_pattern": "^Lee"}],
            "https://github.com/a/all": [[], {"nodename_pattern": ".*"}],
            "https://github.com/a/any": [[], {"nodename_pattern": "."}],
            "https://github.com/a/none": [[], {"nodename_pattern": ""}],
            "https://github.com/a/looks": [[], {"nodename_pattern": "Unknown(?!x)"}],
            "https://github.com/a/half": [[], {"nodename_pattern": "(Unknown"}],
            "https://github.com/a/huge": [[], {"nodename_pattern": "(Unknown{1000}){1000}|Unknown"}],
            "https://github.com/a/long": [[], {"nodename_pattern": format!("Unknown|{}", "x".repeat(300))}],
            "https://github.com/a/number": [[], {"nodename_pattern": 7}],
        });
        let list = json!({"custom_nodes": [
            {"reference": "https://github.com/ann/pack", "files": ["https://github.com/ann/pack"]},
            {"reference": "https://github.com/bob/one", "files": ["https://raw.githubusercontent.com/bob/one/main/one.py"]},
            {"title": "no reference"}, 5,
        ]});
        NodePacks::read(&map, &list)
    }

    #[test]
    fn a_class_leads_to_its_repository() {
        let packs = packs();
        for (row, class, want) in [
            (
                "one that only one has",
                "Mine",
                Some("https://github.com/ann/pack"),
            ),
            (
                "one of two: the listed pack",
                "Shared",
                Some("https://github.com/ann/pack"),
            ),
            (
                "one that is not listed",
                "OnlyFork",
                Some("https://github.com/zz/fork"),
            ),
            (
                "a single file",
                "FromAFile",
                Some("https://github.com/bob/one"),
            ),
            (
                "an address for git",
                "DotGit",
                Some("https://github.com/eve/dotgit"),
            ),
            ("a script", "Script", None),
            ("no TLS", "Plain", None),
            ("a user in it", "WithUser", None),
            ("this machine", "Local", None),
            ("odd letters", "Odd", None),
            ("no address", "ById", None),
            ("a name over two lines", "a\nb", None),
            (
                "one that a pattern names",
                "Any Switch (kim)",
                Some("https://github.com/kim/suffix"),
            ),
            (
                "the pattern somewhere else in the name",
                "(kim) Switch",
                None,
            ),
            (
                "one that a pattern names, and a list of another pack",
                "LeeOwn",
                Some("https://github.com/lee/prefix"),
            ),
            (
                "nobody's: patterns that name everything, or are none, or too large",
                "Unknown",
                None,
            ),
        ] {
            assert_eq!(packs.repository(class), want, "{row}");
        }
    }

    #[test]
    fn anything_else_is_no_list() {
        for (row, map, list) in [
            ("nothing", json!(null), json!(null)),
            ("lists", json!([1]), json!([1])),
            (
                "texts inside",
                json!({"https://github.com/a/b": "x"}),
                json!({"custom_nodes": "x"}),
            ),
            (
                "a deep one",
                json!({"https://github.com/a/b": [[[["X"]]], {}]}),
                json!({}),
            ),
        ] {
            assert!(NodePacks::read(&map, &list).is_empty(), "{row}");
        }
    }
}
