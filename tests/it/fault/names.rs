//! The name that is judged is the name that is asked for, whatever the system's resolver would make of
//! it: a search domain belongs to somebody, who could answer for `ollama` or for `sparkle`.

use std::{collections::BTreeSet, process::Command};

use super::{
    alone, ask, get,
    stand_in_dns::{Answer, Dns, ask_loopback_with},
};
use crate::support::{Airlock, Origin, Setup, Wire, eventually};

/// Of a container in an office: everything below five dots is tried with the search domain first.
const OFFICE: &str = "search example.test corp.example.test\noptions ndots:5 timeout:1 attempts:1";

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn no_search_domain_is_put_behind_a_name() {
    if !alone("fault::names::no_search_domain_is_put_behind_a_name") {
        return;
    }
    ask_loopback_with(OFFICE);
    let dns = Dns::serving(Answer::NoSuchName);
    // The resolver of this system would: or this test could not fail.
    let _ = Command::new("getent").args(["ahosts", "control"]).output();
    let asked = dns.names();
    assert!(asked.contains("control.example.test"), "{asked:?}");

    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let port = origin.port();
    // A service of a compose file, one label more, and more dots than the option wants.
    let known = ["comfyui", "box.lan", "a.b.c.d.e.f.test"];
    let rules: String = known
        .iter()
        .map(|host| {
            format!("  - {{name: r-{host}, hosts: [{host}], ports: [{port}], action: forward}}\n")
        })
        .collect();
    let upstreams: String = known
        .iter()
        .map(|host| format!("  - {{name: u-{host}, url: 'http://{host}:{port}'}}\n"))
        .collect();
    let airlock = Setup::rules(rules)
        .more(format!("upstreams:\n{upstreams}"))
        .more(
            "front_door: {listen: 127.0.0.1:0, comfyui: 'http://door:8188'}\nmodels: {sources: []}",
        )
        .start();

    for (answer, status) in [
        // Where the name itself is unknown, a resolver goes on with the search domains.
        (Answer::NoSuchName, 502),
        (Answer::Nothing, 502),
        (Answer::Failure, 502),
        (Answer::Loopback, 200),
    ] {
        dns.says(answer);
        for host in known {
            let reply = ask(&airlock, &get(host, port));
            assert_eq!(reply.status, status, "{answer:?}: {host}");
            assert_eq!(dns.names(), names(&[host]), "{answer:?}: {host}");
        }
    }
    // As a person writes it who means the same: with its final dot.
    let dotted = ask(&airlock, &get("comfyui.", port));
    assert_eq!(dotted.status, 200);
    // An answer is held for some seconds, under the one name.
    assert_eq!(dns.names(), names(&[]));

    // Nobody is asked whether a name exists with one of the domains behind it, and no rule takes it.
    for host in ["comfyui.example.test", "unknown"] {
        assert_eq!(ask(&airlock, &get(host, port)).status, 403, "{host}");
    }
    assert_eq!(dns.names(), names(&[]));
    assert!(origin.connections() > 0);
    airlock.assert_healthy();
}

#[test]
fn the_llm_is_asked_for_by_the_name_that_it_is_given() {
    if !alone("fault::names::the_llm_is_asked_for_by_the_name_that_it_is_given") {
        return;
    }
    ask_loopback_with(OFFICE);
    let dns = Dns::serving(Answer::NoSuchName);
    let airlock = Airlock::start(
        "listeners: {explicit: '127.0.0.1:0', reverse: {listen: '127.0.0.1:0'}, admin: '127.0.0.1:0'}\n\
         llm: {base_url: 'http://ollama:11434/v1'}\n",
    );
    eventually("the LLM is looked for", || dns.questions() > 0);
    // Again and again, two questions (A and AAAA) at a time, and never by another name.
    eventually("it is looked for again", || {
        Wire::to(airlock.ready.reverse).ask("GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n");
        dns.questions() > 4
    });
    assert_eq!(dns.names(), names(&["ollama"]));
}
