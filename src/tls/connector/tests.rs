use std::{fs, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::ServerConfig;
use time::{Duration, OffsetDateTime};

use super::*;
use crate::tls::testing::{dns, handshake, leaf_params, server, server_with_any_key};

struct TestCa {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
}

fn ca(name: &str) -> TestCa {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    TestCa {
        pem: certificate.pem(),
        der: certificate.into(),
        issuer: Issuer::new(params, key),
    }
}

fn signed(ca: &TestCa, params: &CertificateParams) -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &ca.issuer).unwrap();
    server(vec![leaf.into()], &key)
}

fn system(ca: &TestCa) -> ClientTls {
    let mut store = RootCertStore::empty();
    store.add(ca.der.clone()).unwrap();
    ClientTls::new(store)
}

#[test]
fn an_upstream_is_verified_by_name_date_and_issuer() {
    let (public, stranger) = (ca("public"), ca("stranger"));
    let config = system(&public).config_for(None).unwrap();
    let good = leaf_params(vec![dns("up.test")]);
    let mut expired = good.clone();
    expired.not_after = OffsetDateTime::now_utc() - Duration::MINUTE;
    let mut unborn = good.clone();
    unborn.not_before = OffsetDateTime::now_utc() + Duration::HOUR;
    let mut client_only = good.clone();
    client_only.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let own_key = KeyPair::generate().unwrap();
    let self_signed = good.self_signed(&own_key).unwrap();
    for (row, server, name, accepted) in [
        ("good", signed(&public, &good), "up.test", true),
        ("wrong name", signed(&public, &good), "other.test", false),
        ("expired", signed(&public, &expired), "up.test", false),
        ("not valid yet", signed(&public, &unborn), "up.test", false),
        (
            "not for servers",
            signed(&public, &client_only),
            "up.test",
            false,
        ),
        ("unknown issuer", signed(&stranger, &good), "up.test", false),
        (
            "self-signed",
            server(vec![self_signed.into()], &own_key),
            "up.test",
            false,
        ),
    ] {
        let got = handshake(&config, &server, name);
        assert_eq!(got.is_ok(), accepted, "{row}: {:?}", got.err());
    }
}

#[test]
fn a_private_ca_takes_the_place_of_the_systems_roots() {
    let dir = tempfile::tempdir().unwrap();
    let (public, private) = (ca("public"), ca("private"));
    let file = dir.path().join("ca.pem");
    fs::write(&file, &private.pem).unwrap();
    let tls = system(&public);
    let (open, own) = (
        tls.config_for(None).unwrap(),
        tls.config_for(Some(&file)).unwrap(),
    );
    let params = leaf_params(vec![dns("sparkle")]);
    for (row, config, issuer, accepted) in [
        ("private box, private CA", &own, &private, true),
        ("private box, public CA", &own, &public, false),
        ("public host, private CA", &open, &private, false),
        ("public host, public CA", &open, &public, true),
    ] {
        let got = handshake(config, &signed(issuer, &params), "sparkle");
        assert_eq!(got.is_ok(), accepted, "{row}: {:?}", got.err());
    }
    assert!(handshake(&own, &signed(&private, &params), "other").is_err());
}

