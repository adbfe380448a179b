use std::{collections::HashSet, io, net::TcpListener, process::Command, sync::Arc};

use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion, ServerConnection, StreamOwned,
    client::Resumption, version,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::*;
use crate::tls::testing::{client, handshake, scratch_root};

fn cache(names: &[&str], capacity: usize) -> (tempfile::TempDir, Arc<RootCa>, LeafCache) {
    let (dir, root) = scratch_root(names);
    let cache = LeafCache::new(root.clone(), capacity, Arc::new(Metrics::new())).unwrap();
    (dir, root, cache)
}

fn presented(trusting: &Arc<ClientConfig>, server: &Arc<ServerConfig>, name: &str) -> Vec<u8> {
    let (client, _) = handshake(trusting, server, name).unwrap();
    let chain = client.peer_certificates().unwrap();
    assert_eq!(chain.len(), 1, "the root is not sent");
    chain.first().unwrap().to_vec()
}

#[test]
fn a_client_that_trusts_the_root_accepts_listed_names() {
    let (_dir, root, cache) = cache(&["allowed.test", "*.w.test"], 8);
    for name in ["allowed.test", "sub.allowed.test", "a.w.test", "a.b.w.test"] {
        let server = cache.server_config(name).unwrap();
        for version in [&version::TLS13, &version::TLS12] {
            let mut trusting = ClientConfig::builder_with_provider(provider())
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(client_roots(&root))
                .with_no_client_auth();
            trusting.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            let (client, server) = handshake(&Arc::new(trusting), &server, name).unwrap();
            assert_eq!(client.alpn_protocol(), Some(HTTP_1_1), "{name}");
            assert_eq!(client.protocol_version(), Some(version.version), "{name}");
            assert_eq!(server.server_name(), Some(name));
        }
    }
}

fn client_roots(root: &RootCa) -> rustls::RootCertStore {
    let mut store = rustls::RootCertStore::empty();
    store.add(root.certificate().clone()).unwrap();
    store
}

#[test]
fn a_client_that_offers_h2_alone_is_refused() {
    let (_dir, root, cache) = cache(&["a.test"], 8);
    let mut trusting = (*client(&[root.certificate().clone()])).clone();
    trusting.alpn_protocols = vec![b"h2".to_vec()];
    let server = cache.server_config("a.test").unwrap();
    assert!(handshake(&Arc::new(trusting), &server, "a.test").is_err());
}

#[test]
fn a_client_that_does_not_trust_the_root_refuses() {
    let (_dir, _root, cache) = cache(&["a.test"], 8);
    let (_other_dir, other) = scratch_root(&["a.test"]);
    let server = cache.server_config("a.test").unwrap();
    let trusting = client(&[other.certificate().clone()]);
    assert!(handshake(&trusting, &server, "a.test").is_err());
}

#[test]
fn names_that_are_not_canonical_or_not_permitted_get_no_leaf() {
    let (_dir, _root, cache) = cache(&["allowed.test", "*.w.test"], 8);
    for name in [
        "evil.test",
        "evilallowed.test",
        "test",
        "localhost",
        "allowed.test.evil.test",
    ] {
        let got = cache.server_config(name);
        assert!(
            matches!(got, Err(LeafError::NotPermitted(_))),
            "{name}: {got:?}"
        );
    }
    for name in [
        "127.0.0.1",
        "::1",
        "Allowed.test",
        "allowed.test.",
        "",
        "*.w.test",
    ] {
        let got = cache.server_config(name);
        assert!(
            matches!(got, Err(LeafError::NotAName(_))),
            "{name}: {got:?}"
        );
    }
    assert_eq!(cache.cached.lock().len(), 0);
}

