//! What Airlock says it did: audit records and metrics, asked for as a person would.

use std::{fs, thread, time::Duration};

use serde_json::Value;

use super::{airlock::Airlock, origin::eventually, wire::Wire};

impl Airlock {
    /// Every record written so far.
    pub fn records(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.state().join("audit.jsonl")).unwrap_or_default();
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }

    /// Waits for exactly `n` records; more than that is a failure, too.
    pub fn exactly(&self, n: usize) -> Vec<Value> {
        eventually(&format!("{n} audit records"), || self.records().len() >= n);
        // One that is written too many comes with the next batch.
        thread::sleep(Duration::from_millis(80));
        let records = self.records();
        assert_eq!(records.len(), n, "{records:#?}");
        records
    }

    /// The one record there is.
    pub fn only_record(&self) -> Value {
        self.exactly(1).remove(0)
    }

    /// The newest record, once there are `n`.
    pub fn record(&self, n: usize) -> Value {
        self.exactly(n).remove(n - 1)
    }

    /// A page of the control plane: status and body.
    pub fn admin(&self, path: &str) -> (u16, String) {
        let mut wire = Wire::to(self.ready.admin);
        let reply = wire.ask(format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ));
        (reply.status, reply.text())
    }

    /// Sum of the series of a metric whose labels hold all of `labels`.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let (status, text) = self.admin("/metrics");
        assert_eq!(status, 200);
        text.lines()
            .filter(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with(['{', ' ']))
                    && labels
                        .iter()
                        .all(|(l, v)| line.contains(&format!("{l}=\"{v}\"")))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum::<f64>() as u64
    }

    /// Nothing was looked up and nothing dialled.
    pub fn assert_touched_nothing(&self) {
        assert_eq!(
            self.metric("airlock_dns_queries_total", &[]),
            0,
            "a name was looked up"
        );
        assert_eq!(
            self.metric("airlock_upstream_sockets_total", &[]),
            0,
            "a socket was opened"
        );
    }

    pub fn assert_healthy(&self) {
        let stderr = self.process.stderr();
        assert!(!stderr.contains("panicked"), "{stderr}");
        assert_eq!(self.admin("/readyz").0, 200);
    }
}
