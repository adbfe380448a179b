//! Does this server take encrypted ClientHellos? Asked with noise that nobody can decrypt.
//!
//! A hello with an `encrypted_client_hello` extension may carry a second, hidden server name, or
//! random bytes (GREASE): from outside both look alike (RFC 9849 10.10.4). But a server that takes such
//! hellos says so to whoever sends one that it cannot decrypt: it answers with the configurations to
//! use (RFC 9849 7.1). [`asking`] makes the client side of that question, [`answer`] reads its outcome;
//! `upstream::ech` puts the two together. No key is involved: what is "encrypted" is random.

use std::{io, sync::Arc};

use rustls::{
    AlertDescription,
    ClientConfig,
    Error,
    PeerIncompatible,
    client::{EchConfig, EchMode, danger::ServerCertVerifier},
    crypto::hpke::{
        EncapsulatedSecret, Hpke, HpkeOpener, HpkePrivateKey, HpkePublicKey, HpkeSealer, HpkeSuite,
    },
    // Hidden in rustls, and the only names of these types; a crypto provider needs them, too.
    internal::msgs::{
        enums::{HpkeAead, HpkeKdf, HpkeKem},
        handshake::HpkeSymmetricCipherSuite,
    },
    pki_types::EchConfigListBytes,
};

use super::{HTTP_1_1, provider};

/// What clients use today, and what every server that takes such hellos has.
const KEM: u16 = 0x0020;
const KDF: u16 = 1;
const AEAD: u16 = 1;
const VERSION: u16 = 0xfe0d;
/// Of an X25519 key.
const KEY: usize = 32;
/// Of AES-128-GCM.
const TAG: usize = 16;

/// What a server does with an encrypted ClientHello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrontAnswer {
    /// It has no key: nothing that a client hides in its hello can be read by it.
    TakesNone,
    /// It decrypts hellos, and may serve another name than the one outside.
    Takes,
    /// It did not say, in the words of the failure.
    Unknown(String),
}

/// A handshake with `name` that the server cannot decrypt. `verifier` judges its certificate: only the
/// named server's word counts.
pub fn asking(name: &str, verifier: Arc<dyn ServerCertVerifier>) -> Result<ClientConfig, Error> {
    let config = EchConfig::new(EchConfigListBytes::from(config_list(name)?), &[&Noise])?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_ech(EchMode::Enable(config))?
        // "Dangerous" is any verifier of one's own; this one is that of every connection there.
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// Reads how that handshake ended. It cannot succeed: a server that takes no encrypted hello
/// completes it under the outer name, which rustls then breaks off.
pub fn answer(handshake: Result<(), io::Error>) -> FrontAnswer {
    let error = match handshake {
        Ok(()) => return FrontAnswer::Unknown("it took noise for a hello".into()),
        Err(e) => e,
    };
    let tls = error.get_ref().and_then(|e| e.downcast_ref::<Error>());
    match tls {
        Some(Error::PeerIncompatible(PeerIncompatible::ServerRejectedEncryptedClientHello(
            configs,
        ))) => match configs {
            None => FrontAnswer::TakesNone,
            Some(_) => FrontAnswer::Takes,
        },
        // Without TLS 1.3 there is no such extension.
        Some(
            Error::PeerIncompatible(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig)
            | Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13)
            | Error::AlertReceived(AlertDescription::ProtocolVersion),
        ) => FrontAnswer::TakesNone,
        _ => FrontAnswer::Unknown(error.to_string()),
    }
}

/// An ECHConfigList (RFC 9849 4) for a key that nobody has.
fn config_list(public_name: &str) -> Result<Vec<u8>, Error> {
    let name = public_name.as_bytes();
    let length = u8::try_from(name.len()).map_err(|_| Error::General("name is too long".into()))?;
    let mut contents = random(1)?;
    contents.extend(KEM.to_be_bytes());
    contents.extend((KEY as u16).to_be_bytes());
    contents.extend(random(KEY)?);
    contents.extend(4_u16.to_be_bytes());
    contents.extend(KDF.to_be_bytes());
    contents.extend(AEAD.to_be_bytes());
    contents.push(0);
    contents.push(length);
    contents.extend(name);
    contents.extend(0_u16.to_be_bytes());
    let mut config = VERSION.to_be_bytes().to_vec();
    config.extend((contents.len() as u16).to_be_bytes());
    config.extend(contents);
    let mut list = (config.len() as u16).to_be_bytes().to_vec();
    list.extend(config);
    Ok(list)
}

fn random(n: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; n];
    provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| Error::FailedToGetRandomBytes)?;
    Ok(bytes)
}

/// HPKE whose ciphertexts are random bytes of the right length. It opens nothing.
#[derive(Debug)]
struct Noise;

