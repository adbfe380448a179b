//! The words of the policy: names that configuration, log, metrics and people share, and the way out
//! that each refusal names. A word that changes here changes for everyone who filters by it.

use std::sync::Arc;

use super::{
    secrets::{Detector, Kind, Scanner, SecretMode, Seen, Spot},
    *,
};
use crate::net::{Authority, DomainPattern, Entry, Host, Port};

fn authority(text: &str) -> Authority {
    Authority::parse(text, None).unwrap()
}

#[test]
fn modes_and_actions_have_one_name_each() {
    assert_eq!(
        [Mode::Enforce, Mode::Report].map(Mode::as_str),
        ["enforce", "report"]
    );
    let actions = [
        RuleAction::Deny,
        RuleAction::Tunnel,
        RuleAction::Forward,
        RuleAction::Respond(Responder::Sink),
    ];
    assert_eq!(
        actions.map(RuleAction::as_str),
        ["deny", "tunnel", "forward", "respond"]
    );
    assert_eq!(
        SecretMode::ALL.map(SecretMode::as_str),
        ["block", "redact", "off"]
    );
    for reason in Reason::ALL {
        assert_eq!(reason.to_string(), reason.code());
    }
    let name = RuleName::new("pack/rule");
    assert_eq!(
        (name.as_str(), name.to_string().as_str()),
        ("pack/rule", "pack/rule")
    );
    assert_eq!(RuleName::none().as_str(), "none");
    let each = budget::Each::ALL.map(budget::Each::as_str);
    assert_eq!(each, ["rule", "host", "client"]);
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
            "CONNECT",
            "rules:\n  - name: allow-192-168-1-9\n    ips: [\"192.168.1.9\"]\n    ports: [8000]\n    action: tunnel\n# the address is private; it opens",
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
fn what_a_new_address_policy_opens_is_said() {
    let mut old = AddressPolicy::new();
    old.permit_private(authority("both:1"));
    old.close_public();
    let mut new = AddressPolicy::new();
    for upstream in ["b:2", "both:1", "a:1"] {
        new.permit_private(authority(upstream));
    }
    assert_eq!(
        new.opened_since(&old),
        [
            "a:1 may live at a private address",
            "b:2 may live at a private address",
            "public addresses are open again",
        ]
    );
    assert_eq!(old.opened_since(&new), [""; 0], "closing opens nothing");
    assert_eq!(new.opened_since(&new), [""; 0]);
    let mut closed = new.clone();
    closed.close_public();
    assert_eq!(closed.opened_since(&old), new.opened_since(&old)[..2]);
}

#[test]
fn a_policy_keeps_everything_but_its_number_when_it_gets_a_new_one() {
    let rule = Rule {
        name: RuleName::new("one"),
        hosts: vec![DomainPattern::parse("a.test").unwrap()],
        ips: vec![],
        ports: Ports::Any,
        methods: vec![],
        paths: vec![],
        clients: vec![],
        entries: vec![],
        action: RuleAction::Forward,
        upgrade: false,
        mode: None,
        reason: None,
        terms: None,
    };
    let detector = Detector::new(SecretMode::Redact, ["mine-and-mine-alone"].into_iter());
    let made = CompiledPolicy::new(vec![rule], Mode::Report, 1).with_secrets(detector);
    let made = Arc::new(made);
    // Held by somebody else, and then by nobody.
    let copied = CompiledPolicy::renumbered(made.clone(), 2);
    let moved = CompiledPolicy::renumbered(made.clone(), 3);
    drop(made);
    let moved = CompiledPolicy::renumbered(moved, 4);
    for (policy, generation) in [(copied, 2), (moved, 4)] {
        assert_eq!(policy.generation(), generation);
        assert_eq!(policy.mode(), Mode::Report);
        assert_eq!((policy.rule_count(), policy.rules().len()), (1, 1));
        assert!(policy.rule(&RuleName::new("one")).is_some());
        assert!(policy.rule(&RuleName::new("two")).is_none());
        assert_eq!(policy.secrets().mode(), SecretMode::Redact);
    }
}

#[test]
fn a_rule_decrypts_where_it_reads_requests_on_a_port_that_may_be_tls() {
    let hosts = |action, ports: &[u16]| {
        let ports = match ports {
            [] => Ports::Any,
            some => Ports::List(some.iter().map(|n| Port::new(*n).unwrap()).collect()),
        };
        let rule = Rule {
            name: RuleName::new("one"),
            hosts: vec![DomainPattern::parse("a.test").unwrap()],
            ips: vec![],
            ports,
            methods: vec![],
            paths: vec![],
            clients: vec![],
            entries: vec![],
            action,
            upgrade: false,
            mode: None,
            reason: None,
            terms: None,
        };
        let policy = CompiledPolicy::new(vec![rule], Mode::Enforce, 1);
        policy.intercepted_hosts().len()
    };
    let sink = RuleAction::Respond(Responder::Sink);
    for (action, ports, want) in [
        (RuleAction::Forward, &[443][..], 1),
        (RuleAction::Forward, &[80], 0),
        (RuleAction::Forward, &[80, 8443], 1),
        (RuleAction::Forward, &[], 1),
        (sink, &[443], 1),
        (RuleAction::Tunnel, &[443], 0),
        (RuleAction::Deny, &[], 0),
    ] {
        assert_eq!(hosts(action, ports), want, "{} {ports:?}", action.as_str());
    }
}

/// What stands in a refusal can be asked about as it stands there.
#[test]
fn a_connect_and_a_query_are_explained_as_they_would_be_judged() {
    let terms = Terms {
        max_query_bytes: Some(3),
        ..Terms::default()
    };
    let rule = |name: &str, host: &str, action, terms: Option<Terms>| Rule {
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
        terms: terms.map(Arc::new),
    };
    let policy = CompiledPolicy::new(
        vec![
            rule("t", "t.test", RuleAction::Tunnel, None),
            rule("q", "q.test", RuleAction::Forward, Some(terms)),
        ],
        Mode::Enforce,
        1,
    );
    let said = |method: &str, url: &str| {
        let client = std::net::IpAddr::from([127, 0, 0, 1]);
        let now = time::OffsetDateTime::UNIX_EPOCH;
        explain(&policy, method, url, Entry::Explicit, client, now)
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

/// Each kind of secret: its name, and a host where its owner may show it.
#[test]
fn a_secret_is_at_home_with_its_maker_and_nowhere_else() {
    let rows: &[(Kind, &str, Option<&str>)] = &[
        (Kind::OpenAi, "openai", Some("api.openai.com")),
        (Kind::Anthropic, "anthropic", Some("api.anthropic.com")),
        (Kind::OpenRouter, "openrouter", Some("openrouter.ai")),
        (Kind::Groq, "groq", Some("api.groq.com")),
        (Kind::Xai, "xai", Some("api.x.ai")),
        (Kind::Replicate, "replicate", Some("api.replicate.com")),
        (Kind::HuggingFace, "huggingface", Some("cdn.hf.co")),
        (Kind::Civitai, "civitai", Some("civitai.com")),
        (Kind::GitHub, "github", Some("api.github.com")),
        (Kind::GitLab, "gitlab", Some("gitlab.com")),
        (Kind::Npm, "npm", Some("registry.npmjs.org")),
        (Kind::PyPi, "pypi", Some("upload.pypi.org")),
        (Kind::Aws, "aws", None),
        (Kind::Google, "google", Some("www.googleapis.com")),
        (Kind::Slack, "slack", Some("slack.com")),
        (Kind::Stripe, "stripe", Some("api.stripe.com")),
        (Kind::PrivateKey, "private_key", None),
        (Kind::Jwt, "jwt", None),
        (Kind::Own, "own", None),
    ];
    let parse = |name: &str| Host::parse(name).unwrap();
    let spots = [Spot::Credential, Spot::Header, Spot::Target];
    for (kind, name, home) in rows {
        assert_eq!(kind.as_str(), *name);
        let opaque = *kind == Kind::Jwt;
        for spot in spots {
            let elsewhere = opaque && spot == Spot::Credential;
            assert_eq!(kind.is_at_home(spot, &parse("o.test")), elsewhere, "{name}");
            assert_eq!(
                kind.is_at_home(spot, &parse("192.0.2.1")),
                elsewhere,
                "{name}"
            );
            let Some(home) = home else { continue };
            assert!(kind.is_at_home(spot, &parse(home)), "{name} at {home}");
            let lure = format!("evil{home}.test");
            assert!(!kind.is_at_home(spot, &parse(&lure)), "{name} at {lure}");
            let (_, glued) = home.split_once('.').unwrap_or(("", home));
            let glued = format!("evil{glued}");
            assert!(!kind.is_at_home(spot, &parse(&glued)), "{name} at {glued}");
        }
        let home = home.unwrap_or("o.test");
        assert!(
            !kind.is_at_home(Spot::Body, &parse(home)),
            "{name} in a body"
        );
    }
}

#[test]
fn a_scanner_that_is_off_passes_everything_and_shows_nothing_of_it() {
    let detector = Arc::new(Detector::new(
        SecretMode::Block,
        ["swordfish-9"].into_iter(),
    ));
    let host = Host::parse("o.test").unwrap();
    let mut scanner = Scanner::new(detector, SecretMode::Off, Spot::Body, host);
    let piece = b"it is swordfish-9";
    let seen = scanner.push(piece, false);
    assert_eq!(
        seen,
        Ok(Seen {
            bytes: piece.to_vec(),
            masked: vec![]
        })
    );
    let shown = format!("{scanner:?}");
    assert!(
        shown.contains("Body") && !shown.contains("swordfish"),
        "{shown}"
    );
}
