//! Groups 1 to 11: the host as text.

use super::{Corpus, Expected, Lane, Opening, Step, connect, in_process, origin, plain};
use crate::{
    net::{Authority, Port},
    policy::Reason,
    selftest::hello::Hello,
};

pub fn add(corpus: &mut Corpus<'_>) {
    canonical(corpus);
    suffixes(corpus);
    patterns(corpus);
    bytes(corpus);
    percent(corpus);
    international(corpus);
    user_information(corpus);
    slashes(corpus);
    brackets(corpus);
    ports(corpus);
    lengths(corpus);
}

/// Allowed: these are the controls of every lane.
fn canonical(corpus: &mut Corpus<'_>) {
    corpus.group(1);
    let ground = corpus.ground;
    if let Some(place) = &ground.answered {
        let (name, path) = (&place.host, &place.path);
        let upper = name.to_uppercase();
        let mixed: String = name
            .chars()
            .enumerate()
            .map(|(n, c)| if n % 2 == 0 { c.to_ascii_uppercase() } else { c })
            .collect();
        for (sentence, host) in [
            ("the name as a rule has it", name.clone()),
            ("the name in capitals", upper.clone()),
            ("the name in mixed case", mixed),
            ("the name with one trailing dot", format!("{name}.")),
            ("capitals and a trailing dot", format!("{upper}.")),
        ] {
            answered(corpus, sentence, &host, name, path);
        }
        for (sentence, sni) in [
            ("a server name as a rule has it", name.clone()),
            ("a server name in capitals", upper),
        ] {
            let pieces = [Hello::named(&sni).bytes()];
            corpus.hello(sentence, &pieces, &Expected::Handshake, &Expected::Handshake);
        }
    }
    if let Some(vendor) = &ground.vendor {
        let (name, path) = (&vendor.host, &vendor.path);
        for (sentence, host) in [
            ("the vendor's own name", name.clone()),
            ("the vendor's name in capitals with a dot", format!("{}.", name.to_uppercase())),
            ("an address", "127.0.0.1".into()),
            ("a container's name", "airlock".into()),
            ("localhost with a dot", "LocalHost.".into()),
        ] {
            let bytes = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
            corpus.push(Lane::Reverse, sentence, Opening::Direct, vec![Step::Send(bytes)], Expected::Answered);
        }
    }
    for name in ground.allowed() {
        for (sentence, host) in [
            ("two trailing dots", format!("{name}..")),
            ("a leading dot", format!(".{name}")),
            ("two dots inside", name.replacen('.', "..", 1)),
        ] {
            corpus.ill(sentence, host);
        }
    }
    for (sentence, host) in [("a dot alone", "."), ("two dots alone", ".."), ("no host", "")] {
        if host.is_empty() {
            corpus.ill_authority(sentence, b"", b":443");
        } else {
            corpus.ill(sentence, host);
        }
    }
}

fn answered(corpus: &mut Corpus<'_>, sentence: &str, host: &str, name: &str, path: &str) {
    let line = format!("GET http://{host}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let origin = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let inside = Opening::Inside {
        authority: format!("{host}:443"),
        name: name.to_owned(),
    };
    for (lane, opening, bytes) in [
        (Lane::ExplicitPlain, Opening::Direct, line),
        (Lane::ConnectIntercepted, inside.clone(), origin.clone()),
        (Lane::TransparentTls, inside, origin.clone()),
        (Lane::TransparentHttp, Opening::Direct, origin),
    ] {
        let steps = vec![Step::Send(bytes.into_bytes())];
        corpus.push(lane, sentence, opening, steps, Expected::Answered);
    }
}

