use std::sync::Arc;

use super::*;
use crate::{
    page::html,
    policy::{PathPattern, Responder, RuleName},
};

const TIGHTEST: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' data: blob:; \
    connect-src 'self'; worker-src 'self' blob:; manifest-src 'self'; frame-src 'none'; \
    object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    report-uri /airlock/csp";

const SETTINGS: PageSettings = PageSettings {
    connection_allowlist: true,
};

fn rule(name: &str, action: RuleAction, hosts: &[&str]) -> Rule {
    Rule {
        name: RuleName::new(name),
        hosts: hosts
            .iter()
            .map(|h| DomainPattern::parse(h).unwrap())
            .collect(),
        ips: vec![],
        ports: action.default_ports(),
        methods: vec![],
        paths: vec![],
        clients: vec![],
        entries: vec![Entry::FrontDoor],
        action,
        upgrade: false,
        mode: None,
        reason: None,
        terms: None,
    }
}

fn compile(rules: Vec<Rule>, mode: Mode) -> PagePolicy {
    PagePolicy::compile(&CompiledPolicy::new(rules, mode, 1), SETTINGS)
}

fn header(policy: &PagePolicy, name: &str) -> Option<String> {
    let found = policy.headers(&[]).into_iter().find(|(n, _)| *n == name);
    found.map(|(_, value)| value)
}

/// The sources of `connect-src`, and the list of connections.
fn reach(policy: &PagePolicy) -> (String, String) {
    let csp = header(policy, "content-security-policy").unwrap();
    let directive = |name: &str| {
        let found = csp.split("; ").find_map(|d| d.strip_prefix(name));
        found.unwrap().trim().to_owned()
    };
    let connect = directive("connect-src 'self'");
    assert_eq!(directive("img-src 'self' data: blob:"), connect);
    assert_eq!(directive("media-src 'self' data: blob:"), connect);
    assert_eq!(directive("script-src 'self'"), "");
    assert_eq!(directive("frame-src 'none'"), "");
    (connect, header(policy, "connection-allowlist").unwrap())
}

#[test]
fn without_rules_for_it_the_page_reaches_its_own_origin_alone() {
    let policy = compile(vec![], Mode::Enforce);
    assert_eq!(
        policy.headers(&[]),
        [
            ("content-security-policy", TIGHTEST.to_owned()),
            ("connection-allowlist", "(response-origin)".to_owned()),
        ]
    );
    assert!(policy.notes.is_empty());
}

#[test]
fn the_import_map_of_a_document_is_named_by_its_hash() {
    let scripts = html::import_maps(b"<script type=importmap>{}</script>");
    let policy = compile(vec![], Mode::Enforce);
    let (_, csp) = policy.headers(&scripts).swap_remove(0);
    assert!(
        csp.starts_with(&format!(
            "default-src 'none'; script-src 'self' {}; style-src",
            scripts[0].as_str()
        )),
        "{csp}"
    );
}

#[test]
fn report_mode_only_reports() {
    let policy = compile(vec![], Mode::Report);
    let names: Vec<_> = policy.headers(&[]).into_iter().map(|(n, _)| n).collect();
    assert_eq!(
        names,
        [
            "content-security-policy-report-only",
            "connection-allowlist-report-only"
        ]
    );
}

#[test]
fn the_list_of_connections_can_be_left_out() {
    let settings = PageSettings {
        connection_allowlist: false,
    };
    let rules = CompiledPolicy::new(vec![], Mode::Enforce, 1);
    let policy = PagePolicy::compile(&rules, settings);
    assert_eq!(header(&policy, "connection-allowlist"), None);
}

#[test]
fn a_rule_that_names_the_front_door_opens_its_hosts() {
    let tunnel = || rule("r", RuleAction::Tunnel, &["hub.test"]);
    let forward = || rule("r", RuleAction::Forward, &["hub.test"]);
    for (name, rule, sources, patterns) in [
        (
            "a tunnel",
            tunnel(),
            "https://hub.test",
            "(response-origin \"https://hub.test\")",
        ),
        (
            "names below",
            Rule {
                hosts: vec![DomainPattern::parse("*.hub.test").unwrap()],
                ..tunnel()
            },
            "https://*.hub.test",
            "(response-origin \"https://*.hub.test\")",
        ),
        (
            "a port of its own",
            Rule {
                ports: Ports::List(vec![Port::parse("8443").unwrap()]),
                ..tunnel()
            },
            "https://hub.test:8443",
            "(response-origin \"https://hub.test:8443\")",
        ),
        (
            "every port",
            Rule {
                ports: Ports::Any,
                ..tunnel()
            },
            "https://hub.test:*",
            "(response-origin \"https://hub.test:*\")",
        ),
        (
            "a WebSocket",
            Rule {
                upgrade: true,
                ..tunnel()
            },
            "https://hub.test wss://hub.test",
            "(response-origin \"https://hub.test\")",
        ),
        (
            "plain http too",
            forward(),
            "http://hub.test https://hub.test",
            "(response-origin \"https://hub.test\" \"http://hub.test\")",
        ),
    ] {
        let policy = compile(vec![rule], Mode::Enforce);
        assert_eq!(reach(&policy), (sources.into(), patterns.into()), "{name}");
        assert!(policy.notes.is_empty(), "{name}: {:?}", policy.notes);
    }
}

