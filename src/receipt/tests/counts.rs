//! What is counted, for whom, and within which bounds.

use super::*;
use crate::receipt::{About, Way};

#[test]
fn each_way_is_told_apart() {
    let front_door = |done| Sample::new(done, "127.0.0.1:8188", "front_door/comfyui");
    for (name, sample, way) in [
        (
            "telemetry is answered here",
            Sample::answered(Responder::Sink, "/"),
            Way::Here,
        ),
        (
            "a chat turn goes to the LLM",
            Sample::by_llm("127.0.0.1:8000", 0),
            Way::Llm,
        ),
        (
            "no LLM was there, so we answered",
            Sample::answered(Responder::Llm, "/v1/chat/completions"),
            Way::Here,
        ),
        (
            "the page's API goes to ComfyUI",
            front_door(Done::Forward),
            Way::ComfyUi,
        ),
        (
            "an allowed host gets it",
            Sample::sent("a.test:443", 9),
            Way::Sent,
        ),
        (
            "a tunnel is not read",
            Sample::new(Done::Tunnel, "a.test:443", "mine"),
            Way::Relayed,
        ),
        (
            "a refusal goes nowhere",
            front_door(Done::Deny),
            Way::Refused,
        ),
        (
            "an opened connection is no request",
            Sample::new(Done::Intercept, "a.test:443", "mine"),
            Way::Opened,
        ),
    ] {
        sample.give(|event| assert_eq!(event.way(), way, "{name}"));
    }
}

/// More of everything than there is room for.
fn flood() -> Vec<Sample> {
    (0..3_000_u64)
        .flat_map(|n| {
            let chat = Some(format!("chat-{n}"));
            let report = Sample {
                detail: Some(format!("the browser refused h{n}.test:443 on / (img-src)")),
                ..Sample::answered(Responder::FrontDoor, crate::page::REPORT_PATH)
            };
            [
                Sample {
                    chat: chat.clone(),
                    at: n,
                    ..Sample::sent(&format!("h{n}.test:443"), n)
                },
                Sample {
                    chat,
                    at: n,
                    ..Sample::refused(&format!("r{n}.test:443"), Reason::NoRuleMatched)
                },
                Sample {
                    user: Some("ada"),
                    bytes: (1, 2, 0),
                    ..report
                },
            ]
        })
        .collect()
}

#[test]
fn a_flood_is_kept_within_bounds_and_its_sums_are_true() {
    let samples = flood();
    let ledger = ledger(&samples);
    let receipt = shown(&ledger, None, &Viewer::Everything).unwrap();
    assert!(receipt.hosts.len() <= 512, "{}", receipt.hosts.len());
    assert!(receipt.refused.len() <= 256, "{}", receipt.refused.len());
    assert!(receipt.browser_refused.len() <= 256);
    assert!(receipt.sessions.len() <= 128, "{}", receipt.sessions.len());
    let sum = |of: fn(&Sample) -> u64| samples.iter().map(of).sum::<u64>();
    assert_eq!(receipt.totals.requests, samples.len() as u64);
    assert_eq!(receipt.totals.bytes_from_programs, sum(|s| s.bytes.0));
    assert_eq!(receipt.totals.bytes_to_programs, sum(|s| s.bytes.1));
    assert_eq!(receipt.totals.bytes_left_machine, sum(|s| s.bytes.2));
    let hosts: u64 = receipt.hosts.iter().map(|line| line.requests).sum();
    assert_eq!(hosts + receipt.more_hosts.requests, receipt.totals.sent_on);
    let left: u64 = receipt
        .hosts
        .iter()
        .map(|line| line.bytes_left_machine)
        .sum();
    assert_eq!(
        left + receipt.more_hosts.bytes_left_machine,
        receipt.totals.bytes_left_machine
    );
    let refused: u64 = receipt.refused.iter().map(|line| line.requests).sum();
    assert_eq!(refused + receipt.more_refused, receipt.totals.refused);
    let browser: u64 = receipt.browser_refused.iter().map(|line| line.times).sum();
    assert_eq!(browser + receipt.more_browser_refused, 3_000);
    assert_eq!(receipt.sessions.len() as u64 + receipt.more_sessions, 3_000);
    // The newest chats stay.
    assert!(shown(&ledger, Some("chat-2999"), &Viewer::Everything).is_some());
    assert!(shown(&ledger, Some("chat-0"), &Viewer::Everything).is_none());
}

