//! The one integration binary: the product as a process, driven from outside.
//!
//! | module | what it shows |
//! |---|---|
//! | [`clients`] | the real Python SDKs, through both entries, with the LLM up, down and hung |
//! | [`deploy`], [`docs`] | shipped files and documents agree with the code |
//! | [`leak`] | nothing leaves, under a packet capture |
//! | [`demo`] | `airlock demo` as a person and a script run it |
//! | [`support`] | how a test starts Airlock, an LLM and a script |

#![allow(
    clippy::disallowed_methods,
    reason = "a test stands outside of the house: it dials, waits and reads its environment"
)]

mod clients;
mod demo;
mod deploy;
mod docs;
mod leak;
mod support;
