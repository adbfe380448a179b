//! A picture for the chat, kept here (WIRE.md 16).

use base64::{Engine, engine::general_purpose::STANDARD};
use http::header;

use super::BAD_REQUEST;
use crate::{
    emulator::{language::Phrase, multipart, picture::PictureKind},
    handler::LocalRequest,
};

/// Largest picture that is turned into a data URL.
pub const MAX_PICTURE: usize = 20 << 20;

pub const NO_PICTURE: Phrase = Phrase {
    en: "The upload holds no picture: send a PNG, JPEG, WebP or GIF file.",
    zh: "上传内容不是图片：请使用 PNG、JPEG、WebP 或 GIF 文件。",
};
pub const PICTURE_TOO_LARGE: Phrase = Phrase {
    en: "The picture is too large: send one of at most 20 MiB.",
    zh: "图片过大：请使用不超过 20 MiB 的图片。",
};

/// The uploaded picture as a data URL, which the local LLM then gets as it is (WIRE.md 16). The
/// type is what the bytes are, whatever the form says: the page shows this URL as an image.
pub fn data_url(request: &LocalRequest) -> Result<String, Phrase> {
    let content_type = request
        .parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let parts = multipart::parse(content_type, &request.body).map_err(|_| BAD_REQUEST)?;
    let file = parts
        .iter()
        .find(|part| part.name == "file")
        .ok_or(NO_PICTURE)?;
    if file.content.len() > MAX_PICTURE {
        return Err(PICTURE_TOO_LARGE);
    }
    let kind = PictureKind::sniff(file.content).ok_or(NO_PICTURE)?;
    let mut url = format!("data:{};base64,", kind.mime());
    STANDARD.encode_string(file.content, &mut url);
    Ok(url)
}
