//! What one caller may ask, and ComfyUI's circuit: who is refused, in which words, and when it ends.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
};

use super::{
    ask, before, comfyui,
    comfyui::ComfyUi,
    door,
    people::{Browser, Plugin, REQUIRED, token},
    post,
};
use crate::support::{Airlock, Origin, Wire, eventually};

/// Of the whole machine, so that a test can reach it; an hour, so that no test waits for it.
fn limited(comfyui: &ComfyUi, lanes: &str) -> Airlock {
    before(
        comfyui.address(),
        &format!("limits:\n  rates:\n    this_machine:\n{lanes}"),
    )
}

fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Answers `up` to whoever comes, from now on.
fn answers_at(address: SocketAddr) {
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nup");
        }
    });
}

#[test]
fn a_caller_that_asks_too_often_is_told_when_to_come_again_in_words_it_reads() {
    let comfyui = comfyui();
    let airlock = limited(
        &comfyui,
        "      front_door: {rate: 1/h, burst: 3}\n      llm: {rate: 2/m, burst: 1}\n",
    );
    for _ in 0..3 {
        assert_eq!(ask(&airlock, "GET /api/queue", "").status, 200);
    }
    let program = ask(&airlock, "GET /api/queue", "");
    assert_eq!(
        (program.status, program.code().as_str()),
        (429, "rate_limited"),
        "{}",
        program.text()
    );
    let seconds: u64 = program.header("retry-after").unwrap().parse().unwrap();
    let millis: u64 = program.header("retry-after-ms").unwrap().parse().unwrap();
    assert!(
        (3000..=3600).contains(&seconds) && millis <= seconds * 1000,
        "{seconds} {millis}"
    );
    assert_eq!(
        program.header("x-should-retry"),
        Some("false"),
        "an hour is no time to sleep"
    );

    let person = ask(&airlock, "GET /", "Sec-Fetch-Dest: document\r\n");
    assert_eq!(person.status, 429);
    assert_eq!(
        person.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let page = person.text();
    assert!(page.contains("http-equiv=\"refresh\""), "{page}");
    assert!(
        page.contains("limits.rates.this_machine.front_door allows 1/h"),
        "{page}"
    );

    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let mcp = post(
        &airlock,
        "/airlock/copilot/mcp-server/mcp",
        "Content-Type: application/json\r\n",
        call,
    );
    assert_eq!(
        (mcp.status, &mcp.json()["jsonrpc"]),
        (429, &"2.0".into()),
        "{}",
        mcp.text()
    );
    assert_eq!(mcp.json()["error"]["data"]["code"], "rate_limited");
    assert!(mcp.header("retry-after").is_some());

    // The LLM has a lane of its own, which nothing has used yet.
    let chat = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    let json = "Content-Type: application/json\r\n";
    let first = post(&airlock, "/airlock/llm/v1/chat/completions", json, chat);
    assert_ne!(first.status, 429, "{}", first.text());
    let second = post(&airlock, "/airlock/llm/v1/chat/completions", json, chat);
    assert_eq!(second.status, 429);
    let message = second.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        message.starts_with(
            "too many requests; try again in a moment (limits.rates.this_machine.llm allows 2/m"
        ),
        "{message}"
    );
    assert_eq!(
        second.header("x-should-retry"),
        None,
        "half a minute an SDK may sleep"
    );

    let refused = |lane| {
        let labels = [("group", "this_machine"), ("lane", lane), ("bound", "rate")];
        airlock.metric("airlock_limited_total", &labels)
    };
    assert_eq!(
        (refused("front_door"), refused("llm"), refused("answers")),
        (3, 1, 0)
    );
    let records = airlock.exactly(8);
    let denied: Vec<_> = records
        .iter()
        .filter(|r| r["reason"] == "rate_limited")
        .collect();
    assert_eq!(denied.len(), 4);
    assert!(
        denied
            .iter()
            .all(|r| r["action"] == "deny" && r["status"] == 429),
        "{denied:?}"
    );
    assert_eq!(comfyui.heads().len(), 3, "{:?}", comfyui.heads());
}

#[test]
fn open_streams_hold_their_places_until_they_end() {
    let comfyui = comfyui();
    let airlock = limited(&comfyui, "      front_door: {rate: off, concurrent: 1}\n");
    let own = door(&airlock);
    let mut stream = Wire::to(own);
    stream.send(format!(
        "GET /airlock/copilot/mcp-server/mcp HTTP/1.1\r\nHost: {own}\r\nAccept: text/event-stream\r\n\r\n"
    ));
    assert!(
        stream
            .head()
            .is_some_and(|head| head.starts_with(b"HTTP/1.1 200"))
    );
    for _ in 0..3 {
        let reply = ask(&airlock, "GET /api/queue", "");
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (429, "too_many_open")
        );
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    drop(stream);
    eventually("its place is free again", || {
        ask(&airlock, "GET /api/queue", "").status == 200
    });
}

