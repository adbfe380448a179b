//! A panic inside of a decision, at the doors of a running Airlock: refused with its reason, one
//! record, and the next request as ever.
//!
//! Test builds of the policy panic where the rule [`crate::policy::FAULTY`] or the method
//! [`crate::policy::FAULT`] is asked about; the shipped program has no such switch.

use std::{collections::HashMap, time::Duration};

use rustls::RootCertStore;

use super::{App, Running};
use crate::{
    audit::AuditRecord,
    config, page,
    policy::{FAULT, FAULTY, Reason},
    selftest::{Case, Doors, Driver, Expected, Lane, Opening, Script, Step, Verdict},
    tls::ClientTls,
};

const GROUND: &str = "packs: []
models: {sources: []}
llm: {discover: false}
listeners:
  explicit: 127.0.0.1:0
  reverse: {listen: 127.0.0.1:0, host: inside.test}
  transparent_tls: 127.0.0.1:0
  transparent_http: 127.0.0.1:0
  admin: 127.0.0.1:0
front_door: {listen: 127.0.0.1:0, comfyui: 'http://127.0.0.1:9'}
";

async fn start(folder: &std::path::Path) -> (Running, Driver) {
    let yaml = format!(
        "version: 1\nstate_dir: {}\n{GROUND}rules:\n\
         \x20 - {{name: {FAULTY}, hosts: [fault.test], respond: image}}\n\
         \x20 - {{name: inside, hosts: [inside.test], paths: [/open/*], respond: image}}\n",
        folder.display()
    );
    let environment = HashMap::new();
    let config = config::compile(&yaml, "a test", folder.to_owned(), &environment).unwrap();
    let running = App::start(config, &environment).await.unwrap();
    let root = folder.join("ca/root.pem");
    let tls = ClientTls::new(RootCertStore::empty()).config_for(Some(&root));
    let driver = Driver {
        doors: Doors {
            explicit: running.address("explicit"),
            reverse: running.address("reverse"),
            transparent_tls: running.address("transparent_tls"),
            transparent_http: running.address("transparent_http"),
            front_door: running.address("front_door"),
            admin: running.address("admin"),
            asking: Vec::new(),
        },
        tls: tls.unwrap(),
        patience: Duration::from_secs(20),
    };
    (running, driver)
}

fn case(lane: Lane, opening: Opening, bytes: String) -> Case {
    Case {
        group: 0,
        lane,
        sentence: String::new(),
        script: Script::Wire {
            opening,
            steps: vec![Step::Send(bytes.into_bytes())],
        },
        expected: Expected::Holds,
        destination: None,
    }
}

/// A request for a page of `inside.test` that is answered here.
fn request(lane: Lane, method: &str) -> Case {
    let inside = Opening::Inside {
        authority: "inside.test:443".into(),
        name: "inside.test".into(),
    };
    let (opening, to, host) = match lane {
        Lane::ExplicitPlain => (Opening::Direct, "http://inside.test", "inside.test"),
        Lane::ConnectIntercepted | Lane::TransparentTls => (inside, "", "inside.test"),
        Lane::Reverse => (Opening::Direct, "", "localhost"),
        Lane::TransparentHttp => (Opening::Direct, "", "inside.test"),
        Lane::FrontDoor => (Opening::Direct, page::COPILOT_PATH, "localhost"),
        Lane::ConnectTunnel | Lane::Admin | Lane::InProcess => unreachable!("no request lane"),
    };
    let bytes = format!("{method} {to}/open/a.png HTTP/1.1\r\nHost: {host}\r\n\r\n");
    case(lane, opening, bytes)
}

/// The records of refusals for a fault, once there are so many; a moment later there are no more.
async fn faults(running: &Running, wanted: usize) -> Vec<AuditRecord> {
    let found = || -> Vec<AuditRecord> {
        let all = running.recent().into_iter();
        all.filter(|r| r.reason == Reason::PolicyFault).collect()
    };
    for _ in 0..500 {
        if found().len() >= wanted {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    found()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_a_decision_refuses_by_every_entry_and_the_next_request_is_as_ever() {
    let folder = tempfile::tempdir().unwrap();
    let (running, driver) = start(folder.path()).await;
    let mut expected = 0;
    for lane in Lane::REQUESTS {
        let verdict = driver.play(&request(lane, FAULT)).await;
        assert_eq!(verdict, Verdict::Refused("policy_fault".into()), "{lane:?}");
        expected += 1;
        let records = faults(&running, expected).await;
        assert_eq!(records.len(), expected, "{lane:?}: {records:#?}");
        let record = &records[expected - 1];
        assert_eq!((record.action, record.status), ("deny", Some(503)));
        assert_eq!(record.method.as_deref(), Some(FAULT), "{lane:?}");

        let next = driver.play(&request(lane, "GET")).await;
        let answered = Verdict::Answered {
            status: 200,
            ours: true,
        };
        assert_eq!(next, answered, "{lane:?}");
    }

    // The connection checkpoint: said before the 200, and without TLS by closing.
    let connect = "CONNECT fault.test:443 HTTP/1.1\r\nHost: fault.test:443\r\n\r\n";
    let plain = case(Lane::ConnectTunnel, Opening::Direct, connect.into());
    let verdict = driver.play(&plain).await;
    assert_eq!(verdict, Verdict::Refused("policy_fault".into()));
    let redirected = Opening::Inside {
        authority: String::new(),
        name: "fault.test".into(),
    };
    let hello = case(Lane::TransparentTls, redirected, String::new());
    let verdict = driver.play(&hello).await;
    assert!(matches!(verdict, Verdict::Failed(_)), "{verdict:?}");
    expected += 2;
    let records = faults(&running, expected).await;
    assert_eq!(records.len(), expected, "{records:#?}");
    assert!(records.iter().all(|r| r.action == "deny"), "{records:#?}");
    for lane in [Lane::ConnectIntercepted, Lane::TransparentTls] {
        let next = driver.play(&request(lane, "GET")).await;
        assert!(
            matches!(next, Verdict::Answered { status: 200, .. }),
            "{lane:?}: {next:?}"
        );
    }

    let page = running.metrics().render();
    let counted: u64 = page
        .lines()
        .filter(|l| l.starts_with("airlock_decisions_total{") && l.contains("\"policy_fault\""))
        .filter_map(|l| l.rsplit(' ').next()?.parse::<u64>().ok())
        .sum();
    assert_eq!(counted, expected as u64);
    assert!(!page.contains("airlock_upstream_sockets_total{"), "{page}");
    running.stop().await;
}
