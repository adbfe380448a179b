//! HTTP/1 requests with the event log that llhttp (Node's parser) makes of them.
//!
//! What llhttp refuses, our parsers of heads and chunks refuse, or it stands in a table with the reason
//! why it may pass. What both take has the same method, target and headers, in the bytes that go on to the
//! upstream too. Responses have no vectors here: no parser of ours reads a response head that was not
//! read before by Pingora or hyper.

use std::collections::{BTreeMap, BTreeSet};

use airlock::{
    listener::{
        chunks::Chunks,
        head::{self, Target},
    },
    net::Port,
    proxy::Framing,
};

use super::vendor;

const FILES: [&str; 13] = [
    "connection",
    "content-length",
    "finish",
    "invalid",
    "lenient-header-value-relaxed",
    "lenient-headers",
    "lenient-version",
    "method",
    "pausing",
    "pipelining",
    "sample",
    "transfer-encoding",
    "uri",
];

/// A case: what is sent, and what llhttp says to it.
struct Vector {
    /// `file: heading`, with a number where a heading holds several.
    name: String,
    bytes: Vec<u8>,
    /// Read with one of llhttp's leniency switches on.
    lenient: bool,
    message: Message,
    /// Where and why it stops, of all messages.
    error: Option<(usize, String)>,
}

/// The first message of a log.
#[derive(Clone, Debug, Default, PartialEq)]
struct Message {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
}

fn vectors() -> Vec<Vector> {
    let mut all = Vec::new();
    for file in FILES {
        let text = vendor(&format!("llhttp/request/{file}.md"));
        let mut lines = text.lines();
        let (mut heading, mut kind, mut input) = ("", "", Vec::new());
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        while let Some(line) = lines.next() {
            if line.starts_with('#') {
                heading = line.trim_start_matches('#').trim();
            } else if line.starts_with("<!-- meta=") {
                kind = line
                    .split("\"type\":")
                    .nth(1)
                    .and_then(|rest| rest.split('"').nth(1))
                    .expect("a type");
            } else if line == "```http" {
                input = unescaped(&block(&mut lines));
            } else if line == "```log" {
                let times = seen.entry(heading).or_default();
                *times += 1;
                let (message, error) = read_log(&block(&mut lines));
                all.push(Vector {
                    name: match times {
                        1 => format!("{file}: {heading}"),
                        n => format!("{file}: {heading} ({n})"),
                    },
                    bytes: std::mem::take(&mut input),
                    lenient: kind.starts_with("request-lenient"),
                    message,
                    error,
                });
            }
        }
    }
    all
}

fn block<'a>(lines: &mut std::str::Lines<'a>) -> Vec<&'a str> {
    lines.take_while(|line| *line != "```").collect()
}

/// As llhttp's own runner reads a block: line ends are CR LF, a backslash at an end joins lines, and
/// `\r`, `\n`, `\t`, `\f`, `\xHH` stand for themselves.
fn unescaped(lines: &[&str]) -> Vec<u8> {
    let text = lines.join("\n").replace("\\\n", "").replace('\n', "\r\n");
    let mut out = Vec::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('\\') {
        out.extend(before.bytes());
        let (byte, length) = match after.as_bytes().first() {
            Some(b'r') => (b'\r', 1),
            Some(b'n') => (b'\n', 1),
            Some(b't') => (b'\t', 1),
            Some(b'f') => (b'\x0c', 1),
            Some(b'x') => (u8::from_str_radix(&after[1..3], 16).expect("hex"), 3),
            _ => (b'\\', 0),
        };
        out.push(byte);
        rest = &after[length..];
    }
    out.extend(rest.bytes());
    out
}

