//! The decision tables. A rule is written in one line: `name host action key=value`.

use std::net::IpAddr;

use super::{
    testing::{connect, connect_as, policy, request, rule},
    *,
};
use crate::net::Entry;

#[test]
fn connections() {
    let p = policy(
        Mode::Enforce,
        &[
            "t allowed.test,*.w.test tunnel",
            "api api.test forward methods=GET paths=/v1/*",
            "llm vendor.test llm",
            "bad sub.w.test deny",
            "half half.test tunnel",
            "halfdeny half.test deny methods=POST",
            "odd odd.test tunnel ports=8443",
            "lan lan.test tunnel clients=10.0.0.0/8 entries=explicit,transparent",
            "ip 192.0.2.1 tunnel",
            "both both.test forward methods=GET",
            "bothtunnel both.test tunnel",
            "onlydeny d.test deny paths=/x",
        ],
    );
    let rows = [
        (
            "an allowed name",
            "allowed.test:443",
            "tunnel t rule_allows",
        ),
        (
            "another port of it",
            "allowed.test:22",
            "deny t host_known_request_not",
        ),
        (
            "port 80 is not a tunnel's default",
            "allowed.test:80",
            "deny t host_known_request_not",
        ),
        ("a name below", "a.w.test:443", "tunnel t rule_allows"),
        ("deep below", "c.b.a.w.test:443", "tunnel t rule_allows"),
        ("the apex", "w.test:443", "deny none no_rule_matched"),
        (
            "a longer label",
            "evilallowed.test:443",
            "deny none no_rule_matched",
        ),
        (
            "the name as a prefix",
            "allowed.test.evil.test:443",
            "deny none no_rule_matched",
        ),
        (
            "a later deny wins over an earlier allow",
            "sub.w.test:443",
            "deny bad rule_denies",
        ),
        (
            "a deny covers every port",
            "sub.w.test:9",
            "deny bad rule_denies",
        ),
        (
            "below the denied name the allow stands",
            "x.sub.w.test:443",
            "tunnel t rule_allows",
        ),
        (
            "forward means intercept",
            "api.test:443",
            "intercept api rule_allows",
        ),
        (
            "respond means intercept",
            "vendor.test:443",
            "intercept llm rule_allows",
        ),
        (
            "a deny that needs the request closes a tunnel",
            "half.test:443",
            "deny halfdeny rule_denies",
        ),
        ("a named port", "odd.test:8443", "tunnel odd rule_allows"),
        (
            "the usual port is then closed",
            "odd.test:443",
            "deny odd host_known_request_not",
        ),
        (
            "a client outside the network",
            "lan.test:443",
            "deny lan host_known_request_not",
        ),
        (
            "a literal address",
            "192.0.2.1:443",
            "tunnel ip rule_allows",
        ),
        (
            "its mapped form is another destination",
            "[::ffff:192.0.2.1]:443",
            "deny none no_rule_matched",
        ),
        (
            "its neighbour",
            "192.0.2.2:443",
            "deny none no_rule_matched",
        ),
        (
            "the first allow decides",
            "both.test:443",
            "intercept both rule_allows",
        ),
        (
            "only a deny names it",
            "d.test:443",
            "deny onlydeny host_known_request_not",
        ),
    ];
    for (what, authority, want) in rows {
        assert_eq!(connect(&p, authority), want, "{what}");
    }
    let inside: IpAddr = "::ffff:10.1.2.3".parse().unwrap();
    let got = connect_as(&p, "lan.test:443", inside, Entry::Explicit);
    assert_eq!(
        got, "tunnel lan rule_allows",
        "a mapped client is the IPv4 client"
    );
    let got = connect_as(&p, "lan.test:443", inside, Entry::Reverse);
    assert_eq!(got, "deny lan host_known_request_not", "another entry");
}

#[test]
fn paths_are_found_by_whole_by_folder_and_by_ending_and_the_first_rule_counts() {
    let p = policy(
        Mode::Enforce,
        &[
            "nopack git.test deny paths=*/secret/info/refs",
            "refs git.test forward paths=*/info/refs",
            "exact git.test sink paths=/a/info/refs,/a",
            "below git.test llm paths=/b/*",
            "late git.test sink paths=*/b/c",
        ],
    );
    for (name, line, want) in [
        (
            "by ending",
            "GET git.test:443/x/y/info/refs",
            "forward refs rule_allows",
        ),
        (
            "by ending, whole",
            "GET git.test:443/info/refs",
            "forward refs rule_allows",
        ),
        (
            "a longer name is no ending",
            "GET git.test:443/xinfo/refs",
            "deny refs host_known_request_not",
        ),
        (
            "denied by ending",
            "GET git.test:443/x/secret/info/refs",
            "deny nopack rule_denies",
        ),
        (
            "the ending stands before the whole",
            "GET git.test:443/a/info/refs",
            "forward refs rule_allows",
        ),
        (
            "the ending stands before the folder",
            "GET git.test:443/b/info/refs",
            "forward refs rule_allows",
        ),
        ("whole", "GET git.test:443/a", "sink exact rule_allows"),
        (
            "by folder",
            "GET git.test:443/b/c/d",
            "llm below rule_allows",
        ),
        (
            "the folder stands before the ending",
            "GET git.test:443/b/c",
            "llm below rule_allows",
        ),
        (
            "the ending elsewhere",
            "GET git.test:443/x/b/c",
            "sink late rule_allows",
        ),
        (
            "the folder is not in itself",
            "GET git.test:443/b",
            "deny refs host_known_request_not",
        ),
        (
            "nothing",
            "GET git.test:443/x",
            "deny refs host_known_request_not",
        ),
    ] {
        assert_eq!(request(&p, line), want, "{name}: {line}");
    }
}

