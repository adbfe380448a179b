//! Requests that a handler sends out of its own, and the checkpoints that they have to pass like any
//! client's: [`Checkpoint`] is the contract, `proxy::own` keeps it, `app` joins the two.
//!
//! A handler that asks the user's own LLM or ComfyUI needs none of this; one that goes to the world does.

use std::net::IpAddr;

use async_trait::async_trait;
use http::{HeaderMap, Method};

use super::EgressMeter;
use crate::{net::Authority, policy::Reason};

/// What would be sent: a GET, or a POST of that body.
#[derive(Clone, Copy, Debug)]
pub struct OwnRequest<'a> {
    /// On whose behalf.
    pub client: IpAddr,
    pub authority: &'a Authority,
    /// Origin form, path and query.
    pub target: &'a str,
    /// Counted, not looked through: they hold the credential that a handler puts there on purpose.
    pub headers: &'a HeaderMap,
    /// Looked through for secrets.
    pub body: Option<&'a [u8]>,
}

impl OwnRequest<'_> {
    pub fn method(&self) -> Method {
        match self.body {
            Some(_) => Method::POST,
            None => Method::GET,
        }
    }
}

/// Refused, and on record already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub Reason);

/// How it ended.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    pub status: Option<u16>,
    /// What broke it off, and in which words.
    pub failed: Option<(Reason, String)>,
}

pub trait Checkpoint: Send + Sync {
    /// Judges, and opens the one audit record of the request. What is to be sent is the target of the
    /// passage: its path is canonical.
    fn pass(&self, request: &OwnRequest<'_>) -> Result<Box<dyn Passage>, Refused>;
}

/// A request that was let through. Dropped without [`Passage::end`], it is recorded as cut.
#[async_trait]
pub trait Passage: Send + Sync {
    fn target(&self) -> &str;
    /// For the bytes that are sent.
    fn egress(&self) -> &EgressMeter;
    /// Told as they come, for a record that nobody ends.
    fn received(&self, bytes: u64);
    /// Resolves once a newer policy or the kill switch ends it.
    async fn cut(&self) -> Reason;
    fn end(self: Box<Self>, ended: Ended);
}
