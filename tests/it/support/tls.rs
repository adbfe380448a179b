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
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(pem).expect("the PEM file is there") {
        roots
            .add(certificate.expect("it is PEM"))
            .expect("it is a certificate");
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
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
