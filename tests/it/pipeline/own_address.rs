//! EGRESS 17: a listener on all addresses is met on each of them, and none may be dialled. In a network
//! namespace where a public address is this machine's own, as it is on many a server.

use crate::support::{Airlock, Wire, alone, system};

#[test]
fn a_public_address_of_this_machine_leads_back_to_us_and_is_refused() {
    if !alone(
        "pipeline::own_address::a_public_address_of_this_machine_leads_back_to_us_and_is_refused",
    ) {
        return;
    }
    system("ip addr add 8.8.4.4/32 dev lo; ip addr add 2606:4700::5/128 dev lo");
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
