//! Groups 21 to 28: CONNECT.

use super::{Corpus, Expected, Lane, Opening, Step, connect};
use crate::{
    net::{Authority, Port},
    policy::Reason,
    selftest::hello::Hello,
};

pub fn add(corpus: &mut Corpus<'_>) {
    other_ports(corpus);
    two_targets(corpus);
    bodies(corpus);
    forms(corpus);
    pipelined(corpus);
    not_tls(corpus);
    steering(corpus);
    extended(corpus);
}

const PORTS: [(&str, u16); 24] = [
    ("tcpmux", 1), ("FTP", 21), ("SSH", 22), ("Telnet", 23), ("SMTP", 25), ("DNS", 53), ("POP3", 110),
    ("NTP", 123), ("IMAP", 143), ("SMB", 445), ("submission over TLS", 465), ("syslog", 514),
    ("DNS over TLS", 853), ("Docker", 2375), ("MySQL", 3306), ("PostgreSQL", 5432), ("VNC", 5900),
    ("Redis", 6379), ("IRC", 6667), ("another HTTP port", 8080), ("another HTTPS port", 8443), ("Elasticsearch", 9200),
    ("memcached", 11211), ("the last port", 65535),
];

fn other_ports(corpus: &mut Corpus<'_>) {
    corpus.group(21);
    let ground = corpus.ground;
    for (what, port) in PORTS {
        for name in ground.allowed() {
            let authority = format!("{name}:{port}");
            let destination = Authority::parse(&authority, None).ok();
            let sentence = format!("an allowed name on {what}, port {port}");
            for (lane, bytes) in [
                (Lane::ConnectTunnel, connect(&authority)),
                (Lane::ExplicitPlain, super::plain(&authority)),
                (Lane::TransparentHttp, super::origin(&authority)),
            ] {
                let expected = corpus.by_rule(Reason::HostKnownRequestNot);
                let steps = vec![Step::Send(bytes)];
                let case = corpus.push(lane, &sentence, Opening::Direct, steps, expected);
                case.destination = destination.clone();
            }
        }
        if let Some(place) = &ground.answered {
            let host = format!("{}:{port}", place.host);
            let sentence = format!("the Host with {what}, port {port}");
            corpus.contradiction(&sentence, host.as_bytes(), Reason::AuthorityMismatch, false);
        }
    }
}

fn two_targets(corpus: &mut Corpus<'_>) {
    corpus.group(22);
    let stranger = corpus.ground.stranger.clone();
    let Some(name) = corpus.ground.answered.as_ref().map(|p| p.host.clone()) else {
        return;
    };
    for (sentence, target, lines, reason) in [
        ("a Host that is another", format!("{name}:443"), format!("Host: {stranger}:443"), Reason::AuthorityMismatch),
        ("an allowed Host and another target", format!("{stranger}:443"), format!("Host: {name}:443"), Reason::AuthorityMismatch),
        ("a Host without a port that is another", format!("{name}:443"), format!("Host: {stranger}"), Reason::AuthorityMismatch),
        ("a Host with another port", format!("{name}:443"), format!("Host: {name}:80"), Reason::AuthorityMismatch),
        ("a Host below the target", format!("{name}:443"), format!("Host: a.{name}:443"), Reason::AuthorityMismatch),
        ("an address as Host", format!("{name}:443"), "Host: 127.0.0.1:443".into(), Reason::AuthorityMismatch),
        ("two Hosts, the second another", format!("{name}:443"), format!("Host: {name}:443\r\nHost: {stranger}:443"), Reason::MalformedRequest),
        ("two Hosts, the first another", format!("{name}:443"), format!("Host: {stranger}:443\r\nHost: {name}:443"), Reason::MalformedRequest),
        ("the same Host twice", format!("{name}:443"), format!("Host: {name}:443\r\nHost: {name}:443"), Reason::MalformedRequest),
        ("two Hosts in one line", format!("{name}:443"), format!("Host: {name}:443, {stranger}:443"), Reason::BadAuthority),
        ("an empty Host", format!("{name}:443"), "Host:".into(), Reason::BadAuthority),
        ("a Host with a space before the colon", format!("{name}:443"), format!("Host : {stranger}:443"), Reason::MalformedRequest),
        ("a folded Host", format!("{name}:443"), format!("Host: {name}:443\r\n {stranger}:443"), Reason::MalformedRequest),
        ("no Host", format!("{name}:443"), "X: y".into(), Reason::MalformedRequest),
        ("user information in Host", format!("{name}:443"), format!("Host: x@{name}:443"), Reason::BadAuthority),
        ("a URL as Host", format!("{name}:443"), format!("Host: https://{name}/"), Reason::BadAuthority),
    ] {
        let bytes = format!("CONNECT {target} HTTP/1.1\r\n{lines}\r\n\r\n");
        corpus.raw(Lane::ConnectTunnel, sentence, bytes, &[reason]);
    }
}

