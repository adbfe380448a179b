//! Strict parsing of an HTTP/1 request head, before Pingora sees a byte of it.
//!
//! Pingora forgives what a firewall must not (both framing headers, illegal request lines, lone
//! line feeds): what two parsers can read two ways is refused here. Pure; called by `listener::http`.

mod lines;

use std::sync::LazyLock;

use bytes::BytesMut;
use memchr::memmem;

use lines::Lines;

use crate::{
    config::Secret,
    net::{Authority, Port},
    policy::Reason,
};

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

/// Where the body of a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// With the head: there is none.
    Nothing,
    Length(u64),
    Chunked,
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

/// The head in origin form with exactly one, canonical Host: what Pingora and an upstream get to
/// see is what was judged. `rest` (bytes after the head) stays behind it.
pub fn rewrite_to_origin(
    buffer: &mut BytesMut,
    head: &Head,
    path: &str,
    host: &Authority,
    default: Port,
) {
    let rest = buffer.split_off(head.length);
    let old = std::mem::take(buffer);
    let mut out = BytesMut::with_capacity(old.len() + rest.len() + 64);
    let line_end = memchr::memmem::find(&old, b"\r\n").unwrap_or(old.len());
    let version = if old.get(..line_end).is_some_and(|l| l.ends_with(b"1.0")) {
        "1.0"
    } else {
        "1.1"
    };
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(b" HTTP/");
    out.extend_from_slice(version.as_bytes());
    out.extend_from_slice(b"\r\nHost: ");
    out.extend_from_slice(host.without_port(default).as_bytes());
    out.extend_from_slice(b"\r\n");
    let fields = Lines {
        rest: old.get(line_end + 2..).unwrap_or_default(),
    };
    for line in fields.flatten() {
        let is_host = line
            .get(..5)
            .is_some_and(|n| n.eq_ignore_ascii_case(b"host:"));
        let is_proxy = line
            .get(..6)
            .is_some_and(|n| n.eq_ignore_ascii_case(b"proxy-"));
        if !is_host && !is_proxy && !line.is_empty() {
            out.extend_from_slice(line);
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
    out.unsplit(rest);
    *buffer = out;
}

#[cfg(test)]
mod edges;
#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Head, HeadError> {
        assert_eq!(head_end(text.as_bytes(), 0), Some(text.len()), "{text:?}");
        parse(text.as_bytes(), Port::HTTP)
    }

    #[test]
    fn good_heads_are_read() {
        let connect = parsed("CONNECT allowed.test:443 HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!(
            connect.target,
            Target::Authority(Authority::parse("allowed.test:443", None).unwrap())
        );
        let absolute =
            parsed("GET HTTP://Allowed.Test?x=1 HTTP/1.1\r\nHost: allowed.test\r\n\r\n").unwrap();
        let Target::Absolute { authority, path } = absolute.target else {
            panic!()
        };
        assert_eq!(
            (authority.to_string().as_str(), path.as_str()),
            ("allowed.test:80", "/?x=1")
        );
        let chunked =
            parsed("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        assert_eq!(chunked.method, http::Method::POST);
        let upgrade =
            parsed("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n").unwrap();
        assert_eq!(upgrade.upgrade.as_deref(), Some("websocket"));
    }

    #[test]
    fn what_two_parsers_could_read_two_ways_is_refused() {
        use Reason::*;
        let rows: &[(&str, &str, Reason)] = &[
            (
                "both framing headers",
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                AmbiguousFraming,
            ),
            (
                "two content lengths",
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
                AmbiguousFraming,
            ),
            (
                "a signed length",
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n",
                AmbiguousFraming,
            ),
            (
                "a list of lengths",
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,5\r\n\r\n",
                AmbiguousFraming,
            ),
            (
                "an unknown coding",
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
                AmbiguousFraming,
            ),
            (
                "chunked twice",
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
                AmbiguousFraming,
            ),
            (
                "chunked on HTTP/1.0",
                "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
                AmbiguousFraming,
            ),
            (
                "a body on CONNECT",
                "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nContent-Length: 4\r\n\r\n",
                AmbiguousFraming,
            ),
            (
                "a lone line feed",
                "GET / HTTP/1.1\nHost: a\r\n\r\n",
                MalformedRequest,
            ),
            (
                "a lone carriage return",
                "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
                MalformedRequest,
            ),
            (
                "a folded line",
                "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
                MalformedRequest,
            ),
            (
                "a space before the colon",
                "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
                MalformedRequest,
            ),
            (
                "two spaces",
                "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
                MalformedRequest,
            ),
            (
                "a lower-case method",
                "get / HTTP/1.1\r\nHost: a\r\n\r\n",
                MalformedRequest,
            ),
            ("HTTP/0.9", "GET /\r\n\r\n", MalformedRequest),
            ("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\n", MalformedRequest),
            (
                "a NUL in a value",
                "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
                MalformedRequest,
            ),
            (
                "two hosts",
                "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
                MalformedRequest,
            ),
            ("no host", "GET / HTTP/1.1\r\n\r\n", MalformedRequest),
            (
                "an https URL in the clear",
                "GET https://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
                MalformedRequest,
            ),
            (
                "a form feed behind a length",
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\x0c\r\n\r\n",
                MalformedRequest,
            ),
            (
                "an upgrade that Connection does not name",
                "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
                MalformedRequest,
            ),
            (
                "an upgrade by POST",
                "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
                MalformedRequest,
            ),
            (
                "an upgrade with a body",
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\n",
                MalformedRequest,
            ),
            (
                "a fragment",
                "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
                MalformedRequest,
            ),
            (
                "user information",
                "GET http://a.test@evil.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
                BadAuthority,
            ),
            (
                "CONNECT without a port",
                "CONNECT a.test HTTP/1.1\r\nHost: a.test\r\n\r\n",
                BadAuthority,
            ),
            (
                "CONNECT in absolute form",
                "CONNECT http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
                BadAuthority,
            ),
        ];
        for (name, text, reason) in rows {
            match parsed(text) {
                Err(e) => assert_eq!(e.reason, *reason, "{name}: {}", e.message),
                Ok(head) => panic!("{name} was taken: {head:?}"),
            }
        }
    }

    #[test]
    fn too_many_header_lines_are_refused() {
        let text = format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "x: y\r\n".repeat(100)
        );
        assert_eq!(parsed(&text).unwrap_err().reason, Reason::HeadTooLarge);
    }

    #[test]
    fn a_rewritten_head_has_one_canonical_host_no_proxy_headers_and_keeps_the_body() {
        let text = "POST http://Allowed.test:80/a?b HTTP/1.1\r\nProxy-Connection: x\r\nhost: Allowed.test\r\nContent-Length: 2\r\n\r\n";
        let head = parsed(text).unwrap();
        let Target::Absolute { authority, path } = head.target.clone() else {
            panic!()
        };
        let mut buffer = BytesMut::from(format!("{text}hi").as_bytes());
        rewrite_to_origin(&mut buffer, &head, &path, &authority, Port::HTTP);
        assert_eq!(
            buffer,
            &b"POST /a?b HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 2\r\n\r\nhi"[..]
        );
    }

    #[test]
    fn a_hopeless_head_is_known_as_soon_as_its_first_bad_byte_is_there() {
        for (name, bytes, hopeless) in [
            ("nothing yet", &b""[..], false),
            ("half a method", b"PO", false),
            ("two good lines", b"GET / HTTP/1.1\r\nHost: a\r\nX", false),
            ("a carriage return that waits", b"GET / HTTP/1.1\r", false),
            ("a ClientHello", b"\x16\x03\x01", true),
            ("an SSH banner is not known yet", b"SSH-2.0-x\r\n", false),
            ("a lower-case method", b"get", true),
            ("a bare line feed", b"GET / HTTP/1.1\n", true),
            (
                "one behind a good line",
                b"GET / HTTP/1.1\r\nHost: a\n",
                true,
            ),
        ] {
            assert_eq!(super::hopeless(bytes, 0).is_some(), hopeless, "{name}");
            // Whatever was looked at before, the verdict is the same once a new byte is bad.
            if !hopeless {
                for seen in 0..bytes.len() {
                    assert!(
                        super::hopeless(bytes, seen).is_none(),
                        "{name} after {seen}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_client_that_speaks_tls_is_told_so() {
        let words = |bytes: &[u8]| super::hopeless(bytes, 0).map(|e| e.message);
        assert!(words(b"\x16").is_some_and(|w| w.contains("TLS came")));
        assert!(words(b"get").is_some_and(|w| w.contains("upper-case")));
    }

    #[test]
    fn a_remembered_host_is_taken_for_the_same_text_only() {
        let mut known = KnownHost::default();
        let mut host = |text: &str| {
            let head = format!("GET / HTTP/1.1\r\nHost: {text}\r\n\r\n");
            let head = parse_next(head.as_bytes(), Port::HTTP, &mut known);
            head.map(|h| h.host.map(|a| a.to_string()))
        };
        for (text, want) in [
            ("a.test", "a.test:80"),
            ("a.test", "a.test:80"),
            ("b.test", "b.test:80"),
            ("a.test:8080", "a.test:8080"),
            ("a.test", "a.test:80"),
        ] {
            assert_eq!(host(text), Ok(Some(want.to_owned())), "{text}");
        }
        // A bad one is not remembered, and does not make the last good one stand for it.
        assert!(host("a..test").is_err());
        assert!(host("a..test").is_err());
        assert_eq!(host("a.test"), Ok(Some("a.test:80".to_owned())));
    }

    #[test]
    fn the_end_of_a_head_is_found_over_split_reads() {
        let bytes = b"GET / HTTP/1.1\r\n\r\nbody";
        for seen in 0..18 {
            assert_eq!(head_end(bytes, seen), Some(18), "after {seen}");
        }
        assert_eq!(head_end(&bytes[..17], 0), None);
    }
}
