//! Spellings that are one host, spellings that are none, and what a host is.

use super::*;

#[test]
fn accepted_spellings_have_one_canonical_form() {
    let rows = [
        ("lower case stays", "allowed.test", "allowed.test"),
        ("upper case is folded", "ALLOWED.Test", "allowed.test"),
        (
            "one trailing dot is dropped",
            "allowed.test.",
            "allowed.test",
        ),
        ("a single label is a name", "localhost", "localhost"),
        (
            "a compose service may hold an underscore",
            "my_llm",
            "my_llm",
        ),
        (
            "hyphens at 3 and 4 are common in CDN names",
            "r3---sn-x.cdn.test",
            "r3---sn-x.cdn.test",
        ),
        (
            "a U-label is its A-label",
            "bücher.test",
            "xn--bcher-kva.test",
        ),
        (
            "an upper-case U-label too",
            "BÜCHER.test",
            "xn--bcher-kva.test",
        ),
        (
            "an A-label stays",
            "XN--bcher-kva.test",
            "xn--bcher-kva.test",
        ),
        ("sharp s is itself, not ss", "faß.test", "xn--fa-hia.test"),
        (
            "a capital sigma at the end of a word is the plain small one",
            "ΒΌΛΟΣ.test",
            "xn--nxasmq6b.test",
        ),
        ("a dotted quad is an address", "192.0.2.1", "192.0.2.1"),
        ("IPv6 in brackets", "[2001:DB8::1]", "2001:db8::1"),
        ("IPv6 bare", "2001:db8:0:0::1", "2001:db8::1"),
        (
            "digits before the last label are fine",
            "1.2.3.a",
            "1.2.3.a",
        ),
        ("hex-like but not a number", "0xyz", "0xyz"),
    ];
    for (what, input, want) in rows {
        let host = Host::parse(input).unwrap_or_else(|e| panic!("{what}: {input:?}: {e}"));
        assert_eq!(host.to_string(), want, "{what}");
        let again = if host.as_ip().is_some_and(|ip| ip.is_ipv6()) {
            Host::parse(&format!("[{host}]"))
        } else {
            Host::parse(&host.to_string())
        };
        assert_eq!(again, Ok(host), "{what}: canonical form is stable");
    }
}

#[test]
fn a_name_and_its_labels_may_be_as_long_as_dns_allows() {
    let label = "a".repeat(MAX_LABEL);
    let name = format!("{label}.{label}.{label}.{}", "b".repeat(61));
    assert_eq!(name.len(), MAX_NAME);
    for text in [name.clone(), format!("{name}."), format!("{label}.test")] {
        assert!(Host::parse(&text).is_ok(), "{text}");
    }
    let longer = format!("{name}b");
    assert_eq!(Host::parse(&longer), Err(HostError::NameTooLong(254)));
}

#[test]
fn whatever_comes_the_canonical_form_is_stable_and_plain() {
    let pieces = [
        "a",
        "B",
        "-",
        "_",
        ".",
        "1",
        "0x",
        "127",
        "xn--",
        "bcher-kva",
        "ü",
        "Ü",
        "ß",
        "\u{ad}",
        "\u{200d}",
        "\u{3002}",
        "\u{ff41}",
        "İ",
        "ς",
        "中",
        "e\u{301}",
        "[",
        "]",
        ":",
        "%",
        "@",
    ];
    // A small generator, so that every run tries the same inputs.
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut accepted = 0;
    for _ in 0..100_000 {
        let mut input = String::new();
        for _ in 0..=next() % 6 {
            input.push_str(pieces[usize::try_from(next() % 26).unwrap()]);
        }
        let Ok(Host::Name(name)) = Host::parse(&input) else {
            continue;
        };
        accepted += 1;
        assert_eq!(Host::parse(&name), Ok(Host::Name(name.clone())), "{input}");
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
        assert!(name.bytes().all(plain), "{input} gave {name}");
    }
    assert!(accepted > 10_000, "{accepted}");
}

