//! The patterns that rules match a canonical path with. Built by `config` and the packs; looked up by
//! the index, and compared by `diff`.

use std::fmt;

use super::{PathError, canonical};

/// A rule's path: exact (`/v1/models`) or everything below (`/v1/*`, which is not `/v1` itself).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern {
    Exact(Box<str>),
    /// Ends with `/`.
    Below(Box<str>),
    /// Begins with `/`: whatever stands before it.
    Ending(Box<str>),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathPatternError {
    #[error(
        "'*' may stand only at the end, after '/', or alone before the first '/': write /v1/*, */info/refs or the exact path"
    )]
    Wildcard,
    #[error("a path pattern holds no query: leave out '?' and '#' and what follows")]
    Query,
    #[error("path is not in the form that is judged: write {0}")]
    NotCanonical(String),
    #[error(transparent)]
    Path(#[from] PathError),
}

impl PathPattern {
    /// Patterns are written in canonical form, else they could never match.
    pub fn parse(input: &str) -> Result<Self, PathPatternError> {
        if let Some(ending) = input.strip_prefix('*').filter(|rest| rest.len() > 1) {
            return match Self::parse(ending)? {
                Self::Exact(ending) => Ok(Self::Ending(ending)),
                Self::Below(_) | Self::Ending(_) => Err(PathPatternError::Wildcard),
            };
        }
        let (path, below) = match input.strip_suffix("/*") {
            Some(head) => (format!("{head}/"), true),
            None => (input.to_owned(), false),
        };
        if path.contains('*') {
            return Err(PathPatternError::Wildcard);
        }
        if path.contains(['?', '#']) {
            return Err(PathPatternError::Query);
        }
        if path.is_empty() {
            return Err(PathError::NotAbsolute.into());
        }
        let clean = canonical(&path)?;
        if clean != path {
            let star = if below { "*" } else { "" };
            return Err(PathPatternError::NotCanonical(format!("{clean}{star}")));
        }
        let path = path.into_boxed_str();
        Ok(if below {
            Self::Below(path)
        } else {
            Self::Exact(path)
        })
    }

    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == &**exact,
            Self::Below(prefix) => path.starts_with(&**prefix),
            Self::Ending(ending) => path.ends_with(&**ending),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => f.write_str(path),
            Self::Below(prefix) => write!(f, "{prefix}*"),
            Self::Ending(ending) => write!(f, "*{ending}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let below = PathPattern::parse("/v1/*").unwrap();
        assert!(below.matches("/v1/models") && below.matches("/v1/"));
        assert!(!below.matches("/v1") && !below.matches("/v10/x"));
        let exact = PathPattern::parse("/v1/models").unwrap();
        assert!(exact.matches("/v1/models") && !exact.matches("/v1/models/"));
        assert!(PathPattern::parse("/*").unwrap().matches("/"));
        let ending = PathPattern::parse("*/info/refs").unwrap();
        assert!(ending.matches("/a/b.git/info/refs") && ending.matches("/info/refs"));
        assert!(!ending.matches("/a/xinfo/refs") && !ending.matches("/a/info/refs/"));
        assert_eq!(ending.to_string(), "*/info/refs");
        use PathPatternError as E;
        let rows = [
            ("/v1*", E::Wildcard),
            ("/*/models", E::Wildcard),
            ("*", E::Wildcard),
            ("*/", E::Wildcard),
            ("*/v1/*", E::Wildcard),
            ("**/v1", E::Wildcard),
            ("*/a//b", E::NotCanonical("/a/b".into())),
            ("/a?b=c", E::Query),
            ("v1", E::Path(PathError::NotAbsolute)),
            ("/a//b", E::NotCanonical("/a/b".into())),
            ("/a/../b/*", E::NotCanonical("/b/*".into())),
            ("", E::Path(PathError::NotAbsolute)),
        ];
        for (input, want) in rows {
            assert_eq!(PathPattern::parse(input), Err(want), "{input}");
        }
    }
}
