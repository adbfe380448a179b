//! What is asked for.

use serde_json::{Map, Value};

use super::super::arguments;
use crate::{comfy::sound, search::is_dense};

/// Of a request, as it goes to the LLM and into a prompt.
const MAX_REQUEST: usize = 2 << 10;
/// Quotation marks that people put around the words of a picture.
const QUOTES: [(char, char); 5] = [
    ('"', '"'),
    ('“', '”'),
    ('「', '」'),
    ('『', '』'),
    ('«', '»'),
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    pub keywords: Vec<String>,
    pub instruction: String,
}

impl Wish {
    pub fn read(arguments: &Map<String, Value>) -> Result<Self, String> {
        let named = ["instruction", "description", "query", "prompt", "name"];
        let wish = Self {
            keywords: arguments::texts(arguments, &["keywords"]),
            instruction: arguments::text(arguments, &named).unwrap_or_default(),
        };
        match wish.keywords.is_empty() && wish.instruction.is_empty() {
            true => Err(
                "say in \"instruction\" what the workflow should make: {\"keywords\": [\"text to image\"], \
                 \"instruction\": \"a portrait of a cat, 1024 by 1024\"}"
                    .into(),
            ),
            false => Ok(wish),
        }
    }

    pub fn chinese(&self) -> bool {
        is_dense(&self.instruction) || self.keywords.iter().any(|word| is_dense(word))
    }

    /// For the search.
    pub fn question(&self) -> String {
        match self.keywords.is_empty() {
            true => self.instruction.clone(),
            false => self.keywords.join(" "),
        }
    }

    /// For the LLM.
    pub fn request(&self) -> String {
        let mut out = self.instruction.clone();
        if !self.keywords.is_empty() {
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str("Keywords: ");
            out.push_str(&self.keywords.join(", "));
        }
        sound::text(&out, MAX_REQUEST)
    }

    /// The words of the picture, as far as they can be told without an LLM: what stands in quotation
    /// marks, else all that was said.
    pub fn words(&self) -> String {
        let quoted = QUOTES.iter().find_map(|(open, close)| {
            let (_, behind) = self.instruction.split_once(*open)?;
            let (inner, _) = behind.split_once(*close)?;
            (!inner.trim().is_empty()).then(|| inner.trim())
        });
        let words = match (quoted, self.instruction.is_empty()) {
            (Some(quoted), _) => quoted.to_owned(),
            (None, false) => self.instruction.clone(),
            (None, true) => self.keywords.join(", "),
        };
        sound::text(&words, MAX_REQUEST)
    }
}
