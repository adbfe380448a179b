//! Which page may read an answer, and the headers that tell its browser so (WIRE.md 10.0).
//!
//! The vendor's host answers to every site that the user's browser visits, not only to ComfyUI's
//! page. The rule: an origin on this machine or in a private network may read (loopback, private
//! and link-local addresses, single-label names, names under suffixes that no public DNS serves);
//! an origin on a public name may not, unless the configuration names it. A request from such a
//! page is refused before anything is done for it. Requests without `Origin` come from no page.

use std::{collections::BTreeSet, net::IpAddr};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts};

use super::{LocalBody, LocalResponse};

/// Suffixes of names that public DNS does not serve (RFC 6761, 6762, 8375, ICANN's `.internal`,
/// and the ones home routers use).
const PRIVATE_SUFFIXES: [&str; 7] = [
    ".localhost",
    ".local",
    ".lan",
    ".internal",
    ".home.arpa",
    ".home",
    ".localdomain",
];

/// Every request header that the page sends (WIRE.md 10.0).
const PAGE_HEADERS: [&str; 12] = [
    "accept",
    "accept-language",
    "access-control-allow-origin",
    "authorization",
    "content-type",
    "encrypted-openai-api-key",
    "openai-api-key",
    "openai-base-url",
    "trace-id",
    "workflow-llm-api-key",
    "workflow-llm-base-url",
    "workflow-llm-model",
];
/// Names echoed from one preflight, and their longest.
const MAX_ECHOED: usize = 32;
const MAX_HEADER_NAME: usize = 64;
const ALLOW_METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, OPTIONS");

/// The origins whose pages may read our answers.
#[derive(Clone, Debug, Default)]
pub struct OriginPolicy {
    extra: BTreeSet<String>,
}

/// Verdict on one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// No `Origin`: a program, or a page of the same origin.
    NoOrigin,
    /// A page that may read the answer; the value is echoed.
    Page(HeaderValue),
    /// A page that may not.
    Stranger,
}

impl OriginPolicy {
    /// Private origins only.
    pub fn private_only() -> Self {
        Self::default()
    }

    /// Private origins and these (`https://comfy.example.com`), compared without case.
    pub fn with(origins: impl IntoIterator<Item = String>) -> Self {
        Self {
            extra: origins
                .into_iter()
                .map(|o| o.trim_end_matches('/').to_ascii_lowercase())
                .collect(),
        }
    }

    pub fn judge(&self, headers: &HeaderMap) -> Caller {
        let mut values = headers.get_all(header::ORIGIN).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return if headers.contains_key(header::ORIGIN) {
                Caller::Stranger
            } else {
                Caller::NoOrigin
            };
        };
        let Ok(text) = value.to_str() else {
            return Caller::Stranger;
        };
        let allowed = Origin::parse(text).is_some_and(|o| o.is_private())
            || self.extra.contains(&text.to_ascii_lowercase());
        if allowed {
            Caller::Page(value.clone())
        } else {
            Caller::Stranger
        }
    }
}

/// Host part of an `http` or `https` origin.
#[derive(Debug, PartialEq, Eq)]
pub enum Origin {
    Ip(IpAddr),
    Name(String),
}

