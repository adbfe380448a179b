//! `gen_workflow`: a workflow that loads.
//!
//! | file | holds |
//! |---|---|
//! | this one | [`GenWorkflow`]: the tool, and the order in which it tries |
//! | [`wish`] | what is asked for |
//! | [`bases`] | templates and saved workflows that could be adapted, checked against this ComfyUI |
//! | [`adapt`] | the LLM chooses one and fills in its values |
//! | [`invent`] | the LLM writes a new one, told exactly what is wrong until it is right |
//! | [`floor`] | without an LLM: the best one, with the words put where they belong |
//! | [`describe`] | workflows and classes in few words, for a small model |
//!
//! A template is adapted before anything is invented. Only a workflow that ComfyUI would accept leaves
//! here, as a card; whatever else happens is a failure that says what is missing. Which workflows stand
//! behind cards is [`MadeWorkflows`]' to keep.

pub mod adapt;
pub mod bases;
pub mod describe;
pub mod floor;
pub mod invent;
pub mod wish;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use self::{adapt::Adapted, bases::Bases, wish::Wish};
use super::{Answer, Failure, Run, ToolCaller};
use crate::{
    comfy::{Catalogue, Queue, WorkflowId},
    comfyui::{ComfyUi, Knowledge},
    emulator::{
        asking::{Asking, Unanswered},
        made::{Made, MadeWorkflows, picture_of},
    },
    front_door::GENERATES,
    mcp::Tool,
    workflow::{self, Prompt, Repair, order},
};

/// All of it, but for waiting for a ComfyUI that is looked at for the first time. The plugin waits for five
/// minutes, the transport for four.
const TIME: Duration = Duration::from_secs(200);
/// For a look at the queue, which is worth no wait.
const QUEUE_TIME: Duration = Duration::from_millis(500);
/// Repairs and changes that are told.
const MAX_TOLD: usize = 12;

pub struct GenWorkflow {
    comfyui: Arc<ComfyUi>,
    asking: Arc<Asking>,
    made: Arc<MadeWorkflows>,
    /// Where the page finds the stand-in's pictures; `None`: nowhere.
    pictures: Option<String>,
}

/// A workflow that ComfyUI would accept, and how it came to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    pub name: String,
    pub prompt: Prompt,
    /// The workflow that it was made from; `None` for one that is new.
    pub from: Option<Origin>,
    /// What was set, in words.
    pub changes: Vec<String>,
    pub repairs: Vec<Repair>,
    /// What the person has to know besides.
    pub remark: String,
}

/// What a workflow was made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    pub id: WorkflowId,
    pub title: String,
}

impl GenWorkflow {
    /// `pictures`: the address of the stand-in for the vendor, as the page reaches it.
    pub fn new(
        comfyui: Arc<ComfyUi>,
        asking: Arc<Asking>,
        made: Arc<MadeWorkflows>,
        pictures: Option<String>,
    ) -> Self {
        Self {
            comfyui,
            asking,
            made,
            pictures,
        }
    }

    /// The template's own picture, as ComfyUI has it, or one that is drawn here.
    fn picture(&self, from: Option<&Origin>, key: &str, catalogue: &Catalogue) -> String {
        let template = match from.map(|from| &from.id) {
            Some(WorkflowId::Template(name)) => catalogue.template(name),
            Some(WorkflowId::Saved(_) | WorkflowId::Generated(_)) | None => None,
        };
        match (template, &self.pictures) {
            (Some(template), _) => template.picture(),
            (None, Some(at)) => format!("{at}{}", picture_of(key)),
            // The page shows a placeholder of its own.
            (None, None) => String::new(),
        }
    }

    async fn draft(
        &self,
        wish: &Wish,
        known: &Knowledge,
        caller: &ToolCaller,
    ) -> Result<Draft, Failure> {
        let until = Instant::now() + TIME;
        let bases = Bases::find(&self.comfyui, known, wish).await;
        let catalogue = &*known.catalogue;
        if !bases.offered().is_empty() {
            let adapted = adapt::adapt(
                &self.asking,
                wish,
                bases.offered(),
                catalogue,
                caller,
                until,
            );
            match adapted.await {
                Ok(Adapted::Draft(draft)) => return Ok(*draft),
                Ok(Adapted::NoneFits) => {}
                Err(why) => {
                    return floor::fill(wish, &bases, catalogue, &why)
                        .ok_or_else(|| nothing(&bases, &why));
                }
            }
        }
        let invented = invent::invent(&self.asking, wish, &bases, known, caller, until).await;
        invented.map_err(|failed| failed.words(&bases))
    }

