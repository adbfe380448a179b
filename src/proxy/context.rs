//! State of one request on its way through Pingora's phases.

use std::{sync::Arc, time::Instant};

use super::{
    arrival::{Arrival, Connection},
    denial::Denial,
    finish::{Finish, Outcome},
    live::Standing,
    outgoing::Outgoing,
};
use crate::{
    handler::{EgressMeter, Note},
    policy::{Reason, RequestSize, RuleName, Terms},
};

#[derive(Default)]
pub struct RequestContext {
    pub(super) arrival: Option<Box<Arrival>>,
    pub(super) connection: Option<Arc<Connection>>,
    pub(super) finish: Option<Finish>,
    pub(super) rule: Option<RuleName>,
    /// Of the rule that allowed it.
    pub(super) terms: Option<Arc<Terms>>,
    /// What a forwarded request may send.
    pub(super) outgoing: Option<Outgoing>,
    pub(super) egress: EgressMeter,
    /// Made when somebody writes one.
    note: Option<Note>,
    pub(super) size: RequestSize,
    pub(super) leaves_machine: bool,
    pub(super) attempts: usize,
    pub(super) addresses: usize,
    /// A refusal found after the decision, to be answered by `fail_to_proxy`.
    pub(super) denial: Option<Denial>,
    pub(super) upstream_began: Option<Instant>,
    /// Of [`super::Live`], from before the decision.
    pub(super) epoch: u64,
    pub(super) standing: Option<Standing>,
    pub(super) seen: Seen,
}

/// What went by, for a request that ends before Pingora can be asked.
#[derive(Default)]
pub struct Seen {
    pub(super) status: Option<u16>,
    pub(super) read: u64,
    pub(super) sent: u64,
}

impl RequestContext {
    /// Why it must end, if it must.
    pub(super) fn cut(&self) -> Option<Reason> {
        self.connection.as_ref()?.leash.why()
    }

    /// What the handler wants in the record.
    pub(super) fn note(&mut self) -> &Note {
        self.note.get_or_insert_default()
    }

    /// A refusal that says nothing beyond its reason.
    pub(super) fn blank(&self, reason: Reason) -> Denial {
        Denial {
            reason,
            rule: self.rule.clone().unwrap_or_else(RuleName::none),
            authority: self.arrival.as_ref().map(|a| a.authority.clone()),
            detail: None,
            method: String::new(),
            path: String::new(),
        }
    }

    pub(super) fn outcome(&self, status: Option<u16>, read: u64, sent: u64) -> Outcome {
        let mut note = self.note.as_ref().map(Note::read).unwrap_or_default();
        if self.upstream_began.is_some() && note.answered_by.is_none() {
            note.answered_by = Some("upstream".into());
        }
        Outcome {
            status,
            bytes_in: read,
            bytes_out: sent,
            left_machine_bytes: self.egress.bytes(),
            note,
        }
    }
}

impl Drop for RequestContext {
    /// Pingora's own end did not come: it was cut from outside. (A panic is told by [`Finish`].)
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let Some(mut finish) = self.finish.take() else {
            return;
        };
        match self.cut() {
            Some(why) => finish.failed(why, None),
            // The drain is over, or its connection is.
            None => finish.failed(Reason::ClientGone, Some("cut".into())),
        }
        let Seen {
            status, read, sent, ..
        } = self.seen;
        finish.done(self.outcome(status, read, sent));
    }
}
