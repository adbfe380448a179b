//! Groups 36 to 48: request heads, framing and paths.

use super::{Corpus, Expected, Lane, Opening, Step};
use crate::{
    net::{Authority, Port},
    policy::Reason,
};

pub fn add(corpus: &mut Corpus<'_>) {
    authorities(corpus);
    framing(corpus);
    lines(corpus);
    nominated(corpus);
    upgrades(corpus);
    version_two(corpus);
    paths(corpus);
    kept_alive(corpus);
    markers(corpus);
}

fn authorities(corpus: &mut Corpus<'_>) {
    corpus.group(36);
    let stranger = corpus.ground.stranger.clone();
    let named = [Lane::ExplicitPlain, Lane::ConnectIntercepted, Lane::TransparentTls, Lane::Reverse];
    let mismatch = Expected::Refused(vec![Reason::AuthorityMismatch]);
    for (sentence, host) in [
        ("another Host", stranger.clone()),
        ("another Host with a port", format!("{stranger}:80")),
        ("a Host below another", format!("a.{stranger}")),
        ("a metadata service's name as Host", "metadata.google.internal".into()),
    ] {
        let template = format!("GET {{to}}{{path}} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        corpus.heads(sentence, template, &named, mismatch.clone());
    }
    let names = [Lane::ExplicitPlain, Lane::ConnectIntercepted, Lane::TransparentTls];
    for (sentence, host) in [
        ("an address as Host", "127.0.0.1".to_owned()),
        ("localhost as Host", "localhost".to_owned()),
        ("a metadata service as Host", "169.254.169.254".to_owned()),
        ("the same Host with another port", "{host}:8443".to_owned()),
        ("a Host before the allowed one", format!("{stranger}.{{host}}")),
    ] {
        let template = format!("GET {{to}}{{path}} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        corpus.heads(sentence, template, &names, mismatch.clone());
    }
    for (sentence, template) in [
        ("two Hosts, the second another", "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\nHost: evil.test\r\n\r\n"),
        ("two Hosts, the first another", "GET {to}{path} HTTP/1.1\r\nHost: evil.test\r\nHost: {host}\r\n\r\n"),
        ("the same Host twice", "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n\r\n"),
        ("no Host", "GET {to}{path} HTTP/1.1\r\n\r\n"),
        ("a folded Host", "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\n evil.test\r\n\r\n"),
        ("a Host with a space before the colon", "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\nHost : evil.test\r\n\r\n"),
        ("a pseudo-header for the authority", "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\n:authority: evil.test\r\n\r\n"),
        ("a Host with a NUL in its name", "GET {to}{path} HTTP/1.1\r\nHo\0st: evil.test\r\nHost: {host}\r\n\r\n"),
    ] {
        corpus.head(sentence, template, Reason::MalformedRequest);
    }
    for (sentence, template) in [
        ("two Hosts in one line", "GET {to}{path} HTTP/1.1\r\nHost: {host}, evil.test\r\n\r\n"),
        ("two Hosts with a blank between", "GET {to}{path} HTTP/1.1\r\nHost: {host} evil.test\r\n\r\n"),
        ("a Host with a path", "GET {to}{path} HTTP/1.1\r\nHost: {host}/evil.test\r\n\r\n"),
        ("a Host with user information", "GET {to}{path} HTTP/1.1\r\nHost: evil.test@{host}\r\n\r\n"),
        ("an empty Host", "GET {to}{path} HTTP/1.1\r\nHost:\r\n\r\n"),
        ("a Host that is a URL", "GET {to}{path} HTTP/1.1\r\nHost: http://{host}\r\n\r\n"),
    ] {
        corpus.head(sentence, template, Reason::BadAuthority);
    }
    for (sentence, template) in [
        ("absolute form where origin form is spoken", "GET http://evil.test/ HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ("absolute form of the same host", "GET http://{host}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    ] {
        let lanes = [Lane::ConnectIntercepted, Lane::TransparentTls, Lane::Reverse, Lane::TransparentHttp];
        corpus.heads(sentence, template, &lanes, Expected::Refused(vec![Reason::WrongEntry]));
    }
}

/// Behind `Host: ...`, with a body.
const AMBIGUOUS: [(&str, &str); 38] = [
    ("a length and chunks", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("chunks and a length", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"),
    ("chunks and a length of zero", "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n"),
    ("two lengths", "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
    ("the same length twice", "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    ("a list of lengths", "Content-Length: 3, 3\r\n\r\nabc"),
    ("a list of two lengths", "Content-Length: 5,5\r\n\r\nabcde"),
    ("a signed length", "Content-Length: +5\r\n\r\nabcde"),
    ("a negative length", "Content-Length: -5\r\n\r\n"),
    ("a hexadecimal length", "Content-Length: 0x5\r\n\r\nabcde"),
    ("an octal length is decimal or none", "Content-Length: 0o5\r\n\r\nabcde"),
    ("an empty length", "Content-Length:\r\n\r\n"),
    ("a fraction as length", "Content-Length: 5.0\r\n\r\nabcde"),
    ("an exponent as length", "Content-Length: 5e0\r\n\r\nabcde"),
    ("a blank inside a length", "Content-Length: 1 0\r\n\r\nabcde"),
    ("a length with an underscore", "Content-Length: 1_0\r\n\r\n"),
    ("a length of 19 digits", "Content-Length: 9999999999999999999\r\n\r\n"),
    ("a length of 40 digits", "Content-Length: 1000000000000000000000000000000000000000\r\n\r\n"),
    ("letters behind a length", "Content-Length: 5a\r\n\r\nabcde"),
    ("a quoted length", "Content-Length: \"5\"\r\n\r\nabcde"),
    ("a length in brackets", "Content-Length: [5]\r\n\r\nabcde"),
    ("an unknown encoding", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("gzip", "Transfer-Encoding: gzip\r\n\r\n"),
    ("identity", "Transfer-Encoding: identity\r\n\r\n"),
    ("gzip and chunked", "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("chunked and gzip", "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    ("chunked twice in a list", "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    ("chunked in two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("chunked, and identity in a second line", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
    ("an empty encoding", "Transfer-Encoding:\r\n\r\n"),
    ("a comma before chunked", "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n"),
    ("a comma behind chunked", "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n"),
    ("a parameter behind chunked", "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"),
    ("chunked in quotes", "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    ("half of chunked", "Transfer-Encoding: chunke\r\n\r\n0\r\n\r\n"),
    ("a cow", "Transfer-Encoding: cow\r\n\r\n"),
    ("identity and a length", "Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc"),
    ("a length in an obsolete list", "Content-Length: 3;3\r\n\r\nabc"),
];

fn framing(corpus: &mut Corpus<'_>) {
    corpus.group(37);
    for (sentence, rest) in AMBIGUOUS {
        let template = format!("POST {{to}}{{path}} HTTP/1.1\r\nHost: {{host}}\r\n{rest}");
        corpus.head(sentence, template, Reason::AmbiguousFraming);
    }
    for (sentence, template, reason) in [
        ("chunks in HTTP/1.0", "POST {to}{path} HTTP/1.0\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Reason::AmbiguousFraming),
        ("a length and chunks in HTTP/1.0", "POST {to}{path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc", Reason::AmbiguousFraming),
        ("an expectation in HTTP/1.0", "POST {to}{path} HTTP/1.0\r\nHost: {host}\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", Reason::MalformedRequest),
        ("an unknown expectation", "POST {to}{path} HTTP/1.1\r\nHost: {host}\r\nExpect: tea\r\n\r\n", Reason::MalformedRequest),
        ("two expectations in a line", "POST {to}{path} HTTP/1.1\r\nHost: {host}\r\nExpect: 100-continue, tea\r\n\r\n", Reason::MalformedRequest),
        ("a form feed behind a length", "POST {to}{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\x0c\r\n\r\nabc", Reason::MalformedRequest),
        ("a vertical tab before chunked", "POST {to}{path} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", Reason::MalformedRequest),
        ("a NUL behind chunked", "POST {to}{path} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n", Reason::MalformedRequest),
        ("a space before a length's colon", "POST {to}{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length : 3\r\n\r\nabc", Reason::MalformedRequest),
        ("a tab before an encoding's colon", "POST {to}{path} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", Reason::MalformedRequest),
        ("a folded encoding", "POST {to}{path} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", Reason::AmbiguousFraming),
        ("a folded length", "POST {to}{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length:\r\n 3\r\n\r\nabc", Reason::AmbiguousFraming),
        ("a header line that begins with a space", "GET {to}{path} HTTP/1.1\r\n Host: {host}\r\n\r\n", Reason::MalformedRequest),
        ("a bare carriage return before an encoding", "POST {to}{path} HTTP/1.1\r\nHost: {host}\r\nX: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Reason::MalformedRequest),
        ("a bare line feed before an encoding", "POST {to}{path} HTTP/1.1\r\nHost: {host}\r\nX: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Reason::MalformedRequest),
        ("a line break spelled in a name", "POST {to}{path} HTTP/1.1\r\nHost: {host}\r\nTransfer\\r\\n-Encoding: chunked\r\n\r\n", Reason::MalformedRequest),
    ] {
        corpus.head(sentence, template, reason);
    }
    for (sentence, body) in [
        ("a chunk extension", "3;a=b\r\nabc\r\n0\r\n\r\n"),
        ("an extension of the last chunk", "3\r\nabc\r\n0;a\r\n\r\n"),
        ("an extension with a line end", "3;a\nb\r\nabc\r\n0\r\n\r\n"),
        ("a quoted extension", "3;a=\"b\"\r\nabc\r\n0\r\n\r\n"),
        ("a bare line feed behind a chunk's size", "3\nabc\r\n0\r\n\r\n"),
        ("a bare carriage return behind a chunk's size", "3\rabc\r\n0\r\n\r\n"),
        ("a bare line feed behind the last chunk", "3\r\nabc\r\n0\n\r\n"),
        ("a bare line feed at the end of the chunks", "3\r\nabc\r\n0\r\n\n"),
        ("a chunk's size with a plus", "+3\r\nabc\r\n0\r\n\r\n"),
        ("a chunk's size with a minus", "-3\r\nabc\r\n0\r\n\r\n"),
        ("a chunk's size with a prefix", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("a chunk's size with a blank", "3 \r\nabc\r\n0\r\n\r\n"),
        ("a chunk's size of 68 bits", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
        ("a chunk without a size", "3\r\nabc\r\n\r\n\r\n"),
    ] {
        corpus.head(sentence, format!("{CHUNKED}{body}"), Reason::AmbiguousFraming);
    }
    for (sentence, body) in [
        ("a chunk that is longer than its size", "2\r\nabc\r\n0\r\n\r\n"),
        ("chunks that are none", "zz\r\n\r\n"),
    ] {
        corpus.head(sentence, format!("{CHUNKED}{body}"), Reason::MalformedRequest);
    }

    corpus.group(38);
    for (sentence, trailer) in [
        ("a trailer without a colon", "abc\r\n"),
        ("a folded trailer", "A: b\r\n c\r\n"),
        ("a NUL in a trailer", "A: \0\r\n"),
        ("a trailer with a space before its colon", "Host : evil.test\r\n"),
        ("a trailer without a name", ": evil.test\r\n"),
    ] {
        corpus.head(sentence, format!("{CHUNKED}3\r\nabc\r\n0\r\n{trailer}\r\n"), Reason::MalformedRequest);
    }
    // Behind a trailer nothing is judged by it: what is dropped changes neither host nor path.
    if let Some(place) = corpus.ground.limited.clone() {
        for trailer in ["Host: evil.test", "Authorization: Bearer x", "Content-Length: 9", "Transfer-Encoding: chunked", "X-Airlock-Decision: forward"] {
            let sentence = format!("a trailer that carries {}, to a path that no rule has", trailer.split(':').next().unwrap_or_default());
            let template = format!("{{method}} {{to}}/airlock-selftest HTTP/1.1\r\nHost: {{host}}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n{trailer}\r\n\r\n");
            corpus.of_place(&sentence, &template, &place, Reason::HostKnownRequestNot);
        }
    }
}

const CHUNKED: &str = "POST {to}{path} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n";

fn lines(corpus: &mut Corpus<'_>) {
    corpus.group(37);
    for (sentence, template) in [
        ("bare line feeds", "GET {to}{path} HTTP/1.1\nHost: {host}\n\n"),
        ("one bare line feed", "GET {to}{path} HTTP/1.1\r\nHost: {host}\nX: y\r\n\r\n"),
        ("a bare line feed at the end", "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\n\n"),
        ("a bare carriage return", "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\nX: a\rb\r\n\r\n"),
        ("two carriage returns", "GET {to}{path} HTTP/1.1\r\r\nHost: {host}\r\n\r\n"),
        ("no version", "GET {to}{path}\r\n\r\n"),
        ("HTTP/0.9 with a Host", "GET {to}{path}\r\nHost: {host}\r\n\r\n"),
        ("version 0.9", "GET {to}{path} HTTP/0.9\r\nHost: {host}\r\n\r\n"),
        ("version 1.2", "GET {to}{path} HTTP/1.2\r\nHost: {host}\r\n\r\n"),
        ("version 2", "GET {to}{path} HTTP/2\r\nHost: {host}\r\n\r\n"),
        ("version 3.0", "GET {to}{path} HTTP/3.0\r\nHost: {host}\r\n\r\n"),
        ("another protocol", "GET {to}{path} ICY/1.1\r\nHost: {host}\r\n\r\n"),
        ("a version in lower case", "GET {to}{path} http/1.1\r\nHost: {host}\r\n\r\n"),
        ("a version with a blank", "GET {to}{path} HTTP /1.1\r\nHost: {host}\r\n\r\n"),
        ("a lower-case method", "get {to}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ("a method that is no token", "G(T {to}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ("a method of 33 letters", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG {to}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ("two spaces before the target", "GET  {to}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ("two spaces behind the target", "GET {to}{path}  HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ("a space last", "GET {to}{path} HTTP/1.1 \r\nHost: {host}\r\n\r\n"),
        ("a tab for a space", "GET\t{to}{path}\tHTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ("a space inside the target", "GET {to}{path} x HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ("an empty line first", "\r\nGET {to}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ("a space first", " GET {to}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ("a folded line", "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\nX: a\r\n b\r\n\r\n"),
        ("a line folded by a tab", "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\nX: a\r\n\tb\r\n\r\n"),
        ("a header without a colon", "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\nNonsense\r\n\r\n"),
        ("a header without a name", "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\n: x\r\n\r\n"),
        ("a header with a space in its name", "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\nX Y: z\r\n\r\n"),
        ("a header with a space before its colon", "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\nX : y\r\n\r\n"),
        ("a NUL in a value", "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\nX: a\0b\r\n\r\n"),
        ("an escape in a value", "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\nX: a\x1b[0m\r\n\r\n"),
        ("a delete in a value", "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\nX: a\x7f\r\n\r\n"),
        ("a NUL in the target", "GET {to}/\0 HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ("a letter beyond ASCII in the target", "GET {to}/\u{e9} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ("a delete in the target", "GET {to}/\x7f HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ("a fragment", "GET {to}{path}#x HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ("a quote in the query", "GET {to}{path}?q=\"x\" HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ("a less-than sign in the query", "GET {to}{path}?q=<x> HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ("the asterisk with GET", "GET * HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    ] {
        corpus.head(sentence, template, Reason::MalformedRequest);
    }
    let many = format!("GET {{to}}{{path}} HTTP/1.1\r\nHost: {{host}}\r\n{}\r\n", "X: y\r\n".repeat(120));
    corpus.head("120 header lines", many, Reason::HeadTooLarge);
    let long = format!("GET {{to}}/{} HTTP/1.1\r\nHost: {{host}}\r\n\r\n", "a".repeat(17 << 10));
    corpus.head("a target of 17 KiB", long, Reason::HeadTooLarge);
    let large = format!("GET {{to}}{{path}} HTTP/1.1\r\nHost: {{host}}\r\nX: {}\r\n\r\n", "a".repeat(1 << 20));
    corpus.head("a header of one MiB", large, Reason::HeadTooLarge);
    for lane in Lane::REQUESTS {
        if let Some(slots) = corpus.slots(lane).filter(|s| s.destination.is_none()) {
            let bytes = slots.fill(b"GET {to}{path} HTTP/1.1\r\nHo");
            let steps = vec![Step::Send(bytes.clone()), Step::HalfClose];
            let refused = Expected::Refused(vec![Reason::MalformedRequest]);
            // TLS has an end of its own; that it is cut is told in the record alone.
            if matches!(slots.opening, Opening::Direct) {
                corpus.push(lane, "a head that ends in the middle", slots.opening.clone(), steps, refused);
            }
            let late = Expected::Refused(vec![Reason::HeadTimeout]);
            corpus.push(lane, "a head that never ends", slots.opening, vec![Step::Send(bytes)], late);
        }
    }
    for lane in [Lane::ExplicitPlain, Lane::Reverse, Lane::TransparentHttp] {
        let hello = crate::selftest::hello::Hello::named("evil.test").bytes();
        corpus.raw(lane, "a ClientHello where plain HTTP is spoken", hello, &[Reason::MalformedRequest]);
    }
}

fn nominated(corpus: &mut Corpus<'_>) {
    corpus.group(39);
    let stranger = corpus.ground.stranger.clone();
    let destination = Authority::parse(&stranger, Some(Port::HTTP)).ok();
    for names in ["Host", "host, close", "Content-Length", "Transfer-Encoding", "X-Airlock-Decision", "Authorization", "Via", "Proxy-Authorization, Host", "Connection"] {
        let sentence = format!("Connection that names {names}, to a host that no rule has");
        for (lane, to) in [(Lane::ExplicitPlain, format!("http://{stranger}")), (Lane::TransparentHttp, String::new())] {
            let bytes = format!("GET {to}/ HTTP/1.1\r\nHost: {stranger}\r\nConnection: {names}\r\n\r\n");
            let expected = corpus.by_rule(Reason::NoRuleMatched);
            let steps = vec![Step::Send(bytes.into_bytes())];
            let case = corpus.push(lane, &sentence, Opening::Direct, steps, expected);
            case.destination = destination.clone();
        }
    }
    if let Some(place) = corpus.ground.limited.clone() {
        for names in ["Host", "X-Airlock-Decision"] {
            let sentence = format!("Connection that names {names}, to a path that no rule has");
            let template = format!("{{method}} {{to}}/airlock-selftest HTTP/1.1\r\nHost: {{host}}\r\nConnection: {names}\r\n\r\n");
            corpus.of_place(&sentence, &template, &place, Reason::HostKnownRequestNot);
        }
    }
}

fn upgrades(corpus: &mut Corpus<'_>) {
    corpus.group(40);
    for (sentence, protocol) in [
        ("an upgrade to h2c", "h2c"), ("an upgrade to h2c in capitals", "H2C"), ("an upgrade to h2", "h2"),
        ("an upgrade to TLS", "TLS/1.2"), ("an upgrade to HTTP/2.0", "HTTP/2.0"), ("an upgrade to SPDY", "spdy/3.1"),
        ("an upgrade to h2c and WebSocket", "h2c, websocket"), ("an upgrade to WebSocket and h2c", "websocket, h2c"),
        ("an upgrade to SOCKS", "socks"), ("an empty upgrade", ""),
    ] {
        let template = format!("GET {{to}}{{path}} HTTP/1.1\r\nHost: {{host}}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {protocol}\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n");
        corpus.head(sentence, template, Reason::UpgradeNotAllowed);
    }
    for (sentence, template) in [
        ("prior knowledge of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        ("an upgrade that Connection does not name", "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n\r\n"),
        ("two upgrades", "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n"),
        ("an upgrade by POST", "POST {to}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
        ("an upgrade with a body", "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\nx"),
        ("an upgrade with chunks", "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("an upgrade of HTTP/1.0", "GET {to}{path} HTTP/1.0\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
    ] {
        corpus.head(sentence, template, Reason::MalformedRequest);
    }
    let early = "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nGET {to}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n";
    corpus.head("a request behind an upgrade that is refused", early, Reason::UpgradeNotAllowed);

    corpus.group(41);
    for (sentence, lines) in [
        ("a WebSocket", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
        ("a WebSocket in capitals", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX: y\r\n"),
        ("a WebSocket without a key", ""),
        ("an old WebSocket", "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
        ("a WebSocket with a subprotocol", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v2ray\r\n"),
        ("a WebSocket from a page", "Origin: http://evil.test\r\nSec-WebSocket-Version: 13\r\n"),
    ] {
        let word = if sentence.ends_with("capitals") { "WEBSOCKET" } else { "websocket" };
        let template = format!("GET {{to}}{{path}} HTTP/1.1\r\nHost: {{host}}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: {word}\r\n{lines}\r\n");
        corpus.head(sentence, template, Reason::UpgradeNotAllowed);
    }
    let early = "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x02\x05hello";
    corpus.head("frames behind a WebSocket that is refused", early, Reason::UpgradeNotAllowed);
    let stranger = corpus.ground.stranger.clone();
    for (lane, to) in [(Lane::ExplicitPlain, format!("http://{stranger}")), (Lane::TransparentHttp, String::new())] {
        let bytes = format!("GET {to}/ HTTP/1.1\r\nHost: {stranger}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n");
        let expected = corpus.by_rule(Reason::NoRuleMatched);
        let steps = vec![Step::Send(bytes.into_bytes())];
        let case = corpus.push(lane, "a WebSocket to a host that no rule has", Opening::Direct, steps, expected);
        case.destination = Authority::parse(&stranger, Some(Port::HTTP)).ok();
    }
}

/// HTTP/2 is offered nowhere, so none of its ways into HTTP/1 exists; this is what shows it.
fn version_two(corpus: &mut Corpus<'_>) {
    corpus.group(42);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".as_slice();
    let settings = b"\0\0\0\x04\0\0\0\0\0".as_slice();
    let headers = b"\0\0\x0a\x01\x05\0\0\0\x01\x82\x86\x84\x41\x05evil".as_slice();
    for (sentence, bytes) in [
        ("the preface and settings", preface.to_vec()),
        ("a stream behind the preface", [preface, headers].concat()),
        ("settings without the preface", settings.to_vec()),
        ("a stream without the preface", headers.to_vec()),
        ("the preface in lower case", b"pri * http/2.0\r\n\r\nsm\r\n\r\n".to_vec()),
        ("half of the preface", b"PRI * HTTP/2.0\r\n\r\n".to_vec()),
    ] {
        corpus.head(sentence, bytes, Reason::MalformedRequest);
    }
    for (sentence, template) in [
        ("a pseudo-header for the path", "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\n:path: /x\r\n\r\n"),
        ("a pseudo-header for the scheme", "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\n:scheme: http\r\n\r\n"),
        ("a pseudo-header for the method", "GET {to}{path} HTTP/1.1\r\n:method: CONNECT\r\nHost: {host}\r\n\r\n"),
    ] {
        corpus.head(sentence, template, Reason::MalformedRequest);
    }
}

fn paths(corpus: &mut Corpus<'_>) {
    corpus.group(43);
    for (sentence, path) in [
        ("a climb above the root", "/../x"), ("an encoded climb above the root", "/%2e%2e/x"),
        ("a climb above the root, half encoded", "/.%2e/x"), ("a climb in capitals", "/%2E%2E/x"),
        ("a path parameter on a climb", "/a/..;x/b"), ("a path parameter on a climb, encoded", "/a/%2e%2e;x/b"),
        ("an encoded slash", "/a%2fb"), ("an encoded slash in capitals", "/a%2Fb"), ("an encoded slash in a climb", "/a/..%2fb"),
        ("a backslash", "/a\\b"), ("an encoded backslash", "/a%5cb"), ("a climb by backslashes", "/a\\..\\b"), ("a climb by an encoded backslash", "/a/..%5c..%5cb"),
        ("an encoded NUL", "/a%00"), ("an encoded NUL before an extension", "/a%00.png"),
        ("an encoded line break", "/a%0d%0aHost:%20evil.test"), ("an encoded tab", "/a%09"), ("an encoded delete", "/a%7f"),
        ("an overlong dot", "/%c0%ae%c0%ae/x"), ("an overlong slash", "/a%c0%afb"), ("an overlong slash of three bytes", "/a%e0%80%afb"),
        ("invalid UTF-8", "/%ff"), ("half a character", "/%c3"), ("a surrogate", "/%ed%a0%80"),
        ("an encoded percent sign before a climb", "/%252e%252e/x"), ("an encoded percent sign before a slash", "/a%252fb"),
        ("a percent sign alone", "/%"), ("half an encoding", "/%2"), ("an encoding that is none", "/%zz"), ("a wide encoding", "/%u002e"),
    ] {
        let template = format!("GET {{to}}{path} HTTP/1.1\r\nHost: {{host}}\r\n\r\n");
        corpus.head(sentence, template, Reason::MalformedRequest);
    }
    let Some(place) = corpus.ground.limited.clone() else {
        return;
    };
    let path = place.path.clone();
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", "a"));
    let up = "/..".repeat(path.matches('/').count());
    for (sentence, target) in [
        ("another path", "/airlock-selftest".to_owned()),
        ("a climb out of an allowed path", format!("{path}{up}/airlock-selftest")),
        ("an encoded climb out of an allowed path", format!("{path}{}/airlock-selftest", up.replace("..", "%2e%2e"))),
        ("a half encoded climb out of an allowed path", format!("{path}{}/airlock-selftest", up.replace("..", ".%2E"))),
        ("a climb with slashes doubled", format!("/{path}{}//airlock-selftest", up.replace('/', "//"))),
        ("a climb with dots between", format!("{path}/.{up}/./airlock-selftest")),
        ("an allowed path in capitals", path.to_uppercase()),
        ("an allowed path in the query", format!("/airlock-selftest?{path}")),
        ("an allowed path as a suffix", format!("/airlock-selftest{path}")),
        ("an allowed folder as the start of a name", format!("{}x/{file}", if folder.is_empty() { "/" } else { folder })),
        ("an encoded letter of another path", "/%61irlock-selftest".to_owned()),
        ("an allowed path climbed into from another, and out again", format!("/x/..{path}{up}/airlock-selftest")),
        ("the root", "/".to_owned()),
        ("nothing but slashes", "///".to_owned()),
    ] {
        let template = format!("{{method}} {{to}}{target} HTTP/1.1\r\nHost: {{host}}\r\n\r\n");
        corpus.of_place(sentence, &template, &place, Reason::HostKnownRequestNot);
    }
}

fn kept_alive(corpus: &mut Corpus<'_>) {
    corpus.group(45);
    let stranger = corpus.ground.stranger.clone();
    let closed = corpus.by_rule(Reason::NoRuleMatched);
    let mismatch = Expected::Refused(vec![Reason::AuthorityMismatch]);
    let malformed = Expected::Refused(vec![Reason::MalformedRequest]);
    let bound = [Lane::ConnectIntercepted, Lane::TransparentTls, Lane::Reverse];
    let template = format!("GET http://{stranger}/ HTTP/1.1\r\nHost: {stranger}\r\n\r\n");
    corpus.second("an answer, then a host that no rule has", &template, &[Lane::ExplicitPlain], &closed);
    let template = format!("GET / HTTP/1.1\r\nHost: {stranger}\r\n\r\n");
    corpus.second("an answer, then a host that no rule has", &template, &[Lane::TransparentHttp], &closed);
    corpus.second("an answer, then another host", &template, &bound, &mismatch);
    let foreign = Expected::Refused(vec![Reason::HostNotAllowed]);
    corpus.second("an answer, then another host", &template, &[Lane::FrontDoor], &foreign);
    for case in corpus.cases.iter_mut().filter(|c| c.group == 45 && c.expected == closed) {
        case.destination = Authority::parse(&stranger, Some(Port::HTTP)).ok();
    }
    for (sentence, template) in [
        ("an answer, then a malformed head", "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n\r\n"),
        ("an answer, then bare line feeds", "GET {to}{path} HTTP/1.1\nHost: {host}\n\n"),
        ("an answer, then the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ] {
        corpus.second(sentence, template, &Lane::REQUESTS, &malformed);
    }
    // Behind the front door's prefix that is no climb above the root.
    let lanes: Vec<Lane> = Lane::REQUESTS.into_iter().filter(|l| *l != Lane::FrontDoor).collect();
    let climb = "GET {to}/../x HTTP/1.1\r\nHost: {host}\r\n\r\n";
    corpus.second("an answer, then a climb above the root", climb, &lanes, &malformed);
    let upgrade = "GET {to}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let refused = Expected::Refused(vec![Reason::UpgradeNotAllowed]);
    corpus.second("an answer, then a WebSocket", upgrade, &Lane::REQUESTS, &refused);
    let framing = "POST {to}{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let refused = Expected::Refused(vec![Reason::AmbiguousFraming]);
    corpus.second("an answer, then ambiguous framing", framing, &Lane::REQUESTS, &refused);
    let connect = format!("CONNECT {stranger}:443 HTTP/1.1\r\nHost: {stranger}:443\r\n\r\n");
    corpus.second("an answer, then a CONNECT that no rule allows", &connect, &[Lane::ExplicitPlain], &closed);
    let last = Authority::parse(&stranger, Some(Port::HTTPS)).ok();
    if let Some(case) = corpus.cases.last_mut() {
        case.destination = last;
    }
    let wrong = Expected::Refused(vec![Reason::WrongEntry]);
    let inside = [Lane::ConnectIntercepted, Lane::TransparentTls, Lane::TransparentHttp, Lane::Reverse];
    corpus.second("an answer, then a CONNECT where none may be", &connect, &inside, &wrong);
}

fn markers(corpus: &mut Corpus<'_>) {
    corpus.group(48);
    let stranger = corpus.ground.stranger.clone();
    for header in [
        "X-Airlock-Decision: forward; rule=none", "X-Airlock-Decision: deny; reason=rule_allows",
        "X-Airlock-Request-Id: 00000000-0000-0000-0000-000000000000", "x-airlock-anything: yes",
        "Proxy-Status: airlock", "X-Airlock-Bypass: 1",
    ] {
        let sentence = format!("our mark from a client: {header}");
        for (lane, head) in [
            (Lane::ExplicitPlain, format!("GET http://{stranger}/ HTTP/1.1\r\nHost: {stranger}\r\n")),
            (Lane::ConnectTunnel, format!("CONNECT {stranger}:443 HTTP/1.1\r\nHost: {stranger}:443\r\n")),
            (Lane::TransparentHttp, format!("GET / HTTP/1.1\r\nHost: {stranger}\r\n")),
        ] {
            let expected = corpus.by_rule(Reason::NoRuleMatched);
            let steps = vec![Step::Send(format!("{head}{header}\r\n\r\n").into_bytes())];
            let case = corpus.push(lane, &sentence, Opening::Direct, steps, expected);
            case.destination = Authority::parse(&stranger, Some(Port::HTTP)).ok();
        }
        if let Some(place) = corpus.ground.limited.clone() {
            let template = format!("{{method}} {{to}}/airlock-selftest HTTP/1.1\r\nHost: {{host}}\r\n{header}\r\n\r\n");
            corpus.of_place(&sentence, &template, &place, Reason::HostKnownRequestNot);
        }
    }
}
