//! Groups 7 to 11: what stands around the host, and how long it may be.

use super::{Corpus, Expected, Lane, connect, plain};
use crate::{policy::Reason, selftest::hello::Hello};

pub fn add(corpus: &mut Corpus<'_>) {
    user_information(corpus);
    slashes(corpus);
    brackets(corpus);
    ports(corpus);
    lengths(corpus);
}

fn user_information(corpus: &mut Corpus<'_>) {
    corpus.group(7);
    let stranger = corpus.ground.stranger.clone();
    for name in corpus.ground.allowed() {
        for (sentence, host) in [
            ("an allowed name as the user", format!("{name}@{stranger}")),
            ("an allowed name as the host behind a user", format!("{stranger}@{name}")),
            ("two at signs", format!("{name}@{name}@{stranger}")),
            ("an at sign and nothing behind", format!("{name}@")),
            ("an at sign and nothing before", format!("@{name}")),
            ("an encoded at sign", format!("{name}%40{stranger}")),
            ("an at sign encoded twice", format!("{name}%2540{stranger}")),
            ("a full-width at sign in another's name", format!("{name}\u{ff20}{stranger}")),
        ] {
            corpus.ill(sentence, host);
        }
        for (sentence, host) in [
            ("user and password", format!("user:password@{name}")),
            ("an allowed name and port as the user", format!("{name}:80@{stranger}")),
            ("an empty password", format!("user:@{name}")),
            ("a colon and an at sign", format!(":@{name}")),
            ("a backslash before the at sign", format!("{stranger}\\@{name}")),
            ("a comma of two hosts", format!("{name},{stranger}")),
        ] {
            corpus.ill_authority(sentence, host.as_bytes(), format!("{host}:443").as_bytes());
        }
        for (sentence, url) in [
            ("a question mark before the at sign", format!("http://{stranger}?@{name}/")),
            ("a slash before the at sign", format!("http://{stranger}/@{name}/")),
        ] {
            let line = format!("GET {url} HTTP/1.1\r\nHost: {name}\r\n\r\n");
            corpus.raw(Lane::ExplicitPlain, sentence, line, &[Reason::AuthorityMismatch]);
        }
        let line = format!("GET http://{stranger}#@{name}/ HTTP/1.1\r\nHost: {name}\r\n\r\n");
        corpus.raw(Lane::ExplicitPlain, "a hash before the at sign", line, &[Reason::MalformedRequest]);
    }
}

