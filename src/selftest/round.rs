//! All cases once, against a running instance, with its counters before and after.
//!
//! Other clients may be at work meanwhile. A case that failed is therefore played again by itself,
//! and a socket or a question is put down to a case only if it comes back each time that case is
//! played alone, while nothing else was let through.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};

use super::{
    case::{Case, Judgement},
    corpus,
    driver::Driver,
    ground::{Ground, is_safe},
    lane::Lane,
    meter::Meter,
    report::{Failure, Report},
};
use crate::policy::CompiledPolicy;

/// Cases at the same time: enough for those that wait for a timeout, far from any bound.
const AT_ONCE: usize = 16;
/// Cases that are played again together to find the one that dialled.
const SUSPECTS: usize = 32;
/// How often a suspect is played alone.
const TRIES: usize = 3;

/// Which cases a person wants; empty is all.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub lanes: Vec<Lane>,
    pub groups: Vec<u8>,
}

impl Selection {
    fn holds(&self, case: &Case) -> bool {
        (self.lanes.is_empty() || self.lanes.contains(&case.lane))
            && (self.groups.is_empty() || self.groups.contains(&case.group))
    }
}

pub struct Round<'a> {
    pub ground: &'a Ground,
    pub policy: &'a CompiledPolicy,
    pub driver: &'a Driver,
    pub meter: &'a Meter,
    pub selection: &'a Selection,
}

impl Round<'_> {
    pub async fn play(&self) -> Report {
        let (mut cases, mut skipped) = (Vec::new(), 0);
        let mut wants_key: BTreeMap<&'static str, usize> = BTreeMap::new();
        for case in corpus::cases(self.ground) {
            if !self.selection.holds(&case) {
                continue;
            }
            if self.driver.reaches(case.lane) && is_safe(self.ground, self.policy, &case) {
                cases.push(case);
            } else if self.driver.doors.asks(case.lane) {
                *wants_key.entry(case.lane.as_str()).or_default() += 1;
            } else {
                skipped += 1;
            }
        }
        let mut notes = Vec::new();
        let before = self.meter.read().await;
        let plays: Vec<_> = cases
            .iter()
            .map(|case| async move { (case, case.judge(&self.driver.play(case).await)) })
            .collect();
        let judged: Vec<(&Case, Judgement)> = stream::iter(plays)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut failed = Vec::new();
        for (case, judgement) in judged {
            if judgement != Judgement::Right {
                failed.extend(self.again(case).await);
            }
        }
        match (before, self.meter.read().await) {
            (Some(before), Some(after)) if !after.since(before).is_quiet() => {
                failed.extend(self.suspects(&cases, &mut notes).await);
            }
            (Some(_), Some(_)) => {}
            (None, _) | (_, None) => notes.push(
                "sockets and DNS questions were not counted: the control plane does not answer"
                    .into(),
            ),
        }
        failed.sort_by_key(|f| (f.group, f.entry));
        Report {
            wants_key,
            ..Report::of(&cases, failed, skipped, notes)
        }
    }

    /// A second opinion, for an answer that came late on a busy machine.
    async fn again(&self, case: &Case) -> Option<Failure> {
        match case.judge(&self.driver.play(case).await) {
            Judgement::Right => None,
            Judgement::Wrong(detail) => Some(Failure::new(case, false, detail)),
            Judgement::Escaped(detail) => Some(Failure::new(case, true, detail)),
        }
    }

    /// Which cases make the instance dial or ask.
    async fn suspects(&self, cases: &[Case], notes: &mut Vec<String>) -> Vec<Failure> {
        let mut found = Vec::new();
        for some in cases.chunks(SUSPECTS) {
            if self.is_quiet_while(some).await {
                continue;
            }
            for case in some {
                if self.is_guilty(case).await {
                    let words = "refused, and yet a socket was opened or a name looked up".into();
                    found.push(Failure::new(case, true, words));
                }
            }
        }
        if found.is_empty() {
            notes.push(
                "something was dialled or looked up meanwhile, for other clients: no case does so \
                 when it is played alone"
                    .into(),
            );
        }
        found
    }

    async fn is_quiet_while(&self, cases: &[Case]) -> bool {
        let before = self.meter.read().await;
        for case in cases {
            self.driver.play(case).await;
        }
        match (before, self.meter.read().await) {
            (Some(before), Some(after)) => after.since(before).is_quiet(),
            (None, _) | (_, None) => true,
        }
    }

    async fn is_guilty(&self, case: &Case) -> bool {
        for _ in 0..TRIES {
            let before = self.meter.read().await;
            self.driver.play(case).await;
            let (Some(before), Some(after)) = (before, self.meter.read().await) else {
                return false;
            };
            let seen = after.since(before);
            if seen.is_quiet() || seen.allowed > 0 {
                return false;
            }
        }
        true
    }
}
