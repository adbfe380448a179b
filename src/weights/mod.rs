//! What a model is, whoever has it: its id, its files, and what the hubs write about it. Pure.
//!
//! | file | what |
//! |---|---|
//! | [`id`] | ids, and the `{owner}/{name}` of ModelScope's shape that stands for each |
//! | [`file`](mod@file) | paths of files, formats, digests: what a hub says is data, and checked here |
//! | [`range`] | `Range` headers |
//! | [`hugging_face`], [`civitai`], [`comfyui`] | answers of the hubs and of ComfyUI, read |
//! | [`query`] | what a person typed, English or Chinese |
//!
//! Called by `models` and `emulator::model_scope`. It must never trust a name, a size or a path of a hub.

pub mod civitai;
pub mod comfyui;
pub mod file;
pub mod hugging_face;
pub mod id;
mod json;
pub mod query;
pub mod range;

use std::fmt;

pub use file::{File, FilePath, Format, Formats, Sha256};
pub use id::ModelId;
pub use query::Query;
pub use range::{ByteRange, RangeError};

/// Where models come from. Stable names: YAML, environment, metric label, log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// What is on this machine: ComfyUI's folders.
    Local,
    HuggingFace,
    Civitai,
}

impl Source {
    pub const ALL: [Source; 3] = [Source::Local, Source::HuggingFace, Source::Civitai];

    pub fn as_str(self) -> &'static str {
        match self {
            Source::Local => "local",
            Source::HuggingFace => "huggingface",
            Source::Civitai => "civitai",
        }
    }

    /// As a person calls it.
    pub fn title(self) -> &'static str {
        match self {
            Source::Local => "ComfyUI's own folders",
            Source::HuggingFace => "Hugging Face",
            Source::Civitai => "Civitai",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        let wanted = text.trim().to_ascii_lowercase();
        Self::ALL.into_iter().find(|s| s.as_str() == wanted)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One line of a search result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub id: ModelId,
    /// Seconds since 1970; 0 where nobody says.
    pub updated: i64,
    pub downloads: u64,
    /// Short words: kind, base model, folder.
    pub tags: Vec<String>,
}

/// A model, with the files that would be downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    pub summary: Summary,
    pub files: Vec<File>,
    /// Weights that are there and not offered, by format.
    pub held_back: Vec<Format>,
    /// The hub wants a login, and consent to its terms.
    pub gated: bool,
}

impl Details {
    pub fn total(&self) -> u64 {
        self.files
            .iter()
            .map(|f| f.size)
            .fold(0, u64::saturating_add)
    }
}

/// Tags beyond these say nothing that a table has room for.
const TAGS: usize = 8;
const TAG_CHARS: usize = 40;

/// A hub's words as a tag: one short line.
pub(crate) fn tag(text: &str) -> Option<String> {
    let line: String = text
        .chars()
        .filter(|c| !c.is_control())
        .take(TAG_CHARS)
        .collect();
    let line = line.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

pub(crate) fn tags<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for tag in words.into_iter().filter_map(tag) {
        if out.len() < TAGS && !out.contains(&tag) {
            out.push(tag);
        }
    }
    out
}
