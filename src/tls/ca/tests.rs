use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::Command,
};

use rcgen::SanType;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::*;
use crate::tls::testing::{client, dns, handshake, scratch_root, server, stolen_key_leaf};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn key_text(dir: &Path) -> String {
    fs::read_to_string(CaPaths::below(dir).key()).unwrap()
}

#[test]
fn the_first_start_makes_a_root_and_the_second_loads_it() {
    let dir = tempfile::tempdir().unwrap();
    let (made, event) = RootCa::load_or_create(dir.path(), &["b.test", "*.a.test"]).unwrap();
    assert_eq!(event, CaEvent::Created);
    assert_eq!(mode(made.paths().dir()), 0o700);
    assert_eq!(mode(&made.paths().key()), 0o600);
    assert_eq!(mode(&made.paths().certificate()), 0o644);
    let (loaded, event) = RootCa::load_or_create(dir.path(), &["*.a.test", "b.test"]).unwrap();
    assert_eq!(event, CaEvent::Loaded);
    assert_eq!(loaded.info(), made.info());
    assert_eq!(loaded.certificate(), made.certificate());
    assert_eq!(made.info().permitted_names, ["a.test", "b.test"]);
    let left: Vec<_> = fs::read_dir(made.paths().dir()).unwrap().collect();
    assert_eq!(left.len(), 2, "no drafts stay behind: {left:?}");
}

#[test]
fn the_certificate_says_what_the_design_says() {
    let (_dir, root) = scratch_root(&["allowed.test", "*.w.test"]);
    let (_, cert) = X509Certificate::from_der(root.certificate()).unwrap();
    let subject = cert.subject().to_string();
    let tag = subject.strip_prefix("CN=Airlock root CA ").unwrap();
    assert!(
        tag.len() == 6 && tag.bytes().all(|b| b.is_ascii_hexdigit()),
        "{subject}"
    );

    let basic = cert.basic_constraints().unwrap().unwrap();
    assert!(basic.critical && basic.value.ca);
    assert_eq!(basic.value.path_len_constraint, Some(0));
    let usage = cert.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
    assert!(!usage.value.digital_signature());

    let names = cert.name_constraints().unwrap().unwrap();
    assert!(names.critical);
    let permitted: Vec<_> = names
        .value
        .permitted_subtrees
        .as_ref()
        .unwrap()
        .iter()
        .collect();
    let permitted: Vec<_> = permitted.iter().map(|s| &s.base).collect();
    let wanted = [
        GeneralName::DNSName("allowed.test"),
        GeneralName::DNSName("w.test"),
    ];
    assert_eq!(permitted, wanted.iter().collect::<Vec<_>>());
    let excluded = names.value.excluded_subtrees.as_ref().unwrap();
    let excluded: Vec<_> = excluded.iter().map(|s| &s.base).collect();
    let wanted = [
        GeneralName::IPAddress(&[0; 8]),
        GeneralName::IPAddress(&[0; 32]),
    ];
    assert_eq!(excluded, wanted.iter().collect::<Vec<_>>());

    let now = OffsetDateTime::now_utc();
    assert!(root.not_before() < now && now - root.not_before() <= Duration::days(2));
    assert!(root.expires_within(now, Duration::days(3651)));
    assert!(!root.expires_within(now, Duration::days(3000)));
}

#[test]
fn a_thief_of_the_key_gets_nowhere_outside_the_constraints() {
    let (_dir, root) = scratch_root(&["allowed.test"]);
    let (_none, nothing) = scratch_root(&[]);
    let ip = SanType::IpAddress("127.0.0.1".parse().unwrap());
    let ip6 = SanType::IpAddress("::1".parse().unwrap());
    for (row, root, sans, asked, accepted) in [
        (
            "a listed name",
            &root,
            vec![dns("allowed.test")],
            "allowed.test",
            true,
        ),
        (
            "a name below it",
            &root,
            vec![dns("x.allowed.test")],
            "x.allowed.test",
            true,
        ),
        (
            "another name",
            &root,
            vec![dns("bank.test")],
            "bank.test",
            false,
        ),
        (
            "a mere suffix",
            &root,
            vec![dns("notallowed.test")],
            "notallowed.test",
            false,
        ),
        ("the name above", &root, vec![dns("test")], "test", false),
        (
            "a wildcard elsewhere",
            &root,
            vec![dns("*.bank.test")],
            "x.bank.test",
            false,
        ),
        (
            "an outsider beside a listed name",
            &root,
            vec![dns("allowed.test"), dns("bank.test")],
            "bank.test",
            false,
        ),
        ("an IPv4 address", &root, vec![ip], "127.0.0.1", false),
        ("an IPv6 address", &root, vec![ip6], "::1", false),
        (
            "localhost",
            &root,
            vec![dns("localhost")],
            "localhost",
            false,
        ),
        (
            "any name, with none listed",
            &nothing,
            vec![dns("bank.test")],
            "bank.test",
            false,
        ),
    ] {
        let (leaf, key) = stolen_key_leaf(root, sans);
        let trusting = client(&[root.certificate().clone()]);
        let got = handshake(&trusting, &server(vec![leaf], &key), asked);
        assert_eq!(got.is_ok(), accepted, "{row}: {:?}", got.err());
        if let Err(e) = got {
            assert!(
                format!("{e:?}").contains("NameConstraintViolation"),
                "{row}: {e:?}"
            );
        }
    }
}

