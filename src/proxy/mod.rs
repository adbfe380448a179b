//! The pipeline every request goes through, whatever door it came by.
//!
//! `listener` reads a head strictly, makes an [`Arrival`] and hands the session to Pingora, which
//! calls [`Pipeline`] ([`pipeline`]): judge ([`decide`]), then refuse ([`denial`]), answer here ([`answer`],
//! [`respond`]) or send on ([`forward`] and back by [`response`], within what [`outgoing`] lets go; [`failure`] tells whose fault
//! it was when that fails), remember what stays open ([`live`]; [`expiry`] ends it with its rule), and in
//! every case [`finish`]: one audit record, the metrics. [`memory`] bounds what all requests hold, [`limit`]
//! what one caller asks for.
//! [`carries`] is which of the headers that steer us a request has; [`body`] and [`upgrade`] are what the edge, which deals out a request's bytes, has to tell or be
//! told (behind a switch, all that is left of a request); [`door`] is what the front door adds, [`identity`]
//! tells who asks, and [`own`] takes our own requests through the same checkpoint.
//! Nothing here resolves names or opens sockets; that is `upstream`'s.

mod answer;
mod arrival;
mod body;
mod budget;
mod carries;
mod context;
mod decide;
mod denial;
mod door;
mod expiry;
mod failure;
mod finish;
mod forward;
mod identity;
mod limit;
mod live;
mod looked;
mod memory;
mod outgoing;
mod own;
mod pipeline;
mod request_id;
mod respond;
mod response;
mod services;
mod upgrade;

pub use arrival::{Arrival, AtDoor, Connection};
pub use body::{ChunkFault, Framing};
pub use budget::{Allowance, Budgets, Metered};
pub use carries::Carries;
pub use denial::{DECISION_HEADER, Denial};
pub use expiry::cut_what_ends;
pub use finish::{Finish, Outcome};
pub use identity::{Doorkeeper, Visitor, cut_who_left, visitor};
pub use live::{Asked, Doing, Leash, Live, Standing, Subject};
pub use memory::{Held, Memory};
pub use own::OwnRequests;
pub use pipeline::Pipeline;
pub use request_id::request_id;
pub use respond::{LINGER, LINGER_QUIET};
pub use response::clean_headers;
pub use services::{DoorRoute, Limits, Responders, Route, Routes, Services};
pub use upgrade::{Passing, Switched, UpgradeGate};
