//! The one integration binary: the product as a process, driven from outside.
//!
//! | module | what it shows |
//! |---|---|
//! | [`clients`] | the real Python SDKs, through both entries, with the LLM up, down and hung |
//! | [`compose_net`] | the network of deploy/compose, made of namespaces: the plugin's packets go to Airlock alone |
//! | [`deploy`], [`docs`] | shipped files and documents agree with the code |
//! | [`fault`] | what breaks is refused with a reason and recorded, and nobody is starved |
//! | [`isolate`] | `airlock exec --isolate`: no way out but Airlock, and what a person sees of it |
//! | [`leak`] | nothing leaves, under a packet capture |
//! | [`architecture`] | the layers and habits of `src/lib.rs`, read from the sources |
//! | [`cli`] | every command as a person and a script use it |
//! | [`config_page`] | docs/CONFIG.md and the examples of the other pages agree with the code |
//! | [`corpus`] | every case of docs/EGRESS.md through every entry, and that page |
//! | [`demo`] | `airlock demo` as a person and a script run it |
//! | [`explain`] | what `airlock explain` says is what the proxy does, for random rules and requests |
//! | [`pipeline`] | every door and every refusal, by raw sockets and rustls |
//! | [`reload`] | a new policy and the kill switch, on what is open |
//! | [`front_door`] | Airlock before ComfyUI, on the wire and in a browser |
//! | [`learn`] | a report-mode log becomes rules that allow the same |
//! | [`models`] | model sources behind ModelScope's endpoints, well-behaved and hostile hubs, the SDKs |
//! | [`identity`] | sessions, users and keys by commands, and what a kill leaves of them |
//! | [`receipt`] | what was sent where: the page, its signed copy, the commands, the log's sums |
//! | [`fuzz`] | the fuzz targets over their corpora, and mutations of a fixed seed |
//! | [`site_proxy`] | tunnels, requests and the LLM behind a CONNECT proxy |
//! | [`terms`] | what a rule demands: bounds, budgets, ends, and no secrets |
//! | [`tools`] | the tools of the chat, answered from a ComfyUI, and their cards at the front door |
//! | [`vectors`] | public vectors: URLs, IDNA, SSRF, naughty strings, HTTP, addresses |
//! | [`support`] | how a test starts Airlock, an LLM and a script |

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stands outside of the house: it dials, waits, reads its environment, and fails by panicking"
)]

mod architecture;
mod cli;
mod clients;
#[cfg(target_os = "linux")]
mod compose_net;
mod config_page;
mod corpus;
mod demo;
mod deploy;
mod docs;
mod explain;
#[cfg(target_os = "linux")]
mod fault;
mod front_door;
mod fuzz;
mod identity;
#[cfg(target_os = "linux")]
mod isolate;
mod leak;
mod learn;
mod models;
mod pipeline;
mod receipt;
mod reload;
mod site_proxy;
mod support;
mod terms;
mod tools;
mod vectors;
