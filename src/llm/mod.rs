//! OpenAI wire formats: what is read, repaired and made on the way to a local LLM and back.
//!
//! Pure: bytes and values in, bytes and values out; the caller brings ids and times. Called by
//! `gateway` (and `cli` for `doctor` and `demo`). Never does IO, never reads a clock, never
//! re-serialises JSON that it does not have to change: [`edit`] changes spans and leaves the rest
//! byte for byte.
//!
//! | file | what |
//! |---|---|
//! | [`edit`] | byte-preserving JSON edits |
//! | `wellformed` | whether text is JSON, and the parts of what is |
//! | [`request`] | view of a request, its edits, the plugin's agents (WIRE.md 2) |
//! | [`messages`] | repairs of the plugin's messages (WIRE.md 2.2, 2.3) |
//! | [`sse`] | frames out of a byte stream |
//! | [`stream`], [`calls`], [`think`] | repair of streamed answers (WIRE.md 2.4, 24) |
//! | [`response`], [`collect`] | repair of whole answers, and both ways between whole and streamed |
//! | [`reply`] | answers made here: chat text, chunks, OpenAI error bodies |
//! | [`problem`] | what went wrong with an LLM: reason, fix, status |
//! | [`models`] | model lists and aliases |
//! | [`structured`] | questions of our own, and the JSON object out of an answer |

pub mod calls;
pub mod collect;
pub mod edit;
pub mod messages;
pub mod models;
pub mod problem;
pub mod repair;
pub mod reply;
pub mod request;
pub mod response;
pub mod sse;
pub mod stream;
pub mod structured;
pub mod think;
pub mod usage;
mod wellformed;

pub use repair::{Repair, Repairs};
pub use usage::Usage;
