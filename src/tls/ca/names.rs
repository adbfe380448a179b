//! The names a root may sign for: parsed, minimal, in order. Pure.

use std::collections::BTreeSet;

use super::CaError;
use crate::net::Host;

/// More names than this make a certificate that handshakes feel.
const MAX_NAMES: usize = 512;

/// DNS names, each of which stands for itself and for every name below it, as X.509 reads a
/// permitted subtree. A name below another one of the set is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PermittedNames(BTreeSet<Box<str>>);

impl PermittedNames {
    /// `*.x` permits `x` and all below it. `localhost` and what is below it are left out: no
    /// certificate is ever minted for this machine's own name. Addresses are refused.
    pub fn parse<S: AsRef<str>>(names: &[S]) -> Result<Self, CaError> {
        let mut all = BTreeSet::new();
        for given in names {
            let given = given.as_ref();
            let bad = |why: String| CaError::BadName {
                name: given.to_owned(),
                why,
            };
            let base = given.strip_prefix("*.").unwrap_or(given);
            match Host::parse(base).map_err(|e| bad(e.to_string()))? {
                host if host.is_localhost() => {}
                Host::Ip(_) => return Err(bad("an address cannot be intercepted".to_owned())),
                Host::Name(name) if name.contains('*') => {
                    return Err(bad("write an exact name or *.name".to_owned()));
                }
                Host::Name(name) => {
                    all.insert(Box::<str>::from(&*name));
                }
            }
        }
        if all.len() > MAX_NAMES {
            return Err(CaError::TooManyNames {
                count: all.len(),
                max: MAX_NAMES,
            });
        }
        let minimal = all
            .iter()
            .filter(|name| !parents(name).any(|parent| all.contains(parent)))
            .cloned()
            .collect();
        Ok(Self(minimal))
    }

    /// Whether a leaf for this exact canonical name lies inside the constraints.
    pub fn permits(&self, name: &str) -> bool {
        self.0.contains(name) || parents(name).any(|parent| self.0.contains(parent))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }

    pub fn to_vec(&self) -> Vec<String> {
        self.iter().map(str::to_owned).collect()
    }

    /// The names here that are not in `other`.
    pub fn without(&self, other: &Self) -> Vec<String> {
        self.0.difference(&other.0).map(|n| n.to_string()).collect()
    }
}

/// `a.b.c` gives `b.c`, then `c`.
fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.')
        .filter_map(|(dot, _)| name.get(dot + 1..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_canonical_minimal_and_in_order() {
        for (row, given, wanted) in [
            (
                "case and a final dot go",
                vec!["B.Test.", "a.test"],
                vec!["a.test", "b.test"],
            ),
            (
                "a pattern permits its base",
                vec!["*.w.test"],
                vec!["w.test"],
            ),
            (
                "a name below another is covered",
                vec!["a.b.test", "b.test", "x.a.b.test"],
                vec!["b.test"],
            ),
            (
                "a mere suffix is another name",
                vec!["ab.test", "b.test"],
                vec!["ab.test", "b.test"],
            ),
            (
                "localhost gets no constraint",
                vec!["localhost", "x.localhost", "a.test"],
                vec!["a.test"],
            ),
            ("none at all", vec![], vec![]),
        ] {
            let names = PermittedNames::parse(&given).unwrap();
            assert_eq!(names.to_vec(), wanted, "{row}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in ["", "127.0.0.1", "[::1]", "::1", "a.*.test", "*.*.test", "*"] {
            let got = PermittedNames::parse(&[bad]);
            assert!(
                matches!(got, Err(CaError::BadName { .. })),
                "{bad}: {got:?}"
            );
        }
        let many: Vec<_> = (0..=MAX_NAMES).map(|n| format!("n{n}.test")).collect();
        let got = PermittedNames::parse(&many);
        assert!(matches!(got, Err(CaError::TooManyNames { .. })));
    }

    #[test]
    fn permission_ends_at_label_boundaries() {
        let names = PermittedNames::parse(&["allowed.test", "*.w.test"]).unwrap();
        for (name, permitted) in [
            ("allowed.test", true),
            ("sub.allowed.test", true),
            ("a.b.allowed.test", true),
            ("w.test", true),
            ("evilallowed.test", false),
            ("allowed.test.evil.test", false),
            ("test", false),
            ("", false),
        ] {
            assert_eq!(names.permits(name), permitted, "{name}");
        }
        assert!(!PermittedNames::default().permits("a.test"));
    }
}