#[test]
fn a_self_signed_certificate_in_the_file_is_that_server_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    // What `openssl req -x509` makes: a server certificate that is marked as a CA.
    let make = |edit: fn(&mut CertificateParams)| {
        let key = KeyPair::generate().unwrap();
        let mut params = leaf_params(vec![dns("sparkle")]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.extended_key_usages = Vec::new();
        edit(&mut params);
        (params.self_signed(&key).unwrap(), key)
    };
    type Edit = fn(&mut CertificateParams);
    let as_is: Edit = |_| {};
    let expired: Edit = |p| p.not_after = OffsetDateTime::now_utc() - Duration::MINUTE;
    let unborn: Edit = |p| p.not_before = OffsetDateTime::now_utc() + Duration::HOUR;
    let client_only: Edit = |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let plain: Edit = |p| p.is_ca = IsCa::ExplicitNoCa;
    for (row, edit, name, accepted) in [
        ("the very certificate", as_is, "sparkle", true),
        ("another name", as_is, "other", false),
        ("expired", expired, "sparkle", false),
        ("not valid yet", unborn, "sparkle", false),
        ("for clients only", client_only, "sparkle", false),
        ("not marked as a CA", plain, "sparkle", true),
        ("not marked as a CA, another name", plain, "other", false),
    ] {
        let (certificate, key) = make(edit);
        let file = dir
            .path()
            .join(format!("{}.pem", row.replace([' ', ','], "-")));
        fs::write(&file, certificate.pem()).unwrap();
        let config = system(&ca("public")).config_for(Some(&file)).unwrap();
        let its_server = server(vec![certificate.der().clone()], &key);
        let got = handshake(&config, &its_server, name);
        assert_eq!(got.is_ok(), accepted, "{row}: {:?}", got.err());

        let (twin, twin_key) = make(edit);
        let impostor = server(vec![twin.der().clone()], &twin_key);
        assert!(
            handshake(&config, &impostor, name).is_err(),
            "{row}: a twin with another key"
        );
        // The right certificate without its key proves nothing.
        let thief = server_with_any_key(certificate.der(), &KeyPair::generate().unwrap());
        assert!(
            handshake(&config, &thief, name).is_err(),
            "{row}: another key"
        );
    }
}

#[test]
fn configs_are_made_once_per_ca_file_and_offer_http_1_only() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    fs::write(&file, &ca("private").pem).unwrap();
    let tls = system(&ca("public"));
    let configs: Vec<_> = std::thread::scope(|s| {
        let ask = || tls.config_for(Some(&file)).unwrap();
        let running: Vec<_> = (0..8).map(|_| s.spawn(ask)).collect();
        running.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let first = tls.config_for(Some(&file)).unwrap();
    assert!(configs.iter().all(|c| Arc::ptr_eq(c, &first)));
    let open = tls.config_for(None).unwrap();
    assert!(Arc::ptr_eq(&open, &tls.config_for(None).unwrap()));
    for config in [first, open] {
        assert_eq!(config.alpn_protocols, [HTTP_1_1.to_vec()]);
        assert!(!config.enable_early_data);
    }
}

#[test]
fn without_any_roots_every_upstream_is_refused() {
    let public = ca("public");
    let config = ClientTls::new(RootCertStore::empty())
        .config_for(None)
        .unwrap();
    let server = signed(&public, &leaf_params(vec![dns("up.test")]));
    assert!(handshake(&config, &server, "up.test").is_err());
}

#[test]
fn a_ca_file_that_is_no_use_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap().serialize_pem();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (row, content, hint) in [
        ("missing", None, "does not exist"),
        ("empty", Some(""), "BEGIN CERTIFICATE"),
        ("not pem", Some("hello"), "BEGIN CERTIFICATE"),
        ("a key", Some(key.as_str()), "BEGIN CERTIFICATE"),
        (
            "not a certificate inside",
            Some(broken),
            "broken certificate",
        ),
        (
            "cut short",
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n"),
            "broken certificate",
        ),
    ] {
        let file = dir.path().join(row);
        if let Some(content) = content {
            fs::write(&file, content).unwrap();
        }
        let said = ClientTls::new(RootCertStore::empty())
            .config_for(Some(&file))
            .unwrap_err()
            .to_string();
        assert!(said.contains(hint) && said.contains(row), "{row}: {said}");
    }
    let der = dir.path().join("der");
    fs::write(&der, ca("x").der.as_ref()).unwrap();
    let got = ClientTls::new(RootCertStore::empty()).config_for(Some(&der));
    assert!(
        matches!(got, Err(TlsConfigError::NoCertificate { .. })),
        "{got:?}"
    );
    let got = ClientTls::new(RootCertStore::empty()).config_for(Some(dir.path()));
    assert!(matches!(got, Err(TlsConfigError::File(_))), "{got:?}");
}
