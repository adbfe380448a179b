//! Host patterns of rules: an exact name, or `*.suffix` for names below it (never the apex).

use std::{fmt, sync::Arc};

use super::host::{Host, HostError};

/// Matches on label boundaries only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DomainPattern {
    /// This name and no other.
    Exact(Arc<str>),
    /// Every name below this one, at any depth; not the name itself.
    Below(Arc<str>),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("'*' alone would match every host: name the hosts, or write *.example.com")]
    Everything,
    #[error(
        "'*' stands where it cannot: write it once, as the whole first label, as in *.example.com"
    )]
    Wildcard,
    #[error("an IP address is no host name: write it under `ips:` of the rule")]
    Ip,
    #[error("a host pattern holds no port: write ports under `ports:` of the rule")]
    Port,
    #[error("a host pattern is no URL: write the host alone, paths under `paths:`")]
    Url,
    #[error(transparent)]
    Host(#[from] HostError),
}

impl DomainPattern {
    pub fn parse(input: &str) -> Result<Self, PatternError> {
        if input == "*" || input == "*." {
            return Err(PatternError::Everything);
        }
        if input.contains('/') {
            return Err(PatternError::Url);
        }
        let (below, name) = match input.strip_prefix("*.") {
            Some(suffix) => (true, suffix),
            None => (false, input),
        };
        if name.contains('*') {
            return Err(PatternError::Wildcard);
        }
        match Host::parse(name) {
            Ok(Host::Ip(_)) if below => Err(PatternError::Wildcard),
            Ok(Host::Ip(_)) => Err(PatternError::Ip),
            Ok(Host::Name(name)) if below => Ok(Self::Below(name)),
            Ok(Host::Name(name)) => Ok(Self::Exact(name)),
            Err(_) if has_port(name) => Err(PatternError::Port),
            Err(e) => Err(e.into()),
        }
    }

    pub fn matches(&self, host: &Host) -> bool {
        match host {
            Host::Ip(_) => false,
            Host::Name(name) => match self {
                Self::Exact(exact) => name == exact,
                Self::Below(suffix) => name
                    .strip_suffix(&**suffix)
                    .is_some_and(|head| head.ends_with('.')),
            },
        }
    }

    /// The name without the `*.`: what an X.509 name constraint takes.
    pub fn base(&self) -> &str {
        match self {
            Self::Exact(name) | Self::Below(name) => name,
        }
    }
}

fn has_port(name: &str) -> bool {
    super::Authority::parse(name, None).is_ok()
}

impl fmt::Display for DomainPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_on_label_boundaries() {
        let rows = [
            ("the name itself", "allowed.test", "ALLOWED.test.", true),
            (
                "a longer first label",
                "allowed.test",
                "evilallowed.test",
                false,
            ),
            (
                "the name as a prefix",
                "allowed.test",
                "allowed.test.evil.test",
                false,
            ),
            ("a name below", "allowed.test", "a.allowed.test", false),
            ("one label below", "*.w.test", "a.w.test", true),
            ("two labels below", "*.w.test", "b.a.w.test", true),
            ("the apex is not below itself", "*.w.test", "w.test", false),
            ("a label that ends alike", "*.w.test", "evilw.test", false),
            (
                "the suffix in the middle",
                "*.w.test",
                "a.w.test.evil.test",
                false,
            ),
            (
                "U-label against A-label",
                "*.bücher.test",
                "a.xn--bcher-kva.test",
                true,
            ),
            (
                "an address never matches a name",
                "*.w.test",
                "127.0.0.1",
                false,
            ),
        ];
        for (what, pattern, host, want) in rows {
            let p = DomainPattern::parse(pattern).unwrap();
            assert_eq!(p.matches(&Host::parse(host).unwrap()), want, "{what}");
        }
    }

    #[test]
    fn refused_patterns() {
        use PatternError as E;
        let rows = [
            ("everything", "*", E::Everything),
            ("a star in the middle", "api.*.test", E::Wildcard),
            ("a star glued to a label", "*test", E::Wildcard),
            ("a star glued after a dot", "*.*test", E::Wildcard),
            ("two stars", "*.*.test", E::Wildcard),
            ("IPv4", "127.0.0.1", E::Ip),
            ("IPv6", "[::1]", E::Ip),
            ("a star before a whole address", "*.127.0.0.1", E::Wildcard),
            (
                "a star before a part of an address",
                "*.0.0.1",
                E::Host(HostError::Ipv4Form),
            ),
            ("a port", "allowed.test:443", E::Port),
            ("a URL", "https://allowed.test", E::Url),
            ("a CIDR", "10.0.0.0/8", E::Url),
            ("empty", "", E::Host(HostError::Empty)),
            ("a star and nothing", "*.", E::Everything),
            ("two dots", "*..test", E::Host(HostError::EmptyLabel)),
        ];
        for (what, input, want) in rows {
            assert_eq!(DomainPattern::parse(input), Err(want), "{what}");
        }
    }

    #[test]
    fn a_pattern_is_shown_as_it_was_written_and_knows_its_name() {
        for (text, base) in [("a.test", "a.test"), ("*.a.test", "a.test")] {
            let pattern = DomainPattern::parse(text).unwrap();
            assert_eq!((pattern.to_string().as_str(), pattern.base()), (text, base));
        }
    }
}
