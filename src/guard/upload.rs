//! What a file that is uploaded may be, and what the fields beside it may say.
//!
//! [`super::form`] takes the form apart and asks here; [`super::picture`] knows files by their first bytes.

use super::{
    Refused,
    names::name_of_file,
    picture::{Kind, Size},
};
use crate::policy::Reason;

/// Fields that are names of files or folders.
pub const NAMES: [&str; 5] = ["subfolder", "filename", "path", "dir", "type"];
/// Of an asset: what it is for, and so where it is put. And its file, with a file name or without.
pub const TAGS: &str = "tags";
pub const ASSET: &str = "file";
/// A field that is JSON with such names in it (masks).
pub const REFERENCE: &str = "original_ref";

const PICTURES: [&str; 17] = [
    "png", "apng", "jpg", "jpeg", "jpe", "jfif", "webp", "gif", "bmp", "dib", "tif", "tiff",
    "avif", "heic", "exr", "hdr", "jxl",
];
/// Sound, video and 3D models, which the page uploads by the same route.
const MEDIA: [&str; 29] = [
    "mp4", "m4v", "mov", "webm", "mkv", "avi", "mpg", "mpeg", "ogv", "mp3", "wav", "flac", "ogg",
    "oga", "opus", "m4a", "aac", "aiff", "aif", "glb", "gltf", "obj", "stl", "fbx", "ply", "splat",
    "spz", "ksplat", "usdz",
];
/// Text and numbers that nothing runs.
const INERT: [&str; 8] = [
    "txt",
    "json",
    "csv",
    "srt",
    "vtt",
    "cube",
    "safetensors",
    "latent",
];

/// What is asked of the content of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    pub types: bool,
    pub pixels: Option<u64>,
}

/// A form that makes an asset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset {
    /// It may be a model.
    pub installs: bool,
}

/// What is asked of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Names lead nowhere else.
    pub names: bool,
    pub content: Option<Content>,
    pub asset: Option<Asset>,
}

/// In lower case, without its dot; empty where there is none.
pub fn ending(file: &str) -> String {
    let file = file.rsplit(['/', '\\']).next().unwrap_or_default();
    // Windows drops them.
    let file = file.trim_end_matches([' ', '.']);
    let ending = file.rsplit_once('.').map_or("", |(_, ending)| ending);
    ending.to_ascii_lowercase()
}

/// A field that is looked at, whole.
pub fn field(name: &str, value: &[u8]) -> Result<(), Refused> {
    let text = String::from_utf8_lossy(value);
    if name == TAGS {
        return no_model(&text);
    }
    if name != REFERENCE {
        return name_of_file(&text);
    }
    let Ok(reference) = serde_json::from_str::<serde_json::Value>(&text) else {
        return Err(Refused::unreadable("original_ref is no JSON"));
    };
    let names = ["filename", "subfolder", "type"].map(|key| reference.get(key));
    let mut names = names.into_iter().flatten().filter_map(|v| v.as_str());
    names.try_for_each(name_of_file)
}

/// Tags are a list in JSON, or with commas between them. One of a model says that it is one.
fn no_model(text: &str) -> Result<(), Refused> {
    let edge = |c: char| c.is_whitespace() || c.is_control();
    let text = text.trim_matches(edge);
    let tags: Vec<String> = match text.starts_with('[') {
        true => serde_json::from_str(text)
            .map_err(|_| Refused::unreadable("the tags of the asset are no list of texts"))?,
        false => text.split(',').map(str::to_owned).collect(),
    };
    let says_model = |tag: &String| tag.trim_matches(edge).eq_ignore_ascii_case("models");
    match tags.iter().any(says_model) {
        true => Err(Refused::new(
            Reason::GuardInstallRoutes,
            "uploading models is for admins",
        )),
        false => Ok(()),
    }
}

/// Whether a file with this ending may begin like that.
pub fn fits(ending: &str, kind: Kind) -> Result<(), Refused> {
    let refused = |words: String| Err(Refused::new(Reason::GuardUploadTypes, words));
    let runs = match kind {
        Kind::Active => Some("is a page or a script"),
        Kind::Pickle => Some("is a pickle, which runs when it is loaded"),
        Kind::Program => Some("is a program"),
        Kind::Archive if ending != "usdz" => Some("is an archive"),
        Kind::Archive | Kind::Picture | Kind::Media | Kind::Unknown => None,
    };
    if let Some(what) = runs {
        return refused(format!("the uploaded file {what}, by its content"));
    }
    if PICTURES.contains(&ending) {
        return match kind {
            Kind::Picture => Ok(()),
            _ => refused("the uploaded file is named like a picture, and is none".into()),
        };
    }
    if MEDIA.contains(&ending) || INERT.contains(&ending) {
        return Ok(());
    }
    match (ending, kind) {
        ("", Kind::Picture | Kind::Media) => Ok(()),
        ("", _) => refused("the uploaded file has no ending, and is neither picture, sound nor video".into()),
        _ => refused(
            "files with this ending are not uploaded here: pictures, sound, video, 3D models and plain text are"
                .into(),
        ),
    }
}

pub fn small_enough((width, height): Size, most: u64) -> Result<(), Refused> {
    match width.saturating_mul(height) > most {
        true => Err(Refused::new(
            Reason::GuardImagePixels,
            format!(
                "the picture announces {width} by {height}, front_door.guards.image_pixels allows {most}"
            ),
        )),
        false => Ok(()),
    }
}
