//! From a case as it is written to the bytes of a lane, and the reason its form is refused for there.

use super::{Lane, Opening, Place};
use crate::{net::Authority, page, policy::Reason};

/// The host that a head case is sent to, and how its lane names it.
pub(super) struct Slots {
    /// What stands before the path in the request line.
    pub(super) to: String,
    /// The Host header.
    pub(super) host: String,
    pub(super) path: String,
    pub(super) method: String,
    pub(super) opening: Opening,
    pub(super) destination: Option<Authority>,
}

pub(super) fn slots(lane: Lane, place: &Place, destination: Option<Authority>) -> Option<Slots> {
    let name = place.host.clone();
    let inside = Opening::Inside {
        authority: format!("{name}:443"),
        name: name.clone(),
    };
    let (to, host, opening) = match lane {
        Lane::ExplicitPlain => (format!("http://{name}"), name, Opening::Direct),
        Lane::ConnectIntercepted | Lane::TransparentTls => (String::new(), name, inside),
        Lane::Reverse => (String::new(), "localhost".into(), Opening::Direct),
        Lane::FrontDoor => (
            page::COPILOT_PATH.into(),
            "localhost".into(),
            Opening::Direct,
        ),
        Lane::TransparentHttp => (String::new(), name, Opening::Direct),
        Lane::ConnectTunnel | Lane::Admin | Lane::InProcess => return None,
    };
    Some(Slots {
        to,
        host,
        path: place.path.clone(),
        method: place.method.clone(),
        opening,
        destination,
    })
}

impl Slots {
    pub(super) fn fill(&self, template: &[u8]) -> Vec<u8> {
        let mut out = template.to_vec();
        for (slot, value) in [
            ("{method}", &self.method),
            ("{to}", &self.to),
            ("{host}", &self.host),
            ("{path}", &self.path),
        ] {
            out = replaced(&out, slot.as_bytes(), value.as_bytes());
        }
        out
    }
}

fn replaced(text: &[u8], slot: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memmem::find(rest, slot) {
        out.extend(rest.get(..at).unwrap_or_default());
        out.extend(value);
        rest = rest.get(at + slot.len()..).unwrap_or_default();
    }
    out.extend(rest);
    out
}

pub(super) fn inside(lane: Lane, sentence: &str) -> String {
    match lane {
        Lane::TransparentTls => format!("{sentence}, inside"),
        _ => sentence.to_owned(),
    }
}

/// A GET in absolute form.
pub(super) fn plain(authority: &str) -> Vec<u8> {
    format!("GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\n\r\n").into_bytes()
}

pub(super) fn connect(authority: &str) -> Vec<u8> {
    format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n").into_bytes()
}

/// A GET in origin form.
pub(super) fn origin(host: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

/// Why such an authority is refused in a request line: for what no request line holds, or for
/// what no authority does.
pub(super) fn in_a_line(text: &[u8]) -> Reason {
    if text.iter().all(u8::is_ascii_graphic) && !text.contains(&b'#') {
        Reason::BadAuthority
    } else {
        Reason::MalformedRequest
    }
}

pub(super) fn in_a_header(text: &[u8]) -> Reason {
    if text
        .iter()
        .any(|b| (*b < 0x20 && *b != b'\t') || *b == 0x7f)
    {
        Reason::MalformedRequest
    } else {
        Reason::BadAuthority
    }
}
