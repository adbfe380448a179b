//! The vectors at the doors of a running Airlock that allows nothing: each of them is answered with a
//! typed refusal, leaves one audit record, and touches neither a name server nor a socket.

use std::{collections::BTreeMap, net::SocketAddr};

use serde_json::Value;

use super::{idna, naughty, readings::hello, vendor, wpt};
use crate::support::{Airlock, Setup, Wire};

/// Every n-th case of the long lists.
const STRIDE: usize = 8;

/// Texts that stand where a host stands, each once, in a fixed order.
fn texts() -> Vec<String> {
    let urls = vendor("ssrf/urls.txt");
    let ssrf = urls.lines().filter_map(wpt::raw_authority);
    let cases = wpt::cases();
    let wpt = cases
        .iter()
        .filter_map(|case| wpt::raw_authority(&case.input));
    let names = idna::cases();
    let idna = names
        .iter()
        .step_by(STRIDE)
        .map(|case| case.source.as_str());
    let strings = naughty::strings();
    let naughty = strings.iter().step_by(2).map(String::as_str);
    let all: std::collections::BTreeSet<&str> =
        ssrf.chain(wpt).chain(idna).chain(naughty).collect();
    all.into_iter().map(str::to_owned).collect()
}

fn closed() -> Airlock {
    Setup {
        listeners: "  transparent_tls: 127.0.0.1:0\n  transparent_http: 127.0.0.1:0\n".into(),
        ..Setup::default()
    }
    .start()
}

/// Before a ComfyUI that is not there: a request for it would be a look-up that is counted.
fn before_comfyui() -> Airlock {
    Setup::default()
        .more("front_door: {listen: 127.0.0.1:0, comfyui: 'http://comfyui.invalid:8188'}")
        .start()
}

/// Sends each request on a connection of its own and wants a typed refusal; how often each came.
fn refusals(door: SocketAddr, request: impl Fn(&str) -> String) -> BTreeMap<String, usize> {
    let mut codes = BTreeMap::new();
    for text in texts() {
        let reply = Wire::to(door).ask(request(&text));
        let code = reply.code();
        assert!(
            (400..500).contains(&reply.status) && !code.is_empty(),
            "{text:?}: {} {}",
            reply.status,
            reply.text()
        );
        assert!(
            reply.header("x-airlock-decision").is_some(),
            "{text:?}: unmarked"
        );
        *codes.entry(code).or_default() += 1;
    }
    codes
}

/// One record and one count for each, all of them denials for the reasons that were answered.
fn assert_accounts(airlock: &Airlock, codes: &BTreeMap<String, usize>) {
    let total = codes.values().sum();
    let mut recorded: BTreeMap<String, usize> = BTreeMap::new();
    for record in airlock.exactly(total) {
        assert_eq!(record["action"], "deny", "{record}");
        let Value::String(reason) = &record["reason"] else {
            panic!("no reason: {record}");
        };
        *recorded.entry(reason.clone()).or_default() += 1;
    }
    assert_eq!(&recorded, codes);
    for (reason, n) in codes {
        let counted = airlock.metric("airlock_decisions_total", &[("reason", reason)]);
        assert_eq!(counted, *n as u64, "{reason}");
    }
    airlock.assert_touched_nothing();
    airlock.assert_healthy();
}

fn counts(rows: &[(&str, usize)]) -> BTreeMap<String, usize> {
    rows.iter()
        .map(|(code, n)| ((*code).to_owned(), *n))
        .collect()
}

#[test]
fn an_absolute_uri_for_any_of_them_is_refused_and_recorded() {
    let airlock = closed();
    let codes = refusals(airlock.ready.explicit, |text| {
        format!("GET http://{text}/ HTTP/1.1\r\nHost: {text}\r\n\r\n")
    });
    assert_accounts(&airlock, &codes);
    assert_eq!(
        codes,
        counts(&[
            ("bad_authority", 591),
            ("malformed_request", 719),
            ("no_rule_matched", 147)
        ])
    );
}

