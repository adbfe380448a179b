//! Which routes of ComfyUI take file names, uploads and workflows.
//!
//! Each route of ComfyUI is there twice, plainly and below `/api`. A custom node that calls its own
//! route `/api/x` has it at `/api/api/x` as well.

/// What a path is for, as far as it is guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// `/upload/image`, `/upload/mask`; `/upload/temp` is ComfyUI-Impact-Pack's.
    Upload,
    /// Uploads to newer versions: pictures and models alike, by what the form calls them.
    Assets,
    /// `POST /prompt`.
    Prompt,
    /// Files of a user's: names stand in the path and in the query.
    UserData(&'a str),
    /// Files of ComfyUI's folders: the rest of the path is a name.
    Files(&'a str),
    /// ComfyUI-Manager writes what it is told here into its configuration.
    Manager,
    Other,
}

impl<'a> Route<'a> {
    /// Of a path without its `/api`.
    pub fn of(path: &'a str) -> Self {
        match path {
            "/upload/image" | "/upload/mask" | "/upload/temp" => return Route::Upload,
            "/assets" | "/assets/" => return Route::Assets,
            "/prompt" => return Route::Prompt,
            _ => {}
        }
        let versioned = path.strip_prefix("/v2").unwrap_or(path);
        if let Some(rest) = below(versioned, "/userdata") {
            return Route::UserData(rest);
        }
        if [
            "/manager",
            "/customnode",
            "/snapshot",
            "/externalmodel",
            "/comfyui_manager",
        ]
        .iter()
        .any(|prefix| below(versioned, prefix).is_some())
        {
            return Route::Manager;
        }
        let files = [
            "/view",
            "/view_metadata",
            "/experiment/models",
            "/models",
            "/internal/files",
        ];
        match files.iter().find_map(|prefix| below(path, prefix)) {
            Some(rest) => Route::Files(rest),
            None => Route::Other,
        }
    }
}

/// What stands below `prefix`, or nothing where the path is `prefix` itself.
fn below<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(prefix)?;
    match rest.strip_prefix('/') {
        Some(rest) => Some(rest),
        None => rest.is_empty().then_some(rest),
    }
}

pub fn without_api(path: &str) -> &str {
    let mut path = path;
    while let Some(rest) = path
        .strip_prefix("/api")
        .filter(|rest| rest.starts_with('/'))
    {
        path = rest;
    }
    path
}

/// Whether this serves files that somebody has uploaded, whatever they are.
pub fn serves_files(path: &str) -> bool {
    let path = without_api(path);
    match Route::of(path) {
        Route::UserData(_) => true,
        Route::Files(_) => below(path, "/view").is_some(),
        Route::Other => is_content_of_an_asset(path),
        Route::Upload | Route::Assets | Route::Prompt | Route::Manager => false,
    }
}

/// `/assets/{id}/content`; what else is below `/assets` is ComfyUI's own page.
fn is_content_of_an_asset(path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let id = path.strip_prefix("/assets/");
    let id = id.and_then(|rest| rest.strip_suffix("/content"));
    id.is_some_and(|id| !id.is_empty() && !id.contains('/'))
}
