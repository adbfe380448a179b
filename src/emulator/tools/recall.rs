//! `recall_workflow`: templates and saved workflows that fit, as cards.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{Answer, Failure, Run, ToolCaller, arguments, cards};
use crate::{
    comfyui::Knowledge,
    front_door::RECALLS,
    mcp::Tool,
    search::{Hit, What, is_dense},
};

const MOST: usize = 6;
/// What scores less than this share of the best is no answer to the question.
const WORTH: f32 = 0.35;

pub struct RecallWorkflow;

#[async_trait]
impl Run for RecallWorkflow {
    fn tool(&self) -> Tool {
        Tool {
            name: RECALLS.into(),
            description:
                "Find existing ComfyUI workflows: templates shipped with this ComfyUI and \
                          workflows the user saved. Returns workflow cards."
                    .into(),
            // The shape that the vendor's tool was called with (WIRE.md 4.1).
            input_schema: json!({
                "type": "object",
                "properties": {
                    "keywords": {
                        "type": "array",
                        "items": {"type": "string"},
                        "description": "What the workflow does, and models or nodes it uses"
                    },
                    "name": {"type": "string", "description": "Name of the workflow, if known"},
                    "description": {"type": "string", "description": "What the user wants, in one sentence"}
                },
                "required": ["keywords"]
            }),
        }
    }

    fn check(&self, arguments: &Map<String, Value>) -> Result<(), String> {
        question(arguments).map(drop)
    }

    async fn run(
        &self,
        arguments: &Map<String, Value>,
        known: &Arc<Knowledge>,
        _: &ToolCaller,
    ) -> Result<Answer, Failure> {
        let question = question(arguments).map_err(Failure)?;
        let chinese = is_dense(&question);
        let kinds = [What::Template, What::Saved];
        let hits = known.index.search(&question, &kinds, MOST);
        let catalogue = &known.catalogue;
        let found: Vec<cards::Card> = worth(&hits)
            .filter_map(|hit| match hit.what {
                What::Template => catalogue
                    .templates()
                    .get(hit.at)
                    .map(|t| cards::template(catalogue, t, chinese)),
                What::Saved => catalogue
                    .saved()
                    .get(hit.at)
                    .map(|s| cards::saved(catalogue, s, chinese)),
                What::Node | What::Model => None,
            })
            .collect();
        if found.is_empty() {
            let text = "No template and no saved workflow fits. Try other keywords, in English: what it \
                        makes (image, video, audio, 3D), and the model (SDXL, Flux, Wan).";
            return Ok(Answer {
                text: text.into(),
                ..Answer::default()
            });
        }
        let lines: Vec<&str> = found.iter().map(|card| card.line.as_str()).collect();
        let data: Vec<Value> = found.iter().map(|card| card.json.clone()).collect();
        Ok(Answer {
            text: format!(
                "{} workflows of this ComfyUI fit; the user sees them as cards and can load them:\n{}",
                found.len(),
                lines.join("\n")
            ),
            ext: vec![json!({"type": "workflow", "data": data})],
            data,
        })
    }
}

fn question(arguments: &Map<String, Value>) -> Result<String, String> {
    let texts = arguments::texts(arguments, &["keywords", "name", "description", "query"]);
    match texts.is_empty() {
        true => Err(
            "say in \"keywords\" what the workflow should do: {\"keywords\": [\"image to video\"]}"
                .into(),
        ),
        false => Ok(texts.join(" ")),
    }
}

/// The results that are not far behind the best.
pub(super) fn worth(hits: &[Hit]) -> impl Iterator<Item = &Hit> {
    let best = hits.first().map_or(0.0, |hit| hit.score);
    hits.iter().filter(move |hit| hit.score >= best * WORTH)
}
