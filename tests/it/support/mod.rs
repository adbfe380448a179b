//! What stands around the product in a test: Airlock as a process, an LLM, the Python SDKs.
//! Everything listens on loopback, port 0, and ends when its value is dropped.

mod airlock;
mod llm;
mod process;
mod python;

pub use airlock::Airlock;
pub use llm::Llm;
pub use python::{Entry, Sdk, run_script};
