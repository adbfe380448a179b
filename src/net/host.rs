//! A host, canonical: lower-case A-labels without a trailing dot, or an IP address.
//!
//! The parser is strict on purpose: a spelling that two programs could read as two different
//! destinations is refused, not repaired. Accepted spellings of one name give one value.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// Canonical host. Equality is identity of the destination name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// Lower-case ASCII (A-labels), no trailing dot, at most 253 bytes, labels at most 63.
    Name(Arc<str>),
    Ip(IpAddr),
}

/// Why a text is no host; each message says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    #[error("host is empty: write a name such as example.com or an IP address")]
    Empty,
    #[error("host holds {0:?}: write only letters, digits, '-', '_' and '.'")]
    InvalidCharacter(char),
    #[error("host holds user information before '@': write the host alone")]
    UserInfo,
    #[error("host is percent-encoded: write it in plain letters")]
    PercentEncoded,
    #[error("host has two dots in a row or begins with one: write each dot once")]
    EmptyLabel,
    #[error("label {0:?} begins or ends with '-' or '_': begin and end it with a letter or digit")]
    LabelEdge(String),
    #[error("label of {0} bytes is too long: write at most 63 bytes between dots")]
    LabelTooLong(usize),
    #[error("host of {0} bytes is too long: write at most 253 bytes")]
    NameTooLong(usize),
    #[error(
        "host looks like an IPv4 address but is not one in plain form: write four decimal numbers \
         without leading zeros, such as 192.0.2.1"
    )]
    Ipv4Form,
    #[error(
        "brackets do not hold an IPv6 address: write [2001:db8::1], and names without brackets"
    )]
    Brackets,
    #[error("address names a zone after '%': write the address without a zone")]
    ZoneId,
    #[error(
        "character {0:?} stands for another one: write the plain lower-case letter, digit or dot"
    )]
    Lookalike(char),
    #[error("not a valid international name: write its correct xn-- form or plain letters")]
    Idna,
}

/// Inputs beyond this are refused before any work: a U-label may be longer than its A-label.
const MAX_INPUT: usize = 1024;
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// Last labels of private names. `arpa` holds `home.arpa` and names made of addresses.
const PRIVATE_ENDS: [&str; 12] = [
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "private",
    "corp",
    "home",
    "lan",
    "arpa",
    "onion",
    "invalid",
];

impl Host {
    /// Parses one host strictly; an IPv6 literal may stand in brackets.
    ///
    /// Case is folded, one trailing dot is dropped, and a U-label becomes its A-label. A non-ASCII
    /// name is taken only if UTS 46 mapping changes nothing in it but case.
    pub fn parse(input: &str) -> Result<Self, HostError> {
        if input.is_empty() {
            return Err(HostError::Empty);
        }
        if input.len() > MAX_INPUT {
            return Err(HostError::NameTooLong(input.len()));
        }
        if let Some(rest) = input.strip_prefix('[') {
            let inner = rest.strip_suffix(']').ok_or(HostError::Brackets)?;
            if inner.contains('%') {
                return Err(HostError::ZoneId);
            }
            let v6: Ipv6Addr = inner.parse().map_err(|_| HostError::Brackets)?;
            return Ok(Host::Ip(v6.into()));
        }
        if input.contains(':') {
            let bare = input.split('%').next().unwrap_or(input);
            return match bare.parse::<Ipv6Addr>() {
                Ok(_) if bare.len() < input.len() => Err(HostError::ZoneId),
                Ok(v6) => Ok(Host::Ip(v6.into())),
                Err(_) => Err(HostError::InvalidCharacter(':')),
            };
        }
        refuse_characters(input)?;
        let name = input.strip_suffix('.').unwrap_or(input);
        if name.is_empty() {
            return Err(HostError::EmptyLabel);
        }
        let name = canonical_name(name)?;
        check_labels(&name)?;
        if ends_in_number(&name) {
            // A trailing dot after an address is one more spelling that parsers disagree on.
            return match name.parse::<Ipv4Addr>() {
                Ok(v4) if !input.ends_with('.') => Ok(Host::Ip(v4.into())),
                _ => Err(HostError::Ipv4Form),
            };
        }
        Ok(Host::Name(name.into()))
    }

