//! Strict parsing of an HTTP/1 request head, before Pingora sees a byte of it.
//!
//! Pingora forgives what a firewall must not (both framing headers, illegal request lines, lone
//! line feeds): what two parsers can read two ways is refused here. Pure; called by `listener::http`.

mod lines;
mod rewrite;

use std::sync::LazyLock;

use memchr::memmem;

use lines::Lines;

use crate::{
    config::Secret,
    net::{Authority, Port},
    policy::Reason,
    proxy::{Carries, Framing},
};
pub use rewrite::rewrite_to_origin;

/// More header lines than any client of ours sends.
const MAX_HEADERS: usize = 100;
/// Longest request target that is looked at, in bytes.
const MAX_TARGET: usize = 16 << 10;

/// Built once: building a finder takes longer than finding.
static BLANK_LINE: LazyLock<memmem::Finder<'static>> =
    LazyLock::new(|| memmem::Finder::new(b"\r\n\r\n"));

/// Where the request says it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `/path?query`
    Origin(String),
    /// `http://host/path?query`, as a client sends it to a proxy.
    Absolute { authority: Authority, path: String },
    /// `host:port` of a CONNECT.
    Authority(Authority),
    /// `*` of an OPTIONS.
    Asterisk,
}

/// What a well-formed head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub method: http::Method,
    pub target: Target,
    /// The Host header, if there is one.
    pub host: Option<Authority>,
    /// `Upgrade` nominated by `Connection`, lower case.
    pub upgrade: Option<String>,
    pub framing: Framing,
    pub carries: Carries,
    /// `Proxy-Authorization`.
    pub proxy_key: Option<Secret<String>>,
    /// Bytes of the head, blank line included.
    pub length: usize,
}

/// A refusal, with words for the person who wrote the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadError {
    pub reason: Reason,
    pub message: &'static str,
}

const fn malformed(message: &'static str) -> HeadError {
    HeadError {
        reason: Reason::MalformedRequest,
        message,
    }
}
const fn framing(message: &'static str) -> HeadError {
    HeadError {
        reason: Reason::AmbiguousFraming,
        message,
    }
}
const fn authority(message: &'static str) -> HeadError {
    HeadError {
        reason: Reason::BadAuthority,
        message,
    }
}

/// Length of the head in `bytes` (blank line included) once it is complete.
/// `from`: how many bytes earlier calls have looked at.
pub fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let start = from.saturating_sub(3);
    BLANK_LINE
        .find(bytes.get(start..)?)
        .map(|at| start + at + 4)
}

/// Says of a head that is not complete yet that it never will be a good one, so that its client is
/// answered at once and not after a timeout. `from` as for [`head_end`].
pub fn hopeless(bytes: &[u8], from: usize) -> Option<HeadError> {
    match bytes.first()? {
        0x16 => {
            return Some(malformed(
                "this port speaks plain HTTP, and TLS came: write http:// in the proxy or base URL",
            ));
        }
        b if b.is_ascii_uppercase() => {}
        _ => return Some(malformed("a request starts with an upper-case method")),
    }
    let bare = memchr::memchr_iter(b'\n', bytes.get(from..)?)
        .any(|at| (from + at).checked_sub(1).and_then(|i| bytes.get(i)) != Some(&b'\r'));
    bare.then_some(malformed("a line is not ended by CR LF"))
}

/// Parses a complete head (`head_end` found its blank line).
///
/// `default_port`: port of an authority that names none, 80 on plain and 443 on TLS connections.
pub fn parse(head: &[u8], default_port: Port) -> Result<Head, HeadError> {
    parse_next(head, default_port, &mut KnownHost::default())
}

/// The Host header of a connection's last request: the next one mostly says the same.
#[derive(Debug, Default)]
pub struct KnownHost(Option<(String, Authority)>);

impl KnownHost {
    fn parse(&mut self, text: &str, port: Port) -> Result<Authority, HeadError> {
        if let Some((known, authority)) = &self.0
            && known == text
        {
            return Ok(authority.clone());
        }
        let parsed = Authority::parse(text, Some(port))
            .map_err(|_| authority("Host is not a valid name or address"))?;
        self.0 = Some((text.to_owned(), parsed.clone()));
        Ok(parsed)
    }
}

