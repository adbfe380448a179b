//! What is counted, and what becomes of it where a table is full: nothing is lost, it is told less
//! finely.

use serde_json::{Value, json};

use super::*;

/// One record of report mode, with these fields changed.
fn record(changes: &Value) -> String {
    let mut out = json!({
        "time": "2026-11-20T10:00:00Z", "kind": "request", "entry": "explicit",
        "client": "10.0.0.1", "authority": "api.test:80", "method": "GET", "path": "/a",
        "action": "forward", "rule": "none", "reason": "no_rule_matched",
        "would_deny": "no_rule_matched", "bytes_in": 3, "bytes_out": 10,
    });
    for (key, value) in changes.as_object().unwrap() {
        out[key] = value.clone();
    }
    out.to_string()
}

fn learned(records: impl IntoIterator<Item = Value>) -> Learned {
    let mut learner = Learner::new(Options::default());
    for changes in records {
        learner.line(record(&changes).as_bytes()).unwrap();
    }
    learner.finish()
}

fn only(learned: &Learned) -> &LearnedRule {
    assert_eq!(learned.rules.len(), 1, "{:#?}", learned.rules);
    &learned.rules[0]
}

fn client(n: usize) -> Value {
    json!({"client": format!("10.0.1.{n}")})
}

#[test]
fn clients_are_counted_each_until_the_table_is_full_and_together_after() {
    let all = (0..70).chain([0, 0, 69]).map(client);
    let learned = learned(all);
    let seen = &only(&learned).seen;
    assert_eq!((seen.count, seen.clients.len()), (73, 64));
    let of = |n: u8| seen.clients.get(&std::net::IpAddr::from([10, 0, 1, n]));
    assert_eq!(
        (of(0), of(1), of(63), of(64)),
        (Some(&3), Some(&1), Some(&1), None)
    );
    assert_eq!(seen.other_clients, 7);
    assert_eq!((seen.bytes_sent, seen.bytes_received), (73 * 3, 73 * 10));
    // Five by name, the busiest first; the other 66 records together.
    let text = learned.to_yaml();
    let (_, after) = text
        .split_once("10.0.1.0 (3), ")
        .expect("the busiest first");
    assert!(after.contains("others (66)"), "{text}");
}

#[test]
fn clients_are_named_where_they_are_few() {
    for (clients, want, others) in [
        (1, "10.0.1.0", None),
        (5, "10.0.1.4 (1)", None),
        (6, "10.0.1.4 (1), others (1)", Some("others")),
    ] {
        let text = learned((0..clients).map(client)).to_yaml();
        assert!(text.contains(want), "{clients}: {text}");
        assert_eq!(
            text.contains("others ("),
            others.is_some(),
            "{clients}: {text}"
        );
    }
}

#[test]
fn destinations_that_are_known_are_counted_on_where_no_new_one_fits() {
    let name = |n: usize| json!({"authority": format!("h{n}.test:80")});
    let learned = learned((0..4097).chain([0, 4096]).map(name));
    assert_eq!(learned.rules.len(), 4096);
    let first = learned.rules.iter().find(|r| r.hosts == ["h0.test"]);
    assert_eq!(first.expect("the first is known").seen.count, 2);
    assert_eq!(learned.skipped.len(), 1);
    assert_eq!(learned.skipped[0].why, "too_many_destinations");
    assert_eq!(learned.skipped[0].records, 2);
}

#[test]
fn paths_that_do_not_fit_are_told_by_their_folder() {
    let path = |path: String| json!({"path": path});
    let many = (0..2048).map(|n| path(format!("/first/{n}")));
    let late = ["/late/x/y", "/late/z", "/top", "/first/0"].map(|p| path(p.to_owned()));
    let learned = learned(many.chain(late));
    let rule = only(&learned);
    assert_eq!(rule.seen.count, 2052);
    // One that stands in no folder stands for all.
    assert_eq!(rule.paths, ["/*"], "{rule:#?}");
    let many = (0..2048).map(|n| path(format!("/first/{n}")));
    let late = ["/late/x/y", "/late/z", "/first/0"].map(|p| path(p.to_owned()));
    let learned = super::bounds_tests::learned(many.chain(late));
    let rule = only(&learned);
    assert_eq!(rule.paths, ["/first/*", "/late/*"], "{rule:#?}");
}

#[test]
fn what_stopped_a_request_later_is_told_whichever_came_first() {
    let closed = json!({"action": "deny", "reason": "address_closed"});
    let own = json!({"action": "deny", "reason": "own_listener"});
    let form = json!({"action": "deny", "reason": "malformed_request"});
    let passed = json!({});
    let warned = |records: Vec<Value>| only(&learned(records)).warnings.join("; ");
    let address = warned(vec![closed.clone()]);
    assert!(!address.is_empty());
    for records in [
        vec![closed.clone(), form.clone()],
        vec![form.clone(), closed.clone()],
        vec![own.clone(), passed.clone()],
        vec![passed.clone(), own],
    ] {
        assert_eq!(warned(records.clone()), address, "{records:?}");
    }
    let nothing = warned(vec![form.clone()]);
    assert!(nothing.contains("malformed_request"), "{nothing}");
    assert_eq!(warned(vec![form, passed]), "", "one of them passed");
}

#[test]
fn a_host_asked_by_tunnel_and_by_request_has_one_rule_that_says_so() {
    let tunnel = json!({"kind": "connection", "method": "CONNECT", "path": null});
    let learned = learned([json!({}), tunnel.clone(), tunnel]);
    let rule = only(&learned);
    assert_eq!(rule.action, "forward");
    assert!(
        rule.notes
            .iter()
            .any(|n| n.contains("also seen 2 times as a tunnel")),
        "{:?}",
        rule.notes
    );
}

#[test]
fn the_same_on_another_port_is_one_rule_and_what_is_warned_of_is_another() {
    let to = |authority: &str| json!({"authority": authority});
    let learned = learned([to("api.test:80"), to("api.test:8080")]);
    assert_eq!(only(&learned).ports, [80, 8080]);
    let closed = json!({
        "authority": "api.test:8080", "action": "deny", "reason": "address_closed",
    });
    let learned = super::bounds_tests::learned([to("api.test:80"), closed]);
    assert_eq!(learned.rules.len(), 2, "{:#?}", learned.rules);
}
