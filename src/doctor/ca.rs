//! The root certificate and its bundle, as they lie on disk, and whether this shell trusts them.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use super::Finding;
use crate::{
    config::Config,
    tls::ca::{CaPaths, PermittedNames},
};

/// The largest file that is read as certificates.
const MAX_FILE: u64 = 16 << 20;
/// `run` re-issues a root this close to its end by itself.
const SOON: Duration = Duration::days(60);
/// The two that the plugin's clients read: httpx and openai one, requests the other (WIRE.md 0.1).
const HTTPX: &str = "SSL_CERT_FILE";
const REQUESTS: [&str; 2] = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];

/// `leads_here`: programs of this shell come to airlock by proxy, so they must trust it.
pub fn examine(
    config: &Config,
    environment: &HashMap<String, String>,
    leads_here: bool,
) -> Vec<Finding> {
    let paths = CaPaths::below(&config.state_dir);
    let mut findings = Vec::new();
    let root = match certificates(&paths.certificate()) {
        Ok(found) => found.into_iter().next(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            findings.push(Finding::ok(
                "ca",
                "no root CA yet; the first `airlock run` makes it, with its bundle",
            ));
            None
        }
        Err(e) => {
            findings.push(unusable(&paths, &e.to_string()));
            return findings;
        }
    };
    let names: Vec<String> = config
        .policy
        .intercepted_hosts()
        .iter()
        .map(ToString::to_string)
        .collect();
    if let Some(root) = &root {
        findings.push(match Root::read(root) {
            Some(facts) => certificate(&facts, &names, &paths, OffsetDateTime::now_utc()),
            None => unusable(&paths, "it is no certificate of ours"),
        });
        findings.push(bundle(&paths.bundle(), root));
    }
    let found = trust(environment, &paths.bundle(), root.as_ref());
    findings.push(if leads_here {
        found
    } else {
        found.only_warned()
    });
    findings
}

fn unusable(paths: &CaPaths, problem: &str) -> Finding {
    Finding::fail(
        "ca",
        format!(
            "the root certificate {} is unusable: {problem}",
            paths.certificate().display()
        ),
        "delete it to have it issued again from the same key, or run `airlock ca rotate`",
    )
}

/// All certificates of a PEM file.
fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    if fs::metadata(path)?.len() > MAX_FILE {
        return Err(io::Error::other(format!("larger than {MAX_FILE} bytes")));
    }
    let text = fs::read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(io::Error::other("it holds no certificate")),
        Ok(found) => Ok(found),
        Err(e) => Err(io::Error::other(e.to_string())),
    }
}

/// What the doctor reads from a root.
struct Root {
    not_after: OffsetDateTime,
    permitted: BTreeSet<String>,
}

impl Root {
    fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let constraints =
            certificate
                .extensions()
                .iter()
                .find_map(|e| match e.parsed_extension() {
                    ParsedExtension::NameConstraints(constraints) => Some(constraints),
                    _ => None,
                })?;
        let permitted = constraints.permitted_subtrees.iter().flatten();
        let permitted = permitted.filter_map(|subtree| match subtree.base {
            GeneralName::DNSName(name) => Some(name.to_owned()),
            _ => None,
        });
        Some(Self {
            not_after: certificate.validity().not_after.to_datetime(),
            permitted: permitted.collect(),
        })
    }
}

fn certificate(root: &Root, names: &[String], paths: &CaPaths, now: OffsetDateTime) -> Finding {
    let until = root
        .not_after
        .format(&Rfc3339)
        .unwrap_or_else(|_| root.not_after.to_string());
    let restart = "restart airlock, which issues it again from the same key; then restart ComfyUI, \
                   so that it reads the new bundle";
    if root.not_after <= now {
        return Finding::fail(
            "ca",
            format!("the root certificate ended on {until}"),
            restart,
        );
    }
    if root.not_after - now < SOON {
        return Finding::warn(
            "ca",
            format!("the root certificate ends on {until}"),
            restart,
        );
    }
    let wanted = match PermittedNames::parse(names) {
        Ok(wanted) => wanted,
        Err(e) => {
            return Finding::fail("ca", e.to_string(), "correct the rule that names this host");
        }
    };
    let missing: Vec<_> = wanted
        .iter()
        .filter(|n| !root.permitted.contains(*n))
        .collect();
    if !missing.is_empty() {
        return Finding::warn(
            "ca",
            format!(
                "the root certificate may not sign for {}",
                missing.join(", ")
            ),
            restart,
        );
    }
    Finding::ok(
        "ca",
        format!(
            "{} may sign for {} names and nothing else, until {until}",
            paths.certificate().display(),
            root.permitted.len(),
        ),
    )
}

fn bundle(path: &Path, root: &CertificateDer<'_>) -> Finding {
    let shown = path.display();
    let again = "run `airlock ca bundle` to write it again, then restart ComfyUI";
    match certificates(path) {
        Err(e) => Finding::fail(
            "ca_bundle",
            format!("the bundle {shown} cannot be used: {e}"),
            again,
        ),
        Ok(all) if !all.contains(root) => Finding::fail(
            "ca_bundle",
            format!("the bundle {shown} is older than the root certificate: it does not hold it"),
            again,
        ),
        Ok(all) if all.len() == 1 => Finding::warn(
            "ca_bundle",
            format!("the bundle {shown} holds our root and none of the system's"),
            "install the ca-certificates package, then run `airlock ca bundle`",
        ),
        Ok(all) => Finding::ok(
            "ca_bundle",
            format!(
                "{shown} holds our root and {} of the system's",
                all.len() - 1
            ),
        ),
    }
}