/// [`parse`] for a connection's next request; `known` belongs to the connection.
pub fn parse_next(
    head: &[u8],
    default_port: Port,
    known: &mut KnownHost,
) -> Result<Head, HeadError> {
    let text = head
        .strip_suffix(b"\r\n")
        .ok_or(malformed("head has no blank line"))?;
    let mut lines = Lines { rest: text };
    let request_line = lines.next().ok_or(malformed("empty request"))??;
    let (method, raw_target, http_10) = parse_request_line(request_line)?;

    let mut fields = Fields::default();
    let mut count = 0;
    for line in lines {
        count += 1;
        if count > MAX_HEADERS {
            return Err(HeadError {
                reason: Reason::HeadTooLarge,
                message: "more than 100 header lines",
            });
        }
        fields.take(line?)?;
    }
    let target = parse_target(&method, raw_target, default_port)?;
    fields.judge(http_10, &method)?;
    if fields.host.is_none() && !http_10 {
        return Err(malformed("an HTTP/1.1 request needs a Host header"));
    }
    // A Host without a port means the port of where the request goes.
    let host = match (fields.host, &target) {
        (None, _) => None,
        // Of another port than the requests after it: not to be remembered.
        (Some(text), Target::Authority(to)) => Some(KnownHost::default().parse(text, to.port)?),
        (Some(text), Target::Absolute { .. } | Target::Origin(_) | Target::Asterisk) => {
            Some(known.parse(text, default_port)?)
        }
    };
    Ok(Head {
        method,
        target,
        host,
        framing: match fields.length {
            _ if fields.chunked => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None => Framing::Nothing,
        },
        carries: fields.carries,
        upgrade: fields.upgrade,
        proxy_key: fields.proxy_key.map(|key| Secret::new(key.to_owned())),
        length: head.len(),
    })
}

pub(super) fn is_token(b: u8) -> bool {
    all(&[b], TOKEN)
}

/// What a byte may be part of. A table, and folds that do not stop early, because every byte of
/// every head goes through them.
const TOKEN: u8 = 1;
const TARGET: u8 = 2;
const CONTROL: u8 = 4;
static BYTES: [u8; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let b = n as u8;
        if b.is_ascii_alphanumeric() {
            table[n] |= TOKEN;
        }
        if b.is_ascii_graphic() {
            table[n] |= TARGET;
        }
        if (b < 0x20 && b != b'\t') || b == 0x7f {
            table[n] |= CONTROL;
        }
        n += 1;
    }
    let mut rest: &[u8] = b"!#$%&'*+-.^_`|~";
    while let [b, tail @ ..] = rest {
        table[*b as usize] |= TOKEN;
        rest = tail;
    }
    table
};

fn all(bytes: &[u8], kind: u8) -> bool {
    bytes
        .iter()
        .fold(kind, |all, b| all & BYTES[usize::from(*b)])
        == kind
}

fn has(bytes: &[u8], kind: u8) -> bool {
    bytes.iter().fold(0, |any, b| any | BYTES[usize::from(*b)]) & kind != 0
}

fn parse_request_line(line: &[u8]) -> Result<(http::Method, &str, bool), HeadError> {
    const SHAPE: HeadError = malformed("request line is not METHOD SP TARGET SP HTTP/1.1");
    let line = std::str::from_utf8(line).map_err(|_| SHAPE)?;
    // A third space would be in the target, where none may be.
    let (first, last) = (
        memchr::memchr(b' ', line.as_bytes()),
        memchr::memrchr(b' ', line.as_bytes()),
    );
    let (Some(first), Some(last)) = (first, last.filter(|last| first < Some(*last))) else {
        return Err(SHAPE);
    };
    let [method, target, version] = [
        line.get(..first),
        line.get(first + 1..last),
        line.get(last + 1..),
    ]
    .map(Option::unwrap_or_default);
    if method.is_empty() || method.len() > 32 || !all(method.as_bytes(), TOKEN) {
        return Err(malformed("method is not a token"));
    }
    if method.bytes().any(|b| b.is_ascii_lowercase()) {
        return Err(malformed("method is not upper case"));
    }
    if target.is_empty() || !all(target.as_bytes(), TARGET) {
        return Err(malformed(
            "request target holds a byte that must be percent-encoded",
        ));
    }
    if target.len() > MAX_TARGET {
        return Err(HeadError {
            reason: Reason::HeadTooLarge,
            message: "request target is too long",
        });
    }
    let http_10 = match version {
        "HTTP/1.1" => false,
        "HTTP/1.0" => true,
        "HTTP/2.0" => return Err(malformed("HTTP/2 is not spoken here: use HTTP/1.1")),
        _ => return Err(malformed("only HTTP/1.1 and HTTP/1.0 are spoken here")),
    };
    let method = http::Method::from_bytes(method.as_bytes())
        .map_err(|_| malformed("method is not a token"))?;
    Ok((method, target, http_10))
}

