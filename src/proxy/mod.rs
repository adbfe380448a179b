//! The pipeline every request goes through, whatever door it came by.
//!
//! `listener` reads a head strictly, makes an [`Arrival`] and hands the session to Pingora, which
//! calls [`Pipeline`]: judge ([`pipeline`]), then refuse ([`denial`]), answer here ([`respond`]) or
//! send on ([`forward`], within what [`outgoing`] lets go), and in every case [`finish`]: one audit record, the metrics.
//! Nothing here resolves names or opens sockets; that is `upstream`'s.

mod arrival;
mod budget;
mod denial;
mod finish;
mod forward;
mod outgoing;
mod pipeline;
mod request_id;
mod respond;
mod services;

pub use arrival::{Arrival, Connection};
pub use budget::{Allowance, Budgets, Metered};
pub use denial::Denial;
pub use finish::{Finish, Outcome};
pub use pipeline::Pipeline;
pub use request_id::request_id;
pub use services::{Limits, Responders, Route, Routes, Services};
