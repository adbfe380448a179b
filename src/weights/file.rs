//! Files of models: a path that stays where it belongs, a format, a digest.

use std::fmt;

const MAX_PATH: usize = 400;
const MAX_SEGMENT: usize = 200;
const MAX_DEPTH: usize = 8;

/// A relative path with `/`, below whatever folder it is joined to, on any system.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilePath(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilePathError {
    #[error("path is empty or too long")]
    Length,
    #[error("path leaves its folder, or is not relative")]
    Leaves,
    #[error("path holds a character that some system reads as more than a letter")]
    Character,
}

impl FilePath {
    pub fn parse(text: &str) -> Result<Self, FilePathError> {
        if text.is_empty() || text.len() > MAX_PATH || text.split('/').count() > MAX_DEPTH {
            return Err(FilePathError::Length);
        }
        for segment in text.split('/') {
            if matches!(segment, "" | "." | "..") {
                return Err(FilePathError::Leaves);
            }
            if segment.len() > MAX_SEGMENT {
                return Err(FilePathError::Length);
            }
            // Trailing dots and spaces vanish on Windows; bidirectional marks hide an extension.
            let odd = |c: char| {
                c.is_control()
                    || r#"\:*?"<>|"#.contains(c)
                    || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
            };
            if segment.chars().any(odd)
                || segment.ends_with(['.', ' '])
                || segment.starts_with([' ', '~'])
            {
                return Err(FilePathError::Character);
            }
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    pub fn is_at_top(&self) -> bool {
        !self.0.contains('/')
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How weights are stored. Only formats that ComfyUI loads and the plugin moves to its folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// Numbers and nothing else.
    Safetensors,
    /// Python pickles: loading one can run what its author wrote.
    Ckpt,
    Pt,
    Pth,
    Bin,
}

impl Format {
    pub const ALL: [Format; 5] = [
        Format::Safetensors,
        Format::Ckpt,
        Format::Pt,
        Format::Pth,
        Format::Bin,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Format::Safetensors => "safetensors",
            Format::Ckpt => "ckpt",
            Format::Pt => "pt",
            Format::Pth => "pth",
            Format::Bin => "bin",
        }
    }

    /// By the extension, which is what ComfyUI goes by.
    pub fn of(path: &FilePath) -> Option<Self> {
        let (stem, extension) = path.name().rsplit_once('.')?;
        let extension = extension.to_ascii_lowercase();
        let known = Self::ALL.into_iter().find(|f| f.as_str() == extension);
        known.filter(|_| !stem.is_empty())
    }

    /// Loading it runs nothing.
    pub fn is_safe(self) -> bool {
        match self {
            Format::Safetensors => true,
            Format::Ckpt | Format::Pt | Format::Pth | Format::Bin => false,
        }
    }
}

/// The formats that may be offered: safe ones, and those that somebody allowed by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Formats {
    allowed: Vec<Format>,
}

impl Formats {
    pub fn with(allowed: Vec<Format>) -> Self {
        Self { allowed }
    }

    pub fn allow(&self, format: Format) -> bool {
        format.is_safe() || self.allowed.contains(&format)
    }
}

/// A digest, in lower-case hex.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sha256(String);

impl Sha256 {
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        hex.then(|| Self(text.to_ascii_lowercase()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One file that can be downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub path: FilePath,
    pub size: u64,
    /// Absent: the hub names none, and the size is all there is to compare.
    pub sha256: Option<Sha256>,
    pub format: Format,
    /// Origin-form target below the hub's endpoint; empty for what is here already.
    pub target: String,
}

/// Sorts files into those that are offered and the formats that are held back.
pub(super) fn offered(files: Vec<File>, formats: &Formats) -> (Vec<File>, Vec<Format>) {
    let (offered, held): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|f| formats.allow(f.format));
    let mut held: Vec<Format> = held.into_iter().map(|f| f.format).collect();
    held.sort_unstable();
    held.dedup();
    (offered, held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_its_folder_on_every_system() {
        for (row, text, good) in [
            ("a name", "model.safetensors", true),
            (
                "a folder and a name",
                "split_files/vae/ae.safetensors",
                true,
            ),
            ("blanks inside", "my model (v2).safetensors", true),
            ("chinese", "模型/真实.safetensors", true),
            ("empty", "", false),
            ("from the root", "/etc/passwd", false),
            ("up", "../model.safetensors", false),
            ("up in the middle", "a/../../model.safetensors", false),
            ("this folder", "./model.safetensors", false),
            ("an empty segment", "a//b.safetensors", false),
            ("a folder only", "a/", false),
            ("windows' separator", "..\\..\\model.safetensors", false),
            ("a drive", "C:/model.safetensors", false),
            ("a stream", "model.safetensors:evil", false),
            ("a line break", "a\nb.safetensors", false),
            ("a null", "a\0.safetensors", false),
            ("a trailing dot", "model.safetensors.", false),
            ("a home", "~/model.safetensors", false),
            ("text turned round", "model\u{202e}srosnetefas.pt", false),
            ("deep", "1/2/3/4/5/6/7/8/9.safetensors", false),
        ] {
            assert_eq!(FilePath::parse(text).is_ok(), good, "{row}");
        }
        assert!(FilePath::parse(&"a".repeat(201)).is_err());
        assert!(FilePath::parse(&"abc/".repeat(101)).is_err());
    }

    #[test]
    fn only_the_last_extension_counts_and_pickles_are_not_safe() {
        for (name, format, safe) in [
            ("a.safetensors", Some(Format::Safetensors), true),
            ("a.SafeTensors", Some(Format::Safetensors), true),
            ("a.safetensors.pt", Some(Format::Pt), false),
            ("a.ckpt", Some(Format::Ckpt), false),
            ("a.bin", Some(Format::Bin), false),
            ("a.pth", Some(Format::Pth), false),
            ("a.py", None, false),
            (".safetensors", None, false),
            ("safetensors", None, false),
        ] {
            let found = Format::of(&FilePath::parse(name).unwrap());
            assert_eq!(found, format, "{name}");
            assert_eq!(found.is_some_and(Format::is_safe), safe, "{name}");
        }
        let formats = Formats::with(vec![Format::Ckpt]);
        assert!(formats.allow(Format::Ckpt) && !formats.allow(Format::Pt));
        assert!(!Formats::default().allow(Format::Ckpt));
    }
}
