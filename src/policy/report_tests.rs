//! Report mode, of a whole policy and of one rule, as tables.

use super::{
    testing::{connect, policy, request},
    *,
};

#[test]
fn report_mode_of_the_whole_policy() {
    let p = policy(
        Mode::Report,
        &[
            "get api.test forward methods=GET",
            "bad bad.test deny",
            "t t.test tunnel",
            "tdeny t.test deny methods=POST",
            "strict s.test forward methods=GET mode=enforce",
            "strictdeny sd.test deny mode=enforce",
            "hidden h.test deny paths=/x mode=enforce",
            "vdeny v.test deny paths=/track",
            "v v.test llm",
        ],
    );
    let rows = [
        (
            "unknown host",
            "o.test:443",
            "tunnel none no_rule_matched would deny no_rule_matched",
        ),
        (
            "a deny is noted",
            "bad.test:443",
            "tunnel bad rule_denies would deny rule_denies",
        ),
        (
            "a deny by request on a tunnel",
            "t.test:443",
            "tunnel tdeny rule_allows would deny rule_denies",
        ),
        (
            "a rule in enforce mode keeps its host",
            "s.test:22",
            "deny strict host_known_request_not",
        ),
        (
            "a deny in enforce mode",
            "sd.test:443",
            "deny strictdeny rule_denies",
        ),
        (
            "an enforced deny that a tunnel would hide",
            "h.test:443",
            "deny hidden rule_denies",
        ),
        (
            "an allow stays what it is",
            "v.test:443",
            "intercept v rule_allows",
        ),
    ];
    for (what, authority, want) in rows {
        assert_eq!(connect(&p, authority), want, "{what}");
    }
    let rows = [
        (
            "unknown host",
            "GET o.test:80/",
            "forward none no_rule_matched would deny no_rule_matched",
        ),
        (
            "known host, other method",
            "POST api.test:80/",
            "forward get host_known_request_not would deny host_known_request_not",
        ),
        (
            "a deny before an allow",
            "POST v.test:443/track",
            "llm vdeny rule_allows would deny rule_denies",
        ),
        (
            "enforced near miss",
            "POST s.test:443/",
            "deny strict host_known_request_not",
        ),
        (
            "an upgrade is never let through",
            "^GET o.test:80/",
            "deny none upgrade_not_allowed",
        ),
        (
            "an allowed request",
            "GET api.test:80/",
            "forward get rule_allows",
        ),
    ];
    for (what, line, want) in rows {
        assert_eq!(request(&p, line), want, "{what}");
    }
}

#[test]
fn report_mode_of_one_rule() {
    let p = policy(
        Mode::Enforce,
        &[
            "learn api.test forward methods=GET mode=report",
            "bad bad.test deny mode=report",
            "vdeny v.test deny paths=/track mode=report",
            "v v.test llm",
        ],
    );
    let rows = [
        (
            "a near miss is noted",
            "POST api.test:443/",
            "forward learn host_known_request_not would deny host_known_request_not",
        ),
        (
            "other hosts stay closed",
            "GET o.test:443/",
            "deny none no_rule_matched",
        ),
        (
            "a deny in report mode opens nothing",
            "GET bad.test:443/",
            "deny bad host_known_request_not",
        ),
        (
            "it is noted where an allow follows",
            "GET v.test:443/track",
            "llm vdeny rule_allows would deny rule_denies",
        ),
        (
            "and only where it matches",
            "GET v.test:443/x",
            "llm v rule_allows",
        ),
    ];
    for (what, line, want) in rows {
        assert_eq!(request(&p, line), want, "{what}");
    }
    assert_eq!(
        connect(&p, "bad.test:443"),
        "deny bad host_known_request_not"
    );
    assert_eq!(connect(&p, "o.test:443"), "deny none no_rule_matched");
}