#[test]
fn a_connect_to_any_of_them_is_refused_and_recorded() {
    let airlock = closed();
    let codes = refusals(airlock.ready.explicit, |text| {
        format!("CONNECT {text}:443 HTTP/1.1\r\nHost: {text}:443\r\n\r\n")
    });
    assert_accounts(&airlock, &codes);
    assert_eq!(
        codes,
        counts(&[
            ("bad_authority", 635),
            ("malformed_request", 716),
            ("no_rule_matched", 106)
        ])
    );
}

#[test]
fn a_host_header_with_any_of_them_is_refused_and_recorded() {
    let airlock = closed();
    let codes = refusals(airlock.ready.transparent_http.unwrap(), |text| {
        format!("GET / HTTP/1.1\r\nHost: {text}\r\n\r\n")
    });
    assert_accounts(&airlock, &codes);
    assert_eq!(
        codes,
        counts(&[
            ("bad_authority", 1229),
            ("malformed_request", 39),
            ("no_rule_matched", 189)
        ])
    );
}

#[test]
fn a_base_url_with_any_of_them_as_host_is_refused_and_recorded() {
    let airlock = closed();
    let codes = refusals(airlock.ready.reverse, |text| {
        format!("GET / HTTP/1.1\r\nHost: {text}\r\n\r\n")
    });
    assert_accounts(&airlock, &codes);
    assert_eq!(
        codes,
        counts(&[
            ("authority_mismatch", 68),
            ("bad_authority", 1229),
            ("malformed_request", 39),
            ("no_rule_matched", 121)
        ])
    );
}

/// A page that a foreign name was rebound to: by its Host, before the path is looked at.
#[test]
fn a_call_of_a_page_by_any_of_them_as_host_is_refused_and_recorded() {
    let airlock = before_comfyui();
    let codes = refusals(airlock.ready.front_door.unwrap(), |text| {
        format!("GET /airlock/copilot/api/x HTTP/1.1\r\nHost: {text}\r\n\r\n")
    });
    assert_accounts(&airlock, &codes);
    assert_eq!(
        codes,
        counts(&[
            ("bad_authority", 1229),
            ("host_not_allowed", 164),
            ("malformed_request", 39),
            // This machine, which may be called so.
            ("no_rule_matched", 25)
        ])
    );
}

/// The text where the page's own path names the vendor's: what follows the prefix is a path, and a
/// text with slashes or a host in it stays one.
#[test]
fn a_path_with_any_of_them_behind_the_vendors_prefix_leads_nowhere_else() {
    let airlock = before_comfyui();
    let door = airlock.ready.front_door.unwrap();
    let codes = refusals(door, |text| {
        format!("GET /airlock/copilot//{text} HTTP/1.1\r\nHost: {door}\r\n\r\n")
    });
    assert_accounts(&airlock, &codes);
    assert_eq!(
        codes,
        counts(&[
            // `..` alone: the door's own paths, of which this is none.
            ("host_known_request_not", 1),
            ("malformed_request", 807),
            ("no_rule_matched", 649)
        ])
    );
}

/// Before the handshake there is no way to say why: the connection closes, the record says it.
#[test]
fn an_sni_with_any_of_them_is_closed_and_recorded() {
    let airlock = closed();
    let hellos: Vec<_> = texts()
        .iter()
        .filter_map(|text| hello(text.as_bytes()))
        .collect();
    for hello in &hellos {
        let mut wire = Wire::to(airlock.ready.transparent_tls.unwrap());
        assert!(wire.send(hello).closed(), "left open, or answered");
    }
    let mut codes: BTreeMap<String, usize> = BTreeMap::new();
    for record in airlock.exactly(hellos.len()) {
        let reason = record["reason"].as_str().expect("a reason");
        *codes.entry(reason.to_owned()).or_default() += 1;
    }
    assert_accounts(&airlock, &codes);
    assert_eq!(
        codes,
        counts(&[("client_hello_invalid", 1374), ("no_rule_matched", 83)])
    );
}