#[test]
fn openssl_agrees_with_the_constraints_in_strict_mode() {
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("skipped: no openssl here");
        return;
    }
    let (dir, root) = scratch_root(&["allowed.test"]);
    for (row, sans, accepted) in [
        ("a listed name", vec![dns("allowed.test")], true),
        ("a name below it", vec![dns("x.allowed.test")], true),
        ("another name", vec![dns("bank.test")], false),
        (
            "an address",
            vec![SanType::IpAddress("127.0.0.1".parse().unwrap())],
            false,
        ),
    ] {
        let (leaf, _) = stolen_key_leaf(&root, sans);
        let path = dir.path().join("leaf.der");
        fs::write(&path, &leaf).unwrap();
        let run = Command::new("openssl")
            .args([
                "verify",
                "-x509_strict",
                "-purpose",
                "sslserver",
                "-no-CApath",
                "-CAfile",
            ])
            .arg(root.paths().certificate())
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert_eq!(run.status.success(), accepted, "{row}: {said}");
        assert!(
            accepted || said.contains("subtree violation"),
            "{row}: {said}"
        );
    }
}

#[test]
fn other_names_reissue_the_certificate_from_the_same_key() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = RootCa::load_or_create(dir.path(), &["a.test", "b.test"]).unwrap();
    let key = key_text(dir.path());
    let (second, event) = RootCa::load_or_create(dir.path(), &["b.test", "c.test"]).unwrap();
    let wanted = CaEvent::Reissued {
        added: vec!["c.test".to_owned()],
        removed: vec!["a.test".to_owned()],
    };
    assert_eq!(event, wanted);
    assert_eq!(key_text(dir.path()), key);
    assert_eq!(first.info().subject, second.info().subject);
    assert_ne!(first.info().serial, second.info().serial);
    assert_ne!(
        first.info().fingerprint_sha256,
        second.info().fingerprint_sha256
    );
    // Clients that still hold the old certificate go on with the names that it has.
    let (leaf, key) = stolen_key_leaf(&second, vec![dns("b.test")]);
    let server = server(vec![leaf], &key);
    for root in [&first, &second] {
        let trusting = client(&[root.certificate().clone()]);
        assert!(handshake(&trusting, &server, "b.test").is_ok());
    }
    let (_, event) = RootCa::load_or_create(dir.path(), &["b.test", "c.test"]).unwrap();
    assert_eq!(event, CaEvent::Loaded);
    let none: [&str; 0] = [];
    let (root, event) = RootCa::load_or_create(dir.path(), &none).unwrap();
    assert!(matches!(event, CaEvent::Reissued { removed, .. } if removed.len() == 2));
    assert!(!root.permits("b.test"));
    let (_, event) = RootCa::load_or_create(dir.path(), &none).unwrap();
    assert_eq!(event, CaEvent::Loaded);
}

#[test]
fn a_root_near_its_end_or_from_the_future_is_renewed() {
    let dir = tempfile::tempdir().unwrap();
    let start = OffsetDateTime::now_utc();
    let at = |now| RootCa::load_or_create_at(dir.path(), &["a.test"], now).unwrap();
    let renewed = CaEvent::Reissued {
        added: vec![],
        removed: vec![],
    };
    assert_eq!(at(start).1, CaEvent::Created);
    assert_eq!(at(start + Duration::days(3500)).1, CaEvent::Loaded);
    let late = start + Duration::days(3600);
    let (root, event) = at(late);
    assert_eq!(event, renewed);
    assert!(root.not_after() > late + Duration::days(3600));
    assert_eq!(at(start).1, renewed, "its first day has not come");
}

