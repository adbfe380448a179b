//! Civitai's API (developer.civitai.com): targets, and what comes back.
//!
//! `GET /api/v1/models?query=...`, `GET /api/v1/model-versions/{id}`, and files at
//! `/api/download/models/{version}?...`, which redirects to a signed address of a store, or to a login.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{
    Details, File, FilePath, Format, Formats, ModelId, Query, Sha256, Summary,
    file::offered,
    json::{list, number, text, time},
    tags,
};

const SEARCHED: usize = 20;
const MAX_FILES: usize = 64;
const DOWNLOAD: &str = "/api/download/models/";
const MAX_HEAVY: f64 = 4_398_046_511_104.0;

pub fn search_target(query: &Query) -> String {
    let text = query.text();
    let text = utf8_percent_encode(&text, NON_ALPHANUMERIC);
    format!("/api/v1/models?query={text}&limit={SEARCHED}&nsfw=false")
}

pub fn details_target(version: u64) -> String {
    format!("/api/v1/model-versions/{version}")
}

/// What a file's size is known by: in exact bytes, or as a number of kilobytes that was rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    Exact(u64),
    About(u64),
}

impl Size {
    /// Kilobytes of 1024 bytes with a fraction; a double holds every real size exactly.
    fn of(kilobytes: f64) -> Option<Self> {
        let bytes = kilobytes * 1024.0;
        if !(1.0..MAX_HEAVY).contains(&bytes) {
            return None;
        }
        // In range, so nothing is cut off but the fraction.
        let whole = bytes.round() as u64;
        Some(match (bytes - bytes.round()).abs() < 1e-6 {
            true => Size::Exact(whole),
            false => Size::About(whole),
        })
    }

    pub fn bytes(self) -> u64 {
        match self {
            Size::Exact(bytes) | Size::About(bytes) => bytes,
        }
    }

    /// Whether a size that the store names is this one.
    pub fn may_be(self, bytes: u64) -> bool {
        match self {
            Size::Exact(exact) => exact == bytes,
            Size::About(about) => about.abs_diff(bytes) <= 1024,
        }
    }
}

/// The newest version of each model with a file that may be offered. `None` where the answer is no list.
pub fn search(answer: &Value, formats: &Formats) -> Option<Vec<Summary>> {
    answer.get("items")?.as_array()?;
    let found = list(answer, "items").take(SEARCHED).filter_map(|model| {
        list(model, "modelVersions")
            .take(8)
            .find_map(|version| line(model, version, formats))
    });
    Some(found.collect())
}

fn line(model: &Value, version: &Value, formats: &Formats) -> Option<Summary> {
    let (files, _) = offered(files(version).map(|(f, _)| f).collect(), formats);
    files.first()?;
    let name = text(model, "name").unwrap_or_default();
    let id = ModelId::civitai(positive(model)?, name, positive(version)?);
    Some(summary(id, text(model, "type"), version))
}

fn positive(value: &Value) -> Option<u64> {
    number(value, "id").filter(|id| *id > 0 && *id < 1 << 53)
}

fn summary(id: ModelId, kind: Option<&str>, version: &Value) -> Summary {
    let folder = kind.and_then(folder);
    let words = [Some("Civitai"), kind, text(version, "baseModel"), folder];
    Summary {
        id,
        updated: time(version, "updatedAt")
            .or_else(|| time(version, "publishedAt"))
            .or_else(|| time(version, "createdAt"))
            .unwrap_or(0),
        downloads: version
            .get("stats")
            .and_then(|s| number(s, "downloadCount"))
            .unwrap_or(0),
        tags: tags(words.into_iter().flatten()),
    }
}

/// Where ComfyUI looks for a model of this type.
fn folder(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "Checkpoint" => "for models/checkpoints",
        "LORA" | "LoCon" | "DoRA" => "for models/loras",
        "TextualInversion" => "for models/embeddings",
        "Hypernetwork" => "for models/hypernetworks",
        "Controlnet" => "for models/controlnet",
        "VAE" => "for models/vae",
        "Upscaler" => "for models/upscale_models",
        _ => return None,
    })
}

/// The version with its one file: the primary one where it may be offered, else the first that may.
/// `None` where the answer is not this version.
pub fn details(id: &ModelId, answer: &Value, formats: &Formats) -> Option<(Details, Option<Size>)> {
    let ModelId::Civitai { model, version, .. } = id else {
        return None;
    };
    let owner = number(answer, "modelId").is_none_or(|owner| owner == *model);
    if positive(answer)? != *version || !owner {
        return None;
    }
    let sized: Vec<(File, Size)> = files(answer).collect();
    let (files, held_back) = offered(sized.iter().map(|(f, _)| f.clone()).collect(), formats);
    let file = files.into_iter().next();
    let size = file.as_ref().and_then(|file| {
        let same = sized.iter().find(|(f, _)| f == file);
        same.map(|(_, size)| *size)
    });
    let kind = answer.get("model").and_then(|m| text(m, "type"));
    let details = Details {
        summary: summary(id.clone(), kind, answer),
        files: file.into_iter().collect(),
        held_back,
        gated: false,
    };
    Some((details, size))
}