impl Hpke for Noise {
    fn seal(
        &self,
        _info: &[u8],
        aad: &[u8],
        plaintext: &[u8],
        _key: &HpkePublicKey,
    ) -> Result<(EncapsulatedSecret, Vec<u8>), Error> {
        Ok((
            EncapsulatedSecret(random(KEY)?),
            Noise.seal_noise(aad, plaintext)?,
        ))
    }

    fn setup_sealer(
        &self,
        _info: &[u8],
        _key: &HpkePublicKey,
    ) -> Result<(EncapsulatedSecret, Box<dyn HpkeSealer + 'static>), Error> {
        Ok((EncapsulatedSecret(random(KEY)?), Box::new(Noise)))
    }

    fn open(
        &self,
        _enc: &EncapsulatedSecret,
        _info: &[u8],
        _aad: &[u8],
        _ciphertext: &[u8],
        _key: &HpkePrivateKey,
    ) -> Result<Vec<u8>, Error> {
        Err(opens_nothing())
    }

    fn setup_opener(
        &self,
        _enc: &EncapsulatedSecret,
        _info: &[u8],
        _key: &HpkePrivateKey,
    ) -> Result<Box<dyn HpkeOpener + 'static>, Error> {
        Err(opens_nothing())
    }

    fn generate_key_pair(&self) -> Result<(HpkePublicKey, HpkePrivateKey), Error> {
        Err(opens_nothing())
    }

    fn suite(&self) -> HpkeSuite {
        HpkeSuite {
            kem: HpkeKem::from(KEM),
            sym: HpkeSymmetricCipherSuite {
                kdf_id: HpkeKdf::from(KDF),
                aead_id: HpkeAead::from(AEAD),
            },
        }
    }
}

impl Noise {
    fn seal_noise(&self, _aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        random(plaintext.len() + TAG)
    }
}

impl HpkeSealer for Noise {
    fn seal(&mut self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        self.seal_noise(aad, plaintext)
    }
}

fn opens_nothing() -> Error {
    Error::General("noise opens nothing".into())
}

#[cfg(test)]
mod tests {
    use rustls::internal::msgs::{codec::Codec, handshake::EchConfigPayload};

    use super::*;

    fn ended(error: Error) -> FrontAnswer {
        answer(Err(io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    #[test]
    fn only_a_plain_no_lets_a_hello_pass() {
        let configs = config_list("front.test").unwrap();
        let config = EchConfigPayload::read_bytes(&configs[2..]).unwrap();
        let rejected =
            |c| Error::PeerIncompatible(PeerIncompatible::ServerRejectedEncryptedClientHello(c));
        let rows = [
            (
                "no configurations",
                rejected(None),
                Some(FrontAnswer::TakesNone),
            ),
            (
                "configurations",
                rejected(Some(vec![config])),
                Some(FrontAnswer::Takes),
            ),
            (
                "an empty list of them",
                rejected(Some(Vec::new())),
                Some(FrontAnswer::Takes),
            ),
            (
                "no TLS 1.3, by alert",
                Error::AlertReceived(AlertDescription::ProtocolVersion),
                Some(FrontAnswer::TakesNone),
            ),
            (
                "no TLS 1.3, by its hello",
                Error::PeerIncompatible(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig),
                Some(FrontAnswer::TakesNone),
            ),
            (
                "another alert",
                Error::AlertReceived(AlertDescription::HandshakeFailure),
                None,
            ),
            (
                "a certificate that is not believed",
                Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer),
                None,
            ),
        ];
        for (name, error, wanted) in rows {
            match (ended(error), wanted) {
                (FrontAnswer::Unknown(_), None) => {}
                (found, wanted) => assert_eq!(Some(found), wanted, "{name}"),
            }
        }
        assert!(matches!(answer(Ok(())), FrontAnswer::Unknown(_)));
        let reset = io::Error::from_raw_os_error(104);
        assert!(matches!(answer(Err(reset)), FrontAnswer::Unknown(_)));
    }

    #[test]
    fn noise_is_never_twice_the_same_and_opens_nothing() {
        let a = Noise.seal_noise(&[], b"hello").unwrap();
        assert_eq!(a.len(), 5 + TAG);
        assert_ne!(a, Noise.seal_noise(&[], b"hello").unwrap());
        assert!(Noise.generate_key_pair().is_err());
        let enc = EncapsulatedSecret(Vec::new());
        let key = || HpkePrivateKey::from(Vec::new());
        assert!(Noise.open(&enc, &[], &[], &[], &key()).is_err());
        assert!(Noise.setup_opener(&enc, &[], &key()).is_err());
    }
}
