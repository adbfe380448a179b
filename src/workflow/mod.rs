//! Workflows as values: read in both forms, checked against one ComfyUI, and repaired where no question
//! is needed.
//!
//! | file | holds |
//! |---|---|
//! | [`prompt`] | [`Prompt`]: the API's form, which ComfyUI runs: nodes by id, with links and values by name |
//! | [`graph`] | [`Graph`]: the page's form: nodes with places, links, subgraphs, notes |
//! | [`flatten`] | from the page's form to the API's: subgraphs opened, what only the page knows taken out |
//! | `widgets`, `source` | for it: values by name; where a link really begins |
//! | [`check`](mod@check) | what ComfyUI would refuse, each a [`Fault`] |
//! | [`fault`] | [`Fault`]: its sentence names the node, the input and what would be right |
//! | [`repair`](mod@repair) | slips made good, each told as a [`Repair`] |
//! | [`order`] | what leads to an output, rings, ids in the order of work |
//! | [`tune`] | changes of values alone, and which of them ComfyUI takes |
//! | [`texts`] | which text says what is wanted, and which what is not |
//! | [`nearest`] | names and files that were probably meant |
//!
//! Called by the tools of `emulator`, for what an LLM proposed, what ComfyUI ships and what a user saved.
//! All of that was written by others: counts, sizes and depths are bounded, and nothing panics on any
//! JSON. Nothing here is async, does IO, or guesses at what is installed: that is the catalogue's to say.

pub mod check;
pub mod fault;
pub mod flatten;
pub mod graph;
pub mod nearest;
pub mod order;
pub mod prompt;
pub mod repair;
mod source;
pub mod texts;
pub mod tune;
pub mod widgets;

pub use check::check;
pub use fault::{Fault, Place, Wrong};
pub use flatten::{FlattenError, flatten};
pub use graph::{Graph, GraphError};
pub use prompt::{Given, NodeId, Prompt, PromptError, PromptNode, Slot};
pub use repair::{Repair, drop_idle, repair};

use serde_json::Value;

use crate::comfy::Catalogue;

/// Why a text is no workflow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Prompt(#[from] PromptError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Flatten(#[from] FlattenError),
}

/// A workflow in either form, in the API's.
pub fn read(workflow: &Value, catalogue: &Catalogue) -> Result<Prompt, ReadError> {
    match Graph::is_one(workflow) {
        true => Ok(flatten(&Graph::read(workflow)?, catalogue)?),
        false => Ok(Prompt::read(workflow)?),
    }
}

#[cfg(test)]
mod tests;
