//! What rules demand beyond matching, as tables over whole policies.

use time::Duration;

use super::{
    budget::{Budget, Each, Per},
    secrets::SecretMode,
    testing::{NOW, connect_at, enforced, request_at, rule, rule_with},
    *,
};

fn until_noon() -> Terms {
    Terms {
        until: Some(NOW),
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
    let strict = rule_with("strict a.test forward", read_only());
    let p = enforced(vec![strict, rule("wide *.test forward")]);
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
        let line = format!("{method} a.test:443/x");
        assert_eq!(request_at(&p, &line, size, NOW), want, "{name}");
    }
}

#[test]
fn report_mode_notes_what_terms_would_refuse() {
    let p = CompiledPolicy::new(
        vec![rule_with("r a.test forward", read_only())],
        Mode::Report,
        1,
    );
    assert_eq!(
        request_at(&p, "POST a.test:443/x", SMALL, NOW),
        "forward r rule_allows would deny read_only"
    );
}

#[test]
fn a_rule_that_has_ended_is_not_there() {
    let second = Duration::seconds(1);
    let connect = |p: &CompiledPolicy, now| connect_at(p, "a.test:443", now);
    let ask = |p: &CompiledPolicy, now| request_at(p, "GET a.test:443/x", SMALL, now);
    for (action, word) in [("forward", "intercept"), ("tunnel", "tunnel")] {
        let p = enforced(vec![rule_with(
            &format!("boxed a.test {action}"),
            until_noon(),
        )]);
        let live = format!("{word} boxed rule_allows");
        assert_eq!(connect(&p, NOW - second), live, "a second before");
        assert_eq!(connect(&p, NOW), "deny boxed allow_expired", "at its end");
    }
    let boxed = rule_with("boxed a.test forward", until_noon());
    let alone = enforced(vec![boxed.clone()]);
    assert_eq!(ask(&alone, NOW - second), "forward boxed rule_allows");
    assert_eq!(ask(&alone, NOW), "deny boxed allow_expired");

    let both = enforced(vec![boxed.clone(), rule("below a.test forward")]);
    let next = "forward below rule_allows";
    assert_eq!(ask(&both, NOW), next, "the next rule decides");
    let denied = enforced(vec![boxed, rule("deny a.test deny")]);
    assert_eq!(ask(&denied, NOW), "deny deny rule_denies");
}

#[test]
fn a_policy_knows_when_its_next_rule_ends() {
    let terms = Terms {
        until: Some(NOW + Duration::hours(1)),
        ..Terms::default()
    };
    let later = rule_with("later b.test forward", terms);
    let noon = rule_with("noon a.test forward", until_noon());
    let policy = enforced(vec![later, noon.clone(), noon]);
    let second = Duration::seconds(1);
    for (after, end) in [
        (NOW - second, Some(NOW)),
        (NOW, Some(NOW + Duration::hours(1))),
        (NOW + Duration::hours(1), None),
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

#[test]
fn a_tunnel_can_keep_an_end_and_a_budget_and_no_other_term() {
    let of = |change: fn(&mut Terms)| {
        let mut terms = Terms::default();
        change(&mut terms);
        terms
    };
    let budget = Budget {
        bytes: 1,
        per: Per::Day,
        each: Each::Rule,
    };
    let spent = Terms {
        budget: Some(budget),
        ..Terms::default()
    };
    for (name, terms, want) in [
        ("none", Terms::default(), false),
        ("an end", until_noon(), false),
        ("a budget", spent, false),
        ("to read only", of(|t| t.read_only = true), true),
        ("a query", of(|t| t.max_query_bytes = Some(1)), true),
        ("headers", of(|t| t.max_header_bytes = Some(1)), true),
        ("secrets", of(|t| t.secrets = Some(SecretMode::Off)), true),
        ("encoded bodies", of(|t| t.encoded_bodies = true), true),
    ] {
        assert_eq!(terms.need_decryption(), want, "{name}");
    }
}

#[test]
fn a_rule_that_only_reads_still_takes_signed_links_and_tokens() {
    use terms::{READ_ONLY_HEADER_BYTES, READ_ONLY_QUERY_BYTES};
    assert_eq!(READ_ONLY_QUERY_BYTES, 4096, "long enough for a signed link");
    assert_eq!(
        READ_ONLY_HEADER_BYTES, 16_384,
        "cookies alone may have 4 KiB"
    );
}