#[test]
fn refused_spellings() {
    use HostError as E;
    let long_label = "a".repeat(64);
    let long_name = format!("{}.test", ["abcdefgh"; 29].join("."));
    let huge = "a".repeat(5000);
    let odd = "%".repeat(1025);
    let rows: &[(&str, &str, HostError)] = &[
        ("empty", "", E::Empty),
        ("a dot alone", ".", E::EmptyLabel),
        ("two trailing dots", "allowed.test..", E::EmptyLabel),
        ("a leading dot", ".allowed.test", E::EmptyLabel),
        ("two dots inside", "allowed..test", E::EmptyLabel),
        ("NUL", "allowed\0.test", E::InvalidCharacter('\0')),
        ("CR", "allowed.test\r", E::InvalidCharacter('\r')),
        ("LF", "allowed\n.test", E::InvalidCharacter('\n')),
        ("TAB", "allowed\t.test", E::InvalidCharacter('\t')),
        ("space", " allowed.test", E::InvalidCharacter(' ')),
        ("DEL", "allowed\x7f.test", E::InvalidCharacter('\x7f')),
        (
            "C1 control",
            "allowed\u{85}.test",
            E::InvalidCharacter('\u{85}'),
        ),
        (
            "no-break space",
            "allowed\u{a0}.test",
            E::InvalidCharacter('\u{a0}'),
        ),
        ("percent", "allowed%2etest", E::PercentEncoded),
        ("percent twice", "allowed%252etest", E::PercentEncoded),
        (
            "percent NUL",
            "allowed.test%00.evil.test",
            E::PercentEncoded,
        ),
        ("userinfo", "allowed.test@evil.test", E::UserInfo),
        ("backslash", "evil.test\\", E::InvalidCharacter('\\')),
        ("slash", "allowed.test/", E::InvalidCharacter('/')),
        ("question mark", "a?b", E::InvalidCharacter('?')),
        ("hash", "a#b", E::InvalidCharacter('#')),
        ("star", "*.test", E::InvalidCharacter('*')),
        ("brackets around a name", "[allowed.test]", E::Brackets),
        ("brackets around IPv4", "[127.0.0.1]", E::Brackets),
        ("an open bracket", "[::1", E::Brackets),
        ("a bracket inside", "a]b", E::Brackets),
        ("zone id", "[fe80::1%25eth0]", E::ZoneId),
        ("zone id without encoding", "[fe80::1%eth0]", E::ZoneId),
        ("zone id without brackets", "fe80::1%eth0", E::ZoneId),
        (
            "a port is no part of a host",
            "allowed.test:443",
            E::InvalidCharacter(':'),
        ),
        (
            "ideographic full stop",
            "allowed\u{3002}test",
            E::Lookalike('\u{3002}'),
        ),
        (
            "full-width full stop",
            "allowed\u{ff0e}test",
            E::Lookalike('\u{ff0e}'),
        ),
        (
            "half-width ideographic full stop",
            "allowed\u{ff61}test",
            E::Lookalike('\u{ff61}'),
        ),
        (
            "full-width letter",
            "\u{ff41}llowed.test",
            E::Lookalike('\u{ff41}'),
        ),
        (
            "full-width digit",
            "127.0.0.\u{ff11}",
            E::Lookalike('\u{ff11}'),
        ),
        ("Kelvin sign", "\u{212a}.test", E::Lookalike('\u{212a}')),
        ("soft hyphen", "allow\u{ad}ed.test", E::Idna),
        ("zero-width joiner", "allowed\u{200d}.test", E::Idna),
        ("zero-width space", "allowed\u{200b}.test", E::Idna),
        ("ligature", "o\u{fb03}ce.test", E::Idna),
        ("circled digit", "127.0.0.\u{2460}", E::Idna),
        ("mathematical letters", "\u{1d41a}llowed.test", E::Idna),
        ("invalid A-label", "xn--a.test", E::Idna),
        ("A-label of plain ASCII", "xn--allowed-.test", E::Idna),
        ("A-label encoded twice", "xn--xn--a--gua.test", E::Idna),
        ("A-label that hides a dot", "xn--a.b-9ja\u{2024}", E::Idna),
        ("label of 64 bytes", &long_label, E::LabelTooLong(64)),
        (
            "name over 253 bytes",
            &long_name,
            E::NameTooLong(long_name.len()),
        ),
        ("an absurd length", &huge, E::NameTooLong(5000)),
        (
            "over the bound of what is looked at, whatever it holds",
            &odd,
            E::NameTooLong(1025),
        ),
        ("at that bound", &odd[1..], E::PercentEncoded),
        ("hyphen first", "-a.test", E::LabelEdge("-a".into())),
        ("hyphen last", "a-.test", E::LabelEdge("a-".into())),
        ("underscore first", "_a.test", E::LabelEdge("_a".into())),
        ("IPv4 decimal", "2130706433", E::Ipv4Form),
        ("IPv4 hex", "0x7f000001", E::Ipv4Form),
        ("IPv4 hex, upper case", "0X7F.0.0.1", E::Ipv4Form),
        ("IPv4 hex in the last part", "127.0.0.0x1", E::Ipv4Form),
        ("IPv4 octal", "0177.0.0.1", E::Ipv4Form),
        ("IPv4 short", "127.1", E::Ipv4Form),
        ("IPv4 of five parts", "1.2.3.4.5", E::Ipv4Form),
        ("IPv4 part over 255", "1.2.3.256", E::Ipv4Form),
        ("IPv4 with a trailing dot", "127.0.0.1.", E::Ipv4Form),
        ("a name that ends in a number", "foo.1", E::Ipv4Form),
        ("bare 0x", "foo.0x", E::Ipv4Form),
    ];
    for (what, input, want) in rows {
        assert_eq!(Host::parse(input).as_ref(), Err(want), "{what}: {input:?}");
    }
}

#[test]
fn a_host_is_a_name_or_an_address_and_never_both() {
    let name = Host::parse("A.Test").unwrap();
    assert_eq!((name.as_name(), name.as_ip()), (Some("a.test"), None));
    let ip = Host::parse("192.0.2.1").unwrap();
    assert_eq!(
        (ip.as_name(), ip.as_ip()),
        (None, Some(IpAddr::from([192, 0, 2, 1])))
    );
}

#[test]
fn private_names_are_those_that_no_public_name_server_knows() {
    for (text, want) in [
        ("nas", true),
        ("localhost", true),
        ("nas.local", true),
        ("a.b.internal", true),
        ("router.home.arpa", true),
        ("api.test.example", false),
        ("local.example", false),
        ("nas.notlocal", false),
        ("192.168.0.1", false),
        ("[::1]", false),
    ] {
        assert_eq!(Host::parse(text).unwrap().is_private_name(), want, "{text}");
    }
}
