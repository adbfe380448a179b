//! The tools of both MCP servers, answered from the user's own ComfyUI (WIRE.md 4).
//!
//! | file | tool | its floor without an LLM |
//! |---|---|---|
//! | [`generate`] | `gen_workflow` | the best template that runs here, with the words put in |
//! | [`recall`] | `recall_workflow` | search over templates and saved workflows |
//! | [`search_node`] | `search_node` | search over installed nodes and their docs |
//! | [`explain`] | `explain_node` | the node's page, and what `/object_info` says |
//! | [`models`] | `search_model` | files on this disk, then the sources that are allowed |
//! | [`local_docs`] | `bing_search` | the same search; it says that it is no web search |
//! | [`web_docs`] | the same, where the user has an endpoint for it ([`web_search`]) | the local docs, and why no web was searched |
//!
//! Shared: [`arguments`] (what models send, read leniently), [`cards`] (what the page draws).
//!
//! [`Tools`] is a [`Toolbox`] of [`Run`]s in a fixed order; `app` puts it together. A failure is an
//! `isError` result in plain words, never a JSON-RPC error. Results are kept while ComfyUI stays the same.

pub mod arguments;
pub mod cards;
pub mod explain;
pub mod generate;
pub mod local_docs;
pub mod models;
pub mod recall;
pub mod search_node;
pub mod web_docs;
pub mod web_search;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::mcp_transport::{ToolCaller, Toolbox};
use crate::{
    comfyui::{ComfyUi, Knowledge},
    front_door::Cards,
    mcp::{Tool, ToolCall, ToolResult, ToolSet},
};

/// Results kept, and the text of the largest one.
const MAX_KEPT: usize = 128;
const MAX_KEPT_BYTES: usize = 64 << 10;

/// What a tool found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// For the model.
    pub text: String,
    /// Cards; the page draws those of workflow tools.
    pub data: Vec<Value>,
    /// Cards of every other tool, by type.
    pub ext: Vec<Value>,
}

/// Why a tool found nothing to say; in words for the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

/// One tool.
#[async_trait]
pub trait Run: Send + Sync + 'static {
    fn tool(&self) -> Tool;

    /// Judges the arguments; the error goes to the model.
    fn check(&self, arguments: &Map<String, Value>) -> Result<(), String>;

    /// Whether the same arguments give the same answer while ComfyUI stays the same.
    fn keeps(&self) -> bool {
        true
    }

    async fn run(
        &self,
        arguments: &Map<String, Value>,
        known: &Arc<Knowledge>,
        caller: &ToolCaller,
    ) -> Result<Answer, Failure>;
}

/// The tools of one server.
pub struct Tools {
    tools: Vec<Tool>,
    runs: Vec<Arc<dyn Run>>,
    comfyui: Arc<ComfyUi>,
    cards: Arc<Cards>,
    kept: Mutex<Kept>,
}

impl Tools {
    /// In the order of `tools/list`, which must not change between two starts: a stable prompt keeps
    /// the LLM's cache warm.
    pub fn new(runs: Vec<Arc<dyn Run>>, comfyui: Arc<ComfyUi>, cards: Arc<Cards>) -> Self {
        Self {
            tools: runs.iter().map(|run| run.tool()).collect(),
            runs,
            comfyui,
            cards,
            kept: Mutex::default(),
        }
    }

    fn run_of(&self, name: &str) -> Option<&Arc<dyn Run>> {
        let at = self.tools.iter().position(|t| t.name == name)?;
        self.runs.get(at)
    }

    async fn answer(&self, call: &ToolCall, caller: &ToolCaller) -> Result<Arc<Answer>, String> {
        let Some(run) = self.run_of(&call.name) else {
            return Err("there is no tool of this name: use one of tools/list".into());
        };
        let known = self.comfyui.knowledge().await.map_err(|e| e.to_string())?;
        let key = Key {
            generation: known.generation,
            tool: call.name.clone(),
            // Members are sorted, so that their order makes no difference.
            arguments: Value::Object(call.arguments.clone()).to_string(),
        };
        if let Some(answer) = self.kept.lock().find(&key) {
            return Ok(answer);
        }
        let answer = run.run(&call.arguments, &known, caller).await;
        let answer = Arc::new(answer.map_err(|e| e.to_string())?);
        if run.keeps() {
            self.kept.lock().put(key, answer.clone());
        }
        Ok(answer)
    }
}

impl ToolSet for Tools {
    fn tools(&self) -> &[Tool] {
        &self.tools
    }

    fn check(&self, tool: &Tool, arguments: &Map<String, Value>) -> Result<(), String> {
        match self.run_of(&tool.name) {
            Some(run) => run.check(arguments),
            None => tool.check(arguments),
        }
    }
}

#[async_trait]
impl Toolbox for Tools {
    async fn call(&self, call: &ToolCall, caller: &ToolCaller) -> ToolResult {
        let answer = match self.answer(call, caller).await {
            Ok(answer) => answer,
            Err(words) => return ToolResult::error(words),
        };
        if let Some(session) = &caller.session_id {
            let Answer { data, ext, .. } = &*answer;
            self.cards
                .note(session, &call.name, data, ext, Instant::now());
        }
        let text = match self.comfyui.trouble() {
            Some(trouble) => format!(
                "(ComfyUI {trouble}; this is what it had when it last answered.)\n{}",
                answer.text
            ),
            None => answer.text.clone(),
        };
        let list = |values: &[Value]| match values {
            [] => Value::Null,
            values => Value::from(values.to_vec()),
        };
        ToolResult::envelope(&text, Value::from(answer.data.clone()), list(&answer.ext))
    }

    /// A chat begins: what its tools need is looked at while the LLM still thinks.
    fn listed(&self) {
        self.comfyui.need();
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    generation: u64,
    tool: String,
    arguments: String,
}

/// Answers of one state of ComfyUI, the oldest ones dropped first.
#[derive(Default)]
struct Kept {
    answers: HashMap<Key, Arc<Answer>>,
    order: VecDeque<Key>,
}

impl Kept {
    fn find(&self, key: &Key) -> Option<Arc<Answer>> {
        self.answers.get(key).cloned()
    }

    fn put(&mut self, key: Key, answer: Arc<Answer>) {
        let Answer { text, data, ext } = &*answer;
        let cards = data.iter().chain(ext).map(|v| v.to_string().len());
        if text.len() + key.arguments.len() + cards.sum::<usize>() > MAX_KEPT_BYTES {
            return;
        }
        if self
            .order
            .back()
            .is_some_and(|k| k.generation != key.generation)
        {
            self.answers.clear();
            self.order.clear();
        }
        if self.answers.insert(key.clone(), answer).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > MAX_KEPT {
            if let Some(oldest) = self.order.pop_front() {
                self.answers.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests;