impl Origin {
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("https://"))?;
        let (host, port) = match rest.strip_prefix('[') {
            Some(v6) => {
                let (host, port) = v6.split_once(']')?;
                let ip: std::net::Ipv6Addr = host.parse().ok()?;
                check_port(port)?;
                return Some(Origin::Ip(IpAddr::V6(ip).to_canonical()));
            }
            None => match rest.split_once(':') {
                Some((host, _)) => (host, rest.get(host.len()..)?),
                None => (rest, ""),
            },
        };
        check_port(port)?;
        if let Ok(ip) = host.parse::<std::net::Ipv4Addr>() {
            return Some(Origin::Ip(ip.into()));
        }
        let is_name = !host.is_empty()
            && host.len() <= 253
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
            // A last label that starts with a digit is an address in disguise (WHATWG URL).
            && !host
                .trim_end_matches('.')
                .rsplit('.')
                .next()
                .is_none_or(|label| label.starts_with(|c: char| c.is_ascii_digit()));
        is_name.then(|| Origin::Name(host.trim_end_matches('.').to_ascii_lowercase()))
    }

    pub fn is_loopback(&self) -> bool {
        match self {
            Origin::Ip(ip) => ip.is_loopback(),
            Origin::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }

    pub fn is_private(&self) -> bool {
        match self {
            Origin::Ip(IpAddr::V4(v4)) => {
                let [a, b, ..] = v4.octets();
                let shared = a == 100 && (64..128).contains(&b);
                v4.is_loopback() || v4.is_private() || v4.is_link_local() || shared
            }
            Origin::Ip(IpAddr::V6(v6)) => {
                v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local()
            }
            Origin::Name(name) => {
                !name.contains('.') || PRIVATE_SUFFIXES.iter().any(|s| name.ends_with(s))
            }
        }
    }
}

/// Empty, or `:` and one to five digits.
fn check_port(text: &str) -> Option<()> {
    if text.is_empty() {
        return Some(());
    }
    text.strip_prefix(':')?.parse::<u16>().ok().map(|_| ())
}

/// Answer to a preflight.
pub fn preflight(parts: &Parts, caller: &Caller) -> LocalResponse {
    let mut response = http::Response::new(LocalBody::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOW_METHODS);
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        allow_headers(&parts.headers),
    );
    headers.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static("600"),
    );
    if parts
        .headers
        .contains_key("access-control-request-private-network")
    {
        headers.insert(
            HeaderName::from_static("access-control-allow-private-network"),
            HeaderValue::from_static("true"),
        );
    }
    dress(response, caller)
}

/// What a page of a public origin gets: a reason, but no right to read it.
pub fn refuse() -> LocalResponse {
    let words = "airlock answers pages of this machine and of private networks only";
    // The shapes of both the page and the OpenAI SDKs.
    let body = format!(
        r#"{{"success":false,"data":null,"message":"{words}","error":{{"message":"{words}","type":"airlock_denied"}}}}"#
    );
    let mut response = http::Response::new(LocalBody::from(body));
    *response.status_mut() = StatusCode::FORBIDDEN;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Puts the headers on that let an allowed page read the answer, errors included: without them
/// the page sees "Failed to fetch".
pub fn dress(mut response: LocalResponse, caller: &Caller) -> LocalResponse {
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Caller::Page(origin) = caller {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("User-Api-Key"),
        );
    }
    response
}

