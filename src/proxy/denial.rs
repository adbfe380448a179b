//! The one table from a refusal to a response: typed JSON, a marker header, `Proxy-Status`.
//!
//! A client can tell a policy from a broken network (RFC 9209), an SDK shows `error.message`,
//! and a person reads how to open the door on purpose.

use bytes::Bytes;
use pingora::http::ResponseHeader;
use serde::Serialize;

use crate::{
    net::Authority,
    policy::{Reason, RuleName, how_to_allow},
};

/// Marks every response that this program makes itself; clients and upstreams cannot set it.
pub const DECISION_HEADER: &str = "x-airlock-decision";

/// A refusal, complete enough to answer and to record.
#[derive(Clone, Debug)]
pub struct Denial {
    pub reason: Reason,
    pub rule: RuleName,
    pub authority: Option<Authority>,
    /// Words for this case; without them the reason's own stand.
    pub detail: Option<String>,
    pub method: String,
    pub path: String,
}

#[derive(Serialize)]
struct Body<'a> {
    error: Fields<'a>,
}

#[derive(Serialize)]
struct Fields<'a> {
    code: &'static str,
    message: String,
    #[serde(rename = "type")]
    kind: &'static str,
    host: Option<String>,
    rule: &'a RuleName,
    how_to_allow: Option<String>,
}

