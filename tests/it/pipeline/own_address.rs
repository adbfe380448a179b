//! EGRESS 17: a listener on all addresses is met on each of them, and none may be dialled. In a network
//! namespace where a public address is this machine's own, as it is on many a server.

use std::process::Command;

use crate::support::{Airlock, Wire};

#[test]
fn a_public_address_of_this_machine_leads_back_to_us_and_is_refused() {
    let works = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "true"])
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        let required = std::env::var_os("AIRLOCK_REQUIRE_NETNS").is_some();
        assert!(!required, "`unshare --user --net` does not work here");
        eprintln!("skipped: this kernel allows no unprivileged network namespace");
        return;
    }
    let out = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "sh", "-ec"])
        .arg("ip link set lo up; ip addr add 8.8.4.4/32 dev lo; ip addr add 2606:4700::5/128 dev lo; exec \"$0\" \"$@\"")
        .arg(std::env::current_exe().unwrap())
        .arg("pipeline::own_address::inside_it_is_dialled")
        .args(["--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env("AIRLOCK_TEST_INSIDE", "1")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let passed = out.status.success() && text(&out.stdout).contains("1 passed");
    assert!(passed, "{}\n{}", text(&out.stdout), text(&out.stderr));
}

#[test]
#[ignore = "runs inside of the namespace that another test makes"]
fn inside_it_is_dialled() {
    if std::env::var_os("AIRLOCK_TEST_INSIDE").is_none() {
        return;
    }
    // The namespace has no other programs: these ports are free.
    for (listen, host) in [
        ("0.0.0.0:80", "8.8.4.4"),
        ("\"[::]:80\"", "[2606:4700::5]"),
        ("\"[::]:80\"", "8.8.4.4"),
    ] {
        let airlock = Airlock::start(&format!(
            "listeners:\n  explicit: 127.0.0.1:0\n  admin: 127.0.0.1:0\n  transparent_http: {listen}\n  trusted_networks: {{transparent_http: test_net}}\n\
             llm:\n  discover: false\npacks: []\nlimits:\n  connections: 16\nrules:\n  \
             - name: back\n    ips: [8.8.4.4, \"2606:4700::5\"]\n    ports: [80, 81]\n    action: forward\n"
        ));
        let ask = |host: &str| {
            let head = format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let reply = Wire::to(airlock.ready.explicit).ask(head);
            (reply.status, reply.code())
        };
        assert_eq!(ask(host), (403, "own_listener".into()), "{listen}, {host}");
        airlock.assert_touched_nothing();
        // Its other ports are nobody's loop.
        let other = format!("{host}:81");
        assert_eq!(
            ask(&other),
            (502, "connect_failed".into()),
            "{listen}, {other}"
        );
        assert_eq!(airlock.exactly(2)[0]["reason"], "own_listener");
    }
}