#[test]
fn a_config_serves_its_own_name_only() {
    let (_dir, root, cache) = cache(&["allowed.test"], 8);
    let server = cache.server_config("allowed.test").unwrap();
    let trusting = client(&[root.certificate().clone()]);
    // Refused by the server itself, before the client sees a certificate that does not fit.
    let got = handshake(&trusting, &server, "sub.allowed.test").unwrap_err();
    assert!(got.to_string().contains("no server certificate"), "{got}");
    // Case does not matter, and a client without SNI is the policy's business.
    assert!(handshake(&trusting, &server, "ALLOWED.test").is_ok());
    let mut silent = (*trusting).clone();
    silent.enable_sni = false;
    assert!(handshake(&Arc::new(silent), &server, "allowed.test").is_ok());
}

#[test]
fn a_leaf_is_short_lived_and_says_what_it_is_for() {
    let (_dir, root, cache) = cache(&["a.test"], 8);
    let now = OffsetDateTime::now_utc();
    let leaf = cache.minter.mint("a.test", now).unwrap();
    let (_, cert) = X509Certificate::from_der(&leaf.certificate).unwrap();
    let (_, ca) = X509Certificate::from_der(root.certificate()).unwrap();
    assert_eq!(cert.issuer(), ca.subject());
    assert!(!cert.is_ca());
    let sans = cert.subject_alternative_name().unwrap().unwrap();
    assert_eq!(sans.value.general_names, [GeneralName::DNSName("a.test")]);
    let purpose = cert.extended_key_usage().unwrap().unwrap().value;
    assert!(purpose.server_auth && !purpose.client_auth && !purpose.any);
    let usage = cert.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && !usage.key_cert_sign());
    let life = cert.validity().not_after.to_datetime() - now;
    assert!(life > Duration::days(6) && life <= VALIDITY, "{life}");
    assert!(cert.validity().not_before.to_datetime() >= root.not_before());
    let has = |oid| cert.extensions().iter().any(|e| e.oid == oid);
    assert!(has(
        x509_parser::oid_registry::OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER
    ));
}

#[test]
fn serials_differ_although_the_key_is_shared() {
    let (_dir, _root, cache) = cache(&["test"], 8);
    let now = OffsetDateTime::now_utc();
    let serials: HashSet<_> = (0..50)
        .map(|n| {
            let leaf = cache.minter.mint(&format!("n{n}.test"), now).unwrap();
            let (_, cert) = X509Certificate::from_der(&leaf.certificate).unwrap();
            cert.raw_serial().to_vec()
        })
        .collect();
    assert_eq!(serials.len(), 50);
    assert!(
        serials
            .iter()
            .all(|s| s.len() == 16 && s.first().is_some_and(|b| *b < 0x80))
    );
}

#[test]
fn a_leaf_is_served_until_half_of_its_life_and_then_minted_anew() {
    let (_dir, _root, cache) = cache(&["a.test"], 8);
    let now = OffsetDateTime::now_utc();
    let at = |days: f64| {
        let config = cache.server_config_at("a.test", now + Duration::DAY * days);
        Arc::as_ptr(&config.unwrap())
    };
    let first = at(0.0);
    assert_eq!(at(3.4), first);
    let second = at(3.6);
    assert_ne!(second, first);
    assert_eq!(at(3.7), second);
    assert_eq!(cache.cached.lock().len(), 1);
}

#[test]
fn no_leaf_outlives_its_root() {
    let (_dir, root, cache) = cache(&["a.test"], 8);
    let leaf = cache
        .minter
        .mint("a.test", root.not_after() - Duration::DAY)
        .unwrap();
    let (_, cert) = X509Certificate::from_der(&leaf.certificate).unwrap();
    assert_eq!(
        cert.validity().not_after.timestamp(),
        root.not_after().unix_timestamp()
    );
    for now in [root.not_after(), root.not_before() - Duration::HOUR] {
        let got = cache.minter.mint("a.test", now);
        assert!(matches!(got, Err(LeafError::RootNotValid)), "{got:?}");
    }
}

