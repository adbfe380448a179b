//! Templates that ComfyUI ships, and what a workflow file uses.

use std::collections::BTreeSet;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use serde_json::Value;

use super::{catalogue::LeftOut, sound};

const MAX_TEMPLATES: usize = 5_000;
const MAX_TITLE: usize = 512;
const MAX_DESCRIPTION: usize = 4 << 10;
const MAX_TAGS: usize = 64;
/// Nodes of one workflow that are looked at, and files that it asks for.
const MAX_USED: usize = 5_000;
const MAX_FILES: usize = 256;
const MAX_NOTES: usize = 16 << 10;

/// One text in the two languages of the plugin's users; Chinese falls back to English.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    pub en: String,
    pub zh: String,
}

impl Words {
    pub fn either(&self, chinese: bool) -> &str {
        match chinese && !self.zh.is_empty() {
            true => &self.zh,
            false => &self.en,
        }
    }
}

/// One entry of `/templates/index.json`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Template {
    /// Of its files: `/templates/NAME.json`, `/templates/NAME-1.webp`.
    pub name: String,
    pub title: Words,
    pub description: Words,
    /// The group it stands in: `Image`, `Video API`.
    pub group: Words,
    pub tags: Vec<Words>,
    /// Families of models: `SDXL`, `Flux`.
    pub families: Vec<String>,
    /// `image`, `video`, `audio`, `3d`.
    pub media: String,
    /// Ending of its preview: `webp`; `mp3` has no picture.
    pub preview: String,
    /// It calls a paid service on the Internet.
    pub is_api: bool,
    /// What its workflow uses, once that has been read.
    pub uses: Option<Uses>,
}

impl Template {
    /// Path of its picture on ComfyUI's own origin, which is the page's; empty where it has none.
    pub fn picture(&self) -> String {
        match self.preview.as_str() {
            "webp" | "png" | "jpg" | "jpeg" | "gif" => {
                format!("/templates/{}-1.{}", segment(&self.name), self.preview)
            }
            _ => String::new(),
        }
    }

    /// Reads the index, with the Chinese one beside it where there is one.
    pub fn read_index(
        english: &Value,
        chinese: Option<&Value>,
        left_out: &mut LeftOut,
    ) -> Vec<Self> {
        let mut out: Vec<Self> = Vec::new();
        let mut seen = BTreeSet::new();
        for (at, group) in list(english).iter().enumerate() {
            let translated = chinese.and_then(|z| z.get(at));
            let group_title = words(group, translated, "title", MAX_TITLE);
            let closed = |text: &str| text.eq_ignore_ascii_case("CLOSED SOURCE MODELS");
            let is_api = group_title.en.ends_with(" API")
                || group
                    .get("category")
                    .and_then(Value::as_str)
                    .is_some_and(closed);
            for entry in list(group.get("templates").unwrap_or(&Value::Null)) {
                let name = entry.get("name").and_then(Value::as_str);
                let Some(name) = name
                    .and_then(file_stem)
                    .filter(|_| out.len() < MAX_TEMPLATES)
                else {
                    left_out.templates += 1;
                    continue;
                };
                // A template may stand in several groups.
                if !seen.insert(name.to_owned()) {
                    continue;
                }
                let zh = translated.and_then(|group| {
                    let same = |t: &&Value| t.get("name").and_then(Value::as_str) == Some(name);
                    list(group.get("templates")?).iter().find(same)
                });
                out.push(read_entry(name, entry, zh, &group_title, is_api));
            }
        }
        out
    }
}

fn read_entry(
    name: &str,
    entry: &Value,
    zh: Option<&Value>,
    group: &Words,
    is_api: bool,
) -> Template {
    let plain = |key: &str| {
        let text = entry.get(key).and_then(Value::as_str).unwrap_or("");
        sound::text(text, 32)
    };
    let texts = |of: &Value, key: &str| -> Vec<String> {
        let values = list(of.get(key).unwrap_or(&Value::Null)).iter();
        let texts = values.filter_map(Value::as_str);
        texts.take(MAX_TAGS).map(|t| sound::text(t, 128)).collect()
    };
    let translated = zh.map(|z| texts(z, "tags")).unwrap_or_default();
    let tags = texts(entry, "tags").into_iter().enumerate();
    let mut title = words(entry, zh, "title", MAX_TITLE);
    if title.en.is_empty() {
        title.en = name.to_owned();
    }
    Template {
        name: name.to_owned(),
        title,
        description: words(entry, zh, "description", MAX_DESCRIPTION),
        group: group.clone(),
        tags: tags
            .map(|(at, en)| Words {
                en,
                zh: translated.get(at).cloned().unwrap_or_default(),
            })
            .collect(),
        families: texts(entry, "models"),
        media: plain("mediaType"),
        preview: plain("mediaSubtype"),
        // Newer indexes say so for each entry.
        is_api: is_api || entry.get("openSource").and_then(Value::as_bool) == Some(false),
        uses: None,
    }
}

