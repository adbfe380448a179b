//! The only place that opens outbound sockets.
//!
//! [`dial::Dialer`] resolves once, checks every answer, dials only what was checked, and counts.
//! `proxy` takes a checked address for Pingora's peers, which dial through [`connector`];
//! those of a WebSocket come back by [`lent`]. [`gate::Gate`] is the kill switch below all of it.
//! `gateway` and the commands go through the HTTP client on top of the dialer; [`ech`] asks a tunnel's
//! server what it does with encrypted ClientHellos.

pub mod connector;
pub mod control;
pub mod counted;
pub mod dial;
pub mod ech;
pub mod gate;
mod hosts;
pub mod http_client;
#[cfg(target_os = "linux")]
pub mod isolation;
pub mod keep_alive;
pub mod lent;
pub mod loopback;
pub mod own;
pub mod pinned;
pub mod private_ca;
pub mod resolver;
pub mod site_proxy;
