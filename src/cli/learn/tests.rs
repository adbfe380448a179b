//! The way round: a log, its rules, the loader, and the checkpoints of the policy that comes out.

use std::{collections::HashMap, net::IpAddr};

use super::*;
use crate::{
    config::{Config, compile},
    net::{Authority, Entry},
    policy::{Action, ConnectionAction, Flow, Mode, RequestFacts, RequestSize},
};

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// What a client did, in short: `CONNECT host:port`, or `METHOD host:port/path`.
#[derive(Clone, Copy)]
struct Did<'a>(&'a str);

impl Did<'_> {
    fn parts(&self) -> (&str, Authority, String) {
        let (method, rest) = self.0.split_once(' ').unwrap();
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        (
            method,
            Authority::parse(authority, None).unwrap(),
            path.to_owned(),
        )
    }

    /// As report mode records it.
    fn record(&self) -> String {
        let (method, authority, path) = self.parts();
        let connect = method == "CONNECT";
        serde_json::json!({
            "time": "2026-11-20T10:00:00.123456Z",
            "id": "0190163d-8694-739b-aea5-966c26f8ad91",
            "kind": if connect { "connection" } else { "request" },
            "entry": "explicit",
            "client": CLIENT,
            "authority": authority.to_string(),
            "method": method,
            "path": path,
            "action": if connect { "tunnel" } else { "forward" },
            "rule": "none",
            "reason": "no_rule_matched",
            "would_deny": "no_rule_matched",
            "bytes_in": 10,
            "bytes_out": 2000,
            "left_machine_bytes": 10,
            "duration_us": 5,
            "generation": 1,
        })
        .to_string()
    }

    /// Whether this configuration allows it.
    fn allowed(&self, config: &Config) -> bool {
        let (method, authority, path) = self.parts();
        let now = time::OffsetDateTime::now_utc();
        if method == "CONNECT" {
            let flow = Flow {
                entry: Entry::Explicit,
                client: CLIENT,
                authority: &authority,
            };
            return config.policy.decide_connection(&flow, now).action == ConnectionAction::Tunnel;
        }
        let facts = RequestFacts {
            entry: Entry::Explicit,
            client: CLIENT,
            authority: &authority,
            method,
            path: &path,
            upgrade: false,
            size: RequestSize::default(),
        };
        config.policy.decide_request(&facts, now).action == Action::Forward
    }
}

fn learn(records: &[String], options: Options) -> (Learned, String) {
    let mut learner = Learner::new(options);
    let mut bad = BadLines::default();
    read_log(
        Path::new("log"),
        records.join("\n").as_bytes(),
        &mut learner,
        &mut bad,
    )
    .unwrap();
    assert_eq!(bad.named, []);
    let learned = learner.finish();
    let yaml = learned.to_yaml();
    (learned, yaml)
}

fn load(yaml: &str) -> Config {
    let env = HashMap::from([("HOME".to_owned(), "/nowhere".to_owned())]);
    compile(yaml, "learned", PathBuf::from("."), &env)
        .unwrap_or_else(|e| panic!("does not load: {e}\n{yaml}"))
}

#[test]
fn the_rules_load_and_allow_what_was_seen_and_nothing_beside_it() {
    struct Row {
        what: &'static str,
        seen: &'static [&'static str],
        refused: &'static [&'static str],
    }
    let rows = [
        Row {
            what: "a tunnel",
            seen: &["CONNECT api.test:443"],
            refused: &[
                "CONNECT api.test:8443",
                "CONNECT x.api.test:443",
                "CONNECT test:443",
                "GET api.test:443/",
            ],
        },
        Row {
            what: "one host on two ports is one rule",
            seen: &["CONNECT api.test:443", "CONNECT api.test:8443"],
            refused: &["CONNECT api.test:444"],
        },
        Row {
            what: "requests keep their methods and paths",
            seen: &["GET api.test:80/a", "POST api.test:80/b"],
            refused: &[
                "POST api.test:80/a",
                "GET api.test:80/b",
                "GET api.test:80/a/",
                "GET api.test:80/",
                "GET api.test:443/a",
            ],
        },
        Row {
            what: "a path with both methods",
            seen: &[
                "GET api.test:80/a",
                "POST api.test:80/a",
                "GET api.test:80/c",
            ],
            refused: &["POST api.test:80/c", "PUT api.test:80/a"],
        },
        Row {
            what: "a tunnel beside requests on another port",
            seen: &["CONNECT api.test:443", "GET api.test:80/a"],
            refused: &["GET api.test:80/b", "GET api.test:443/a"],
        },
        Row {
            what: "names that YAML could read as something else",
            seen: &["CONNECT no:443", "CONNECT null:443", "CONNECT 1e5:443"],
            refused: &["CONNECT yes:443"],
        },
        Row {
            what: "paths with everything that may stand in one",
            seen: &["GET api.test:80/a:b@c!$&'()+,;=[]|~%20%22%5B/#"],
            refused: &["GET api.test:80/a"],
        },
        Row {
            what: "many files of one folder are the folder",
            seen: &[
                "GET f.test:80/d/1",
                "GET f.test:80/d/2",
                "GET f.test:80/d/3",
                "GET f.test:80/d/4",
                "GET f.test:80/d/5",
                "GET f.test:80/d/6",
                "GET f.test:80/d/7",
                "GET f.test:80/d/8",
                "GET f.test:80/d/9",
                "GET f.test:80/top",
            ],
            refused: &["GET f.test:80/e/1", "POST f.test:80/d/1", "GET f.test:80/d"],
        },
    ];
    for Row {
        what,
        seen,
        refused,
    } in rows
    {
        // A fragment is never in a record; the row above uses it as an end mark.
        let seen: Vec<_> = seen.iter().map(|s| s.trim_end_matches("/#")).collect();
        let records: Vec<_> = seen.iter().map(|s| Did(s).record()).collect();
        let (_, yaml) = learn(&records, Options::default());
        let config = load(&yaml);
        assert_eq!(config.mode, Mode::Enforce, "{what}");
        for did in seen {
            assert!(
                Did(did).allowed(&config),
                "{what}: {did} is refused by\n{yaml}"
            );
        }
        for did in refused {
            assert!(
                !Did(did).allowed(&config),
                "{what}: {did} is allowed by\n{yaml}"
            );
        }
    }
}

