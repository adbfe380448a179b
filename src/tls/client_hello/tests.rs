//! Hellos as clients send them, and as an attacker would like them.

mod bounds;

use std::{io, sync::Arc};

use rustls::{ClientConnection, pki_types::ServerName};
use tokio::io::AsyncWriteExt;

use super::*;
use crate::tls::testing::client;

/// A hello as a real client sends it.
fn rustls_hello(name: &str, alpn: &[&[u8]], sni: bool) -> Vec<u8> {
    let mut config = (*client(&[])).clone();
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    config.enable_sni = sni;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut conn = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut wire = Vec::new();
    conn.write_tls(&mut wire).unwrap();
    wire
}

fn vec8(data: &[u8]) -> Vec<u8> {
    [&[u8::try_from(data.len()).unwrap()], data].concat()
}
fn vec16(data: &[u8]) -> Vec<u8> {
    [&u16::try_from(data.len()).unwrap().to_be_bytes(), data].concat()
}
fn ext(kind: u16, data: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), vec16(data)].concat()
}
fn sni_entry(kind: u8, name: &[u8]) -> Vec<u8> {
    [vec![kind], vec16(name)].concat()
}
fn sni(name: &[u8]) -> Vec<u8> {
    ext(0, &vec16(&sni_entry(0, name)))
}
fn signature_algorithms() -> Vec<u8> {
    ext(13, &vec16(&[0x04, 0x03]))
}

/// Body of a TLS 1.2 hello with these extensions, besides the one that must be there.
fn body(extensions: &[Vec<u8>]) -> Vec<u8> {
    let extensions = [extensions.concat(), signature_algorithms()].concat();
    let random = [7; 32];
    [
        &[3, 3],
        &random[..],
        &vec8(b""),
        &vec16(&[0xc0, 0x2b]),
        &vec8(&[0]),
        &vec16(&extensions),
    ]
    .concat()
}
fn message(body: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1], &length[..], body].concat()
}
fn record(fragment: &[u8]) -> Vec<u8> {
    [&[0x16, 3, 1], vec16(fragment).as_slice()].concat()
}
/// The message in records of at most `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(record).collect()
}
fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    records(&message(&body(extensions)), 1 << 14)
}

fn parse(bytes: &[u8]) -> Result<Option<ClientHelloInfo>, HelloError> {
    HelloParser::new(MAX_CLIENT_HELLO).push(bytes)
}

fn named(name: &str) -> Option<Host> {
    Some(Host::parse(name).unwrap())
}

