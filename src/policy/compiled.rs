//! The compiled policy and its two first checkpoints. Default deny; a deny wins over every allow
//! wherever it stands; else the first allow in order wins.
//!
//! Called by `proxy` and `listener` for every connection and request; allocates nothing.
//!
//! Report mode carries out refusals by matching and by terms only on paper: [`Reason::RuleDenies`],
//! [`Reason::NoRuleMatched`], [`Reason::HostKnownRequestNot`], [`Reason::AllowExpired`],
//! [`Reason::ReadOnly`], [`Reason::QueryTooLarge`] and [`Reason::HeadersTooLarge`]. The decision then allows, and
//! `would_deny` says what enforce mode would have answered. A rule's own mode stands above the
//! policy's: a deny in report mode is skipped and noted (what is left decides, so it opens nothing),
//! and the first allow that names a host says whether its near misses are refused or noted.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use time::OffsetDateTime;

use crate::net::{Authority, DomainPattern, Entry};

use super::{
    Action, ConnectionAction, Decision, Mode, Reason, RequestSize, Rule, RuleAction, RuleName,
    index::{Bucket, HostIndex, RuleId},
    secrets::Detector,
};

/// What is known of a connection before its first request.
#[derive(Clone, Copy, Debug)]
pub struct Flow<'a> {
    pub entry: Entry,
    pub client: IpAddr,
    /// CONNECT target, or SNI with the port that was redirected.
    pub authority: &'a Authority,
}

/// What is known of a request before its body.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    pub entry: Entry,
    pub client: IpAddr,
    pub authority: &'a Authority,
    /// As on the wire: methods are case-sensitive.
    pub method: &'a str,
    /// From [`super::path::canonical`]; no query.
    pub path: &'a str,
    /// The request asks to upgrade (WebSocket).
    pub upgrade: bool,
    /// Judged only by rules that bound it.
    pub size: RequestSize,
}

/// Immutable; a reload makes a new one with the next generation.
#[derive(Debug)]
pub struct CompiledPolicy {
    rules: Vec<Rule>,
    index: HostIndex,
    mode: Mode,
    generation: u64,
    /// Some rule or the whole policy is in report mode.
    reports: bool,
    /// When time-boxed rules end; sorted, each once.
    ends: Box<[OffsetDateTime]>,
    secrets: Arc<Detector>,
}

impl CompiledPolicy {
    /// Rules in order of precedence: the user's before those of packs.
    pub fn new(rules: Vec<Rule>, mode: Mode, generation: u64) -> Self {
        let index = HostIndex::build(&rules);
        let reports = mode == Mode::Report || rules.iter().any(|r| r.mode == Some(Mode::Report));
        let until = |rule: &Rule| rule.terms.as_ref().and_then(|t| t.until);
        let ends: BTreeSet<_> = rules.iter().filter_map(until).collect();
        Self {
            rules,
            index,
            mode,
            generation,
            reports,
            ends: ends.into_iter().collect(),
            secrets: Arc::default(),
        }
    }

    /// The same policy under another generation; a copy only where somebody else holds it.
    pub fn renumbered(policy: Arc<Self>, generation: u64) -> Arc<Self> {
        Arc::new(match Arc::try_unwrap(policy) {
            Ok(own) => Self { generation, ..own },
            Err(shared) => Self {
                secrets: shared.secrets.clone(),
                ..Self::new(shared.rules.clone(), shared.mode, generation)
            },
        })
    }

    /// Secrets are looked for with this.
    pub fn with_secrets(mut self, detector: Detector) -> Self {
        self.secrets = Arc::new(detector);
        self
    }

    pub fn secrets(&self) -> &Arc<Detector> {
        &self.secrets
    }

