//! Full-text search over a [`Catalogue`](crate::comfy::Catalogue), in memory, in English and Chinese.
//!
//! | file | holds |
//! |---|---|
//! | [`index`] | [`SearchIndex`]: built from a catalogue, asked by everyone |
//! | [`words`] | from text to words: `CLIPTextEncode` and 图像放大 have several |
//! | [`query`] | from what was typed to a query: synonyms, beginnings of words, slips |
//! | [`synonyms`] | words that mean the same here |
//!
//! Called by `comfyui`, which builds an index behind the one that serves, and by the tools of `emulator`.
//! It is a matter of memory and time alone: one segment in RAM, no threads, no files, no clock.

pub mod index;
mod query;
mod synonyms;
mod words;

pub use index::{Hit, SearchError, SearchIndex, What};
pub use words::is_dense;