#[test]
fn what_a_browser_cannot_keep_is_not_opened_and_said() {
    let open = || rule("open", RuleAction::Tunnel, &["hub.test"]);
    let deny = |hosts: &[&str]| rule("deny", RuleAction::Deny, hosts);
    for (name, rules, note) in [
        (
            "methods",
            vec![Rule {
                methods: vec!["GET".into()],
                ..open()
            }],
            "methods",
        ),
        (
            "paths",
            vec![Rule {
                paths: vec![PathPattern::parse("/a/*").unwrap()],
                ..open()
            }],
            "paths",
        ),
        (
            "clients",
            vec![Rule {
                clients: vec!["10.0.0.0/8".parse().unwrap()],
                ..open()
            }],
            "clients",
        ),
        (
            "an end",
            vec![Rule {
                terms: Some(Arc::default()),
                ..open()
            }],
            "end",
        ),
        (
            "a deny of the same host",
            vec![open(), deny(&["hub.test"])],
            "deny",
        ),
        (
            "a deny of a part of it, everywhere",
            vec![
                Rule {
                    entries: vec![],
                    paths: vec![PathPattern::parse("/a").unwrap()],
                    ..deny(&["hub.test"])
                },
                open(),
            ],
            "deny",
        ),
        (
            "a deny of everything around it",
            vec![open(), deny(&["*.test"])],
            "deny",
        ),
        (
            "a deny of a name below",
            vec![
                rule("open", RuleAction::Tunnel, &["*.hub.test"]),
                deny(&["a.hub.test"]),
            ],
            "deny",
        ),
        (
            "an answer on this machine",
            vec![
                open(),
                rule("local", RuleAction::Respond(Responder::Sink), &["hub.test"]),
            ],
            "local",
        ),
        (
            "an address",
            vec![Rule {
                hosts: vec![],
                ips: vec!["192.0.2.1".parse().unwrap()],
                ..open()
            }],
            "addresses",
        ),
    ] {
        let policy = compile(rules, Mode::Enforce);
        assert_eq!(
            reach(&policy),
            (String::new(), "(response-origin)".into()),
            "{name}"
        );
        assert_eq!(policy.notes.len(), 1, "{name}: {:?}", policy.notes);
        assert!(policy.notes[0].contains(note), "{name}: {:?}", policy.notes);
    }
}

#[test]
fn rules_that_do_not_name_the_front_door_say_nothing_to_the_page() {
    let everywhere = Rule {
        entries: vec![],
        ..rule("everywhere", RuleAction::Tunnel, &["hub.test"])
    };
    let elsewhere = Rule {
        entries: vec![Entry::Explicit],
        ..rule("elsewhere", RuleAction::Forward, &["other.test"])
    };
    let unrelated_deny = Rule {
        entries: vec![Entry::Explicit],
        ..rule("unrelated", RuleAction::Deny, &["open.test"])
    };
    let open = rule("open", RuleAction::Tunnel, &["open.test"]);
    let policy = compile(
        vec![everywhere, elsewhere, unrelated_deny, open],
        Mode::Enforce,
    );
    assert_eq!(reach(&policy).0, "https://open.test");
    assert!(policy.notes.is_empty(), "{:?}", policy.notes);
}

#[test]
fn a_flood_of_hosts_is_bounded_and_said() {
    let hosts: Vec<String> = (0..200).map(|n| format!("h{n}.test")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let policy = compile(
        vec![rule("many", RuleAction::Tunnel, &hosts)],
        Mode::Enforce,
    );
    assert_eq!(reach(&policy).0.split(' ').count(), MOST_SOURCES);
    assert_eq!(policy.notes.len(), 1);
}
