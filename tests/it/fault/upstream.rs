//! Upstreams that never answer: no route back, a handshake that does not come, a response that does not.

use super::{PICTURE, alone, ask, assert_serves, count, forwarding, get, said, system};
use crate::support::{Origin, Setup, eventually};

#[test]
fn an_address_that_nobody_answers_on_is_a_timeout_with_a_reason() {
    if !alone("fault::upstream::an_address_that_nobody_answers_on_is_a_timeout_with_a_reason") {
        return;
    }
    // A wire whose far end drops everything.
    system(
        "ip link add out0 type veth peer name out1
         ip addr add 198.51.100.2/24 dev out0
         ip link set out0 up; ip link set out1 up
         ip neigh add 198.51.100.1 lladdr 02:00:00:00:00:01 dev out0
         ip route add default via 198.51.100.1",
    );
    // A public address: those of the documentation are closed, and nothing leaves this namespace.
    let host = "8.8.8.8";
    let airlock = Setup::rules(format!(
        "{PICTURE}  - name: far\n    ips: [{host}]\n    action: forward\n\
         \x20 - name: tunnel\n    ips: [8.8.4.4]\n    action: tunnel\n"
    ))
    .more("limits:\n  connect_timeout: 300ms")
    .start();
    let reply = ask(&airlock, &get(host, 80));
    assert_eq!(
        said(&reply),
        (504, "connect_timeout".into()),
        "{}",
        reply.text()
    );
    let record = airlock.record(1);
    assert_eq!(
        (&record["action"], &record["ended"], &record["status"]),
        (&"forward".into(), &"connect_timeout".into(), &504.into()),
        "{record}"
    );
    assert_serves(&airlock);
    assert_eq!(record["left_machine_bytes"], 0, "{record}");
}

#[test]
fn an_upstream_that_takes_a_request_and_says_nothing_is_a_timeout_with_a_reason() {
    let silent = Origin::scripted(|mut guest| while guest.line().is_some() {});
    let port = silent.port();
    let airlock = forwarding("localhost", &silent)
        .more("limits:\n  upstream_timeout: 300ms")
        .start();
    let reply = ask(&airlock, &get("localhost", port));
    assert_eq!(
        said(&reply),
        (504, "upstream_timeout".into()),
        "{}",
        reply.text()
    );
    let record = airlock.record(1);
    assert_eq!(record["ended"], "upstream_timeout", "{record}");
    assert_serves(&airlock);
}

#[test]
fn many_requests_to_a_silent_upstream_starve_nobody() {
    let silent = Origin::scripted(|mut guest| while guest.line().is_some() {});
    let port = silent.port();
    let airlock = forwarding("localhost", &silent)
        .more("limits:\n  upstream_timeout: 3s")
        .start();
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let mut wire = crate::support::Wire::to(airlock.ready.explicit);
            wire.send(get("localhost", port));
            wire
        })
        .collect();
    eventually("all wait", || silent.connections() == 100);
    for _ in 0..10 {
        assert_serves(&airlock);
    }
    for mut wire in waiting {
        assert_eq!(said(&wire.reply()), (504, "upstream_timeout".into()));
    }
    let records = airlock.exactly(110);
    assert_eq!(count(&records, "ended", "upstream_timeout"), 100);
}
