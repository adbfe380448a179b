//! What `airlock explain` says is what the proxy does: random rules and random requests, through every
//! entry, each answer beside its audit record. Nothing that is allowed here has an address but loopback's.

use std::{collections::HashMap, fmt::Write, net::IpAddr};

use airlock::{
    config,
    net::Entry,
    policy::{Around, CompiledPolicy, ConnectionAction, Explanation, explain, path},
};
use serde_json::Value;

use crate::support::{
    Airlock, Dice, Origin, Setup, Wire, client_hello, eventually, handshake, trusting,
};

const HOSTS: [&str; 8] = [
    "a.localhost",
    "b.localhost",
    "c.localhost",
    "d.localhost",
    "\"*.localhost\"",
    "\"*.a.localhost\"",
    "x.a.localhost",
    "evil.test",
];
const PATHS: [&str; 7] = ["/", "/a", "/a/*", "/a/b", "\"*/b\"", "/r/*", "/a-b"];

/// Rules that tunnel, forward, answer and refuse, on hosts that they share. Only what is below `localhost`
/// is allowed, so that nothing is looked up.
fn rules(dice: &mut Dice, port: u16) -> String {
    let mut yaml = String::new();
    for n in 0..14 {
        let action = dice.of(&[
            "action: deny",
            "action: tunnel",
            "action: forward",
            "action: forward",
            "action: forward",
            "respond: image",
        ]);
        let _ = writeln!(yaml, "  - name: rule-{n}\n    {action}");
        match dice.below(6) {
            0 => yaml.push_str("    ips: [127.0.0.1, 10.0.0.5, \"::1\"]\n"),
            _ => {
                let known = match action {
                    "action: deny" => HOSTS.len(),
                    _ => HOSTS.len() - 1,
                };
                let _ = writeln!(yaml, "    hosts: [{}]", HOSTS[dice.below(known)]);
            }
        }
        match dice.below(4) {
            0 => {}
            1 => yaml.push_str("    ports: [443]\n"),
            _ => {
                let _ = writeln!(yaml, "    ports: [80, 443, {port}]");
            }
        }
        if dice.once_in(6) {
            let clients = dice.of(&["10.0.0.0/8", "127.0.0.0/8"]);
            let _ = writeln!(yaml, "    clients: [{clients}]");
        }
        if dice.once_in(5) {
            let entry = dice.of(&["explicit", "reverse", "transparent"]);
            let _ = writeln!(yaml, "    entries: [{entry}]");
        }
        if dice.once_in(8) {
            yaml.push_str("    mode: report\n");
        }
        let deny = action == "action: deny";
        if dice.once_in(8) && !deny {
            yaml.push_str("    until: 2020-01-01T00:00:00Z\n");
        }
        if action == "action: tunnel" {
            continue;
        }
        if dice.once_in(3) {
            let _ = writeln!(yaml, "    paths: [{}]", dice.of(&PATHS));
        }
        let reads = dice.once_in(5) && !deny;
        if reads {
            yaml.push_str("    read_only: true\n");
        } else if dice.once_in(4) {
            let _ = writeln!(
                yaml,
                "    methods: [{}]",
                dice.of(&["GET", "POST", "HEAD, PUT"])
            );
        }
        if dice.once_in(5) && !deny {
            yaml.push_str("    max_query_bytes: 16\n");
        }
        if dice.once_in(4) && !deny && !reads {
            yaml.push_str("    upgrade: true\n");
        }
        if dice.once_in(6) && action == "action: forward" {
            let _ = writeln!(yaml, "    secrets: {}", dice.of(&["off", "redact"]));
        }
    }
    yaml
}

