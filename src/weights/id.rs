//! Ids of models, and what stands for each in ModelScope's shape: an owner and a name, which the plugin
//! shows, joins with a slash and hands back.
//!
//! | model | owner | name |
//! |---|---|---|
//! | repository of Hugging Face | `hf--org` | `repo` |
//! | one file of it | `hf--org` | `repo~~split_files~.vae~.ae.safetensors` |
//! | version of a model of Civitai | `civitai--4384` | `dreamshaper~~128713` |
//! | file on this machine | `local--checkpoints` | `sd_xl_base_1.0.safetensors` |
//!
//! One text for one id and one id for one text. Text that no id writes is refused, so two texts never
//! mean the same model.

use std::fmt;

use super::{FilePath, Source};

const HUGGING_FACE: &str = "hf--";
const CIVITAI: &str = "civitai--";
const LOCAL: &str = "local--";
/// Between a repository or a slug and what is named inside.
const INSIDE: &str = "~~";
/// The plugin makes folders of these names.
const MAX_NAME: usize = 200;
const MAX_SLUG: usize = 60;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ModelId {
    Local {
        /// Of ComfyUI: `checkpoints`, `loras`.
        folder: String,
        path: FilePath,
    },
    HuggingFace {
        owner: String,
        repo: String,
        /// One file of the repository; absent: all its weights.
        file: Option<FilePath>,
    },
    Civitai {
        model: u64,
        /// From the model's name, for people to read; part of the id, and sent nowhere.
        slug: String,
        version: u64,
    },
}

impl ModelId {
    pub fn source(&self) -> Source {
        match self {
            ModelId::Local { .. } => Source::Local,
            ModelId::HuggingFace { .. } => Source::HuggingFace,
            ModelId::Civitai { .. } => Source::Civitai,
        }
    }

    /// Of Hugging Face; `None` for names that it would not give.
    pub fn hugging_face(id: &str, file: Option<FilePath>) -> Option<Self> {
        let (owner, repo) = id.split_once('/')?;
        let id = ModelId::HuggingFace {
            owner: owner.to_owned(),
            repo: repo.to_owned(),
            file,
        };
        id.is_writable().then_some(id)
    }

    pub fn civitai(model: u64, name: &str, version: u64) -> Self {
        ModelId::Civitai {
            model,
            slug: slug(name),
            version,
        }
    }

    pub fn local(folder: &str, path: FilePath) -> Option<Self> {
        let id = ModelId::Local {
            folder: folder.to_owned(),
            path,
        };
        id.is_writable().then_some(id)
    }

    pub fn owner(&self) -> String {
        match self {
            ModelId::Local { folder, .. } => format!("{LOCAL}{folder}"),
            ModelId::HuggingFace { owner, .. } => format!("{HUGGING_FACE}{owner}"),
            ModelId::Civitai { model, .. } => format!("{CIVITAI}{model}"),
        }
    }

    pub fn name(&self) -> String {
        match self {
            ModelId::Local { path, .. } => escape(path.as_str()),
            ModelId::HuggingFace { repo, file, .. } => match file {
                None => repo.clone(),
                Some(file) => format!("{repo}{INSIDE}{}", escape(file.as_str())),
            },
            ModelId::Civitai { slug, version, .. } => format!("{slug}{INSIDE}{version}"),
        }
    }

    /// Its page at the hub, for a person to open.
    pub fn page(&self) -> Option<String> {
        match self {
            ModelId::Local { .. } => None,
            ModelId::HuggingFace { owner, repo, .. } => {
                Some(format!("https://huggingface.co/{owner}/{repo}"))
            }
            ModelId::Civitai { model, version, .. } => Some(format!(
                "https://civitai.com/models/{model}?modelVersionId={version}"
            )),
        }
    }

    pub fn parse(owner: &str, name: &str) -> Option<Self> {
        if name.len() > MAX_NAME || owner.len() > MAX_NAME {
            return None;
        }
        let id = if let Some(owner) = owner.strip_prefix(HUGGING_FACE) {
            let (repo, file) = match name.split_once(INSIDE) {
                None => (name, None),
                Some((repo, file)) => (repo, Some(path(file)?)),
            };
            ModelId::HuggingFace {
                owner: owner.to_owned(),
                repo: repo.to_owned(),
                file,
            }
        } else if let Some(model) = owner.strip_prefix(CIVITAI) {
            let (slug, version) = name.split_once(INSIDE)?;
            ModelId::Civitai {
                model: number(model)?,
                slug: slug.to_owned(),
                version: number(version)?,
            }
        } else {
            ModelId::Local {
                folder: owner.strip_prefix(LOCAL)?.to_owned(),
                path: path(name)?,
            }
        };
        (id.is_writable() && id.owner() == owner && id.name() == name).then_some(id)
    }

    /// A number of its own, of at most 52 bits: the page keeps it as a double.
    pub fn number(&self) -> u64 {
        // FNV-1a; the 52 bits make a collision within one table of results unlikely, and it costs a tick
        // on the wrong row.
        let text = self.to_string();
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| {
            (hash ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        (hash >> 12).max(1)
    }

    fn is_writable(&self) -> bool {
        let plain = match self {
            ModelId::Local { folder, path } => {
                is_plain(folder, 64) && super::Format::of(path).is_some()
            }
            ModelId::HuggingFace { owner, repo, file } => {
                is_plain(owner, 96)
                    && is_plain(repo, 96)
                    && file.as_ref().is_none_or(|f| super::Format::of(f).is_some())
            }
            ModelId::Civitai {
                model,
                slug,
                version,
            } => *model > 0 && *version > 0 && is_plain(slug, MAX_SLUG),
        };
        plain && self.name().len() <= MAX_NAME
    }
}

/// `{owner}/{name}`.
impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner(), self.name())
    }
}

