//! What a person is told: the decision on a URL in words, and how each refusal could be allowed.

use super::{
    testing::{CLIENT, NOW, authority, enforced, policy, rule, rule_with},
    *,
};
use crate::net::Entry;

#[test]
fn explanations() {
    let p = policy(
        Mode::Enforce,
        &["llm v.test llm", "t t.test tunnel", "bad bad.test deny"],
    );
    let e = |method: &str, url: &str| {
        explain(
            &p,
            &Around::default(),
            method,
            url,
            Entry::Explicit,
            CLIENT,
            NOW,
        )
        .map(|e| {
            (
                e.action,
                e.rule.to_string(),
                e.reason,
                e.how_to_allow.unwrap_or_default(),
            )
        })
    };
    let ok = |action: &str, rule: &str, reason, how: &str| {
        Ok((action.to_owned(), rule.to_owned(), reason, how.to_owned()))
    };
    let rows = [
        (
            "POST",
            "https://v.test/v1/x?a=b",
            ok("respond", "llm", Reason::RuleAllows, ""),
        ),
        (
            "GET",
            "https://T.test",
            ok("tunnel", "t", Reason::RuleAllows, ""),
        ),
        (
            "GET",
            "https://bad.test/",
            ok(
                "deny",
                "bad",
                Reason::RuleDenies,
                "# a deny rule wins over every allow: remove or narrow the rule named here",
            ),
        ),
        (
            "GET",
            "http://o.test:8080/a/../b%2dc?q",
            ok(
                "deny",
                "none",
                Reason::NoRuleMatched,
                "rules:\n  - name: allow-o-test\n    hosts: [o.test]\n    ports: [8080]\n    \
                 methods: [GET]\n    paths: [/b-c]\n    action: forward\n",
            ),
        ),
        ("GET", "ftp://o.test/", Err(ExplainError::Scheme)),
        (
            "GET",
            "https://a b/",
            Err(crate::net::HostError::InvalidCharacter(' ').into()),
        ),
        (
            "GET",
            "http://o.test/%2f",
            Err(PathError::ForbiddenEscape.into()),
        ),
        // The connection ends it: nobody reads the path.
        (
            "GET",
            "https://t.test/%2f",
            ok("tunnel", "t", Reason::RuleAllows, ""),
        ),
        (
            "GET",
            "https://o.test/%2f",
            ok(
                "deny",
                "none",
                Reason::NoRuleMatched,
                "rules:\n  - name: allow-o-test\n    hosts: [o.test]\n    action: tunnel\n",
            ),
        ),
    ];
    for (method, url, want) in rows {
        assert_eq!(e(method, url), want, "{method} {url}");
    }
    let json = serde_json::to_value(
        explain(
            &p,
            &Around::default(),
            "GET",
            "http://o.test/",
            Entry::Explicit,
            CLIENT,
            NOW,
        )
        .unwrap(),
    )
    .unwrap();
    assert_eq!(json["action"], "deny");
    assert_eq!(json["reason"], "no_rule_matched");
    assert_eq!(json["rule"], "none");
    assert!(json["how_to_allow"].is_string());
}

/// What stands in a refusal can be asked about as it stands there.
#[test]
fn a_connect_and_a_query_are_explained_as_they_would_be_judged() {
    let terms = Terms {
        max_query_bytes: Some(3),
        ..Terms::default()
    };
    let policy = enforced(vec![
        rule("t t.test tunnel ports=any"),
        rule_with("q q.test forward", terms),
    ]);
    let said = |method: &str, url: &str| {
        explain(
            &policy,
            &Around::default(),
            method,
            url,
            Entry::Explicit,
            CLIENT,
            NOW,
        )
        .map(|e| (e.action, e.reason, e.port))
    };
    let is = |action: &str, reason, port| Ok((action.to_owned(), reason, port));
    for (method, url, want) in [
        (
            "CONNECT",
            "t.test:8443",
            is("tunnel", Reason::RuleAllows, 8443),
        ),
        ("CONNECT", "t.test", is("tunnel", Reason::RuleAllows, 443)),
        (
            "CONNECT",
            "q.test:443",
            is("intercept", Reason::RuleAllows, 443),
        ),
        ("CONNECT", "ftp://t.test", Err(ExplainError::Scheme)),
        ("GET", "t.test:443", Err(ExplainError::Scheme)),
        (
            "GET",
            "http://q.test/?abc",
            is("forward", Reason::RuleAllows, 80),
        ),
        (
            "GET",
            "http://q.test/?abcd",
            is("deny", Reason::QueryTooLarge, 80),
        ),
        (
            "GET",
            "http://q.test/?abc#d",
            is("forward", Reason::RuleAllows, 80),
        ),
    ] {
        assert_eq!(said(method, url), want, "{method} {url}");
    }
}

