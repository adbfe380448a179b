//! What a step is, and what is made of its traces once it was played.

use futures_util::future::BoxFuture;

use super::{
    ledger::{Ledger, Trace},
    player::Turn,
    report::StepReport,
};
use crate::{
    audit::AuditRecord,
    net::Entry,
    policy::{ConnectionAction, Reason},
};

/// Plays one step; gives what it saw, in words.
pub type Play = for<'a> fn(&'a mut Turn) -> BoxFuture<'a, Result<String, Fault>>;

/// Something was not as the plugin needs it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

/// A fault, unless `ok`.
pub fn must(ok: bool, words: impl FnOnce() -> String) -> Result<(), Fault> {
    if ok { Ok(()) } else { Err(Fault(words())) }
}

/// What policy must have done with every request of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    AnsweredHere,
    /// A failed LLM is answered for with a chat message (WIRE.md 2.4), which is no success.
    AnsweredByLlm,
    Intercepted,
    Refused(Reason),
}

impl Expect {
    fn fits(self, record: &AuditRecord) -> bool {
        match self {
            Expect::AnsweredHere => {
                record.action == "respond"
                    // The client itself ends an event stream, which is how the record says so.
                    && matches!(record.reason, Reason::RuleAllows | Reason::ClientGone)
            }
            Expect::AnsweredByLlm => {
                Expect::AnsweredHere.fits(record)
                    && record.answered_by.as_deref() == Some("local llm")
            }
            Expect::Intercepted => record.action == ConnectionAction::Intercept.as_str(),
            Expect::Refused(reason) => record.action == "deny" && record.reason == reason,
        }
    }
}

/// A group of steps with one heading.
pub struct Scene {
    pub title: &'static str,
    /// The host that most of its requests go to; a table may leave it out of them.
    pub host: &'static str,
    pub steps: Vec<Step>,
}

pub struct Step {
    pub name: &'static str,
    pub entry: Entry,
    /// `METHOD URL` of the request that the step is about.
    pub request: &'static str,
    pub expect: Expect,
    pub play: Play,
}

/// Joins what the client saw with what the audit log says about it.
pub async fn judge<R: Fn() -> Vec<AuditRecord>>(
    step: &Step,
    seen: Result<String, Fault>,
    traces: &[Trace],
    ledger: &mut Ledger<R>,
) -> StepReport {
    let mut first: Option<AuditRecord> = None;
    let mut left = 0;
    let mut faults: Vec<String> = seen
        .as_ref()
        .err()
        .map(Fault::to_string)
        .into_iter()
        .collect();
    if traces.is_empty() {
        faults.push("no request was made".into());
    }
    for trace in traces {
        let Some(record) = ledger.record_of(trace).await else {
            faults.push("no audit record was written for it".into());
            continue;
        };
        left += record.left_machine_bytes;
        if record.entry != step.entry {
            faults.push(format!("the audit record says entry {}", record.entry));
        }
        if !step.expect.fits(&record) {
            faults.push(format!(
                "the audit record says {} ({}), answered by {} ({})",
                record.action,
                record.reason,
                record.answered_by.as_deref().unwrap_or("nobody else"),
                record.detail.as_deref().unwrap_or("no remark"),
            ));
        }
        first.get_or_insert(record);
    }
    if left > 0 {
        faults.push(format!("{left} bytes left the machine"));
    }
    let ok = faults.is_empty();
    StepReport {
        name: step.name,
        entry: step.entry,
        request: step.request,
        decision: first.as_ref().map(|r| r.action),
        reason: first.as_ref().map(|r| r.reason.code()),
        // A refusal and a handshake are our own answers; their records name nobody else.
        answered_by: first.map(|r| r.answered_by.unwrap_or_else(|| "airlock".to_owned())),
        left_machine_bytes: left,
        ok,
        detail: match seen {
            Ok(words) => [faults, vec![words]].concat().join("; "),
            Err(_) => faults.join("; "),
        },
    }
}
