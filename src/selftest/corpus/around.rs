//! Groups 49 to 55: around the proxy. Most are proved by tests of their own; see `groups`.

use super::{Corpus, Expected, Lane, Opening, Step, in_process};
use crate::policy::Reason;

pub fn add(corpus: &mut Corpus<'_>) {
    control_plane(corpus);
    read_only(corpus);
    configurations(corpus);
}

fn control_plane(corpus: &mut Corpus<'_>) {
    corpus.group(51);
    for (sentence, host) in [
        ("a name that was rebound", "rebound.evil.test:9464"),
        ("a public name", "evil.test"),
        ("a name that ends in localhost's", "localhost.evil.test"),
        ("a name that begins as an address", "127.0.0.1.evil.test"),
        ("a hash before an address", "evil.test#@127.0.0.1"),
        ("an at sign before an address", "evil.test@127.0.0.1"),
        ("a slash before an address", "evil.test/127.0.0.1"),
        ("a question mark before an address", "evil.test?127.0.0.1"),
        ("an address, a hash and a name", "127.0.0.1#evil.test"),
        ("an address, an at sign and a name", "127.0.0.1@evil.test"),
        ("a backslash", "127.0.0.1\\.evil.test"),
        ("an encoded dot", "127%2e0%2e0%2e1"),
        ("a short address", "127.1"),
        ("a decimal address", "2130706433"),
        ("two names", "localhost, evil.test"),
        ("nothing", ""),
    ] {
        for path in ["/metrics", "/status"] {
            let bytes = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            let steps = vec![Step::Send(bytes.into_bytes())];
            let sentence = format!("{sentence} as Host of {path}");
            corpus.push(Lane::Admin, sentence, Opening::Direct, steps, Expected::Status(421));
        }
    }
    for (sentence, head, status) in [
        ("two Hosts", "GET /status HTTP/1.1\r\nHost: localhost\r\nHost: evil.test\r\n", 421),
        ("a form that posts", "POST /status HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.test\r\nContent-Length: 0\r\n", 403),
        ("a DELETE", "DELETE /metrics HTTP/1.1\r\nHost: localhost\r\n", 405),
        ("a page that asks before it posts", "OPTIONS /status HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.test\r\nAccess-Control-Request-Method: POST\r\n", 403),
        ("the CA's key", "GET /ca/root.key HTTP/1.1\r\nHost: localhost\r\n", 404),
        ("the CA's key by a climb", "GET /../state/ca/root.key HTTP/1.1\r\nHost: localhost\r\n", 404),
        ("the CA's key by an encoded climb", "GET /%2e%2e/ca/root.key HTTP/1.1\r\nHost: localhost\r\n", 404),
        ("a request through it, as through a proxy", "GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n", 421),
        ("a debug page", "GET /debug/pprof/ HTTP/1.1\r\nHost: localhost\r\n", 404),
    ] {
        let bytes = format!("{head}Connection: close\r\n\r\n");
        let steps = vec![Step::Send(bytes.into_bytes())];
        corpus.push(Lane::Admin, sentence, Opening::Direct, steps, Expected::Status(status));
    }
    for (sentence, host) in [
        ("a name that was rebound", "rebound.evil.test:8787"),
        ("a name that ends in localhost's", "localhost.evil.test"),
        ("a name that begins as an address", "127.0.0.1.evil.test"),
    ] {
        corpus.contradiction(&format!("{sentence}, as the Host of a page"), host.as_bytes(), Reason::AuthorityMismatch, true);
    }
}

fn read_only(corpus: &mut Corpus<'_>) {
    corpus.group(52);
    let Some(place) = corpus.ground.read_only.clone() else {
        return;
    };
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "MKCOL", "LOCK", "PURGE", "QUERY", "GETX"] {
        let template = format!("{method} {{to}}{{path}} HTTP/1.1\r\nHost: {{host}}\r\n\r\n");
        corpus.of_place(&format!("{method} to a read-only host"), &template, &place, Reason::HostKnownRequestNot);
    }
    let template = "POST {to}{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 6\r\n\r\nsecret";
    corpus.of_place("a body to a read-only host", template, &place, Reason::HostKnownRequestNot);
    let template = "PUT {to}{path} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nsecret\r\n0\r\n\r\n";
    corpus.of_place("chunks to a read-only host", template, &place, Reason::HostKnownRequestNot);
}