/// Names of hubs and folders: letters, digits, `-`, `_`, `.`; none that a path reads as another.
fn is_plain(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && !text.ends_with('.')
        && !text.contains("..")
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number < 1 << 53).then_some(number)
}

fn slug(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if out.len() >= MAX_SLUG {
            break;
        }
        match c {
            c if c.is_ascii_alphanumeric() => out.push(c),
            _ if out.is_empty() || out.ends_with('-') => {}
            _ => out.push('-'),
        }
    }
    let trimmed = out.trim_end_matches('-');
    if trimmed.is_empty() {
        "model".to_owned()
    } else {
        trimmed.to_owned()
    }
}

/// `/` becomes `~.`, what is not plain `~` and two hex digits.
fn escape(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for b in path.bytes() {
        match b {
            b'/' => out.push_str("~."),
            b if b.is_ascii_alphanumeric() || b"-_.".contains(&b) => out.push(char::from(b)),
            b => out.push_str(&format!("~{b:02x}")),
        }
    }
    out
}

fn path(escaped: &str) -> Option<FilePath> {
    let mut out = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.bytes();
    while let Some(b) = bytes.next() {
        if b != b'~' {
            out.push(b);
            continue;
        }
        match bytes.next()? {
            b'.' => out.push(b'/'),
            high => {
                let digits = [high, bytes.next()?];
                let digits = std::str::from_utf8(&digits).ok()?;
                out.push(u8::from_str_radix(digits, 16).ok()?);
            }
        }
    }
    FilePath::parse(&String::from_utf8(out).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> FilePath {
        FilePath::parse(path).unwrap()
    }

    #[test]
    fn every_id_has_one_text_and_every_text_one_id() {
        let hf = |id, path: Option<&str>| ModelId::hugging_face(id, path.map(file)).unwrap();
        for (id, text) in [
            (hf("Comfy-Org/flux1-dev", None), "hf--Comfy-Org/flux1-dev"),
            (
                hf("Comfy-Org/x_1.0", Some("split_files/vae/ae.safetensors")),
                "hf--Comfy-Org/x_1.0~~split_files~.vae~.ae.safetensors",
            ),
            (
                hf("o/r", Some("模 a~b.safetensors")),
                "hf--o/r~~~e6~a8~a1~20a~7eb.safetensors",
            ),
            (
                ModelId::civitai(4384, "DreamShaper: XL 梦", 128713),
                "civitai--4384/DreamShaper-XL~~128713",
            ),
            (ModelId::civitai(1, "真实", 2), "civitai--1/model~~2"),
            (
                ModelId::local("checkpoints", file("sd/xl.safetensors")).unwrap(),
                "local--checkpoints/sd~.xl.safetensors",
            ),
        ] {
            assert_eq!(id.to_string(), text);
            let (owner, name) = text.split_once('/').unwrap();
            assert_eq!(ModelId::parse(owner, name), Some(id.clone()), "{text}");
            assert!((1..1 << 52).contains(&id.number()));
        }
    }

    #[test]
    fn a_text_that_no_id_writes_is_refused() {
        for (row, owner, name) in [
            ("an owner of ModelScope", "InstantX", "SD3-Controlnet-Pose"),
            ("no name", "hf--org", ""),
            ("no owner", "hf--", "repo"),
            ("a climb", "hf--..", "repo"),
            ("a climb in the name", "hf--org", ".."),
            ("a climb in a file", "hf--org", "repo~~..~.x.safetensors"),
            ("a file that is no model", "hf--org", "repo~~config.json"),
            (
                "another way to write a letter",
                "hf--org",
                "repo~~~61.safetensors",
            ),
            ("upper-case hex", "hf--org", "repo~~a~2B.safetensors"),
            ("half an escape", "hf--org", "repo~~a.safetensors~2"),
            ("a slash", "hf--org/x", "repo"),
            ("a query", "hf--org", "repo?x=1"),
            ("a signed number", "civitai--+1", "a~~2"),
            ("a padded number", "civitai--01", "a~~2"),
            ("nothing", "civitai--0", "a~~2"),
            (
                "a number that no double holds",
                "civitai--1",
                "a~~9007199254740993",
            ),
            ("no version", "civitai--1", "a"),
            ("no folder", "local--", "x.safetensors"),
            ("a folder that climbs", "local--..", "x.safetensors"),
        ] {
            assert_eq!(ModelId::parse(owner, name), None, "{row}");
        }
        let long = "a".repeat(201);
        assert_eq!(ModelId::parse("hf--o", &long), None);
        assert_eq!(ModelId::hugging_face("gpt2", None), None);
        assert_eq!(ModelId::hugging_face("a/b/c", None), None);
    }

    #[test]
    fn numbers_of_different_ids_differ() {
        let ids: std::collections::BTreeSet<u64> = (1..2000)
            .map(|n| ModelId::civitai(n, "x", n + 1).number())
            .collect();
        assert_eq!(ids.len(), 1999);
    }
}
