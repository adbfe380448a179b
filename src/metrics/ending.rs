//! Counters of one way a request or connection can end: found once, then at hand.
//!
//! Looking each of them up by its labels for every request cost as much as deciding about it.

use std::sync::{Arc, OnceLock};

use hashbrown::{Equivalent, HashMap};
use parking_lot::RwLock;
use prometheus::IntCounter;

use super::Metrics;
use crate::net::Entry;

/// How it ended. As many kinds as there are series, and as bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ending<'a> {
    pub entry: Entry,
    pub action: &'static str,
    pub rule: &'a str,
    pub reason: &'static str,
    /// `local`, `upstream`, `airlock` (refusals) or `tunnel`; `None` is not counted as a request.
    pub answered_by: Option<&'static str>,
    /// A rule's name, or a word of ours; never a client's.
    pub destination: &'a str,
    /// 0 where nothing was answered.
    pub status: u16,
}

/// Sizes, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    pub sent: u64,
    pub received: u64,
    pub left_machine: u64,
}

/// [`Ending`] as the map keeps it: the same fields in the same order, so that both hash alike.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    entry: Entry,
    action: &'static str,
    rule: Box<str>,
    reason: &'static str,
    answered_by: Option<&'static str>,
    destination: Box<str>,
    status: u16,
}

impl Equivalent<Key> for Ending<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        let Ending {
            entry,
            action,
            rule,
            reason,
            answered_by,
            destination,
            status,
        } = *self;
        entry == key.entry
            && action == key.action
            && *rule == *key.rule
            && reason == key.reason
            && answered_by == key.answered_by
            && *destination == *key.destination
            && status == key.status
    }
}

#[derive(Debug)]
struct Counters {
    decisions: IntCounter,
    requests: Option<IntCounter>,
    /// Made with the first byte: a series of nothing says nothing.
    sent: OnceLock<IntCounter>,
    received: OnceLock<IntCounter>,
    left_machine: IntCounter,
}

#[derive(Debug, Default)]
pub(super) struct Endings(RwLock<HashMap<Key, Arc<Counters>>>);

impl Metrics {
    /// Counts a decision, and what came of it.
    pub fn ended(&self, ending: &Ending<'_>, sizes: Sizes) {
        let known = self.endings.0.read().get(ending).cloned();
        let counters = known.unwrap_or_else(|| self.remember(ending));
        counters.decisions.inc();
        if let Some(requests) = &counters.requests {
            requests.inc();
        }
        for (direction, counter, bytes) in [
            ("sent", &counters.sent, sizes.sent),
            ("received", &counters.received, sizes.received),
        ] {
            if bytes > 0 {
                let labels = [direction, ending.destination];
                counter
                    .get_or_init(|| self.bytes.with_label_values(&labels))
                    .inc_by(bytes);
            }
        }
        // Always touched, so that a zero is seen as a zero.
        counters.left_machine.inc_by(sizes.left_machine);
    }

    fn remember(&self, ending: &Ending<'_>) -> Arc<Counters> {
        let Ending {
            entry,
            action,
            rule,
            reason,
            answered_by,
            destination,
            status,
        } = *ending;
        let key = Key {
            entry,
            action,
            rule: rule.into(),
            reason,
            answered_by,
            destination: destination.into(),
            status,
        };
        let mut digits = [0u8; 3];
        let status = status_label(status, &mut digits);
        let counters = Arc::new(Counters {
            decisions: self
                .decisions
                .with_label_values(&[entry.as_str(), action, rule, reason]),
            requests: answered_by.map(|by| {
                self.requests
                    .with_label_values(&[entry.as_str(), by, status])
            }),
            sent: OnceLock::new(),
            received: OnceLock::new(),
            left_machine: self.left_machine.with_label_values(&[rule]),
        });
        self.endings.0.write().insert(key, counters.clone());
        counters
    }
}

/// Three digits without an allocation; anything that is no HTTP status is `000`.
fn status_label(status: u16, buf: &mut [u8; 3]) -> &str {
    if !(100..1000).contains(&status) {
        return "000";
    }
    *buf = [
        b'0' + (status / 100) as u8,
        b'0' + (status / 10 % 10) as u8,
        b'0' + (status % 10) as u8,
    ];
    std::str::from_utf8(buf).unwrap_or("000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_that_differ_in_one_thing_are_counted_apart_and_equal_ones_together() {
        let metrics = Metrics::new();
        let one = Ending {
            entry: Entry::Reverse,
            action: "forward",
            rule: "mine",
            reason: "rule_allows",
            answered_by: Some("upstream"),
            destination: "mine",
            status: 200,
        };
        let sizes = Sizes {
            sent: 0,
            received: 10,
            left_machine: 0,
        };
        metrics.ended(&one, sizes);
        metrics.ended(&one, sizes);
        metrics.ended(&Ending { status: 404, ..one }, sizes);
        metrics.ended(
            &Ending {
                answered_by: None,
                ..one
            },
            sizes,
        );
        metrics.ended(
            &Ending {
                rule: "other",
                destination: "other",
                ..one
            },
            sizes,
        );
        let text = metrics.render();
        for line in [
            r#"airlock_decisions_total{action="forward",entry="reverse",reason="rule_allows",rule="mine"} 4"#,
            r#"airlock_decisions_total{action="forward",entry="reverse",reason="rule_allows",rule="other"} 1"#,
            r#"airlock_requests_total{answered_by="upstream",entry="reverse",status="200"} 3"#,
            r#"airlock_requests_total{answered_by="upstream",entry="reverse",status="404"} 1"#,
            r#"airlock_bytes_total{destination="mine",direction="received"} 40"#,
            r#"airlock_left_machine_bytes_total{rule="other"} 0"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains(r#"direction="sent""#), "nothing was sent");
    }
}
