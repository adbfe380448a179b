//! Plain words for everything that can happen.

use std::collections::BTreeSet;

use http::HeaderMap;

use super::*;
use crate::receipt::{Deed, Told, amount, headline::Verdict, plane::KNOWS_ALLOWLIST, reasons};

#[test]
fn every_reason_and_every_deed_is_told_in_whole_sentences() {
    let sentence = |text: &str| {
        let begins =
            text.starts_with(|c: char| c.is_uppercase() || c.is_numeric() || "`".contains(c));
        let snake = text.contains("airlock_") || text.contains("reason=");
        // Some end in a colon and show a rule; some begin with the name of a setting or a command.
        text.ends_with(['.', ':'])
            && text.len() > 8
            && !snake
            && (begins || text.contains('_') || text.contains('`'))
    };
    for reason in Reason::ALL {
        let words = reasons::words(*reason);
        assert!(sentence(words.why), "{reason}: {}", words.why);
        assert!(sentence(words.way_out), "{reason}: {}", words.way_out);
        assert!(
            !words.why.contains(reason.code()) || !reason.code().contains('_'),
            "{reason}"
        );
        assert_eq!(words.way_out.ends_with(':'), words.a_rule_helps, "{reason}");
    }
    let mut codes = BTreeSet::new();
    for deed in Deed::ALL {
        assert!(codes.insert(deed.code()), "{} stands twice", deed.code());
        assert!(!deed.what().is_empty() && sentence(deed.came()), "{deed:?}");
    }
}

#[test]
fn every_handler_has_its_words() {
    let mut seen = BTreeSet::new();
    for responder in Responder::ALL {
        for path in [
            "/",
            "/v1/models",
            "/api/chat/invoke",
            "/airlock/else",
            "/api/v1/models/a/b",
        ] {
            Sample::answered(responder, path).give(|event| {
                let deed = Deed::of(event);
                assert!(deed.is_answer(), "{responder:?} {path}: {deed:?}");
                seen.insert(deed);
            });
        }
    }
    assert!(seen.len() >= Responder::ALL.len(), "{seen:?}");
}

#[test]
fn what_a_request_was_for_follows_from_who_answers_and_its_path() {
    use Responder::{Copilot, FrontDoor, Image, Llm, Mcp, ModelScope, Sink};
    for (responder, path, deed) in [
        (Llm, "/v1/chat/completions", Deed::ChatTurn),
        (Llm, "/v1/completions", Deed::Completion),
        (Llm, "/v1/embeddings", Deed::Embedding),
        (Llm, "/v1/models", Deed::ModelList),
        (Llm, "/v1/models/qwen3", Deed::ModelList),
        (Llm, "/v1/responses", Deed::LlmOther),
        (Mcp, "/mcp-server/sse", Deed::ChatTools),
        (Copilot, "/api/chat/rsa_public_key", Deed::SettingsKey),
        (Copilot, "/api/chat/announcement", Deed::Announcement),
        (Copilot, "/api/chat/track_event", Deed::Telemetry),
        (Copilot, "/api/chat/invoke", Deed::OldChat),
        (Copilot, "/api/chat/get_optimized_workflow", Deed::Workflow),
        (Copilot, "/api/chat/get_node_info_by_types", Deed::NodeInfo),
        (Copilot, "/api/chat/imgfile2oss", Deed::PictureKept),
        (Copilot, "/api/user/create", Deed::Account),
        (
            Copilot,
            "/api/param_debug/generate_sd_prompts",
            Deed::PromptIdeas,
        ),
        (Copilot, "/api/new", Deed::VendorOther),
        (ModelScope, "/api/v1/dolphin/models", Deed::ModelSearch),
        (ModelScope, "/api/v1/models/a/b/repo", Deed::ModelDownload),
        (Sink, "/api/chat/track_event", Deed::Telemetry),
        (Sink, "/v1/traces/ingest", Deed::Traces),
        (Image, "/a.png", Deed::Placeholder),
        (FrontDoor, "/airlock/csp", Deed::BrowserReport),
        (FrontDoor, "/airlock/receipt", Deed::ReceiptPage),
        (FrontDoor, "/airlock/receipt.json", Deed::ReceiptPage),
        (FrontDoor, "/airlock/login", Deed::DoorPage),
    ] {
        Sample::answered(responder, path)
            .give(|event| assert_eq!(Deed::of(event), deed, "{responder:?} {path}"));
    }
}

