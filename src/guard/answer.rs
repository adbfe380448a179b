//! What ComfyUI's answers must not be for a browser: pages and scripts that somebody uploaded.
//!
//! ComfyUI serves files by their endings. Opened from its own origin, an uploaded page could do whatever
//! the user may (CVE-2024-10099, CVE-2026-56670, CVE-2026-56672).

use super::routes::serves_files;

/// What is done to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disarm {
    /// It is no file of a user's.
    Nothing,
    /// The browser must take it for what it says it is.
    Nosniff,
    /// A picture that can hold scripts: shown inside a page, downloaded otherwise, and never run.
    Picture,
    /// Downloaded.
    Download,
}

/// `nosniff` is sent with each of them.
pub const SANDBOX: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'";
pub const BYTES: &str = "application/octet-stream";

/// A Content-Disposition that downloads, with the name that ComfyUI gave.
pub fn attachment(said: Option<&str>) -> String {
    let named = said.and_then(|said| said.get(said.find("filename")?..));
    match named {
        Some(named) => format!("attachment; {named}"),
        None => "attachment".to_owned(),
    }
}

/// Of an answer to a request for `path` with this content type.
pub fn disarm(path: &str, content_type: Option<&str>) -> Disarm {
    if !serves_files(path) {
        return Disarm::Nothing;
    }
    let Some(kind) = content_type else {
        // Without a type a browser guesses, unless it is told not to; then it is bytes.
        return Disarm::Download;
    };
    let end = kind.find([';', ',']).unwrap_or(kind.len());
    let kind = kind
        .get(..end)
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match kind.as_str() {
        "image/svg+xml" => Disarm::Picture,
        kind if is_active(kind) => Disarm::Download,
        _ => Disarm::Nosniff,
    }
}

/// Types that a browser runs, or shows as a page.
fn is_active(kind: &str) -> bool {
    kind.ends_with("+xml")
        || kind.ends_with("/xml")
        || [
            "html",
            "javascript",
            "ecmascript",
            "jscript",
            "livescript",
            "x-shockwave",
            "java-",
        ]
        .iter()
        .any(|word| kind.contains(word))
        || matches!(
            kind,
            "text/xsl" | "application/wasm" | "multipart/x-mixed-replace" | ""
        )
}
