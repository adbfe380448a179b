//! `search_model`: files of models on this disk, and what the allowed sources offer.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::join_all;
use serde_json::{Map, Value, json};

use super::{Answer, Failure, Run, ToolCaller, arguments, recall::worth};
use crate::{comfy::sound, comfyui::Knowledge, mcp::Tool, search::What};

const DEFAULT: usize = 10;
const MOST: usize = 30;
/// A source that takes longer is left out of this answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where models can be had from, beside this disk. A source that policy does not allow is not given
/// to [`SearchModel`] at all.
#[async_trait]
pub trait ModelSource: Send + Sync + 'static {
    /// `Hugging Face`.
    fn name(&self) -> &str;

    /// At most `limit` results, best first; the error is for a person.
    async fn search(&self, query: &str, limit: usize) -> Result<Vec<ModelHit>, String>;
}

/// A model that a source offers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelHit {
    pub name: String,
    /// Folder below `models` that it belongs into, where the source tells.
    pub folder: Option<String>,
    pub description: String,
    /// Its page.
    pub url: String,
    pub bytes: Option<u64>,
}

/// The disk first, then these sources.
pub struct SearchModel {
    sources: Vec<Arc<dyn ModelSource>>,
}

impl SearchModel {
    pub fn new(sources: Vec<Arc<dyn ModelSource>>) -> Self {
        Self { sources }
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

    /// The network is not part of ComfyUI's state.
    fn keeps(&self) -> bool {
        self.sources.is_empty()
    }

    async fn run(
        &self,
        arguments: &Map<String, Value>,
        known: &Arc<Knowledge>,
        _: &ToolCaller,
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
        let asked = self.sources.iter().map(|source| async {
            let search = source.search(&question, limit);
            let found = tokio::time::timeout(PATIENCE, search).await;
            let found = found.unwrap_or_else(|_| Err("did not answer in time".into()));
            (source.name().to_owned(), found)
        });
        for (source, found) in join_all(asked).await {
            match found {
                Ok(found) => {
                    for hit in found.into_iter().take(limit) {
                        let (line, card) = offered(&source, &hit, known);
                        text.push_str(&line);
                        data.push(card);
                    }
                }
                Err(words) => text.push_str(&format!("{source} was asked and failed: {words}\n")),
            }
        }
        if self.sources.is_empty() {
            text.push_str("Only this disk was searched: no other source of models is set up.\n");
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

fn offered(source: &str, hit: &ModelHit, known: &Knowledge) -> (String, Value) {
    let ModelHit {
        name,
        folder,
        description,
        url,
        bytes,
    } = hit;
    let installed = folder
        .as_ref()
        .is_some_and(|folder| known.catalogue.has_model(folder, name));
    let about = sound::text(&description.replace('\n', " "), 200);
    let size = bytes.map_or(String::new(), |b| format!(", {} MB", b / 1_000_000));
    let line = format!(
        "- {} ({source}{size}): {about} {url}\n",
        sound::text(name, 200)
    );
    let card = json!({
        "name": name, "folder": folder, "source": source, "url": url,
        "description": about, "size": bytes, "installed": installed,
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
