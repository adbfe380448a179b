//! Finds the audit record of a request that the player made.
//!
//! Answers carry their record's id. Refusals do not, and are found by what was asked, among the
//! records written since the step began; a record is given out once, so that one refusal cannot
//! vouch for two requests.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use http::Method;
use uuid::Uuid;

use crate::audit::{AuditKind, AuditRecord};

/// A record is written when its exchange ends, which may be a moment after the client read it.
const PATIENCE: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What a request is recognised by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trace {
    Id(Uuid),
    /// A CONNECT, allowed or refused.
    Connection {
        authority: String,
    },
    Request {
        authority: String,
        method: Method,
        path: String,
    },
}

impl Trace {
    fn is_of(&self, record: &AuditRecord) -> bool {
        let names = |authority: &str| {
            record
                .authority
                .as_ref()
                .is_some_and(|a| a.to_string() == authority)
        };
        match self {
            Trace::Id(id) => record.id == *id,
            Trace::Connection { authority } => {
                record.kind == AuditKind::Connection && names(authority)
            }
            Trace::Request {
                authority,
                method,
                path,
            } => {
                record.kind == AuditKind::Request
                    && names(authority)
                    && record.method.as_deref() == Some(method.as_str())
                    && record.path.as_deref() == Some(path)
            }
        }
    }
}

/// The records of this run, each handed out once.
pub struct Ledger<R> {
    recent: R,
    given: HashSet<Uuid>,
    pub patience: Duration,
}

impl<R: Fn() -> Vec<AuditRecord>> Ledger<R> {
    /// `recent`: the last records, oldest first.
    pub fn new(recent: R) -> Self {
        Self {
            recent,
            given: HashSet::new(),
            patience: PATIENCE,
        }
    }

    /// What is recorded so far belongs to earlier steps.
    pub fn begin_step(&mut self) {
        self.given.extend((self.recent)().iter().map(|r| r.id));
    }

    /// Waits a moment for a record that is not written yet; `None` if it never comes.
    pub async fn record_of(&mut self, trace: &Trace) -> Option<AuditRecord> {
        let deadline = Instant::now() + self.patience;
        loop {
            let found = (self.recent)()
                .into_iter()
                .find(|r| !self.given.contains(&r.id) && trace.is_of(r));
            if let Some(record) = found {
                self.given.insert(record.id);
                return Some(record);
            }
            if Instant::now() >= deadline {
                return None;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What left the machine in all, requests of no step included.
    pub fn left_machine_bytes(&self) -> u64 {
        (self.recent)().iter().map(|r| r.left_machine_bytes).sum()
    }
}
