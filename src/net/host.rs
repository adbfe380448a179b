//! A host, canonical: lower-case A-labels without a trailing dot, or an IP address.

use std::{fmt, net::IpAddr, sync::Arc};

/// Canonical host. Equality is identity of the destination name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// Lower-case ASCII (A-labels), no trailing dot, at most 253 bytes, labels at most 63.
    Name(Arc<str>),
    Ip(IpAddr),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    #[error("host is empty")]
    Empty,
    #[error("host has an invalid character")]
    InvalidCharacter,
}

impl Host {
    /// Parses one host strictly; an IPv6 literal may stand in brackets.
    pub fn parse(input: &str) -> Result<Self, HostError> {
        if input.is_empty() {
            return Err(HostError::Empty);
        }
        if let Ok(ip) = input.trim_start_matches('[').trim_end_matches(']').parse() {
            return Ok(Host::Ip(ip));
        }
        Ok(Host::Name(
            input.trim_end_matches('.').to_ascii_lowercase().into(),
        ))
    }
    pub fn as_name(&self) -> Option<&str> {
        match self {
            Host::Name(n) => Some(n),
            Host::Ip(_) => None,
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
