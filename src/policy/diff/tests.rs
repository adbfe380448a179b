//! What a new policy opens, as tables over pairs of policies.

use super::{
    super::{secrets::SecretMode, testing::policy},
    *,
};

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
    const ONE: &str = "a a.test tunnel";
    const WIDE: &str = "w *.a.test forward paths=/x/*";
    const DENY: &str = "d d.test deny";
    const ANSWERED: &str = "r www.a.test sink paths=/x/*";
    // What changes, the rules before and after, and what is said.
    type Row = (
        &'static str,
        &'static [&'static str],
        &'static [&'static str],
        &'static [&'static str],
    );
    let rows: &[Row] = &[
        ("nothing changed", &[ONE, DENY], &[ONE, DENY], &[]),
        ("an allow is new", &[], &[ONE], &["rule a is new (tunnel)"]),
        ("an allow is gone", &[ONE], &[], &[]),
        ("a deny is new", &[], &[DENY], &[]),
        ("a deny is gone", &[DENY], &[], &["rule d is gone (deny)"]),
        (
            "a deny covers less",
            &[DENY],
            &["d d.test deny methods=GET"],
            &["rule d denies less (deny)"],
        ),
        (
            "a deny covers more",
            &["d d.test deny methods=GET"],
            &[DENY],
            &[],
        ),
        (
            "a deny is only noted",
            &[DENY],
            &["d d.test deny mode=report"],
            &["rule d denies less (deny)"],
        ),
        ("an allow has a new name", &[ONE], &["b a.test tunnel"], &[]),
        (
            "another host is added",
            &[ONE],
            &["a a.test,b.test tunnel"],
            &["rule a allows more (tunnel)"],
        ),
        (
            "a name below what was open",
            &[WIDE],
            &["w www.a.test forward paths=/x/*"],
            &[],
        ),
        (
            "the apex, which the wildcard does not cover",
            &[WIDE],
            &["w a.test forward paths=/x/*"],
            &["rule w allows more (forward)"],
        ),
        (
            "a path below",
            &[WIDE],
            &["w *.a.test forward paths=/x/y"],
            &[],
        ),
        (
            "every path",
            &[WIDE],
            &["w *.a.test forward"],
            &["rule w allows more (forward)"],
        ),
        (
            "another port",
            &[ONE],
            &["a a.test tunnel ports=443,8443"],
            &["rule a allows more (tunnel)"],
        ),
        (
            "every port",
            &[ONE],
            &["a a.test tunnel ports=any"],
            &["rule a allows more (tunnel)"],
        ),
        (
            "one port of all",
            &["a a.test tunnel ports=any"],
            &[ONE],
            &[],
        ),
        (
            "fewer methods",
            &[WIDE],
            &["w *.a.test forward paths=/x/* methods=GET"],
            &[],
        ),
        (
            "the same methods on fewer paths",
            &["w *.a.test forward methods=GET"],
            &["w *.a.test forward methods=GET paths=/x/*"],
            &[],
        ),
        (
            "another method",
            &["w *.a.test forward methods=GET"],
            &["w *.a.test forward methods=POST"],
            &["rule w allows more (forward)"],
        ),
        (
            "the same entry for fewer methods",
            &["w *.a.test forward entries=explicit"],
            &["w *.a.test forward entries=explicit methods=GET"],
            &[],
        ),
        (
            "by another entry only",
            &["a a.test tunnel entries=explicit"],
            &["a a.test tunnel entries=transparent"],
            &["rule a allows more (tunnel)"],
        ),
        (
            "a WebSocket",
            &[WIDE],
            &["w *.a.test forward paths=/x/* upgrade=yes"],
            &["rule w allows more (forward)"],
        ),
        (
            "a WebSocket no longer",
            &["w *.a.test forward paths=/x/* upgrade=yes"],
            &[WIDE],
            &[],
        ),
        (
            "a later end",
            &["a a.test tunnel until=2026-01-01"],
            &["a a.test tunnel until=2027-01-01"],
            &["rule a allows more (tunnel)"],
        ),
        (
            "an earlier end",
            &["a a.test tunnel until=2027-01-01"],
            &["a a.test tunnel until=2026-01-01"],
            &[],
        ),
        ("a budget", &[ONE], &["a a.test tunnel budget=1024"], &[]),
        (
            "for everybody",
            &["a a.test tunnel users=ada"],
            &[ONE],
            &["rule a allows more (tunnel)"],
        ),
        (
            "for one more",
            &["a a.test tunnel users=ada"],
            &["a a.test tunnel users=ada,bob"],
            &["rule a allows more (tunnel)"],
        ),
        (
            "for one of them",
            &["a a.test tunnel users=ada,bob"],
            &["a a.test tunnel users=bob"],
            &[],
        ),
        (
            "another reason given",
            &[ONE],
            &["a a.test tunnel reason=because"],
            &[],
        ),
        (
            "clients of another network",
            &["a a.test tunnel clients=10.0.0.0/8"],
            &["a a.test tunnel clients=11.0.0.0/8"],
            &["rule a allows more (tunnel)"],
        ),
        (
            "clients of a part of the network",
            &["a a.test tunnel clients=10.0.0.0/8"],
            &["a a.test tunnel clients=10.1.0.0/16"],
            &[],
        ),
        (
            "another entry",
            &["a a.test tunnel entries=explicit"],
            &["a a.test tunnel entries=explicit,transparent"],
            &["rule a allows more (tunnel)"],
        ),
        (
            "one entry of two",
            &["a a.test tunnel entries=explicit,transparent"],
            &["a a.test tunnel entries=explicit"],
            &[],
        ),
        (
            "another address",
            &["a 192.0.2.1 tunnel"],
            &["a 192.0.2.1,192.0.2.2 tunnel"],
            &["rule a allows more (tunnel)"],
        ),
        (
            "one address of two",
            &["a 192.0.2.1,192.0.2.2 tunnel"],
            &["a 192.0.2.2 tunnel"],
            &[],
        ),
        (
            "every path that ends like the one that was open",
            &[WIDE],
            &["w *.a.test forward paths=*/y"],
            &["rule w allows more (forward)"],
        ),
        (
            "one path of those that end like it",
            &["w *.a.test forward paths=*/y"],
            &["w *.a.test forward paths=/x/y"],
            &[],
        ),
        (
            "sent on in place of relayed",
            &[ONE],
            &["a a.test forward ports=443"],
            &["rule a allows more (forward)"],
        ),
        (
            "an answer is gone and its host is sent on",
            &[ANSWERED, WIDE],
            &[WIDE],
            &["rule r is gone or narrower, and its host is sent on by another"],
        ),
        (
            "an answer is gone and nothing covers it",
            &[ANSWERED],
            &[],
            &[],
        ),
        (
            "an answer is gone and another host is sent on",
            &[ANSWERED, ONE],
            &[ONE],
            &[],
        ),
        (
            "the order of allows",
            &[ANSWERED, WIDE],
            &[WIDE, ANSWERED],
            &["allow rules stand in another order: the first that matches counts"],
        ),
        (
            "the order of denies, of which any counts",
            &[DENY, "e e.test deny"],
            &["e e.test deny", DENY],
            &[],
        ),
    ];
    for (name, old, new, expected) in rows {
        let found = loosened(&policy(Mode::Enforce, old), &policy(Mode::Enforce, new));
        assert_eq!(found, *expected, "{name}");
    }
}