/// Both variables must lead to a file that holds our root, or one half of the plugin refuses our
/// certificates.
fn trust(
    environment: &HashMap<String, String>,
    bundle: &Path,
    root: Option<&CertificateDer<'_>>,
) -> Finding {
    const CHECK: &str = "shell_ca";
    let set = |name: &str| {
        environment
            .get(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    let httpx = set(HTTPX);
    let requests = REQUESTS.iter().find_map(|name| set(name));
    let fix = "start ComfyUI with `airlock exec -- python main.py`, or run `eval \"$(airlock env)\"` \
               in the shell first";
    if httpx.is_none() && requests.is_none() {
        return Finding::fail(
            CHECK,
            "this shell trusts the system's roots only: programs started from it refuse \
             intercepted hosts",
            fix,
        );
    }
    let half = |missing: &str, who: &str| {
        Finding::fail(
            CHECK,
            format!("{missing} is not set, so {who} refuses intercepted hosts"),
            fix,
        )
    };
    let (httpx, requests) = match (httpx, requests) {
        (Some(httpx), Some(requests)) => (httpx, requests),
        (None, _) => return half(HTTPX, "the chat (httpx)"),
        (_, None) => return half("REQUESTS_CA_BUNDLE", "the model list and search (requests)"),
    };
    for (name, path) in [(HTTPX, &httpx), ("REQUESTS_CA_BUNDLE", &requests)] {
        let holds_root = match (certificates(path), root) {
            (Ok(all), Some(root)) => all.contains(root),
            // Before the first start there is no root to look for; the right path is all there is.
            (_, None) => path == bundle,
            (Err(_), Some(_)) => false,
        };
        if !holds_root {
            return Finding::fail(
                CHECK,
                format!(
                    "{name} is {}, which does not hold airlock's root",
                    path.display()
                ),
                format!("set it to {}, or: {fix}", bundle.display()),
            );
        }
    }
    Finding::ok(
        CHECK,
        format!("{HTTPX} and REQUESTS_CA_BUNDLE hold airlock's root"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doctor::Status,
        tls::{RootCa, SystemRoots, write_bundle},
    };

    /// Name and value.
    type Variables<'a> = &'a [(&'a str, &'a str)];

    fn made(names: &[&str]) -> (tempfile::TempDir, CertificateDer<'static>, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (root, _) = RootCa::load_or_create(dir.path(), names).unwrap();
        let bundle = write_bundle(&root, &SystemRoots::default()).unwrap();
        (dir, root.certificate().clone(), bundle)
    }

    #[test]
    fn a_root_is_judged_by_its_names_and_its_end() {
        let (dir, root, _) = made(&["a.example", "*.b.example"]);
        let paths = CaPaths::below(dir.path());
        let facts = Root::read(&root).unwrap();
        let now = OffsetDateTime::now_utc();
        let days = |n| now + Duration::days(n);
        let rows = [
            (
                "its names, in date",
                vec!["a.example", "*.b.example"],
                now,
                Status::Ok,
            ),
            ("fewer names", vec!["a.example"], now, Status::Ok),
            (
                "a name it may not sign for",
                vec!["c.example"],
                now,
                Status::Warn,
            ),
            ("near its end", vec!["a.example"], days(3600), Status::Warn),
            ("past its end", vec!["a.example"], days(4000), Status::Fail),
        ];
        for (name, names, now, want) in rows {
            let names: Vec<_> = names.into_iter().map(str::to_owned).collect();
            let got = certificate(&facts, &names, &paths, now);
            assert_eq!(got.status, want, "{name}: {got:?}");
        }
    }

    #[test]
    fn a_bundle_must_hold_the_root_of_now() {
        let (_dir, root, bundle_path) = made(&["a.example"]);
        let (_other_dir, other, _) = made(&["a.example"]);
        assert_eq!(
            bundle(&bundle_path, &root).status,
            Status::Warn,
            "no system roots in it"
        );
        assert_eq!(bundle(&bundle_path, &other).status, Status::Fail);
        assert_eq!(
            bundle(Path::new("/nonexistent"), &root).status,
            Status::Fail
        );
    }

    #[test]
    fn both_variables_must_lead_to_the_root() {
        let (_dir, root, bundle) = made(&["a.example"]);
        let (_other_dir, _, foreign) = made(&["a.example"]);
        let own = bundle.display().to_string();
        let foreign = foreign.display().to_string();
        let rows: &[(&str, Variables<'_>, Status)] = &[
            ("neither", &[], Status::Fail),
            (
                "both",
                &[("SSL_CERT_FILE", &own), ("REQUESTS_CA_BUNDLE", &own)],
                Status::Ok,
            ),
            (
                "curl's stands in",
                &[("SSL_CERT_FILE", &own), ("CURL_CA_BUNDLE", &own)],
                Status::Ok,
            ),
            ("httpx alone", &[("SSL_CERT_FILE", &own)], Status::Fail),
            (
                "requests alone",
                &[("REQUESTS_CA_BUNDLE", &own)],
                Status::Fail,
            ),
            (
                "another airlock's",
                &[("SSL_CERT_FILE", &own), ("REQUESTS_CA_BUNDLE", &foreign)],
                Status::Fail,
            ),
            (
                "a file that is not there",
                &[
                    ("SSL_CERT_FILE", "/nonexistent"),
                    ("REQUESTS_CA_BUNDLE", &own),
                ],
                Status::Fail,
            ),
        ];
        for (name, set, want) in rows {
            let environment = set
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect();
            let got = trust(&environment, &bundle, Some(&root));
            assert_eq!(got.status, *want, "{name}: {got:?}");
        }
    }
}