#[test]
fn the_cache_is_bounded_and_counts_hits_and_misses() {
    let (_dir, root) = scratch_root(&["test"]);
    let metrics = Arc::new(Metrics::new());
    let cache = LeafCache::new(root, 4, metrics.clone()).unwrap();
    for n in 0..20 {
        cache.server_config(&format!("n{n}.test")).unwrap();
        cache.server_config("n0.test").unwrap();
    }
    assert_eq!(cache.cached.lock().len(), 4);
    let text = metrics.render();
    for line in [
        r#"airlock_leaf_cache_total{outcome="miss"} 20"#,
        r#"airlock_leaf_cache_total{outcome="hit"} 20"#,
        "airlock_leaf_cache_size 4",
    ] {
        assert!(text.contains(line), "{line}");
    }
}

#[test]
fn many_threads_get_working_configs_for_their_names() {
    let (_dir, root, cache) = cache(&["test"], 3);
    let trusting = client(&[root.certificate().clone()]);
    std::thread::scope(|s| {
        for thread in 0..8 {
            let (cache, trusting) = (&cache, &trusting);
            s.spawn(move || {
                for n in 0..25 {
                    let name = format!("n{}.test", (thread + n) % 5);
                    let server = cache.server_config(&name).unwrap();
                    presented(trusting, &server, &name);
                }
            });
        }
    });
    assert!(cache.cached.lock().len() <= 3);
}

#[test]
fn a_session_is_resumed_under_its_own_name_and_no_other() {
    let (_dir, root, cache) = cache(&["a.test", "b.test"], 8);
    let a = cache.server_config("a.test").unwrap();
    let b = cache.server_config("b.test").unwrap();
    for version in [&version::TLS13, &version::TLS12] {
        let mut resuming = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(client_roots(&root))
            .with_no_client_auth();
        resuming.resumption = Resumption::in_memory_sessions(32);
        let resuming = Arc::new(resuming);
        let kind = |server, name| {
            handshake(&resuming, server, name)
                .unwrap()
                .0
                .handshake_kind()
        };
        assert_eq!(kind(&a, "a.test"), Some(HandshakeKind::Full));
        assert_eq!(kind(&a, "a.test"), Some(HandshakeKind::Resumed));
        // The ticket for a.test is offered, but to the server that stands for b.test: it cannot
        // open it, falls back to a full handshake, and then has no certificate for a.test.
        assert!(handshake(&resuming, &b, "a.test").is_err());
        assert_eq!(kind(&b, "b.test"), Some(HandshakeKind::Full));
    }
    assert!(
        !a.session_storage.can_cache(),
        "sessions take no memory here"
    );
    assert_eq!(a.max_early_data_size, 0);
}

#[test]
fn a_re_minted_leaf_does_not_resume_sessions_of_the_old_one() {
    let (_dir, root, cache) = cache(&["a.test"], 8);
    let old = cache.server_config("a.test").unwrap();
    let leaf = cache
        .minter
        .mint("a.test", OffsetDateTime::now_utc())
        .unwrap();
    let new = Arc::new(cache.minter.serve(&leaf).unwrap());
    let trusting = client(&[root.certificate().clone()]);
    let kind = |server| {
        handshake(&trusting, server, "a.test")
            .unwrap()
            .0
            .handshake_kind()
    };
    assert_eq!(kind(&old), Some(HandshakeKind::Full));
    assert_eq!(kind(&new), Some(HandshakeKind::Full));
}

#[test]
fn old_protocol_versions_are_not_offered() {
    let versions: Vec<_> = VERSIONS.iter().map(|v| v.version).collect();
    assert_eq!(
        versions,
        [ProtocolVersion::TLSv1_3, ProtocolVersion::TLSv1_2]
    );
}

/// Serves one connection with this config and says nothing on it but a greeting.
fn serve_once(config: Arc<ServerConfig>) -> (u16, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let running = std::thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        tcp.set_read_timeout(Some(std::time::Duration::from_secs(20)))
            .unwrap();
        let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), tcp);
        // A client that refuses the certificate hangs up: that is its answer, not an error here.
        let _ = io::Write::write_all(&mut tls, b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        tls.conn.send_close_notify();
        let _ = tls.conn.complete_io(&mut tls.sock);
        let _ = io::copy(&mut tls, &mut io::sink());
    });
    (port, running)
}