#[test]
fn requests() {
    let p = policy(
        Mode::Enforce,
        &[
            "get api.test forward methods=GET,HEAD paths=/v1/*,/health",
            "post api.test forward methods=POST paths=/v1/chat",
            "noadmin api.test deny paths=/v1/admin/*",
            "first v.test sink paths=/track",
            "rest v.test,*.v.test llm",
            "specific a.v.test sink",
            "tunnel t.test tunnel ports=80,443",
            "ws ws.test forward upgrade=yes paths=/ws",
            "plain ws.test forward",
        ],
    );
    let rows = [
        (
            "method and path fit",
            "GET api.test:443/v1/models",
            "forward get rule_allows",
        ),
        (
            "plain HTTP is a default port too",
            "GET api.test:80/v1/models",
            "forward get rule_allows",
        ),
        (
            "an exact path",
            "HEAD api.test:443/health",
            "forward get rule_allows",
        ),
        (
            "below an exact path",
            "GET api.test:443/health/x",
            "deny get host_known_request_not",
        ),
        (
            "the prefix without its slash",
            "GET api.test:443/v1",
            "deny get host_known_request_not",
        ),
        (
            "another method",
            "DELETE api.test:443/v1/models",
            "deny get host_known_request_not",
        ),
        (
            "methods are case-sensitive",
            "get api.test:443/v1/models",
            "deny get host_known_request_not",
        ),
        (
            "a second rule for one host",
            "POST api.test:443/v1/chat",
            "forward post rule_allows",
        ),
        (
            "a deny by path wins",
            "GET api.test:443/v1/admin/x",
            "deny noadmin rule_denies",
        ),
        (
            "an unknown host",
            "GET other.test:443/",
            "deny none no_rule_matched",
        ),
        (
            "another port",
            "GET api.test:8080/v1/x",
            "deny get host_known_request_not",
        ),
        (
            "the first rule in order",
            "POST v.test:443/track",
            "sink first rule_allows",
        ),
        (
            "the catch-all after it",
            "POST v.test:443/other",
            "llm rest rule_allows",
        ),
        (
            "order counts, not how exact a pattern is",
            "GET a.v.test:443/",
            "llm rest rule_allows",
        ),
        (
            "a tunnel rule allows no request",
            "GET t.test:80/",
            "deny tunnel host_known_request_not",
        ),
        (
            "an upgrade where a rule says so",
            "^GET ws.test:443/ws",
            "forward ws rule_allows",
        ),
        (
            "an upgrade elsewhere",
            "^GET ws.test:443/x",
            "deny plain upgrade_not_allowed",
        ),
        (
            "an upgrade at an unknown host",
            "^GET o.test:443/x",
            "deny none no_rule_matched",
        ),
        (
            "no upgrade asked for",
            "GET ws.test:443/ws",
            "forward ws rule_allows",
        ),
    ];
    for (what, line, want) in rows {
        assert_eq!(request(&p, line), want, "{what}");
    }
}

#[test]
fn an_ending_of_more_slashes_than_letters_is_found() {
    let p = policy(Mode::Enforce, &["folder a.test forward paths=*/a/"]);
    for (line, want) in [
        ("GET a.test:443/x/a/", "forward folder rule_allows"),
        ("GET a.test:443/a/", "forward folder rule_allows"),
        ("GET a.test:443/a", "deny folder host_known_request_not"),
    ] {
        assert_eq!(request(&p, line), want, "{line}");
    }
}

#[test]
fn an_empty_policy_denies_all() {
    let p = policy(Mode::Enforce, &[]);
    assert_eq!(connect(&p, "a.test:443"), "deny none no_rule_matched");
    assert_eq!(request(&p, "GET a.test:80/"), "deny none no_rule_matched");
    assert_eq!(
        request(&p, "GET 127.0.0.1:80/"),
        "deny none no_rule_matched"
    );
}

#[test]
fn intercepted_hosts_are_those_decrypted_on_tls_ports() {
    let p = policy(
        Mode::Enforce,
        &[
            "a b.test,*.a.test forward",
            "b b.test llm",
            "c c.test tunnel",
            "d d.test deny",
            "e e.test forward ports=80",
            "f f.test forward ports=8443",
            "g 192.0.2.1 forward",
            "h h.test forward entries=models",
            "i i.test forward entries=explicit",
            "j j.test forward entries=models,reverse",
        ],
    );
    let mut hosts: Vec<_> = p
        .intercepted_hosts()
        .iter()
        .map(ToString::to_string)
        .collect();
    hosts.sort();
    // By `models` nobody connects.
    let wanted = ["*.a.test", "b.test", "f.test", "i.test", "j.test"];
    assert_eq!(hosts, wanted);
}

#[test]
fn ten_thousand_rules_on_one_host_and_as_many_hosts_are_found() {
    let mut rules = Vec::new();
    for i in 0..10_000 {
        rules.push(rule(&format!("h{i} h{i}.many.test forward")));
        rules.push(rule(&format!("p{i} one.test forward paths=/a/{i}/*")));
    }
    let p = CompiledPolicy::new(rules, Mode::Enforce, 7);
    assert_eq!(p.rule_count(), 20_000);
    assert_eq!(p.generation(), 7);
    assert_eq!(
        request(&p, "GET h9999.many.test:80/"),
        "forward h9999 rule_allows"
    );
    assert_eq!(
        request(&p, "GET one.test:80/a/9999/x"),
        "forward p9999 rule_allows"
    );
    assert_eq!(
        request(&p, "GET one.test:80/a/10000/x"),
        "deny p0 host_known_request_not"
    );
}
