//! Observations by destination. Bounded: a log can be large, and a client chooses what is in it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    line::{Action, Observation, What},
    tally::Seen,
};
use crate::{net::Authority, policy::Reason};

/// Destinations that rules are made for; the records of others are counted as left out.
const MAX_DESTINATIONS: usize = 4096;
/// Different requests (method, path) per destination; beyond, a path counts as its first folder.
const MAX_REQUESTS: usize = 2048;

#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub destinations: BTreeMap<Authority, Destination>,
    /// Records read, of any kind.
    pub records: u64,
    /// Records that gave rise to no rule, by why.
    pub left_out: BTreeMap<LeftOut, u64>,
}

/// Why a record gave rise to no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LeftOut {
    /// A rule of the time allowed it.
    AllowedAlready,
    /// Refused, and the caller did not ask for refusals.
    Denied,
    /// A deny rule matched, which wins over every allow.
    DenyRule,
    /// Refused by its form or on its way; no rule allows it.
    NotByRules,
    /// Nothing in it says where it went.
    NoAuthority,
    TooManyDestinations,
}

/// What was seen of one host and port.
#[derive(Debug, Default)]
pub(super) struct Destination {
    pub tunnels: Seen,
    pub requests: BTreeMap<RequestKey, Seen>,
    /// Refused after a rule (or report mode) had let it through.
    pub refused_later: BTreeSet<&'static str>,
    /// An address behind the name was of a closed class.
    pub address_closed: bool,
    /// Records that ended as their decision said.
    pub passed: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RequestKey {
    /// Canonical, as it was judged, unless `below`.
    pub path: String,
    /// `path` is a folder (ending in `/`) that stands for what is below it.
    pub below: bool,
    pub method: String,
    pub upgrade: bool,
}

impl Gathered {
    pub fn take(&mut self, o: Observation, include_denied: bool) {
        self.records += 1;
        if let Err(why) = self.sort(o, include_denied) {
            *self.left_out.entry(why).or_default() += 1;
        }
    }

    fn sort(&mut self, o: Observation, include_denied: bool) -> Result<(), LeftOut> {
        // What enforce mode would say, or what was said.
        let refusal = match (o.would_deny, o.action) {
            (Some(reason), _) => reason,
            (None, Action::Denied) => {
                let reason = o.reason.ok_or(LeftOut::NotByRules)?;
                // A closed address is only found behind an allow: it tells of no missing rule.
                if !by_missing_rule(reason) {
                    return Err(match reason {
                        Reason::RuleDenies => LeftOut::DenyRule,
                        _ => LeftOut::NotByRules,
                    });
                }
                if !include_denied {
                    return Err(LeftOut::Denied);
                }
                reason
            }
            (None, Action::Allowed | Action::Intercepted) => return Err(LeftOut::AllowedAlready),
        };
        if refusal == Reason::RuleDenies {
            return Err(LeftOut::DenyRule);
        }
        if !by_missing_rule(refusal) {
            return Err(LeftOut::NotByRules);
        }
        if o.action == Action::Intercepted {
            return Err(LeftOut::AllowedAlready);
        }
        let authority = o.authority.as_ref().ok_or(LeftOut::NoAuthority)?;
        if self.destinations.len() >= MAX_DESTINATIONS && !self.destinations.contains_key(authority)
        {
            return Err(LeftOut::TooManyDestinations);
        }
        let to = self.destinations.entry(authority.clone()).or_default();
        to.add(&o, refusal);
        Ok(())
    }
}

/// Whether a rule is what was missing.
fn by_missing_rule(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NoRuleMatched | Reason::HostKnownRequestNot | Reason::UpgradeNotAllowed
    )
}

impl Destination {
    fn add(&mut self, o: &Observation, refusal: Reason) {
        // Report mode let it through, and then its form or its address stopped it.
        if o.would_deny.is_some()
            && o.action == Action::Denied
            && let Some(later) = o.reason
        {
            self.address_closed |= matches!(later, Reason::AddressClosed | Reason::OwnListener);
            self.refused_later.insert(later.code());
        } else {
            self.passed += 1;
        }
        let What::Request { method, path } = &o.what else {
            return self.tunnels.add(o);
        };
        // A CONNECT is a connection whatever record it stands in.
        if method == "CONNECT" {
            return self.tunnels.add(o);
        }
        let mut key = RequestKey {
            path: path.clone(),
            below: false,
            method: method.clone(),
            upgrade: refusal == Reason::UpgradeNotAllowed,
        };
        if self.requests.len() >= MAX_REQUESTS && !self.requests.contains_key(&key) {
            key.below = true;
            key.path = first_folder(path);
        }
        self.requests.entry(key).or_default().add(o);
    }
}

/// `/a/` of `/a/b/c`; `/` where the path has no folder.
fn first_folder(path: &str) -> String {
    let rest = path.strip_prefix('/').unwrap_or(path);
    match rest.split_once('/') {
        Some((folder, _)) => format!("/{folder}/"),
        None => "/".to_owned(),
    }
}

impl LeftOut {
    pub fn words(self) -> &'static str {
        match self {
            LeftOut::AllowedAlready => "allowed already by a rule of their time",
            LeftOut::Denied => "refused; --include-denied makes rules for them too",
            LeftOut::DenyRule => "matched a deny rule, which wins over every allow",
            LeftOut::NotByRules => "refused by their form or on the way, which no rule changes",
            LeftOut::NoAuthority => "name no destination",
            LeftOut::TooManyDestinations => "beyond 4096 destinations",
        }
    }

    pub fn code(self) -> &'static str {
        match self {
            LeftOut::AllowedAlready => "allowed_already",
            LeftOut::Denied => "denied",
            LeftOut::DenyRule => "deny_rule",
            LeftOut::NotByRules => "not_by_rules",
            LeftOut::NoAuthority => "no_authority",
            LeftOut::TooManyDestinations => "too_many_destinations",
        }
    }
}
