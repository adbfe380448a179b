//! The shorter answers of ComfyUI: folders and files of models, saved workflows, the system.

use serde_json::Value;

use super::{
    catalogue::{LeftOut, Model},
    sound,
};

const MAX_FOLDERS: usize = 128;
const MAX_FILES: usize = 20_000;
const MAX_SAVED: usize = 2_000;

/// Folders of `/models` that hold no models.
const NO_MODELS: [&str; 2] = ["configs", "custom_nodes"];

/// Names of `/models`, each one segment of a path.
pub fn folders(answer: &Value, left_out: &mut LeftOut) -> Vec<String> {
    let mut out = Vec::new();
    for value in answer.as_array().map(Vec::as_slice).unwrap_or_default() {
        let name = value.as_str().and_then(sound::name);
        match name.filter(|n| !n.contains(['/', '\\']) && *n != "." && *n != "..") {
            Some(name) if NO_MODELS.contains(&name) => {}
            Some(name) if out.len() < MAX_FOLDERS => out.push(name.to_owned()),
            Some(_) | None => left_out.models += 1,
        }
    }
    out
}

/// Files of `/models/{folder}`; `room` is how many more may be kept in all.
pub fn files(folder: &str, answer: &Value, have: usize, left_out: &mut LeftOut) -> Vec<Model> {
    let mut out = Vec::new();
    for value in answer.as_array().map(Vec::as_slice).unwrap_or_default() {
        match value.as_str().and_then(sound::name) {
            Some(name) if have + out.len() < MAX_FILES => out.push(Model {
                folder: folder.to_owned(),
                name: name.to_owned(),
            }),
            Some(_) | None => left_out.models += 1,
        }
    }
    out
}

/// A file of the user's folder `workflows`.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedFile {
    pub path: String,
    pub size: u64,
    /// When it was written, as ComfyUI tells it; compared, never shown.
    pub modified: String,
}

/// The answer of `/userdata?dir=workflows&recurse=true&split=false&full_info=true`, newest first.
pub fn saved(answer: &Value, left_out: &mut LeftOut) -> Vec<SavedFile> {
    let mut out = Vec::new();
    for value in answer.as_array().map(Vec::as_slice).unwrap_or_default() {
        // Without full information it is the path alone.
        let path = value.as_str().or_else(|| value.get("path")?.as_str());
        let path = path.map(|p| p.replace('\\', "/"));
        let good = path.filter(|p| {
            let plain = |segment: &str| !segment.is_empty() && segment != "." && segment != "..";
            sound::name(p).is_some() && p.split('/').all(plain)
        });
        let Some(path) = good else {
            left_out.saved += 1;
            continue;
        };
        if !path.ends_with(".json") {
            continue;
        }
        let modified = value.get("modified");
        out.push((
            modified.and_then(Value::as_f64).unwrap_or(0.0),
            SavedFile {
                path,
                size: value.get("size").and_then(Value::as_u64).unwrap_or(0),
                modified: modified.map(Value::to_string).unwrap_or_default(),
            },
        ));
    }
    out.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    left_out.saved += out.len().saturating_sub(MAX_SAVED);
    out.into_iter().take(MAX_SAVED).map(|(_, f)| f).collect()
}

/// What tells one run of ComfyUI from another, as far as `/system_stats` does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    pub version: String,
    pub templates_version: String,
    pub python: String,
    pub arguments: Vec<String>,
    /// Names of its devices, the first one first.
    pub devices: Vec<String>,
}

impl System {
    pub fn read(answer: &Value) -> Self {
        let system = answer.get("system").unwrap_or(&Value::Null);
        let text = |key: &str| {
            let text = system.get(key).and_then(Value::as_str).unwrap_or("");
            sound::text(text, sound::MAX_NAME)
        };
        let texts = |value: Option<&Value>, key: Option<&str>| -> Vec<String> {
            let values = value.and_then(Value::as_array).into_iter().flatten();
            let named = values.filter_map(|v| match key {
                Some(key) => v.get(key)?.as_str(),
                None => v.as_str(),
            });
            named
                .take(64)
                .map(|t| sound::text(t, sound::MAX_NAME))
                .collect()
        };
        Self {
            version: text("comfyui_version"),
            templates_version: text("installed_templates_version"),
            python: text("python_version"),
            arguments: texts(system.get("argv"), None),
            devices: texts(answer.get("devices"), Some("name")),
        }
    }
}

/// How busy ComfyUI is, as `/queue` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    pub running: usize,
    pub pending: usize,
}

impl Queue {
    pub fn read(answer: &Value) -> Self {
        let count = |key: &str| {
            answer
                .get(key)
                .and_then(Value::as_array)
                .map_or(0, Vec::len)
        };
        Self {
            running: count("queue_running"),
            pending: count("queue_pending"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn folders_and_files_that_could_lead_elsewhere_are_left_out() {
        let mut left_out = LeftOut::default();
        let answer = json!([
            "checkpoints",
            "configs",
            "../etc",
            "a/b",
            "..",
            7,
            "loras",
            "x\n"
        ]);
        assert_eq!(folders(&answer, &mut left_out), ["checkpoints", "loras"]);
        assert_eq!(left_out.models, 5);
        assert!(folders(&json!({"a": 1}), &mut left_out).is_empty());
        let names = json!(["a.safetensors", null, "sub/b.ckpt"]);
        let found = files("loras", &names, 0, &mut left_out);
        let found: Vec<_> = found.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(found, ["a.safetensors", "sub/b.ckpt"]);
        assert!(files("loras", &names, MAX_FILES, &mut left_out).is_empty());
    }

    #[test]
    fn saved_workflows_come_newest_first_and_stay_below_their_folder() {
        let mut left_out = LeftOut::default();
        let answer = json!([
            {"path": "old.json", "size": 5, "modified": 1},
            {"path": "sub\\new.json", "size": 6, "modified": 2.5},
            {"path": "../../etc/passwd.json"},
            {"path": "/abs.json"},
            {"path": "picture.png"},
            "plain.json",
            null,
        ]);
        let paths: Vec<_> = saved(&answer, &mut left_out)
            .into_iter()
            .map(|f| f.path)
            .collect();
        assert_eq!(paths, ["sub/new.json", "old.json", "plain.json"]);
        assert_eq!(left_out.saved, 3);
    }

    #[test]
    fn a_system_is_known_by_what_does_not_change_while_it_runs() {
        let stats = |free: u64, version: &str| {
            System::read(&json!({
                "system": {"comfyui_version": version, "ram_free": free, "argv": ["main.py", 5]},
                "devices": [{"name": "cpu", "vram_free": free}, 3]
            }))
        };
        assert_eq!(stats(1, "0.3.64"), stats(2, "0.3.64"));
        assert_ne!(stats(1, "0.3.64"), stats(1, "0.3.65"));
        assert_eq!(System::read(&json!([])), System::default());
    }

    #[test]
    fn a_queue_is_counted() {
        let queue = Queue::read(&json!({"queue_running": [[1]], "queue_pending": [[2], [3]]}));
        assert_eq!((queue.running, queue.pending), (1, 2));
        assert_eq!(Queue::read(&json!({"queue_running": 5})), Queue::default());
    }
}