fn parse_target(method: &http::Method, raw: &str, default: Port) -> Result<Target, HeadError> {
    if method == http::Method::CONNECT {
        return Authority::parse(raw, None)
            .map(Target::Authority)
            .map_err(|_| authority("CONNECT wants host:port"));
    }
    if raw == "*" {
        return if method == http::Method::OPTIONS {
            Ok(Target::Asterisk)
        } else {
            Err(malformed("the target * goes with OPTIONS only"))
        };
    }
    if raw.contains('#') {
        return Err(malformed("request target holds a fragment"));
    }
    if raw.starts_with('/') {
        return Ok(Target::Origin(raw.to_owned()));
    }
    let Some(rest) = strip_scheme(raw) else {
        return Err(malformed(
            "request target is neither a path nor an http:// URL",
        ));
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let parsed = Authority::parse(host, Some(default))
        .map_err(|_| authority("the URL's host is not a valid name or address"))?;
    let path = match path.as_bytes().first() {
        Some(b'/') => path.to_owned(),
        _ => format!("/{path}"),
    };
    Ok(Target::Absolute {
        authority: parsed,
        path,
    })
}

/// Only `http`: a TLS destination comes by CONNECT, or the client's bytes would go out in the clear.
fn strip_scheme(raw: &str) -> Option<&str> {
    let (scheme, rest) = raw.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case("http://").then_some(rest)
}

#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a str>,
    length: Option<u64>,
    chunked: bool,
    upgrade: Option<String>,
    connection_upgrade: bool,
    proxy_key: Option<&'a str>,
    expect: bool,
    carries: Carries,
}

impl<'a> Fields<'a> {
    fn take(&mut self, line: &'a [u8]) -> Result<(), HeadError> {
        let colon = memchr::memchr(b':', line).ok_or(malformed("a header line has no colon"))?;
        let (name, rest) = line.split_at(colon);
        let value = rest.get(1..).unwrap_or_default();
        if name.is_empty() || !all(name, TOKEN) {
            return Err(malformed(
                "a header name is not a token (folded lines are not spoken here)",
            ));
        }
        if has(value, CONTROL) {
            return Err(malformed("a header value holds a control character"));
        }
        // After the check above, or a form feed at an end would be trimmed here and seen by others.
        let value = value.trim_ascii();
        self.carries.note(name);
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                let text = std::str::from_utf8(value)
                    .map_err(|_| authority("Host is not a valid name or address"))?;
                if self.host.replace(text).is_some() {
                    return Err(malformed("more than one Host header"));
                }
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(malformed("only Expect: 100-continue is known"));
                }
                self.expect = true;
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                if self.upgrade.is_some() {
                    return Err(malformed("more than one Upgrade header"));
                }
                self.upgrade = Some(String::from_utf8_lossy(value).to_ascii_lowercase());
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.connection_upgrade |= value
                    .split(|b| *b == b',')
                    .any(|t| t.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let digits =
                    !value.is_empty() && value.len() <= 18 && value.iter().all(u8::is_ascii_digit);
                let number = digits
                    .then(|| std::str::from_utf8(value).ok()?.parse().ok())
                    .flatten()
                    .ok_or(framing("Content-Length is not one plain decimal number"))?;
                if self.length.replace(number).is_some() {
                    return Err(framing("more than one Content-Length"));
                }
            }
            19 if name.eq_ignore_ascii_case(b"proxy-authorization") => {
                // Two of them are none: it ends here, so there is nobody to read the other.
                let text = std::str::from_utf8(value).unwrap_or_default();
                self.proxy_key = Some(self.proxy_key.map_or(text, |_| ""));
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if !value.eq_ignore_ascii_case(b"chunked") || self.chunked {
                    return Err(framing("Transfer-Encoding must be exactly one chunked"));
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn judge(&self, http_10: bool, method: &http::Method) -> Result<(), HeadError> {
        if self.chunked && self.length.is_some() {
            return Err(framing("Content-Length and Transfer-Encoding together"));
        }
        if self.chunked && http_10 {
            return Err(framing("HTTP/1.0 has no Transfer-Encoding"));
        }
        if http_10 && self.expect {
            return Err(malformed("HTTP/1.0 has no Expect"));
        }
        if method == http::Method::CONNECT && (self.chunked || self.length.is_some_and(|n| n > 0)) {
            return Err(framing("CONNECT has no body"));
        }
        // Pingora and others go by the Upgrade header alone: both or none, and no body beside it,
        // or one side would read as a tunnel what the other reads as requests.
        if self.upgrade.is_some() {
            if !self.connection_upgrade {
                return Err(malformed("an Upgrade header that Connection does not name"));
            }
            if http_10 || method != http::Method::GET || self.chunked || self.length.is_some() {
                return Err(malformed("an upgrade is a GET of HTTP/1.1 without a body"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod edges;
#[cfg(test)]
mod tests;
