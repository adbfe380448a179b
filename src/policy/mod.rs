//! The policy core: given facts, an action, a rule and a reason. Pure and synchronous.
//! Called by `listener`, `proxy` and `upstream`; never does IO or reads a clock.
//!
//! Three checkpoints: connection ([`CompiledPolicy::decide_connection`]), request
//! ([`CompiledPolicy::decide_request`]) and resolved address ([`address::check`]).
//! A request's path goes through [`path::canonical`] first: what is judged is what is sent.
//! [`Lockdown`] stands above all three. [`diff`] says what a new policy allows that the old one did not.
//! [`terms`] are what a rule demands beyond matching; [`budget`] and [`secrets`] judge what is sent.
//! [`explain`] says what would happen to a request, [`how_to_allow`] writes the rule that would allow it;
//! [`learn`] turns a report-mode log into rules.

pub mod address;
mod allowing;
pub mod budget;
mod compiled;
pub mod decision;
pub mod diff;
pub mod explain;
mod guard;
mod index;
pub mod learn;
pub mod lockdown;
pub mod path;
pub mod rule;
pub mod secrets;
pub mod terms;

pub use address::{AddressPolicy, CheckedAddr};
pub use allowing::how_to_allow;
pub use compiled::{CompiledPolicy, Flow, RequestFacts};
pub use decision::{Action, ConnectionAction, Decision, Mode, Reason, Responder, RuleName};
pub use explain::{Around, ExplainError, Explanation, explain};
pub use guard::guarded;
pub use lockdown::Lockdown;
pub use path::{PathError, PathPattern, PathPatternError};
pub use rule::{Ports, Rule, RuleAction};
pub use terms::{RequestSize, Terms};

#[cfg(test)]
pub use rule::{FAULT, FAULTY};

#[cfg(test)]
mod explain_around_tests;
#[cfg(test)]
mod explain_tests;
#[cfg(test)]
mod report_tests;
#[cfg(test)]
mod terms_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod words_tests;