/// Every reason, by the beginning of what it tells a person to do.
#[test]
fn every_refusal_says_how_it_could_be_allowed_or_that_it_cannot() {
    let to = authority("a.test:443");
    let said = |reason| how_to_allow(reason, &to, "POST", "/v1/x");
    let mut rules = 0;
    for reason in Reason::ALL {
        let words = said(*reason);
        // A section to paste, or a comment: YAML in any case.
        let (first, rest) = words.split_once('\n').unwrap_or((&words, ""));
        let section = first.strip_suffix(':').is_some_and(|key| {
            key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') && rest.starts_with("  ")
        });
        let comment = first.strip_prefix("# ").is_some_and(|w| w.len() > 20);
        assert!(section || comment, "{reason}: {words}");
        rules += usize::from(first == "rules:");
    }
    assert_eq!(rules, 3, "reasons that a rule of one's own would end");
    let rows: &[(Reason, &str)] = &[
        (Reason::HostNotAllowed, "front_door:\n  hosts: [a.test] #"),
        (
            Reason::PlainWebsocket,
            "front_door:\n  plain_websockets: [a.test] #",
        ),
        (
            Reason::OriginNotAllowed,
            "# no rule can allow it: open ComfyUI by",
        ),
        (Reason::RuleAllows, "# it is allowed already"),
        (Reason::RuleDenies, "# a deny rule wins"),
        (
            Reason::NoRuleMatched,
            "rules:\n  - name: allow-a-test\n    hosts: [a.test]\n    methods: [POST]\n    paths: [/v1/x]\n    action: forward\n",
        ),
        (
            Reason::UpgradeNotAllowed,
            "rules:\n  - name: allow-a-test\n    hosts: [a.test]\n    methods: [POST]\n    paths: [/v1/x]\n    upgrade: true\n    action: forward\n",
        ),
        (Reason::AddressClosed, "# the address is private; it opens"),
        (Reason::AllowExpired, "# the rule named here has ended"),
        (Reason::ReadOnly, "# the rule named here is read_only"),
        (Reason::QueryTooLarge, "# raise max_query_bytes"),
        (Reason::HeadersTooLarge, "# raise max_header_bytes"),
        (Reason::BudgetSpent, "# wait for the next hour or day"),
        (Reason::SecretFound, "# if it is meant to go there"),
        (Reason::BodyEncoded, "# send it unencoded"),
        (
            Reason::OwnListener,
            "# no rule can allow it: it is an address of airlock",
        ),
        (Reason::BadAuthority, "# no rule can allow it: the client"),
        (Reason::SniMismatch, "# no rule can allow it: the client"),
        (Reason::EchRefused, "# turn Encrypted ClientHello off"),
        (Reason::PolicyChanged, "# the policy was changed"),
        (
            Reason::LockedDown,
            "# no rule can allow it: end the lockdown",
        ),
        (Reason::ConnectFailed, "# no rule refused it"),
        (Reason::Internal, "# no rule refused it"),
    ];
    for (reason, beginning) in rows {
        assert!(said(*reason).starts_with(beginning), "{}", said(*reason));
    }
}