    /// Whether it is a name that means something on this machine or network only (RFC 6761, RFC 6762
    /// appendix G, RFC 8375, ICANN's `.internal`), or none that a public name server knows.
    pub fn is_private_name(&self) -> bool {
        let Host::Name(name) = self else {
            return false;
        };
        let last = name.rsplit('.').next().unwrap_or_default();
        !name.contains('.') || PRIVATE_ENDS.contains(&last)
    }

    pub fn as_name(&self) -> Option<&str> {
        match self {
            Host::Name(n) => Some(n),
            Host::Ip(_) => None,
        }
    }

    pub fn as_ip(&self) -> Option<IpAddr> {
        match self {
            Host::Name(_) => None,
            Host::Ip(ip) => Some(*ip),
        }
    }
}

impl fmt::Display for Host {
    /// IPv6 without brackets; [`super::Authority`] adds them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(n) => f.write_str(n),
            Host::Ip(ip) => write!(f, "{ip}"),
        }
    }
}

fn refuse_characters(input: &str) -> Result<(), HostError> {
    for c in input.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => {}
            '@' => return Err(HostError::UserInfo),
            '%' => return Err(HostError::PercentEncoded),
            '[' | ']' => return Err(HostError::Brackets),
            c if c.is_ascii() || c.is_control() || c.is_whitespace() => {
                return Err(HostError::InvalidCharacter(c));
            }
            // The other dots of IDNA, and the full-width forms of ASCII.
            '\u{3002}' | '\u{ff0e}' | '\u{ff61}' | '\u{ff01}'..='\u{ff5e}' => {
                return Err(HostError::Lookalike(c));
            }
            // Letters whose lower-case form is ASCII (the Kelvin sign) would turn into another name.
            c if c.to_lowercase().any(|l| l.is_ascii()) => return Err(HostError::Lookalike(c)),
            _ => {}
        }
    }
    Ok(())
}

/// Lower-case A-labels. The caller has refused every ASCII character that no name holds.
fn canonical_name(name: &str) -> Result<String, HostError> {
    // Letter by letter: `str::to_lowercase` makes another letter of a sigma at the end of a word, and
    // so another name than UTS 46 and every browser do.
    let lower: String = name.chars().flat_map(char::to_lowercase).collect();
    let plain = lower.is_ascii() && !lower.split('.').any(|l| l.starts_with("xn--"));
    if plain {
        return Ok(lower);
    }
    let ascii = Uts46::new()
        .to_ascii(
            lower.as_bytes(),
            AsciiDenyList::URL,
            Hyphens::CheckFirstLast,
            DnsLength::Ignore,
        )
        .map_err(|_| HostError::Idna)?
        .into_owned();
    let (unicode, valid) = Uts46::new().to_unicode(
        ascii.as_bytes(),
        AsciiDenyList::URL,
        Hyphens::CheckFirstLast,
    );
    valid.map_err(|_| HostError::Idna)?;
    // An A-label that decodes to something which encodes differently, and a U-label that mapping
    // changes (soft hyphen, ligatures, compatibility forms), are second spellings: refused.
    let same = lower
        .split('.')
        .zip(ascii.split('.').zip(unicode.split('.')))
        .all(|(given, (a, u))| given == a || given == u);
    // UTS 46, validity criterion 4 where hyphens are not checked: encoded twice is no U-label.
    let twice = unicode.split('.').any(|u| u.starts_with("xn--"));
    if !same || twice || lower.split('.').count() != ascii.split('.').count() {
        return Err(HostError::Idna);
    }
    Ok(ascii)
}

fn check_labels(name: &str) -> Result<(), HostError> {
    if name.len() > MAX_NAME {
        return Err(HostError::NameTooLong(name.len()));
    }
    for label in name.split('.') {
        if label.is_empty() {
            return Err(HostError::EmptyLabel);
        }
        if label.len() > MAX_LABEL {
            return Err(HostError::LabelTooLong(label.len()));
        }
        // Underscores are in compose service names (`my_llm`), but not at an end.
        if label.starts_with(['-', '_']) || label.ends_with(['-', '_']) {
            return Err(HostError::LabelEdge(label.to_owned()));
        }
    }
    Ok(())
}

/// The WHATWG test for "a resolver might read this as IPv4": the last label is a number.
fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return true;
    }
    last.strip_prefix("0x")
        .is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
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
}