#[test]
fn the_headline_answers_whether_anything_left() {
    let local = Sample::by_llm("127.0.0.1:8000", 0);
    let box_in_the_lan = Sample::by_llm("sparkle:8000", 1_200);
    let telemetry = Sample::answered(Responder::Sink, "/");
    let refusal = Sample::refused("evil.test:443", Reason::NoRuleMatched);
    let nobody = Sample {
        ended: Some(Reason::ConnectFailed),
        ..Sample::sent("gone.test:443", 0)
    };
    let watched = Sample {
        would_deny: Some(Reason::NoRuleMatched),
        ..Sample::sent("b.test:443", 5)
    };
    let stopped = Sample {
        bytes: (0, 0, 300),
        ..Sample::refused("a.test:443", Reason::SecretFound)
    };
    let three = ["a.test:443", "b.test:443", "c.test:443"].map(|host| Sample::sent(host, 1_000));
    let with = |first: &Sample, rest: &[Sample]| [std::slice::from_ref(first), rest].concat();
    for (name, samples, verdict, words, more) in [
        (
            "who looked, and nothing else",
            vec![Sample::answered(
                Responder::FrontDoor,
                crate::page::RECEIPT_PATH,
            )],
            Verdict::Quiet,
            "Nothing has come by yet",
            "stands here",
        ),
        (
            "an empty ledger",
            vec![],
            Verdict::Quiet,
            "Nothing has come by yet",
            "stands here",
        ),
        (
            "all by ourselves",
            vec![telemetry.clone(), local, refusal],
            Verdict::NothingLeft,
            "Nothing left this machine",
            "2 requests were answered by what is yours, and 1 was refused.",
        ),
        (
            "an LLM on another box of theirs",
            vec![telemetry.clone(), box_in_the_lan.clone()],
            Verdict::OwnOnly,
            "Only your own machines were contacted",
            "1.2 kB went to sparkle:8000, which is yours.",
        ),
        (
            "a host that was not there",
            vec![nobody],
            Verdict::NothingLeft,
            "Nothing left this machine",
            "",
        ),
        (
            "one allowed host",
            vec![Sample::sent("a.test:443", 10)],
            Verdict::Allowed,
            "1 host was contacted, because you allowed it",
            "10 B went to other machines.",
        ),
        (
            "three of them, and the LLM's box",
            with(&box_in_the_lan, &three),
            Verdict::Allowed,
            "3 hosts were contacted, because you allowed them",
            "4.2 kB went to other machines, some of them yours.",
        ),
        (
            "report mode let it through",
            vec![watched],
            Verdict::Watched,
            "1 request went through that you did not allow",
            "The mode is report",
        ),
        (
            "stopped half way",
            vec![stopped],
            Verdict::Allowed,
            "300 B left before a request was stopped",
            "1 request was refused.",
        ),
    ] {
        let headline = receipt(&samples).headline;
        assert_eq!(
            (headline.verdict, headline.words.as_str()),
            (verdict, words),
            "{name}"
        );
        assert!(headline.more.contains(more), "{name}: {}", headline.more);
    }
}

