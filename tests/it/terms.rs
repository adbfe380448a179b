//! What a rule demands of what is sent: bounds, budgets, an end, and no secrets. An origin on loopback
//! sees what got through.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use crate::support::{Airlock, Origin, Reply, Setup, Wire, client_hello, eventually};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// An origin that keeps every byte it reads, and answers once a body has ended as its length says.
struct Keeper {
    origin: Origin,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Keeper {
    fn start() -> Self {
        let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
        let kept = seen.clone();
        let origin = Origin::scripted(move |mut guest| {
            while let Some(head) = guest.head() {
                kept.lock().unwrap().extend_from_slice(&head);
                let text = String::from_utf8_lossy(&head).to_lowercase();
                let length = text
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
                    .unwrap_or(0);
                for _ in 0..length {
                    let Some(byte) = guest.byte() else { return };
                    kept.lock().unwrap().push(byte);
                }
                guest.send(OK);
            }
        });
        Self { origin, seen }
    }

    fn saw(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    /// Airlock with one rule for this origin, with these terms.
    fn behind(&self, terms: &str, more: &str) -> Airlock {
        let port = self.origin.port();
        Setup::rules(format!(
            "  - name: o\n    hosts: [localhost]\n    ports: [{port}]\n{terms}\n"
        ))
        .more(format!(
            "upstreams:\n  - name: o\n    url: http://localhost:{port}\n{more}"
        ))
        .start()
    }

    fn connect(&self) -> String {
        let authority = format!("localhost:{}", self.origin.port());
        format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n")
    }

    fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let authority = format!("localhost:{}", self.origin.port());
        let length = match body.len() {
            0 => String::new(),
            n => format!("Content-Length: {n}\r\n"),
        };
        format!(
            "{method} http://{authority}{path} HTTP/1.1\r\nHost: {authority}\r\n{headers}{length}\r\n{body}"
        )
    }
}

fn ask(to: SocketAddr, request: &str) -> Reply {
    Wire::to(to).ask(request)
}

/// Put together here, so that no scanner takes this file for a leak.
fn token() -> String {
    format!("hf_{}", "A1B2C3D4E5F6G7H8".repeat(2))
}

#[test]
fn a_read_only_host_is_only_read() {
    let keeper = Keeper::start();
    let airlock = keeper.behind(
        "    read_only: true\n    max_query_bytes: 8B\n    action: forward",
        "",
    );
    let rows = [
        ("GET", "/a?b=c", "", "", 200, ""),
        ("POST", "/a", "", "x", 403, "read_only"),
        ("GET", "/a", "", "x", 403, "read_only"),
        ("DELETE", "/a", "", "", 403, "read_only"),
        ("GET", "/a?123456789", "", "", 414, "query_too_large"),
        (
            "GET",
            "/a",
            &format!("X: {}\r\n", "y".repeat(17 << 10)),
            "",
            431,
            "headers_too_large",
        ),
    ];
    for (method, path, headers, body, status, code) in rows {
        let reply = ask(
            airlock.ready.explicit,
            &keeper.request(method, path, headers, body),
        );
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
        if status != 200 {
            assert_eq!(reply.code(), code, "{method} {path}");
        }
    }
    assert_eq!(keeper.saw().matches(" HTTP/1.1\r\n").count(), 1);
}

#[test]
fn no_byte_of_a_secret_leaves_and_no_record_holds_it() {
    let keeper = Keeper::start();
    let more = "secrets:\n  own: [\"Musterweg 12\"]\n";
    let airlock = keeper.behind("    action: forward", more);
    let token = token();
    let rows = [
        (
            "body",
            "POST",
            "/a".to_owned(),
            String::new(),
            format!("key={token}"),
            "huggingface",
        ),
        (
            "own",
            "POST",
            "/a".to_owned(),
            String::new(),
            "Musterweg 12".to_owned(),
            "own",
        ),
        (
            "query",
            "GET",
            format!("/a?k={token}"),
            String::new(),
            String::new(),
            "huggingface",
        ),
        (
            "path",
            "GET",
            format!("/{token}"),
            String::new(),
            String::new(),
            "huggingface",
        ),
        (
            "header",
            "GET",
            "/a".to_owned(),
            format!("X-Key: {token}\r\n"),
            String::new(),
            "huggingface",
        ),
    ];
    for (n, (name, method, path, headers, body, kind)) in rows.iter().enumerate() {
        let request = keeper.request(method, path, headers, body);
        let reply = ask(airlock.ready.explicit, &request);
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (403, "secret_found"),
            "{name}"
        );
        let record = airlock.record(n + 1);
        assert_eq!(record["reason"], "secret_found", "{name}: {record}");
        assert_eq!(record["action"], "deny", "{name}: {record}");
        assert!(
            record["detail"].as_str().unwrap().ends_with(kind),
            "{name}: {record}"
        );
        let record = record.to_string() + &reply.text();
        assert!(
            !record.contains(&token) && !record.contains("Musterweg"),
            "{name}: {record}"
        );
        let saw = keeper.saw();
        assert!(
            !saw.contains("hf_") && !saw.contains("Muster"),
            "{name}: {saw}"
        );
    }
    let found = |kind| {
        airlock.metric(
            "airlock_secrets_found_total",
            &[("kind", kind), ("action", "block")],
        )
    };
    assert_eq!((found("huggingface"), found("own")), (4, 1));
    assert!(!airlock.process.stderr().contains(&token));
}

