//! The corpus for other programs: each case with its rendered bytes, as a line of JSON.
//!
//! Called by `airlock selftest --dump`, for `tests/matrix`, which sends the same bytes to other
//! proxies. Made for the policy of docs/EGRESS.md.

use std::{io, net::SocketAddr};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;

use super::{
    case::{Expected, Opening, Script, Step},
    corpus,
    ground::Ground,
};

#[derive(Serialize)]
struct Line<'a> {
    group: u8,
    entry: &'static str,
    case: &'a str,
    /// `refused` (or broken off), or `allowed`.
    expected: &'static str,
    /// Of a CONNECT that has to be let through first.
    tunnel: Option<&'a str>,
    /// Of a handshake after that.
    inside: Option<&'a str>,
    steps: Vec<Act>,
}

#[derive(Serialize)]
struct Act {
    act: &'static str,
    /// Base64.
    bytes: String,
}

/// Cases that are bytes for a proxy that listens at `proxy`; the control plane is ours alone.
pub fn dump(proxy: SocketAddr, out: &mut impl io::Write) -> io::Result<()> {
    for case in corpus::cases(&Ground::documented(vec![proxy])) {
        let Script::Wire { opening, steps } = &case.script else {
            continue;
        };
        let (tunnel, inside) = match opening {
            Opening::Direct => (None, None),
            Opening::Tunnel { authority } => (Some(authority.as_str()), None),
            Opening::Inside { authority, name } => (Some(authority.as_str()), Some(name.as_str())),
        };
        let line = Line {
            group: case.group,
            entry: case.lane.as_str(),
            case: &case.sentence,
            expected: match case.expected {
                Expected::Answered | Expected::Handshake => "allowed",
                Expected::Refused(_)
                | Expected::BrokenOff(_)
                | Expected::Status(_)
                | Expected::Holds => "refused",
            },
            tunnel,
            inside,
            steps: steps.iter().map(act).collect(),
        };
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn act(step: &Step) -> Act {
    let (act, bytes): (_, &[u8]) = match step {
        Step::Send(bytes) => ("send", bytes),
        Step::Answered(bytes) => ("answered", bytes),
        Step::Flight(bytes) => ("flight", bytes),
        Step::HalfClose => ("half_close", &[]),
    };
    Act {
        act,
        bytes: STANDARD.encode(bytes),
    }
}
