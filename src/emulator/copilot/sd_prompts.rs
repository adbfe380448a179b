//! "AI Writing": variations of what a user wrote, as prompts for an image model (WIRE.md 18).
//!
//! By the user's own LLM; where it gives none, by three fixed styles, which are told apart in the audit
//! record. The page tries a failure three times and then shows words of its own, so there is none for
//! an LLM that is not there.

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::{BAD_REQUEST, CopilotResponder};
use crate::{
    emulator::{
        asking::{Cost, Question},
        fields::Fields,
        http::{failure, note, success},
        language::Language,
        prompts,
    },
    handler::{Exchange, LocalResponse},
    llm::structured::Shape,
};

/// Bytes of a description that are worked on, and of one prompt.
const MAX_TEXT: usize = 4 << 10;
const MAX_PROMPT: usize = 2 << 10;
const MOST: usize = 6;

/// What every image model understands, whatever the subject.
const STYLES: [&str; 3] = [
    "photograph, natural light, shallow depth of field, fine detail, sharp focus",
    "cinematic still, dramatic light, rich colours, wide angle, highly detailed",
    "digital illustration, clean lines, soft shading, harmonious colours, intricate detail",
];

#[derive(Deserialize)]
struct Said {
    prompts: Vec<String>,
}

impl CopilotResponder {
    pub(super) async fn sd_prompts(
        &self,
        fields: Option<Fields<'_>>,
        exchange: &Exchange,
        language: Language,
    ) -> LocalResponse {
        let text = fields.and_then(|f| f.read::<String>("text"));
        let text = text.map(|t| t.trim().to_owned());
        let Some(text) = text.filter(|t| !t.is_empty() && t.len() <= MAX_TEXT) else {
            note(exchange, "stand-in", "no text to write about");
            let words = BAD_REQUEST.in_language(language);
            return failure(StatusCode::BAD_REQUEST, words);
        };
        let question = Question {
            system: prompts::SD_PROMPTS.fill(&[]),
            user: text.clone(),
            cost: Cost::default(),
        };
        let shape = shape();
        let asked = self.asking.object(&question, &shape, exchange, usable);
        let written = match asked.await {
            Ok(written) => written,
            Err(why) => {
                note(
                    exchange,
                    "stand-in",
                    format!("prompts without an llm: {}", why.code()),
                );
                STYLES.map(|style| format!("{text}, {style}")).into()
            }
        };
        success(json!(written))
    }
}

fn shape() -> Shape {
    Shape {
        name: "prompts",
        schema: json!({
            "type": "object",
            "properties": {"prompts": {"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 3}},
            "required": ["prompts"],
            "additionalProperties": false,
        }),
    }
}

/// Lines that can stand in a node's text, each once.
fn usable(said: Said) -> Result<Vec<String>, String> {
    let mut out: Vec<String> = Vec::new();
    for prompt in said.prompts {
        let line = prompt.split_whitespace().collect::<Vec<_>>().join(" ");
        let fits = !line.is_empty() && line.len() <= MAX_PROMPT;
        if fits && !out.contains(&line) && out.len() < MOST {
            out.push(line);
        }
    }
    match out.is_empty() {
        true => Err("there is no prompt in it".into()),
        false => Ok(out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_lines_and_each_stands_once() {
        let said = |prompts: &[&str]| Said {
            prompts: prompts.iter().map(|p| (*p).to_owned()).collect(),
        };
        let long = "x".repeat(MAX_PROMPT + 1);
        for (row, given, want) in [
            ("as they are", vec!["a", "b"], Some(vec!["a", "b"])),
            ("over lines", vec![" a\n  b "], Some(vec!["a b"])),
            ("one twice", vec!["a", "a"], Some(vec!["a"])),
            ("an empty one among others", vec!["", "a"], Some(vec!["a"])),
            ("one without an end", vec![&long, "a"], Some(vec!["a"])),
            ("none", vec![], None),
            ("nothing but blanks", vec![" \n"], None),
        ] {
            assert_eq!(
                usable(said(&given)).ok().as_deref(),
                want.as_deref()
                    .map(|w| { w.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>() })
                    .as_deref(),
                "{row}"
            );
        }
        let many: Vec<String> = (0..50).map(|n| n.to_string()).collect();
        assert_eq!(usable(Said { prompts: many }).map(|p| p.len()), Ok(MOST));
    }
}