/// The known headers and whatever else this preflight asks for: `*` does not cover
/// `authorization`, and the page's next version may send one more.
fn allow_headers(request: &HeaderMap) -> HeaderValue {
    let mut names: BTreeSet<String> = PAGE_HEADERS.iter().map(|n| (*n).to_owned()).collect();
    let asked = request
        .get(header::ACCESS_CONTROL_REQUEST_HEADERS)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    for name in asked.split(',').map(str::trim).take(MAX_ECHOED) {
        if name.len() <= MAX_HEADER_NAME
            && let Ok(name) = HeaderName::from_bytes(name.as_bytes())
        {
            names.insert(name.as_str().to_owned());
        }
    }
    let list = names.into_iter().collect::<Vec<_>>().join(", ");
    HeaderValue::from_str(&list).unwrap_or(HeaderValue::from_static("content-type"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::test_support::{header, request};

    fn judge(policy: &OriginPolicy, origin: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::ORIGIN, origin.parse().expect("header"));
        matches!(policy.judge(&headers), Caller::Page(v) if v == origin)
    }

    #[test]
    fn private_pages_may_read_and_public_ones_may_not() {
        let policy = OriginPolicy::with(["https://Comfy.example.com".to_owned()]);
        for (row, origin, want) in [
            ("ComfyUI's own page", "http://127.0.0.1:8188", true),
            ("localhost", "http://localhost:8188", true),
            ("IPv6 loopback", "http://[::1]:8188", true),
            ("a box in the house", "http://192.168.1.20:8188", true),
            ("a box by its name", "http://sparkle:8188", true),
            ("mDNS name", "https://sparkle.local", true),
            (
                "carrier-grade address of a mesh VPN",
                "http://100.101.1.2:8188",
                true,
            ),
            ("mapped private address", "http://[::ffff:10.0.0.1]", true),
            ("the one the user named", "https://comfy.example.com", true),
            ("a public site", "https://evil.example", false),
            (
                "another port of the named one",
                "https://comfy.example.com:8443",
                false,
            ),
            ("a public address", "http://8.8.8.8", false),
            ("a public IPv6 address", "http://[2001:db8::1]", false),
            ("mapped public address", "http://[::ffff:8.8.8.8]", false),
            ("a sandboxed frame", "null", false),
            ("a file", "file://", false),
            ("an extension", "chrome-extension://abc", false),
            (
                "a local name as a prefix",
                "http://localhost.evil.example",
                false,
            ),
            (
                "a private address as a prefix",
                "http://10.0.0.1.evil.example",
                false,
            ),
            ("user info", "http://localhost@evil.example", false),
            ("a decimal address", "http://134744072", false),
            ("an octal address", "http://010.0.0.1.0x8", false),
            ("a path", "http://localhost/x", false),
            (
                "a port that is none",
                "http://localhost:8188evil.example",
                false,
            ),
            ("empty host", "http://", false),
        ] {
            assert_eq!(judge(&policy, origin), want, "{row}: {origin}");
        }
        assert!(!judge(
            &OriginPolicy::private_only(),
            "https://comfy.example.com"
        ));
    }

    #[test]
    fn two_origins_are_a_stranger() {
        let mut headers = HeaderMap::new();
        assert_eq!(
            OriginPolicy::private_only().judge(&headers),
            Caller::NoOrigin
        );
        headers.append(
            http::header::ORIGIN,
            HeaderValue::from_static("http://localhost"),
        );
        headers.append(
            http::header::ORIGIN,
            HeaderValue::from_static("https://evil.example"),
        );
        assert_eq!(
            OriginPolicy::private_only().judge(&headers),
            Caller::Stranger
        );
    }

    #[test]
    fn a_preflight_allows_what_the_page_sends_and_what_it_asks_for() {
        let long = "x".repeat(MAX_HEADER_NAME + 1);
        let asked = format!("authorization, X-New-Header, bad name, {long}");
        let request = request(
            "comfyui-copilot-server-pre.onrender.com",
            "OPTIONS",
            "/api/chat/invoke",
            &[
                ("access-control-request-headers", &asked),
                ("access-control-request-private-network", "true"),
            ],
            "",
        );
        let origin = HeaderValue::from_static("http://127.0.0.1:8188");
        let response = preflight(&request.parts, &Caller::Page(origin));
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        let allowed: Vec<&str> = header(&response, "access-control-allow-headers")
            .split(", ")
            .collect();
        for name in PAGE_HEADERS.iter().chain(&["x-new-header"]) {
            assert!(allowed.contains(name), "{name}");
        }
        assert_eq!(allowed.len(), PAGE_HEADERS.len() + 1);
        assert_eq!(
            header(&response, "access-control-allow-origin"),
            "http://127.0.0.1:8188"
        );
        assert_eq!(
            header(&response, "access-control-expose-headers"),
            "User-Api-Key"
        );
        assert_eq!(
            header(&response, "access-control-allow-private-network"),
            "true"
        );
        assert_eq!(header(&response, "vary"), "Origin");
        assert_ne!(header(&response, "access-control-max-age"), "");
    }
}
