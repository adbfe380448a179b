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
        let mut found = out.search(known, wish);
        found.truncate(FETCHED);
        let fetched = found.iter().map(|found| comfyui.workflow(&found.id));
        let fetched = join_all(fetched).await;
        for (found, workflow) in found.into_iter().zip(fetched) {
            // A workflow that cannot be had now is no reason to fail: there are others.
            if let Ok(Some(workflow)) = workflow {
                out.take(found, &workflow, catalogue);
            }
        }
        let replaced = |base: &Base| {
            let files = base.repairs.iter().map(|repair| &repair.change);
            files
                .filter(|change| matches!(change, Change::File { .. }))
                .count()
        };
        out.usable.sort_by_key(replaced);
        out.usable.truncate(OFFERED);
        out
    }

    fn search(&mut self, known: &Knowledge, wish: &Wish) -> Vec<Found> {
        let kinds = [What::Template, What::Saved];
        let hits = known.index.search(&wish.question(), &kinds, LOOKED_AT);
        let catalogue = &*known.catalogue;
        let mut out = Vec::new();
        for hit in worth(&hits) {
            match hit.what {
                What::Template => {
                    let Some(template) = catalogue.templates().get(hit.at) else {
                        continue;
                    };
                    let title = template.title.either(wish.chinese()).to_owned();
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

    fn take(&mut self, found: Found, workflow: &Value, catalogue: &Catalogue) {
        let Found { id, title, missing } = found;
        let Ok(mut prompt) = workflow::read(workflow, catalogue) else {
            return;
        };
        let repairs = workflow::repair(&mut prompt, catalogue);
        // Odds and ends that lie about in it; ComfyUI does not run them either.
        workflow::drop_idle(&mut prompt, catalogue);
        let faults = workflow::check(&prompt, catalogue);
        match accepted(&faults) && prompt.nodes.len() <= MAX_NODES {
            true => self.usable.push(Base {
                id,
                title,
                prompt,
                repairs,
            }),
            false => {
                let words = missing.words(false);
                let words = match words.is_empty() {
                    true => super::told(&blocking(&faults)),
                    false => words,
                };
                self.missing.push((title, words));
            }
        }
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