#[test]
fn redact_masks_what_is_sent_and_changes_nothing_else() {
    let keeper = Keeper::start();
    let airlock = keeper.behind("    secrets: redact\n    action: forward", "");
    let token = token();
    let request = keeper.request(
        "POST",
        &format!("/a?k={token}&b=1"),
        &format!("X-Key: {token}\r\nX-Other: kept\r\n"),
        &format!("{{\"k\": \"{token}\", \"b\": 1}}"),
    );
    let reply = ask(airlock.ready.explicit, &request);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let (saw, stars) = (keeper.saw(), "*".repeat(token.len()));
    assert!(!saw.contains(&token), "{saw}");
    assert!(
        saw.starts_with(&format!("POST /a?k={stars}&b=1 HTTP/1.1\r\n")),
        "{saw}"
    );
    assert!(
        saw.ends_with(&format!("{{\"k\": \"{stars}\", \"b\": 1}}")),
        "{saw}"
    );
    assert!(saw.to_lowercase().contains("x-other: kept\r\n"), "{saw}");
    let redacted = [("kind", "huggingface"), ("action", "redact")];
    assert_eq!(airlock.metric("airlock_secrets_found_total", &redacted), 3);
}

#[test]
fn an_encoded_body_passes_only_where_its_rule_says_so() {
    for (terms, status) in [
        ("    action: forward", 415),
        ("    encoded_bodies: true\n    action: forward", 200),
        ("    secrets: off\n    action: forward", 200),
    ] {
        let keeper = Keeper::start();
        let airlock = keeper.behind(terms, "");
        let request = keeper.request("POST", "/a", "Content-Encoding: gzip\r\n", "xyz");
        let reply = ask(airlock.ready.explicit, &request);
        assert_eq!(reply.status, status, "{terms}");
    }
}

#[test]
fn a_spent_budget_refuses_the_next_request_and_breaks_off_a_body() {
    let keeper = Keeper::start();
    let airlock = keeper.behind(
        "    budget: {bytes: 1KiB, per: day}\n    action: forward",
        "",
    );
    let ask = |body: &str| {
        ask(
            airlock.ready.explicit,
            &keeper.request("POST", "/a", "", body),
        )
    };
    assert_eq!(ask("x").status, 200);
    let large = ask(&"x".repeat(2000));
    assert_eq!((large.status, large.code().as_str()), (403, "budget_spent"));
    // What was not sent was not spent; the heads were.
    let mut refused = false;
    for _ in 0..20 {
        let reply = ask("x");
        refused |= reply.status == 403 && reply.code() == "budget_spent";
    }
    assert!(refused);
    assert!(keeper.saw().len() <= 1500, "sent {}", keeper.saw().len());
}

