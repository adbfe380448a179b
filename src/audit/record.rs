//! The shape of an audit record.

use std::{borrow::Cow, net::IpAddr};

use serde::{Serialize, Serializer};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::{
    net::{Authority, Entry},
    policy::{Reason, RuleName},
};

/// What was decided about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditKind {
    /// A tunnel or an interception (the requests inside it have records of their own).
    Connection,
    Request,
}

/// One decision and what came of it. Field names are stable: tools read them.
#[derive(Clone, Debug, Serialize)]
pub struct AuditRecord {
    /// When the request or connection began, RFC 3339, UTC.
    #[serde(serialize_with = "rfc3339")]
    pub time: OffsetDateTime,
    #[serde(serialize_with = "hyphenated")]
    pub id: Uuid,
    pub kind: AuditKind,
    pub entry: Entry,
    pub client: IpAddr,
    /// Canonical `host:port`; absent when it could not be established.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "host_and_port"
    )]
    pub authority: Option<Authority>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Cow<'static, str>>,
    /// Path without the query, cut at 256 bytes: queries carry secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `deny`, `tunnel`, `intercept`, `forward` or `respond`.
    pub action: &'static str,
    pub rule: RuleName,
    pub reason: Reason,
    /// Report mode: what enforce mode would have denied, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_deny: Option<Reason>,
    /// What broke it off after the decision (`client_gone`, `upstream_timeout`, ...); absent when
    /// it ended in peace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// `airlock` for refusals, else who answered: `local llm`, `stand-in`, `upstream`, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Body or tunnel bytes from the client, and to it.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Bytes sent on behalf of this decision to anywhere but this machine.
    pub left_machine_bytes: u64,
    pub duration_us: u64,
    /// Generation of the policy that decided.
    pub generation: u64,
}

impl AuditRecord {
    /// A path as a record holds it: no query, bounded, cut on a character boundary.
    pub fn path_of(target: &str) -> String {
        let path = target.split(['?', '#']).next().unwrap_or_default();
        let mut end = path.len().min(256);
        while !path.is_char_boundary(end) {
            end -= 1;
        }
        path[..end].to_owned()
    }
}

fn host_and_port<S: Serializer>(authority: &Option<Authority>, s: S) -> Result<S::Ok, S::Error> {
    match authority {
        Some(authority) => s.collect_str(authority),
        None => s.serialize_none(),
    }
}

fn rfc3339<S: Serializer>(time: &OffsetDateTime, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&time.format(&Rfc3339).map_err(serde::ser::Error::custom)?)
}

fn hyphenated<S: Serializer>(id: &Uuid, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_never_reaches_a_record_and_a_long_path_is_cut() {
        for (target, expected) in [
            ("/v1/models?key=secret", "/v1/models"),
            ("/a#frag", "/a"),
            ("/plain", "/plain"),
        ] {
            assert_eq!(AuditRecord::path_of(target), expected);
        }
        assert!(AuditRecord::path_of(&format!("/{}", "é".repeat(300))).len() <= 256);
    }
}