fn slashes(corpus: &mut Corpus<'_>) {
    corpus.group(8);
    let stranger = corpus.ground.stranger.clone();
    let Some(name) = corpus.ground.allowed().first().map(ToString::to_string) else {
        return;
    };
    for (sentence, target, reason) in [
        ("backslashes for slashes", format!("http:\\\\{stranger}\\@{name}/"), Reason::MalformedRequest),
        ("a slash and a backslash", format!("http:/\\{stranger}/"), Reason::MalformedRequest),
        ("a backslash behind the host", format!("http://{name}\\.{stranger}/"), Reason::BadAuthority),
        ("a backslash before the at sign", format!("http://{stranger}\\@{name}/"), Reason::BadAuthority),
        ("three slashes", format!("http:///{stranger}/"), Reason::BadAuthority),
        ("four slashes", format!("http:////{stranger}/"), Reason::BadAuthority),
        ("one slash", format!("http:/{stranger}/"), Reason::MalformedRequest),
        ("no slash", format!("http:{stranger}/"), Reason::MalformedRequest),
        ("no scheme", format!("{stranger}/"), Reason::MalformedRequest),
        ("another scheme", format!("ftp://{stranger}/"), Reason::MalformedRequest),
        ("a file", "file:///etc/passwd".into(), Reason::MalformedRequest),
        ("a scheme of a gopher", format!("gopher://{stranger}:6379/_x"), Reason::MalformedRequest),
        ("a WebSocket's scheme", format!("ws://{stranger}/"), Reason::MalformedRequest),
        ("TLS in the clear", format!("https://{stranger}/"), Reason::MalformedRequest),
        ("a scheme twice", format!("http://http://{stranger}/"), Reason::BadAuthority),
        ("a scheme-relative URL", format!("//{stranger}/"), Reason::WrongEntry),
        ("a path", "/".into(), Reason::WrongEntry),
        ("a tab in the scheme", format!("ht\ttp://{stranger}/"), Reason::MalformedRequest),
        ("a query and no host", "http://?x".into(), Reason::BadAuthority),
        ("a colon and no host", "http://:80/".into(), Reason::BadAuthority),
    ] {
        let line = format!("GET {target} HTTP/1.1\r\nHost: {name}\r\n\r\n");
        corpus.raw(Lane::ExplicitPlain, sentence, line, &[reason]);
    }
    for (sentence, target) in [
        ("a URL with backslashes", format!("http:\\\\{stranger}:443")),
        ("two backslashes first", format!("\\\\{stranger}:443")),
        ("two slashes first", format!("//{stranger}:443")),
        ("a slash behind the host", format!("{stranger}/:443")),
        ("a slash behind the port", format!("{stranger}:443/")),
        ("a backslash and an at sign", format!("{name}:443\\@{stranger}:443")),
        ("a query behind the port", format!("{name}:443?{stranger}:443")),
        ("a hash behind the port", format!("{name}:443#{stranger}:443")),
    ] {
        corpus.raw(Lane::ConnectTunnel, sentence, connect(&target), &[Reason::BadAuthority]);
    }
    for (sentence, target) in [
        ("a backslash for the path", format!("\\{stranger}")),
        ("a URL with backslashes", format!("http:\\\\{stranger}\\")),
        ("no slash before the path", stranger.clone()),
        ("a hash in the path", format!("/#@{stranger}")),
    ] {
        let template = format!("GET {target} HTTP/1.1\r\nHost: {{host}}\r\n\r\n");
        let lanes: Vec<Lane> = Lane::REQUESTS.into_iter().filter(|l| *l != Lane::ExplicitPlain).collect();
        corpus.heads(sentence, template, &lanes, Expected::Refused(vec![Reason::MalformedRequest]));
    }
    for (sentence, host) in [
        ("a backslash behind the host", format!("{name}\\{stranger}")),
        ("a backslash first", format!("\\{name}")),
        ("a slash inside", format!("{name}/{stranger}")),
        ("a question mark inside", format!("{name}?{stranger}")),
        ("a hash inside", format!("{name}#{stranger}")),
        ("a whole URL", format!("http://{name}/")),
    ] {
        corpus.ill_host_header(&format!("{sentence}, in Host"), host.as_bytes());
        let hello = Hello::named(&host).bytes();
        corpus.raw(Lane::TransparentTls, &format!("{sentence}, as the server name"), hello, &[Reason::ClientHelloInvalid]);
    }
}

fn brackets(corpus: &mut Corpus<'_>) {
    corpus.group(9);
    let name = corpus.ground.allowed().first().map_or("a.test", |n| n).to_owned();
    for (sentence, host) in [
        ("a name in brackets", format!("[{name}]")),
        ("a zone id, encoded", "[fe80::1%25eth0]".into()),
        ("a zone id", "[fe80::1%eth0]".into()),
        ("a numeric zone id", "[fe80::1%252]".into()),
        ("a zone id on loopback", "[::1%25lo]".into()),
        ("a name as a zone id", format!("[::1%25{name}]")),
        ("an open bracket", "[::1".into()),
        ("a closing bracket alone", "::1]".into()),
        ("brackets twice", "[[::1]]".into()),
        ("something behind the bracket", "[::1]x".into()),
        ("a name behind the bracket", format!("[::1].{name}")),
        ("something before the bracket", "x[::1]".into()),
        ("empty brackets", "[]".into()),
        ("IPv4 in brackets", "[192.0.2.1]".into()),
        ("an address of a future version", "[v1.fe80]".into()),
        ("nine groups", "[1:2:3:4:5:6:7:8:9]".into()),
        ("two double colons", "[1::2::3]".into()),
        ("five digits", "[12345::1]".into()),
        ("a colon alone", "[:]".into()),
        ("a space in brackets", "[ ::1]".into()),
        ("IPv6 without brackets", "2001:db8::1".into()),
        ("loopback without brackets", "::1".into()),
    ] {
        corpus.ill_authority(sentence, host.as_bytes(), format!("{host}:443").as_bytes());
        let hello = Hello::named(&host).bytes();
        corpus.raw(Lane::TransparentTls, &format!("{sentence}, as the server name"), hello, &[Reason::ClientHelloInvalid]);
    }
}

