//! Verification against a private CA, or against the upstream's very certificate.
//!
//! Everything is webpki's verdict, but for one case that it cannot judge: the certificate that the
//! user put into the CA file is presented as the server's own, and is marked as a CA. Then name and
//! dates are checked here. Signatures of the handshake are always webpki's to check.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

#[derive(Debug)]
pub struct CaOrPinned {
    webpki: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl CaOrPinned {
    pub fn new(webpki: Arc<WebPkiServerVerifier>, pinned: Vec<CertificateDer<'static>>) -> Self {
        Self { webpki, pinned }
    }

    /// Whether `presented` is, to the byte, a certificate of the file, marked as a CA.
    /// Name, dates and purpose are then judged as webpki judges those of any other server.
    fn verify_pinned(
        &self,
        presented: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Option<Result<(), Error>> {
        if !self.pinned.iter().any(|pinned| pinned == presented) {
            return None;
        }
        let (_, certificate) = X509Certificate::from_der(presented).ok()?;
        certificate.is_ca().then(|| {
            verify_server_name(&ParsedCertificate::try_from(presented)?, name)?;
            let now = i64::try_from(now.as_secs())
                .ok()
                .and_then(|s| ASN1Time::from_timestamp(s).ok())
                .ok_or(Error::FailedToGetCurrentTime)?;
            let validity = certificate.validity();
            if now < validity.not_before {
                return Err(CertificateError::NotValidYet.into());
            }
            if now > validity.not_after {
                return Err(CertificateError::Expired.into());
            }
            match certificate.extended_key_usage() {
                Ok(None) => Ok(()),
                Ok(Some(usage)) if usage.value.server_auth || usage.value.any => Ok(()),
                Ok(Some(_)) => Err(CertificateError::InvalidPurpose.into()),
                Err(_) => Err(CertificateError::BadEncoding.into()),
            }
        })
    }
}

impl ServerCertVerifier for CaOrPinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self.webpki.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        if verdict.is_ok() {
            return verdict;
        }
        match self.verify_pinned(end_entity, server_name, now) {
            Some(Ok(())) => Ok(ServerCertVerified::assertion()),
            Some(Err(why)) => Err(why),
            None => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}