/// For a name that is intercepted, and answered here whatever is asked of it: nobody is to look it up.
const ANSWERED: &str = "  - name: no-writing
    action: deny
    hosts: [pic.test]
    methods: [PUT]
  - name: some-paths
    respond: image
    hosts: [pic.test]
    paths: [/a, /a/*, /r/*]
    upgrade: true
    max_query_bytes: 16
  - name: the-root
    respond: image
    hosts: [pic.test]
    paths: [/]
    read_only: true
  - name: ended
    respond: image
    hosts: [pic.test]
    until: 2020-01-01T00:00:00Z
";

/// How a request comes.
#[derive(Clone, Copy, Debug)]
enum Way {
    Plain,
    Tls,
    Redirected,
    BaseUrl,
}

#[derive(Debug)]
struct Asked {
    way: Way,
    method: &'static str,
    host: &'static str,
    port: u16,
    /// Path and query.
    target: String,
    upgrade: bool,
}

fn asked(dice: &mut Dice, port: u16) -> Asked {
    let upgrade = dice.once_in(10);
    let path = dice.of(&[
        "/",
        "/a",
        "/a/b",
        "/a/x",
        "/r",
        "/r/b",
        "/r/../a",
        "/a/../b",
        "/%61",
        "/a%2db",
        "//a",
        "/a/./b",
        "/A",
        "/a%2fb",
        "/../a",
        "/a;x=1",
        "/a|b",
        "/%zz",
        "/a/..;x/b",
        "/caf%C3%A9",
        "/%c0%ae",
    ]);
    let key = "ghp_aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zA1bC2";
    let query = match dice.below(12) {
        0 => "?".to_owned(),
        1 => "?a=b".to_owned(),
        2 => "?0123456789abcdef".to_owned(),
        3 => "?0123456789abcdef0".to_owned(),
        4 => format!("?{}", "q".repeat(3000)),
        5 => "?a=\"b\"".to_owned(),
        6 => format!("?key={key}"),
        7 => format!("?key=%67{}", &key[1..]),
        _ => String::new(),
    };
    Asked {
        way: dice.of(&[Way::Plain, Way::Tls, Way::Redirected, Way::BaseUrl]),
        method: match upgrade {
            true => "GET",
            false => dice.of(&[
                "GET", "GET", "GET", "POST", "HEAD", "PUT", "OPTIONS", "M-SEARCH",
            ]),
        },
        host: dice.of(&[
            "a.localhost",
            "b.localhost",
            "c.localhost",
            "d.localhost",
            "x.a.localhost",
            "A.LOCALHOST",
            "a.localhost.",
            "127.0.0.1",
            "10.0.0.5",
            "pic.test",
            "pic.test",
            "[::1]",
            "169.254.169.254",
            "evil.test",
            "a..localhost",
            "0x7f.1",
        ]),
        port: dice.of(&[port, port, 80, 443, 443, 8443]),
        target: format!("{path}{query}"),
        upgrade,
    }
}

impl Asked {
    fn entry(&self) -> Entry {
        match self.way {
            Way::Plain | Way::Tls => Entry::Explicit,
            Way::Redirected => Entry::Transparent,
            Way::BaseUrl => Entry::Reverse,
        }
    }

    /// As a person would ask about it.
    fn url(&self, port: u16) -> String {
        let (host, to, target) = (self.host, self.port, &self.target);
        let scheme = match (self.way, self.upgrade) {
            (Way::Tls, false) => "https",
            (Way::Tls, true) => "wss",
            (_, false) => "http",
            (_, true) => "ws",
        };
        match self.way {
            Way::Plain | Way::Tls | Way::Redirected => format!("{scheme}://{host}:{to}{target}"),
            // The path chooses what the base URL stands for.
            Way::BaseUrl => {
                let raw = target.split('?').next().unwrap();
                let path = path::canonical(raw).unwrap_or_default();
                match path == "/r" || path.starts_with("/r/") {
                    true => format!("{scheme}://a.localhost:{port}{target}"),
                    false => format!("{scheme}s://{}{target}", config::VENDOR_HOST),
                }
            }
        }
    }

    fn head(&self, target: &str, host: &str) -> String {
        let more = match (self.upgrade, self.method) {
            (true, _) => "Connection: Upgrade\r\nUpgrade: websocket\r\n",
            (false, "POST" | "PUT") => "Content-Length: 0\r\n",
            (false, _) => "",
        };
        format!(
            "{} {target} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n",
            self.method
        )
    }

    /// Sends it; returns how many records it leaves.
    fn send(&self, airlock: &Airlock, said: Option<&Explanation>) -> usize {
        let authority = format!("{}:{}", self.host, self.port);
        let target = &self.target;
        let to = |door, head: String| {
            let _ = Wire::to(door).ask(head);
            1
        };
        match self.way {
            Way::Plain => {
                let absolute = format!("http://{authority}{target}");
                to(airlock.ready.explicit, self.head(&absolute, &authority))
            }
            Way::Redirected => {
                let door = airlock.ready.transparent_http.unwrap();
                to(door, self.head(target, &authority))
            }
            Way::BaseUrl => {
                let own = airlock.ready.reverse.to_string();
                to(airlock.ready.reverse, self.head(target, &own))
            }
            Way::Tls => self.tunnel(airlock, &authority, said),
        }
    }

    fn tunnel(&self, airlock: &Airlock, authority: &str, said: Option<&Explanation>) -> usize {
        let mut wire = Wire::to(airlock.ready.explicit);
        wire.send(format!(
            "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"
        ));
        let head = String::from_utf8(wire.head().unwrap()).unwrap();
        if !head.starts_with("HTTP/1.1 200 ") {
            return 1;
        }
        let plain = self.host.trim_matches(['[', ']']).trim_end_matches('.');
        // Where the form of the request is what is refused, it was read: the connection is let through.
        let connection = said.map_or(Some(ConnectionAction::Intercept), |e| e.connection);
        match connection {
            Some(ConnectionAction::Intercept) => {
                let trust = trusting(&airlock.ready.ca_bundle);
                let mut inside = handshake(wire, &trust, plain).unwrap_or_else(|e| {
                    std::thread::sleep(std::time::Duration::from_millis(100));
                    panic!(
                        "it is not intercepted ({e}): {self:?} {said:?} {:?}",
                        airlock.records().last()
                    )
                });
                let _ = inside.ask(self.head(&self.target, authority));
                2
            }
            // What is relayed ends with us; what is not, with the hello.
            Some(ConnectionAction::Tunnel) => {
                wire.send(client_hello(plain));
                1
            }
            Some(ConnectionAction::Deny) | None => {
                wire.send(client_hello(plain));
                assert!(wire.closed(), "it passes: {self:?}");
                1
            }
        }
    }
}

fn words(record: &Value) -> String {
    let word = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
    let would = match word("action").as_str() {
        // Who is refused has no use for what else would have refused it.
        "deny" => String::new(),
        _ => word("would_deny"),
    };
    format!(
        "{} {} {} {would}",
        word("action"),
        word("rule"),
        word("reason")
    )
}

fn in_words(said: &Explanation) -> String {
    let would = match (said.action.as_str(), said.would_deny) {
        ("deny", _) | (_, None) => "",
        (_, Some(reason)) => reason.code(),
    };
    format!("{} {} {} {would}", said.action, said.rule, said.reason)
}

struct Judge {
    policy: std::sync::Arc<CompiledPolicy>,
    around: Around,
}

impl Judge {
    fn of(airlock: &Airlock) -> Self {
        let home = airlock.scratch.path().display().to_string();
        let env = HashMap::from([("HOME".to_owned(), home)]);
        let config = config::load(Some(&airlock.config()), &env).unwrap();
        Self {
            policy: config.policy,
            around: Around {
                addresses: config.addresses,
                own_listeners: vec![airlock.ready.explicit, airlock.ready.reverse],
                comfyui: None,
            },
        }
    }
}

/// One set of rules, and requests to it; returns what came of them.
fn play(seed: u64, port: u16) -> Vec<String> {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let airlock = Setup {
        rules: rules(&mut dice, port) + ANSWERED,
        listeners: "  transparent_http: 127.0.0.1:0\n".into(),
        routes: format!(
            "      - path_prefix: /r\n        upstream: http://a.localhost:{port}\n"
        ),
        ..Setup::default()
    }
    .more(format!(
        "upstreams:\n  - name: b\n    url: http://b.localhost:{port}\n  - name: here\n    url: http://127.0.0.1:{port}\n"
    ))
    .start();
    let Judge { policy, around } = Judge::of(&airlock);
    let client: IpAddr = "127.0.0.1".parse().unwrap();
    let mut records = 0;
    let mut seen = Vec::new();
    for _ in 0..REQUESTS {
        let asked = asked(&mut dice, port);
        let (method, url, entry) = (asked.method, asked.url(port), asked.entry());
        let now = time::OffsetDateTime::now_utc();
        let said = explain(&policy, &around, method, &url, entry, client, now);
        records += asked.send(&airlock, said.as_ref().ok());
        eventually("its record", || airlock.records().len() >= records);
        let all = airlock.records();
        assert_eq!(all.len(), records, "{url}: {all:#?}");
        let last = all.last().unwrap();
        seen.push(format!("{entry:?} {}", words(last)));
        match said {
            Ok(said) => assert_eq!(
                in_words(&said),
                words(last),
                "{method} {url}: {asked:?}, {last}"
            ),
            Err(e) => {
                let refused = ["malformed_request", "bad_authority"];
                let reason = last["reason"].as_str().unwrap();
                let form = last["action"] == "deny" && refused.contains(&reason);
                assert!(form, "{url}: {e}, and yet {last}");
            }
        }
    }
    airlock.assert_healthy();
    seen
}

/// Sets of rules, played side by side because a record takes its time.
const SEEDS: u64 = 8;
const REQUESTS: usize = 60;

#[test]
fn what_is_explained_is_what_is_done() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let port = origin.port();
    let seen: Vec<String> = std::thread::scope(|scope| {
        let games: Vec<_> = (1..=SEEDS)
            .map(|seed| scope.spawn(move || play(seed, port)))
            .collect();
        games.into_iter().flat_map(|g| g.join().unwrap()).collect()
    });
    // Not all of one kind.
    for kind in [
        "rule_allows",
        "rule_denies",
        "no_rule_matched",
        "host_known_request_not",
        "address_closed",
        "secret_found",
        "upgrade_not_allowed",
        "query_too_large",
        "allow_expired",
        "sni_missing",
        "read_only",
        "malformed_request",
        "tunnel rule",
        "Explicit respond",
        "Transparent forward",
        "Reverse forward",
        "Reverse deny",
    ] {
        assert!(
            seen.iter().any(|words| words.contains(kind)),
            "{kind} never came: {seen:#?}"
        );
    }
}
