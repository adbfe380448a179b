//! A base URL as the configuration takes it: scheme, authority, path prefix; nothing secret.

use std::fmt;

use super::{Authority, AuthorityError, Port};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    pub fn default_port(self) -> Port {
        match self {
            Scheme::Http => Port::HTTP,
            Scheme::Https => Port::HTTPS,
        }
    }
}

/// `http://sparkle:8000/v1`. No user information, query or fragment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    pub scheme: Scheme,
    pub authority: Authority,
    /// Empty, or `/v1`: begins with `/`, does not end with one.
    pub path: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("is no base URL: write http://host:port or https://host:port, with a path if any")]
    Scheme,
    #[error("holds user information: write the URL without it, and a key under its own setting")]
    UserInfo,
    #[error("holds a query or fragment: write the URL without '?' and '#' and what follows")]
    Query,
    #[error("path holds a character that is not plain: write letters, digits, '/', '-', '.', '_'")]
    Path,
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl BaseUrl {
    pub fn parse(input: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = input.split_once("://").ok_or(UrlError::Scheme)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(UrlError::Scheme),
        };
        if rest.contains('@') {
            return Err(UrlError::UserInfo);
        }
        if rest.contains(['?', '#']) {
            return Err(UrlError::Query);
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let authority = Authority::parse(authority, Some(scheme.default_port()))?;
        let path = path.trim_end_matches('/');
        let plain = |s: &str| {
            !matches!(s, "" | "." | "..")
                && s.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._~:+,=".contains(&b))
        };
        if !path.split('/').skip(1).all(plain) {
            return Err(UrlError::Path);
        }
        Ok(Self {
            scheme,
            authority,
            path: path.to_owned(),
        })
    }

    /// The origin-form target for `suffix`, which begins with `/`.
    pub fn target(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.path)
    }

    /// For a `Host` header: without the port that the scheme implies.
    pub fn host_header(&self) -> String {
        self.authority.without_port(self.scheme.default_port())
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}://{}{}",
            self.scheme.as_str(),
            self.host_header(),
            self.path
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls() {
        let rows = [
            ("http://sparkle:8000/v1", Ok("http://sparkle:8000/v1")),
            ("HTTPS://Sparkle:13000/v1/", Ok("https://sparkle:13000/v1")),
            ("http://127.0.0.1:80", Ok("http://127.0.0.1")),
            ("https://[2001:db8::1]/", Ok("https://[2001:db8::1]")),
            ("http://a/b/c.d", Ok("http://a/b/c.d")),
            ("sparkle:8000", Err(UrlError::Scheme)),
            ("ftp://sparkle", Err(UrlError::Scheme)),
            ("http://key@sparkle:8000", Err(UrlError::UserInfo)),
            ("http://sparkle?key=x", Err(UrlError::Query)),
            ("http://sparkle/v1#x", Err(UrlError::Query)),
            ("http://sparkle//v1", Err(UrlError::Path)),
            ("http://sparkle/../v1", Err(UrlError::Path)),
            ("http://sparkle/%2e", Err(UrlError::Path)),
            (
                "http://sparkle:0/v1",
                Err(AuthorityError::PortInvalid.into()),
            ),
        ];
        for (input, want) in rows {
            let got = BaseUrl::parse(input).map(|u| u.to_string());
            assert_eq!(got, want.map(str::to_owned), "{input}");
        }
        let url = BaseUrl::parse("http://sparkle:8000/v1").unwrap();
        assert_eq!(url.target("/models"), "/v1/models");
        assert_eq!(url.host_header(), "sparkle:8000");
    }
}