fn bodies(corpus: &mut Corpus<'_>) {
    corpus.group(23);
    let stranger = corpus.ground.stranger.clone();
    let Some(name) = corpus.ground.answered.as_ref().map(|p| p.host.clone()) else {
        return;
    };
    for (sentence, lines, body) in [
        ("a length", "Content-Length: 3\r\n", "abc"),
        ("a length and no body", "Content-Length: 3\r\n", ""),
        ("chunks", "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        ("an unknown encoding", "Transfer-Encoding: gzip\r\n", ""),
        ("a length and chunks", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("two lengths of zero", "Content-Length: 0\r\nContent-Length: 0\r\n", ""),
        ("a length that is no number", "Content-Length: x\r\n", ""),
    ] {
        for host in [&name, &stranger] {
            let sentence = if *host == name { format!("{sentence}, to an allowed name") } else { sentence.to_owned() };
            let bytes = format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n{lines}\r\n{body}");
            corpus.raw(Lane::ConnectTunnel, &sentence, bytes, &[Reason::AmbiguousFraming]);
        }
    }
    let hello = Hello::named(&stranger).bytes();
    for (sentence, early) in [
        ("a ClientHello before the verdict", hello),
        ("a request before the verdict", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("64 KiB before the verdict", vec![b'a'; 64 << 10]),
    ] {
        let bytes = [connect(&format!("{stranger}:443")), early].concat();
        let expected = corpus.by_rule(Reason::NoRuleMatched);
        let case = corpus.push(Lane::ConnectTunnel, sentence, Opening::Direct, vec![Step::Send(bytes)], expected);
        case.destination = Authority::parse(&stranger, Some(Port::HTTPS)).ok();
    }
}

fn forms(corpus: &mut Corpus<'_>) {
    corpus.group(24);
    let name = corpus.ground.allowed().first().map_or("a.test", |n| n).to_owned();
    let good = format!("{name}:443");
    for (sentence, line, reason) in [
        ("absolute form", format!("CONNECT http://{good}/ HTTP/1.1"), Reason::BadAuthority),
        ("absolute form over TLS", format!("CONNECT https://{good}/ HTTP/1.1"), Reason::BadAuthority),
        ("origin form", "CONNECT / HTTP/1.1".into(), Reason::BadAuthority),
        ("asterisk form", "CONNECT * HTTP/1.1".into(), Reason::BadAuthority),
        ("a path behind the port", format!("CONNECT {good}/ HTTP/1.1"), Reason::BadAuthority),
        ("a lower-case method", format!("connect {good} HTTP/1.1"), Reason::MalformedRequest),
        ("a method in mixed case", format!("Connect {good} HTTP/1.1"), Reason::MalformedRequest),
        ("two spaces before the target", format!("CONNECT  {good} HTTP/1.1"), Reason::MalformedRequest),
        ("two spaces behind the target", format!("CONNECT {good}  HTTP/1.1"), Reason::MalformedRequest),
        ("a tab for a space", format!("CONNECT\t{good} HTTP/1.1"), Reason::MalformedRequest),
        ("a tab behind the target", format!("CONNECT {good}\tHTTP/1.1"), Reason::MalformedRequest),
        ("a space first", format!(" CONNECT {good} HTTP/1.1"), Reason::MalformedRequest),
        ("a space last", format!("CONNECT {good} HTTP/1.1 "), Reason::MalformedRequest),
        ("no target", "CONNECT HTTP/1.1".into(), Reason::MalformedRequest),
        ("an empty target", "CONNECT  HTTP/1.1".into(), Reason::MalformedRequest),
        ("two targets", format!("CONNECT {good} evil.test:443 HTTP/1.1"), Reason::MalformedRequest),
        ("no version", format!("CONNECT {good}"), Reason::MalformedRequest),
        ("version 0.9", format!("CONNECT {good} HTTP/0.9"), Reason::MalformedRequest),
        ("version 1.2", format!("CONNECT {good} HTTP/1.2"), Reason::MalformedRequest),
        ("version 2.0", format!("CONNECT {good} HTTP/2.0"), Reason::MalformedRequest),
        ("a lower-case version", format!("CONNECT {good} http/1.1"), Reason::MalformedRequest),
        ("a version with more digits", format!("CONNECT {good} HTTP/1.10"), Reason::MalformedRequest),
        ("a method that only begins so", format!("CONNECTX {good} HTTP/1.1"), Reason::MalformedRequest),
        ("an empty line first", format!("\r\nCONNECT {good} HTTP/1.1"), Reason::MalformedRequest),
        ("a NUL in the method", format!("CONN\0ECT {good} HTTP/1.1"), Reason::MalformedRequest),
    ] {
        let bytes = format!("{line}\r\nHost: {good}\r\n\r\n");
        corpus.raw(Lane::ConnectTunnel, sentence, bytes, &[reason]);
    }
    let bare = format!("CONNECT {good} HTTP/1.1\nHost: {good}\n\n");
    corpus.raw(Lane::ConnectTunnel, "bare line feeds", bare, &[Reason::MalformedRequest]);
    let bare = format!("CONNECT {good} HTTP/1.1\rHost: {good}\r\r\n\r\n");
    corpus.raw(Lane::ConnectTunnel, "bare carriage returns", bare, &[Reason::MalformedRequest]);
    let hello = Hello::named(&name).bytes();
    corpus.raw(Lane::ConnectTunnel, "TLS to the proxy port", hello, &[Reason::MalformedRequest]);
}

fn pipelined(corpus: &mut Corpus<'_>) {
    corpus.group(25);
    let stranger = corpus.ground.stranger.clone();
    let closed = connect(&format!("{stranger}:443"));
    let destination = Authority::parse(&stranger, Some(Port::HTTPS)).ok();
    for (sentence, behind) in [
        ("a request behind a refused CONNECT", corpus.slots(Lane::ExplicitPlain).map(|s| s.fill(b"GET {to}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))),
        ("a CONNECT behind a refused CONNECT", corpus.ground.answered.as_ref().map(|p| connect(&format!("{}:443", p.host)))),
        ("two CONNECTs behind a refused CONNECT", Some([&*closed, &*closed].concat())),
    ] {
        let Some(behind) = behind else {
            continue;
        };
        let expected = corpus.by_rule(Reason::NoRuleMatched);
        let steps = vec![Step::Send([&*closed, &*behind].concat())];
        let case = corpus.push(Lane::ConnectTunnel, sentence, Opening::Direct, steps, expected);
        case.destination = destination.clone();
    }
    for (sentence, target) in [
        ("a CONNECT where none may be", format!("{stranger}:443")),
        ("a CONNECT to the same host", "{host}:443".to_owned()),
        ("a CONNECT to loopback", "127.0.0.1:22".to_owned()),
    ] {
        let lanes = [Lane::ConnectIntercepted, Lane::TransparentTls, Lane::TransparentHttp, Lane::Reverse];
        let template = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        corpus.heads(sentence, template, &lanes, Expected::Refused(vec![Reason::WrongEntry]));
    }
}

fn not_tls(corpus: &mut Corpus<'_>) {
    corpus.group(26);
    for (sentence, bytes) in [
        ("an SSH banner", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
        ("plain HTTP", b"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n".to_vec()),
        ("another CONNECT", b"CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n".to_vec()),
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("SMTP", b"EHLO evil.test\r\n".to_vec()),
        ("SOCKS 5", vec![5, 1, 0]),
        ("SOCKS 4", vec![4, 1, 0, 80, 127, 0, 0, 1, 0]),
        ("DNS over TCP", b"\x00\x1d\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04evil\x04test\x00\x00\x01\x00\x01".to_vec()),
        ("RDP", b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00".to_vec()),
        ("Redis", b"*1\r\n$4\r\nPING\r\n".to_vec()),
        ("zeros", vec![0; 64]),
        ("line feeds", vec![b'\n'; 64]),
        ("a WireGuard packet", vec![1, 0, 0, 0, 9, 9, 9, 9]),
        ("the PROXY protocol", b"PROXY TCP4 127.0.0.1 127.0.0.1 1 443\r\n".to_vec()),
        ("the PROXY protocol, version 2", b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c".to_vec()),
        ("an SSLv2 hello", b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80\x02\x00\x80".to_vec()),
        ("a TLS alert first", vec![0x15, 3, 3, 0, 2, 1, 0]),
        ("TLS data first", vec![0x17, 3, 3, 0, 5, 1, 2, 3, 4, 5]),
        ("a change of cipher first", vec![0x14, 3, 3, 0, 1, 1]),
        ("a handshake of TLS 4", vec![0x16, 4, 0, 0, 5, 1, 0, 0, 1, 0]),
        ("a handshake of SSL 2", vec![0x16, 2, 0, 0, 5, 1, 0, 0, 1, 0]),
    ] {
        let refused = Expected::Refused(vec![Reason::NotTls]);
        corpus.hello(sentence, &[bytes], &refused, &refused);
    }
    let server_hello = vec![0x16, 3, 3, 0, 6, 2, 0, 0, 2, 3, 3];
    let refused = Expected::Refused(vec![Reason::ClientHelloInvalid, Reason::NotTls]);
    corpus.hello("a ServerHello first", &[server_hello], &refused, &refused);
}

fn steering(corpus: &mut Corpus<'_>) {
    corpus.group(27);
    let stranger = corpus.ground.stranger.clone();
    let name = corpus.ground.allowed().first().map_or("a.test", |n| n).to_owned();
    let destination = Authority::parse(&stranger, Some(Port::HTTP)).ok();
    for line in [
        format!("X-Forwarded-Host: {name}"), format!("X-Host: {name}"), format!("X-Original-Host: {name}"),
        format!("Forwarded: host={name};proto=https"), format!("X-Forwarded-Server: {name}"),
        format!("X-Original-URL: http://{name}/"), format!("X-Rewrite-URL: http://{name}/"),
        "X-HTTP-Method-Override: GET".into(), "X-Forwarded-For: 127.0.0.1".into(), "X-Real-IP: 127.0.0.1".into(),
        "X-Forwarded-Proto: https".into(), "X-Forwarded-Port: 443".into(), format!("Proxy-Host: {name}"),
        "Proxy-Authorization: Basic YWlybG9jazphaXJsb2Nr".into(), "Proxy-Connection: keep-alive".into(),
        "Via: 1.1 airlock".into(), "CF-Connecting-IP: 127.0.0.1".into(), "True-Client-IP: 127.0.0.1".into(),
        format!("X-Forwarded-Scheme: http://{name}"), format!("Referer: http://{name}/"), format!("Origin: http://{name}"),
    ] {
        let what = line.split(':').next().unwrap_or_default().to_owned();
        let sentence = format!("{what} beside a host that no rule names");
        for (lane, head) in [
            (Lane::ExplicitPlain, format!("GET http://{stranger}/ HTTP/1.1\r\nHost: {stranger}\r\n")),
            (Lane::ConnectTunnel, format!("CONNECT {stranger}:443 HTTP/1.1\r\nHost: {stranger}:443\r\n")),
            (Lane::TransparentHttp, format!("GET / HTTP/1.1\r\nHost: {stranger}\r\n")),
        ] {
            let expected = corpus.by_rule(Reason::NoRuleMatched);
            let steps = vec![Step::Send(format!("{head}{line}\r\n\r\n").into_bytes())];
            let case = corpus.push(lane, &sentence, Opening::Direct, steps, expected);
            case.destination = destination.clone();
        }
    }
    // An allowed path named in a header allows no other.
    if let Some(place) = corpus.ground.limited.clone() {
        for header in ["X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Path", "X-Forwarded-Uri", "X-Forwarded-Prefix"] {
            let sentence = format!("an allowed path in {header}");
            let template = format!("{{method}} {{to}}/airlock-selftest HTTP/1.1\r\nHost: {{host}}\r\n{header}: {{path}}\r\n\r\n");
            corpus.of_place(&sentence, &template, &place, Reason::HostKnownRequestNot);
        }
    }
    if let Some(place) = corpus.ground.read_only.clone() {
        for header in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
            let sentence = format!("an allowed method in {header}");
            let template = format!("DELETE {{to}}{{path}} HTTP/1.1\r\nHost: {{host}}\r\n{header}: GET\r\n\r\n");
            corpus.of_place(&sentence, &template, &place, Reason::HostKnownRequestNot);
        }
    }
}

fn extended(corpus: &mut Corpus<'_>) {
    corpus.group(28);
    let upgrade = |protocol: &str, path: &str| {
        format!("GET {{to}}{path} HTTP/1.1\r\nHost: {{host}}\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\nCapsule-Protocol: ?1\r\n\r\n")
    };
    for (sentence, protocol, path) in [
        ("UDP through HTTP", "connect-udp", "/.well-known/masque/udp/evil.test/443/"),
        ("IP through HTTP", "connect-ip", "/.well-known/masque/ip/*/*/"),
        ("TCP through HTTP", "connect-tcp", "/.well-known/masque/tcp/evil.test/443/"),
        ("Ethernet through HTTP", "connect-ethernet", "/.well-known/masque/ethernet/"),
        ("WebTransport", "webtransport", "/"),
    ] {
        corpus.head(sentence, upgrade(protocol, path), Reason::UpgradeNotAllowed);
    }
    let stranger = corpus.ground.stranger.clone();
    for (sentence, head) in [
        ("a pseudo-header for the protocol", format!("CONNECT {stranger}:443 HTTP/1.1\r\nHost: {stranger}:443\r\n:protocol: websocket\r\n\r\n")),
        ("a pseudo-header for the authority", format!("CONNECT {stranger}:443 HTTP/1.1\r\n:authority: {stranger}:443\r\n\r\n")),
        ("a method of its own for UDP", format!("CONNECT-UDP {stranger}:443 HTTP/1.1\r\nHost: {stranger}:443\r\n\r\n")),
        ("a target with a scheme of its own", format!("CONNECT masque://{stranger}:443 HTTP/1.1\r\nHost: {stranger}:443\r\n\r\n")),
    ] {
        let reasons = [Reason::MalformedRequest, Reason::BadAuthority];
        corpus.raw(Lane::ConnectTunnel, sentence, head, &reasons);
    }
}