#[test]
fn a_refusal_says_why_and_shows_the_rule_where_one_helps() {
    let shown = |sample: Sample| receipt(&[sample]).refused.remove(0);
    let line = shown(Sample::refused("huggingface.co:443", Reason::NoRuleMatched));
    assert_eq!(line.host.as_deref(), Some("huggingface.co:443"));
    let rule = line.to_allow.expect("a rule helps");
    assert!(rule.contains("hosts: [huggingface.co]"), "{rule}");
    let line = shown(Sample::refused("huggingface.co:443", Reason::SecretFound));
    assert_eq!(line.to_allow, None);
    let line = shown(Sample::refused("169.254.169.254:80", Reason::NoRuleMatched));
    assert_eq!(
        (line.to_allow, line.way_out.as_str()),
        (None, "No rule can allow that.")
    );
}

#[test]
fn a_browser_is_closed_where_it_is_known_to_be() {
    let told = Told {
        front_door: true,
        allowlist: true,
        enforced: true,
    };
    let headers = |pairs: &[(&'static str, &'static str)]| {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.insert(*name, value.parse().unwrap());
        }
        map
    };
    let ua = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36";
    let chromium = headers(&[("user-agent", ua)]);
    let old = headers(&[(
        "user-agent",
        "Mozilla/5.0 AppleWebKit/537.36 Chrome/151.0.0.0 Safari/537.36",
    )]);
    let firefox = headers(&[(
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:147.0) Gecko/20100101 Firefox/147.0",
    )]);
    let brands = headers(&[
        (
            "sec-ch-ua",
            "\"Not)A;Brand\";v=\"8\", \"Chromium\";v=\"152\", \"Brave\";v=\"152\"",
        ),
        ("user-agent", "x"),
    ]);
    let other_brand = headers(&[("sec-ch-ua", "\"Other\";v=\"200\""), ("user-agent", ua)]);
    assert_eq!(KNOWS_ALLOWLIST, 152);
    for (name, told, headers, plane) in [
        ("Chromium by its name", told, Some(&chromium), Plane::Closed),
        ("Chromium by its brands", told, Some(&brands), Plane::Closed),
        (
            "brands stand above the name",
            told,
            Some(&other_brand),
            Plane::CspOnly,
        ),
        ("an old Chromium", told, Some(&old), Plane::CspOnly),
        ("Firefox", told, Some(&firefox), Plane::CspOnly),
        (
            "who says nothing",
            told,
            Some(&HeaderMap::new()),
            Plane::CspOnly,
        ),
        (
            "switched off",
            Told {
                allowlist: false,
                ..told
            },
            Some(&chromium),
            Plane::AllowlistOff,
        ),
        (
            "report mode",
            Told {
                enforced: false,
                ..told
            },
            Some(&chromium),
            Plane::ReportOnly,
        ),
        (
            "no door",
            Told {
                front_door: false,
                ..told
            },
            Some(&chromium),
            Plane::NoFrontDoor,
        ),
        ("a command", told, None, Plane::NotABrowser),
    ] {
        assert_eq!(Plane::of(told, headers), plane, "{name}");
        assert_eq!(plane.is_closed(), plane == Plane::Closed);
        assert!(plane.words().ends_with('.') && !plane.title().is_empty());
    }
}

#[test]
fn numbers_are_written_for_people() {
    for (n, text) in [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (1_234_567, "1.2 MB"),
        (u64::MAX, "18.4 EB"),
    ] {
        assert_eq!(amount::bytes(n), text, "{n}");
    }
    assert_eq!(amount::count(12), "12");
    assert_eq!(amount::count(1_234_567), "1\u{202f}234\u{202f}567");
    assert_eq!(amount::of(1, "host", "hosts"), "1 host");
    assert_eq!(amount::of(0, "host", "hosts"), "0 hosts");
    assert_eq!(amount::moment(UnixTime(0)), "1970-01-01 00:00:00 UTC");
    assert_eq!(amount::machine(UnixTime(0)), "1970-01-01T00:00:00Z");
    assert_eq!(amount::moment(UnixTime(u64::MAX)), "some time");
}