#[test]
fn what_is_proposed_for_an_address_is_a_rule_by_ip_and_an_upstream_where_it_is_private() {
    let no_rule = Reason::NoRuleMatched;
    let rows = [
        (
            "a private one",
            "192.168.1.9:8000",
            "GET",
            "rules:\n  - name: allow-192-168-1-9\n    ips: [\"192.168.1.9\"]\n    ports: [8000]\n    methods: [GET]\n    paths: [/x]\n    action: forward\n# the address is private; it opens",
        ),
        (
            "a tunnel to one, which no TLS can name",
            "8.8.8.8:443",
            "CONNECT",
            "# no rule can allow it: TLS has to say which name",
        ),
        (
            "a public one",
            "8.8.8.8:80",
            "GET",
            "rules:\n  - name: allow-8-8-8-8\n    ips: [\"8.8.8.8\"]\n    methods: [GET]\n    paths: [/x]\n    action: forward\n",
        ),
        (
            "a tunnel to an odd port of a name",
            "a.test:80",
            "CONNECT",
            "rules:\n  - name: allow-a-test\n    hosts: [a.test]\n    ports: [80]\n    action: tunnel\n",
        ),
    ];
    for (name, to, method, want) in rows {
        let words = how_to_allow(no_rule, &authority(to), method, "/x");
        assert!(words.starts_with(want), "{name}: {words}");
        assert_eq!(
            words.contains("upstreams:"),
            to.starts_with("192.168."),
            "{name}: {words}"
        );
    }
    // What YAML would read as something else is quoted, and what no pattern can hold is its folder.
    for (method, path, want) in [
        ("GET", "", "methods: [GET]\n    paths: [/*]\n"),
        ("GET", "/a/b*c", "methods: [GET]\n    paths: [/a/*]\n"),
        ("GET", "*", "methods: [GET]\n    paths: [/*]\n"),
        ("-X", "/a", "methods: [\"-X\"]\n    paths: [/a]\n"),
        ("GET", "/a'b", "methods: [GET]\n    paths: [\"/a'b\"]\n"),
        (
            "GET",
            "/a\"\\b",
            "methods: [GET]\n    paths: [\"/a\\\"\\\\b\"]\n",
        ),
        ("GET", "/a\nb:c", "methods: [GET]\n    paths: [\"/ab:c\"]\n"),
    ] {
        let words = how_to_allow(no_rule, &authority("a.test:443"), method, path);
        assert!(words.contains(want), "{method} {path}: {words}");
    }
    // Nothing opens these, so nothing is proposed.
    for to in ["169.254.169.254:80", "224.0.0.1:80", "[fec0::1]:80"] {
        for reason in [no_rule, Reason::AddressClosed] {
            let words = how_to_allow(reason, &authority(to), "GET", "/");
            assert!(words.ends_with("addresses are never dialled"), "{words}");
        }
        let words = how_to_allow(Reason::LockedDown, &authority(to), "GET", "/");
        assert!(words.contains("lockdown"), "{words}");
    }
}

#[test]
fn an_explanation_says_what_it_read_who_answers_and_why_the_rule_is_there() {
    let p = policy(
        Mode::Enforce,
        &[
            "ws ws.test forward upgrade=yes paths=/ws reason=because",
            "plain ws.test forward",
            "llm v.test llm",
            "t t.test tunnel",
        ],
    );
    let of = |url: &str| {
        explain(
            &p,
            &Around::default(),
            "GET",
            url,
            Entry::Explicit,
            CLIENT,
            NOW,
        )
        .unwrap()
    };
    let rows = [
        (
            "wss://ws.test/ws",
            "forward ws",
            443,
            Some(ConnectionAction::Intercept),
        ),
        ("ws://ws.test/ws", "forward ws", 80, None),
        (
            "WSS://ws.test/x",
            "deny plain",
            443,
            Some(ConnectionAction::Intercept),
        ),
        ("ws://ws.test/x", "deny plain", 80, None),
        (
            "https://ws.test/x",
            "forward plain",
            443,
            Some(ConnectionAction::Intercept),
        ),
        ("http://ws.test/x", "forward plain", 80, None),
        (
            "https://t.test/x",
            "tunnel t",
            443,
            Some(ConnectionAction::Tunnel),
        ),
    ];
    for (url, want, port, connection) in rows {
        let e = of(url);
        assert_eq!(format!("{} {}", e.action, e.rule), want, "{url}");
        assert_eq!((e.port, e.connection), (port, connection), "{url}");
        assert_eq!(e.responder, None, "{url}");
    }
    let e = of("http://WS.test/a/../ws?q");
    assert_eq!((e.host.as_str(), e.path.as_str()), ("ws.test", "/ws"));
    assert_eq!(e.rule_reason.as_deref(), Some("because"));
    assert_eq!(e.would_deny, None);
    assert_eq!(of("https://v.test/").responder, Some(Responder::Llm));
}