fn read_log(lines: &[&str]) -> (Message, Option<(usize, String)>) {
    let (mut message, mut error, mut messages) = (Message::default(), None, 0);
    // Header lines behind a chunked body are not of the head.
    let mut in_head = true;
    // Spans come in pieces.
    let (mut name, mut value) = (String::new(), String::new());
    for line in lines {
        let (offset, event) = line
            .strip_prefix("off=")
            .and_then(|rest| rest.split_once(' '))
            .unwrap_or_else(|| panic!("{line:?}"));
        in_head &= event.split(' ').take(2).ne(["headers", "complete"]);
        // A pause at an upgrade is no refusal: what follows is another protocol.
        if let Some(why) = event
            .strip_prefix("error ")
            .filter(|e| !e.starts_with("code=22 "))
        {
            error = Some((offset.parse().expect("an offset"), why.to_owned()));
        }
        messages += usize::from(event == "message begin");
        if messages > 1 || !in_head {
            continue;
        }
        if event == "header_value complete" {
            let value = std::mem::take(&mut value);
            let whole = (std::mem::take(&mut name), value.trim().to_owned());
            message.headers.push(whole);
        }
        let Some((kind, text)) = event
            .split_once("span[")
            .and_then(|(_, s)| s.split_once("]=\""))
        else {
            continue;
        };
        let text = text.strip_suffix('"').expect("a closing quote");
        let text = text.replace("\\t", "\t").replace("\\f", "\x0c");
        match kind {
            "method" => message.method.push_str(&text),
            "url" => message.url.push_str(&text),
            "header_field" => name.push_str(&text),
            "header_value" => value.push_str(&text),
            _ => {}
        }
    }
    (message, error)
}

/// A request of HTTP/1.1 without Host is refused for that alone. Most vectors are such, and get one,
/// so that what they are about is what decides.
fn with_host(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let Some(end) = bytes.windows(2).position(|w| w == b"\r\n") else {
        return bytes.to_vec();
    };
    if text.contains("\nhost:") || text.contains("\nhost ") {
        return bytes.to_vec();
    }
    let (line, rest) = bytes.split_at(end + 2);
    [line, b"Host: llhttp.test\r\n", rest].concat()
}

enum Outcome {
    Refused,
    /// More bytes are wanted: a connection that ends here is refused.
    Unfinished,
    /// All requests, up to one after which nothing is read as HTTP.
    Taken(Message),
}

/// As `listener::http` reads a connection, with `listener::turn` that cuts it where a body ends.
fn outcome(mut bytes: &[u8]) -> Outcome {
    let mut first = None;
    loop {
        let Some(end) = head::head_end(bytes, 0) else {
            return match (head::hopeless(bytes, 0), first) {
                (Some(_), _) => Outcome::Refused,
                (None, Some(message)) if bytes.is_empty() => Outcome::Taken(message),
                (None, _) => Outcome::Unfinished,
            };
        };
        let (head, rest) = bytes.split_at(end);
        let Ok(parsed) = head::parse(head, Port::HTTP) else {
            return Outcome::Refused;
        };
        let message = sent(head, &parsed);
        let tunnel = parsed.upgrade.is_some() || matches!(parsed.target, Target::Authority(_));
        let last = tunnel || message.closes();
        let message = first.get_or_insert(message).clone();
        let length = match parsed.framing {
            Framing::Nothing => Some(0),
            Framing::Length(n) => usize::try_from(n).ok(),
            Framing::Chunked => match Chunks::default().push(rest) {
                Ok(length) => length,
                Err(_) => return Outcome::Refused,
            },
        };
        let Some((_, rest)) = length.and_then(|length| rest.split_at_checked(length)) else {
            return Outcome::Unfinished;
        };
        if last {
            return Outcome::Taken(message);
        }
        bytes = rest;
    }
}