/// A key is a caller of its own, wherever it comes from; who shows none is known by address.
#[test]
fn a_budget_of_each_session_is_spent_by_each_key_for_itself() {
    let keeper = Keeper::start();
    let port = keeper.origin.port();
    let airlock = Setup {
        rules: format!(
            "  - name: onward\n    hosts: [localhost]\n    ports: [{port}]\n    entries: [reverse]\n    \
             budget: {{bytes: 2KiB, per: day, each: session}}\n    action: forward\n"
        ),
        routes: format!(
            "      - path_prefix: /up\n        upstream: http://localhost:{port}\n"
        ),
        ..Setup::default()
    }
    .start();
    let key = |name: &str| {
        let made = airlock.command(&["key", "add", name, "--role", "user", "--json"]);
        let made: serde_json::Value = serde_json::from_str(&made.1).unwrap();
        format!(
            "Authorization: Bearer {}\r\n",
            made["key"].as_str().unwrap()
        )
    };
    let (one, two) = (key("one"), key("two"));
    let ask = |line: &str| {
        let (door, body) = (airlock.ready.reverse, "x".repeat(1400));
        let reply = ask(
            door,
            &format!(
                "POST /up/a HTTP/1.1\r\nHost: {door}\r\n{line}Content-Length: {}\r\n\r\n{body}",
                body.len()
            ),
        );
        match reply.status {
            200 => "sent".to_owned(),
            _ => reply.code(),
        }
    };
    for (name, line, came) in [
        ("the first key", one.as_str(), "sent"),
        ("again", &one, "budget_spent"),
        ("another key", &two, "sent"),
        ("nobody", "", "sent"),
        ("nobody again", "", "budget_spent"),
        ("the other key again", &two, "budget_spent"),
    ] {
        assert_eq!(ask(line), came, "{name}");
    }
}

#[test]
fn a_tunnel_is_cut_when_its_budget_is_spent() {
    let seen = Arc::new(Mutex::new(0));
    let count = seen.clone();
    let origin = Origin::scripted(move |mut guest| {
        while guest.byte().is_some() {
            *count.lock().unwrap() += 1;
        }
    });
    let keeper = Keeper {
        origin,
        seen: Arc::default(),
    };
    let airlock = keeper.behind(
        "    budget: {bytes: 4KiB, per: day}\n    action: tunnel",
        "",
    );
    let mut wire = Wire::to(airlock.ready.explicit);
    wire.send(keeper.connect());
    let head = wire.head().expect("an answer to CONNECT");
    assert!(head.starts_with(b"HTTP/1.1 200"));
    wire.send(client_hello("localhost"));
    wire.send(vec![b'x'; 8 << 10]);
    assert!(wire.closed(), "left open");
    let record = airlock.record(1);
    assert_eq!(record["ended"], "budget_spent", "{record}");
    assert!(*seen.lock().unwrap() <= 4096);
}

#[test]
fn a_rule_that_has_ended_allows_nothing_and_says_so() {
    let keeper = Keeper::start();
    for action in ["tunnel", "forward"] {
        let ended = format!("    until: 2020-01-01T00:00:00Z\n    action: {action}");
        let airlock = keeper.behind(&ended, "");
        let reply = ask(airlock.ready.explicit, &keeper.connect());
        assert_eq!(reply.code(), "allow_expired", "{action}");
    }
    let ended = "    until: 2020-01-01T00:00:00Z\n    action: forward";
    let airlock = keeper.behind(ended, "");
    let reply = ask(airlock.ready.explicit, &keeper.request("GET", "/a", "", ""));
    assert_eq!(reply.code(), "allow_expired");
    assert!(keeper.saw().is_empty());
}

/// What a command prints: a key or a token.
fn made(airlock: &Airlock, arguments: &[&str]) -> String {
    let (code, out, err) = airlock.command(arguments);
    assert_eq!(code, 0, "{arguments:?}: {err}");
    out.trim().to_owned()
}

