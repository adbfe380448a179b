//! Groups 1 to 6: the host as text.

use super::{Corpus, Expected, Lane, Opening, Step, connect, in_process, origin, plain};
use crate::{
    net::{Authority, Port},
    page,
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
        for (sentence, host) in [("an address", "127.0.0.1"), ("localhost with a dot", "LocalHost.")] {
            let bytes = format!("GET {}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n", page::COPILOT_PATH).into_bytes();
            corpus.push(Lane::FrontDoor, sentence, Opening::Direct, vec![Step::Send(bytes)], Expected::Answered);
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
            ("an A-label within an A-label", format!("xn--xn---epa.{rest}")),
            ("an A-label of a full-width letter", format!("xn--bl7c.{rest}")),
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