/// Weights of a version, the primary file first. Training data and configurations are left out.
fn files(version: &Value) -> impl Iterator<Item = (File, Size)> {
    let mut all: Vec<&Value> = list(version, "files").take(MAX_FILES).collect();
    all.sort_by_key(|f| f.get("primary").and_then(Value::as_bool) != Some(true));
    let found: Vec<_> = all.into_iter().filter_map(file).collect();
    found.into_iter()
}

fn file(entry: &Value) -> Option<(File, Size)> {
    if !matches!(
        text(entry, "type"),
        Some("Model" | "Pruned Model" | "VAE" | "Negative") | None
    ) {
        return None;
    }
    let path = FilePath::parse(text(entry, "name")?).ok()?;
    let format = Format::of(&path).filter(|_| path.is_at_top())?;
    let size = Size::of(entry.get("sizeKB")?.as_f64()?)?;
    let file = File {
        target: target_of(text(entry, "downloadUrl")?)?,
        sha256: entry
            .get("hashes")
            .and_then(|h| text(h, "SHA256"))
            .and_then(Sha256::parse),
        size: size.bytes(),
        path,
        format,
    };
    Some((file, size))
}

/// The target of a download link, whatever host it names: it is asked for at the endpoint.
fn target_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let target = rest.get(rest.find('/')?..)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let version = path.strip_prefix(DOWNLOAD)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"=&%+-_.".contains(&b);
    let fine = !version.is_empty()
        && version.bytes().all(|b| b.is_ascii_digit())
        && target.len() <= 512
        && query.bytes().all(plain);
    fine.then(|| target.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(name: &str, primary: bool) -> Value {
        json!({"name": name, "type": "Model", "sizeKB": 4.5, "primary": primary,
               "metadata": {"format": "SafeTensor"}, "hashes": {"SHA256": "AB".repeat(32)},
               "downloadUrl": "https://civitai.com/api/download/models/22?type=Model&format=SafeTensor"})
    }

    #[test]
    fn search_gives_the_newest_version_that_may_be_offered() {
        let answer = json!({"items": [
            {"id": 1, "name": "Dream Shaper", "type": "Checkpoint", "modelVersions": [
                {"id": 23, "files": [entry("a.ckpt", true)]},
                {"id": 22, "baseModel": "SDXL 1.0", "publishedAt": "2024-01-02T03:04:05.000Z",
                 "stats": {"downloadCount": 9}, "files": [entry("a.safetensors", true)]}]},
            {"id": 2, "name": "only a pickle", "type": "LORA", "modelVersions": [
                {"id": 24, "files": [entry("a.pt", true)]}]},
            {"id": -3, "name": "x", "modelVersions": [{"id": 1, "files": [entry("a.safetensors", true)]}]},
            {"name": 4}, null,
        ], "metadata": {}});
        let found = search(&answer, &Formats::default()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].id.to_string(), "civitai--1/Dream-Shaper~~22");
        assert_eq!((found[0].downloads, found[0].updated), (9, 1_704_164_645));
        assert_eq!(
            found[0].tags,
            [
                "Civitai",
                "Checkpoint",
                "SDXL 1.0",
                "for models/checkpoints"
            ]
        );
        assert_eq!(search(&json!([]), &Formats::default()), None);
    }

    #[test]
    fn details_offer_the_primary_file_and_know_its_size() {
        let id = ModelId::parse("civitai--1", "x~~22").unwrap();
        let answer = json!({"id": 22, "modelId": 1, "model": {"type": "LORA"}, "files": [
            entry("second.safetensors", false), entry("x.ckpt", false),
            entry("first.safetensors", true)]});
        let (details, size) = super::details(&id, &answer, &Formats::default()).unwrap();
        let names: Vec<_> = details.files.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(names, ["first.safetensors"]);
        assert_eq!(size, Some(Size::Exact(4608)));
        assert_eq!(details.held_back, [Format::Ckpt]);
        assert_eq!(
            details.files[0].target,
            "/api/download/models/22?type=Model&format=SafeTensor"
        );
        let other = json!({"id": 22, "modelId": 7, "files": []});
        assert!(super::details(&id, &other, &Formats::default()).is_none());
    }

    #[test]
    fn a_rounded_size_is_known_to_be_one() {
        for (kilobytes, want) in [
            (4.0, Some(Size::Exact(4096))),
            (6_775_468.298_828_125, Some(Size::Exact(6_938_079_538))),
            (6_775_430.35, Some(Size::About(6_938_040_678))),
            (0.0, None),
            (-1.0, None),
            (f64::NAN, None),
            (1e300, None),
        ] {
            assert_eq!(Size::of(kilobytes), want, "{kilobytes}");
        }
        assert!(Size::About(10_000).may_be(10_500) && !Size::About(10_000).may_be(12_000));
    }

    #[test]
    fn a_download_link_leads_to_the_endpoint_and_nowhere_else() {
        for (url, want) in [
            (
                "https://civitai.com/api/download/models/1",
                Some("/api/download/models/1"),
            ),
            (
                "https://evil.test/api/download/models/1?fp=fp16",
                Some("/api/download/models/1?fp=fp16"),
            ),
            ("https://civitai.com/api/download/models/1/../../x", None),
            ("https://civitai.com/api/v1/me", None),
            ("https://civitai.com/api/download/models/", None),
            ("https://civitai.com/api/download/models/1?u=http://x", None),
            ("/api/download/models/1", None),
        ] {
            assert_eq!(target_of(url).as_deref(), want, "{url}");
        }
    }
}
