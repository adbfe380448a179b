//! What rules demand beyond matching, as tables over whole policies.

use std::sync::Arc;

use time::{Duration, OffsetDateTime, macros::datetime};

use super::{
    budget::{Budget, Each, Per},
    secrets::SecretMode,
    *,
};
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
fn a_policy_knows_when_its_next_rule_ends() {
    let mut later = rule("later", "b.test", RuleAction::Forward, until_noon());
    let noon = rule("noon", "a.test", RuleAction::Forward, until_noon());
    let terms = Terms {
        until: Some(NOON + Duration::hours(1)),
        ..Terms::default()
    };
    later.terms = Some(Arc::new(terms));
    let policy = CompiledPolicy::new(vec![later, noon.clone(), noon], Mode::Enforce, 1);
    let second = Duration::seconds(1);
    for (after, end) in [
        (NOON - second, Some(NOON)),
        (NOON, Some(NOON + Duration::hours(1))),
        (NOON + Duration::hours(1), None),
    ] {
        assert_eq!(policy.next_end(after), end, "{after}");
    }
}

#[test]
fn looser_terms_allow_all_that_tighter_ones_do() {
    let of = |change: fn(&mut Terms)| {
        let mut terms = Terms::default();
        change(&mut terms);
        terms
    };
    let budget = |bytes, per| Budget {
        bytes,
        per,
        each: Each::Rule,
    };
    let mut hourly = of(|_| {});
    hourly.budget = Some(budget(10, Per::Hour));
    let mut more = hourly.clone();
    more.budget = Some(budget(20, Per::Hour));
    let mut daily = hourly.clone();
    daily.budget = Some(budget(20, Per::Day));
    let rows = [
        ("no end", of(|_| {}), until_noon(), true, false),
        (
            "a longer query",
            of(|t| t.max_query_bytes = Some(2)),
            of(|t| t.max_query_bytes = Some(1)),
            true,
            false,
        ),
        (
            "no bound on headers",
            of(|_| {}),
            of(|t| t.max_header_bytes = Some(1)),
            true,
            false,
        ),
        (
            "not only to read",
            of(|_| {}),
            of(|t| t.read_only = true),
            true,
            false,
        ),
        (
            "encoded bodies",
            of(|t| t.encoded_bodies = true),
            of(|_| {}),
            true,
            false,
        ),
        (
            "secrets pass",
            of(|t| t.secrets = Some(SecretMode::Off)),
            of(|_| {}),
            true,
            false,
        ),
        (
            "secrets are blocked where the default is not known here",
            of(|_| {}),
            of(|t| t.secrets = Some(SecretMode::Block)),
            true,
            false,
        ),
        ("more bytes", more, hourly.clone(), true, false),
        ("another window", daily, hourly.clone(), false, false),
        ("no budget", of(|_| {}), hourly, true, false),
        ("the same", until_noon(), until_noon(), true, true),
    ];
    for (name, wide, narrow, forth, back) in rows {
        assert_eq!(wide.allow_all_of(&narrow), forth, "{name}");
        assert_eq!(narrow.allow_all_of(&wide), back, "{name}, the other way");
    }
}
