//! The name server is down, silent or broken.

use std::thread;

use super::{
    GET_PICTURE, PICTURE, alone, ask, assert_serves, count, get, said,
    stand_in_dns::{Answer, Dns, ask_loopback},
};
use crate::support::{Origin, Setup, Wire, eventually};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const NAME: &str = "up.test";
const TUNNEL: &str = "tunnel.test";

#[test]
fn a_broken_resolver_refuses_with_a_reason_dials_nobody_and_recovers() {
    if !alone("fault::resolver::a_broken_resolver_refuses_with_a_reason_dials_nobody_and_recovers")
    {
        return;
    }
    ask_loopback();
    let origin = Origin::answering(OK);
    let port = origin.port();
    let airlock = Setup::rules(format!(
        "{PICTURE}  - name: through\n    hosts: [{NAME}]\n    ports: [{port}]\n    action: forward\n\
         \x20 - name: tunnel\n    hosts: [{TUNNEL}]\n    ports: [{port}]\n    action: tunnel\n"
    ))
    .more(format!(
        "upstreams:\n  - name: a\n    url: http://{NAME}:{port}\n\
         \x20 - name: b\n    url: https://{TUNNEL}:{port}"
    ))
    .start();
    let connect =
        |host: &str| format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
    let mut records = 0;

    // Nobody listens on port 53.
    assert_eq!(
        said(&ask(&airlock, &get(NAME, port))),
        (502, "resolve_failed".into())
    );
    let record = airlock.record(1);
    assert_eq!(
        (&record["action"], &record["ended"]),
        (&"forward".into(), &"resolve_failed".into()),
        "the rule allowed it: {record}"
    );
    records += 1;

    let dns = Dns::serving(Answer::Silence);
    for (name, answer, status, code) in [
        (
            "it answers SERVFAIL",
            Answer::Failure,
            502,
            "resolve_failed",
        ),
        (
            "it knows no address",
            Answer::Nothing,
            502,
            "resolve_failed",
        ),
        ("it is silent", Answer::Silence, 504, "resolve_timeout"),
        ("it answers garbage", Answer::Garbage, 502, "resolve_failed"),
    ] {
        dns.says(answer);
        thread::scope(|s| {
            for request in [get(NAME, port), connect(TUNNEL)] {
                let airlock = &airlock;
                s.spawn(move || {
                    let reply = ask(airlock, &request);
                    assert_eq!(said(&reply), (status, code.into()), "{name}: {request}");
                });
            }
        });
        records += 2;
        let so_far = airlock.exactly(records);
        assert_eq!(
            count(&so_far[records - 2..], "ended", code),
            2,
            "{name}: {so_far:#?}"
        );
        // What no rule allows is refused without a question, whatever the resolver does.
        let asked = dns.questions();
        for request in [get("denied.test", port), connect("denied.test")] {
            let refused = (403, "no_rule_matched".into());
            assert_eq!(said(&ask(&airlock, &request)), refused, "{name}");
        }
        assert_eq!(
            dns.questions(),
            asked,
            "{name}: a denied name was asked for"
        );
        assert_serves(&airlock);
        records += 3;
    }
    assert_eq!(origin.connections(), 0);
    assert_eq!(airlock.metric("airlock_upstream_sockets_total", &[]), 0);

    dns.says(Answer::Loopback);
    eventually("it is as ever", || {
        ask(&airlock, &get(NAME, port)).status == 200
    });
    assert_eq!(origin.connections(), 1);
    airlock.assert_healthy();
}

/// A look-up holds a thread until the system gives up. Their number is bounded, and who needs none is
/// not in their queue.
#[test]
fn more_look_ups_than_a_silent_resolver_can_hold_are_refused_and_starve_nobody() {
    if !alone(
        "fault::resolver::more_look_ups_than_a_silent_resolver_can_hold_are_refused_and_starve_nobody",
    ) {
        return;
    }
    ask_loopback();
    let dns = Dns::serving(Answer::Silence);
    let airlock = Setup::rules(format!(
        "{PICTURE}  - name: many\n    hosts: [\"*.many.test\"]\n    action: forward\n"
    ))
    .start();
    let door = airlock.ready.explicit;
    let asking: Vec<_> = (0..48)
        .map(|n| {
            thread::spawn(move || {
                let host = format!("n{n}.many.test");
                let reply = Wire::to(door).ask(format!(
                    "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"
                ));
                said(&reply)
            })
        })
        .collect();
    eventually("look-ups are under way", || dns.questions() > 30);
    for _ in 0..20 {
        assert_serves(&airlock);
        assert_eq!(airlock.admin("/healthz").0, 200);
    }
    let answers: Vec<_> = asking.into_iter().map(|t| t.join().unwrap()).collect();
    let timed_out = answers
        .iter()
        .filter(|a| **a == (504, "resolve_timeout".into()));
    let turned_away = answers.iter().filter(|a| **a == (503, "overloaded".into()));
    let (timed_out, turned_away) = (timed_out.count(), turned_away.count());
    assert_eq!((timed_out, turned_away), (32, 16), "{answers:?}");
    let records = airlock.exactly(48 + 20);
    assert_eq!(count(&records, "reason", "overloaded"), 16);
    assert_eq!(count(&records, "ended", "resolve_timeout"), 32);
    assert_eq!(airlock.metric("airlock_upstream_sockets_total", &[]), 0);
    assert_eq!(ask(&airlock, GET_PICTURE).status, 200);
}
