//! The head that is sent on, made from the one that was judged. Called by `listener::http`.

use bytes::BytesMut;

use super::{Head, Lines};
use crate::net::{Authority, Port};

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
