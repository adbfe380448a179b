//! The policy core: given facts, an action, a rule and a reason. Pure and synchronous.
//! Called by `listener`, `proxy` and `upstream`; never does IO, reads a clock or sees a body.
//!
//! Three checkpoints: connection, request, resolved address.
//! [`CompiledPolicy::decide_request`] and [`address::check`]. Called by `listener`, `proxy` and

pub mod decision;

pub use decision::{Action, ConnectionAction, Decision, Mode, Reason, Responder, RuleName};
