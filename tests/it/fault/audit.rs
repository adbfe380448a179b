//! The disk of the audit log is full: nothing is let through that cannot be recorded, and nothing that
//! was refused meanwhile is forgotten.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use super::{GET_PICTURE, alone, ask, forwarding, get, said, system};
use crate::support::{Airlock, Origin, eventually};

fn records(log: &Path) -> Vec<Value> {
    fs::read_to_string(log)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("torn ({e}): {line}")))
        .collect()
}

fn is_refusing(airlock: &Airlock) -> bool {
    let reply = ask(airlock, GET_PICTURE);
    reply.status == 503 && reply.code() == "audit_unavailable"
}

#[test]
fn a_full_disk_refuses_all_and_every_record_is_there_when_there_is_room_again() {
    if !alone(
        "fault::audit::a_full_disk_refuses_all_and_every_record_is_there_when_there_is_room_again",
    ) {
        return;
    }
    let disk = tempfile::tempdir().unwrap();
    let disk = disk.path();
    system(&format!(
        "mount --no-mtab -t tmpfs -o size=64k tmpfs {}",
        disk.display()
    ));
    let log = disk.join("audit.jsonl");
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let port = origin.port();
    let airlock = forwarding("localhost", &origin)
        .more(format!("audit:\n  path: {}", log.display()))
        .start();
    let through = get("localhost", port);
    assert_eq!(ask(&airlock, &through).status, 200);
    eventually("it is recorded", || !records(&log).is_empty());

    // Whatever is left of the disk is taken, and the page that the log has begun is filled.
    let filler = disk.join("filler");
    let _ = fs::write(&filler, vec![0; 128 << 10]);
    let mut asked = 1;
    eventually("what cannot be recorded is refused", || {
        asked += 1;
        is_refusing(&airlock)
    });
    let reached = origin.connections();
    for (entry, request) in [
        ("a forwarded request", through.clone()),
        ("a local answer", GET_PICTURE.to_owned()),
        (
            "a tunnel",
            format!("CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"),
        ),
    ] {
        let reply = ask(&airlock, &request);
        asked += 1;
        assert_eq!(said(&reply), (503, "audit_unavailable".into()), "{entry}");
    }
    // More than one buffer of the writer holds.
    for _ in 0..400 {
        assert_eq!(ask(&airlock, &through).status, 503);
        asked += 1;
    }
    assert_eq!(origin.connections(), reached, "nothing was dialled");
    assert_eq!(airlock.admin("/readyz").0, 503);
    assert_eq!(airlock.admin("/healthz").0, 200);
    assert!(airlock.metric("airlock_audit_errors_total", &[]) > 0);
    // The whole lines only: the last one may be on its way.
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.lines().count() < asked, "the disk was never full");

    fs::remove_file(&filler).unwrap();
    // 400 records of some 400 bytes do not fit into the 64 KiB that there were.
    system(&format!(
        "mount --no-mtab -o remount,size=4m {}",
        disk.display()
    ));
    eventually("it is ready again", || airlock.admin("/readyz").0 == 200);
    assert_eq!(ask(&airlock, &through).status, 200, "service resumes");
    asked += 1;
    eventually("every record is there", || records(&log).len() >= asked);
    let records = records(&log);
    assert_eq!(records.len(), asked, "one each");
    let ids: BTreeSet<_> = records.iter().map(|r| r["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), asked, "none is there twice");
    let refused = |r: &&Value| r["reason"] == "audit_unavailable" && r["status"] == 503;
    assert!(records.iter().filter(refused).count() > 400);
}
