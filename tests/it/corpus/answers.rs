//! What a name server answers, by an `/etc/hosts` of the instance's own: closed addresses among open
//! ones, aliases of closed names, and answers that change.

use std::{thread, time::Duration};

use crate::support::{Airlock, Origin, Setup, Wire};

/// A tunnel rule and an interception rule for each name, on this port.
fn allowing(names: &[&str], port: u16, hosts: &str) -> Setup {
    let rules: String = names
        .iter()
        .map(|name| {
            format!(
                "  - name: relay-{name}\n    hosts: [{name}]\n    ports: [443]\n    action: tunnel\n  \
                 - name: forward-{name}\n    hosts: [{name}]\n    ports: [{port}]\n    action: forward\n"
            )
        })
        .collect();
    Setup {
        hosts: hosts.into(),
        ..Setup::rules(rules)
    }
}

fn sockets(airlock: &Airlock) -> u64 {
    airlock.metric("airlock_upstream_sockets_total", &[])
}

#[test]
fn a_name_with_one_closed_address_among_several_is_closed() {
    // Public addresses here are documented ones of others: nothing may be dialled, so nothing is.
    let rows = [
        (
            "a public and a private address",
            "mixed.test",
            "8.8.8.8 mixed.test\n10.0.0.1 mixed.test\n",
        ),
        (
            "a private and a public address",
            "turned.test",
            "10.0.0.1 turned.test\n8.8.8.8 turned.test\n",
        ),
        (
            "a public A and a private AAAA",
            "six.test",
            "8.8.8.8 six.test\nfd00::1 six.test\n",
        ),
        (
            "a public A and a mapped metadata service",
            "mapped.test",
            "8.8.8.8 mapped.test\n::ffff:169.254.169.254 mapped.test\n",
        ),
        (
            "a metadata service alone",
            "meta.test",
            "169.254.169.254 meta.test\n",
        ),
        (
            "an alias of a private name",
            "alias.test",
            "192.168.0.9 router.lan alias.test\n",
        ),
        ("this machine", "here.test", "127.0.0.1 here.test\n"),
    ];
    let names: Vec<_> = rows.iter().map(|(_, name, _)| *name).collect();
    let hosts: String = rows.iter().map(|(_, _, lines)| *lines).collect();
    let Some(airlock) = allowing(&names, 80, &hosts).start_in_namespace() else {
        return;
    };
    for (n, (what, name, _)) in rows.iter().enumerate() {
        let reply = Wire::to(airlock.ready.explicit).ask(format!(
            "CONNECT {name}:443 HTTP/1.1\r\nHost: {name}:443\r\n\r\n"
        ));
        assert_eq!(reply.code(), "address_closed", "{what}, relayed");
        let reply = Wire::to(airlock.ready.explicit).ask(format!(
            "GET http://{name}/ HTTP/1.1\r\nHost: {name}\r\n\r\n"
        ));
        assert_eq!(reply.code(), "address_closed", "{what}, forwarded");
        let records = airlock.exactly(2 * n + 2);
        assert!(
            records[2 * n..]
                .iter()
                .all(|r| r["action"] == "deny" && r["reason"] == "address_closed"),
            "{what}: {records:#?}"
        );
    }
    assert_eq!(sockets(&airlock), 0);
}

/// The dialler holds an answer for five seconds; whatever came before, the next one is judged.
#[test]
fn a_name_that_turns_to_a_closed_address_is_judged_anew() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let port = origin.port();
    let setup = allowing(&["turn.test"], port, "127.0.0.1 turn.test\n").more(format!(
        "upstreams:\n  - name: mine\n    url: http://turn.test:{port}"
    ));
    let Some(airlock) = setup.start_in_namespace() else {
        return;
    };
    let request =
        format!("GET http://turn.test:{port}/ HTTP/1.1\r\nHost: turn.test:{port}\r\n\r\n");
    let mut kept = Wire::to(airlock.ready.explicit);
    assert_eq!(kept.ask(&request).text(), "ok");
    let hosts = airlock.scratch.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.1 localhost\n169.254.169.254 turn.test\n").unwrap();

    // By then the held answer has expired. The upstream's connection is still pooled, and the
    // client's still open.
    let mut refused = None;
    for _ in 0..100 {
        let reply = kept.ask(&request);
        if reply.status != 200 {
            refused = Some(reply);
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    let reply = refused.expect("the changed answer is seen within ten seconds");
    assert_eq!(reply.code(), "address_closed");
    let web_socket = format!(
        "GET http://turn.test:{port}/ HTTP/1.1\r\nHost: turn.test:{port}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    let reply = Wire::to(airlock.ready.explicit).ask(web_socket);
    assert!(reply.status >= 400, "{reply:?}");
    let reply = Wire::to(airlock.ready.explicit)
        .ask("CONNECT turn.test:443 HTTP/1.1\r\nHost: turn.test:443\r\n\r\n");
    assert_eq!(reply.code(), "address_closed");
    assert_eq!(origin.connections(), 1, "one connection, kept");
    assert_eq!(sockets(&airlock), 1);
}
