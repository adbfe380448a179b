//! Heads that are read, heads that are refused, and what becomes of one that is sent on.

use bytes::BytesMut;

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