#[test]
fn a_renamed_rule_is_found_among_the_first_of_its_host() {
    let lines = |changed: Option<usize>| -> Vec<String> {
        let name = |n| if changed == Some(n) { "renamed" } else { "r" };
        (0..=LOOK_AT)
            .map(|n| format!("{}{n} a.test forward paths=/{n}", name(n)))
            .collect()
    };
    let of = |changed| {
        let lines = lines(changed);
        policy(
            Mode::Enforce,
            &lines.iter().map(String::as_str).collect::<Vec<_>>(),
        )
    };
    let (last, beyond) = (LOOK_AT - 1, LOOK_AT);
    assert!(loosened(&of(None), &of(Some(last))).is_empty());
    let found = loosened(&of(None), &of(Some(beyond)));
    assert_eq!(found, [format!("rule renamed{beyond} is new (forward)")]);
}

#[test]
fn secrets_that_would_pass_are_named_without_being_shown() {
    use SecretMode::{Block, Off, Redact};
    let own = &["Musterweg 12"][..];
    let gone = "a string of secrets.own is no longer looked for";
    for (name, old, new, expected) in [
        ("the same", (Block, own), (Block, own), None),
        (
            "masked in place of refused",
            (Block, own),
            (Redact, own),
            Some("secrets is redact"),
        ),
        (
            "not looked for",
            (Redact, own),
            (Off, own),
            Some("secrets is off"),
        ),
        (
            "refused in place of masked",
            (Redact, &[][..]),
            (Block, &[][..]),
            None,
        ),
        (
            "a string is gone",
            (Block, own),
            (Block, &[][..]),
            Some(gone),
        ),
        ("a string is new", (Block, &[][..]), (Block, own), None),
    ] {
        let policy = |(mode, own): (SecretMode, &[&str])| {
            policy(Mode::Enforce, &[]).with_secrets(Detector::new(mode, own.iter().copied()))
        };
        let found = loosened(&policy(old), &policy(new));
        assert_eq!(found.first().map(String::as_str), expected, "{name}");
    }
}

#[test]
fn report_mode_is_looser_and_the_way_back_is_not() {
    let (enforce, report) = (policy(Mode::Enforce, &[]), policy(Mode::Report, &[]));
    assert_eq!(loosened(&enforce, &report).len(), 1);
    assert!(loosened(&report, &enforce).is_empty());
}
