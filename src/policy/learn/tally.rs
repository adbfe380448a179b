//! Who asked, how often, how many bytes, and when.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::line::Observation;
use crate::net::Entry;

/// Clients that are told apart for one rule; the rest are counted together.
const MAX_CLIENTS: usize = 64;

/// What the log says about one rule. Field names are the `--json` contract of `airlock learn`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    pub count: u64,
    /// Records per client; at most 64 clients.
    pub clients: BTreeMap<IpAddr, u64>,
    /// Records of the clients beyond.
    pub other_clients: u64,
    pub entries: BTreeSet<Entry>,
    /// Body or tunnel bytes from the clients.
    pub bytes_sent: u64,
    /// And to them.
    pub bytes_received: u64,
    #[serde(serialize_with = "rfc3339")]
    pub first: Option<OffsetDateTime>,
    #[serde(serialize_with = "rfc3339")]
    pub last: Option<OffsetDateTime>,
}

impl Seen {
    pub(super) fn add(&mut self, o: &Observation) {
        self.count += 1;
        self.client(o.client, 1);
        self.entries.insert(o.entry);
        self.bytes_sent = self.bytes_sent.saturating_add(o.sent);
        self.bytes_received = self.bytes_received.saturating_add(o.received);
        self.span(Some(o.time), Some(o.time));
    }

    pub(super) fn merge(&mut self, other: &Seen) {
        let Seen {
            count,
            clients,
            other_clients,
            entries,
            bytes_sent,
            bytes_received,
            first,
            last,
        } = other;
        self.count += count;
        clients.iter().for_each(|(ip, n)| self.client(*ip, *n));
        self.other_clients += other_clients;
        self.entries.extend(entries);
        self.bytes_sent = self.bytes_sent.saturating_add(*bytes_sent);
        self.bytes_received = self.bytes_received.saturating_add(*bytes_received);
        self.span(*first, *last);
    }

    fn client(&mut self, ip: IpAddr, n: u64) {
        let full = self.clients.len() >= MAX_CLIENTS;
        match self.clients.get_mut(&ip) {
            Some(count) => *count += n,
            None if full => self.other_clients += n,
            None => {
                self.clients.insert(ip, n);
            }
        }
    }

    fn span(&mut self, first: Option<OffsetDateTime>, last: Option<OffsetDateTime>) {
        self.first = match (self.first, first) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.last = self.last.max(last);
    }
}

/// To the second, in UTC.
pub(super) fn second(time: Option<OffsetDateTime>) -> String {
    time.map(|t| t.to_offset(time::UtcOffset::UTC))
        .and_then(|t| t.replace_nanosecond(0).ok())
        .and_then(|t| t.format(&Rfc3339).ok())
        .unwrap_or_default()
}

fn rfc3339<S: serde::Serializer>(time: &Option<OffsetDateTime>, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&second(*time))
}