#[test]
fn an_opened_connection_adds_nothing_to_the_sums() {
    let opened = Sample {
        bytes: (100, 200, 50),
        ..Sample::new(Done::Intercept, "a.test:443", "mine")
    };
    let totals = receipt(&[opened, Sample::sent("a.test:443", 7)]).totals;
    assert_eq!((totals.requests, totals.opened), (1, 1));
    assert_eq!(
        (totals.bytes_from_programs, totals.bytes_left_machine),
        (7, 7)
    );
}

#[test]
fn people_see_what_is_theirs_and_an_admin_sees_all() {
    let of = |user, chat: &str, host| Sample {
        user,
        chat: Some(chat.to_owned()),
        ..Sample::sent(host, 10)
    };
    let ledger = ledger(&[
        of(Some("ada"), "one", "ada.test:443"),
        of(Some("ada"), "both", "ada.test:443"),
        of(Some("bob"), "both", "bob.test:443"),
        of(None, "nobodys", "free.test:443"),
    ]);
    let own = |user: &str| Viewer::Own(user.to_owned());
    let hosts = |session, viewer: &Viewer| {
        let receipt = shown(&ledger, session, viewer)?;
        Some(
            receipt
                .hosts
                .into_iter()
                .map(|line| line.host)
                .collect::<Vec<_>>(),
        )
    };
    let all = ["ada.test:443", "bob.test:443", "free.test:443"]
        .map(str::to_owned)
        .to_vec();
    let ada = Some(vec!["ada.test:443".to_owned()]);
    let bob = Some(vec!["bob.test:443".to_owned()]);
    for (name, session, viewer, expected) in [
        (
            "an admin sees the machine",
            None,
            Viewer::Everything,
            Some(all),
        ),
        ("ada sees her part of it", None, own("ada"), ada.clone()),
        ("bob sees his", None, own("bob"), bob.clone()),
        (
            "who did nothing sees nothing",
            None,
            own("eve"),
            Some(vec![]),
        ),
        ("ada sees her chat", Some("one"), own("ada"), ada.clone()),
        ("bob does not", Some("one"), own("bob"), None),
        (
            "one name of two people is ada's for ada",
            Some("both"),
            own("ada"),
            ada,
        ),
        ("and bob's for bob", Some("both"), own("bob"), bob),
        (
            "what is nobody's is the admin's",
            Some("nobodys"),
            own("ada"),
            None,
        ),
        (
            "there is no such chat",
            Some("else"),
            Viewer::Everything,
            None,
        ),
    ] {
        assert_eq!(hosts(session, &viewer), expected, "{name}");
    }
    let sessions = |viewer| shown(&ledger, None, viewer).unwrap().sessions.len();
    assert_eq!(
        (sessions(&Viewer::Everything), sessions(&own("bob"))),
        (4, 1)
    );
    let receipt = shown(&ledger, None, &own("ada")).unwrap();
    assert_eq!(
        receipt.about,
        About::User {
            user: "ada".to_owned()
        }
    );
    assert_eq!(
        (receipt.ever, receipt.more_sessions),
        (None, 0),
        "the machine's own"
    );
}

#[test]
fn who_someone_is_says_what_they_see() {
    use crate::token::Role;
    let name = "ada".parse().unwrap();
    for (role, viewer) in [
        (None, Viewer::Everything),
        (Some(Role::Admin), Viewer::Everything),
        (Some(Role::User), Viewer::Own("ada".into())),
        (Some(Role::Viewer), Viewer::Own("ada".into())),
    ] {
        assert_eq!(
            Viewer::of(role.map(|role| (&name, role))),
            viewer,
            "{role:?}"
        );
    }
}

#[test]
fn only_looking_at_the_receipt_is_no_news() {
    let page = Sample::answered(Responder::FrontDoor, crate::page::RECEIPT_PATH);
    let telemetry = Sample::answered(Responder::Sink, "/api/chat/track_event");
    assert_eq!(ledger(&[page.clone(), page.clone()]).changes(), 0);
    assert_eq!(ledger(&[page, telemetry]).changes(), 1);
}
