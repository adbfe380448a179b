//! Airlock: reverse proxy, forward proxy and egress firewall that keeps ComfyUI-Copilot local.
//!
//! A layer imports only from itself or a lower number; `tests/it/architecture.rs` enforces it.
//!
//! | layer | modules | may do |
//! |---|---|---|
//! | L0 | [`net`] | parse names and addresses; no IO, no async |
//! | L1 | [`policy`], [`llm`], [`mcp`], [`page`], [`token`], [`receipt`], [`guard`], [`weights`], [`comfy`], [`search`], [`workflow`] | pure decisions and wire formats; no IO, no clock |
//! | L2 | [`config`], [`packs`], [`handler`], [`metrics`], [`prefetch`] | read files and environment once; shared contracts |
//! | L3 | [`tls`], [`upstream`], [`gateway`], [`comfyui`], [`emulator`], [`front_door`], [`audit`], [`store`], [`session`], [`limit`], [`models`] | keys, sockets out, local answers, records, users |
//! | L4 | [`listener`], [`proxy`], [`admin`] | sockets in, the Pingora pipeline, control plane |
//! | L5 | [`app`], [`cli`], [`demo`], [`doctor`], [`isolate`], [`logging`], [`selftest`] | composition root and commands |
//!
//! Only `upstream` opens outbound sockets; only `store`, `audit`, `tls` (the CA) and the
//! RSA key of `emulator` write state;
//! only `listener`, `proxy`, `upstream` and `app` name Pingora.

pub mod net;

pub mod comfy;
pub mod guard;
pub mod llm;
pub mod mcp;
pub mod page;
pub mod policy;
pub mod receipt;
pub mod search;
pub mod token;
pub mod weights;
pub mod workflow;

pub mod config;
pub mod handler;
pub mod metrics;
pub mod packs;
pub mod prefetch;

pub mod audit;
pub mod comfyui;
pub mod emulator;
pub mod front_door;
pub mod gateway;
pub mod limit;
pub mod models;
pub mod session;
pub mod store;
pub mod tls;
pub mod upstream;

pub mod admin;
pub mod listener;
pub mod proxy;

pub mod app;
pub mod cli;
pub mod demo;
pub mod doctor;
#[cfg(target_os = "linux")]
pub mod isolate;
pub mod logging;
pub mod selftest;