fn suffixes(corpus: &mut Corpus<'_>) {
    corpus.group(2);
    let ground = corpus.ground;
    for name in ground.allowed() {
        let (first, rest) = name.split_once('.').unwrap_or((name, "test"));
        for (sentence, host) in [
            ("a name that ends as an allowed one does", format!("evil{name}")),
            ("the same behind a hyphen", format!("evil-{name}")),
            ("an allowed name before another domain", format!("{name}.{}", ground.stranger)),
            ("an allowed name as the first label", format!("{}.{}", name.replace('.', "-"), ground.stranger)),
            ("a name below an allowed one", format!("below.{name}")),
            ("www before an allowed name", format!("www.{name}")),
            ("the parent of an allowed name", rest.to_owned()),
            ("an allowed name without its last letter", name[..name.len() - 1].to_owned()),
            ("an allowed name with one letter more", format!("{name}s")),
            ("its first label under another domain", format!("{first}.{}", ground.stranger)),
            ("an allowed name without its dot", format!("{}{rest}.{}", first, ground.stranger)),
        ] {
            corpus.foreign(sentence, &host);
        }
    }
    if let Some(base) = &ground.wildcard {
        for (sentence, host) in [
            ("the apex of a wildcard", base.clone()),
            ("a name that ends as a wildcard's base does", format!("evil{base}")),
            ("the same with a label before", format!("a.evil{base}")),
            ("the base of a wildcard before another domain", format!("a.{base}.{}", ground.stranger)),
        ] {
            corpus.foreign(sentence, &host);
        }
        for (sentence, host) in [
            ("a wildcard's base behind an empty label", format!(".{base}")),
            ("the wildcard itself", format!("*.{base}")),
            ("a wildcard's base behind two dots", format!("a..{base}")),
        ] {
            corpus.ill(sentence, host);
        }
    }
}

fn patterns(corpus: &mut Corpus<'_>) {
    corpus.group(3);
    for pattern in [
        "*", "*.", "**", "*.*", "**.test", "api.*.test", "*test", "a*.test", "test.*", "*.*.test",
        "192.0.2.1", "*.192.0.2.1", "[::1]", "::1", "192.0.2.0/24", "0x7f.1", "2130706433",
        "http://a.test", "a.test/x", "a.test:443", "", ".", ".test", "a..test", "-a.test",
        "a.test#x", "a@b.test", "%2a.test", "a b.test", "a.test\u{0}", "ａ.test",
    ] {
        corpus.check(
            format!("a rule may not name the host {pattern:?}"),
            move || in_process::refuses_pattern(pattern),
        );
    }
}

fn bytes(corpus: &mut Corpus<'_>) {
    corpus.group(4);
    let Some(name) = corpus.ground.allowed().first().map(ToString::to_string) else {
        return;
    };
    let (first, rest) = name.split_once('.').unwrap_or((&name, "test"));
    for (what, byte) in [
        ("a NUL", 0x00), ("a byte 0x01", 0x01), ("a TAB", 0x09), ("a line feed", 0x0a),
        ("a vertical tab", 0x0b), ("a form feed", 0x0c), ("a carriage return", 0x0d),
        ("an escape", 0x1b), ("a space", 0x20), ("a quote", 0x22), ("an asterisk", 0x2a),
        ("a comma", 0x2c), ("a semicolon", 0x3b), ("a less-than sign", 0x3c), ("a caret", 0x5e),
        ("a backquote", 0x60), ("a brace", 0x7b), ("a bar", 0x7c), ("a delete", 0x7f),
        ("a byte 0x80", 0x80), ("a Latin-1 letter", 0xe9), ("a byte 0xff", 0xff),
    ] {
        let middle = [first.as_bytes(), &[byte], b".", rest.as_bytes()].concat();
        corpus.ill(&format!("{what} inside the host"), &middle);
        // Blanks around a header's value are no part of it.
        if !matches!(byte, 0x09 | 0x20) {
            let end = [name.as_bytes(), &[byte]].concat();
            corpus.ill(&format!("{what} behind the host"), &end);
            let start = [&[byte], name.as_bytes()].concat();
            corpus.ill(&format!("{what} before the host"), &start);
        }
    }
    let stranger = corpus.ground.stranger.clone();
    for (what, between) in [("a NUL", "\0"), ("a line feed", "\n"), ("CR LF", "\r\n"), ("a space", " ")] {
        let host = format!("{name}{between}.{stranger}");
        let line = format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n");
        corpus.raw(Lane::ConnectTunnel, &format!("an allowed name, {what}, and another"), line, &[Reason::MalformedRequest]);
        let line = format!("GET http://{host}/ HTTP/1.1\r\nHost: {name}\r\n\r\n");
        corpus.raw(Lane::ExplicitPlain, &format!("an allowed name, {what}, and another"), line, &[Reason::MalformedRequest]);
    }
}