    /// When the next rule ends, after this moment.
    pub fn next_end(&self, after: OffsetDateTime) -> Option<OffsetDateTime> {
        let at = self.ends.partition_point(|end| *end <= after);
        self.ends.get(at).copied()
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    pub fn rule_count(&self) -> usize {
        self.rules.len()
    }

    pub fn mode(&self) -> Mode {
        self.mode
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn rule(&self, name: &RuleName) -> Option<&Rule> {
        self.rules.iter().find(|r| r.name == *name)
    }

    /// Hosts whose TLS may be terminated here: for the CA's name constraints and leaf permission.
    /// Sorted, each once. Literal addresses are never intercepted.
    pub fn intercepted_hosts(&self) -> Vec<DomainPattern> {
        let hosts: BTreeSet<_> = self
            .rules
            .iter()
            .filter(|r| r.intercepts_tls())
            .flat_map(|r| &r.hosts)
            .collect();
        hosts.into_iter().cloned().collect()
    }

    /// First checkpoint. A first allow of `tunnel` gives Tunnel, unless a deny on the same host
    /// depends on method or path: what cannot be inspected is then denied. A first allow of
    /// `forward` or `respond` gives Intercept. An allow that has ended at `now` is not there.
    pub fn decide_connection(
        &self,
        flow: &Flow<'_>,
        now: OffsetDateTime,
    ) -> Decision<ConnectionAction> {
        let client = flow.client.to_canonical();
        let port = flow.authority.port;
        let fits = |rule: &Rule| rule.matches_connection(flow.entry, client, port);
        let mut found = Found::default();
        let mut hidden = Found::default();
        self.index.each_bucket(&flow.authority.host, |bucket| {
            found.name(bucket);
            let deny = |mode: Mode, needs_request: bool| {
                bucket.denies.first_any(|id| {
                    self.rules.get(id as usize).is_some_and(|r| {
                        r.needs_request() == needs_request && self.mode_of(r) == mode && fits(r)
                    })
                })
            };
            found.deny = first(found.deny, deny(Mode::Enforce, false));
            hidden.deny = first(hidden.deny, deny(Mode::Enforce, true));
            if self.reports {
                found.noted = first(found.noted, deny(Mode::Report, false));
                hidden.noted = first(hidden.noted, deny(Mode::Report, true));
            }
            let allow = |live: bool| {
                bucket.allows.first_any(|id| {
                    self.rules.get(id as usize).is_some_and(|r| {
                        fits(r)
                            && r.is_live(now) == live
                            && !(r.action == RuleAction::Tunnel && r.needs_request())
                    })
                })
            };
            found.allow = first(found.allow, allow(true));
            if !self.ends.is_empty() {
                found.ended = first(found.ended, allow(false));
            }
        });

        if let Some(deny) = found.deny {
            return self.denied(ConnectionAction::Deny, deny);
        }
        let tunnel = match found.allow.and_then(|id| self.rules.get(id as usize)) {
            Some(rule) => match rule.action {
                RuleAction::Tunnel => true,
                RuleAction::Forward | RuleAction::Respond(_) => {
                    return self.allowed(ConnectionAction::Intercept, rule, found.noted);
                }
                // Denies are never in an allow list; were one, it would deny.
                RuleAction::Deny => return refused(ConnectionAction::Deny, rule),
            },
            None => false,
        };
        // A tunnel, asked for or left open by report mode, cannot be inspected.
        if let Some(deny) = hidden.deny.filter(|_| tunnel || self.relaxes(&found)) {
            return self.denied(ConnectionAction::Deny, deny);
        }
        let noted = found.noted.or(hidden.noted);
        match found.allow.and_then(|id| self.rules.get(id as usize)) {
            Some(rule) => self.allowed(ConnectionAction::Tunnel, rule, noted),
            None => self.unmatched(
                &found,
                ConnectionAction::Deny,
                ConnectionAction::Tunnel,
                noted,
            ),
        }
    }

    /// Second checkpoint. `tunnel` rules do not match here: they say nothing about requests. The
    /// first allow that matches decides: what its terms refuse, no later rule is asked about.
    pub fn decide_request(
        &self,
        facts: &RequestFacts<'_>,
        now: OffsetDateTime,
    ) -> Decision<Action> {
        let client = facts.client.to_canonical();
        let port = facts.authority.port;
        let fits = |rule: &Rule| {
            rule.matches_connection(facts.entry, client, port) && rule.matches_method(facts.method)
        };
        let mut found = Found::default();
        let mut without_upgrade = None;
        self.index.each_bucket(&facts.authority.host, |bucket| {
            found.name(bucket);
            let deny = |mode: Mode| {
                bucket.denies.first_for_path(facts.path, |id| {
                    self.rules
                        .get(id as usize)
                        .is_some_and(|r| self.mode_of(r) == mode && fits(r))
                })
            };
            found.deny = first(found.deny, deny(Mode::Enforce));
            if self.reports {
                found.noted = first(found.noted, deny(Mode::Report));
            }
            let allow = |upgrade: bool, live: bool| {
                bucket.allows.first_for_path(facts.path, |id| {
                    self.rules.get(id as usize).is_some_and(|r| {
                        r.action != RuleAction::Tunnel
                            && (!upgrade || r.upgrade)
                            && fits(r)
                            && r.is_live(now) == live
                    })
                })
            };
            found.allow = first(found.allow, allow(facts.upgrade, true));
            if facts.upgrade {
                without_upgrade = first(without_upgrade, allow(false, true));
            }
            if !self.ends.is_empty() {
                found.ended = first(found.ended, allow(facts.upgrade, false));
            }
        });

        if let Some(deny) = found.deny {
            return self.denied(Action::Deny, deny);
        }
        let Some(rule) = found.allow.and_then(|id| self.rules.get(id as usize)) else {
            let near = without_upgrade.and_then(|id| self.rules.get(id as usize));
            if facts.upgrade && (near.is_some() || self.relaxes(&found)) {
                return Decision {
                    action: Action::Deny,
                    rule: near.map_or_else(RuleName::none, |r| r.name.clone()),
                    reason: Reason::UpgradeNotAllowed,
                    would_deny: None,
                    terms: None,
                };
            }
            return self.unmatched(&found, Action::Deny, Action::Forward, found.noted);
        };
        let failed = rule
            .terms
            .as_ref()
            .and_then(|terms| terms.check(facts.method, &facts.size).err());
        if let Some(reason) = failed {
            return self.outside_terms(rule, reason);
        }
        match rule.action {
            RuleAction::Forward => self.allowed(Action::Forward, rule, found.noted),
            RuleAction::Respond(by) => self.allowed(Action::Respond(by), rule, found.noted),
            RuleAction::Deny | RuleAction::Tunnel => refused(Action::Deny, rule),
        }
    }

    fn mode_of(&self, rule: &Rule) -> Mode {
        rule.mode.unwrap_or(self.mode)
    }

    /// Whether a request that no allow matches is let through and only noted.
    fn relaxes(&self, found: &Found) -> bool {
        let rule = found
            .named_by_allow
            .and_then(|id| self.rules.get(id as usize));
        rule.map_or(self.mode, |r| self.mode_of(r)) == Mode::Report
    }

    fn denied<A>(&self, deny: A, id: RuleId) -> Decision<A> {
        Decision {
            action: deny,
            rule: self.name_of(Some(id)),
            reason: Reason::RuleDenies,
            would_deny: None,
            terms: None,
        }
    }

    /// A request that its rule's terms refuse, or in report mode note.
    fn outside_terms(&self, rule: &Rule, reason: Reason) -> Decision<Action> {
        let relaxed = match (self.mode_of(rule), rule.action) {
            (Mode::Report, RuleAction::Forward) => Action::Forward,
            (Mode::Report, RuleAction::Respond(by)) => Action::Respond(by),
            (Mode::Enforce, _) | (_, RuleAction::Deny | RuleAction::Tunnel) => {
                return Decision {
                    action: Action::Deny,
                    rule: rule.name.clone(),
                    reason,
                    would_deny: None,
                    terms: None,
                };
            }
        };
        Decision {
            would_deny: Some(reason),
            ..self.allowed(relaxed, rule, None)
        }
    }

    /// `noted`: a deny in report mode that matched as well; the record then carries its name.
    fn allowed<A>(&self, action: A, rule: &Rule, noted: Option<RuleId>) -> Decision<A> {
        let by_note = noted.and_then(|id| self.rules.get(id as usize));
        Decision {
            action,
            rule: by_note.unwrap_or(rule).name.clone(),
            reason: Reason::RuleAllows,
            would_deny: by_note.map(|_| Reason::RuleDenies),
            terms: rule.terms.clone(),
        }
    }

    /// The default. `reason` is the same in both modes; the action tells them apart.
    fn unmatched<A>(
        &self,
        found: &Found,
        deny: A,
        relaxed: A,
        noted: Option<RuleId>,
    ) -> Decision<A> {
        let (reason, id) = match (noted, found.named_by_allow.or(found.named)) {
            (Some(id), _) if self.relaxes(found) => (Reason::RuleDenies, Some(id)),
            _ if found.ended.is_some() => (Reason::AllowExpired, found.ended),
            (_, Some(id)) => (Reason::HostKnownRequestNot, Some(id)),
            (_, None) => (Reason::NoRuleMatched, None),
        };
        let rule = self.name_of(id);
        if self.relaxes(found) {
            Decision {
                action: relaxed,
                rule,
                reason,
                would_deny: Some(reason),
                terms: None,
            }
        } else {
            Decision {
                action: deny,
                rule,
                reason,
                would_deny: None,
                terms: None,
            }
        }
    }

    fn name_of(&self, id: Option<RuleId>) -> RuleName {
        id.and_then(|id| self.rules.get(id as usize))
            .map_or_else(RuleName::none, |r| r.name.clone())
    }
}

/// First rules in order, over all patterns that cover the host.
#[derive(Debug, Default)]
struct Found {
    deny: Option<RuleId>,
    /// A deny in report mode.
    noted: Option<RuleId>,
    allow: Option<RuleId>,
    /// An allow that would match had it not ended.
    ended: Option<RuleId>,
    /// Any rule that names the host, whatever else it asks for.
    named: Option<RuleId>,
    named_by_allow: Option<RuleId>,
}

impl Found {
    fn name(&mut self, bucket: &Bucket) {
        self.named = first(self.named, bucket.denies.first());
        self.named_by_allow = first(self.named_by_allow, bucket.allows.first());
        self.named = first(self.named, self.named_by_allow);
    }
}

fn first(a: Option<RuleId>, b: Option<RuleId>) -> Option<RuleId> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn refused<A>(deny: A, rule: &Rule) -> Decision<A> {
    Decision {
        action: deny,
        rule: rule.name.clone(),
        reason: Reason::RuleDenies,
        would_deny: None,
        terms: None,
    }
}
