//! A record as one line of JSON.
//!
//! Written by hand, because it is written for every request: a derived serializer escapes the field
//! names over and over and takes four times as long. The fields are taken apart without `..`, so a
//! new one cannot be forgotten here.

use std::{
    io::{self, Write},
    net::IpAddr,
};

use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::record::{AuditKind, AuditRecord};
use crate::net::{Authority, Host};

/// Appends the record and a line feed.
pub(super) fn write(record: &AuditRecord, out: &mut Vec<u8>) -> io::Result<()> {
    let AuditRecord {
        time,
        id,
        kind,
        entry,
        client,
        session,
        user,
        authority,
        method,
        path,
        action,
        rule,
        reason,
        would_deny,
        ended,
        status,
        answered_by,
        upstream,
        detail,
        bytes_in,
        bytes_out,
        left_machine_bytes,
        duration_us,
        generation,
        chat,
        // In the log, `answered_by` says it.
        responder: _,
    } = record;
    out.extend_from_slice(b"{\"time\":\"");
    time.format_into(out, &Rfc3339).map_err(io::Error::other)?;
    out.push(b'"');
    word(
        out,
        "id",
        id.hyphenated().encode_lower(&mut Uuid::encode_buffer()),
    );
    word(
        out,
        "kind",
        match kind {
            AuditKind::Connection => "connection",
            AuditKind::Request => "request",
        },
    );
    word(out, "entry", entry.as_str());
    name(out, "client");
    out.push(b'"');
    address(out, client)?;
    out.push(b'"');
    if let Some(session) = session {
        let mut buffer = Uuid::encode_buffer();
        word(out, "session", session.encode(&mut buffer));
    }
    if let Some(user) = user {
        word(out, "user", user.as_str());
    }
    if let Some(authority) = authority {
        name(out, "authority");
        out.push(b'"');
        host_and_port(out, authority)?;
        out.push(b'"');
    }
    text(out, "method", method.as_deref())?;
    text(out, "path", path.as_deref())?;
    word(out, "action", action);
    text(out, "rule", Some(rule.as_str()))?;
    word(out, "reason", reason.code());
    if let Some(would_deny) = would_deny {
        word(out, "would_deny", would_deny.code());
    }
    if let Some(ended) = ended {
        word(out, "ended", ended.code());
    }
    if let Some(status) = status {
        number(out, "status", u64::from(*status))?;
    }
    text(out, "answered_by", answered_by.as_deref())?;
    text(out, "upstream", upstream.as_deref())?;
    text(out, "detail", detail.as_deref())?;
    number(out, "bytes_in", *bytes_in)?;
    number(out, "bytes_out", *bytes_out)?;
    number(out, "left_machine_bytes", *left_machine_bytes)?;
    number(out, "duration_us", *duration_us)?;
    number(out, "generation", *generation)?;
    text(out, "chat", chat.as_deref())?;
    out.extend_from_slice(b"}\n");
    Ok(())
}

