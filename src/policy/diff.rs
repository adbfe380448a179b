//! What a new policy allows that the old one did not, rule by rule.
//!
//! Called by the reload, for its log: nobody should open a door without a line that says so. It
//! compares rules, not every request there could be, and errs on the side of saying too much.

use std::collections::{HashMap, HashSet};

use crate::net::DomainPattern;

use super::{
    CompiledPolicy, Mode, PathPattern, Ports, Rule, RuleAction, RuleName, Terms,
    secrets::{Detector, SecretMode},
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
    let strictness = |mode| match mode {
        SecretMode::Off => 0,
        SecretMode::Redact => 1,
        SecretMode::Block => 2,
    };
    if strictness(new.mode()) < strictness(old.mode()) {
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
mod tests {
    use std::sync::Arc;

    use super::*;

    fn policy(yaml: &str) -> CompiledPolicy {
        let yaml =
            format!("version: 1\nstate_dir: /nowhere\npacks: []\nllm:\n  discover: false\n{yaml}");
        let config = crate::config::compile(&yaml, "test", ".".into(), &HashMap::default());
        let policy = config.unwrap_or_else(|e| panic!("{e}\n{yaml}")).policy;
        Arc::into_inner(CompiledPolicy::renumbered(policy, 1)).unwrap()
    }

    fn rules(items: &str) -> String {
        if items.is_empty() {
            String::new()
        } else {
            format!("rules:\n{items}")
        }
    }

    #[test]
    fn a_path_pattern_covers_what_it_matches() {
        let pattern = |text: &str| PathPattern::parse(text).unwrap();
        for (wide, narrow, want) in [
            ("/a", "/a", true),
            ("/a", "/b", false),
            ("/a/*", "/a/b", true),
            ("/a/*", "/a", false),
            ("/a/*", "/a/b/*", true),
            ("/a/b/*", "/a/*", false),
            ("*/x", "/a/x", true),
            ("*/x", "/a/y", false),
            ("*/x", "*/a/x", true),
            ("*/a/x", "*/x", false),
            ("/a", "/a/*", false),
            ("/a/x", "*/x", false),
            ("/a/*", "*/x", false),
            ("*/x", "/a/*", false),
        ] {
            let found = covers_path(&pattern(wide), &pattern(narrow));
            assert_eq!(found, want, "{wide} and {narrow}");
        }
    }

    #[test]
    fn hosts_overlap_where_one_name_can_be_of_both() {
        let pattern = |text: &str| DomainPattern::parse(text).unwrap();
        for (host, other, want) in [
            ("a.test", "a.test", true),
            ("a.test", "b.test", false),
            ("x.a.test", "*.a.test", true),
            ("y.x.a.test", "*.a.test", true),
            ("a.test", "*.a.test", false),
            ("ba.test", "*.a.test", false),
            ("*.a.test", "x.a.test", true),
            ("*.a.test", "a.test", false),
            ("*.a.test", "xa.test", false),
            ("*.a.test", "*.a.test", true),
            ("*.x.a.test", "*.a.test", true),
            ("*.a.test", "*.x.a.test", true),
            ("*.a.test", "*.b.test", false),
        ] {
            let others = pattern(other);
            let found = overlaps(&pattern(host), &HashSet::from([&others]));
            assert_eq!(found, want, "{host} and {other}");
        }
    }

    #[test]
    fn what_is_looser_is_named_and_what_is_not_is_quiet() {
        let one = "  - {name: a, hosts: [a.test], action: tunnel}\n";
        let wide = "  - {name: w, hosts: ['*.a.test'], paths: [/x/*], action: forward}\n";
        let deny = "  - {name: d, hosts: [d.test], action: deny}\n";
        let answered = "  - {name: r, hosts: [www.a.test], paths: [/x/*], respond: sink}\n";
        let join = |parts: &[&str]| parts.concat();
        let rows: &[(&str, String, String, &[&str])] = &[
            (
                "nothing changed",
                join(&[one, deny]),
                join(&[one, deny]),
                &[],
            ),
            (
                "an allow is new",
                "".into(),
                one.into(),
                &["rule a is new (tunnel)"],
            ),
            ("an allow is gone", one.into(), "".into(), &[]),
            ("a deny is new", "".into(), deny.into(), &[]),
            (
                "a deny is gone",
                deny.into(),
                "".into(),
                &["rule d is gone (deny)"],
            ),
            (
                "a deny covers less",
                deny.into(),
                deny.replace("action", "methods: [GET], action"),
                &["rule d denies less (deny)"],
            ),
            (
                "a deny covers more",
                deny.replace("action", "methods: [GET], action"),
                deny.into(),
                &[],
            ),
            (
                "a deny is only noted",
                deny.into(),
                deny.replace("action", "mode: report, action"),
                &["rule d denies less (deny)"],
            ),
            (
                "an allow has a new name",
                one.into(),
                one.replace("name: a", "name: b"),
                &[],
            ),
            (
                "another host is added",
                one.into(),
                one.replace("[a.test]", "[a.test, b.test]"),
                &["rule a allows more (tunnel)"],
            ),
            (
                "a name below what was open",
                wide.into(),
                wide.replace("'*.a.test'", "www.a.test"),
                &[],
            ),
            (
                "the apex, which the wildcard does not cover",
                wide.into(),
                wide.replace("'*.a.test'", "a.test"),
                &["rule w allows more (forward)"],
            ),
            (
                "a path below",
                wide.into(),
                wide.replace("/x/*", "/x/y"),
                &[],
            ),
            (
                "every path",
                wide.into(),
                wide.replace("paths: [/x/*], ", ""),
                &["rule w allows more (forward)"],
            ),
            (
                "another port",
                one.into(),
                one.replace("action", "ports: [443, 8443], action"),
                &["rule a allows more (tunnel)"],
            ),
            (
                "fewer methods",
                wide.into(),
                wide.replace("action", "methods: [GET], action"),
                &[],
            ),
            (
                "a WebSocket",
                wide.into(),
                wide.replace("action", "upgrade: true, action"),
                &["rule w allows more (forward)"],
            ),
            (
                "a later end",
                one.replace("action", "until: 2026-01-01T00:00:00Z, action"),
                one.replace("action", "until: 2027-01-01T00:00:00Z, action"),
                &["rule a allows more (tunnel)"],
            ),
            (
                "a budget",
                one.into(),
                one.replace("action", "budget: {bytes: 1KiB, per: day}, action"),
                &[],
            ),
            (
                "every path that ends like the one that was open",
                wide.into(),
                wide.replace("/x/*", "'*/y'"),
                &["rule w allows more (forward)"],
            ),
            (
                "one path of those that end like it",
                wide.replace("/x/*", "'*/y'"),
                wide.replace("/x/*", "/x/y"),
                &[],
            ),
            (
                "sent on in place of relayed",
                one.into(),
                one.replace("tunnel", "forward"),
                &["rule a allows more (forward)"],
            ),
            (
                "an answer is gone and its host is sent on",
                join(&[answered, wide]),
                wide.into(),
                &["rule r is gone or narrower, and its host is sent on by another"],
            ),
            (
                "an answer is gone and nothing covers it",
                answered.into(),
                "".into(),
                &[],
            ),
            (
                "the order of allows",
                join(&[answered, wide]),
                join(&[wide, answered]),
                &["allow rules stand in another order: the first that matches counts"],
            ),
        ];
        for (name, old, new, expected) in rows {
            let found = loosened(&policy(&rules(old)), &policy(&rules(new)));
            assert_eq!(found, *expected, "{name}");
        }
    }

    #[test]
    fn secrets_that_would_pass_are_named_without_being_shown() {
        let own = "secrets: {own: [\"Musterweg 12\"]}\n";
        for (name, old, new, expected) in [
            ("the same", own, own, None),
            (
                "masked in place of refused",
                own,
                "secrets: {mode: redact, own: [\"Musterweg 12\"]}\n",
                Some("secrets is redact"),
            ),
            (
                "refused in place of masked",
                "secrets: {mode: redact}\n",
                "",
                None,
            ),
            (
                "a string is gone",
                own,
                "",
                Some("a string of secrets.own is no longer looked for"),
            ),
            ("a string is new", "", own, None),
        ] {
            let found = loosened(&policy(old), &policy(new));
            assert_eq!(found.first().map(String::as_str), expected, "{name}");
        }
    }

    #[test]
    fn report_mode_is_looser_and_the_way_back_is_not() {
        let (enforce, report) = (policy("mode: enforce\n"), policy("mode: report\n"));
        assert_eq!(loosened(&enforce, &report).len(), 1);
        assert!(loosened(&report, &enforce).is_empty());
    }
}
