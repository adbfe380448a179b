//! The only place that opens outbound sockets.
//!
//! [`dial::Dialer`] resolves once, checks every answer, dials only what was checked, and counts.
//! `proxy` takes a checked address for Pingora's peers; `gateway` goes through `http_client`.

pub mod dial;
pub mod http_client;
