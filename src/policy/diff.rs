//! What a new policy allows that the old one did not, rule by rule.
//!
//! Called by the reload, for its log: nobody should open a door without a line that says so. It
//! compares rules, not every request there could be, and errs on the side of saying too much.

use std::collections::{HashMap, HashSet};

use crate::net::DomainPattern;

use super::{
    CompiledPolicy, Mode, PathPattern, Ports, Rule, RuleAction, RuleName, Terms, secrets::Detector,
};

/// In words, each thing that is looser in `new`. Empty: nothing is.
pub fn loosened(old: &CompiledPolicy, new: &CompiledPolicy) -> Vec<String> {
    let mut found = Vec::new();
    if (old.mode(), new.mode()) == (Mode::Enforce, Mode::Report) {
        found.push("mode is report: what policy would refuse is let through".to_owned());
    }
    found.extend(secrets(old.secrets(), new.secrets()));
    let (before, after) = (Known::of(old), Known::of(new));
    for rule in new.rules().iter().filter(|r| allows(r)) {
        if !before.covers(rule) {
            let how = match before.by_name.contains_key(&rule.name) {
                true => "allows more",
                false => "is new",
            };
            found.push(format!(
                "rule {} {how} ({})",
                rule.name,
                rule.action.as_str()
            ));
        }
    }
    for rule in old.rules().iter().filter(|r| !allows(r)) {
        if !after.covers(rule) {
            let how = match after.by_name.contains_key(&rule.name) {
                true => "denies less",
                false => "is gone",
            };
            found.push(format!("rule {} {how} (deny)", rule.name));
        }
    }
    found.extend(uncovered_answers(old, new, &after));
    if order(old, new) != order(new, old) {
        found.push("allow rules stand in another order: the first that matches counts".to_owned());
    }
    found
}

/// What the detector of secrets let through no longer stops.
fn secrets(old: &Detector, new: &Detector) -> Option<String> {
    if new.mode().strictness() < old.mode().strictness() {
        return Some(format!("secrets is {}", new.mode().as_str()));
    }
    (!new.knows_all_of(old)).then(|| "a string of secrets.own is no longer looked for".to_owned())
}

/// What was answered on this machine, and now falls to a rule that sends it on.
fn uncovered_answers(old: &CompiledPolicy, new: &CompiledPolicy, after: &Known<'_>) -> Vec<String> {
    let sent_on: HashSet<&DomainPattern> = new
        .rules()
        .iter()
        .filter(|r| matches!(r.action, RuleAction::Forward | RuleAction::Tunnel))
        .flat_map(|r| &r.hosts)
        .collect();
    let mut gone = old
        .rules()
        .iter()
        .filter(|r| matches!(r.action, RuleAction::Respond(_)) && !after.covers(r));
    if sent_on.is_empty() {
        return Vec::new();
    }
    gone.by_ref()
        .filter(|r| r.hosts.iter().any(|h| overlaps(h, &sent_on)))
        .map(|r| {
            format!(
                "rule {} is gone or narrower, and its host is sent on by another",
                r.name
            )
        })
        .collect()
}

fn overlaps(host: &DomainPattern, others: &HashSet<&DomainPattern>) -> bool {
    others.contains(host)
        || suffixes(host.base()).any(|s| others.contains(&DomainPattern::Below(s.into())))
        || matches!(host, DomainPattern::Below(_))
            && others.iter().any(|o| below(o.base(), host.base()))
}

/// Names of allow rules that both have, as `of` orders them.
fn order<'a>(of: &'a CompiledPolicy, other: &CompiledPolicy) -> Vec<&'a RuleName> {
    let shared: HashSet<&RuleName> = other
        .rules()
        .iter()
        .filter(|r| allows(r))
        .map(|r| &r.name)
        .collect();
    of.rules()
        .iter()
        .filter(|r| allows(r) && shared.contains(&r.name))
        .map(|r| &r.name)
        .collect()
}

fn allows(rule: &Rule) -> bool {
    match rule.action {
        RuleAction::Deny => false,
        RuleAction::Tunnel | RuleAction::Forward | RuleAction::Respond(_) => true,
    }
}

/// A policy's rules, quick to find again.
struct Known<'a> {
    by_name: HashMap<&'a RuleName, &'a Rule>,
    by_host: HashMap<&'a DomainPattern, Vec<&'a Rule>>,
}

/// Renamed rules are looked for among this many of the same host; beyond it they count as new.
const LOOK_AT: usize = 64;

