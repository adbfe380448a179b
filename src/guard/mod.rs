//! Input guards for ComfyUI's own API at the front door: each a named rule that can be turned off
//! (`front_door.guards`, docs/GUARDS.md).
//!
//! `proxy::outgoing` asks [`Guards::head`] before a request is sent on to ComfyUI, and hands every piece
//! of the body to the [`Watch`] it gets, before that piece is sent; [`answer`] says what an answer must
//! not be for the browser. [`routes`] knows ComfyUI's routes, [`names`] what no file name may be,
//! [`install`] who installs, [`form`] and [`picture`] look into uploads, [`upload`] says what they may be, [`prompt`]
//! looks into workflows.
//!
//! Nothing is held but a bounded window: an upload of gigabytes streams. What a guard cannot read in the
//! one way that ComfyUI reads it (codings, charsets, odd forms) is refused. Everything here is pure.

pub mod answer;
mod form;
mod install;
mod names;
mod picture;
mod prompt;
mod routes;
mod upload;

use http::{HeaderMap, Method, header};

use crate::{policy::Reason, token::Role};

pub use prompt::PromptBounds;
pub use routes::serves_files;

use form::Form;
use names::Query;
use prompt::Prompt;
use routes::Route;

/// What is guarded. `None` and `false` are off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guards {
    pub traversal: bool,
    pub upload_types: bool,
    /// Of a picture, by what its header says.
    pub image_pixels: Option<u64>,
    pub prompt: Option<PromptBounds>,
    pub code_nodes: bool,
    pub install_routes: bool,
    pub manager_files: bool,
    pub active_content: bool,
}

/// 16384 by 16384.
pub const IMAGE_PIXELS: u64 = 1 << 28;

impl Default for Guards {
    fn default() -> Self {
        Self {
            traversal: true,
            upload_types: true,
            image_pixels: Some(IMAGE_PIXELS),
            prompt: Some(PromptBounds::default()),
            code_nodes: true,
            install_routes: true,
            manager_files: true,
            active_content: true,
        }
    }
}

/// Why a request does not reach ComfyUI. The words hold nothing that a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub reason: Reason,
    pub words: String,
}

impl Refused {
    fn new(reason: Reason, words: impl Into<String>) -> Self {
        let words = words.into();
        Self { reason, words }
    }

    fn unreadable(words: &str) -> Self {
        Self::new(Reason::GuardUnreadable, words)
    }
}

/// What is known of a request before its body comes.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub method: &'a Method,
    /// Canonical.
    pub path: &'a str,
    /// Behind the '?', raw.
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    /// `None`: nobody has to log in, and whoever asks owns this machine.
    pub role: Option<Role>,
}

impl Asked<'_> {
    fn is_admin(&self) -> bool {
        match self.role {
            None | Some(Role::Admin) => true,
            Some(Role::User | Role::Viewer) => false,
        }
    }
}

/// Looks at a body as it passes.
#[derive(Debug)]
pub enum Watch {
    /// Nothing in it is of interest.
    Nothing,
    Form(Box<Form>),
    Prompt(Box<Prompt>),
}

impl Watch {
    /// The same body comes again, from its beginning.
    pub fn again(&mut self) {
        match self {
            Watch::Nothing => {}
            Watch::Form(form) => form.again(),
            Watch::Prompt(prompt) => prompt.again(),
        }
    }

    /// The next piece, before it is sent on; `last` with the end of the body.
    pub fn push(&mut self, piece: &[u8], last: bool) -> Result<(), Refused> {
        match self {
            Watch::Nothing => Ok(()),
            Watch::Form(form) => form.push(piece, last),
            Watch::Prompt(prompt) => prompt.push(piece),
        }
    }
}

impl Guards {
    pub const OFF: Self = Self {
        traversal: false,
        upload_types: false,
        image_pixels: None,
        prompt: None,
        code_nodes: false,
        install_routes: false,
        manager_files: false,
        active_content: false,
    };