/// The head as another parser reads it.
fn sent(bytes: &[u8], ours: &head::Head) -> Message {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut theirs = httparse::Request::new(&mut headers);
    let read = theirs.parse(bytes).expect("another parser takes it");
    assert_eq!(read, httparse::Status::Complete(bytes.len()));
    let url = theirs.path.unwrap_or_default();
    assert_eq!(theirs.method, Some(ours.method.as_str()));
    match &ours.target {
        Target::Origin(target) => assert_eq!(url, target),
        Target::Absolute { path, .. } => {
            assert!(url.ends_with(path.trim_start_matches('/')), "{url} {path}");
        }
        Target::Authority(authority) => assert_eq!(url.to_lowercase(), authority.to_string()),
        Target::Asterisk => assert_eq!(url, "*"),
    }
    // The vectors write bytes that are no UTF-8 as Latin-1.
    let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => text.trim().to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    };
    let headers = theirs.headers.iter();
    Message {
        method: ours.method.to_string(),
        url: url.to_owned(),
        headers: headers
            .map(|h| (h.name.to_owned(), text(h.value)))
            .collect(),
    }
}

impl Message {
    fn closes(&self) -> bool {
        self.headers
            .iter()
            .any(|(name, value)| name.eq_ignore_ascii_case("connection") && value == "close")
    }
}

/// Refused by llhttp and taken here, by name, and why that is right.
const TAKEN_HERE: &[(&str, &str)] = &[
    ("connection: CRLF between requests, explicit `close`", CLOSE),
    (
        "connection: CRLF between requests, explicit `close` followed by tab",
        CLOSE,
    ),
    ("invalid: HTTP protocol and ANNOUNCE method", METHOD),
    ("invalid: Invalid method", METHOD),
];
const CLOSE: &str = "what follows a request with `Connection: close` is never read";
const METHOD: &str = "any upper-case token is a method; which ones may pass is for rules to say";

#[test]
fn what_llhttp_refuses_is_refused_here_or_listed_with_its_reason() {
    let vectors = vectors();
    let names: BTreeSet<&str> = vectors.iter().map(|v| v.name.as_str()).collect();
    assert_eq!(names.len(), vectors.len(), "two vectors of one name");
    let mut listed: BTreeSet<&str> = TAKEN_HERE.iter().map(|(name, _)| *name).collect();
    let (mut must_fail, mut refused, mut wrong) = (0, 0, Vec::new());
    for vector in &vectors {
        let Some((at, why)) = &vector.error else {
            continue;
        };
        must_fail += 1;
        assert!(*at <= vector.bytes.len(), "{}: misread block", vector.name);
        for bytes in [vector.bytes.clone(), with_host(&vector.bytes)] {
            match outcome(&bytes) {
                Outcome::Refused | Outcome::Unfinished => refused += 1,
                Outcome::Taken(_) if listed.contains(vector.name.as_str()) => {}
                Outcome::Taken(message) => {
                    wrong.push(format!("{}: {why} at {at}: {message:?}", vector.name));
                }
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "taken:\n{}", wrong.join("\n"));
    listed.retain(|name| !names.contains(name));
    assert!(listed.is_empty(), "listed, and no vector: {listed:?}");
    assert_eq!((vectors.len(), must_fail, refused), (166, 61, 115));
}

#[test]
fn what_both_take_reads_the_same() {
    let (mut valid, mut taken) = (0, 0);
    for vector in vectors() {
        if vector.error.is_some() {
            continue;
        }
        valid += 1;
        let bytes = with_host(&vector.bytes);
        let added = bytes.len() > vector.bytes.len();
        let Outcome::Taken(mut ours) = outcome(&bytes) else {
            println!("stricter: {}", vector.name);
            continue;
        };
        if added {
            ours.headers.remove(0);
        }
        assert_eq!(ours, vector.message, "{}", vector.name);
        taken += 1;
    }
    assert_eq!((valid, taken), (105, 51));
}

/// What llhttp takes only with a switch is refused here, but for bytes that are never read.
#[test]
fn what_needs_leniency_is_refused() {
    let vectors = vectors();
    let lenient: Vec<_> = vectors.iter().filter(|v| v.lenient).collect();
    let taken: Vec<&str> = lenient
        .iter()
        .filter(|v| matches!(outcome(&with_host(&v.bytes)), Outcome::Taken(_)))
        .map(|v| v.name.as_str())
        .collect();
    assert_eq!(lenient.len(), 29);
    assert_eq!(
        taken,
        ["connection: CRLF between requests, explicit `close` (lenient)",]
    );
}
