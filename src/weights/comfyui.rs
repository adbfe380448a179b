//! ComfyUI's lists of models (WIRE.md 23): `/models` names folders, `/experiment/models/{folder}` the files
//! of one with sizes, `/models/{folder}` the same by name alone, for older versions.

use serde_json::Value;

use super::{
    FilePath, Format, ModelId, Query, Summary,
    json::{number, text},
    tags,
};

const MAX_FOLDERS: usize = 64;
const MAX_FILES: usize = 20_000;

/// Code, not models.
const NO_MODELS: [&str; 2] = ["custom_nodes", "configs"];

/// A file of ComfyUI's folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    pub id: ModelId,
    /// Absent: an older ComfyUI does not say.
    pub size: Option<u64>,
    /// Seconds since 1970; 0 where nobody says.
    pub updated: i64,
}

impl Installed {
    pub fn new(folder: &str, path: FilePath, size: Option<u64>, updated: i64) -> Option<Self> {
        Some(Self {
            id: ModelId::local(folder, path)?,
            size,
            updated,
        })
    }

    /// `checkpoints/sd/xl.safetensors`.
    pub fn place(&self) -> String {
        place(&self.id)
    }

    pub fn summary(&self) -> Summary {
        let folder = match &self.id {
            ModelId::Local { folder, .. } => format!("in models/{folder}"),
            ModelId::HuggingFace { .. } | ModelId::Civitai { .. } => String::new(),
        };
        Summary {
            id: self.id.clone(),
            updated: self.updated,
            downloads: 0,
            tags: tags(["installed", folder.as_str()]),
        }
    }
}

/// Where a local model is, below ComfyUI's models folder.
pub fn place(id: &ModelId) -> String {
    match id {
        ModelId::Local { folder, path } => format!("{folder}/{path}"),
        ModelId::HuggingFace { .. } | ModelId::Civitai { .. } => id.to_string(),
    }
}

/// Names of folders. `None` where the answer is no list.
pub fn folders(answer: &Value) -> Option<Vec<String>> {
    let names = answer.as_array()?.iter().filter_map(Value::as_str);
    let plain = |name: &&str| {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        (1..=64).contains(&name.len()) && name.bytes().all(fine) && !name.starts_with('.')
    };
    Some(
        names
            .filter(plain)
            .filter(|n| !NO_MODELS.contains(n))
            .take(MAX_FOLDERS)
            .map(str::to_owned)
            .collect(),
    )
}

/// Files of one folder, by either list. `None` where the answer is no list.
pub fn files(folder: &str, answer: &Value) -> Option<Vec<Installed>> {
    let entries = answer.as_array()?.iter().take(MAX_FILES);
    let installed = entries.filter_map(|entry| {
        let name = entry.as_str().or_else(|| text(entry, "name"))?;
        // On Windows ComfyUI lists with its own separator.
        let path = FilePath::parse(&name.replace('\\', "/")).ok()?;
        Format::of(&path)?;
        let modified = entry.get("modified").and_then(Value::as_f64);
        // Nanoseconds where ComfyUI says `st_mtime_ns`, seconds elsewhere; a date is all that is shown.
        let seconds = modified.map_or(0, |m| if m > 1e12 { m / 1e9 } else { m } as i64);
        Installed::new(folder, path, number(entry, "size"), seconds)
    });
    Some(installed.collect())
}

/// Those that a query means, at most `most`.
pub fn find(all: &[Installed], query: &Query, most: usize) -> Vec<Summary> {
    all.iter()
        .filter(|i| query.matches(&i.place()))
        .take(most)
        .map(Installed::summary)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_lists_of_comfyui_are_read_and_odd_entries_left_out() {
        let folders = folders(&json!(["checkpoints", "custom_nodes", "../x", "", 3])).unwrap();
        assert_eq!(folders, ["checkpoints"]);
        let with_sizes = json!([
            {"name": "sd\\xl_base.safetensors", "pathIndex": 0, "size": 12, "modified": 1_700_000_000.5},
            {"name": "../../etc/x.safetensors"}, {"name": "notes.txt"}, 5,
        ]);
        let found = files("checkpoints", &with_sizes).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place(), "checkpoints/sd/xl_base.safetensors");
        assert_eq!((found[0].size, found[0].updated), (Some(12), 1_700_000_000));
        let names = files("vae", &json!(["ae.safetensors"])).unwrap();
        assert_eq!(names[0].id.to_string(), "local--vae/ae.safetensors");
        assert!(files("vae", &json!({})).is_none() && super::folders(&json!("x")).is_none());

        let query = Query::of("XL base").unwrap();
        let hits = find(&found, &query, 5);
        assert_eq!(hits[0].tags, ["installed", "in models/checkpoints"]);
        assert!(find(&names, &query, 5).is_empty());
    }
}