fn configurations(corpus: &mut Corpus<'_>) {
    corpus.group(54);
    for (sentence, yaml) in [
        ("an unknown key", "modus: enforce"),
        ("an unknown key of a rule", "rules: [{name: a, hosts: [a.test], action: tunnel, port: 443}]"),
        ("a rule without a destination", "rules: [{name: a, action: tunnel}]"),
        ("an empty list of hosts", "rules: [{name: a, hosts: [], action: tunnel}]"),
        ("an empty list of methods", "rules: [{name: a, hosts: [a.test], methods: [], action: forward}]"),
        ("a rule without an action", "rules: [{name: a, hosts: [a.test]}]"),
        ("an unknown action", "rules: [{name: a, hosts: [a.test], action: allow}]"),
        ("an unknown responder", "rules: [{name: a, hosts: [a.test], respond: everything}]"),
        ("every host", "rules: [{name: a, hosts: ['*'], action: tunnel}]"),
        ("a wildcard in the middle", "rules: [{name: a, hosts: [a.*.test], action: tunnel}]"),
        ("an address as a host", "rules: [{name: a, hosts: [127.0.0.1], action: tunnel}]"),
        ("a network that covers loopback", "rules: [{name: a, ips: [127.0.0.0/8], action: tunnel}]"),
        ("every address", "rules: [{name: a, ips: [0.0.0.0/0], action: tunnel}]"),
        ("every IPv6 address", "rules: [{name: a, ips: ['::/0'], action: tunnel}]"),
        ("a port that is none", "rules: [{name: a, hosts: [a.test], ports: [65536], action: tunnel}]"),
        ("every port", "rules: [{name: a, hosts: [a.test], ports: any, action: tunnel}]"),
        ("a path that climbs", "rules: [{name: a, hosts: [a.test], paths: [/a/../b], action: forward}]"),
        ("a path for a tunnel", "rules: [{name: a, hosts: [a.test], paths: [/a], action: tunnel}]"),
        ("two rules of one name", "rules: [{name: a, hosts: [a.test], action: tunnel}, {name: a, hosts: [b.test], action: deny}]"),
        ("a key that stands twice", "mode: report\nmode: enforce"),
        ("a merge key", "base: &a {mode: report}\n<<: *a"),
        ("an unknown mode", "mode: permissive"),
        ("a mode that is no word", "mode: off"),
        ("two listeners on one address", "listeners: {explicit: 127.0.0.1:4000, admin: 127.0.0.1:4000}"),
        ("a listener without a port", "listeners: {explicit: 127.0.0.1}"),
        ("a listener by name", "listeners: {explicit: 'localhost:3128'}"),
        ("an upstream without a host", "upstreams: [{name: a, url: 'http://'}]"),
        ("an upstream with user information", "upstreams: [{name: a, url: 'http://x@evil.test'}]"),
        ("a CA file that is not there", "upstreams: [{name: a, url: 'https://a.test', ca_file: /nonexistent/ca.pem}]"),
        ("a reverse host that is none", "listeners: {reverse: {host: 'a..test'}}"),
        ("a route that climbs", "listeners: {reverse: {routes: [{path_prefix: /a/../b, upstream: 'http://127.0.0.1:1'}]}}"),
        ("a pack that does not exist", "packs: [everything]"),
        ("no limit on connections", "limits: {connections: 0}"),
        ("a limit that is no number", "limits: {connections: many}"),
        ("rules that are no list", "rules: all"),
        ("a second document", "---\nmode: report"),
        ("a tab", "listeners:\n\texplicit: off"),
    ] {
        corpus.check(format!("a configuration with {sentence}"), move || in_process::refuses_config(yaml));
    }
}
