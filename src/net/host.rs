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

    /// This machine by name: no name server is asked for it (RFC 6761 6.3), and no certificate is made.
    pub fn is_localhost(&self) -> bool {
        self.as_name()
            .is_some_and(|name| name == "localhost" || name.ends_with(".localhost"))
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
mod tests;
