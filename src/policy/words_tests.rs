//! The words of the policy: names that configuration, log, metrics and people share, and the way out
//! that each refusal names. A word that changes here changes for everyone who filters by it.

use std::sync::Arc;

use super::{
    secrets::{Detector, Kind, Scanner, SecretMode, Seen, Spot},
    testing::{authority, policy},
    *,
};
use crate::net::Host;

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
    assert_eq!(each, ["rule", "host", "client", "session"]);
    let per = budget::Per::ALL.map(budget::Per::as_str);
    assert_eq!(per, ["hour", "day"]);
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
    let detector = Detector::new(SecretMode::Redact, ["mine-and-mine-alone"].into_iter());
    let made = policy(Mode::Report, &["one a.test forward"]).with_secrets(detector);
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
    for (rule, want) in [
        ("r a.test forward ports=443", 1),
        ("r a.test forward ports=80", 0),
        ("r a.test forward ports=80,8443", 1),
        ("r a.test forward ports=any", 1),
        ("r a.test sink ports=443", 1),
        ("r a.test tunnel ports=443", 0),
        ("r a.test deny ports=any", 0),
    ] {
        let policy = policy(Mode::Enforce, &[rule]);
        assert_eq!(policy.intercepted_hosts().len(), want, "{rule}");
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
