//! The picture on the card of a workflow that was made here: drawn when the page asks for it.
//!
//! `tools::generate` puts the address on the card; its key cannot be guessed, like the workflow's own.

use http::{Method, StatusCode};

use super::CopilotResponder;
use crate::{
    emulator::{
        drawing,
        http::{empty, note, svg},
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
        let drawn = made.and_then(|made| drawn(&made));
        let Some(drawn) = drawn else {
            note(exchange, "stand-in", "no such picture");
            return empty(StatusCode::NOT_FOUND);
        };
        note(exchange, "stand-in", "picture of a workflow");
        let body = match *method {
            Method::HEAD => Vec::new(),
            _ => drawn.into_bytes(),
        };
        svg(body.into())
    }
}

fn drawn(made: &Made) -> Option<String> {
    let prompt = Prompt::read(&made.workflow).ok()?;
    Some(drawing::svg(&prompt))
}
