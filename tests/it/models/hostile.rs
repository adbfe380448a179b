//! Hubs that lie, loop, do not end or lead astray: a clear refusal, or a stream that breaks off, and no
//! byte to where no rule leads.

use super::{
    hub::{Hubs, ask, content, file_target, search},
    own,
};

/// The file of a repository, by what is wrong with it: status, and words of the refusal.
const FILES: &[(&str, &str, u16, &str)] = &[
    (
        "the store announces another size",
        "wrong-size",
        403,
        "another size",
    ),
    ("a page in place of the file", "page", 403, "it is a page"),
    (
        "a redirect to a server of the house",
        "to-a-stranger",
        403,
        "host_known_request_not",
    ),
    (
        "a redirect to the metadata service",
        "to-the-metadata-service",
        403,
        "169.254.169.254",
    ),
    (
        "a redirect to loopback in other clothes",
        "to-an-encoded-loopback",
        403,
        "airlock did not ask",
    ),
    (
        "a redirect to a file",
        "to-another-scheme",
        403,
        "redirects to nowhere",
    ),
    ("a redirect to itself", "in-circles", 403, "circles"),
    (
        "a redirect without a place",
        "to-nowhere",
        403,
        "redirects to nowhere",
    ),
    ("a redirect to a login page", "to-the-login", 403, "login"),
    ("a login", "wants-a-login", 403, "login"),
    (
        "a failure, which passes",
        "store-of-fails",
        503,
        "status 503",
    ),
];

/// The list of files.
const LISTS: &[(&str, &str, u16, &str)] = &[
    ("a page in place of JSON", "page-for-json", 403, "no JSON"),
    ("half a JSON", "broken-json", 403, "broken JSON"),
    (
        "a JSON that does not end",
        "endless-json",
        403,
        "does not end",
    ),
    ("a failure", "fails", 424, "status 500"),
    ("nothing there", "gone", 404, "no source"),
    (
        "a commit that is a path",
        "another-commit",
        403,
        "not this model",
    ),
    ("terms to accept first", "gated", 403, "token"),
    ("files that climb", "climbs", 404, "no weights"),
    ("pickles alone", "pickles", 403, "ckpt, bin"),
];