impl Denial {
    /// A refusal before anything about the request is known for sure.
    pub fn early(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            rule: RuleName::none(),
            authority: None,
            detail: Some(detail.into()),
            method: String::new(),
            path: String::new(),
        }
    }

    pub fn status(&self) -> u16 {
        match self.reason.status() {
            // The client is gone, or the reason is no refusal: nothing sensible can be sent.
            200 | 499 => 500,
            status => status,
        }
    }

    /// What happened, in one sentence.
    pub fn message(&self) -> String {
        let host = self.authority.as_ref().map(|a| a.host.to_string());
        let host = host.as_deref().unwrap_or("this destination");
        let words = match self.reason {
            Reason::NoRuleMatched => {
                format!("airlock refused {host}: no rule allows it")
            }
            Reason::RuleDenies => format!("airlock refused {host}: rule {} denies it", self.rule),
            Reason::HostKnownRequestNot => {
                format!(
                    "airlock refused {host}: its rules do not allow this method, path, port or client"
                )
            }
            Reason::AddressClosed => {
                format!("airlock refused {host}: it leads to an address that is closed")
            }
            Reason::OwnListener => {
                format!("airlock refused {host}: it leads back to airlock itself")
            }
            Reason::UpgradeNotAllowed => {
                format!("airlock refused {host}: no rule allows an upgrade there")
            }
            Reason::LockedDown => {
                format!(
                    "airlock refused {host}: it is locked down (airlock lockdown off ends that)"
                )
            }
            Reason::PolicyChanged => {
                format!("airlock refused {host}: its policy was changed meanwhile")
            }
            Reason::RateLimited => "too many requests; try again in a moment".to_owned(),
            Reason::TooManyOpen => "too many requests at a time; try again in a moment".to_owned(),
            Reason::CircuitOpen => {
                "ComfyUI cannot be reached; it is asked again in a moment".to_owned()
            }
            Reason::ResolveFailed
            | Reason::ResolveTimeout
            | Reason::ConnectFailed
            | Reason::ConnectTimeout
            | Reason::UpstreamTlsFailed
            | Reason::UpstreamProxyRefused
            | Reason::UpstreamFailed
            | Reason::UpstreamTimeout => format!(
                "airlock allowed the request, but {host} gave no answer: {}",
                self.reason.code().replace('_', " ")
            ),
            other => format!(
                "airlock refused the request to {host}: {}",
                other.code().replace('_', " ")
            ),
        };
        match &self.detail {
            Some(detail) => format!("{words} ({detail})"),
            None => words,
        }
    }

    pub fn body(&self) -> Bytes {
        let allow = self
            .authority
            .as_ref()
            .map(|a| how_to_allow(self.reason, a, &self.method, &self.path))
            .filter(|words| !words.is_empty());
        let body = Body {
            error: Fields {
                code: self.reason.code(),
                message: self.message(),
                kind: "airlock_denied",
                host: self.authority.as_ref().map(|a| a.host.to_string()),
                rule: &self.rule,
                how_to_allow: allow,
            },
        };
        // Serialising strings cannot fail; an empty body would still be a refusal.
        serde_json::to_vec(&body).unwrap_or_default().into()
    }

    /// RFC 9209 error types; the rest is our own code in `details`.
    fn proxy_status(&self) -> String {
        let error = match self.reason {
            Reason::ResolveFailed => "dns_error",
            Reason::ResolveTimeout => "dns_timeout",
            Reason::ConnectFailed => "connection_refused",
            Reason::ConnectTimeout => "connection_timeout",
            Reason::UpstreamTlsFailed => "tls_certificate_error",
            Reason::UpstreamProxyRefused | Reason::CircuitOpen => "destination_unavailable",
            Reason::UpstreamFailed => "connection_terminated",
            Reason::UpstreamTimeout => "connection_read_timeout",
            Reason::AddressClosed | Reason::OwnListener => "destination_ip_prohibited",
            Reason::MalformedRequest | Reason::AmbiguousFraming | Reason::BadAuthority => {
                "http_request_error"
            }
            Reason::Internal
            | Reason::Overloaded
            | Reason::AuditUnavailable
            | Reason::StateUnavailable
            | Reason::PolicyFault => "proxy_internal_error",
            _ => "http_request_denied",
        };
        format!("airlock; error={error}; details=\"{}\"", self.reason.code())
    }

    fn decision_header(&self) -> String {
        format!("deny; reason={}; rule={}", self.reason.code(), self.rule)
    }

    /// For Pingora's sessions. The connection is closed behind it.
    pub fn header(&self, length: usize) -> pingora::Result<ResponseHeader> {
        let mut header = ResponseHeader::build(self.status(), Some(8))?;
        header.insert_header("content-type", "application/json")?;
        header.insert_header("content-length", length)?;
        header.insert_header("cache-control", "no-store")?;
        header.insert_header(DECISION_HEADER, self.decision_header())?;
        header.insert_header("proxy-status", self.proxy_status())?;
        if self.reason == Reason::Overloaded {
            header.insert_header("retry-after", "1")?;
        }
        Ok(header)
    }

    /// For connections that never reach Pingora (CONNECT, heads that do not parse).
    pub fn raw(&self) -> Vec<u8> {
        let body = self.body();
        let phrase = http::StatusCode::from_u16(self.status())
            .ok()
            .and_then(|s| s.canonical_reason())
            .unwrap_or("Refused");
        let mut out = format!(
            "HTTP/1.1 {} {phrase}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             cache-control: no-store\r\n{DECISION_HEADER}: {}\r\nproxy-status: {}\r\n{}\
             connection: close\r\n\r\n",
            self.status(),
            body.len(),
            self.decision_header(),
            self.proxy_status(),
            match self.reason {
                Reason::Overloaded | Reason::KeyTooMany | Reason::KeyBusy => "retry-after: 1\r\n",
                Reason::ProxyLoginRequired => "proxy-authenticate: Basic realm=\"airlock\"\r\n",
                _ => "",
            },
        )
        .into_bytes();
        out.extend_from_slice(&body);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_host_the_rule_and_the_way_to_allow_it() {
        let denial = Denial {
            reason: Reason::NoRuleMatched,
            rule: RuleName::none(),
            authority: Authority::parse("evil.test:443", None).ok(),
            detail: None,
            method: "GET".into(),
            path: "/".into(),
        };
        let body: serde_json::Value = serde_json::from_slice(&denial.body()).unwrap();
        assert_eq!(body["error"]["code"], "no_rule_matched");
        assert_eq!(body["error"]["host"], "evil.test");
        assert!(
            body["error"]["how_to_allow"]
                .as_str()
                .unwrap()
                .contains("evil.test")
        );
        let raw = String::from_utf8(denial.raw()).unwrap();
        assert!(raw.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{raw}");
        assert!(
            raw.contains("proxy-status: airlock; error=http_request_denied"),
            "{raw}"
        );
    }

    #[test]
    fn no_reason_makes_a_refusal_look_like_a_success() {
        for reason in Reason::ALL {
            assert!(Denial::early(*reason, "x").status() >= 400, "{reason}");
        }
    }
}
