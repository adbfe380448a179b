//! One lane of the corpus against an airlock of its own: each case is played alone, so that its
//! record, its count, its sockets and its questions are its own.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    thread,
    time::{Duration, Instant},
};

use airlock::{
    selftest::{Case, Counts, Doors, Driver, Expected, Failure, Judgement, Lane, Verdict, corpus},
    tls::ClientTls,
};
use rustls::RootCertStore;
use serde_json::Value;

use super::{ground, setup, without_tunnel};
use crate::support::{Airlock, Origin};

/// A record is written by a thread of its own.
const RECORDED_WITHIN: Duration = Duration::from_secs(5);

pub struct Bench {
    lane: Lane,
    airlock: Airlock,
    /// Stands for everything outside that would be reached.
    trap: Origin,
    tunnels: bool,
    driver: Driver,
    log: BufReader<File>,
    records: Vec<Value>,
}

impl Bench {
    pub fn of(lane: Lane) -> Self {
        let trap = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        // A relay begins with a look-up of its allowed name: that lane wants a name of its own.
        let started = (lane == Lane::ConnectTunnel)
            .then(|| setup(trap.address).start_in_namespace())
            .flatten();
        let tunnels = started.is_some();
        let airlock = started.unwrap_or_else(|| without_tunnel(trap.address).start());
        let ready = &airlock.ready;
        let doors = Doors {
            explicit: Some(ready.explicit),
            reverse: Some(ready.reverse),
            transparent_tls: ready.transparent_tls,
            transparent_http: ready.transparent_http,
            front_door: ready.front_door,
            admin: Some(ready.admin),
            asking: Vec::new(),
        };
        let root = airlock.state().join("ca/root.pem");
        let tls = ClientTls::new(RootCertStore::empty())
            .config_for(Some(&root))
            .expect("the root is there");
        let log = File::open(airlock.state().join("audit.jsonl")).expect("the log is there");
        Self {
            lane,
            driver: Driver {
                doors,
                tls,
                patience: Duration::from_secs(20),
            },
            log: BufReader::new(log),
            records: Vec::new(),
            airlock,
            trap,
            tunnels,
        }
    }

    /// All cases there are for this ground, and those of this lane.
    pub fn cases(&self) -> (Vec<Case>, Vec<Case>) {
        let all = corpus::cases(&ground(&self.airlock, self.tunnels));
        let own = all
            .iter()
            .filter(|c| c.lane == self.lane)
            .cloned()
            .collect();
        (all, own)
    }

    /// Every `parts`th case of this lane, from the `part`th on, and what went wrong.
    pub fn play(mut self, part: usize, parts: usize) -> (Vec<Case>, Vec<Failure>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let (_, cases) = self.cases();
        let cases: Vec<Case> = cases.into_iter().skip(part).step_by(parts).collect();
        let mut failed = Vec::new();
        for case in &cases {
            let before = self.counts();
            let verdict = runtime.block_on(self.driver.play(case));
            failed.extend(self.judge(case, &verdict, &before));
        }
        assert_eq!(self.trap.connections(), 0, "the outside was reached");
        self.airlock.assert_healthy();
        (cases, failed)
    }

    fn judge(&mut self, case: &Case, verdict: &Verdict, before: &Metrics) -> Option<Failure> {
        match case.judge(verdict) {
            Judgement::Right => {}
            Judgement::Wrong(detail) => {
                self.settle(before.decisions as usize + case.records());
                return Some(Failure::new(case, false, detail));
            }
            Judgement::Escaped(detail) => {
                self.settle(before.decisions as usize + case.records());
                return Some(Failure::new(case, true, detail));
            }
        }
        let records = case.records();
        if records == 0 {
            return None;
        }
        let from = self.records.len();
        self.settle(from + records);
        let wrong = |detail: String| Some(Failure::new(case, false, detail));
        if self.records.len() != from + records {
            let seen = &self.records[from..];
            return wrong(format!("{records} records expected: {seen:#?}"));
        }
        let record = &self.records[self.records.len() - 1];
        if let Err(detail) = fits(&case.expected, record) {
            return wrong(detail);
        }
        let after = self.counts();
        let counted = after.decisions - before.decisions;
        if counted != records as u64 {
            return wrong(format!("{counted} decisions counted for {records} records"));
        }
        let reason = record["reason"].as_str().unwrap_or_default();
        if after.of_reason(reason) == before.of_reason(reason) {
            return wrong(format!("{reason} was not counted"));
        }
        let seen = after.counts.since(before.counts);
        if seen.sockets > 0 {
            return Some(Failure::new(case, true, "a socket was opened".into()));
        }
        // Before a relay the allowed name is looked up, and no other: an unknown one would fail.
        let relayed = self.tunnels && self.lane == Lane::ConnectTunnel;
        if seen.questions > 0 && !(relayed && after.questions_failed == 0) {
            return Some(Failure::new(case, true, "a name was looked up".into()));
        }
        None
    }

    /// Reads the log on until it holds so many records, or nothing comes any more.
    fn settle(&mut self, wanted: usize) {
        let until = Instant::now() + RECORDED_WITHIN;
        loop {
            let mut line = String::new();
            while self.log.read_line(&mut line).is_ok_and(|n| n > 0) && line.ends_with('\n') {
                let record = serde_json::from_str(&line);
                self.records
                    .push(record.unwrap_or_else(|e| panic!("{e}: {line}")));
                line.clear();
            }
            if !line.is_empty() {
                // Half a line: it was caught while it was written.
                let back = i64::try_from(line.len()).expect("a line is short");
                self.log.seek_relative(-back).expect("a file can be sought");
            }
            if self.records.len() >= wanted || Instant::now() > until {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn counts(&self) -> Metrics {
        let (status, page) = self.airlock.admin("/metrics");
        assert_eq!(status, 200);
        Metrics::of(page)
    }
}

/// The record says what the case expects.
fn fits(expected: &Expected, record: &Value) -> Result<(), String> {
    let of = |key: &str| record[key].as_str().unwrap_or_default();
    let (action, reason, ended) = (of("action"), of("reason"), of("ended"));
    let among = |code: &str| expected.reasons().iter().any(|r| r.code() == code);
    let right = match expected {
        Expected::Refused(_) => action == "deny" && among(reason),
        Expected::BrokenOff(_) => action == "intercept" && among(ended),
        Expected::Answered => action == "respond" && ended.is_empty(),
        Expected::Handshake => action == "intercept",
        Expected::Status(_) | Expected::Holds => true,
    };
    if right {
        Ok(())
    } else {
        Err(format!("expected {expected}, recorded {record}"))
    }
}

struct Metrics {
    page: String,
    counts: Counts,
    decisions: u64,
    questions_failed: u64,
}

impl Metrics {
    fn of(page: String) -> Self {
        let sum = |name: &str, part: &str| -> u64 {
            page.lines()
                .filter(|l| l.starts_with(name) && l.contains(part))
                .filter_map(|l| l.rsplit(' ').next()?.parse::<u64>().ok())
                .sum()
        };
        let questions = sum("airlock_dns_queries_total{", "");
        Self {
            counts: Counts::of(&page),
            decisions: sum("airlock_decisions_total{", ""),
            questions_failed: questions - sum("airlock_dns_queries_total{", "outcome=\"ok\""),
            page,
        }
    }

    fn of_reason(&self, reason: &str) -> u64 {
        let label = format!("reason=\"{reason}\"");
        self.page
            .lines()
            .filter(|l| l.starts_with("airlock_decisions_total{") && l.contains(&label))
            .filter_map(|l| l.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }
}
