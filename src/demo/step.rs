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
    /// Answered here until the client leaves, which is how a tool server's stream ends.
    EventStream,
    /// A failed LLM is answered for with a chat message (WIRE.md 2.4), which is no success.
    AnsweredByLlm,
    Intercepted,
    Refused(Reason),
}

impl Expect {
    fn fits(self, record: &AuditRecord) -> bool {
        match self {
            Expect::EventStream => {
                record.action == "respond"
                    && record.reason == Reason::RuleAllows
                    && matches!(record.ended, None | Some(Reason::ClientGone))
            }
            Expect::AnsweredHere => Expect::EventStream.fits(record) && record.ended.is_none(),
            Expect::AnsweredByLlm => {
                Expect::AnsweredHere.fits(record)
                    && record.answered_by.as_deref() == Some("local llm")
            }
            Expect::Intercepted => {
                record.action == ConnectionAction::Intercept.as_str() && record.ended.is_none()
            }
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
        answered_by: first.map(|r| r.answered_by.unwrap_or("airlock".into()).into_owned()),
        left_machine_bytes: left,
        ok,
        detail: match seen {
            Ok(words) => [faults, vec![words]].concat().join("; "),
            Err(_) => faults.join("; "),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;
    use crate::{audit::AuditKind, policy::RuleName};

    const PATH: &str = "/v1/models";

    fn record() -> AuditRecord {
        AuditRecord {
            time: OffsetDateTime::UNIX_EPOCH,
            id: Uuid::new_v4(),
            kind: AuditKind::Request,
            entry: Entry::Explicit,
            client: [127, 0, 0, 1].into(),
            session: None,
            user: None,
            authority: crate::net::Authority::parse("a.test:443", None).ok(),
            method: Some("GET".into()),
            path: Some(PATH.into()),
            action: "respond",
            rule: RuleName::new("r"),
            reason: Reason::RuleAllows,
            would_deny: None,
            ended: None,
            status: Some(200),
            answered_by: Some("local llm".into()),
            upstream: None,
            detail: None,
            bytes_in: 0,
            bytes_out: 0,
            left_machine_bytes: 0,
            duration_us: 1,
            generation: 1,
            chat: None,
            responder: None,
        }
    }

    fn trace() -> Trace {
        Trace::Request {
            authority: "a.test:443".into(),
            method: http::Method::GET,
            path: PATH.into(),
        }
    }

    fn step(expect: Expect) -> Step {
        let play: Play = |_| Box::pin(async { Ok(String::new()) });
        Step {
            name: "s",
            entry: Entry::Explicit,
            request: "GET https://a.test/",
            expect,
            play,
        }
    }

    #[tokio::test]
    async fn a_step_is_green_only_if_client_and_audit_log_agree() {
        let here = Expect::AnsweredHere;
        let refused = Expect::Refused(Reason::NoRuleMatched);
        let seen = || Ok("seen".to_owned());
        let wrong = || Err(Fault("wrong".to_owned()));
        let edited = |edit: fn(&mut AuditRecord)| {
            let mut record = record();
            edit(&mut record);
            record
        };
        let deny = |r: &mut AuditRecord| {
            r.action = "deny";
            r.reason = Reason::NoRuleMatched;
            r.answered_by = None;
        };
        for (row, expect, seen, record, ok) in [
            ("answered here", here, seen(), record(), true),
            (
                "refused as it should be",
                refused,
                seen(),
                edited(deny),
                true,
            ),
            (
                "the client saw something wrong",
                here,
                wrong(),
                record(),
                false,
            ),
            (
                "answered in place of refused",
                refused,
                seen(),
                record(),
                false,
            ),
            (
                "refused in place of answered",
                here,
                seen(),
                edited(deny),
                false,
            ),
            (
                "refused for another reason",
                refused,
                seen(),
                edited(|r| {
                    r.action = "deny";
                    r.reason = Reason::Internal;
                }),
                false,
            ),
            (
                "sent on",
                here,
                seen(),
                edited(|r| r.action = "forward"),
                false,
            ),
            (
                "one byte left",
                here,
                seen(),
                edited(|r| r.left_machine_bytes = 1),
                false,
            ),
            (
                "another entry",
                here,
                seen(),
                edited(|r| r.entry = Entry::Reverse),
                false,
            ),
            (
                "broken off",
                here,
                seen(),
                edited(|r| r.ended = Some(Reason::ClientGone)),
                false,
            ),
            (
                "an event stream that the client left",
                Expect::EventStream,
                seen(),
                edited(|r| r.ended = Some(Reason::ClientGone)),
                true,
            ),
            (
                "a chat message in place of the LLM",
                Expect::AnsweredByLlm,
                seen(),
                edited(|r| r.answered_by = Some("airlock".into())),
                false,
            ),
        ] {
            let mut ledger = Ledger::new(|| vec![record.clone()]);
            let report = judge(&step(expect), seen, &[trace()], &mut ledger).await;
            assert_eq!(report.ok, ok, "{row}: {}", report.detail);
            assert_eq!(
                report.left_machine_bytes, record.left_machine_bytes,
                "{row}"
            );
        }
    }

    #[tokio::test]
    async fn a_request_without_a_record_of_its_own_is_a_failure() {
        let one = record();
        let mut ledger = Ledger::new(|| vec![one.clone()]);
        ledger.patience = Duration::ZERO;
        let step = step(Expect::AnsweredHere);
        let twice = [trace(), trace()];
        let report = judge(&step, Ok(String::new()), &twice, &mut ledger).await;
        assert!(
            !report.ok && report.detail.contains("no audit record"),
            "{}",
            report.detail
        );

        let mut ledger = Ledger::new(|| vec![one.clone()]);
        ledger.patience = Duration::ZERO;
        ledger.begin_step();
        let report = judge(&step, Ok(String::new()), &[trace()], &mut ledger).await;
        assert!(
            !report.ok && report.decision.is_none(),
            "an older record vouched for it"
        );

        let mut ledger = Ledger::new(Vec::new);
        assert!(
            !judge(&step, Ok(String::new()), &[], &mut ledger).await.ok,
            "nothing was asked"
        );
    }
}
