//! The edges of the head parser: every byte in every place, every bound from both sides, every header
//! that is acted on beside one of the same length that is not.

use bytes::BytesMut;

use super::*;

fn parsed(text: impl AsRef<[u8]>) -> Result<Head, HeadError> {
    parse(text.as_ref(), Port::HTTP)
}

fn reason(text: impl AsRef<[u8]>) -> Option<Reason> {
    parsed(text).err().map(|e| e.reason)
}

fn with_line(line: &[u8]) -> Vec<u8> {
    [b"GET / HTTP/1.1\r\nHost: a\r\n", line, b"\r\n\r\n"].concat()
}

#[test]
fn every_byte_is_taken_where_http_has_it_and_nowhere_else() {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    for b in 0..=u8::MAX {
        let method = [b"A", &[b][..], b"B / HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        let in_method = token(b) && !b.is_ascii_lowercase();
        assert_eq!(parsed(&method).is_ok(), in_method, "method {b:#04x}");

        let target = [b"GET /x", &[b][..], b"y HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        let in_target = b.is_ascii_graphic() && b != b'#';
        assert_eq!(parsed(&target).is_ok(), in_target, "target {b:#04x}");

        // A colon ends the name, and the rest is its value.
        let name = with_line(&[b"X", &[b][..], b"Y: v"].concat());
        assert_eq!(
            parsed(&name).is_ok(),
            token(b) || b == b':',
            "name {b:#04x}"
        );

        let value = with_line(&[b"X: v", &[b][..], b"w"].concat());
        let in_value = b == b'\t' || (b >= 0x20 && b != 0x7f);
        assert_eq!(parsed(&value).is_ok(), in_value, "value {b:#04x}");
        let twice = with_line(&[b"X: v", &[b, b][..], b"w"].concat());
        assert_eq!(parsed(&twice).is_ok(), in_value, "value {b:#04x} twice");
    }
}

#[test]
fn request_lines_have_three_parts_and_each_its_bounds() {
    let line = |method: &str, target: &str| {
        reason(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
    };
    let malformed = Some(Reason::MalformedRequest);
    assert_eq!(line(&"M".repeat(32), "/"), None);
    assert_eq!(line(&"M".repeat(33), "/"), malformed);
    assert_eq!(line("", "/"), malformed, "no method");
    assert_eq!(line("GET", ""), malformed, "no target");
    let long = |n: usize| format!("/{}", "x".repeat(n - 1));
    assert_eq!(line("GET", &long(MAX_TARGET)), None);
    assert_eq!(
        line("GET", &long(MAX_TARGET + 1)),
        Some(Reason::HeadTooLarge)
    );
    for text in [
        "GET\r\nHost: a\r\n\r\n",
        "GET /\r\nHost: a\r\n\r\n",
        "GET / x HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        "\r\n\r\n",
        "",
    ] {
        assert_eq!(reason(text), malformed, "{text:?}");
    }
    for text in ["GET\r\nHost: a\r\n\r\n", "GET /\r\nHost: a\r\n\r\n"] {
        let told = parsed(text).unwrap_err().message;
        assert!(told.starts_with("request line is not"), "{text:?}: {told}");
    }
    let h2 = parsed("PRI * HTTP/2.0\r\n\r\n").unwrap_err();
    assert!(h2.message.contains("HTTP/2"), "{}", h2.message);
    let other = parsed("GET / HTTP/3.0\r\n\r\n").unwrap_err();
    assert!(!other.message.contains("HTTP/2"), "{}", other.message);
}

#[test]
fn the_key_of_a_proxy_is_read_from_its_own_header_and_two_of_them_are_none() {
    let key = |lines: &[&str]| {
        let head = parsed(with_line(lines.join("\r\n").as_bytes())).unwrap();
        head.proxy_key.map(|key| key.expose().clone())
    };
    let some = |text: &str| Some(text.to_owned());
    for (lines, read) in [
        (&["X: y"][..], None),
        (&["Proxy-Authorization: Basic a"], some("Basic a")),
        (&["PROXY-authorization:Basic a "], some("Basic a")),
        // As long, and another header.
        (&["X-Authorization-Abc: Basic a"], None),
        (&["Authorization: Basic a"], None),
        (
            &[
                "Proxy-Authorization: Basic a",
                "Proxy-Authorization: Basic a",
            ],
            some(""),
        ),
        (&["Proxy-Authorization: caf\u{e9}"], some("caf\u{e9}")),
    ] {
        assert_eq!(key(lines), read, "{lines:?}");
    }
}

#[test]
fn a_head_may_have_a_hundred_lines() {
    let head = |n: usize| {
        let lines = "x: y\r\n".repeat(n - 1);
        reason(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"))
    };
    assert_eq!(head(MAX_HEADERS), None);
    assert_eq!(head(MAX_HEADERS + 1), Some(Reason::HeadTooLarge));
}

#[test]
fn each_form_of_target_is_read_as_itself() {
    let a = |port: &str| Authority::parse(port, None).unwrap();
    let absolute = |authority: &str, path: &str| Target::Absolute {
        authority: a(authority),
        path: path.into(),
    };
    let rows: &[(&str, &str, Option<Target>)] = &[
        ("GET", "/x?y", Some(Target::Origin("/x?y".into()))),
        ("GET", "//x", Some(Target::Origin("//x".into()))),
        ("GET", "http://a.test", Some(absolute("a.test:80", "/"))),
        ("GET", "http://a.test/x", Some(absolute("a.test:80", "/x"))),
        ("GET", "http://a.test?x", Some(absolute("a.test:80", "/?x"))),
        ("GET", "HTTP://a.test:81/", Some(absolute("a.test:81", "/"))),
        ("OPTIONS", "*", Some(Target::Asterisk)),
        ("GET", "*", None),
        ("OPTIONS", "**", None),
        (
            "CONNECT",
            "a.test:443",
            Some(Target::Authority(a("a.test:443"))),
        ),
        ("CONNECT", "/x", None),
        ("GET", "a.test:443", None),
        ("GET", "https://a.test/", None),
        ("GET", "http:/a.test/", None),
        ("GET", "http://", None),
        ("GET", "http", None),
        ("GET", "http:///x", None),
    ];
    for (method, target, want) in rows {
        let found = parsed(format!("{method} {target} HTTP/1.0\r\n\r\n"));
        assert_eq!(found.ok().map(|h| h.target), *want, "{method} {target}");
    }
}

#[test]
fn a_body_ends_where_one_header_says() {
    let framing = |line: &str| {
        let head = parsed(format!("POST / HTTP/1.1\r\nHost: a\r\n{line}\r\n"));
        head.map(|h| h.framing).map_err(|e| e.reason)
    };
    let ambiguous = Err(Reason::AmbiguousFraming);
    let digits = |n: usize| format!("Content-Length: {}\r\n", "1".repeat(n));
    for (line, want) in [
        ("", Ok(Framing::Nothing)),
        ("Content-Length: 0\r\n", Ok(Framing::Length(0))),
        ("content-length:  17 \r\n", Ok(Framing::Length(17))),
        (&digits(18), Ok(Framing::Length(111_111_111_111_111_111))),
        (&digits(19), ambiguous),
        ("Content-Length:\r\n", ambiguous),
        ("Content-Length: -1\r\n", ambiguous),
        ("Content-Length: 0x1\r\n", ambiguous),
        ("Transfer-Encoding: Chunked\r\n", Ok(Framing::Chunked)),
        ("Transfer-Encoding: chunked, chunked\r\n", ambiguous),
        ("Transfer-Encoding: gzip\r\n", ambiguous),
        ("Transfer-Encoding:\r\n", ambiguous),
        // As long as the header that counts, and another one.
        ("Accept-Charset: 9\r\n", Ok(Framing::Nothing)),
        ("If-Modified-Since: chunked\r\n", Ok(Framing::Nothing)),
    ] {
        assert_eq!(framing(line), want, "{line:?}");
    }
}

#[test]
fn what_an_old_client_or_a_connect_may_not_send_is_refused() {
    let rows: &[(&str, &str, Option<Reason>)] = &[
        (
            "old, with a length",
            "POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\n",
            None,
        ),
        (
            "old, with Expect",
            "POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
            Some(Reason::MalformedRequest),
        ),
        (
            "new, with Expect",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-Continue\r\n\r\n",
            None,
        ),
        (
            "another expectation",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 200-ok\r\n\r\n",
            Some(Reason::MalformedRequest),
        ),
        ("old, without Host", "GET / HTTP/1.0\r\n\r\n", None),
        (
            "new, without Host",
            "GET / HTTP/1.1\r\nHosts: a\r\n\r\n",
            Some(Reason::MalformedRequest),
        ),
        (
            "a header as long as Host",
            "GET / HTTP/1.1\r\nHost: a\r\nHuts: b\r\n\r\n",
            None,
        ),
        (
            "a header as long as Expect",
            "GET / HTTP/1.1\r\nHost: a\r\nAccept: b\r\n\r\n",
            None,
        ),
        (
            "a CONNECT that says it has no body",
            "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 0\r\n\r\n",
            None,
        ),
        (
            "a CONNECT with a byte",
            "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 1\r\n\r\n",
            Some(Reason::AmbiguousFraming),
        ),
        (
            "a CONNECT with chunks",
            "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nTransfer-Encoding: chunked\r\n\r\n",
            Some(Reason::AmbiguousFraming),
        ),
        (
            "a name that is no token",
            "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
            Some(Reason::MalformedRequest),
        ),
        (
            "Host that is no name",
            "GET / HTTP/1.1\r\nHost: \u{fc}\u{ad}\r\n\r\n",
            Some(Reason::BadAuthority),
        ),
    ];
    for (name, text, want) in rows {
        assert_eq!(reason(text), *want, "{name}");
    }
    let not_utf8 = with_line(b"X: \xff");
    assert!(parsed(&not_utf8).is_ok());
    assert_eq!(
        reason(b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n"),
        Some(Reason::BadAuthority)
    );
}

#[test]
fn an_upgrade_is_named_twice_on_a_bare_get_or_refused() {
    let head = |line: &str, fields: &str| {
        let found = parsed(format!("{line}\r\nHost: a\r\nUpgrade: x\r\n{fields}\r\n"));
        found.map(|h| h.upgrade).map_err(|e| e.reason)
    };
    let get = "GET / HTTP/1.1";
    let fine = Ok(Some("x".to_owned()));
    let refused = Err(Reason::MalformedRequest);
    for (name, line, fields, want) in [
        ("named", get, "Connection: upgrade\r\n", &fine),
        ("in a list", get, "Connection: close , Upgrade\r\n", &fine),
        (
            "in the first of two lines",
            get,
            "Connection: upgrade\r\nConnection: close\r\n",
            &fine,
        ),
        (
            "in the second",
            get,
            "Connection: close\r\nConnection: upgrade\r\n",
            &fine,
        ),
        ("not named", get, "Connection: close\r\n", &refused),
        ("named in part", get, "Connection: upgrades\r\n", &refused),
        ("named elsewhere", get, "User-Agent: upgrade\r\n", &refused),
        (
            "twice",
            get,
            "Connection: upgrade\r\nUpgrade: y\r\n",
            &refused,
        ),
        (
            "by POST",
            "POST / HTTP/1.1",
            "Connection: upgrade\r\n",
            &refused,
        ),
        ("old", "GET / HTTP/1.0", "Connection: upgrade\r\n", &refused),
        (
            "with a length",
            get,
            "Connection: upgrade\r\nContent-Length: 0\r\n",
            &refused,
        ),
        (
            "with chunks",
            get,
            "Connection: upgrade\r\nTransfer-Encoding: chunked\r\n",
            &refused,
        ),
    ] {
        assert_eq!(&head(line, fields), want, "{name}");
    }
    // A header as long as Upgrade is none.
    let other = parsed(with_line(b"Referer: x")).unwrap();
    assert_eq!(other.upgrade, None);
}

#[test]
fn a_bare_line_feed_is_seen_wherever_the_last_read_ended() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\nX: y";
    let bare = bytes.iter().rposition(|b| *b == b'\n').unwrap();
    for seen in 0..=bare {
        assert!(hopeless(bytes, seen).is_some(), "after {seen}");
    }
    assert!(hopeless(bytes, bare + 1).is_none(), "looked at already");
    let good = b"GET / HTTP/1.1\r\nHost: a\r\nX: y";
    for seen in 0..=good.len() {
        assert!(hopeless(good, seen).is_none(), "after {seen}");
    }
}

#[test]
fn a_rewritten_head_loses_host_and_proxy_lines_and_no_others() {
    let text = "GET http://a.test/x HTTP/1.0\r\nHosts: 1\r\nHOST: a.test\r\nProxy-Authorization: s\r\nProxyX: 2\r\nproxy-x: 3\r\nX-Host: 4\r\nh: 5\r\n\r\n";
    let head = parsed(text).unwrap();
    let to = Authority::parse("a.test:80", None).unwrap();
    let mut buffer = BytesMut::from(text);
    rewrite_to_origin(&mut buffer, &head, "/x", &to, Port::HTTP);
    let want =
        "GET /x HTTP/1.0\r\nHost: a.test\r\nHosts: 1\r\nProxyX: 2\r\nX-Host: 4\r\nh: 5\r\n\r\n";
    assert_eq!(std::str::from_utf8(&buffer), Ok(want));
    rewrite_to_origin(&mut buffer, &parsed(want).unwrap(), "/y", &to, Port::HTTPS);
    assert!(buffer.starts_with(b"GET /y HTTP/1.0\r\nHost: a.test:80\r\nHosts"));
}