impl<'a> Known<'a> {
    fn of(policy: &'a CompiledPolicy) -> Self {
        let mut by_host: HashMap<&DomainPattern, Vec<&Rule>> = HashMap::new();
        for rule in policy.rules() {
            if let Some(host) = rule.hosts.first() {
                let list = by_host.entry(host).or_default();
                if list.len() < LOOK_AT {
                    list.push(rule);
                }
            }
        }
        let by_name = policy.rules().iter().map(|r| (&r.name, r)).collect();
        Self { by_name, by_host }
    }

    /// Whether one rule here matches all that `rule` matches, and does the same.
    fn covers(&self, rule: &Rule) -> bool {
        if self
            .by_name
            .get(&rule.name)
            .is_some_and(|known| covers(known, rule))
        {
            return true;
        }
        let same_host = rule.hosts.first().and_then(|h| self.by_host.get(h));
        same_host.is_some_and(|known| known.iter().any(|k| covers(k, rule)))
    }
}

/// Whether `wide` matches all that `narrow` does. Fields that are not named here must be equal, so
/// that one added later is never overlooked.
fn covers(wide: &Rule, narrow: &Rule) -> bool {
    let within = narrow.hosts.iter().all(|h| covers_host(&wide.hosts, h))
        && narrow.ips.iter().all(|ip| wide.ips.contains(ip))
        && covers_ports(&wide.ports, &narrow.ports)
        && covers_list(&wide.methods, &narrow.methods, |w, n| w == n)
        && covers_list(&wide.paths, &narrow.paths, covers_path)
        && covers_list(&wide.clients, &narrow.clients, |w, n| w.contains(n))
        && covers_list(&wide.entries, &narrow.entries, |w, n| w == n)
        && (wide.upgrade || !narrow.upgrade)
        && covers_terms(wide.terms.as_deref(), narrow.terms.as_deref());
    within
        && *narrow
            == Rule {
                name: narrow.name.clone(),
                hosts: narrow.hosts.clone(),
                ips: narrow.ips.clone(),
                ports: narrow.ports.clone(),
                methods: narrow.methods.clone(),
                paths: narrow.paths.clone(),
                clients: narrow.clients.clone(),
                entries: narrow.entries.clone(),
                upgrade: narrow.upgrade,
                reason: narrow.reason.clone(),
                terms: narrow.terms.clone(),
                ..wide.clone()
            }
}

fn covers_terms(wide: Option<&Terms>, narrow: Option<&Terms>) -> bool {
    let none = Terms::default();
    wide.unwrap_or(&none).allow_all_of(narrow.unwrap_or(&none))
}

/// An empty list does not restrict.
fn covers_list<T>(wide: &[T], narrow: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
    wide.is_empty()
        || !narrow.is_empty() && narrow.iter().all(|n| wide.iter().any(|w| covers(w, n)))
}

fn covers_ports(wide: &Ports, narrow: &Ports) -> bool {
    match (wide, narrow) {
        (Ports::Any, _) => true,
        (Ports::List(_), Ports::Any) => false,
        (Ports::List(wide), Ports::List(narrow)) => narrow.iter().all(|p| wide.contains(p)),
    }
}

fn covers_path(wide: &PathPattern, narrow: &PathPattern) -> bool {
    match (wide, narrow) {
        (PathPattern::Exact(w), PathPattern::Exact(n)) => w == n,
        (PathPattern::Below(w), PathPattern::Exact(n) | PathPattern::Below(n)) => {
            n.starts_with(&**w)
        }
        (PathPattern::Ending(w), PathPattern::Exact(n) | PathPattern::Ending(n)) => {
            n.ends_with(&**w)
        }
        (PathPattern::Exact(_), PathPattern::Below(_) | PathPattern::Ending(_))
        | (PathPattern::Below(_), PathPattern::Ending(_))
        | (PathPattern::Ending(_), PathPattern::Below(_)) => false,
    }
}

fn covers_host(wide: &[DomainPattern], narrow: &DomainPattern) -> bool {
    wide.iter().any(|w| match (w, narrow) {
        (DomainPattern::Exact(w), DomainPattern::Exact(n)) => w == n,
        (DomainPattern::Below(w), DomainPattern::Exact(n)) => below(n, w),
        (DomainPattern::Below(w), DomainPattern::Below(n)) => w == n || below(n, w),
        (DomainPattern::Exact(_), DomainPattern::Below(_)) => false,
    })
}

fn below(name: &str, base: &str) -> bool {
    name.strip_suffix(base)
        .is_some_and(|rest| rest.ends_with('.'))
}

fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.')
        .filter_map(|(at, _)| name.get(at + 1..))
}

#[cfg(test)]
mod tests;
