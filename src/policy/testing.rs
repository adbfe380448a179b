//! What the tests of this folder share: a rule in one line of text, and the facts of a connection or a
//! request, whose decision is a line of text again. Tables then read as the configuration does.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use time::{
    Date, OffsetDateTime,
    macros::{datetime, format_description},
};

use super::{
    budget::{Budget, Each, Per},
    *,
};
use crate::net::{Authority, DomainPattern, Entry, Port};

pub(super) const NOW: OffsetDateTime = datetime!(2026-06-01 12:00 UTC);
pub(super) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub(super) fn authority(text: &str) -> Authority {
    Authority::parse(text, None).unwrap()
}

/// `name host[,host] action [key=value[,value] ...]`; the keys are those of the configuration.
pub(super) fn rule(text: &str) -> Rule {
    let mut words = text.split_whitespace();
    let mut rule = named(
        words.next().unwrap(),
        words.next().unwrap(),
        words.next().unwrap(),
    );
    for word in words {
        let (key, value) = word.split_once('=').unwrap();
        restrict(&mut rule, key, value);
    }
    rule
}

fn named(name: &str, hosts: &str, action: &str) -> Rule {
    let action = match action {
        "deny" => RuleAction::Deny,
        "tunnel" => RuleAction::Tunnel,
        "forward" => RuleAction::Forward,
        "llm" => RuleAction::Respond(Responder::Llm),
        "sink" => RuleAction::Respond(Responder::Sink),
        other => panic!("{other}"),
    };
    let ips: Vec<IpAddr> = hosts.split(',').filter_map(|h| h.parse().ok()).collect();
    let names = hosts.split(',').filter(|h| h.parse::<IpAddr>().is_err());
    Rule {
        name: RuleName::new(name),
        hosts: names.map(|h| DomainPattern::parse(h).unwrap()).collect(),
        ips,
        ports: action.default_ports(),
        methods: vec![],
        paths: vec![],
        clients: vec![],
        entries: vec![],
        action,
        upgrade: false,
        mode: None,
        reason: None,
        terms: None,
    }
}

fn restrict(rule: &mut Rule, key: &str, value: &str) {
    let values = value.split(',');
    match key {
        "ports" if value == "any" => rule.ports = Ports::Any,
        "ports" => rule.ports = Ports::List(values.map(|v| Port::parse(v).unwrap()).collect()),
        "methods" => rule.methods = values.map(Into::into).collect(),
        "paths" => rule.paths = values.map(|v| PathPattern::parse(v).unwrap()).collect(),
        "clients" => rule.clients = values.map(|v| v.parse().unwrap()).collect(),
        "entries" => {
            let entry = |v| Entry::ALL.into_iter().find(|e| e.as_str() == v).unwrap();
            rule.entries = values.map(entry).collect();
        }
        "upgrade" => rule.upgrade = true,
        "reason" => rule.reason = Some(value.into()),
        "mode" if value == "report" => rule.mode = Some(Mode::Report),
        "mode" => rule.mode = Some(Mode::Enforce),
        "until" => {
            let date = Date::parse(value, format_description!("[year]-[month]-[day]")).unwrap();
            demand(rule, |t| t.until = Some(date.midnight().assume_utc()));
        }
        "users" => {
            let names = values.map(|v| v.parse().unwrap()).collect();
            demand(rule, |t| t.users = names);
        }
        "budget" => {
            let budget = Budget {
                bytes: value.parse().unwrap(),
                per: Per::Day,
                each: Each::Rule,
            };
            demand(rule, |t| t.budget = Some(budget));
        }
        other => panic!("{other}"),
    }
}

fn demand(rule: &mut Rule, change: impl FnOnce(&mut Terms)) {
    let mut terms = rule.terms.as_deref().cloned().unwrap_or_default();
    change(&mut terms);
    rule.terms = Some(Arc::new(terms));
}

/// [`rule`] with these demands.
pub(super) fn rule_with(text: &str, terms: Terms) -> Rule {
    Rule {
        terms: Some(Arc::new(terms)),
        ..rule(text)
    }
}

pub(super) fn policy(mode: Mode, rules: &[&str]) -> CompiledPolicy {
    CompiledPolicy::new(rules.iter().map(|r| rule(r)).collect(), mode, 1)
}

pub(super) fn enforced(rules: Vec<Rule>) -> CompiledPolicy {
    CompiledPolicy::new(rules, Mode::Enforce, 1)
}

/// The decision on a connection from this machine to the explicit entry.
pub(super) fn connect(p: &CompiledPolicy, to: &str) -> String {
    connect_as(p, to, CLIENT, Entry::Explicit)
}

pub(super) fn connect_as(p: &CompiledPolicy, to: &str, client: IpAddr, entry: Entry) -> String {
    connection(p, to, client, entry, NOW)
}

pub(super) fn connect_at(p: &CompiledPolicy, to: &str, now: OffsetDateTime) -> String {
    connection(p, to, CLIENT, Entry::Explicit, now)
}

fn connection(
    p: &CompiledPolicy,
    to: &str,
    client: IpAddr,
    entry: Entry,
    now: OffsetDateTime,
) -> String {
    let flow = Flow {
        entry,
        client,
        authority: &authority(to),
    };
    let d = p.decide_connection(&flow, now);
    show(d.action.as_str(), &d.rule, d.reason, d.would_deny)
}

/// The decision on `METHOD authority/path`; `^` before the method asks for an upgrade.
pub(super) fn request(p: &CompiledPolicy, line: &str) -> String {
    request_at(p, line, RequestSize::default(), NOW)
}

pub(super) fn request_at(
    p: &CompiledPolicy,
    line: &str,
    size: RequestSize,
    now: OffsetDateTime,
) -> String {
    let (method, rest) = line.split_once(' ').unwrap();
    let (to, path) = rest.split_once('/').unwrap();
    let facts = RequestFacts {
        entry: Entry::Explicit,
        client: CLIENT,
        authority: &authority(to),
        method: method.trim_start_matches('^'),
        path: &format!("/{path}"),
        upgrade: method.starts_with('^'),
        size,
    };
    let d = p.decide_request(&facts, now);
    let action = match d.action {
        Action::Respond(by) => by.as_str(),
        other => other.as_str(),
    };
    show(action, &d.rule, d.reason, d.would_deny)
}

fn show(action: &str, rule: &RuleName, reason: Reason, would: Option<Reason>) -> String {
    let would = would
        .map(|r| format!(" would deny {r}"))
        .unwrap_or_default();
    format!("{action} {rule} {reason}{would}")
}
