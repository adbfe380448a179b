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
    #[error("port is missing")]
    PortMissing,
    #[error("port is not a number from 1 to 65535 in plain decimal")]
    PortInvalid,
    #[error("authority holds user information")]
    UserInfo,
}

impl Authority {
    pub fn new(host: Host, port: Port) -> Self {
        Self { host, port }
    }

    /// Parses `host`, `host:port`, `[v6]:port`. Without a port, `default` stands; with none, an error.
    pub fn parse(input: &str, default: Option<Port>) -> Result<Self, AuthorityError> {
        let (host, port) = match input.rsplit_once(':') {
            Some((h, p)) if !h.contains(':') || h.ends_with(']') => (
                h,
                p.parse()
                    .ok()
                    .and_then(Port::new)
                    .ok_or(AuthorityError::PortInvalid)?,
            ),
            _ => (input, default.ok_or(AuthorityError::PortMissing)?),
        };
        Ok(Self {
            host: Host::parse(host)?,
            port,
        })
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
