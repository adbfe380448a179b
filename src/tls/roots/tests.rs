use std::{fs, os::unix::fs::MetadataExt};

use super::*;
use crate::tls::testing::{client, handshake, leaf_params, scratch_root, server};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// A CA that is not ours.
fn stranger(name: &str) -> (Issuer<'static, KeyPair>, CertificateDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let der = params.self_signed(&key).unwrap().into();
    (Issuer::new(params, key), der)
}

fn write_pem(path: &Path, certificates: &[CertificateDer<'_>]) {
    let text: String = certificates.iter().map(|c| to_pem(c)).collect();
    fs::write(path, text).unwrap();
}

fn env<'a>(pairs: &'a [(&'a str, &'a Path)]) -> impl Fn(&str) -> Option<String> + 'a {
    move |name| {
        let (_, path) = pairs.iter().find(|(n, _)| *n == name)?;
        path.to_str().map(str::to_owned)
    }
}

#[test]
fn the_users_bundle_stands_in_place_of_the_systems() {
    let dir = tempfile::tempdir().unwrap();
    let (_, corporate) = stranger("Corporate");
    let file = dir.path().join("corporate.pem");
    write_pem(&file, std::slice::from_ref(&corporate));
    let state = dir.path().join("state");
    let vars = [("SSL_CERT_FILE", file.as_path())];
    let roots = SystemRoots::load(env(&vars), &state);
    assert_eq!(roots.certificates(), [corporate]);
    assert_eq!(roots.warnings(), []);
    assert_eq!(system_bundle_path(env(&vars), &state), Some(file.clone()));
    let (store, warnings) = system_roots(env(&vars), &state);
    assert_eq!((store.len(), warnings.len()), (1, 0));
    // A list of directories, as OpenSSL reads it.
    let sub = dir.path().join("certs");
    fs::create_dir(&sub).unwrap();
    let (_, other) = stranger("Other");
    write_pem(&sub.join("0.pem"), &[other]);
    let list = format!("/nonexistent:{}", sub.display());
    let both = SystemRoots::load(
        |name| match name {
            "SSL_CERT_FILE" => file.to_str().map(str::to_owned),
            "SSL_CERT_DIR" => Some(list.clone()),
            _ => None,
        },
        &state,
    );
    assert_eq!(both.certificates().len(), 2);
    let [RootsWarning::Unreadable(said)] = both.warnings() else {
        panic!("{:?}", both.warnings());
    };
    assert!(said.contains("/nonexistent"), "{said}");
}

#[test]
fn our_own_bundle_in_the_environment_is_ignored() {
    let (dir, root) = scratch_root(&["a.test"]);
    let bundle = write_bundle(&root, &SystemRoots::default()).unwrap();
    let system = dir.path().parent().unwrap().join("no-such-system");
    let link_dir = tempfile::tempdir().unwrap();
    let link = link_dir.path().join("link.pem");
    std::os::unix::fs::symlink(&bundle, &link).unwrap();
    let fallback = link_dir.path().join("system.pem");
    let (_, real_root) = stranger("Real");
    write_pem(&fallback, &[real_root]);
    let ca_dir = root.paths().dir().to_owned();
    for (row, variable, path) in [
        ("the bundle", "SSL_CERT_FILE", bundle.clone()),
        ("a link to the bundle", "SSL_CERT_FILE", link),
        (
            "a detour into the state directory",
            "SSL_CERT_FILE",
            ca_dir.join("../ca/bundle.pem"),
        ),
        (
            "a file of ours that is gone",
            "SSL_CERT_FILE",
            ca_dir.join("old.pem"),
        ),
        ("the directory", "SSL_CERT_DIR", ca_dir),
    ] {
        let vars = [(variable, path.as_path())];
        let bundles = [system.to_str().unwrap(), fallback.to_str().unwrap()];
        let chosen = Sources::choose(env(&vars), dir.path(), &bundles, &[]);
        assert_eq!(chosen.file.as_deref(), Some(fallback.as_path()), "{row}");
        assert_eq!(chosen.dirs, Vec::<PathBuf>::new(), "{row}");
        let ignored = matches!(
            chosen.warnings.as_slice(),
            [RootsWarning::OwnBundleIgnored { variable: v, .. }] if *v == variable
        );
        assert!(ignored, "{row}: {:?}", chosen.warnings);
    }
}

