//! Leaves: a short-lived certificate per intercepted name, and the `ServerConfig` that serves it.
//!
//! `listener` asks [`LeafCache::server_config`] once the policy has said intercept. A config
//! serves its own name only: its resolver refuses another SNI, and its session tickets are sealed
//! with keys of its own, so no session can be resumed under another name (EGRESS 32).
//!
//! All leaves of a process share one key, made at start and held in memory only. Making one per
//! name would protect nothing: they would live in the same memory, beside the root's.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::{
    ServerConfig,
    crypto::ring::Ticketer,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::{CertifiedKey, SigningKey},
};
use time::{Duration, OffsetDateTime};

use super::{
    HTTP_1_1, VERSIONS,
    ca::{BACKDATED, CaError, RootCa, random_serial},
    lru::Lru,
    provider,
};
use crate::{metrics::Metrics, net::Host};

/// How long a leaf is valid; past half of it, a new one is minted.
const VALIDITY: Duration = Duration::days(7);

#[derive(Debug, thiserror::Error)]
pub enum LeafError {
    #[error("{0:?} is not a canonical host name: an address or a pattern gets no certificate")]
    NotAName(String),
    #[error("{0} is outside the root's name constraints: add it to the intercepted names")]
    NotPermitted(String),
    #[error(
        "the root CA has expired or is not valid yet: check the clock, or run `airlock ca rotate`"
    )]
    RootNotValid,
    #[error(transparent)]
    Ca(#[from] CaError),
    #[error("minting a leaf failed: {0}")]
    Mint(#[from] rcgen::Error),
    #[error("tls setup for a leaf failed: {0}")]
    Tls(#[from] rustls::Error),
}

/// Mints leaves, without a cache. What the minting bench measures.
pub struct LeafMinter {
    root: Arc<RootCa>,
    key: KeyPair,
    signer: Arc<dyn SigningKey>,
}

/// A certificate for one name, and when to replace it.
#[derive(Debug)]
pub struct Leaf {
    pub name: Arc<str>,
    pub certificate: CertificateDer<'static>,
    pub refresh_after: OffsetDateTime,
}

impl LeafMinter {
    pub fn new(root: Arc<RootCa>) -> Result<Self, LeafError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signer = provider().key_provider.load_private_key(der)?;
        Ok(Self { root, key, signer })
    }

    /// Signs a certificate for `name`, which must be canonical (see [`Host`]) and permitted.
    pub fn mint(&self, name: &str, now: OffsetDateTime) -> Result<Leaf, LeafError> {
        match Host::parse(name) {
            Ok(Host::Name(canonical)) if *canonical == *name && !name.contains('*') => {}
            Ok(_) | Err(_) => return Err(LeafError::NotAName(name.to_owned())),
        }
        if !self.root.permits(name) {
            return Err(LeafError::NotPermitted(name.to_owned()));
        }
        // A leaf that outlives its root would be refused in the middle of its life.
        let not_before = (now - BACKDATED).max(self.root.not_before());
        let not_after = (now + VALIDITY).min(self.root.not_after());
        if now < not_before || not_after <= now {
            return Err(LeafError::RootNotValid);
        }
        let mut params = CertificateParams::default();
        params.serial_number = Some(random_serial()?);
        params.not_before = not_before;
        params.not_after = not_after;
        // The name stands in the SAN alone: as a common name it is ignored by clients, and must
        // not be longer than 64 characters.
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "Airlock interception");
        params.subject_alt_names = vec![SanType::DnsName(name.try_into()?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&self.key, self.root.issuer())?;
        Ok(Leaf {
            name: name.into(),
            certificate: certificate.into(),
            refresh_after: now + (not_after - now) / 2,
        })
    }

    /// The server side of a handshake for this leaf, and for no other name.
    pub fn serve(&self, leaf: &Leaf) -> Result<ServerConfig, LeafError> {
        // Without the root: who does not have it does not trust it either.
        let chain = vec![leaf.certificate.clone()];
        let resolver = OneName {
            name: leaf.name.clone(),
            key: Arc::new(CertifiedKey::new(chain, self.signer.clone())),
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        // Resumption by ticket only: no memory per session, and keys that no other name shares.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Ticketer::new()?;
        config.send_tls13_tickets = 1;
        config.max_early_data_size = 0;
        Ok(config)
    }
}

impl fmt::Debug for LeafMinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeafMinter")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

/// Serves one certificate to clients that ask for its name, or for none (which clients without
/// SNI may do is the policy's decision, taken before).
#[derive(Debug)]
struct OneName {
    name: Arc<str>,
    key: Arc<CertifiedKey>,
}

impl ResolvesServerCert for OneName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let same = hello.server_name().is_none_or(|asked| {
            let asked = asked.strip_suffix('.').unwrap_or(asked);
            asked.eq_ignore_ascii_case(&self.name)
        });
        same.then(|| self.key.clone())
    }
}

/// Server configs by exact name, bounded; the one used longest ago goes first.
pub struct LeafCache {
    minter: LeafMinter,
    cached: Mutex<Lru<Arc<str>, Cached>>,
    metrics: Arc<Metrics>,
}

impl fmt::Debug for LeafCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeafCache")
            .field("minter", &self.minter)
            .field("held", &self.cached.lock().len())
            .finish_non_exhaustive()
    }
}

struct Cached {
    config: Arc<ServerConfig>,
    refresh_after: OffsetDateTime,
}

impl LeafCache {
    /// Holds at most `capacity` configs, a few KiB each. A root with other names needs a new cache.
    pub fn new(
        root: Arc<RootCa>,
        capacity: usize,
        metrics: Arc<Metrics>,
    ) -> Result<Self, LeafError> {
        Ok(Self {
            minter: LeafMinter::new(root)?,
            cached: Mutex::new(Lru::new(capacity)),
            metrics,
        })
    }

    /// The config to terminate TLS with for this canonical name.
    pub fn server_config(&self, name: &str) -> Result<Arc<ServerConfig>, LeafError> {
        self.server_config_at(name, OffsetDateTime::now_utc())
    }

    fn server_config_at(
        &self,
        name: &str,
        now: OffsetDateTime,
    ) -> Result<Arc<ServerConfig>, LeafError> {
        {
            let mut cached = self.cached.lock();
            let found = cached
                .find(name)
                .filter(|c| now < c.refresh_after)
                .map(|c| c.config.clone());
            if let Some(config) = found {
                self.metrics.leaf(true, cached.len());
                return Ok(config);
            }
        }
        // Outside the lock. Two at once for one name mint twice, which costs a fraction of a
        // millisecond; the later one stays.
        let leaf = self.minter.mint(name, now)?;
        let config = Arc::new(self.minter.serve(&leaf)?);
        let mut cached = self.cached.lock();
        cached.put(
            leaf.name,
            Cached {
                config: config.clone(),
                refresh_after: leaf.refresh_after,
            },
        );
        self.metrics.leaf(false, cached.len());
        Ok(config)
    }
}

#[cfg(test)]
mod tests;
