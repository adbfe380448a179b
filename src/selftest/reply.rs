//! As much of an HTTP answer as a verdict needs: status, our mark, and where it ends. Pure.

use crate::proxy::DECISION_HEADER;

const MAX_HEADERS: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    /// It carries the mark of a decision.
    pub ours: bool,
    /// The reason in the mark of a refusal.
    pub refusal: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// And its length with the body.
    Whole(Reply, usize),
    /// More bytes are needed.
    Part,
    /// This is no HTTP.
    None,
}

/// `ended`: no byte will come behind these.
pub fn parse(bytes: &[u8], ended: bool) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Parsed::Part,
        Err(_) => return Parsed::None,
    };
    let value = |name: &str| {
        let found = response
            .headers
            .iter()
            .find(|h| h.name.eq_ignore_ascii_case(name));
        found.and_then(|h| std::str::from_utf8(h.value).ok())
    };
    let mark = value(DECISION_HEADER);
    let reply = Reply {
        status: response.code.unwrap_or_default(),
        ours: mark.is_some(),
        refusal: mark.and_then(refusal),
    };
    let length = match (value("content-length"), value("transfer-encoding")) {
        (_, Some(_)) => chunks(bytes.get(head..).unwrap_or_default()),
        (Some(length), None) => length.trim().parse().ok(),
        // The answer to a CONNECT, and those without a body by their status.
        (None, None) if matches!(reply.status, 200 | 204 | 304) && !ended => Some(0),
        (None, None) => ended.then(|| bytes.len() - head),
    };
    match length.and_then(|n: usize| n.checked_add(head)) {
        Some(length) if length <= bytes.len() => Parsed::Whole(reply, length),
        Some(_) | None if ended => Parsed::Whole(reply, bytes.len()),
        Some(_) | None => Parsed::Part,
    }
}

/// `deny; reason=CODE; rule=NAME`
fn refusal(mark: &str) -> Option<String> {
    let rest = mark.strip_prefix("deny;")?;
    let reason = rest
        .split(';')
        .find_map(|p| p.trim().strip_prefix("reason="))?;
    Some(reason.to_owned())
}

/// Length of a chunked body, once its last chunk is there.
fn chunks(mut rest: &[u8]) -> Option<usize> {
    let whole = rest.len();
    loop {
        let at = memchr::memmem::find(rest, b"\r\n")?;
        let size = std::str::from_utf8(rest.get(..at)?).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        rest = rest.get(at + 2..)?;
        rest = rest.get(size.checked_add(2)?..)?;
        if size == 0 {
            return Some(whole - rest.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_end_where_their_framing_says() {
        let reply = |status, refusal: Option<&str>| Reply {
            status,
            ours: refusal.is_some(),
            refusal: refusal.map(str::to_owned),
        };
        let refused = "HTTP/1.1 403 Forbidden\r\nX-Airlock-Decision: deny; reason=no_rule_matched; rule=none\r\nContent-Length: 2\r\n\r\nno";
        let whole = refused.len();
        for (name, text, ended, want) in [
            (
                "a refusal",
                refused,
                false,
                Parsed::Whole(reply(403, Some("no_rule_matched")), whole),
            ),
            ("half a refusal", &refused[..whole - 1], false, Parsed::Part),
            ("half a head", &refused[..20], false, Parsed::Part),
            (
                "a CONNECT's answer",
                "HTTP/1.1 200 OK\r\n\r\n",
                false,
                Parsed::Whole(reply(200, None), 19),
            ),
            (
                "chunks",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nmore",
                false,
                Parsed::Whole(reply(200, None), 59),
            ),
            (
                "half of the chunks",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
                false,
                Parsed::Part,
            ),
            (
                "an end by closing",
                "HTTP/1.0 500 Oh\r\n\r\nrest",
                true,
                Parsed::Whole(reply(500, None), 23),
            ),
            ("no HTTP", "SSH-2.0-x\r\n\r\n", false, Parsed::None),
        ] {
            assert_eq!(parse(text.as_bytes(), ended), want, "{name}");
        }
    }
}
