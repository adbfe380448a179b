//! Templates and saved workflows that could be adapted: found by the search, fetched, brought into the
//! API's form, repaired, and checked against this ComfyUI.

use futures_util::future::join_all;
use serde_json::Value;

use super::wish::Wish;
use crate::{
    comfy::{Catalogue, WorkflowId},
    comfyui::{ComfyUi, Knowledge},
    emulator::tools::{cards::Missing, recall::worth},
    search::What,
    workflow::{self, Fault, Prompt, Repair, check::accepted, fault::Wrong, repair::Change},
};

/// Results of the search that are looked at, and workflows that are fetched.
const LOOKED_AT: usize = 10;
const FETCHED: usize = 5;
/// Workflows that the LLM chooses among.
const OFFERED: usize = 3;
/// What is looked for where the words of the wish find nothing.
const COMMON: &str = "text to image generation";
/// Nodes of a workflow that an LLM is asked to fill in.
const MAX_NODES: usize = 80;

/// A workflow that ComfyUI would accept.
#[derive(Clone, Debug, PartialEq)]
pub struct Base {
    pub id: WorkflowId,
    pub title: String,
    pub prompt: Prompt,
    pub repairs: Vec<Repair>,
}

/// What there is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bases {
    /// Best first; those whose files are all there before those where another one was taken.
    pub usable: Vec<Base>,
    /// Where there is none: one that makes a picture of a text, for an LLM to judge. "A cat in space" finds
    /// no template by its words.
    pub common: Vec<Base>,
    /// Those that are not usable, each with what it misses.
    pub missing: Vec<(String, String)>,
    /// Found, and not looked at: they call paid services.
    pub paid: Vec<String>,
}

struct Found {
    id: WorkflowId,
    title: String,
    missing: Missing,
}

impl Bases {
    pub async fn find(comfyui: &ComfyUi, known: &Knowledge, wish: &Wish) -> Self {
        let mut out = Self::default();
        let catalogue = &*known.catalogue;
        let mut found = out.search(known, &wish.question(), wish.chinese());
        if found.is_empty() {
            found = out.search(known, &wish.instruction, wish.chinese());
        }
        for (found, workflow) in fetched(comfyui, found, FETCHED).await {
            match usable(found, &workflow, catalogue) {
                Ok(base) => out.usable.push(base),
                Err(missing) => out.missing.extend(missing),
            }
        }
        let replaced = |base: &Base| {
            let changes = base.repairs.iter().map(|repair| &repair.change);
            changes
                .filter(|change| matches!(change, Change::File { .. }))
                .count()
        };
        out.usable.sort_by_key(replaced);
        out.usable.truncate(OFFERED);
        if out.usable.is_empty() {
            // What it misses is not what was asked for.
            let found = Self::default().search(known, COMMON, wish.chinese());
            let fetched = fetched(comfyui, found, OFFERED).await;
            let mut usable = fetched
                .into_iter()
                .filter_map(|(found, workflow)| usable(found, &workflow, catalogue).ok());
            out.common.extend(usable.next());
        }
        out
    }

    /// What the LLM chooses among.
    pub fn offered(&self) -> &[Base] {
        match self.usable.is_empty() {
            true => &self.common,
            false => &self.usable,
        }
    }

    fn search(&mut self, known: &Knowledge, question: &str, chinese: bool) -> Vec<Found> {
        let kinds = [What::Template, What::Saved];
        let hits = known.index.search(question, &kinds, LOOKED_AT);
        let catalogue = &*known.catalogue;
        let mut out = Vec::new();
        for hit in worth(&hits) {
            match hit.what {
                What::Template => {
                    let Some(template) = catalogue.templates().get(hit.at) else {
                        continue;
                    };
                    let title = template.title.either(chinese).to_owned();
                    if template.is_api {
                        self.paid.push(title);
                        continue;
                    }
                    out.push(Found {
                        id: WorkflowId::Template(template.name.clone()),
                        title,
                        missing: Missing::of(catalogue, template.uses.as_ref()),
                    });
                }
                What::Saved => {
                    let Some(saved) = catalogue.saved().get(hit.at) else {
                        continue;
                    };
                    out.push(Found {
                        id: WorkflowId::Saved(saved.path.clone()),
                        title: saved.title().to_owned(),
                        missing: Missing::of(catalogue, Some(&saved.uses)),
                    });
                }
                What::Node | What::Model => {}
            }
        }
        out
    }

    /// What to tell where nothing is usable; ends with a space where it is not empty.
    pub fn missing_words(&self) -> String {
        let mut out = String::new();
        for (title, words) in self.missing.iter().take(OFFERED) {
            out.push_str(&format!(
                "The template or saved workflow \"{title}\" fits and cannot run here. {words} "
            ));
        }
        if let Some(paid) = self.paid.first() {
            out.push_str(&format!(
                "\"{paid}\" fits, too, and is left alone: it calls a paid service on the Internet. "
            ));
        }
        out
    }
}

/// The first of these, as ComfyUI has them. One that cannot be had now is no reason to fail: there are others.
async fn fetched(comfyui: &ComfyUi, mut found: Vec<Found>, most: usize) -> Vec<(Found, Value)> {
    found.truncate(most);
    let workflows = join_all(found.iter().map(|found| comfyui.workflow(&found.id))).await;
    let both = found.into_iter().zip(workflows);
    both.filter_map(|(found, workflow)| Some((found, workflow.ok()??)))
        .collect()
}

/// What can be made of it, or its title and what it misses; nothing where it is no workflow.
fn usable(
    found: Found,
    workflow: &Value,
    catalogue: &Catalogue,
) -> Result<Base, Option<(String, String)>> {
    let Found { id, title, missing } = found;
    let mut prompt = workflow::read(workflow, catalogue).map_err(|_| None)?;
    let repairs = workflow::repair(&mut prompt, catalogue);
    // Odds and ends that lie about in it; ComfyUI does not run them either.
    workflow::drop_idle(&mut prompt, catalogue);
    let faults = workflow::check(&prompt, catalogue);
    if accepted(&faults) && prompt.nodes.len() <= MAX_NODES {
        return Ok(Base {
            id,
            title,
            prompt,
            repairs,
        });
    }
    let words = missing.words(false);
    let words = match (words.is_empty(), accepted(&faults)) {
        (false, _) => words,
        (true, false) => format!("{}.", super::told(&blocking(&faults))),
        (true, true) => format!("It has more than {MAX_NODES} nodes."),
    };
    Err(Some((title, words)))
}

/// The faults for which ComfyUI would refuse it.
pub fn blocking(faults: &[Fault]) -> Vec<&Fault> {
    faults.iter().filter(|fault| fault.wrong.blocks()).collect()
}

/// Files and classes that only an installation can bring.
pub fn not_here(faults: &[Fault]) -> Vec<&Fault> {
    let missing = |wrong: &Wrong| {
        matches!(
            wrong,
            Wrong::UnknownClass { .. }
                | Wrong::NotInstalled { .. }
                | Wrong::NothingInstalled { .. }
        )
    };
    faults
        .iter()
        .filter(|fault| missing(&fault.wrong))
        .collect()
}
