//! `search_model`: files of models on this disk, and what the allowed sources offer.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{Answer, Failure, Run, ToolCaller, arguments, recall::worth};
use crate::{
    comfy::sound,
    comfyui::Knowledge,
    mcp::Tool,
    models::{Found, Library, Requester},
    search::What,
    weights::{ModelId, Query, Source, Summary},
};

const DEFAULT: usize = 10;
const MOST: usize = 30;

/// The disk as ComfyUI lists it first, then the sources that policy allows.
pub struct SearchModel {
    library: Arc<Library>,
}

impl SearchModel {
    pub fn new(library: Arc<Library>) -> Self {
        Self { library }
    }

    fn asks_hubs(&self) -> bool {
        self.library.sources().any(|s| s != Source::Local)
    }
}

#[async_trait]
impl Run for SearchModel {
    fn tool(&self) -> Tool {
        Tool {
            name: "search_model".into(),
            description:
                "Search model files: checkpoints, LoRAs, VAEs, ControlNets and others that are \
                          in this ComfyUI's model folders, and those that allowed sources offer."
                    .into(),
            input_schema: json!({
                "type": "object",
                "properties": {
                    "query": {"type": "string", "description": "Name or family of the model"},
                    "folder": {"type": "string", "description": "One folder only: checkpoints, loras, vae, controlnet"},
                    "limit": {"type": "integer", "description": "Most results, 1 to 30", "default": DEFAULT}
                },
                "required": ["query"]
            }),
        }
    }

    fn check(&self, arguments: &Map<String, Value>) -> Result<(), String> {
        question(arguments).map(drop)
    }

    /// A hub is not part of ComfyUI's state.
    fn keeps(&self) -> bool {
        !self.asks_hubs()
    }

    async fn run(
        &self,
        arguments: &Map<String, Value>,
        known: &Arc<Knowledge>,
        caller: &ToolCaller,
    ) -> Result<Answer, Failure> {
        let question = question(arguments).map_err(Failure)?;
        let folder = arguments::text(arguments, &["folder", "type"]);
        let limit = arguments::count(arguments, "limit", DEFAULT, MOST);
        let mut text = String::new();
        let mut data = Vec::new();
        let hits = known.index.search(&question, &[What::Model], 100);
        let models = known.catalogue.models();
        let local = worth(&hits)
            .filter_map(|hit| models.get(hit.at))
            .filter(|m| {
                folder
                    .as_ref()
                    .is_none_or(|f| m.folder.eq_ignore_ascii_case(f))
            })
            .take(limit);
        for model in local {
            text.push_str(&format!(
                "- {}/{} (on this disk)\n",
                model.folder, model.name
            ));
            data.push(json!({
                "name": model.name, "folder": model.folder, "source": "local disk",
                "url": "", "installed": true,
            }));
        }
        if data.is_empty() {
            text.push_str("No model file on this disk fits.\n");
        }
        let disk = data.len();
        let found = match Query::of(&question) {
            Some(query) => {
                let by = Requester(caller.exchange.client);
                self.library.search(&query, MOST, by).await
            }
            None => Found::default(),
        };
        for summary in found.summaries.iter() {
            if data.len() >= limit + disk {
                break;
            }
            let (line, card) = match &summary.id {
                // ComfyUI has listed it above, unless it is in a folder that ComfyUI does not look into.
                ModelId::Local { folder, path }
                    if known.catalogue.has_model(folder, path.as_str()) =>
                {
                    continue;
                }
                ModelId::Local { .. } | ModelId::HuggingFace { .. } | ModelId::Civitai { .. } => {
                    offered(summary, folder.as_deref())
                }
            };
            text.push_str(&line);
            data.push(card);
        }
        for (source, why) in &found.notes {
            // What ComfyUI lists stands above.
            if *source != Source::Local {
                text.push_str(&format!("{} gave nothing: {why}\n", source.title()));
            }
        }
        if !self.asks_hubs() {
            text.push_str(
                "Only this machine was searched: the user has allowed no other source of models.\n",
            );
        } else if found
            .summaries
            .iter()
            .all(|s| s.id.source() == Source::Local)
        {
            text.push_str("These are the models of this machine alone.\n");
        }
        Ok(Answer {
            text,
            ext: match data.is_empty() {
                true => Vec::new(),
                false => vec![json!({"type": "model", "data": data})],
            },
            data,
        })
    }
}

/// A line for the model and a card for the page.
fn offered(summary: &Summary, folder: Option<&str>) -> (String, Value) {
    let Summary {
        id,
        updated: _,
        downloads,
        tags,
    } = summary;
    let source = id.source();
    let name = sound::text(&id.name(), 200);
    let about = sound::text(&tags.join(", "), 200);
    let url = id.page().unwrap_or_default();
    let line = format!(
        "- {name} ({}, {downloads} downloads): {about} {url}\n",
        source.title()
    );
    let card = json!({
        "name": name, "folder": folder, "source": source.title(), "url": url,
        "description": about, "size": null, "installed": source == Source::Local,
        // As the model dialog names it: what it searches for, and downloads.
        "id": id.to_string(),
    });
    (line, card)
}

fn question(arguments: &Map<String, Value>) -> Result<String, String> {
    let texts = arguments::texts(arguments, &["query", "keywords", "name", "model_name"]);
    match texts.is_empty() {
        true => Err("say in \"query\" which model: {\"query\": \"sdxl base\"}".into()),
        false => Ok(texts.join(" ")),
    }
}