#[test]
fn a_rule_is_for_the_users_and_keys_that_it_names_and_for_nobody_else() {
    let keeper = Keeper::start();
    let airlock = keeper.behind("    users: [ada, box]\n    action: forward", "");
    let boxed = made(&airlock, &["key", "add", "box"]);
    let other = made(&airlock, &["key", "add", "other"]);
    let ada = made(&airlock, &["session", "issue", "ada", "--role", "user"]);
    let eve = made(&airlock, &["session", "issue", "eve", "--role", "admin"]);
    let no = (403, "not_for_you".to_owned());
    let yes = (200, String::new());
    let rows = [
        ("nothing", String::new(), &no),
        (
            "its key, as an API's",
            format!("Authorization: Bearer {boxed}\r\n"),
            &yes,
        ),
        (
            "its key, as a proxy's",
            format!("Proxy-Authorization: Bearer {boxed}\r\n"),
            &yes,
        ),
        ("its user", format!("Authorization: Bearer {ada}\r\n"), &yes),
        (
            "another key",
            format!("Authorization: Bearer {other}\r\n"),
            &no,
        ),
        (
            "another key, as a proxy's",
            format!("Proxy-Authorization: Bearer {other}\r\n"),
            &no,
        ),
        (
            "an admin whom it does not name",
            format!("Authorization: Bearer {eve}\r\n"),
            &no,
        ),
        (
            "a key of another proxy",
            "Proxy-Authorization: Basic YTpi\r\n".into(),
            &no,
        ),
        (
            "a key with a letter changed",
            format!("Authorization: Bearer {boxed}x\r\n"),
            &no,
        ),
    ];
    for (name, lines, want) in &rows {
        let reply = ask(
            airlock.ready.explicit,
            &keeper.request("GET", "/x", lines, ""),
        );
        let got = match reply.status {
            200 => yes.clone(),
            status => (status, reply.code()),
        };
        assert_eq!(&got, *want, "{name}");
    }
    let seen = keeper.saw();
    assert_eq!(seen.matches("GET /x").count(), 3, "{seen}");
    assert!(!seen.contains(&boxed) && !seen.contains(&ada), "{seen}");
}

#[test]
fn a_tunnel_goes_by_the_key_that_opens_it() {
    let keeper = Keeper::start();
    let airlock = keeper.behind("    users: [box]\n    action: tunnel", "");
    let boxed = made(&airlock, &["key", "add", "box"]);
    let other = made(&airlock, &["key", "add", "other"]);
    let connect = |key: &str| {
        let authority = format!("localhost:{}", keeper.origin.port());
        let line = match key {
            "" => String::new(),
            key => format!("Proxy-Authorization: Bearer {key}\r\n"),
        };
        ask(
            airlock.ready.explicit,
            &format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{line}\r\n"),
        )
    };
    assert_eq!(connect(&boxed).status, 200);
    for (name, key) in [("nothing", ""), ("another key", other.as_str())] {
        let reply = connect(key);
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (403, "not_for_you"),
            "{name}"
        );
    }
}

#[test]
fn a_rule_that_is_for_others_from_now_on_cuts_what_is_open() {
    let stream = Origin::scripted(|mut guest| {
        guest.head();
        guest.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        while guest.byte().is_some() {}
    });
    let port = stream.port();
    let for_users = |users: &str| {
        Setup::rules(format!(
            "  - name: o\n    hosts: [localhost]\n    ports: [{port}]\n    users: [{users}]\n    action: forward\n"
        ))
        .more(format!("upstreams:\n  - name: o\n    url: http://localhost:{port}\n"))
    };
    let airlock = for_users("box").start();
    let key = made(&airlock, &["key", "add", "box"]);
    let mut open = Wire::to(airlock.ready.explicit);
    open.send(format!(
        "GET http://localhost:{port}/ HTTP/1.1\r\nHost: localhost:{port}\r\nProxy-Authorization: Bearer {key}\r\n\r\n"
    ));
    assert!(open.head().unwrap().starts_with(b"HTTP/1.1 200"));
    assert_eq!(open.exact(10), b"5\r\nfirst\r\n");
    airlock.rewrite(&for_users("other, box"));
    airlock.hang_up();
    eventually("it stays open", || {
        airlock.metric("airlock_policy_generation", &[]) == 2
    });
    airlock.rewrite(&for_users("other"));
    airlock.hang_up();
    assert!(open.closed());
    assert_eq!(airlock.only_record()["ended"], "policy_changed");
}
