//! What stands around the product in a test: Airlock as a process, an LLM, the Python SDKs.
//! Everything listens on loopback, port 0, and ends when its value is dropped.

mod airlock;
mod dice;
mod ledger;
mod llm;
mod namespaces;
mod origin;
mod process;
mod python;
mod site_proxy;
mod tls;
mod wire;

pub use airlock::{Airlock, Setup};
pub use dice::Dice;
pub use llm::Llm;
pub use namespaces::{alone, namespaces_are_there, system};
pub use origin::{Guest, Origin, eventually, eventually_within};
pub use process::Process;
pub use python::{Entry, Sdk, run_at_door, run_script, scripts};
pub use site_proxy::{Answer, SiteProxy};
pub use tls::{
    Identity, TlsWire, client_hello, handshake, outer_ech, shown, speaking, trusting,
    with_extension, without_extension,
};
pub use wire::{Reply, Wire};