#[test]
fn a_root_of_ours_is_never_trusted_upstream_wherever_it_was_installed() {
    let (_dir, root) = scratch_root(&["a.test"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let (_, public) = stranger("Public");
    let file = elsewhere.path().join("all.pem");
    write_pem(
        &file,
        &[public.clone(), root.certificate().clone(), public.clone()],
    );
    let vars = [("SSL_CERT_FILE", file.as_path())];
    let roots = SystemRoots::load(env(&vars), Path::new("/nonexistent/state"));
    assert_eq!(roots.certificates(), [public]);
}

#[test]
fn a_bundle_that_cannot_be_read_trusts_nobody_and_says_so() {
    let missing = Path::new("/nonexistent/bundle.pem");
    let vars = [("SSL_CERT_FILE", missing)];
    let roots = SystemRoots::load(env(&vars), Path::new("/nonexistent/state"));
    assert!(roots.store().is_empty());
    let [RootsWarning::Unreadable(said), RootsWarning::NoRoots] = roots.warnings() else {
        panic!("{:?}", roots.warnings());
    };
    assert!(said.contains("/nonexistent/bundle.pem"), "{said}");
}

#[test]
fn an_empty_variable_counts_as_unset_and_directories_come_last() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().to_str().unwrap();
    let empty = |_: &str| Some(String::new());
    let chosen = Sources::choose(
        empty,
        Path::new("/nonexistent"),
        &["/nonexistent/a"],
        &[here],
    );
    assert_eq!(
        (chosen.file, chosen.dirs),
        (None, vec![dir.path().to_owned()])
    );
    let none = Sources::choose(empty, Path::new("/nonexistent"), &[], &["/nonexistent/b"]);
    assert_eq!(none, Sources::default());
}

#[test]
fn the_bundle_holds_system_roots_and_ours_and_is_written_when_it_changes() {
    let (dir, root) = scratch_root(&["a.test"]);
    let (public_issuer, public) = stranger("Public");
    let system = SystemRoots {
        certificates: vec![public],
        warnings: Vec::new(),
    };
    let path = write_bundle(&root, &system).unwrap();
    assert_eq!(path, dir.path().join("ca/bundle.pem"));
    let meta = fs::metadata(&path).unwrap();
    assert_eq!(meta.mode() & 0o777, 0o644);

    let loaded = load_certs_from_paths(Some(&path), None);
    assert!(loaded.errors.is_empty());
    assert_eq!(loaded.certs.len(), 2);
    let trusting = client(&loaded.certs);
    let key = KeyPair::generate().unwrap();
    let params = leaf_params(vec![crate::tls::testing::dns("public.test")]);
    let leaf = params.signed_by(&key, &public_issuer).unwrap();
    let public_server = server(vec![leaf.into()], &key);
    assert!(handshake(&trusting, &public_server, "public.test").is_ok());
    let (leaf, key) =
        crate::tls::testing::stolen_key_leaf(&root, vec![crate::tls::testing::dns("a.test")]);
    assert!(handshake(&trusting, &server(vec![leaf], &key), "a.test").is_ok());

    write_bundle(&root, &system).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().ino(),
        meta.ino(),
        "left as it was"
    );
    let (reissued, _) = RootCa::load_or_create(dir.path(), &["a.test", "b.test"]).unwrap();
    write_bundle(&reissued, &system).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(reissued.pem()) && !text.contains(root.pem()));
    fs::write(&path, [0xff]).unwrap();
    write_bundle(&reissued, &system).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn the_roots_of_this_machine_load() {
    let roots = SystemRoots::load(|_| None, Path::new("/nonexistent/state"));
    match system_bundle_path(|_| None, Path::new("/nonexistent/state")) {
        Some(_) => assert!(!roots.store().is_empty(), "{:?}", roots.warnings()),
        None => eprintln!("skipped: no bundle here"),
    }
}