#[test]
fn a_hub_that_misbehaves_is_refused_in_words_and_followed_nowhere() {
    let hubs = Hubs::start();
    let airlock = hubs.with_both();
    for (row, repo, status, words) in FILES {
        let reply = ask(
            &airlock,
            "GET",
            &file_target(&format!("hf--org/{repo}")),
            "",
            "",
        );
        assert_eq!(reply.status, *status, "{row}: {}", reply.text());
        assert!(reply.text().contains(words), "{row}: {}", reply.text());
        assert_eq!(reply.json()["Success"], false, "{row}");
    }
    for (row, repo, status, words) in LISTS {
        let target = format!("/api/v1/models/hf--org/{repo}/repo/files?Revision=master");
        let reply = ask(&airlock, "GET", &target, "", "");
        assert_eq!(reply.status, *status, "{row}: {}", reply.text());
        assert!(reply.text().contains(words), "{row}: {}", reply.text());
    }
    assert_eq!(hubs.stranger.connections(), 0);
    let elsewhere = |class| airlock.metric("airlock_upstream_sockets_total", &[("class", class)]);
    assert_eq!(
        elsewhere("link_local") + elsewhere("metadata") + elsewhere("public"),
        0
    );
    let circles = hubs
        .hub
        .heads()
        .iter()
        .filter(|h| h.contains("/in-circles/resolve/"))
        .count();
    assert_eq!(circles, 6);
    // What was not asked is on record as refused.
    let refused: Vec<_> = own(&airlock, 20)
        .into_iter()
        .filter(|r| r["action"] == "deny")
        .collect();
    let reasons: Vec<_> = refused
        .iter()
        .map(|r| r["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons.len(), 3, "{refused:#?}");
    let by_rules = ["no_rule_matched", "host_known_request_not"];
    assert!(reasons.iter().all(|r| by_rules.contains(r)), "{reasons:?}");
    airlock.assert_healthy();
}

#[test]
fn a_file_that_is_not_the_listed_one_never_looks_whole() {
    let hubs = Hubs::start();
    let airlock = hubs.with_both();
    for (row, repo) in [
        ("other bytes of the same size", "wrong-digest"),
        ("less than the list says", "short"),
    ] {
        let reply = ask(
            &airlock,
            "GET",
            &file_target(&format!("hf--org/{repo}")),
            "",
            "",
        );
        assert_eq!(reply.status, 200, "{row}: {}", reply.text());
        assert!(!reply.whole && reply.body.len() < content().len(), "{row}");
    }
    let broken = own(&airlock, 6);
    let ended: Vec<_> = broken
        .iter()
        .filter(|r| r["ended"] == "upstream_failed")
        .collect();
    assert_eq!(ended.len(), 2, "{broken:#?}");

    // Without a length, the list says where it ends.
    let endless = ask(&airlock, "GET", &file_target("hf--org/endless"), "", "");
    let part = content().get(..endless.body.len());
    assert_eq!(part, Some(&endless.body[..]));
    assert!(!endless.whole || endless.body.len() == content().len());

    // A store that knows no ranges cannot continue a file, and must not begin it anew in its middle.
    let target = file_target("hf--org/ignores-ranges");
    let reply = ask(&airlock, "GET", &target, "Range: bytes=10-\r\n", "");
    assert_eq!(reply.status, 403, "{}", reply.text());
    airlock.assert_healthy();
}

#[test]
fn a_hub_that_asks_for_a_pause_gets_it() {
    let hubs = Hubs::start();
    let airlock = hubs.with_both();
    let busy = "/api/v1/models/hf--org/asks-for-a-pause";
    // A card is asked for while ComfyUI stands still: no status that is tried again.
    assert_eq!(ask(&airlock, "GET", busy, "", "").status, 404);
    let asked = hubs.hub.heads().len();
    let reply = ask(&airlock, "GET", &file_target("hf--org/good"), "", "");
    assert_eq!(reply.status, 429, "{}", reply.text());
    let pause: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=100).contains(&pause), "{pause}");
    assert_eq!(hubs.hub.heads().len(), asked, "it was asked all the same");
    // The other hub has nothing to do with it.
    let found = search(&airlock, "pose");
    assert!(
        found.iter().any(|m| m["Path"] == "civitai--11"),
        "{found:#?}"
    );
    assert!(
        found
            .iter()
            .any(|m| m["Name"].as_str().unwrap().contains("pause"))
    );
}

#[test]
fn a_hub_that_says_nothing_does_not_hold_a_search() {
    let hubs = Hubs::start();
    let airlock = hubs.with_both();
    let found = search(&airlock, "silent");
    assert!(
        found.iter().any(|m| m["Path"] == "civitai--11"),
        "{found:#?}"
    );
    assert!(
        found
            .iter()
            .any(|m| m["Name"] == "Hugging Face did not answer in time")
    );
}

#[test]
fn a_download_that_finds_no_room_is_not_begun() {
    let hubs = Hubs::start();
    let models = tempfile::tempdir().unwrap();
    let dir = format!(
        "  sources: [huggingface]\n  dir: {}\n",
        models.path().display()
    );
    let airlock = hubs.setup(&dir, "").start();
    let target = "/api/v1/models/hf--org/huge/repo/files";
    let reply = ask(&airlock, "GET", target, "", "");
    assert_eq!(reply.status, 403, "{}", reply.text());
    assert!(reply.text().contains("it needs 2.2 TB"), "{}", reply.text());
    assert_eq!(
        ask(&airlock, "GET", &file_target("hf--org/good"), "", "").status,
        200
    );
}
