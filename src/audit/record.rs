//! The shape of an audit record.

use std::{borrow::Cow, net::IpAddr};

use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    net::{Authority, Entry},
    policy::{Reason, Responder, RuleName},
    token::{SessionId, Username},
};

/// What was decided about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditKind {
    /// A tunnel or an interception (the requests inside it have records of their own).
    Connection,
    Request,
}

/// One decision and what came of it. The names are those of the log's fields: tools read them.
#[derive(Clone, Debug)]
pub struct AuditRecord {
    /// When the request or connection began, RFC 3339, UTC.
    pub time: OffsetDateTime,
    pub id: Uuid,
    pub kind: AuditKind,
    pub entry: Entry,
    pub client: IpAddr,
    /// The signed session it belongs to, and the user or API key it is from, where that was asked.
    pub session: Option<SessionId>,
    pub user: Option<Username>,
    /// Canonical `host:port`; absent when it could not be established.
    pub authority: Option<Authority>,
    pub method: Option<Cow<'static, str>>,
    /// Path without the query, cut at 256 bytes: queries carry secrets.
    pub path: Option<String>,
    /// `deny`, `tunnel`, `intercept`, `forward` or `respond`.
    pub action: &'static str,
    pub rule: RuleName,
    pub reason: Reason,
    /// Report mode: what enforce mode would have denied, and why.
    pub would_deny: Option<Reason>,
    /// What broke it off after the decision (`client_gone`, `upstream_timeout`, ...); absent when
    /// it ended in peace.
    pub ended: Option<Reason>,
    pub status: Option<u16>,
    /// `airlock` for refusals, else who answered: `local llm`, `stand-in`, `upstream`, ...
    pub answered_by: Option<Cow<'static, str>>,
    pub upstream: Option<String>,
    pub detail: Option<String>,
    /// Body or tunnel bytes from the client, and to it.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Bytes sent on behalf of this decision to anywhere but this machine.
    pub left_machine_bytes: u64,
    pub duration_us: u64,
    /// Generation of the policy that decided.
    pub generation: u64,
    /// The plugin's own name of a chat (`X-Session-Id`).
    pub chat: Option<Box<str>>,
    /// Who was to answer; for the receipt, `answered_by` says it in the log.
    pub responder: Option<Responder>,
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