const PYTHON: &str = r#"
import socket, ssl, sys
port, name, bundle = int(sys.argv[1]), sys.argv[2], sys.argv[3]
ctx = ssl.create_default_context(cafile=bundle)
ctx.verify_flags |= ssl.VERIFY_X509_STRICT
ctx.set_alpn_protocols(["h2", "http/1.1"])
with socket.create_connection(("127.0.0.1", port), timeout=20) as tcp:
    with ctx.wrap_socket(tcp, server_hostname=name) as tls:
        print(tls.selected_alpn_protocol(), tls.recv(15).decode())
"#;

const NODE: &str = r#"
const [port, servername, ca] = process.argv.slice(1);
const options = { host: "127.0.0.1", port, servername, ca: require("fs").readFileSync(ca) };
const tls = require("tls").connect(options, () => process.exit(0));
tls.on("error", (e) => { console.error(e.message); process.exit(1); });
"#;

#[test]
fn python_curl_openssl_and_node_accept_what_is_listed_and_refuse_the_rest() {
    let (_dir, root, cache) = cache(&["allowed.test"], 8);
    let pem = root.paths().certificate();
    let stolen = |name: &str| {
        let (leaf, key) =
            crate::tls::testing::stolen_key_leaf(&root, vec![crate::tls::testing::dns(name)]);
        crate::tls::testing::server(vec![leaf], &key)
    };
    type Make = fn(u16, &str, &std::path::Path) -> Command;
    let python: Make = |port, name, pem| {
        let mut c = Command::new("python3");
        c.args(["-c", PYTHON, &port.to_string(), name]).arg(pem);
        c
    };
    let curl: Make = |port, name, pem| {
        let mut c = Command::new("curl");
        c.args(["-sS", "-m", "20", "--noproxy", "*", "--cacert"])
            .arg(pem);
        c.args(["--resolve", &format!("{name}:{port}:127.0.0.1")]);
        c.arg(format!("https://{name}:{port}/"));
        c
    };
    let openssl: Make = |port, name, pem| {
        let mut c = Command::new("openssl");
        c.args(["s_client", "-verify_return_error", "-no-CApath", "-CAfile"])
            .arg(pem);
        c.args(["-servername", name, "-verify_hostname", name]);
        c.args(["-connect", &format!("127.0.0.1:{port}")]);
        c
    };
    let node: Make = |port, name, pem| {
        let mut c = Command::new("node");
        c.args(["-e", NODE, &port.to_string(), name]).arg(pem);
        c
    };
    for (tool, make) in [
        ("python3", python),
        ("curl", curl),
        ("openssl", openssl),
        ("node", node),
    ] {
        let version = if tool == "openssl" {
            "version"
        } else {
            "--version"
        };
        if Command::new(tool).arg(version).output().is_err() {
            eprintln!("skipped: no {tool} here");
            continue;
        }
        for (row, config, name, accepted) in [
            (
                "listed",
                cache.server_config("allowed.test").unwrap(),
                "allowed.test",
                true,
            ),
            (
                "below",
                cache.server_config("x.allowed.test").unwrap(),
                "x.allowed.test",
                true,
            ),
            ("stolen key", stolen("bank.test"), "bank.test", false),
        ] {
            let (port, server) = serve_once(config);
            let run = make(port, name, &pem)
                .stdin(std::process::Stdio::null())
                .output()
                .unwrap();
            server.join().unwrap();
            let said = format!(
                "{}{}",
                String::from_utf8_lossy(&run.stdout),
                String::from_utf8_lossy(&run.stderr)
            );
            assert_eq!(run.status.success(), accepted, "{tool}, {row}: {said}");
            assert!(
                accepted || said.contains("subtree violation"),
                "{tool}, {row}: {said}"
            );
        }
    }
}

#[test]
fn debug_output_holds_no_key() {
    let (_dir, _root, cache) = cache(&["a.test"], 8);
    let shown = format!("{cache:?}");
    assert!(
        shown.contains("Airlock root CA") && !shown.contains("KeyPair"),
        "{shown}"
    );
}
