//! State of one request on its way through Pingora's phases.

use std::{sync::Arc, time::Instant};

use pingora::http::RequestHeader;

use super::{
    arrival::{Arrival, Connection},
    denial::Denial,
    finish::{Finish, Outcome},
    identity::{self, ChatWatch, CheckpointWatch, Identified, Unwelcome},
    live::Standing,
    outgoing::{Outgoing, Stopped},
    services::Services,
    upgrade::Passing,
};
use crate::{
    handler::{EgressMeter, Note},
    limit::{Seats, breaker::Pass},
    page::LastLine,
    policy::{Reason, RequestSize, RuleName, Terms},
    token::Principal,
};

#[derive(Default)]
pub struct RequestContext {
    pub(super) arrival: Option<Box<Arrival>>,
    pub(super) connection: Option<Arc<Connection>>,
    pub(super) finish: Option<Finish>,
    pub(super) principal: Option<Arc<Principal>>,
    /// What goes with it: its session, what the browser is to keep.
    pub(super) known: Identified,
    pub(super) unwelcome: Option<Unwelcome>,
    /// Of a request to the plugin: the chat that its body names.
    pub(super) chat_id: Option<ChatWatch>,
    pub(super) checkpoint: Option<CheckpointWatch>,
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
    /// The answer of a chat, which gets its cards at the front door.
    pub(super) chat: Option<LastLine>,
    pub(super) seen: Seen,
    /// Of the caller's limits, held until it ends.
    pub(super) seats: Seats,
    /// To dial ComfyUI.
    pub(super) pass: Option<Pass>,
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

    /// Who it is from. `None`: it was refused before that was known, or came by an entry where nobody
    /// had to say.
    pub fn principal(&self) -> Option<&Arc<Principal>> {
        self.principal.as_ref()
    }

    /// Whose session must go on for it to go on. The login's own pages end sessions, theirs included.
    pub(super) fn stands_on(&self) -> Option<Arc<Principal>> {
        self.principal.clone().filter(|_| !self.known.at_the_login)
    }

    /// From here on it is this one's: in the record, in limits, for whoever answers.
    pub(super) fn identified(&mut self, known: Identified) {
        if let (Some(finish), Some(principal)) = (&mut self.finish, &known.principal) {
            finish.made_by(principal);
        }
        self.principal = known.principal.clone();
        self.known = known;
    }

    /// What is read of a request to the plugin, and of its answer, on their way.
    pub(super) fn watch(
        &mut self,
        services: &Services,
        request: &RequestHeader,
        arrival: &Arrival,
    ) -> Result<(), Stopped> {
        self.chat_id = ChatWatch::begin(arrival, request)?;
        self.checkpoint = CheckpointWatch::begin(&self.known, arrival, &request.method);
        let deed = identity::asks_for_checkpoints(&services.doorkeeper, &self.known, arrival)?;
        self.known.deed = self.known.deed.max(deed);
        Ok(())
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
        let gate = self.arrival.as_ref().and_then(|a| a.gate.as_ref());
        if let Some(gate) = gate.filter(|gate| gate.is_given()) {
            // The request is over, and its connection is not.
            let (status, standing) = (self.seen.status, self.standing.take());
            let Outcome { note, .. } = self.outcome(status, 0, 0);
            return gate.keep(Passing {
                finish,
                _standing: standing,
                status,
                note,
                egress: self.egress.clone(),
                leaves_machine: self.leaves_machine,
            });
        }
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
