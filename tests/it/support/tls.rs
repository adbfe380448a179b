//! Both ends of TLS as a test needs them: a client that shows the certificate it was given, and a
//! server with a private CA of its own.

use std::{net::TcpStream, path::Path, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject},
};

use super::wire::Wire;

pub type TlsWire = Wire<StreamOwned<ClientConnection, Wire<TcpStream>>>;

/// Trusts the certificates of this PEM file and nothing else.
pub fn trusting(pem: &Path) -> Arc<ClientConfig> {
    Arc::new(speaking(pem, rustls::DEFAULT_VERSIONS))
}

/// Shakes hands as a client of `name` over what is connected already.
pub fn handshake(
    wire: Wire<TcpStream>,
    config: &Arc<ClientConfig>,
    name: &str,
) -> Result<TlsWire, std::io::Error> {
    let name = ServerName::try_from(name.to_owned()).expect("a server name");
    let mut connection = ClientConnection::new(config.clone(), name).expect("a client can be made");
    let mut wire = wire;
    while connection.is_handshaking() {
        connection.complete_io(&mut wire)?;
    }
    Ok(Wire::over(StreamOwned::new(connection, wire)))
}

/// The certificate that the other side showed.
pub fn shown(wire: &TlsWire) -> CertificateDer<'static> {
    let chain = wire
        .stream
        .conn
        .peer_certificates()
        .expect("a certificate was shown");
    chain[0].clone().into_owned()
}

/// The bytes of a ClientHello for `name` (an address gives one without SNI).
pub fn client_hello(name: &str) -> Vec<u8> {
    let roots = RootCertStore::empty();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).expect("a server name");
    let mut connection =
        ClientConnection::new(Arc::new(config), name).expect("a client can be made");
    let mut hello = Vec::new();
    connection
        .write_tls(&mut hello)
        .expect("a vector takes bytes");
    hello
}

/// A CA and a certificate that it signed.
pub struct Identity {
    pub ca_pem: String,
    pub certificate: CertificateDer<'static>,
    pub server: Arc<ServerConfig>,
}

impl Identity {
    /// A certificate that is its own CA, as `openssl req -x509` makes one.
    pub fn self_signed(names: &[&str]) -> Self {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = params.self_signed(&key).expect("a certificate can be made");
        let ca_pem = own.pem();
        let certificate: CertificateDer<'static> = own.into();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .expect("key and certificate belong together");
        Self {
            ca_pem,
            certificate,
            server: Arc::new(server),
        }
    }

    pub fn of(names: &[&str]) -> Self {
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name
            .push(DnType::CommonName, "a private CA");
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().expect("a key"))
            .expect("a CA can be made");
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let leaf = CertificateParams::new(names)
            .and_then(|params| params.signed_by(&key, &ca))
            .expect("a certificate can be made");
        let certificate: CertificateDer<'static> = leaf.into();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .expect("key and certificate belong together");
        Self {
            ca_pem: ca.pem(),
            certificate,
            server: Arc::new(server),
        }
    }
}

/// What browsers put into the `encrypted_client_hello` extension: the outer form, and noise.
/// A real one looks the same from outside.
pub fn outer_ech() -> Vec<u8> {
    let mut data = vec![0, 0, 1, 0, 1, 0x5a, 0, 32];
    data.extend([0x17; 32]);
    data.extend([0, 144]);
    data.extend([0x2b; 144]);
    data
}

/// The same hello with one more extension, and every length put right.
pub fn with_extension(hello: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let mut out = hello.to_vec();
    out.extend(kind.to_be_bytes());
    out.extend((data.len() as u16).to_be_bytes());
    out.extend(data);
    put_lengths_right(&mut out, extensions_at(hello));
    out
}

/// The same hello without an extension.
pub fn without_extension(hello: &[u8], kind: u16) -> Vec<u8> {
    let at = extensions_at(hello);
    let mut out = hello[..at].to_vec();
    out.extend([0, 0]);
    let mut rest = &hello[at + 2..];
    while rest.len() >= 4 {
        let length = 4 + usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        if rest[..2] != kind.to_be_bytes() {
            out.extend(&rest[..length]);
        }
        rest = &rest[length..];
    }
    put_lengths_right(&mut out, at);
    out
}

/// Where the length of the extensions stands.
fn extensions_at(hello: &[u8]) -> usize {
    // Record header 5, handshake header 4, version 2, random 32, session id, suites, compression.
    let mut at = 5 + 4 + 2 + 32;
    at += 1 + usize::from(hello[at]);
    at += 2 + usize::from(u16::from_be_bytes([hello[at], hello[at + 1]]));
    at + 1 + usize::from(hello[at])
}

fn put_lengths_right(hello: &mut [u8], extensions: usize) {
    let length = (hello.len() - extensions - 2) as u16;
    hello[extensions..extensions + 2].copy_from_slice(&length.to_be_bytes());
    let message = (hello.len() - 9) as u32;
    hello[6..9].copy_from_slice(&message.to_be_bytes()[1..]);
    let record = (hello.len() - 5) as u16;
    hello[3..5].copy_from_slice(&record.to_be_bytes());
}

/// [`trusting`], in these versions of TLS alone.
pub fn speaking(
    pem: &Path,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(pem).expect("the PEM file is there") {
        roots
            .add(certificate.expect("it is PEM"))
            .expect("it is a certificate");
    }
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
}
