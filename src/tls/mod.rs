//! TLS: our root CA and its leaves, reading ClientHellos, and whom we trust upstream.
//!
//! | file | what | called by |
//! |---|---|---|
//! | [`ca`] | the root CA on disk: made, loaded, re-issued, rotated | `app`, `cli ca` |
//! | [`leaf`] | one certificate and one `ServerConfig` per intercepted name | `listener`, `proxy` |
//! | [`client_hello`] | the first flight of a client, read and kept for replay | `listener` |
//! | [`roots`] | the system's roots, and the bundle handed to clients | `app`, `cli ca`, `cli exec` |
//! | [`ech`] | asking a server whether it takes encrypted hellos | `upstream` |
//! | [`connector`] | `ClientConfig`s for upstreams, one per private CA | `upstream`, `gateway` |
//!
//! Nothing here opens a socket, and no verification can be switched off. The CA's private key is
//! read and written by [`ca`] only, and is never logged or returned.

pub mod ca;
pub mod client_hello;
pub mod connector;
pub mod ech;
pub(crate) mod files;
pub mod leaf;
mod lru;
pub mod roots;
#[cfg(test)]
mod testing;

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, ring};

pub use ca::{CaError, CaEvent, CaInfo, RootCa};
pub use client_hello::{ClientHelloInfo, HelloError, HelloParser, read_client_hello};
pub use connector::{ClientTls, TlsConfigError};
pub use leaf::{LeafCache, LeafError, LeafMinter};
pub use roots::{SystemRoots, system_bundle_path, system_roots, write_bundle};

/// ALPN of every handshake, both ways: h2 is not offered in this version.
const HTTP_1_1: &[u8] = b"http/1.1";

/// Protocol versions of every handshake, both ways.
const VERSIONS: &[&rustls::SupportedProtocolVersion] =
    &[&rustls::version::TLS13, &rustls::version::TLS12];

/// The one crypto provider of this process: ring, which Pingora's rustls uses as well.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(ring::default_provider()));
    PROVIDER.clone()
}

/// Makes ring the process default, for code that builds its own rustls configs (Pingora).
/// May be called any number of times; the first provider installed stays.
pub fn install_provider() {
    if CryptoProvider::get_default().is_none() {
        // Loses only a race against another caller, who installed one just as well.
        let _ = ring::default_provider().install_default();
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn installing_the_provider_twice_is_fine() {
        super::install_provider();
        super::install_provider();
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
    }
}