#[test]
fn mistakes_with_the_files_are_named_with_their_repair() {
    type Break = fn(&CaPaths);
    let rows: [(&str, Break, &str); 8] = [
        (
            "key readable by all",
            |p| chmod(&p.key(), 0o644),
            "chmod 600",
        ),
        (
            "key readable by the group",
            |p| chmod(&p.key(), 0o640),
            "chmod 600",
        ),
        (
            "directory writable by all",
            |p| chmod(p.dir(), 0o777),
            "chmod 700",
        ),
        (
            "key lost",
            |p| fs::remove_file(p.key()).unwrap(),
            "airlock ca rotate",
        ),
        (
            "key cut short",
            |p| fs::write(p.key(), "-----BEGIN PRI").unwrap(),
            "airlock ca rotate",
        ),
        (
            "key is a directory",
            |p| {
                fs::remove_file(p.key()).unwrap();
                fs::create_dir(p.key()).unwrap();
            },
            "not a regular file",
        ),
        (
            "certificate is garbage",
            |p| fs::write(p.certificate(), "x").unwrap(),
            "delete it",
        ),
        (
            "certificate of another root",
            |p| {
                let (_dir, other) = scratch_root(&["a.test"]);
                fs::write(p.certificate(), other.pem()).unwrap();
            },
            "does not belong",
        ),
    ];
    for (row, spoil, hint) in rows {
        let (dir, root) = scratch_root(&["a.test"]);
        spoil(root.paths());
        let said = RootCa::load_or_create(dir.path(), &["a.test"])
            .unwrap_err()
            .to_string();
        assert!(said.contains(hint), "{row}: {said}");
        chmod(root.paths().dir(), 0o700);
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_deleted_certificate_comes_back_from_its_key() {
    let (dir, root) = scratch_root(&["a.test"]);
    fs::remove_file(root.paths().certificate()).unwrap();
    let (again, event) = RootCa::load_or_create(dir.path(), &["a.test"]).unwrap();
    assert!(matches!(event, CaEvent::Reissued { .. }));
    assert_eq!(again.info().subject, root.info().subject);
}

#[test]
fn rotating_makes_a_new_key_and_keeps_the_old_certificate_only() {
    let (dir, old) = scratch_root(&["a.test"]);
    let old_key = key_text(dir.path());
    let (new, kept) = RootCa::rotate(dir.path(), &["a.test"]).unwrap();
    assert_eq!(fs::read_to_string(kept.unwrap()).unwrap(), old.pem());
    assert_ne!(new.info().subject, old.info().subject);
    assert_eq!(mode(&new.paths().key()), 0o600);
    for entry in fs::read_dir(new.paths().dir()).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert_ne!(text, old_key, "the old key is gone");
    }
    let (loaded, event) = RootCa::load_or_create(dir.path(), &["a.test"]).unwrap();
    assert_eq!(event, CaEvent::Loaded);
    assert_eq!(loaded.info(), new.info());
    // Again within the second: both old certificates are kept.
    RootCa::rotate(dir.path(), &["a.test"]).unwrap();
    let kept = fs::read_dir(new.paths().dir()).unwrap().count();
    assert_eq!(kept, 4, "root.pem, root.key and two kept ones");
}

#[test]
fn rotating_is_the_way_out_of_a_damaged_ca() {
    let (dir, root) = scratch_root(&["a.test"]);
    fs::write(root.paths().key(), "garbage").unwrap();
    RootCa::rotate(dir.path(), &["a.test"]).unwrap();
    RootCa::load_or_create(dir.path(), &["a.test"]).unwrap();

    let empty = tempfile::tempdir().unwrap();
    let (_, kept) = RootCa::rotate(empty.path(), &["a.test"]).unwrap();
    assert_eq!(kept, None);
}

#[test]
fn starting_many_times_at_once_ends_with_one_key() {
    let dir = tempfile::tempdir().unwrap();
    let roots: Vec<_> = std::thread::scope(|s| {
        let start = || RootCa::load_or_create(dir.path(), &["a.test"]).unwrap().0;
        let running: Vec<_> = (0..8).map(|_| s.spawn(start)).collect();
        running.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let (stored, event) = RootCa::load_or_create(dir.path(), &["a.test"]).unwrap();
    assert_eq!(event, CaEvent::Loaded);
    for root in roots {
        assert_eq!(root.info().subject, stored.info().subject);
        assert_eq!(root.facts.public_key, stored.facts.public_key);
    }
}

#[test]
fn neither_debug_nor_info_shows_the_key() {
    let (dir, root) = scratch_root(&["a.test"]);
    let shown = format!("{root:?} {}", serde_json::to_string(&root.info()).unwrap());
    for line in key_text(dir.path()).lines().filter(|l| !l.starts_with('-')) {
        assert!(!shown.contains(line));
    }
    assert!(shown.contains("fingerprint_sha256"), "{shown}");
}
