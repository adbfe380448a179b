//! From a host to the rules that name it, in constant time: one hash look-up for the exact name and
//! one for each suffix that is as short as the suffixes of the rules.
//!
//! Within one name, rules with paths are found by path, so that ten thousand rules on one host are
//! as quick as ten thousand hosts.

use std::{net::IpAddr, sync::Arc};

use hashbrown::HashMap;

use crate::net::{DomainPattern, Host};

use super::{PathPattern, Rule, RuleAction};

/// Position in the policy's rule list: the order that decides between allows.
pub(super) type RuleId = u32;

#[derive(Debug, Default)]
pub(super) struct HostIndex {
    exact: HashMap<Arc<str>, Bucket>,
    below: HashMap<Arc<str>, Bucket>,
    ips: HashMap<IpAddr, Bucket>,
    /// Most dots in a key of `below`: longer suffixes need no look-up.
    below_dots: usize,
}

/// The rules of one name, in order. Denies are apart because any of them wins.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    pub(super) denies: RuleList,
    pub(super) allows: RuleList,
}

/// Rules that name no path, and rules by path. A rule with several paths is in several lists.
#[derive(Debug, Default)]
pub(super) struct RuleList {
    /// Every rule, in order: the connection checkpoint knows no path.
    all: Vec<RuleId>,
    any_path: Vec<RuleId>,
    exact_path: HashMap<Box<str>, Vec<RuleId>>,
    /// Keys end with `/`.
    below_path: HashMap<Box<str>, Vec<RuleId>>,
    /// Most slashes in a key of `below_path`.
    below_slashes: usize,
    /// Keys begin with `/`.
    ending_path: HashMap<Box<str>, Vec<RuleId>>,
    /// Most slashes in a key of `ending_path`.
    ending_slashes: usize,
}

impl HostIndex {
    pub(super) fn build(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        for (id, rule) in (0..).zip(rules) {
            for pattern in &rule.hosts {
                let bucket = match pattern {
                    DomainPattern::Exact(name) => index.exact.entry(name.clone()),
                    DomainPattern::Below(name) => {
                        let dots = name.bytes().filter(|b| *b == b'.').count();
                        index.below_dots = index.below_dots.max(dots);
                        index.below.entry(name.clone())
                    }
                };
                bucket.or_default().add(id, rule);
            }
            for ip in &rule.ips {
                index.ips.entry(*ip).or_default().add(id, rule);
            }
        }
        index
    }

    /// Calls `visit` for the bucket of the name itself and of each suffix that rules name.
    pub(super) fn each_bucket<'a>(&'a self, host: &Host, mut visit: impl FnMut(&'a Bucket)) {
        let name = match host {
            Host::Ip(ip) => {
                if let Some(bucket) = self.ips.get(ip) {
                    visit(bucket);
                }
                return;
            }
            Host::Name(name) => name,
        };
        if let Some(bucket) = self.exact.get(&**name) {
            visit(bucket);
        }
        if self.below.is_empty() {
            return;
        }
        // From the shortest suffix up; never the whole name, which is not below itself.
        let dots = memchr::memrchr_iter(b'.', name.as_bytes());
        for at in dots.take(self.below_dots + 1) {
            let Some(suffix) = name.get(at + 1..) else {
                return;
            };
            if let Some(bucket) = self.below.get(suffix) {
                visit(bucket);
            }
        }
    }
}

impl Bucket {
    fn add(&mut self, id: RuleId, rule: &Rule) {
        match rule.action {
            RuleAction::Deny => self.denies.add(id, rule),
            RuleAction::Tunnel | RuleAction::Forward | RuleAction::Respond(_) => {
                self.allows.add(id, rule);
            }
        }
    }
}

impl RuleList {
    fn add(&mut self, id: RuleId, rule: &Rule) {
        push_once(&mut self.all, id);
        if rule.paths.is_empty() {
            push_once(&mut self.any_path, id);
        }
        for path in &rule.paths {
            match path {
                PathPattern::Exact(path) => {
                    push_once(self.exact_path.entry(path.clone()).or_default(), id);
                }
                PathPattern::Ending(ending) => {
                    let slashes = ending.bytes().filter(|b| *b == b'/').count();
                    self.ending_slashes = self.ending_slashes.max(slashes);
                    push_once(self.ending_path.entry(ending.clone()).or_default(), id);
                }
                PathPattern::Below(prefix) => {
                    let slashes = prefix.bytes().filter(|b| *b == b'/').count();
                    self.below_slashes = self.below_slashes.max(slashes);
                    push_once(self.below_path.entry(prefix.clone()).or_default(), id);
                }
            }
        }
    }

    pub(super) fn first(&self) -> Option<RuleId> {
        self.all.first().copied()
    }

    /// The first rule in order that `fits`, whatever its paths.
    pub(super) fn first_any(&self, fits: impl Fn(RuleId) -> bool) -> Option<RuleId> {
        self.all.iter().copied().find(|id| fits(*id))
    }

    /// The first rule in order whose path covers `path` and that `fits` otherwise.
    pub(super) fn first_for_path(
        &self,
        path: &str,
        fits: impl Fn(RuleId) -> bool,
    ) -> Option<RuleId> {
        let find = |list: &[RuleId]| list.iter().copied().find(|id| fits(*id));
        let mut best = find(&self.any_path);
        let mut consider = |found: Option<RuleId>| {
            best = match (best, found) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        };
        if !self.exact_path.is_empty() {
            consider(self.exact_path.get(path).and_then(|list| find(list)));
        }
        if !self.below_path.is_empty() {
            let slashes = memchr::memchr_iter(b'/', path.as_bytes());
            for at in slashes.take(self.below_slashes) {
                let prefix = path.get(..=at);
                consider(
                    prefix
                        .and_then(|p| self.below_path.get(p))
                        .and_then(|l| find(l)),
                );
            }
        }
        if !self.ending_path.is_empty() {
            let slashes = memchr::memrchr_iter(b'/', path.as_bytes());
            for at in slashes.take(self.ending_slashes) {
                let ending = path.get(at..);
                consider(
                    ending
                        .and_then(|e| self.ending_path.get(e))
                        .and_then(|l| find(l)),
                );
            }
        }
        best
    }
}

/// A rule may name one host twice (`a.test` and `A.test`); ids come in order.
fn push_once(list: &mut Vec<RuleId>, id: RuleId) {
    if list.last() != Some(&id) {
        list.push(id);
    }
}