fn ports(corpus: &mut Corpus<'_>) {
    corpus.group(10);
    let stranger = corpus.ground.stranger.clone();
    let name = corpus.ground.allowed().first().map_or("a.test", |n| n).to_owned();
    corpus.raw(Lane::ConnectTunnel, "no port", connect(&name), &[Reason::BadAuthority]);
    for (what, port) in [
        ("an empty port", ""), ("port 0", "0"), ("port 00", "00"), ("port 65536", "65536"),
        ("port 65979, which is 443 in 16 bits", "65979"), ("port 4294967739", "4294967739"),
        ("a signed port", "+443"), ("a negative port", "-443"), ("a leading zero", "0443"),
        ("a hexadecimal port", "0x1bb"), ("letters behind the port", "443a"),
        ("two ports", "443:443"), ("two ports with a comma", "443,80"), ("a port by name", "https"),
        ("a fraction", "443.0"), ("an exponent", "4e2"), ("an encoded digit", "44%33"),
        ("a path parameter", "443;x"), ("a port and an at sign", "443@x"),
        ("a port in brackets", "[443]"),
    ] {
        for host in [&name, &stranger] {
            let text = format!("{host}:{port}");
            let sentence = if *host == name {
                format!("{what} of an allowed name")
            } else {
                what.to_owned()
            };
            corpus.ill_authority(&sentence, text.as_bytes(), text.as_bytes());
        }
    }
    for (what, port) in [("a space before the port", " 443"), ("a full-width digit", "\u{ff14}43"), ("a NUL behind the port", "443\0")] {
        let text = format!("{name}:{port}");
        let line = format!("CONNECT {text} HTTP/1.1\r\nHost: {name}:443\r\n\r\n");
        corpus.raw(Lane::ConnectTunnel, what, line, &[Reason::MalformedRequest]);
        let line = format!("GET http://{text}/ HTTP/1.1\r\nHost: {name}\r\n\r\n");
        corpus.raw(Lane::ExplicitPlain, what, line, &[Reason::MalformedRequest]);
        corpus.ill_host_header(what, text.as_bytes());
    }
    let hello = Hello::named(format!("{name}:443")).bytes();
    corpus.raw(Lane::TransparentTls, "a port in the server name", hello, &[Reason::ClientHelloInvalid]);
}

fn lengths(corpus: &mut Corpus<'_>) {
    corpus.group(11);
    let stranger = corpus.ground.stranger.clone();
    let label = |n: usize| "a".repeat(n);
    let name_of = |length: usize| {
        let mut out = String::new();
        while out.len() + 64 + stranger.len() < length {
            out.push_str(&label(62));
            out.push('.');
        }
        let left = length - out.len() - stranger.len() - 1;
        format!("{out}{}.{stranger}", label(left))
    };
    for (sentence, host) in [
        ("a label of 63 bytes is one that no rule has", format!("{}.{stranger}", label(63))),
        ("a name of 253 bytes is one that no rule has", name_of(253)),
        ("a name below localhost", "evil.localhost".into()),
        ("an underscore inside is a name that no rule has", format!("a_b.{stranger}")),
        ("two hyphens inside", format!("a--b.{stranger}")),
        ("a label of digits", format!("123.{stranger}")),
        ("a single label", "evil".into()),
        ("localhost", "localhost".into()),
    ] {
        corpus.foreign(sentence, &host);
    }
    for (sentence, host) in [
        ("a label of 64 bytes", format!("{}.{stranger}", label(64))),
        ("a label of 255 bytes", format!("{}.{stranger}", label(255))),
        ("a name of 254 bytes", name_of(254)),
        ("a name of 1000 bytes", name_of(1000)),
        ("a name of 2000 bytes", name_of(2000)),
        ("200 labels", format!("{}{stranger}", "a.".repeat(200))),
        ("a hyphen first", format!("-a.{stranger}")),
        ("a hyphen last", format!("a-.{stranger}")),
        ("a hyphen alone", format!("-.{stranger}")),
        ("an underscore first", format!("_a.{stranger}")),
        ("an underscore last", format!("a_.{stranger}")),
        ("a hyphen before the top", "evil-.test".into()),
        ("an empty label", format!("a..{stranger}")),
        ("a wildcard", format!("*.{stranger}")),
    ] {
        corpus.ill(sentence, host);
    }
    let long = format!("{}.{stranger}", "a".repeat(20_000));
    for (lane, bytes) in [
        (Lane::ExplicitPlain, plain(&long)),
        (Lane::ConnectTunnel, connect(&format!("{long}:443"))),
    ] {
        corpus.raw(lane, "a host of 20 000 bytes", bytes, &[Reason::HeadTooLarge]);
    }
}
