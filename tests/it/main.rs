//! The one integration binary: the product as a process, driven from outside.
//!
//! | module | what it shows |
//! |---|---|
//! | [`clients`] | the real Python SDKs, through both entries, with the LLM up, down and hung |
//! | [`deploy`], [`docs`] | shipped files and documents agree with the code |
//! | [`isolate`] | `airlock exec --isolate`: no way out but Airlock, and what a person sees of it |
//! | [`leak`] | nothing leaves, under a packet capture |
//! | [`architecture`] | the layers and habits of `src/lib.rs`, read from the sources |
//! | [`cli`] | every command as a person and a script use it |
//! | [`config_page`] | docs/CONFIG.md and the examples of the other pages agree with the code |
//! | [`corpus`] | every case of docs/EGRESS.md through every entry, and that page |
//! | [`demo`] | `airlock demo` as a person and a script run it |
//! | [`pipeline`] | every door and every refusal, by raw sockets and rustls |
//! | [`reload`] | a new policy and the kill switch, on what is open |
//! | [`learn`] | a report-mode log becomes rules that allow the same |
//! | [`fuzz`] | the fuzz targets over their corpora, and mutations of a fixed seed |
//! | [`terms`] | what a rule demands: bounds, budgets, ends, and no secrets |
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
mod config_page;
mod corpus;
mod demo;
mod deploy;
mod docs;
mod fuzz;
#[cfg(target_os = "linux")]
mod isolate;
mod leak;
mod learn;
mod pipeline;
mod reload;
mod support;
mod terms;
