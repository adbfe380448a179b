//! Host and port, made once per connection or request and used by everything after.

use std::{fmt, net::IpAddr, num::NonZeroU16};

use super::host::{Host, HostError};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port(NonZeroU16);

impl Port {
    pub const HTTP: Port = Port(NonZeroU16::new(80).unwrap());
    pub const HTTPS: Port = Port(NonZeroU16::new(443).unwrap());

    pub fn new(n: u16) -> Option<Self> {
        NonZeroU16::new(n).map(Port)
    }

    pub fn number(self) -> u16 {
        self.0.get()
    }

    /// Plain decimal from 1 to 65535: no sign, no leading zero, no space.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = (1..=5).contains(&text.len())
            && !text.starts_with('0')
            && text.bytes().all(|b| b.is_ascii_digit());
        plain
            .then(|| text.parse().ok().and_then(Port::new))
            .flatten()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Authority {
    pub host: Host,
    pub port: Port,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("port is missing: write host:port")]
    PortMissing,
    #[error("port is not a plain decimal number: write 1 to 65535 without sign or leading zero")]
    PortInvalid,
    #[error("authority holds user information: write host:port without anything before '@'")]
    UserInfo,
    #[error("an IPv6 address with a port is ambiguous without brackets: write [2001:db8::1]:443")]
    Ipv6Brackets,
}

impl Authority {
    pub fn new(host: Host, port: Port) -> Self {
        Self { host, port }
    }

    /// Parses `host`, `host:port`, `[v6]`, `[v6]:port`. Without a port, `default` stands; with
    /// none, an error. A colon without a number after it is an error in any case.
    pub fn parse(input: &str, default: Option<Port>) -> Result<Self, AuthorityError> {
        if input.contains('@') {
            return Err(AuthorityError::UserInfo);
        }
        let (host, port) = match split_port(input)? {
            (host, Some(port)) => (host, Port::parse(port).ok_or(AuthorityError::PortInvalid)?),
            (host, None) => (host, default.ok_or(AuthorityError::PortMissing)?),
        };
        Ok(Self {
            host: Host::parse(host)?,
            port,
        })
    }

    /// The form of a `Host` header or a URL: the port is left out if it is `default`.
    pub fn without_port(&self, default: Port) -> String {
        match &self.host {
            _ if self.port != default => self.to_string(),
            Host::Ip(IpAddr::V6(v6)) => format!("[{v6}]"),
            host => host.to_string(),
        }
    }

    /// Whether `text` is how [`Self::without_port`] writes it. Asked of every request that is sent on,
    /// and writing it out costs more than judging the request.
    pub fn is_written(&self, text: &str, default: Port) -> bool {
        let (host, port) = match (&self.host, text.split_once(':')) {
            (Host::Ip(IpAddr::V6(_)), _) => return *text == *self.without_port(default),
            (_, Some((host, port))) => (host, Some(port)),
            (_, None) => (text, None),
        };
        let same_host = match &self.host {
            Host::Name(name) => **name == *host,
            // It has one spelling.
            Host::Ip(ip) => host.parse() == Ok(*ip),
        };
        let same_port = match port {
            None => self.port == default,
            Some(port) => {
                let plain = port.starts_with(|c: char| matches!(c, '1'..='9'));
                let number = self.port.number();
                self.port != default && plain && port.parse() == Ok(number)
            }
        };
        same_host && same_port
    }
}

