//! What stands around the rules is explained too: entries, addresses, secrets, and the form of a request.

use super::{
    testing::{CLIENT, NOW, authority, enforced, rule},
    *,
};
use crate::net::Entry;

fn around() -> Around {
    let mut addresses = AddressPolicy::new();
    addresses.permit_private(authority("10.0.0.5:8000"));
    addresses.permit_private(authority("comfy.localhost:8188"));
    Around {
        addresses,
        own_listeners: vec!["127.0.0.1:3128".parse().unwrap()],
        comfyui: Some(authority("comfy.localhost:8188")),
    }
}

fn rules() -> CompiledPolicy {
    enforced(vec![
        rule("t t.test tunnel ports=any"),
        rule("f f.test,localhost,comfy.localhost forward ports=80,443,3128,8188"),
        rule("ips 10.0.0.5,10.0.0.6,8.8.8.8,127.0.0.1 forward ports=80,443,3128,8000"),
        rule("ts 8.8.4.4 tunnel"),
        rule("v v.test llm"),
    ])
}

fn said(around: &Around, entry: Entry, method: &str, url: &str) -> String {
    match explain(&rules(), around, method, url, entry, CLIENT, NOW) {
        Ok(e) => format!("{} {} {}", e.action, e.rule, e.reason),
        Err(e) => e.to_string(),
    }
}

#[test]
fn each_entry_asks_the_checkpoints_that_it_has() {
    let around = around();
    let rows = [
        (
            Entry::Explicit,
            "GET",
            "https://t.test/",
            "tunnel t rule_allows",
        ),
        (
            Entry::Transparent,
            "GET",
            "https://t.test/",
            "tunnel t rule_allows",
        ),
        // A base URL is spoken to in requests: no tunnel rule says anything about them.
        (
            Entry::Reverse,
            "GET",
            "https://t.test/",
            "deny t host_known_request_not",
        ),
        (
            Entry::FrontDoor,
            "GET",
            "https://t.test/",
            "deny t host_known_request_not",
        ),
        (
            Entry::Models,
            "GET",
            "https://t.test/",
            "deny t host_known_request_not",
        ),
        (
            Entry::Reverse,
            "GET",
            "https://f.test/",
            "forward f rule_allows",
        ),
        (
            Entry::Reverse,
            "POST",
            "https://v.test/",
            "respond v rule_allows",
        ),
        (
            Entry::Reverse,
            "CONNECT",
            "t.test:443",
            "deny none wrong_entry",
        ),
        (
            Entry::Explicit,
            "CONNECT",
            "http://t.test",
            "deny none wrong_entry",
        ),
    ];
    for (entry, method, url, want) in rows {
        assert_eq!(
            said(&around, entry, method, url),
            want,
            "{entry:?} {method} {url}"
        );
    }
    let e = explain(
        &rules(),
        &around,
        "GET",
        "https://f.test/",
        Entry::Reverse,
        CLIENT,
        NOW,
    );
    assert_eq!(
        e.unwrap().connection,
        None,
        "there is no connection to judge"
    );
}