#[test]
fn nobody_waits_for_a_comfyui_that_is_down_and_one_request_finds_out_when_it_is_back() {
    let address = closed_port();
    let airlock = before(address, "  breaker: {failures: 2, open_for: 300s}\n");
    for path in ["/api/queue", "/"] {
        assert_eq!(
            ask(&airlock, &format!("GET {path}"), "").status,
            502,
            "{path}"
        );
    }
    assert_eq!(airlock.metric("airlock_comfyui_circuit_open", &[]), 1);
    let program = ask(&airlock, "GET /api/queue", "");
    assert_eq!(
        (program.status, program.code().as_str()),
        (503, "circuit_open")
    );
    let seconds: u64 = program.header("retry-after").unwrap().parse().unwrap();
    assert!((200..=300).contains(&seconds), "{seconds}");
    let person = ask(&airlock, "GET /", "Sec-Fetch-Dest: document\r\n");
    assert_eq!(person.status, 503);
    assert!(
        person.text().contains("ComfyUI is not there yet"),
        "{}",
        person.text()
    );
    assert!(person.header("retry-after").is_some());
    let ends: Vec<_> = airlock
        .exactly(4)
        .iter()
        .map(|r| (r["action"].clone(), r["ended"].clone()))
        .collect();
    let forward = |why: &str| ("forward".into(), why.into());
    assert_eq!(
        ends,
        [
            forward("connect_failed"),
            forward("connect_failed"),
            forward("circuit_open"),
            forward("circuit_open")
        ]
    );
    // What is answered here does not go there.
    assert_eq!(
        ask(&airlock, "GET /airlock/copilot/api/chat/announcement", "").status,
        200
    );

    let address = closed_port();
    let airlock = before(address, "  breaker: {failures: 1, open_for: 100ms}\n");
    assert_eq!(ask(&airlock, "GET /api/queue", "").status, 502);
    answers_at(address);
    eventually("it is found again", || {
        ask(&airlock, "GET /api/queue", "").text() == "up"
    });
    assert_eq!(airlock.metric("airlock_comfyui_circuit_open", &[]), 0);
    assert_eq!(
        airlock.metric("airlock_comfyui_circuit_opened_total", &[]),
        1
    );
}

#[test]
fn a_body_beyond_the_bound_does_not_reach_comfyui_however_it_is_framed() {
    // It answers nothing before it has everything.
    let comfyui = Origin::scripted(|mut guest| {
        let mut piece = vec![0; 64 << 10];
        let _ = guest.head();
        while guest.stream.read(&mut piece).is_ok_and(|n| n > 0) {}
    });
    let airlock = before(comfyui.address, "  upload_bytes: 1MiB\n");
    let own = door(&airlock);
    let head = format!("POST /api/queue HTTP/1.1\r\nHost: {own}\r\n");
    let announced = Wire::to(own).ask(format!("{head}Content-Length: 1048577\r\n\r\n"));
    assert_eq!(
        (announced.status, announced.code().as_str()),
        (413, "body_too_large")
    );
    assert_eq!(comfyui.connections(), 0);
    let mut chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..3 {
        chunked.extend_from_slice(b"80000\r\n");
        chunked.extend(std::iter::repeat_n(b'x', 0x80000));
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let growing = Wire::to(own).ask(chunked);
    assert_eq!(
        (growing.status, growing.code().as_str()),
        (413, "body_too_large")
    );
    let message = growing.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(message.contains("front_door.upload_bytes"), "{message}");
}

#[test]
fn sessions_and_keys_have_limits_of_their_own() {
    let plugin = Plugin::start();
    let airlock = before(
        plugin.address(),
        &format!(
            "{REQUIRED}limits:\n  rates:\n    session:\n      front_door: {{rate: 1/h, burst: 2}}\n"
        ),
    );
    let (ada, bob) = (
        token(&airlock, "ada", "user"),
        token(&airlock, "bob", "user"),
    );
    let (ada, bob) = (Browser::with(&airlock, &ada), Browser::with(&airlock, &bob));
    for browser in [&ada, &bob] {
        for want in [200, 200, 429, 429] {
            assert_eq!(browser.get("/api/queue").status, want);
        }
    }
    let told = ada.get("/api/queue").text();
    assert!(
        told.contains("limits.rates.session.front_door allows 1/h"),
        "{told}"
    );
    // A key's own limit is the key's, and its calls are another caller's.
    let arguments = [
        "key",
        "add",
        "farm",
        "--role",
        "user",
        "--per-minute",
        "1",
        "--json",
    ];
    let (code, out, err) = airlock.command(&arguments);
    assert_eq!(code, 0, "{out}{err}");
    let key: serde_json::Value = serde_json::from_str(&out).unwrap();
    let bearer = format!("Authorization: Bearer {}\r\n", key["key"].as_str().unwrap());
    assert_eq!(ask(&airlock, "GET /api/queue", &bearer).status, 200);
    let again = ask(&airlock, "GET /api/queue", &bearer);
    assert_eq!((again.status, again.code().as_str()), (429, "key_too_many"));
    assert!(again.header("retry-after").is_some());
    let of_sessions = [
        ("group", "session"),
        ("lane", "front_door"),
        ("bound", "rate"),
    ];
    assert_eq!(airlock.metric("airlock_limited_total", &of_sessions), 5);
}