    fn answer(&self, draft: Draft, catalogue: &Catalogue, wish: &Wish) -> Result<Answer, Failure> {
        let Draft {
            name,
            prompt,
            from,
            changes,
            repairs,
            remark,
        } = draft;
        // The last word before it leaves: whatever was done to it, it is checked as it stands.
        let faults = workflow::check(&prompt, catalogue);
        if !workflow::check::accepted(&faults) {
            return Err(Failure(format!(
                "the workflow that was made is not one that ComfyUI accepts: {}",
                told(&faults)
            )));
        }
        let repairs = told(&repairs);
        let prompt = order::renumbered(&prompt);
        let made = Made {
            name: name.clone(),
            workflow: prompt.to_value(),
        };
        let key = self.made.keep(made);
        let key = key.ok_or_else(|| Failure("the workflow that was made is too large".into()))?;
        let image = self.picture(from.as_ref(), &key, catalogue);
        let id = WorkflowId::Generated(key);
        let origin = match (&from, wish.chinese()) {
            (Some(from), false) => format!("Made from \"{}\".", from.title),
            (Some(from), true) => format!("由「{}」改编。", from.title),
            (None, false) => "Written anew.".to_owned(),
            (None, true) => "全新编写。".to_owned(),
        };
        let described = match remark.is_empty() {
            true => origin.clone(),
            false => format!("{origin} {remark}"),
        };
        let mut text = format!(
            "A workflow was made and checked: this ComfyUI has all of its {} nodes and files, and would \
             accept it. The user sees it as a card and can load it: {name} [{id}]. {described}",
            prompt.nodes.len()
        );
        for (label, words) in [("Values set", told(&changes)), ("Put right", repairs)] {
            if !words.is_empty() {
                text.push_str(&format!("\n{label}: {words}."));
            }
        }
        let card = json!({
            "id": id.to_string(),
            "name": name,
            "description": described,
            "image": image,
            "source": "AI Generated",
            "tags": [],
        });
        Ok(Answer {
            text,
            ext: vec![json!({"type": "workflow", "data": [card]})],
            data: vec![card],
        })
    }
}

#[async_trait]
impl Run for GenWorkflow {
    fn tool(&self) -> Tool {
        Tool {
            name: GENERATES.into(),
            description:
                "Make a ComfyUI workflow for what the user wants: a template or saved workflow \
                 adapted, or a new one. It is checked against this ComfyUI before it is shown. Returns \
                 a workflow card."
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
                    "instruction": {
                        "type": "string",
                        "description": "What the user wants, with all details: subject, style, size, count"
                    }
                },
                "required": ["keywords", "instruction"]
            }),
        }
    }

    fn check(&self, arguments: &Map<String, Value>) -> Result<(), String> {
        Wish::read(arguments).map(drop)
    }

    /// Asking twice gives two.
    fn keeps(&self) -> bool {
        false
    }

    async fn run(
        &self,
        arguments: &Map<String, Value>,
        known: &Arc<Knowledge>,
        caller: &ToolCaller,
    ) -> Result<Answer, Failure> {
        let wish = Wish::read(arguments).map_err(Failure)?;
        let draft = self.draft(&wish, known, caller).await?;
        let mut answer = self.answer(draft, &known.catalogue, &wish)?;
        let queue = tokio::time::timeout(QUEUE_TIME, self.comfyui.queue()).await;
        if let Ok(Ok(queue)) = queue {
            answer.text.push_str(&busy(queue));
        }
        Ok(answer)
    }
}

/// What the user will wait for; empty where nothing is under way.
fn busy(queue: Queue) -> String {
    let Queue { running, pending } = queue;
    match running + pending {
        0 => String::new(),
        jobs => format!(
            "\nThe queue of this ComfyUI holds {jobs} {} already: what the user runs now comes after.",
            if jobs == 1 { "job" } else { "jobs" }
        ),
    }
}

/// Nothing that could be adapted, and no LLM to write something.
fn nothing(bases: &Bases, why: &Unanswered) -> Failure {
    Failure(format!(
        "no workflow was made. {}The LLM could not be used for a new one: {why}",
        bases.missing_words()
    ))
}

/// The first of these, parted.
pub(super) fn told<T: ToString>(of: &[T]) -> String {
    let first: Vec<String> = of.iter().take(MAX_TOLD).map(ToString::to_string).collect();
    let more = of.len().saturating_sub(first.len());
    match more {
        0 => first.join("; "),
        more => format!("{}; and {more} more", first.join("; ")),
    }
}

#[cfg(test)]
mod tests;
