//! The picture on the card of a workflow that was made here: drawn when the page asks for it.
//!
//! `tools::generate` puts the address on the card; its key cannot be guessed, like the workflow's own.

use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use super::CopilotResponder;
use crate::{
    emulator::{
        drawing,
        http::{empty, note, with_type},
        made::{Made, key_of_picture},
    },
    handler::{Exchange, LocalResponse},
    workflow::Prompt,
};

impl CopilotResponder {
    pub(super) fn picture(
        &self,
        path: &str,
        method: &Method,
        exchange: &Exchange,
    ) -> LocalResponse {
        let made = key_of_picture(path).and_then(|key| self.made.find(key));
        let svg = made.and_then(|made| drawn(&made));
        let Some(svg) = svg else {
            note(exchange, "stand-in", "no such picture");
            return empty(StatusCode::NOT_FOUND);
        };
        note(exchange, "stand-in", "picture of a workflow");
        let body = match *method {
            Method::HEAD => Vec::new(),
            _ => svg.into_bytes(),
        };
        let mut response = with_type(StatusCode::OK, "image/svg+xml", body.into());
        let headers = response.headers_mut();
        for (name, value) in [
            // What stands behind a key does not change.
            (header::CACHE_CONTROL, "private, max-age=3600"),
            // Opened as a page of its own it may load and run nothing.
            (
                header::CONTENT_SECURITY_POLICY,
                "default-src 'none'; sandbox",
            ),
            // Without the front door the page is of another origin.
            (
                HeaderName::from_static("cross-origin-resource-policy"),
                "cross-origin",
            ),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

fn drawn(made: &Made) -> Option<String> {
    let prompt = Prompt::read(&made.workflow).ok()?;
    Some(drawing::svg(&prompt))
}
