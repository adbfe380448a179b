//! The root certificate itself: what goes into it, and how it is read back. Pure but for the key's
//! signature and the random serial.

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
    PublicKeyData, SerialNumber,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use super::{CaError, PermittedNames};

/// Start of the common name of every root of ours; `roots` leaves out what carries it.
pub const SUBJECT_PREFIX: &str = "Airlock root CA ";

/// Long, because trusting a root anew is a chore in every browser; the constraints keep it harmless.
const VALIDITY: Duration = Duration::days(10 * 365);
/// For clients whose clock is behind.
pub const BACKDATED: Duration = Duration::DAY;

/// Stands in the certificate when no name is intercepted: without any permitted subtree, X.509
/// would permit every name. RFC 2606 keeps `.invalid` from ever being one.
const PERMIT_NOTHING: &str = "airlock.invalid";

/// What a stored root says of itself.
pub struct RootFacts {
    pub subject: String,
    pub serial: String,
    pub fingerprint: String,
    pub not_before: OffsetDateTime,
    pub not_after: OffsetDateTime,
    /// `None` when the constraints are not of the shape that [`issue`] writes.
    pub names: Option<PermittedNames>,
    /// SubjectPublicKeyInfo, DER.
    pub public_key: Vec<u8>,
}

/// A self-signed root over `key` for `names`.
pub fn issue(
    key: &KeyPair,
    names: &PermittedNames,
    now: OffsetDateTime,
) -> Result<Certificate, CaError> {
    let mut params = issuer_params(key);
    params.serial_number = Some(random_serial()?);
    params.not_before = now - BACKDATED;
    params.not_after = now + VALIDITY;
    // Not asked of a root by any standard, but read by OpenSSL and Go: no code, no mail.
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut permitted: Vec<_> = names
        .iter()
        .map(|name| GeneralSubtree::DnsName(name.to_owned()))
        .collect();
    if permitted.is_empty() {
        permitted.push(GeneralSubtree::DnsName(PERMIT_NOTHING.to_owned()));
    }
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: permitted,
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
            GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
        ],
    });
    params.self_signed(key).map_err(CaError::Crypto)
}

/// The part of the parameters that signing a leaf needs: the subject, which depends on the key
/// alone. So leaves chain to every root ever issued from one key.
pub fn issuer_params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, subject_of(key));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Six hex digits tell two roots apart in a list of trusted ones. They come from the random key,
/// not from this machine's name.
pub fn subject_of(key: &KeyPair) -> String {
    let digest = Sha256::digest(key.subject_public_key_info());
    let tag: String = digest.iter().take(3).map(|b| format!("{b:02x}")).collect();
    format!("{SUBJECT_PREFIX}{tag}")
}

/// 126 random bits, positive, of constant length. Re-issued roots and leaves that share a key
/// must still differ in it: some clients refuse a serial they have seen on another certificate.
pub fn random_serial() -> Result<SerialNumber, CaError> {
    let mut bytes = [0_u8; 16];
    crate::tls::provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| CaError::NoRandomness)?;
    let [first, ..] = &mut bytes;
    *first = (*first & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// RFC 7468: base64 in lines of 64.
pub fn to_pem(der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in der.chunks(48) {
        STANDARD.encode_string(line, &mut text);
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

/// The first certificate of a PEM text.
pub fn from_pem(pem: &str) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).ok()
}

/// Reads a root back; `None` when it is no certificate, or one that is no CA.
pub fn read(der: &CertificateDer<'_>) -> Option<RootFacts> {
    let (rest, cert) = X509Certificate::from_der(der).ok()?;
    if !rest.is_empty() || !cert.is_ca() {
        return None;
    }
    let subject = cert.subject().iter_common_name().next()?.as_str().ok()?;
    Some(RootFacts {
        subject: subject.to_owned(),
        serial: hex(cert.raw_serial(), ""),
        fingerprint: fingerprint(der),
        not_before: cert.validity().not_before.to_datetime(),
        not_after: cert.validity().not_after.to_datetime(),
        names: names_of(&cert),
        public_key: cert.public_key().raw.to_vec(),
    })
}

fn names_of(cert: &X509Certificate<'_>) -> Option<PermittedNames> {
    let extension = cert
        .extensions()
        .iter()
        .find_map(|e| match e.parsed_extension() {
            ParsedExtension::NameConstraints(constraints) if e.critical => Some(constraints),
            _ => None,
        })?;
    let (mut v4, mut v6) = (false, false);
    for subtree in extension.excluded_subtrees.as_deref().unwrap_or_default() {
        match &subtree.base {
            GeneralName::IPAddress([0, 0, 0, 0, 0, 0, 0, 0]) => v4 = true,
            GeneralName::IPAddress(v) if *v == [0; 32] => v6 = true,
            _ => return None,
        }
    }
    if !v4 || !v6 {
        return None;
    }
    let mut names = Vec::new();
    for subtree in extension.permitted_subtrees.as_deref().unwrap_or_default() {
        match &subtree.base {
            GeneralName::DNSName(name) => names.push(*name),
            _ => return None,
        }
    }
    match names.as_slice() {
        [] => None,
        [PERMIT_NOTHING] => Some(PermittedNames::default()),
        names => PermittedNames::parse(names).ok(),
    }
}

/// SHA-256 over the DER, as browsers and `openssl x509 -fingerprint` print it.
fn fingerprint(der: &[u8]) -> String {
    hex(&Sha256::digest(der), ":")
}

fn hex(bytes: &[u8], separator: &str) -> String {
    let pairs: Vec<_> = bytes.iter().map(|b| format!("{b:02X}")).collect();
    pairs.join(separator)
}
