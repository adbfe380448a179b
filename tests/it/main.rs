//! The one integration binary: the product as a process, driven from outside.
//!
//! | module | what it shows |
//! |---|---|
//! | [`clients`] | the real Python SDKs, through both entries, with the LLM up, down and hung |
//! | [`deploy`], [`docs`] | shipped files and documents agree with the code |
//! | [`leak`] | nothing leaves, under a packet capture |
//! | [`demo`] | `airlock demo` as a person and a script run it |
//! | [`pipeline`] | every door and every refusal, by raw sockets and rustls |
//! | [`support`] | how a test starts Airlock, an LLM and a script |

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stands outside of the house: it dials, waits, reads its environment, and fails by panicking"
)]

mod clients;
mod demo;
mod deploy;
mod docs;
mod leak;
mod pipeline;
mod support;
