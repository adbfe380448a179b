//! One line of an audit log, read leniently: unknown fields are left alone, because a newer program
//! may have written them; a field that is needed and cannot be read makes the line a bad one.

use std::{borrow::Cow, net::IpAddr};

use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    net::{Authority, Entry},
    policy::Reason,
};

/// Why a line is no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("is not a JSON record: {0}")]
    Json(String),
    #[error("has no readable time")]
    Time,
    #[error("names no valid authority: {0}")]
    Authority(String),
}

/// What a record says, as far as rules go.
#[derive(Clone, Debug)]
pub(super) struct Observation {
    pub time: OffsetDateTime,
    pub entry: Entry,
    pub client: IpAddr,
    pub authority: Option<Authority>,
    pub what: What,
    pub action: Action,
    /// Of the decision, or of the refusal that followed it. `None`: a code of another version.
    pub reason: Option<Reason>,
    pub would_deny: Option<Reason>,
    pub sent: u64,
    pub received: u64,
}

/// What was decided about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Connection,
    Request { method: String, path: String },
}

/// As far as learning tells actions apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Denied,
    /// The requests inside have records of their own.
    Intercepted,
    Allowed,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    time: Cow<'a, str>,
    kind: Kind,
    entry: Entry,
    client: IpAddr,
    #[serde(borrow)]
    authority: Option<Cow<'a, str>>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    path: Option<Cow<'a, str>>,
    #[serde(borrow)]
    action: Cow<'a, str>,
    #[serde(borrow)]
    reason: Cow<'a, str>,
    #[serde(borrow)]
    would_deny: Option<Cow<'a, str>>,
    #[serde(default)]
    bytes_in: u64,
    #[serde(default)]
    bytes_out: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Connection,
    Request,
}

pub(super) fn parse(line: &[u8]) -> Result<Observation, LineError> {
    // The message of the parser names positions and expectations, never content of the line but
    // single unknown names; it is bounded all the same.
    let wire: Wire<'_> = serde_json::from_slice(line)
        .map_err(|e| LineError::Json(e.to_string().chars().take(120).collect()))?;
    let time = OffsetDateTime::parse(&wire.time, &Rfc3339).map_err(|_| LineError::Time)?;
    let authority = wire
        .authority
        .map(|text| Authority::parse(&text, None))
        .transpose()
        .map_err(|e| LineError::Authority(e.to_string()))?;
    let what = match wire.kind {
        Kind::Connection => What::Connection,
        Kind::Request => What::Request {
            method: wire.method.map(Cow::into_owned).unwrap_or_default(),
            path: wire.path.map(Cow::into_owned).unwrap_or_default(),
        },
    };
    let action = match &*wire.action {
        "deny" => Action::Denied,
        "intercept" => Action::Intercepted,
        _ => Action::Allowed,
    };
    Ok(Observation {
        time,
        entry: wire.entry,
        client: wire.client.to_canonical(),
        authority,
        what,
        action,
        reason: reason(&wire.reason),
        would_deny: wire.would_deny.as_deref().and_then(reason),
        sent: wire.bytes_in,
        received: wire.bytes_out,
    })
}

fn reason(code: &str) -> Option<Reason> {
    Reason::ALL.iter().copied().find(|r| r.code() == code)
}
