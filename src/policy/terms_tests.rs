//! What rules demand beyond matching, as tables over whole policies.

use std::sync::Arc;

use time::{Duration, OffsetDateTime, macros::datetime};

use super::*;
use crate::net::{Authority, DomainPattern, Entry};

const NOON: OffsetDateTime = datetime!(2026-06-01 12:00 UTC);

fn rule(name: &str, host: &str, action: RuleAction, terms: Terms) -> Rule {
    Rule {
        name: RuleName::new(name),
        hosts: vec![DomainPattern::parse(host).unwrap()],
        ips: vec![],
        ports: Ports::Any,
        methods: vec![],
        paths: vec![],
        clients: vec![],
        entries: vec![],
        action,
        upgrade: false,
        mode: None,
        reason: None,
        terms: Some(Arc::new(terms)),
    }
}

fn ask(p: &CompiledPolicy, method: &str, size: RequestSize, now: OffsetDateTime) -> String {
    let authority = Authority::parse("a.test:443", None).unwrap();
    let facts = RequestFacts {
        entry: Entry::Explicit,
        client: [127, 0, 0, 1].into(),
        authority: &authority,
        method,
        path: "/x",
        upgrade: false,
        size,
    };
    let d = p.decide_request(&facts, now);
    let would = d.would_deny.map(|r| format!(" would {r}"));
    format!(
        "{} {} {}{}",
        d.action.as_str(),
        d.rule,
        d.reason,
        would.unwrap_or_default()
    )
}

fn connect(p: &CompiledPolicy, now: OffsetDateTime) -> String {
    let authority = Authority::parse("a.test:443", None).unwrap();
    let flow = Flow {
        entry: Entry::Explicit,
        client: [127, 0, 0, 1].into(),
        authority: &authority,
    };
    let d = p.decide_connection(&flow, now);
    format!("{} {} {}", d.action.as_str(), d.rule, d.reason)
}

fn until_noon() -> Terms {
    Terms {
        until: Some(NOON),
        ..Terms::default()
    }
}

fn read_only() -> Terms {
    Terms {
        read_only: true,
        max_query_bytes: Some(10),
        max_header_bytes: Some(100),
        ..Terms::default()
    }
}

const SMALL: RequestSize = RequestSize {
    query_bytes: 10,
    header_bytes: 100,
    has_body: false,
};

#[test]
fn the_terms_of_the_chosen_rule_hold_and_no_later_rule_is_asked() {
    let wide = rule("wide", "*.test", RuleAction::Forward, Terms::default());
    let strict = rule("strict", "a.test", RuleAction::Forward, read_only());
    let p = CompiledPolicy::new(vec![strict, wide], Mode::Enforce, 1);
    let rows = [
        (
            "a GET in bounds",
            "GET",
            SMALL,
            "forward strict rule_allows",
        ),
        (
            "a HEAD in bounds",
            "HEAD",
            SMALL,
            "forward strict rule_allows",
        ),
        ("a POST", "POST", SMALL, "deny strict read_only"),
        (
            "a method in lower case",
            "get",
            SMALL,
            "deny strict read_only",
        ),
        (
            "a GET with a body",
            "GET",
            RequestSize {
                has_body: true,
                ..SMALL
            },
            "deny strict read_only",
        ),
        (
            "a query one byte too long",
            "GET",
            RequestSize {
                query_bytes: 11,
                ..SMALL
            },
            "deny strict query_too_large",
        ),
        (
            "headers one byte too long",
            "GET",
            RequestSize {
                header_bytes: 101,
                ..SMALL
            },
            "deny strict headers_too_large",
        ),
    ];
    for (name, method, size, want) in rows {
        assert_eq!(ask(&p, method, size, NOON), want, "{name}");
    }
}

#[test]
fn report_mode_notes_what_terms_would_refuse() {
    let p = CompiledPolicy::new(
        vec![rule("r", "a.test", RuleAction::Forward, read_only())],
        Mode::Report,
        1,
    );
    assert_eq!(
        ask(&p, "POST", SMALL, NOON),
        "forward r rule_allows would read_only"
    );
}

#[test]
fn a_rule_that_has_ended_is_not_there() {
    let second = Duration::seconds(1);
    for action in [RuleAction::Forward, RuleAction::Tunnel] {
        let p = CompiledPolicy::new(
            vec![rule("boxed", "a.test", action, until_noon())],
            Mode::Enforce,
            1,
        );
        let word = match action {
            RuleAction::Tunnel => "tunnel",
            _ => "intercept",
        };
        let live = format!("{word} boxed rule_allows");
        assert_eq!(connect(&p, NOON - second), live, "a second before");
        assert_eq!(connect(&p, NOON), "deny boxed allow_expired", "at its end");
    }
    let boxed = rule("boxed", "a.test", RuleAction::Forward, until_noon());
    let alone = CompiledPolicy::new(vec![boxed.clone()], Mode::Enforce, 1);
    assert_eq!(
        ask(&alone, "GET", SMALL, NOON - second),
        "forward boxed rule_allows"
    );
    assert_eq!(ask(&alone, "GET", SMALL, NOON), "deny boxed allow_expired");

    let below = rule("below", "a.test", RuleAction::Forward, Terms::default());
    let both = CompiledPolicy::new(vec![boxed.clone(), below], Mode::Enforce, 1);
    assert_eq!(
        ask(&both, "GET", SMALL, NOON),
        "forward below rule_allows",
        "the next rule decides"
    );
    let mut deny = rule("deny", "a.test", RuleAction::Deny, Terms::default());
    deny.terms = None;
    let denied = CompiledPolicy::new(vec![boxed, deny], Mode::Enforce, 1);
    assert_eq!(ask(&denied, "GET", SMALL, NOON), "deny deny rule_denies");
}

#[test]
fn terms_say_how_long_is_left() {
    let left = |seconds| until_noon().remaining(NOON - Duration::seconds(seconds));
    assert_eq!(left(90), Some(std::time::Duration::from_secs(90)));
    assert_eq!(left(-90), Some(std::time::Duration::ZERO));
    assert_eq!(Terms::default().remaining(NOON), None);
}
