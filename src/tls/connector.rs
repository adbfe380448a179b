//! TLS towards upstreams: whom we believe.
//!
//! `upstream` and `gateway` take a `ClientConfig` from [`ClientTls`] for what they dial. An
//! upstream is always verified, also behind an interception. Where the configuration names a CA
//! file for an upstream, that file takes the place of the system's roots: nobody but the user's
//! own CA can then vouch for their LLM box.
//!
//! A file may also hold the upstream's own self-signed certificate (`openssl req -x509` makes such
//! a one, marked as a CA, which no verifier takes for a server's). It is then accepted if it is
//! that very certificate, in date, and carries the name that was dialled.

mod pinned;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use hashbrown::HashMap;
use parking_lot::Mutex;
use rustls::{
    ClientConfig, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::{CertificateDer, pem::PemObject},
};

use super::{
    HTTP_1_1, VERSIONS,
    files::{self, FileError},
    provider,
};
use pinned::CaOrPinned;

const MAX_CA_FILE: u64 = 4 << 20;

#[derive(Debug, thiserror::Error)]
pub enum TlsConfigError {
    #[error(
        "{path} does not exist: give the path of a PEM file with the upstream's CA certificate"
    )]
    Missing { path: PathBuf },
    #[error("{path} cannot be read: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("ca file is unusable: {0}")]
    File(FileError),
    #[error(
        "{path} holds no certificate: it must be PEM, with a block that starts \
         `-----BEGIN CERTIFICATE-----`"
    )]
    NoCertificate { path: PathBuf },
    #[error("{path} holds a broken certificate: {detail}; export it again in PEM")]
    BadCertificate { path: PathBuf, detail: String },
    #[error("tls setup failed: {0}")]
    Tls(#[from] rustls::Error),
}

/// Client configs by CA file. Made once per configuration: a CA file that changes on disk is read
/// again only by a new one.
pub struct ClientTls {
    system: Arc<RootCertStore>,
    /// As many entries as the configuration names files, and one.
    configs: Mutex<HashMap<Option<PathBuf>, Arc<ClientConfig>>>,
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls")
            .field("system_roots", &self.system.len())
            .finish_non_exhaustive()
    }
}

impl ClientTls {
    pub fn new(system_roots: RootCertStore) -> Self {
        Self {
            system: Arc::new(system_roots),
            configs: Mutex::default(),
        }
    }

    /// The config for an upstream: `None` trusts the system's roots, a file trusts that file alone.
    /// Reads the file at first use, so call it once at start to report a bad one early.
    pub fn config_for(&self, ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsConfigError> {
        let key = ca_file.map(Path::to_owned);
        if let Some(config) = self.configs.lock().get(&key) {
            return Ok(config.clone());
        }
        let config = Arc::new(match ca_file {
            None => plain(self.system.clone())?,
            Some(path) => private(path)?,
        });
        // Whoever came first stays, so that all share one session cache.
        let mut configs = self.configs.lock();
        Ok(configs.entry(key).or_insert(config).clone())
    }

    /// Who judges the certificate of such an upstream, for a handshake that is no connection.
    pub fn verifier_for(
        &self,
        ca_file: Option<&Path>,
    ) -> Result<Arc<dyn ServerCertVerifier>, TlsConfigError> {
        match ca_file {
            None => Ok(webpki_verifier(&self.system)?),
            Some(path) => Ok(Arc::new(private_verifier(path)?)),
        }
    }
}

fn webpki_verifier(
    roots: &Arc<RootCertStore>,
) -> Result<Arc<WebPkiServerVerifier>, TlsConfigError> {
    WebPkiServerVerifier::builder_with_provider(roots.clone(), provider())
        .build()
        .map_err(|e| TlsConfigError::Tls(rustls::Error::General(e.to_string())))
}

fn plain(roots: Arc<RootCertStore>) -> Result<ClientConfig, TlsConfigError> {
    let builder =
        ClientConfig::builder_with_provider(provider()).with_protocol_versions(VERSIONS)?;
    if roots.is_empty() {
        // webpki verifies nothing against an empty store; every handshake fails, as it should.
        return Ok(finish(
            builder.with_root_certificates(RootCertStore::empty()),
        ));
    }
    Ok(finish(builder.with_root_certificates(roots)))
}

fn private_verifier(path: &Path) -> Result<CaOrPinned, TlsConfigError> {
    let certificates = read_ca_file(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots
            .add(certificate.clone())
            .map_err(|e| TlsConfigError::BadCertificate {
                path: path.to_owned(),
                detail: e.to_string(),
            })?;
    }
    let webpki = webpki_verifier(&Arc::new(roots))?;
    Ok(CaOrPinned::new(webpki, certificates))
}

fn private(path: &Path) -> Result<ClientConfig, TlsConfigError> {
    let verifier = private_verifier(path)?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)?
        // "Dangerous" is any verifier of one's own; this one only adds an exact match.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    Ok(finish(builder))
}

fn finish(
    builder: rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>,
) -> ClientConfig {
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    config.enable_early_data = false;
    config
}

fn read_ca_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let text = match files::read_text(path, MAX_CA_FILE) {
        Ok(Some(text)) => text,
        Ok(None) => {
            return Err(TlsConfigError::Missing {
                path: path.to_owned(),
            });
        }
        Err(FileError::Io { path, source }) => {
            return Err(TlsConfigError::Unreadable { path, source });
        }
        Err(FileError::NotText { path }) => return Err(TlsConfigError::NoCertificate { path }),
        Err(e) => return Err(TlsConfigError::File(e)),
    };
    let certificates = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| TlsConfigError::BadCertificate {
            path: path.to_owned(),
            detail: e.to_string(),
        })?;
    if certificates.is_empty() {
        return Err(TlsConfigError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests;