fn name(out: &mut Vec<u8>, name: &'static str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// A word of ours: nothing in it wants escaping.
fn word(out: &mut Vec<u8>, field: &'static str, word: &str) {
    name(out, field);
    out.push(b'"');
    out.extend_from_slice(word.as_bytes());
    out.push(b'"');
}

/// As [`std::fmt::Display`] writes it, which for the usual kind is slow.
fn address(out: &mut Vec<u8>, ip: &IpAddr) -> io::Result<()> {
    match ip {
        IpAddr::V4(v4) => {
            for (n, octet) in v4.octets().into_iter().enumerate() {
                if n > 0 {
                    out.push(b'.');
                }
                serde_json::to_writer(&mut *out, &octet)?;
            }
            Ok(())
        }
        IpAddr::V6(v6) => write!(out, "{v6}"),
    }
}

/// Canonical: letters, digits, dots, hyphens, colons and brackets.
fn host_and_port(out: &mut Vec<u8>, authority: &Authority) -> io::Result<()> {
    match &authority.host {
        Host::Name(name) => out.extend_from_slice(name.as_bytes()),
        Host::Ip(IpAddr::V6(v6)) => write!(out, "[{v6}]")?,
        Host::Ip(v4) => address(out, v4)?,
    }
    out.push(b':');
    Ok(serde_json::to_writer(out, &authority.port.number())?)
}

/// Whatever a client or an upstream may have said.
fn text(out: &mut Vec<u8>, field: &'static str, text: Option<&str>) -> io::Result<()> {
    if let Some(text) = text {
        name(out, field);
        serde_json::to_writer(out, text)?;
    }
    Ok(())
}

fn number(out: &mut Vec<u8>, field: &'static str, number: u64) -> io::Result<()> {
    name(out, field);
    serde_json::to_writer(out, &number)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        net::Entry,
        policy::{Reason, RuleName},
    };

    const ID: &str = "6f1c0b52-6c1f-4b2e-9d3a-0c5a4f1e7b90";

    fn record() -> AuditRecord {
        AuditRecord {
            time: time::OffsetDateTime::UNIX_EPOCH,
            id: Uuid::nil(),
            kind: AuditKind::Connection,
            entry: Entry::Explicit,
            client: [127, 0, 0, 1].into(),
            session: None,
            user: None,
            authority: None,
            method: None,
            path: None,
            action: "deny",
            rule: RuleName::none(),
            reason: Reason::NotTls,
            would_deny: None,
            ended: None,
            status: None,
            answered_by: None,
            upstream: None,
            detail: None,
            bytes_in: 0,
            bytes_out: 0,
            left_machine_bytes: 0,
            duration_us: 0,
            generation: 1,
            chat: None,
            responder: None,
        }
    }

    fn line(record: &AuditRecord) -> serde_json::Value {
        let mut out = Vec::new();
        write(record, &mut out).unwrap();
        assert_eq!(out.pop(), Some(b'\n'));
        assert!(!out.contains(&b'\n'), "one record is one line");
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn what_is_unknown_is_left_out() {
        assert_eq!(
            line(&record()),
            json!({
                "time": "1970-01-01T00:00:00Z",
                "id": "00000000-0000-0000-0000-000000000000",
                "kind": "connection",
                "entry": "explicit",
                "client": "127.0.0.1",
                "action": "deny",
                "rule": "none",
                "reason": "not_tls",
                "bytes_in": 0,
                "bytes_out": 0,
                "left_machine_bytes": 0,
                "duration_us": 0,
                "generation": 1,
            })
        );
    }

    #[test]
    fn what_a_client_says_cannot_end_a_string_or_a_line() {
        let nasty = "a\"b\\c\n{},\u{1}\u{2028}é";
        let full = AuditRecord {
            kind: AuditKind::Request,
            client: std::net::Ipv6Addr::LOCALHOST.into(),
            session: ID.parse().ok(),
            user: "ada@studio.lan".parse().ok(),
            method: Some(nasty.into()),
            path: Some(nasty.into()),
            rule: RuleName::new(nasty),
            would_deny: Some(Reason::RuleDenies),
            ended: Some(Reason::ClientGone),
            status: Some(200),
            answered_by: Some(nasty.into()),
            upstream: Some(nasty.into()),
            detail: Some(nasty.into()),
            bytes_in: u64::MAX,
            ..record()
        };
        let line = line(&full);
        for field in [
            "method",
            "path",
            "rule",
            "answered_by",
            "upstream",
            "detail",
        ] {
            assert_eq!(line[field], nasty, "{field}");
        }
        assert_eq!(line["client"], "::1");
        assert_eq!(line["session"], ID);
        assert_eq!(line["user"], "ada@studio.lan");
        for authority in ["[::1]:8443", "10.0.0.255:1", "a-b.test:65535"] {
            let authority = Authority::parse(authority, None).unwrap();
            let record = AuditRecord {
                authority: Some(authority.clone()),
                ..record()
            };
            assert_eq!(self::line(&record)["authority"], authority.to_string());
        }
        assert_eq!(line["would_deny"], "rule_denies");
        assert_eq!(line["ended"], "client_gone");
        assert_eq!(line["status"], 200);
        assert_eq!(line["bytes_in"], u64::MAX);
    }
}