#[test]
fn destinations_with_a_warning_are_comments_unless_asked_for_and_load_either_way() {
    for did in [
        "CONNECT 8.8.8.8:443",
        "GET 169.254.169.254:80/latest/meta-data/",
        "GET 192.168.1.9:80/",
        "CONNECT bucket.s3.amazonaws.com:443",
        "CONNECT deadbeef01234567.example.com:443",
        "GET metadata.google.internal:80/computeMetadata/v1/",
        "GET [2606:4700::1]:80/",
    ] {
        let records = [Did(did).record()];
        let (learned, yaml) = learn(&records, Options::default());
        assert_eq!(learned.rules.len(), 1, "{did}");
        assert!(!learned.rules[0].live, "{did}");
        assert!(yaml.contains("# WARNING: "), "{did}: {yaml}");
        assert!(!Did(did).allowed(&load(&yaml)), "{did}: {yaml}");

        let options = Options {
            with_warned: true,
            ..Options::default()
        };
        let (learned, yaml) = learn(&records, options);
        let config = load(&yaml);
        // The loader takes no metadata address, whatever is asked for.
        let loads = !did.contains("169.254");
        assert_eq!(learned.rules[0].live, loads, "{did}");
        assert_eq!(Did(did).allowed(&config), loads, "{did}: {yaml}");
        assert!(yaml.contains("# WARNING: "), "{did}: {yaml}");
    }
}

#[test]
fn a_rule_taken_out_of_its_comment_loads() {
    let records = [
        Did("CONNECT api.test:443").record(),
        Did("GET someone.github.io:443/a").record(),
    ];
    let (_, yaml) = learn(&records, Options::default());
    let taken: String = yaml
        .lines()
        .map(|line| match line.strip_prefix("  # ") {
            Some(rest) if rest.starts_with("- name") || rest.starts_with("  ") => {
                format!("  {rest}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let config = load(&taken);
    assert!(
        Did("GET someone.github.io:443/a").allowed(&config),
        "{taken}"
    );
}

#[test]
fn bad_lines_are_counted_and_named_and_never_fatal() {
    let good = Did("CONNECT api.test:443").record();
    let bad_authority = good.replace("api.test:443", "api.test");
    let long = format!("{{\"x\":\"{}\"}}", "a".repeat(MAX_LINE));
    let log = [
        "{",
        &good,
        "",
        "null",
        &long,
        &bad_authority,
        "\u{0}",
        &good[..40],
        &good,
    ]
    .join("\n");
    let mut learner = Learner::new(Options::default());
    let mut bad = BadLines::default();
    read_log(Path::new("log"), log.as_bytes(), &mut learner, &mut bad).unwrap();
    let lines: Vec<_> = bad.named.iter().map(|b| b.line).collect();
    assert_eq!(lines, [1, 4, 5, 6, 7, 8]);
    assert_eq!(bad.count, 6);
    assert!(bad.named[2].why.contains("longer than"), "{bad:?}");
    assert!(bad.named[3].why.contains("authority"), "{bad:?}");
    let learned = learner.finish();
    assert_eq!((learned.records, learned.rules.len()), (2, 1));
    assert_eq!(learned.rules[0].seen.count, 2);
}

#[test]
fn more_bad_lines_than_are_named_are_counted() {
    let log = "x\n".repeat(50);
    let mut learner = Learner::new(Options::default());
    let mut bad = BadLines::default();
    read_log(Path::new("log"), log.as_bytes(), &mut learner, &mut bad).unwrap();
    assert_eq!((bad.count, bad.named.len()), (50, NAMED_BAD_LINES));
}

#[test]
fn rotated_files_are_read_oldest_first_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in [
        "audit.jsonl",
        "audit.jsonl.1",
        "audit.jsonl.2",
        "audit.jsonl.4",
    ] {
        std::fs::write(at(name), "").unwrap();
    }
    let files = with_rotated(&[at("audit.jsonl"), at("audit.jsonl.1")]).unwrap();
    let want = ["audit.jsonl.2", "audit.jsonl.1", "audit.jsonl"].map(at);
    assert_eq!(files, want);
    std::fs::remove_file(at("audit.jsonl")).unwrap();
    let files = with_rotated(&[at("audit.jsonl")]).unwrap();
    assert_eq!(files, ["audit.jsonl.2", "audit.jsonl.1"].map(at));
    assert!(with_rotated(&[at("none.jsonl")]).is_err());
}

#[test]
fn a_file_that_is_there_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("learned.yaml");
    write_new(&path, "a").unwrap();
    assert!(write_new(&path, "b").is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a");
}
