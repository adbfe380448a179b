//! CAs that are named for one upstream and trusted for nothing else, as Pingora's peers want them, or
//! [`super::pinned`] where Pingora cannot judge by them.

use std::{path::Path, sync::Arc};

use hashbrown::HashMap;
use pingora::{
    protocols::tls::CaType,
    utils::tls::{WrappedX509, parse_x509},
};
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::{net::Authority, tls::ClientTls};

#[derive(Debug, thiserror::Error)]
#[error(
    "ca_file {path} of {authority}: {problem}; write the PEM file of the CA that signed its certificate"
)]
pub struct PrivateCaError {
    path: String,
    authority: Authority,
    problem: String,
}

/// How an upstream with a CA of its own is verified.
#[derive(Clone)]
pub enum Trust {
    /// By Pingora, against these.
    Ca(Arc<CaType>),
    /// By us: the file may hold the server's own certificate.
    Own(Arc<ClientConfig>),
}

/// Loaded at start, so that a wrong path stops the start and not a request.
#[derive(Default)]
pub struct PrivateCas {
    by_authority: HashMap<Authority, Trust>,
    /// What each file held.
    trusted: HashMap<Authority, Vec<CertificateDer<'static>>>,
    /// Connections that were verified by other CAs are not used again.
    generation: u64,
    /// With which generation a CA was last taken away from whom. What is no longer in the configuration
    /// stays in here: connections to it may live on.
    narrowed: HashMap<Authority, u64>,
}

impl PrivateCas {
    pub fn load<'a>(
        named: impl IntoIterator<Item = (&'a Authority, &'a Path)>,
        tls: &ClientTls,
    ) -> Result<Self, PrivateCaError> {
        let mut by_authority = HashMap::new();
        let mut trusted = HashMap::new();
        for (authority, path) in named {
            let fail = |problem: String| PrivateCaError {
                path: path.display().to_string(),
                authority: authority.clone(),
                problem,
            };
            let pem = CertificateDer::pem_file_iter(path).map_err(|e| fail(e.to_string()))?;
            let mut certificates: Vec<WrappedX509> = Vec::new();
            let mut own = false;
            let mut held = Vec::new();
            for der in pem {
                let der = der.map_err(|e| fail(e.to_string()))?;
                // Pingora's own constructor panics on bad DER; look first.
                let (_, seen) =
                    x509_parser::parse_x509_certificate(&der).map_err(|e| fail(e.to_string()))?;
                // A CA has no host names; a server's own certificate has.
                own |= seen.is_ca() && matches!(seen.subject_alternative_name(), Ok(Some(_)));
                certificates.push(WrappedX509::new(der.to_vec(), parse_x509));
                held.push(der);
            }
            if certificates.is_empty() {
                return Err(fail("holds no certificate".into()));
            }
            let trust = if own {
                let config = tls.config_for(Some(path));
                Trust::Own(config.map_err(|e| fail(e.to_string()))?)
            } else {
                Trust::Ca(certificates.into())
            };
            by_authority.insert(authority.clone(), trust);
            trusted.insert(authority.clone(), held);
        }
        Ok(Self {
            by_authority,
            trusted,
            generation: 0,
            narrowed: HashMap::new(),
        })
    }

    /// As what comes after `old`, with the policy of this generation.
    pub fn following(self, old: &Self, generation: u64) -> Self {
        let mut narrowed = old.narrowed.clone();
        for authority in old.trusted.keys().chain(self.trusted.keys()) {
            // Without a file it is the system's CAs, and a file takes these away.
            let all_kept = match (old.trusted.get(authority), self.trusted.get(authority)) {
                (Some(before), Some(now)) => before.iter().all(|ca| now.contains(ca)),
                (Some(_), None) | (None, Some(_)) => false,
                (None, None) => true,
            };
            if !all_kept {
                narrowed.insert(authority.clone(), generation);
            }
        }
        Self {
            generation,
            narrowed,
            ..self
        }
    }

    /// Whether the certificate of `authority`, found good by those of generation `since`, might be
    /// refused by these.
    pub fn narrowed_since(&self, authority: &Authority, since: u64) -> bool {
        self.narrowed.get(authority).is_some_and(|at| *at > since)
    }

    /// Of the policy it was loaded with.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// In words, whose certificates are trusted that were not under `old`.
    pub fn opened_since(&self, old: &Self) -> Vec<String> {
        let mut opened: Vec<String> = self
            .trusted
            .iter()
            .filter(|(authority, now)| {
                let before = old.trusted.get(*authority).map_or(&[][..], Vec::as_slice);
                now.iter().any(|ca| !before.contains(ca))
            })
            .map(|(authority, _)| format!("{authority} may be certified by another ca_file"))
            .collect();
        let gone = old
            .trusted
            .keys()
            .filter(|a| !self.trusted.contains_key(*a));
        opened.extend(gone.map(|authority| {
            format!("{authority} may be certified by any CA of the system: its ca_file is gone")
        }));
        opened.sort_unstable();
        opened
    }

    pub fn of(&self, authority: &Authority) -> Option<Trust> {
        if self.by_authority.is_empty() {
            return None;
        }
        self.by_authority.get(authority).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(files: &[(&str, &[&str])]) -> PrivateCas {
        let der = |name: &&str| CertificateDer::from(name.as_bytes().to_vec());
        let trusted = files.iter().map(|(authority, cas)| {
            let authority = Authority::parse(authority, None).unwrap();
            (authority, cas.iter().map(der).collect())
        });
        PrivateCas {
            trusted: trusted.collect(),
            ..PrivateCas::default()
        }
    }

    #[test]
    fn who_lost_a_ca_is_known_for_as_long_as_connections_may_live() {
        type Files<'a> = &'a [(&'a str, &'a [&'a str])];
        let a = Authority::parse("a.test:443", None).unwrap();
        let rows: [(&str, Files<'_>, Files<'_>, bool); 6] = [
            (
                "the same file",
                &[("a.test:443", &["one"])],
                &[("a.test:443", &["one"])],
                false,
            ),
            (
                "one more",
                &[("a.test:443", &["one"])],
                &[("a.test:443", &["two", "one"])],
                false,
            ),
            (
                "another",
                &[("a.test:443", &["one"])],
                &[("a.test:443", &["two"])],
                true,
            ),
            (
                "the system's instead",
                &[("a.test:443", &["one"])],
                &[],
                true,
            ),
            (
                "in place of the system's",
                &[],
                &[("a.test:443", &["one"])],
                true,
            ),
            (
                "another for somebody else",
                &[("b.test:443", &["one"])],
                &[("b.test:443", &["two"])],
                false,
            ),
        ];
        for (name, old, new, narrowed) in rows {
            let old = named(old).following(&PrivateCas::default(), 1);
            let new = named(new).following(&old, 2);
            assert_eq!(new.narrowed_since(&a, 1), narrowed, "{name}");
            assert!(!new.narrowed_since(&a, 2), "{name}: judged by these");
            // A generation later nobody names it any more.
            let later = named(&[]).following(&new, 3);
            assert!(
                !narrowed || later.narrowed_since(&a, 1),
                "{name}: forgotten"
            );
        }
    }

    #[test]
    fn a_file_without_a_certificate_is_refused_with_the_fix() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        std::fs::write(&path, "nothing").unwrap();
        let authority = Authority::parse("sparkle:13000", None).unwrap();
        let tls = ClientTls::new(rustls::RootCertStore::empty());
        let error = PrivateCas::load([(&authority, path.as_path())], &tls)
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("holds no certificate; write the PEM file"),
            "{error}"
        );
    }
}