#[test]
fn what_is_never_dialled_is_said_without_asking_a_name_server() {
    let open = around();
    let mut shut = around();
    shut.addresses.close_public();
    let rows = [
        (
            "http://8.8.8.8/",
            "forward ips rule_allows",
            "deny ips address_closed",
        ),
        (
            "http://10.0.0.5:8000/",
            "forward ips rule_allows",
            "forward ips rule_allows",
        ),
        (
            "http://10.0.0.5/",
            "deny ips address_closed",
            "deny ips address_closed",
        ),
        (
            "http://10.0.0.6/",
            "deny ips address_closed",
            "deny ips address_closed",
        ),
        (
            "http://127.0.0.1:3128/",
            "deny ips own_listener",
            "deny ips own_listener",
        ),
        (
            "http://localhost/",
            "deny f address_closed",
            "deny f address_closed",
        ),
        (
            "http://comfy.localhost:8188/",
            "forward f rule_allows",
            "forward f rule_allows",
        ),
        // Of the others a name server decides, except where nothing outside is open.
        (
            "http://f.test/",
            "forward f rule_allows",
            "deny f address_closed",
        ),
        (
            "https://t.test/",
            "tunnel t rule_allows",
            "deny t address_closed",
        ),
        (
            "http://v.test/",
            "respond v rule_allows",
            "respond v rule_allows",
        ),
        // A ClientHello names no address.
        (
            "https://8.8.4.4/",
            "deny ts sni_missing",
            "deny ts address_closed",
        ),
        // No certificate is made for this machine's own name.
        (
            "https://localhost/",
            "deny f tls_handshake_failed",
            "deny f tls_handshake_failed",
        ),
        (
            "https://8.8.8.8/",
            "deny ips sni_missing",
            "deny ips sni_missing",
        ),
        // What no rule allows is refused for that.
        (
            "http://10.0.0.7/",
            "deny none no_rule_matched",
            "deny none no_rule_matched",
        ),
    ];
    for (url, when_open, when_shut) in rows {
        assert_eq!(said(&open, Entry::Explicit, "GET", url), when_open, "{url}");
        assert_eq!(
            said(&shut, Entry::Explicit, "GET", url),
            when_shut,
            "{url}, closed"
        );
    }
}

#[test]
fn a_form_that_is_refused_before_the_rules_is_no_allowed_request() {
    let around = around();
    let encoded = "http://comfy.localhost:8188/userdata/a%2Fb";
    let rows = [
        (Entry::FrontDoor, "GET", encoded, "forward f rule_allows"),
        (
            Entry::Explicit,
            "GET",
            encoded,
            "path holds an encoded slash",
        ),
        (
            Entry::FrontDoor,
            "GET",
            "http://f.test/a%2Fb",
            "path holds an encoded slash",
        ),
        (
            Entry::Explicit,
            "GET",
            "http://f.test?a=b",
            "forward f rule_allows",
        ),
        (
            Entry::Explicit,
            "GET",
            "http://f.test/?a=\"b",
            "query holds a character",
        ),
        (
            Entry::Explicit,
            "GET",
            "http://f.test/?a=<",
            "query holds a character",
        ),
        (
            Entry::Explicit,
            "GET",
            "http://f.test/?a=>",
            "query holds a character",
        ),
        (
            Entry::Explicit,
            "GET",
            "http://f.test/?a=b c",
            "query holds a character",
        ),
        (
            Entry::Explicit,
            "GET",
            "http://f.test/?a=\u{fc}",
            "query holds a character",
        ),
        (
            Entry::Explicit,
            "POST",
            "ws://f.test/",
            "a WebSocket is opened by GET",
        ),
    ];
    for (entry, method, url, want) in rows {
        let got = said(&around, entry, method, url);
        assert!(got.starts_with(want), "{entry:?} {method} {url}: {got}");
    }
}

#[test]
fn a_secret_in_an_address_is_explained() {
    let key = format!("ghp_{}", "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zA1bC2");
    let around = around();
    for (url, want) in [
        (format!("http://f.test/x?key={key}"), "deny f secret_found"),
        (format!("http://f.test/{key}"), "deny f secret_found"),
        (
            format!("http://v.test/x?key={key}"),
            "respond v rule_allows",
        ),
        (
            "http://f.test/x?key=ghp_short".to_owned(),
            "forward f rule_allows",
        ),
    ] {
        assert_eq!(said(&around, Entry::Explicit, "GET", &url), want, "{url}");
    }
}

#[test]
fn for_an_address_behind_tls_no_rule_is_proposed() {
    let policy = enforced(vec![]);
    let of = |url: &str| {
        let all = Around::default();
        let e = explain(&policy, &all, "GET", url, Entry::Explicit, CLIENT, NOW);
        e.unwrap().how_to_allow.unwrap()
    };
    assert!(of("https://a.test/x").contains("paths: [/x]\n    action: forward"));
    assert!(of("http://8.8.8.8/x").contains("paths: [/x]\n    action: forward"));
    assert!(of("https://8.8.8.8/x").starts_with("# no rule can allow it: TLS has to say"));
}
