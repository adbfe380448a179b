//! The receipt's ledger, fed with what stands in the log.
//!
//! The writer's thread enters each batch after it was written, so that a request pays nothing for it
//! and no receipt holds what the log does not. Read by `front_door` and the control plane.

use parking_lot::Mutex;

use super::record::AuditRecord;
use crate::{
    receipt::{Done, Event, Ledger},
    token::UnixTime,
};

/// Entered without letting a reader in between; some tens of microseconds.
const AT_ONCE: usize = 128;

pub struct Book(Mutex<Ledger>);

impl Book {
    pub fn new(now: UnixTime) -> Self {
        Self(Mutex::new(Ledger::new(now)))
    }

    pub(super) fn enter(&self, records: &[AuditRecord]) {
        for some in records.chunks(AT_ONCE) {
            let mut ledger = self.0.lock();
            for event in some.iter().filter_map(event) {
                ledger.add(&event);
            }
        }
    }

    /// What is read holds up the log's writer: make values of it, and show them outside.
    pub fn read<T>(&self, read: impl FnOnce(&Ledger) -> T) -> T {
        read(&self.0.lock())
    }
}

/// `None` for an action that is none; `proxy::finish` makes no such record.
fn event(record: &AuditRecord) -> Option<Event<'_>> {
    let began = UnixTime(u64::try_from(record.time.unix_timestamp()).unwrap_or_default());
    Some(Event {
        began,
        over: UnixTime(began.0.saturating_add(record.duration_us / 1_000_000)),
        done: Done::of(record.action)?,
        responder: record.responder,
        authority: record.authority.as_ref(),
        upstream: record.upstream.as_deref(),
        method: record.method.as_deref(),
        path: record.path.as_deref(),
        detail: record.detail.as_deref(),
        rule: &record.rule,
        reason: record.reason,
        would_deny: record.would_deny,
        ended: record.ended,
        up: record.bytes_in,
        down: record.bytes_out,
        left: record.left_machine_bytes,
        user: record.user.as_ref(),
        session: record.session,
        chat: record.chat.as_deref(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Action, ConnectionAction, Responder};

    #[test]
    fn every_action_of_a_record_is_known_to_the_ledger() {
        for action in [
            Action::Deny.as_str(),
            Action::Forward.as_str(),
            Action::Respond(Responder::Llm).as_str(),
            ConnectionAction::Deny.as_str(),
            ConnectionAction::Tunnel.as_str(),
            ConnectionAction::Intercept.as_str(),
        ] {
            assert!(Done::of(action).is_some(), "{action}");
        }
    }
}
