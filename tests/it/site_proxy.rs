//! Behind a site's proxy: the name that was judged is the name it is asked for, nothing else is
//! asked, and no name server is.

use serde_json::Value;

use crate::support::{
    Airlock, Answer, Guest, Identity, Origin, Setup, SiteProxy, Wire, client_hello, eventually,
    handshake, trusting,
};

const ALL: &str =
    "  - name: all\n    hosts: ['*.example.org', proxy.example.net]\n    action: forward\n";
const TUNNEL: &str = "  - name: through\n    hosts: ['*.example.org']\n    action: tunnel\n";

fn get(authority: &str) -> String {
    format!("GET http://{authority}/x HTTP/1.1\r\nHost: {authority}\r\n\r\n")
}

fn ok(body: &str) -> Origin {
    Origin::answering(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

fn assert_no_look_up(airlock: &Airlock) {
    assert_eq!(airlock.metric("airlock_dns_queries_total", &[]), 0);
}

fn echo(mut guest: Guest) {
    while let Some(byte) = guest.byte() {
        guest.send([byte]);
    }
}

#[test]
fn a_tunnel_goes_through_it_under_the_judged_name() {
    let identity = Identity::of(&["site.example.org"]);
    let origin = Origin::scripted_tls(identity.server.clone(), echo);
    let proxy = SiteProxy::knowing(&[("site.example.org:443", Answer::To(origin.address))]);
    let airlock = Setup::rules(TUNNEL).more(proxy.section("")).start();
    let pem = airlock.scratch.path().join("ca.pem");
    std::fs::write(&pem, &identity.ca_pem).unwrap();
    // However the client spells it.
    let outside = Wire::to(airlock.ready.explicit).connect("Site.Example.ORG:443");
    let mut inside = handshake(outside, &trusting(&pem), "site.example.org").unwrap();
    inside.send("x");
    assert_eq!(inside.exact(1), b"x");

    assert_eq!(
        proxy.asked(),
        ["CONNECT site.example.org:443 HTTP/1.1\r\nHost: site.example.org:443\r\n\r\n"]
    );
    assert_no_look_up(&airlock);
    let sockets = [("class", "loopback"), ("outcome", "ok")];
    assert_eq!(
        airlock.metric("airlock_upstream_sockets_total", &sockets),
        1
    );

    // Its proxy is on this machine, and all the same it leaves.
    let out = airlock.command(&["lockdown", "on", "--json"]);
    let report: Value = serde_json::from_str(&out.1).unwrap();
    assert_eq!(report["cut"], 1, "{out:?}");
    assert!(inside.closed());
    let record = airlock.only_record();
    assert_eq!(record["action"], "tunnel", "{record}");
    assert_eq!(record["ended"], "locked_down", "{record}");
    assert_eq!(record["upstream"], format!("proxy {}", proxy.address));
    assert!(
        record["left_machine_bytes"].as_u64().unwrap() > 100,
        "{record}"
    );
    let reply = Wire::to(airlock.ready.explicit).ask(get("site.example.org"));
    assert_ne!(reply.status, 200);
    assert_eq!(proxy.asked().len(), 1);
}

#[test]
fn forwarded_requests_share_a_connection_with_their_own_destination_only() {
    let (a, b, c) = (ok("a"), ok("b"), ok("c"));
    let proxy = SiteProxy::knowing(&[
        ("a.example.org:80", Answer::To(a.address)),
        ("a.example.org:8080", Answer::To(b.address)),
        ("c.example.org:80", Answer::To(c.address)),
    ]);
    let rules = ALL.replace("    action", "    ports: [80, 8080]\n    action");
    let credentials = proxy.section("  credentials_env: CORP\n");
    let airlock = Setup::rules(rules)
        .more(credentials)
        .start_with(&[("CORP", "me:hush")]);
    for _ in 0..3 {
        for (authority, body) in [
            ("a.example.org", "a"),
            ("a.example.org:8080", "b"),
            ("c.example.org", "c"),
        ] {
            let reply = Wire::to(airlock.ready.explicit).ask(get(authority));
            assert_eq!(
                (reply.status, reply.text().as_str()),
                (200, body),
                "{authority}"
            );
        }
    }
    let asked = proxy.asked();
    assert_eq!(asked.len(), 3, "{asked:?}");
    for (head, authority) in
        asked
            .iter()
            .zip(["a.example.org:80", "a.example.org:8080", "c.example.org:80"])
    {
        assert!(
            head.starts_with(&format!("CONNECT {authority} HTTP/1.1\r\n")),
            "{head}"
        );
        assert!(
            head.contains("\r\nProxy-Authorization: Basic bWU6aHVzaA==\r\n"),
            "{head}"
        );
    }
    // What is sent on says nothing of the proxy.
    for origin in [&a, &b, &c] {
        assert_eq!(origin.heads().len(), 3);
        for head in origin.heads() {
            assert!(head.starts_with("GET /x HTTP/1.1\r\n"), "{head}");
            assert!(!head.to_lowercase().contains("proxy"), "{head}");
        }
    }
    assert_no_look_up(&airlock);
    let left = airlock.metric("airlock_left_machine_bytes_total", &[("rule", "all")]);
    assert!(left > 9 * 30, "{left}");
    let seen = airlock.process.stderr() + &airlock.admin("/status").1;
    assert!(!seen.contains("hush") && !seen.contains("bWU6"), "{seen}");
}

#[test]
fn an_intercepted_host_is_verified_through_it() {
    let identity = Identity::of(&["site.example.org"]);
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    for (name, ca, status) in [
        ("a trusted one", &identity.ca_pem, 200),
        ("another", &Identity::of(&["site.example.org"]).ca_pem, 502),
    ] {
        std::fs::write(&roots, ca).unwrap();
        let origin = Origin::scripted_tls(identity.server.clone(), |mut guest| {
            guest.head();
            guest.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        });
        let proxy = SiteProxy::knowing(&[("site.example.org:443", Answer::To(origin.address))]);
        let airlock = Setup::rules(ALL)
            .more(proxy.section(""))
            .start_with(&[("SSL_CERT_FILE", roots.to_str().unwrap())]);
        let outside = Wire::to(airlock.ready.explicit).connect("site.example.org:443");
        let ours = trusting(&airlock.ready.ca_bundle);
        let mut inside = handshake(outside, &ours, "site.example.org").unwrap();
        let reply = inside.ask("GET / HTTP/1.1\r\nHost: site.example.org\r\n\r\n");
        assert_eq!(reply.status, status, "{name}: {}", reply.text());
        if status == 502 {
            assert_eq!(reply.code(), "upstream_tls_failed", "{name}");
        }
        assert_no_look_up(&airlock);
    }
}

#[test]
fn a_proxy_that_refuses_or_fails_is_told_with_its_status() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let rows = [
        (
            "forbidden",
            Answer::Say("HTTP/1.1 403 Forbidden\r\n\r\n"),
            "upstream_proxy_refused",
            "answered 403",
        ),
        (
            "other credentials",
            Answer::Say("HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\n\r\n"),
            "upstream_proxy_refused",
            "answered 407: it wants other credentials",
        ),
        (
            "not HTTP",
            Answer::Say("hello\r\n\r\n"),
            "connect_failed",
            "not well-formed",
        ),
        (
            "a hang-up",
            Answer::Say(""),
            "connect_failed",
            "proxy closed",
        ),
        ("silence", Answer::Hang, "connect_timeout", ""),
        (
            "nobody there",
            Answer::To(gone),
            "connect_failed",
            "the upstream proxy could not be reached",
        ),
    ];
    for (name, answer, code, words) in rows {
        let proxy =
            SiteProxy::knowing(&[("f.example.org:80", answer), ("t.example.org:443", answer)]);
        let section = match answer {
            Answer::To(gone) => format!("egress:\n  upstream_proxy: http://{gone}\n"),
            Answer::Say(_) | Answer::Hang => proxy.section(""),
        };
        let airlock = Setup::rules(TUNNEL.replace("'*.", "'t.").to_owned() + ALL)
            .more(section)
            .more("limits:\n  connect_timeout: 400ms")
            .start();
        let reply = Wire::to(airlock.ready.explicit).ask(get("f.example.org"));
        assert_eq!(reply.code(), code, "{name}");
        let mut tunnel = Wire::to(airlock.ready.explicit).connect("t.example.org:443");
        tunnel.send(client_hello("t.example.org"));
        assert!(tunnel.closed(), "{name}");
        for record in airlock.exactly(2) {
            assert_eq!(record["reason"], "rule_allows", "{name}: {record}");
            assert_eq!(record["ended"], code, "{name}: {record}");
            let detail = record["detail"].as_str().unwrap_or_default();
            assert!(detail.contains(words), "{name}: {record}");
        }
        assert_no_look_up(&airlock);
    }
}

#[test]
fn what_is_refused_without_it_is_refused_with_it_and_never_asked_for() {
    let proxy = SiteProxy::knowing(&[]);
    let port = proxy.address.port();
    let rules = format!(
        "  - name: names\n    hosts: ['*.example.org', '*.internal', '*.lan', printer, localhost]\n    \
         ports: [80, {port}]\n    action: forward\n\
         \x20 - name: literals\n    ips: [10.0.0.1, 127.0.0.1, '::1']\n    \
         ports: [80, {port}]\n    action: forward\n"
    );
    let airlock = Setup::rules(rules).more(proxy.section("")).start();
    let itself = format!("127.0.0.1:{port}");
    let rows = [
        (
            "a name that no rule allows",
            "example.net",
            "no_rule_matched",
        ),
        (
            "a port that no rule allows",
            "a.example.org:81",
            "host_known_request_not",
        ),
        ("a single label", "printer", "address_closed"),
        ("this machine", "localhost", "address_closed"),
        (
            "a private suffix",
            "metadata.google.internal",
            "address_closed",
        ),
        ("another", "nas.lan", "address_closed"),
        ("a private address", "10.0.0.1", "address_closed"),
        ("loopback", "[::1]", "address_closed"),
        ("the proxy itself", &itself, "address_closed"),
    ];
    for (n, (name, authority, code)) in rows.iter().enumerate() {
        let reply = Wire::to(airlock.ready.explicit).ask(get(authority));
        assert_eq!(reply.code(), *code, "{name}: {}", reply.text());
        assert_eq!(airlock.record(n + 1)["action"], "deny", "{name}");
    }
    assert!(proxy.asked().is_empty(), "{:?}", proxy.asked());
    airlock.assert_touched_nothing();
}

#[test]
fn a_tunnel_whose_sni_differs_never_reaches_it() {
    let proxy = SiteProxy::knowing(&[]);
    let airlock = Setup::rules(TUNNEL).more(proxy.section("")).start();
    let mut wire = Wire::to(airlock.ready.explicit).connect("a.example.org:443");
    wire.send(client_hello("b.example.org"));
    assert!(wire.closed());
    assert_eq!(airlock.only_record()["reason"], "sni_mismatch");
    assert!(proxy.asked().is_empty());
    airlock.assert_touched_nothing();
}

#[test]
fn named_upstreams_and_exceptions_go_past_it() {
    let (named, excepted) = (ok("named"), ok("excepted"));
    let proxy = SiteProxy::knowing(&[]);
    let rules = format!(
        "  - name: here\n    hosts: [localhost]\n    ips: [127.0.0.1]\n    ports: [{}, {}]\n    action: forward\n",
        named.port(),
        excepted.port()
    );
    let upstreams = format!(
        "upstreams:\n  - name: n\n    url: http://localhost:{}\n",
        named.port()
    );
    let airlock = Setup::rules(rules)
        .more(upstreams)
        .more(proxy.section("  no_proxy: [127.0.0.0/8]\n"))
        .start();
    let to = |authority: String| Wire::to(airlock.ready.explicit).ask(get(&authority));
    let reply = to(format!("localhost:{}", named.port()));
    assert_eq!(reply.text(), "named");
    // An exception is no permission: the address is checked, and this one is closed.
    let reply = to(format!("127.0.0.1:{}", excepted.port()));
    assert_eq!(reply.code(), "address_closed");
    assert!(proxy.asked().is_empty());
}

#[test]
fn the_llm_goes_through_it_only_where_told_so_and_never_on_this_machine() {
    let llm = ok("{\"object\": \"list\", \"data\": [{\"id\": \"m\", \"object\": \"model\"}]}");
    for through in ["", "  llm_through_proxy: true\n"] {
        let proxy = SiteProxy::knowing(&[]);
        let before = llm.connections();
        let url = format!("http://{}/v1", llm.address);
        let airlock = Setup::rules("")
            .more(proxy.section(through))
            .start_with(&[("LOCAL_LLM_BASE_URL", &url)]);
        eventually("it is asked for its models", || llm.connections() > before);
        assert!(proxy.asked().is_empty());
        assert_no_look_up(&airlock);
    }
    let proxy = SiteProxy::knowing(&[("llm.example.org:8000", Answer::To(llm.address))]);
    let airlock = Setup::rules("")
        .more(proxy.section("  llm_through_proxy: true\n"))
        .start_with(&[("LOCAL_LLM_BASE_URL", "http://llm.example.org:8000/v1")]);
    eventually("it is asked for", || {
        proxy
            .asked()
            .iter()
            .any(|head| head.starts_with("CONNECT llm.example.org:8000 "))
    });
    assert_no_look_up(&airlock);
}
