//! Airlock against its own corpus: every case of docs/EGRESS.md, played through its listeners.
//!
//! [`corpus`] holds the cases as data, made for a [`Ground`]; [`Driver`] plays one on a connection
//! and gives a [`Verdict`]; [`Round`] plays them all and checks the running instance's own counters,
//! so that a refusal that dialled or asked a name server is an escape, too. Three users share it:
//! the tests (which check the audit records as well), `airlock selftest`, and the running process
//! by itself ([`crate::app`], at its start and on a clock).
//!
//! It must never be the way out that it looks for: what the rules would let through is not sent.

mod case;
pub mod corpus;
mod driver;
mod dump;
mod ground;
mod hello;
mod lane;
mod meter;
mod reply;
mod report;
mod round;
mod subject;

pub use case::{Case, Expected, Judgement, Opening, Script, Step, Verdict};
pub use driver::{Doors, Driver};
pub use dump::dump;
pub use ground::{Ground, Place, is_safe};
pub use lane::Lane;
pub use meter::{Counts, Meter};
pub use report::{Failure, Report, Tally};
pub use round::{Round, Selection};
pub use subject::{Subject, Traits};