fn percent(corpus: &mut Corpus<'_>) {
    corpus.group(5);
    for name in corpus.ground.allowed() {
        let (first, rest) = name.split_once('.').unwrap_or((name, "test"));
        let (letter, tail) = name.split_at(1);
        let code = letter.bytes().next().unwrap_or(b'a');
        for (sentence, host) in [
            ("an encoded dot", format!("{first}%2e{rest}")),
            ("an encoded dot in capitals", format!("{first}%2E{rest}")),
            ("an encoded letter", format!("%{code:02x}{tail}")),
            ("an encoded letter, twice", format!("%25{code:02x}{tail}")),
            ("an encoded NUL at the end", format!("{name}%00")),
            ("an encoded NUL before another name", format!("{name}%00.{}", corpus.ground.stranger)),
            ("an encoded NUL, twice", format!("{name}%2500")),
            ("an encoded slash", format!("{}%2f{name}", corpus.ground.stranger)),
            ("an encoded question mark", format!("{}%3f{name}", corpus.ground.stranger)),
            ("an encoded hash", format!("{}%23{name}", corpus.ground.stranger)),
            ("an encoded backslash", format!("{}%5c{name}", corpus.ground.stranger)),
            ("an encoded colon", format!("{name}%3a443")),
            ("an encoded line break", format!("{name}%0d%0ahost:{}", corpus.ground.stranger)),
            ("an encoded space", format!("{name}%20")),
            ("a percent sign alone", format!("{name}%")),
            ("half an encoding", format!("{name}%2")),
            ("an encoding that is none", format!("{name}%zz")),
            ("an overlong encoding of a dot", format!("{first}%c0%ae{rest}")),
            ("an encoded ideographic dot", format!("{first}%e3%80%82{rest}")),
        ] {
            // The colon would be taken for that of the port; its own row is in group 10.
            if host.contains(':') {
                corpus.ill_authority(sentence, host.as_bytes(), format!("{host}:443").as_bytes());
            } else {
                corpus.ill(sentence, host);
            }
        }
    }
}

