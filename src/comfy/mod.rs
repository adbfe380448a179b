//! What a ComfyUI can do, as values: its nodes, templates, saved workflows, docs and models.
//!
//! | file | holds |
//! |---|---|
//! | [`catalogue`] | [`Catalogue`]: everything of one ComfyUI, looked up by name |
//! | [`node`] | [`Node`], [`Input`], [`Output`]: a class, and what may be put into it |
//! | [`object_info`] | from the bytes of `/object_info` to nodes, keeping what is sound |
//! | [`template`] | shipped templates: the index in two languages, and what a workflow file uses |
//! | [`listing`] | the shorter answers: folders and files of models, saved workflows, system, queue |
//! | [`sound`] | JSON as Python writes it (`NaN`, lone surrogates), made readable; texts within bounds |
//! | [`packs`] | which repository a node is from, as ComfyUI-Manager's lists have it |
//! | [`ids`] | [`WorkflowId`]: what stands on a workflow card, and comes back from the page |
//!
//! Called by `comfyui`, which fetches the bytes, by `search`, which indexes the catalogue, and by the
//! tools of `emulator`. Custom nodes write these answers, so every text, count and depth is bounded,
//! and what is wrong is left out and counted, never an end of the rest. Nothing here is async or does IO.

pub mod catalogue;
pub mod ids;
pub mod listing;
pub mod node;
pub mod object_info;
pub mod packs;
pub mod sound;
pub mod template;

pub use catalogue::{Catalogue, Docs, LeftOut, Model, Parts};
pub use ids::WorkflowId;
pub use listing::{Queue, SavedFile, System};
pub use node::{Choices, Input, Kind, Node, Number, Output, SocketType};
pub use object_info::{Nodes, ObjectInfoError};
pub use packs::NodePacks;
pub use template::{ModelFile, SavedWorkflow, Template, Uses, Words};
