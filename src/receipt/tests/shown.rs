//! The page: whole, escaped, and with nothing in it that its own policy forbids.

use super::*;
use crate::receipt::{page, picture::Picture};

const NASTY: &str = "<img src=x onerror=alert(1)>\"'&{{7*7}}";

fn nasty() -> Receipt {
    let mut receipt = receipt(&[
        Sample {
            rule: RuleName::new(NASTY),
            ..Sample::sent("a.test:443", 10)
        },
        Sample {
            path: NASTY.to_owned(),
            ..Sample::refused("b.test:443", Reason::HostKnownRequestNot)
        },
        Sample {
            detail: Some(NASTY.to_owned()),
            ..Sample::answered(Responder::FrontDoor, crate::page::REPORT_PATH)
        },
        Sample {
            chat: Some(NASTY.replace(' ', "")),
            ..Sample::by_llm("127.0.0.1:8000", 0)
        },
    ]);
    // No parser of ours lets such a host through; the page must not rely on it.
    for line in &mut receipt.hosts {
        line.host = NASTY.to_owned();
    }
    receipt
}

#[test]
fn what_others_wrote_is_shown_and_never_run() {
    let receipt = nasty();
    let html = page::page(&receipt, Some("a b<>")).unwrap();
    assert!(!html.contains("<img"), "{html}");
    assert!(
        html.contains("&#60;img") || html.contains("&lt;img"),
        "{html}"
    );
    assert!(
        html.contains("?session=a%20b%3C%3E"),
        "the session's name is a query, not markup"
    );
    assert!(
        page::part(&receipt).unwrap().contains("{{7*7}}"),
        "as it was written"
    );
}

#[test]
fn nothing_on_the_page_is_against_its_own_policy() {
    let html = page::page(&nasty(), None).unwrap().to_ascii_lowercase();
    for forbidden in [
        " style=",
        "<style",
        "javascript:",
        "http://",
        "https://",
        "<iframe",
        "<form",
    ] {
        assert!(!html.contains(forbidden), "{forbidden} in {html}");
    }
    // Escaped text may hold anything; tags may not have handlers.
    let tags = html
        .split('<')
        .skip(1)
        .filter_map(|tag| tag.split_once('>').map(|(tag, _)| tag));
    let mut scripts = 0;
    for tag in tags {
        // What stands in quotes is a value.
        let names: String = tag.split('"').step_by(2).collect();
        let handler = names
            .split_whitespace()
            .skip(1)
            .any(|word| word.starts_with("on") && word.contains('='));
        assert!(!handler, "{tag}");
        if tag.starts_with("script") {
            scripts += 1;
            assert!(tag.contains("src=\"/airlock/receipt/script.js\""), "{tag}");
        }
    }
    assert_eq!(scripts, 1);
    assert!(!page::SCRIPT.contains("innerHTML") && !page::STYLE.contains("@import"));
}

#[test]
fn an_empty_ledger_and_a_full_one_are_both_pages() {
    let empty = page::page(&receipt(&[]), None).unwrap();
    assert!(empty.contains("Nothing has come by yet") && empty.contains("Nobody."));
    assert!(
        !empty.contains("<svg viewBox=\"0 0 900"),
        "there is nothing to draw"
    );
    let many: Vec<Sample> = (0..300)
        .flat_map(|n| {
            [
                Sample::sent(&format!("h{n}.test:443"), 1_000 + n),
                Sample::refused(&format!("r{n}.test:443"), Reason::NoRuleMatched),
            ]
        })
        .collect();
    let receipt = receipt(&many);
    let html = page::page(&receipt, None).unwrap();
    assert!(html.contains("200 more hosts"), "the rest is counted");
    assert!(html.contains("200 more refusals"), "the rest is counted");
    assert!(html.contains("300 hosts were contacted"));
}

#[test]
fn the_picture_puts_each_lane_on_its_side_and_inside_of_its_frame() {
    let lanes = |samples: &[Sample]| {
        let picture = Picture::of(&receipt(samples));
        let frame = picture.height;
        for lane in &picture.lanes {
            assert!(lane.y + 20 < frame, "{lane:?} in {frame}");
            assert!((1..=100).contains(&lane.share));
        }
        assert!(picture.gate_y + picture.gate_height <= frame);
        let lanes = picture.lanes.into_iter();
        lanes
            .map(|lane| (lane.class, lane.label))
            .collect::<Vec<_>>()
    };
    let own = |class: &'static str, label: &str| (class, label.to_owned());
    assert_eq!(lanes(&[]), []);
    assert_eq!(
        lanes(&[
            Sample::refused("b.test:443", Reason::NoRuleMatched),
            Sample::sent("a.test:443", 10),
            Sample::by_llm("sparkle:8000", 10),
            Sample::answered(Responder::Sink, "/"),
        ]),
        [
            own("stays", "Answered by Airlock"),
            own("leaves", "Your LLM"),
            own("leaves", "a.test:443"),
            own("refused", "Refused"),
        ]
    );
    let many: Vec<Sample> = (0..9)
        .map(|n| Sample::sent(&format!("h{n}.test:443"), 9))
        .collect();
    let shown = lanes(&many);
    assert_eq!(shown.len(), 6);
    assert_eq!(shown[5], own("leaves", "and 4 more hosts"));
    let long = format!("{}.example.test:443", "x".repeat(60));
    let (_, label) = lanes(&[Sample::sent(&long, 1)]).remove(0);
    assert!(
        label.starts_with('…') && label.ends_with("x.example.test:443"),
        "{label}"
    );
}