fn international(corpus: &mut Corpus<'_>) {
    corpus.group(6);
    let ground = corpus.ground;
    for name in ground.allowed() {
        let (first, rest) = name.split_once('.').unwrap_or((name, "test"));
        let (letter, tail) = name.split_at(1);
        let wide: String = letter
            .chars()
            .filter_map(|c| char::from_u32(u32::from(c) + 0xfee0))
            .collect();
        for (sentence, host) in [
            ("an ideographic dot", format!("{first}\u{3002}{rest}")),
            ("a full-width dot", format!("{first}\u{ff0e}{rest}")),
            ("a half-width ideographic dot", format!("{first}\u{ff61}{rest}")),
            ("a full-width letter", format!("{wide}{tail}")),
            ("a soft hyphen", format!("{letter}\u{ad}{tail}")),
            ("a zero-width joiner", format!("{letter}\u{200d}{tail}")),
            ("a zero-width non-joiner", format!("{letter}\u{200c}{tail}")),
            ("a zero-width space", format!("{letter}\u{200b}{tail}")),
            ("a word joiner", format!("{letter}\u{2060}{tail}")),
            ("a byte order mark", format!("\u{feff}{name}")),
            ("a variation selector", format!("{letter}\u{fe0f}{tail}")),
            ("a right-to-left override", format!("\u{202e}{name}")),
            ("a combining grapheme joiner", format!("{letter}\u{34f}{tail}")),
            ("the Kelvin sign", format!("\u{212a}{tail}")),
            ("a ligature", format!("\u{fb01}{tail}")),
            ("a circled letter", format!("\u{24d0}{tail}")),
            ("a mathematical letter", format!("\u{1d41a}{tail}")),
            ("a superscript digit", format!("{letter}\u{b2}{tail}")),
            ("an Arabic-Indic digit before Latin letters", format!("\u{661}{tail}")),
            ("a full-width slash", format!("{}\u{ff0f}{name}", ground.stranger)),
            ("a full-width at sign", format!("{name}\u{ff20}{}", ground.stranger)),
            ("a fraction that decomposes to a slash", format!("{}\u{2100}{name}", ground.stranger)),
            ("an unassigned code point", format!("{letter}\u{378}{tail}")),
            ("a private-use code point", format!("{letter}\u{e000}{tail}")),
            ("a combining mark first", format!("\u{301}{name}")),
            ("an A-label that is empty", format!("xn--.{rest}")),
            ("an A-label that does not decode", format!("xn--zzzzzzzzzzzz99999.{rest}")),
            ("an A-label of plain ASCII", format!("xn--{first}-.{rest}")),
            ("an A-label that ends in a hyphen", format!("xn--a-.{rest}")),
            ("an A-label of a capital", format!("xn---1ga.{rest}")),
            ("an A-label of a full-width letter", format!("xn--bl7c.{rest}")),
            ("an A-label within an A-label", format!("xn--xn---epa.{rest}")),
        ] {
            corpus.ill(sentence, host);
        }
    }
    for (sentence, u, a) in [
        ("a sharp s is a letter of its own", "fa\u{df}", "xn--fa-hia"),
        ("a final sigma is a letter of its own", "\u{3b2}\u{3cc}\u{3bb}\u{3bf}\u{3c2}", "xn--nxasmm1c"),
        ("a dotless i is no i", "\u{131}nside", "xn--nside-q4a"),
        ("a Cyrillic a is no a", "\u{430}llowed", "xn--llowed-2fg"),
        ("an umlaut", "b\u{fc}cher", "xn--bcher-kva"),
    ] {
        let (u, a) = (format!("{u}.{}", ground.stranger), format!("{a}.{}", ground.stranger));
        corpus.foreign(sentence, &a);
        let expected = corpus.by_rule(Reason::NoRuleMatched);
        let bytes = origin(&u);
        let case = corpus.push(Lane::TransparentHttp, format!("{sentence}, as a U-label"), Opening::Direct, vec![Step::Send(bytes)], expected);
        case.destination = Authority::parse(&u, Some(Port::HTTP)).ok();
        corpus.raw(Lane::ExplicitPlain, &format!("{sentence}, as a U-label"), plain(&u), &[Reason::MalformedRequest]);
        corpus.raw(Lane::ConnectTunnel, &format!("{sentence}, as a U-label"), connect(&format!("{u}:443")), &[Reason::MalformedRequest]);
        corpus.contradiction(&format!("{sentence}, as a U-label"), u.as_bytes(), Reason::AuthorityMismatch, true);
    }
    if let Some([u, a]) = &ground.international {
        for (sentence, host) in [
            ("the A-label of a name that a rule has as U-label", a.clone()),
            ("that U-label itself", u.clone()),
            ("that U-label in capitals", u.to_uppercase()),
            ("that A-label in capitals", a.to_uppercase()),
        ] {
            let bytes = origin(&host);
            corpus.push(Lane::TransparentHttp, sentence, Opening::Direct, vec![Step::Send(bytes)], Expected::Answered);
        }
        let bytes = plain(a);
        corpus.push(Lane::ExplicitPlain, "the A-label of a name that a rule has as U-label", Opening::Direct, vec![Step::Send(bytes)], Expected::Answered);
    }
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
        while out.len() + 64 + stranger.len() + 1 <= length {
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
        // The reverse entry takes names that no DNS answers for its own.
        let own = !host.contains('.') || host.ends_with(".localhost");
        let from = corpus.cases.len();
        corpus.foreign(sentence, &host);
        if own {
            let mut at = 0;
            corpus.cases.retain(|case| {
                at += 1;
                at <= from || case.lane != Lane::Reverse
            });
        }
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