fn split_port(input: &str) -> Result<(&str, Option<&str>), AuthorityError> {
    if input.starts_with('[') {
        let end = input.find(']').ok_or(HostError::Brackets)?;
        let (host, rest) = input.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(HostError::Brackets.into()),
        };
    }
    match input.split_once(':') {
        None => Ok((input, None)),
        Some((_, rest)) if rest.contains(':') => {
            let v6 = Host::parse(input).is_ok() || Host::parse(input) == Err(HostError::ZoneId);
            Err(if v6 {
                AuthorityError::Ipv6Brackets
            } else {
                AuthorityError::PortInvalid
            })
        }
        Some((host, port)) => Ok((host, Some(port))),
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(v6)) => write!(f, "[{v6}]:{}", self.port.number()),
            host => write!(f, "{host}:{}", self.port.number()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_without_port_writes_and_nothing_else() {
        let own = |text: &str| Authority::parse(text, Some(Port::HTTP)).unwrap();
        for (authority, default, written, others) in [
            (
                "site.test:8189",
                80,
                "site.test:8189",
                vec![
                    "site.test",
                    "SITE.test:8189",
                    "site.test:08189",
                    "site.test:+8189",
                ],
            ),
            (
                "site.test:80",
                80,
                "site.test",
                vec!["site.test:80", "site.test:", "site.test."],
            ),
            (
                "site.test:80",
                443,
                "site.test:80",
                vec!["site.test", "site.test:443"],
            ),
            (
                "127.0.0.1:8189",
                80,
                "127.0.0.1:8189",
                vec!["127.1:8189", "127.0.0.1", "127.0.0.01:8189"],
            ),
            (
                "[::1]:8189",
                80,
                "[::1]:8189",
                vec!["[0::1]:8189", "::1:8189", "[::1]"],
            ),
            ("[::1]:80", 80, "[::1]", vec!["[::1]:80"]),
        ] {
            let (authority, default) = (own(authority), Port::new(default).unwrap());
            assert_eq!(authority.without_port(default), written);
            assert!(authority.is_written(written, default), "{written}");
            for other in others.into_iter().chain(["", ":", "other.test"]) {
                assert!(
                    !authority.is_written(other, default),
                    "{other} is not {written}"
                );
            }
        }
    }

    #[test]
    fn accepted() {
        let rows = [
            ("host and port", "Allowed.TEST.:443", "allowed.test:443"),
            (
                "the default port stands in",
                "allowed.test",
                "allowed.test:80",
            ),
            (
                "the highest port",
                "allowed.test:65535",
                "allowed.test:65535",
            ),
            ("IPv6 with port", "[2001:DB8::1]:8443", "[2001:db8::1]:8443"),
            ("IPv6 without port", "[2001:db8::1]", "[2001:db8::1]:80"),
            ("IPv4", "192.0.2.1:1", "192.0.2.1:1"),
        ];
        for (what, input, want) in rows {
            let a = Authority::parse(input, Some(Port::HTTP));
            assert_eq!(a.map(|a| a.to_string()), Ok(want.to_owned()), "{what}");
        }
    }

    #[test]
    fn refused() {
        use AuthorityError as E;
        let rows = [
            ("empty port", "allowed.test:", E::PortInvalid),
            ("port zero", "allowed.test:0", E::PortInvalid),
            ("port 65536", "allowed.test:65536", E::PortInvalid),
            ("a sign", "allowed.test:+443", E::PortInvalid),
            ("a leading zero", "allowed.test:0443", E::PortInvalid),
            ("two ports", "allowed.test:443:80", E::PortInvalid),
            ("hex port", "allowed.test:0x1bb", E::PortInvalid),
            ("space before the port", "allowed.test: 443", E::PortInvalid),
            ("userinfo", "allowed.test@evil.test:443", E::UserInfo),
            (
                "userinfo with a port",
                "allowed.test:443@evil.test:443",
                E::UserInfo,
            ),
            ("two at signs", "a@b@c:443", E::UserInfo),
            (
                "encoded at sign",
                "a%40b:443",
                E::Host(HostError::PercentEncoded),
            ),
            ("IPv6 without brackets", "2001:db8::1:443", E::Ipv6Brackets),
            (
                "something after the bracket",
                "[::1]x:443",
                E::Host(HostError::Brackets),
            ),
            (
                "a path",
                "allowed.test/x:443",
                E::Host(HostError::InvalidCharacter('/')),
            ),
            ("no host", ":443", E::Host(HostError::Empty)),
            ("nothing", "", E::Host(HostError::Empty)),
        ];
        for (what, input, want) in rows {
            assert_eq!(
                Authority::parse(input, Some(Port::HTTPS)),
                Err(want),
                "{what}"
            );
        }
        assert_eq!(Authority::parse("allowed.test", None), Err(E::PortMissing));
    }

    #[test]
    fn the_default_port_is_left_out_where_headers_leave_it_out() {
        let a = Authority::parse("[::1]:443", None).unwrap();
        assert_eq!(a.without_port(Port::HTTPS), "[::1]");
        assert_eq!(a.without_port(Port::HTTP), "[::1]:443");
    }

    #[test]
    fn a_port_is_shown_as_it_is_read() {
        for text in ["1", "80", "65535"] {
            assert_eq!(Port::parse(text).unwrap().to_string(), text);
        }
    }
}