fn words(en: &Value, zh: Option<&Value>, key: &str, max: usize) -> Words {
    let read = |of: &Value| {
        let text = of.get(key).and_then(Value::as_str).unwrap_or("");
        sound::text(text, max).trim().to_owned()
    };
    Words {
        en: read(en),
        zh: zh.map(read).unwrap_or_default(),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// What stands in a segment of a path without an escape.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A name as one segment of a path.
pub fn segment(name: &str) -> PercentEncode<'_> {
    utf8_percent_encode(name, PLAIN)
}

/// A name that is one segment of a path and nothing else.
fn file_stem(name: &str) -> Option<&str> {
    sound::name(name).filter(|n| !n.starts_with('.') && !n.contains(['/', '\\', '?', '#', '%']))
}

/// A model file that a workflow asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelFile {
    /// Folder below `models`.
    pub folder: String,
    pub name: String,
    pub url: String,
}

/// What a workflow file uses, page-only nodes left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Classes, sorted, each once.
    pub classes: Vec<String>,
    pub files: Vec<ModelFile>,
    /// Text of its notes.
    pub notes: String,
}

/// Nodes of the page itself, which ComfyUI does not know (WIRE.md 14).
pub const PAGE_ONLY: [&str; 4] = ["MarkdownNote", "Note", "PrimitiveNode", "Reroute"];

impl Uses {
    /// Of a workflow in the page's form (with its subgraphs) or in the API's.
    pub fn of(workflow: &Value) -> Self {
        let mut classes = BTreeSet::new();
        let mut files = BTreeSet::new();
        let mut notes = String::new();
        let definitions = workflow.get("definitions").and_then(|d| d.get("subgraphs"));
        let subgraphs = list(definitions.unwrap_or(&Value::Null));
        let own: BTreeSet<&str> = subgraphs
            .iter()
            .filter_map(|s| s.get("id").and_then(Value::as_str))
            .collect();
        let graphs = std::iter::once(workflow).chain(subgraphs.iter().take(MAX_FILES));
        let page = graphs.flat_map(|g| list(g.get("nodes").unwrap_or(&Value::Null)));
        for node in page.take(MAX_USED) {
            let Some(class) = node.get("type").and_then(Value::as_str) else {
                continue;
            };
            if matches!(class, "MarkdownNote" | "Note") {
                let text = node.get("widgets_values").and_then(|w| w.get(0));
                if let Some(text) = text
                    .and_then(Value::as_str)
                    .filter(|_| notes.len() < MAX_NOTES)
                {
                    notes.push_str(&sound::text(text, MAX_NOTES - notes.len()));
                    notes.push('\n');
                }
            }
            if !PAGE_ONLY.contains(&class) && !own.contains(class) {
                classes.extend(sound::name(class).map(str::to_owned));
            }
            let models = node.get("properties").and_then(|p| p.get("models"));
            for model in list(models.unwrap_or(&Value::Null)) {
                if files.len() < MAX_FILES {
                    files.extend(model_file(model));
                }
            }
        }
        if let (None, Some(nodes)) = (workflow.get("nodes"), workflow.as_object()) {
            let api = nodes.values().take(MAX_USED);
            let named = api.filter_map(|n| n.get("class_type").and_then(Value::as_str));
            classes.extend(named.filter_map(sound::name).map(str::to_owned));
        }
        Self {
            classes: classes.into_iter().collect(),
            files: files.into_iter().collect(),
            notes,
        }
    }
}

fn model_file(value: &Value) -> Option<ModelFile> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).and_then(sound::name);
    let url = value.get("url").and_then(Value::as_str).unwrap_or("");
    Some(ModelFile {
        folder: text("directory")?.to_owned(),
        name: text("name")?.to_owned(),
        url: sound::text(url, 2 << 10),
    })
}

/// A workflow that the user saved.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedWorkflow {
    /// Below `workflows`, with `/`: `portraits/best.json`.
    pub path: String,
    pub uses: Uses,
}

impl SavedWorkflow {
    /// Its file's name without the ending.
    pub fn title(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        name.strip_suffix(".json").unwrap_or(name)
    }
}

#[cfg(test)]
mod tests;
