//! Sockets in: bind, accept, read a head strictly, and hand over to `proxy`.
//!
//! [`accept`] owns the sockets and their bounds; [`http`] the keep-alive loop of one plain or
//! decrypted connection; [`connect`] what follows a CONNECT or a transparent ClientHello;
//! [`stream`] joins small writes; [`turn`] deals out a connection's bytes request by request, and
//! [`chunks`] finds the end of a chunked body for it; [`tunnel`] the undecrypted relay;
//! [`relay`] what follows a switch to WebSocket; [`entered`] how both wait for their end; [`head`] the
//! strict parser; [`judge`] what a head is about.
//! Nothing is sent upstream before a checkpoint has allowed it.

mod accept;
pub mod chunks;
mod connect;
mod entered;
pub mod head;
mod http;
mod judge;
mod relay;
mod stream;
mod tunnel;
mod turn;

pub use accept::{BindError, Door, Edge, Listening};
