//! One text, every entry: the host that each of them reads, and the string that is sent for it.

use airlock::{
    listener::head::{self, Head, Target},
    net::{Authority, Host, Port},
    tls::{HelloParser, client_hello::MAX_CLIENT_HELLO},
};
use bytes::BytesMut;
use rustls::pki_types::ServerName;

/// A port that no entry implies, so that it has to be said and kept.
const PORT: u16 = 8080;

/// The one host that the entries read out of `text`; `None` where all of them refuse it.
///
/// Panics when two entries read two hosts, or when what is sent is not what was judged.
pub fn reading(text: &str) -> Option<Host> {
    let readings = [
        ("a host by itself", Host::parse(text).ok()),
        ("an authority", authority(text)),
        ("an absolute URI", absolute(text)),
        ("a CONNECT target", connect(text)),
        ("a Host header", host_header(text)),
        ("an SNI", sni(text)),
    ];
    let mut taken = readings
        .iter()
        .filter_map(|(entry, host)| Some((*entry, host.as_ref()?)));
    let (first, host) = taken.next()?;
    for (entry, other) in taken {
        assert_eq!(host, other, "{first} and {entry} differ for {text:?}");
    }
    assert_sent(host);
    Some(host.clone())
}

fn authority(text: &str) -> Option<Host> {
    let found = Authority::parse(&format!("{text}:{PORT}"), None).ok()?;
    assert_eq!(found.port.number(), PORT, "{text:?}");
    Some(found.host)
}

/// As `listener::http` reads a connection: the head ends at the first blank line.
pub fn parsed(bytes: &[u8]) -> Option<Head> {
    let end = head::head_end(bytes, 0)?;
    head::parse(&bytes[..end], Port::HTTP).ok()
}

/// The judged authority, after the line has been rewritten for the upstream and read by another
/// parser.
fn absolute(text: &str) -> Option<Host> {
    let bytes = format!("GET http://{text}:{PORT}/x HTTP/1.1\r\nHost: {text}:{PORT}\r\n\r\n");
    let head = parsed(bytes.as_bytes())?;
    let Target::Absolute { authority, path } = head.target.clone() else {
        panic!("{text:?} became {:?}", head.target);
    };
    // `listener::judge` refuses what differs.
    if head.host.as_ref() != Some(&authority) {
        return None;
    }
    let mut sent = BytesMut::from(bytes.as_bytes());
    head::rewrite_to_origin(&mut sent, &head, &path, &authority, Port::HTTP);
    let mut headers = [httparse::EMPTY_HEADER; 8];
    let mut theirs = httparse::Request::new(&mut headers);
    theirs.parse(&sent).expect("another parser takes it");
    assert_eq!(theirs.path, Some(path.as_str()), "{text:?}");
    let hosts: Vec<_> = theirs.headers.iter().map(|h| (h.name, h.value)).collect();
    assert_eq!(
        hosts,
        [("Host", authority.to_string().as_bytes())],
        "{text:?}"
    );
    Some(authority.host)
}

fn connect(text: &str) -> Option<Host> {
    let bytes = format!("CONNECT {text}:{PORT} HTTP/1.1\r\nHost: {text}:{PORT}\r\n\r\n");
    match parsed(bytes.as_bytes())?.target {
        Target::Authority(authority) => Some(authority.host),
        other => panic!("{text:?} became {other:?}"),
    }
}

fn host_header(text: &str) -> Option<Host> {
    let bytes = format!("GET / HTTP/1.1\r\nHost: {text}\r\n\r\n");
    parsed(bytes.as_bytes())?.host.map(|a| a.host)
}

fn sni(text: &str) -> Option<Host> {
    let hello = hello(text.as_bytes())?;
    let info = HelloParser::new(MAX_CLIENT_HELLO).push(&hello).ok()??;
    info.sni
}

/// The canonical form says the same to everything that gets it: ourselves, a URL parser, the
/// resolver (which must not take a name for an address) and the TLS library.
fn assert_sent(host: &Host) {
    let authority = Authority::new(host.clone(), Port::HTTPS);
    let text = authority.to_string();
    assert_eq!(Authority::parse(&text, None), Ok(authority), "{text}");
    let uri: http::Uri = format!("http://{text}/").parse().expect("a URL");
    let theirs = uri.host().expect("a host").trim_matches(['[', ']']);
    assert_eq!(theirs, host.to_string());
    assert_eq!(uri.port_u16(), Some(443), "{text}");
    match host {
        Host::Name(name) => {
            assert!(
                name.parse::<std::net::IpAddr>().is_err(),
                "{name} is an address"
            );
            let server = ServerName::try_from(&**name).expect("a server name");
            assert_eq!(server.to_str(), **name);
        }
        Host::Ip(ip) => {
            let server = ServerName::try_from(ip.to_string()).expect("a server name");
            assert_eq!(server, ServerName::IpAddress((*ip).into()));
        }
    }
}

fn vec8(data: &[u8]) -> Option<Vec<u8>> {
    Some([&[u8::try_from(data.len()).ok()?], data].concat())
}

fn vec16(data: &[u8]) -> Option<Vec<u8>> {
    Some([&u16::try_from(data.len()).ok()?.to_be_bytes(), data].concat())
}

/// A TLS 1.2 hello with this server name, byte for byte; `None` where it is too long for one.
pub fn hello(name: &[u8]) -> Option<Vec<u8>> {
    let entry = [&[0], &*vec16(name)?].concat();
    let server_name = [&[0, 0], &*vec16(&vec16(&entry)?)?].concat();
    let signatures = [&[0, 13], &*vec16(&vec16(&[4, 3])?)?].concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &vec8(b"")?,
        &vec16(&[0xc0, 0x2b])?,
        &vec8(&[0])?,
        &vec16(&[server_name, signatures].concat())?,
    ]
    .concat();
    let [_, length @ ..] = u32::try_from(body.len()).ok()?.to_be_bytes();
    let message = [&[1], &length[..], &body].concat();
    Some([&[0x16, 3, 1], &*vec16(&message)?].concat())
}

#[test]
fn a_plain_name_is_read_alike_by_every_entry() {
    let name = Host::parse("allowed.test").ok();
    for text in ["allowed.test", "ALLOWED.Test."] {
        assert_eq!(reading(text), name);
        for (entry, found) in [
            ("authority", authority(text)),
            ("absolute", absolute(text)),
            ("connect", connect(text)),
            ("host", host_header(text)),
            ("sni", sni(text)),
        ] {
            assert_eq!(found, name, "{entry}: {text}");
        }
    }
    assert_eq!(reading("[2001:DB8::1]"), Host::parse("2001:db8::1").ok());
    assert_eq!(reading("allowed.test@evil.test"), None);
}