    /// Judges a request by its head.
    pub fn head(&self, asked: &Asked<'_>) -> Result<Watch, Refused> {
        let path = routes::without_api(asked.path);
        let route = Route::of(path);
        let query = Query::of(asked.query);
        if self.install_routes
            && !asked.is_admin()
            && install::changes_the_machine(asked.method, path, &query)
        {
            let words =
                "installing models and nodes, and what ComfyUI-Manager changes, is for admins";
            return Err(Refused::new(Reason::GuardInstallRoutes, words));
        }
        if self.traversal {
            names::judge(route, path, &query)?;
        }
        if self.manager_files {
            names::of_the_manager(route, path, &query)?;
        }
        self.watch(asked, route)
    }

    /// What to look for in the body.
    fn watch(&self, asked: &Asked<'_>, route: Route<'_>) -> Result<Watch, Refused> {
        if matches!(*asked.method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(Watch::Nothing);
        }
        let reads_prompt = self.prompt.is_some() || self.code_nodes || self.traversal;
        if route == Route::Prompt && reads_prompt {
            readable(asked.headers)?;
            let prompt = Prompt::new(*self, asked.is_admin());
            return Ok(Watch::Prompt(Box::new(prompt)));
        }
        let is_asset = route == Route::Assets;
        let is_upload = is_asset || route == Route::Upload;
        let looks_inside = is_upload && (self.upload_types || self.image_pixels.is_some());
        let asset = is_asset.then_some(upload::Asset {
            installs: !self.install_routes || asked.is_admin(),
        });
        let refuses_models = asset.is_some_and(|asset| !asset.installs);
        if !(self.traversal || looks_inside || refuses_models) {
            return Ok(Watch::Nothing);
        }
        let Some(kind) = sole(asked.headers, &header::CONTENT_TYPE)? else {
            return Ok(Watch::Nothing);
        };
        if !form::is_form(kind) {
            return Ok(Watch::Nothing);
        }
        readable(asked.headers)?;
        let content = looks_inside.then_some(upload::Content {
            types: self.upload_types,
            pixels: self.image_pixels,
        });
        let wanted = upload::Wanted {
            names: self.traversal,
            content,
            asset,
        };
        Ok(Watch::Form(Box::new(Form::new(kind, wanted)?)))
    }
}

/// ComfyUI's server decodes codings by itself, and text by the charset that is named.
fn readable(headers: &HeaderMap) -> Result<(), Refused> {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut codings = codings.map(|v| v.as_bytes().trim_ascii());
    if !codings.all(|coding| coding.eq_ignore_ascii_case(b"identity")) {
        return Err(Refused::unreadable("the body is encoded; send it as it is"));
    }
    let Some(kind) = sole(headers, &header::CONTENT_TYPE)? else {
        return Ok(());
    };
    match is_utf8(kind) {
        true => Ok(()),
        false => Err(Refused::unreadable(
            "the body has a charset of its own; send it as UTF-8",
        )),
    }
}

/// Whether a content type names no charset, or this one.
fn is_utf8(kind: &str) -> bool {
    let lower = kind.to_ascii_lowercase();
    let mut named = lower.match_indices("charset").map(|(at, word)| {
        let rest = lower
            .get(at + word.len()..)
            .unwrap_or_default()
            .trim_start();
        let value = rest.strip_prefix('=').unwrap_or_default().trim_start();
        let end = value.find(';').unwrap_or(value.len());
        value
            .get(..end)
            .unwrap_or_default()
            .trim()
            .trim_matches('"')
            .to_owned()
    });
    named.all(|name| matches!(name.as_str(), "utf-8" | "utf8" | "us-ascii" | "ascii"))
}

/// The value of a header that may be there once.
fn sole<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> Result<Option<&'h str>, Refused> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value
            .to_str()
            .map(Some)
            .map_err(|_| Refused::unreadable("the content type is not text")),
        (Some(_), Some(_)) => Err(Refused::unreadable("there is more than one content type")),
    }
}

#[cfg(test)]
mod tests;
