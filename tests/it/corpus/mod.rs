//! The corpus of docs/EGRESS.md: every case through every entry it can reach, each with exactly one
//! audit record, one count, no socket and no DNS question; and the page itself.
//!
//! The cases and the driver are the product's own (`airlock::selftest`).

mod answers;
mod bench;
mod command;
mod page;

use std::{net::SocketAddr, thread};

use airlock::selftest::{Case, Failure, Ground, Lane, Report, corpus};
use bench::Bench;

use crate::support::{Airlock, Setup};

const RULES: &str = "  - name: allowed
    hosts: [allowed.test]
    action: tunnel
  - name: below
    hosts: ['*.w.test']
    action: tunnel
  - name: inside
    hosts: [inside.test]
    paths: [/open/*]
    respond: image
  - name: read-only
    hosts: [read.test]
    methods: [GET, HEAD]
    respond: image
  - name: international
    hosts: [bücher.test]
    respond: image
";

/// The policy of docs/EGRESS.md, every listener on, and names that lead to this machine.
fn setup(trap: SocketAddr) -> Setup {
    Setup {
        listeners: "  transparent_tls: 127.0.0.1:0\n  transparent_http: 127.0.0.1:0\n".into(),
        reverse: "    host: inside.test\n".into(),
        routes: format!("      - path_prefix: /comfy\n        upstream: http://{trap}\n"),
        names: vec!["allowed.test"],
        ..Setup::rules(RULES)
    }
    .more("upstreams:\n  - name: mine\n    url: https://allowed.test")
    .more(format!(
        "front_door:\n  listen: 127.0.0.1:0\n  comfyui: http://{trap}\nmodels: {{sources: []}}\ncomfyui: off"
    ))
    .more("limits:\n  client_hello_timeout: 400ms\n  head_timeout: 400ms")
}

/// The same with one name fewer, where no namespace is to be had.
fn without_tunnel(trap: SocketAddr) -> Setup {
    Setup {
        names: Vec::new(),
        ..setup(trap)
    }
}

fn ground(airlock: &Airlock, tunnels: bool) -> Ground {
    let mut ground = Ground::documented(vec![airlock.ready.explicit, airlock.ready.admin]);
    if !tunnels {
        ground.tunnelled = None;
    }
    ground
}

/// A case waits for its audit record, which is written some time later: several at once, each with an
/// airlock of its own, take no more work and less time.
const PARTS: usize = 3;

/// Plays every case; what failed, lane by lane.
fn play() -> (Vec<Case>, Vec<Failure>) {
    let mut threads = Vec::new();
    for lane in Lane::ALL {
        let parts = match lane {
            Lane::Admin | Lane::InProcess => 1,
            _ => PARTS,
        };
        for part in 0..parts {
            threads.push(thread::spawn(move || Bench::of(lane).play(part, parts)));
        }
    }
    let (mut cases, mut failed) = (Vec::new(), Vec::new());
    for thread in threads {
        let (own, wrong) = thread.join().expect("a lane does not panic");
        cases.extend(own);
        failed.extend(wrong);
    }
    failed.sort_by_key(|failure| (failure.group, failure.entry));
    (cases, failed)
}

#[test]
fn every_case_ends_as_it_should_and_the_page_says_so() {
    let (cases, failed) = play();
    let words: Vec<_> = failed
        .iter()
        .map(|f| format!("{:>2} {}: {}: {}", f.group, f.entry, f.case, f.detail))
        .collect();
    assert!(
        failed.is_empty(),
        "{} of {} cases:\n{}",
        failed.len(),
        cases.len(),
        words.join("\n")
    );
    // Without a namespace there was no relay to play its cases before.
    if cases
        .iter()
        .any(|case| case.sentence.ends_with("before a relay"))
    {
        page::compare(&Report::of(&cases, failed, 0, Vec::new()));
    }
}

#[test]
fn every_group_has_cases_or_a_test_that_exists() {
    let (cases, _) = Bench::of(Lane::InProcess).cases();
    for group in &corpus::GROUPS {
        let count = cases.iter().filter(|c| c.group == group.number).count();
        assert!(
            count >= 5 || !group.proved_by.is_empty(),
            "group {} has {count} cases and no other proof",
            group.number
        );
        for name in group.proved_by {
            assert!(page::exists(name), "group {}: no test {name}", group.number);
        }
    }
    assert!(!page::exists("it::pipeline::heads::nothing_of_the_kind"));
    let numbers: Vec<u8> = corpus::GROUPS.iter().map(|g| g.number).collect();
    assert_eq!(numbers, (1..=55).collect::<Vec<_>>());
}