#[test]
fn a_real_hello_tells_its_name_protocols_and_versions() {
    let raw = rustls_hello("api.allowed.test", &[b"h2", b"http/1.1"], true);
    let info = parse(&raw).unwrap().unwrap();
    assert_eq!(info.sni, named("api.allowed.test"));
    assert_eq!(info.alpn, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert_eq!(info.versions, [0x0304, 0x0303]);
    assert!(!info.ech);
    assert_eq!(info.raw, raw);

    let info = parse(&rustls_hello("allowed.test", &[], false))
        .unwrap()
        .unwrap();
    assert_eq!((info.sni, info.alpn), (None, Vec::new()));
    // A client that dials an address sends no name.
    let info = parse(&rustls_hello("127.0.0.1", &[], true))
        .unwrap()
        .unwrap();
    assert_eq!(info.sni, None);
}

#[test]
fn however_it_is_cut_the_answer_is_the_same() {
    let message = message(&body(&[
        sni(b"Allowed.Test"),
        ext(16, &vec16(&vec8(b"h2"))),
    ]));
    for record_size in [1, 2, 3, 4, 5, 7, 64, 1 << 14] {
        let bytes = records(&message, record_size);
        for cut in [1, 2, 3, 5, 6, 13, bytes.len()] {
            let row = format!("records of {record_size}, pushes of {cut}");
            let mut parser = HelloParser::new(MAX_CLIENT_HELLO);
            let mut answer = None;
            for (n, chunk) in bytes.chunks(cut).enumerate() {
                assert!(answer.is_none(), "{row}: answered before push {n}");
                answer = parser.push(chunk).unwrap();
            }
            let info = answer.unwrap_or_else(|| panic!("{row}: no answer"));
            assert_eq!(info.sni, named("allowed.test"), "{row}");
            assert_eq!(info.alpn, [b"h2".to_vec()], "{row}");
            assert_eq!(info.versions, [0x0303], "{row}");
            assert_eq!(info.raw, bytes, "{row}");
        }
    }
}

#[test]
fn bytes_behind_the_hello_are_kept_for_replay() {
    let hello = hello(&[sni(b"a.test")]);
    let early = [hello.as_slice(), &[0x14, 3, 3, 0, 1, 1]].concat();
    let info = parse(&early).unwrap().unwrap();
    assert_eq!(info.raw, early);
}

#[test]
fn encrypted_client_hello_is_noticed_whether_real_or_grease() {
    // Outer: HKDF and AEAD ids, config id, encapsulated key, payload (RFC 9849 5).
    let outer = [
        &[0, 0, 1, 0, 1, 9],
        vec16(&[5; 32]).as_slice(),
        vec16(&[6; 160]).as_slice(),
    ]
    .concat();
    let info = parse(&hello(&[sni(b"allowed.test"), ext(0xfe0d, &outer)]))
        .unwrap()
        .unwrap();
    assert!(info.ech);
    assert_eq!(info.sni, named("allowed.test"));
}

#[test]
fn what_is_no_outer_encrypted_client_hello_is_refused() {
    let suite = [0_u8, 1, 0, 1, 9];
    let rows: &[(&str, Vec<u8>)] = &[
        ("an empty one", Vec::new()),
        (
            "the inner form, which belongs into the encrypted part",
            vec![1],
        ),
        ("an unknown form", vec![2]),
        (
            "one that is cut",
            [&[0][..], &suite, &vec16(&[5; 32])].concat(),
        ),
        (
            "no payload",
            [&[0][..], &suite, &vec16(&[5; 32]), &vec16(&[])].concat(),
        ),
        (
            "bytes behind the payload",
            [&[0][..], &suite, &vec16(&[5; 32]), &vec16(&[6; 99]), &[0]].concat(),
        ),
    ];
    for (name, data) in rows {
        let error = parse(&hello(&[sni(b"allowed.test"), ext(0xfe0d, data)])).unwrap_err();
        // By us: the TLS library need not know this extension.
        let ours = |why: &str| why.contains("not one of an outer hello");
        assert!(
            matches!(&error, HelloError::Invalid(why) if ours(why)),
            "{name}: {error}"
        );
    }
}

#[test]
fn grease_and_unknown_extensions_are_let_be() {
    let grease = hello(&[
        ext(0x0a0a, &[]),
        sni(b"a.test"),
        ext(43, &vec8(&[0x1a, 0x1a, 3, 4, 3, 3])),
        ext(0xfafa, &[0]),
    ]);
    // TLS 1.3 needs more than this hello has, but that is for the handshake to say.
    let info = parse(&grease).unwrap().unwrap();
    assert_eq!(info.versions, [0x1a1a, 0x0304, 0x0303]);
    assert_eq!(info.sni, named("a.test"));
}

#[test]
fn what_is_not_tls_is_known_by_its_first_bytes() {
    for (row, bytes) in [
        ("ssh banner", b"SSH-2.0-OpenSSH_9.2\r\n".as_slice()),
        ("plain http", b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("http/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("smtp", b"EHLO x\r\n"),
        (
            "sslv2 hello",
            b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
        ),
        ("tls alert", b"\x15\x03\x01\x00\x02\x02\x28"),
        ("tls application data", b"\x17\x03\x03\x00\x01x"),
        ("handshake type, no tls version", b"\x16\x02\x01\x00\x05"),
        ("zeros", &[0; 64]),
        ("one byte of ssh", b"S"),
        ("two bytes", b"\x16G"),
    ] {
        assert!(
            matches!(parse(bytes), Err(HelloError::NotTls)),
            "{row}: {:?}",
            parse(bytes)
        );
    }
}

#[test]
fn a_hello_that_two_parsers_could_read_differently_is_refused() {
    let ok = message(&body(&[sni(b"a.test")]));
    let twice = [sni_entry(0, b"a.test"), sni_entry(0, b"b.test")].concat();
    let typed = [sni_entry(0, b"a.test"), sni_entry(1, b"x")].concat();
    let truncated = |by: usize| {
        let whole = body(&[sni(b"a.test")]);
        record(&message(whole.get(..whole.len() - by).unwrap()))
    };
    for (row, bytes) in [
        (
            "server name extension twice",
            hello(&[sni(b"a.test"), sni(b"b.test")]),
        ),
        (
            "the same server name twice",
            hello(&[sni(b"a.test"), sni(b"a.test")]),
        ),
        (
            "any extension twice",
            hello(&[sni(b"a.test"), ext(0x1234, &[]), ext(0x1234, &[])]),
        ),
        (
            "two names in one extension",
            hello(&[ext(0, &vec16(&twice))]),
        ),
        (
            "a second name of another type",
            hello(&[ext(0, &vec16(&typed))]),
        ),
        (
            "only a name of another type",
            hello(&[ext(0, &vec16(&sni_entry(1, b"a.test")))]),
        ),
        ("empty list", hello(&[ext(0, &vec16(&[]))])),
        ("empty extension, as servers send", hello(&[ext(0, &[])])),
        ("empty name", hello(&[sni(b"")])),
        (
            "bytes behind the list",
            hello(&[ext(0, &[vec16(&sni_entry(0, b"a.test")), vec![0]].concat())]),
        ),
        ("IPv4 literal", hello(&[sni(b"127.0.0.1")])),
        ("IPv6 literal", hello(&[sni(b"::1")])),
        ("IPv6 literal in brackets", hello(&[sni(b"[::1]")])),
        ("NUL in the name", hello(&[sni(b"a.test\0.evil.test")])),
        ("space in the name", hello(&[sni(b"a.test b")])),
        ("line break in the name", hello(&[sni(b"a.test\r\n")])),
        (
            "8-bit bytes in the name",
            hello(&[sni("ä.test".as_bytes())]),
        ),
        ("port in the name", hello(&[sni(b"a.test:443")])),
        ("userinfo in the name", hello(&[sni(b"a.test@evil.test")])),
        ("percent encoding in the name", hello(&[sni(b"a%2etest")])),
        ("wildcard as name", hello(&[sni(b"*.a.test")])),
        ("two final dots", hello(&[sni(b"a.test..")])),
        (
            "label longer than 63",
            hello(&[sni(format!("{}.test", "a".repeat(64)).as_bytes())]),
        ),
        (
            "name longer than 253",
            hello(&[sni("a.".repeat(130).as_bytes())]),
        ),
        ("empty alpn list", hello(&[ext(16, &vec16(&[]))])),
        ("empty alpn protocol", hello(&[ext(16, &vec16(&vec8(b"")))])),
        ("odd version list", hello(&[ext(43, &vec8(&[3, 4, 3]))])),
        ("message cut by one", truncated(1)),
        ("message cut by ten", truncated(10)),
        (
            "a server hello first",
            record(&[&[2], ok.get(1..).unwrap()].concat()),
        ),
        (
            "another message in the same record",
            record(&[ok.as_slice(), &[11, 0, 0, 0]].concat()),
        ),
        (
            "empty record before the rest",
            [record(&ok[..9]), record(&[]), record(&ok[9..])].concat(),
        ),
        (
            "an alert between the records",
            [record(&ok[..9]), b"\x15\x03\x01\x00\x02\x02\x28".to_vec()].concat(),
        ),
        (
            "wrong version in the second record",
            [record(&ok[..9]), b"\x16\x02".to_vec()].concat(),
        ),
        ("record longer than allowed", [0x16, 3, 1, 0x40, 1].to_vec()),
    ] {
        let got = parse(&bytes);
        assert!(matches!(got, Err(HelloError::Invalid(_))), "{row}: {got:?}");
    }
}

#[test]
fn a_refusal_says_why() {
    let two = [sni_entry(0, b"a.test"), sni_entry(0, b"b.test")].concat();
    let ok = message(&body(&[sni(b"a.test")]));
    for (bytes, why) in [
        (hello(&[sni(b"127.0.0.1")]), "server name is an address"),
        (hello(&[ext(0, &vec16(&two))]), "more than one server name"),
        (
            hello(&[ext(0, &vec16(&sni_entry(7, b"a")))]),
            "of an unknown type",
        ),
        (
            hello(&[sni(b"a.test"), sni(b"b.test")]),
            "extension 0 is sent twice",
        ),
        (
            record(&[ok.as_slice(), &[11, 0, 0, 0]].concat()),
            "bytes follow the hello",
        ),
        (record(&[2, 0, 0, 0]), "not a client hello"),
    ] {
        let said = parse(&bytes).unwrap_err().to_string();
        assert!(said.contains(why), "{said}");
    }
    // What only the tls library notices comes through in its words.
    let unsigned = body(&[]).len() - signature_algorithms().len();
    let mut bare = body(&[]).get(..unsigned - 2).unwrap().to_vec();
    bare.extend([0, 0]);
    let said = parse(&record(&message(&bare))).unwrap_err().to_string();
    assert!(
        said.contains("SignatureAlgorithmsExtensionRequired"),
        "{said}"
    );
}

#[test]
fn a_parser_that_answered_or_failed_is_used_up() {
    let mut done = HelloParser::new(MAX_CLIENT_HELLO);
    assert!(done.push(&hello(&[])).unwrap().is_some());
    assert!(done.push(&hello(&[])).is_err());
    let mut failed = HelloParser::new(MAX_CLIENT_HELLO);
    assert!(failed.push(b"SSH").is_err());
    assert!(failed.push(&hello(&[])).is_err());
}

#[test]
fn no_bytes_make_it_panic_and_every_prefix_asks_for_more() {
    let good = rustls_hello("a.test", &[b"http/1.1"], true);
    for end in 0..good.len() {
        let got = parse(good.get(..end).unwrap());
        assert!(matches!(got, Ok(None)), "prefix of {end}: {got:?}");
    }
    let mut x = 0x9E37_79B9_7F4A_7C15_u64;
    for round in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..=round % 4 {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            let at = usize::try_from(x >> 8).unwrap_or(0) % bytes.len();
            if let Some(b) = bytes.get_mut(at) {
                *b = x.to_le_bytes()[0];
            }
        }
        if let Ok(Some(info)) = parse(&bytes) {
            assert!(info.sni.is_none_or(|h| h.as_name().is_some()));
        }
    }
}

#[tokio::test]
async fn a_stream_is_read_to_the_end_of_the_hello_byte_by_byte() {
    let raw = rustls_hello("a.test", &[b"http/1.1"], true);
    let (mut ours, mut theirs) = tokio::io::duplex(1);
    let sent = raw.clone();
    tokio::spawn(async move {
        theirs.write_all(&sent).await.unwrap();
        std::future::pending::<()>().await;
    });
    let info = read_client_hello(&mut ours, MAX_CLIENT_HELLO)
        .await
        .unwrap();
    assert_eq!(info.raw, raw);
    assert_eq!(info.sni, named("a.test"));
}

#[tokio::test]
async fn a_stream_that_ends_stalls_or_fails_is_an_error() {
    let raw = rustls_hello("a.test", &[], true);
    for end in [0, 1, 5, 40, raw.len() - 1] {
        let mut cut = raw.get(..end).unwrap();
        let got = read_client_hello(&mut cut, MAX_CLIENT_HELLO).await;
        assert!(matches!(got, Err(HelloError::Eof)), "{end}: {got:?}");
    }

    let (mut ours, mut theirs) = tokio::io::duplex(64);
    theirs.write_all(raw.get(..20).unwrap()).await.unwrap();
    let limit = Duration::from_millis(20);
    let got = read_with_timeout(&mut ours, MAX_CLIENT_HELLO, limit).await;
    assert!(
        matches!(got, Err(HelloError::Timeout(t)) if t == limit),
        "{got:?}"
    );

    let mut failing = reset_stream();
    let got = read_client_hello(&mut failing, MAX_CLIENT_HELLO).await;
    assert!(matches!(got, Err(HelloError::Io(_))), "{got:?}");
}

/// A stream whose peer reset the connection.
fn reset_stream() -> impl AsyncRead + Unpin {
    struct Reset;
    impl AsyncRead for Reset {
        fn poll_read(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::task::Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }
    }
    Reset
}
