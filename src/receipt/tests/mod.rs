//! Counts, words, signatures and looks of receipts, by table.

mod counts;
mod seals;
mod shown;
mod words;

use super::{Around, Done, Event, Ledger, Plane, Receipt, Viewer, receipt::Ever};
use crate::{
    net::Authority,
    policy::{Reason, Responder, RuleName},
    token::UnixTime,
};

pub const BEGAN: UnixTime = UnixTime(1_790_000_000);

/// What an event borrows from.
#[derive(Clone)]
pub struct Sample {
    pub done: Done,
    pub responder: Option<Responder>,
    pub authority: Option<Authority>,
    pub upstream: Option<&'static str>,
    pub path: String,
    pub detail: Option<String>,
    pub rule: RuleName,
    pub reason: Reason,
    pub would_deny: Option<Reason>,
    pub ended: Option<Reason>,
    pub bytes: (u64, u64, u64),
    pub user: Option<&'static str>,
    pub chat: Option<String>,
    pub at: u64,
}

impl Sample {
    pub fn new(done: Done, authority: &str, rule: &str) -> Self {
        Self {
            done,
            responder: None,
            authority: Authority::parse(authority, None).ok(),
            upstream: None,
            path: "/".to_owned(),
            detail: None,
            rule: RuleName::new(rule),
            reason: match done {
                Done::Deny => Reason::NoRuleMatched,
                Done::Tunnel | Done::Intercept | Done::Forward | Done::Respond => {
                    Reason::RuleAllows
                }
            },
            would_deny: None,
            ended: None,
            bytes: (0, 0, 0),
            user: None,
            chat: None,
            at: 0,
        }
    }

    pub fn answered(responder: Responder, path: &str) -> Self {
        Self {
            responder: Some(responder),
            path: path.to_owned(),
            ..Self::new(Done::Respond, "vendor.test:443", "pack/rule")
        }
    }

    pub fn by_llm(upstream: &'static str, left: u64) -> Self {
        Self {
            upstream: Some(upstream),
            bytes: (900, 4000, left),
            ..Self::answered(Responder::Llm, "/v1/chat/completions")
        }
    }

    pub fn sent(host: &str, left: u64) -> Self {
        Self {
            bytes: (left, 5_000, left),
            ..Self::new(Done::Forward, host, "mine")
        }
    }

    pub fn refused(host: &str, reason: Reason) -> Self {
        Self {
            reason,
            ..Self::new(Done::Deny, host, "none")
        }
    }

    /// Hands the event to `take`.
    pub fn give(&self, take: impl FnOnce(&Event<'_>)) {
        let user = self.user.and_then(|user| user.parse().ok());
        let (up, down, left) = self.bytes;
        let began = UnixTime(BEGAN.0 + self.at);
        take(&Event {
            began,
            over: began,
            done: self.done,
            responder: self.responder,
            authority: self.authority.as_ref(),
            upstream: self.upstream,
            method: Some("GET"),
            path: Some(&self.path),
            detail: self.detail.as_deref(),
            rule: &self.rule,
            reason: self.reason,
            would_deny: self.would_deny,
            ended: self.ended,
            up,
            down,
            left,
            user: user.as_ref(),
            session: None,
            chat: self.chat.as_deref(),
        });
    }
}

pub fn ledger(samples: &[Sample]) -> Ledger {
    let mut ledger = Ledger::new(BEGAN);
    for sample in samples {
        sample.give(|event| ledger.add(event));
    }
    ledger
}

pub fn shown(ledger: &Ledger, session: Option<&str>, viewer: &Viewer) -> Option<Receipt> {
    let around = Around {
        now: UnixTime(BEGAN.0 + 60),
        mode: "enforce",
        lockdown: "off",
        ever: Some(Ever {
            answered_here: 1,
            sent_on: 2,
            refused: 3,
            bytes_left_machine: 4,
        }),
        browser: Plane::Closed,
        purpose: &|rule| (rule == "mine").then(|| "my models".to_owned()),
    };
    Receipt::of(ledger, session, viewer, &around)
}

pub fn receipt(samples: &[Sample]) -> Receipt {
    shown(&ledger(samples), None, &Viewer::Everything).expect("the machine has one")
}
