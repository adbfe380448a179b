//! Sockets in: bind, accept, read a head strictly, and hand over to `proxy`.
//!
//! [`accept`] owns the sockets and their bounds; [`http`] the keep-alive loop of one plain or
//! decrypted connection; [`connect`] what follows a CONNECT or a transparent ClientHello;
//! [`stream`] joins small writes; [`tunnel`] the undecrypted relay; [`head`] the strict parser; [`judge`] what a head is about.
//! Nothing is sent upstream before a checkpoint has allowed it.

mod accept;
mod connect;
pub mod head;
mod http;
mod judge;
mod stream;
mod tunnel;

pub use accept::{BindError, Door, Edge, Listening};
