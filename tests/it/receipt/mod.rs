//! The receipt of a running airlock: page, signed copy, news, commands; and its sums beside the log's.
//!
//! [`browser`] shows the page to a real one, [`people`] asks as different ones.

#[cfg(target_os = "linux")]
mod browser;
mod people;

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::support::{Airlock, Origin, Reply, Wire, eventually};

const CHAT: &str = "6f1c0b52-6c1f-4b2e-9d3a-0c5a4f1e7b90";

/// ComfyUI, an LLM, and airlock before both.
pub struct House {
    pub airlock: Airlock,
    _comfyui: Origin,
    llm: Origin,
}

/// Answers chats and the list of models, whatever is asked.
fn llm() -> Origin {
    Origin::scripted(|mut guest| {
        while let Some(head) = guest.head() {
            let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
            guest.exact(length.unwrap_or(0));
            let body = match head.starts_with("get ") {
                true => json!({"object": "list", "data": [{"id": "m", "object": "model"}]}),
                false => json!({"id": "1", "object": "chat.completion", "created": 1, "model": "m",
                    "choices": [{"index": 0, "finish_reason": "stop",
                        "message": {"role": "assistant", "content": "hi"}}]}),
            };
            let body = body.to_string();
            guest.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ));
        }
    })
}

impl House {
    pub fn open() -> Self {
        Self::with("")
    }

    /// With these further sections.
    fn with(more: &str) -> Self {
        let comfyui = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        let llm = llm();
        let airlock = Airlock::start(&format!(
            "listeners:\n  explicit: 127.0.0.1:0\n  reverse: off\n  admin: 127.0.0.1:0\n\
             llm:\n  discover: false\n  base_url: http://{}/v1\n\
             front_door:\n  listen: 127.0.0.1:0\n  comfyui: http://{}\n{more}",
            llm.address, comfyui.address
        ));
        Self {
            airlock,
            _comfyui: comfyui,
            llm,
        }
    }

    fn door(&self) -> std::net::SocketAddr {
        self.airlock.ready.front_door.expect("there is one")
    }

    fn get(&self, path: &str) -> Reply {
        let door = self.door();
        Wire::to(door).ask(format!("GET {path} HTTP/1.1\r\nHost: {door}\r\n\r\n"))
    }

    fn post(&self, path: &str, body: &Value) -> Reply {
        let (door, body) = (self.door(), body.to_string());
        Wire::to(door).ask(format!(
            "POST {path} HTTP/1.1\r\nHost: {door}\r\nX-Session-Id: {CHAT}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    /// Something at an address that nobody allowed: nothing is looked up for it.
    fn refused(&self, host: &str) {
        let reply = Wire::to(self.airlock.ready.explicit).ask(format!(
            "GET http://{host}/releases HTTP/1.1\r\nHost: {host}\r\n\r\n"
        ));
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (403, "no_rule_matched")
        );
    }

    /// A chat turn, telemetry, ComfyUI's queue and a refusal: four records.
    pub fn busy(&self) {
        let turn = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]});
        let reply = self.post("/airlock/llm/v1/chat/completions", &turn);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let event = json!({"event_type": "chat_request", "session_id": CHAT});
        let reply = self.post("/airlock/copilot/api/chat/track_event", &event);
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(self.get("/api/queue").status, 200);
        self.refused("api.comfy.org");
        self.airlock.exactly(4);
    }

    /// The signed copy, once `n` requests stand in it.
    fn copy(&self, path: &str, n: u64) -> Value {
        let mut copy = Value::Null;
        eventually("the writer has entered them", || {
            copy = self.get(path).json();
            let looked = receipt_views(&copy);
            copy["receipt"]["totals"]["requests"].as_u64() == Some(n + looked)
        });
        copy
    }
}

/// How often it was looked at, which is counted like the rest.
fn receipt_views(copy: &Value) -> u64 {
    let lines = copy["receipt"]["answered_here"].as_array().unwrap();
    let page = lines.iter().find(|line| line["code"] == "receipt_page");
    page.map_or(0, |line| line["requests"].as_u64().unwrap())
}

fn line<'a>(receipt: &'a Value, list: &str, field: &str, is: &str) -> &'a Value {
    let found = receipt[list].as_array().unwrap().iter();
    let mut found = found.filter(|line| line[field] == is);
    found
        .next()
        .unwrap_or_else(|| panic!("no {is} in {receipt:#}"))
}

#[test]
fn what_was_done_stands_on_the_receipt_and_its_sums_are_those_of_the_log() {
    let house = House::open();
    assert_eq!(house.airlock.records().len(), 0);
    house.busy();
    let records = house.airlock.exactly(4);
    let copy = house.copy("/airlock/receipt.json", 4);
    let receipt = &copy["receipt"];
    assert_eq!(receipt["format"], "airlock-receipt/1");
    assert_eq!(receipt["headline"]["words"], "Nothing left this machine");
    let looked = receipt_views(&copy);
    let totals = &receipt["totals"];
    for (field, count) in [
        ("answered_here", 1 + looked),
        ("your_llm", 1),
        ("your_comfyui", 1),
        ("sent_on", 0),
        ("relayed_unread", 0),
        ("refused", 1),
        ("would_be_refused", 0),
        ("bytes_left_machine", 0),
    ] {
        assert_eq!(totals[field], count, "{field}: {receipt:#}");
    }
    // By now the log has the looking as well.
    let sum = |field: &str| {
        records
            .iter()
            .map(|r| r[field].as_u64().unwrap())
            .sum::<u64>()
    };
    let mut page = receipt["answered_here"].as_array().unwrap().iter();
    let page = page.find(|line| line["code"] == "receipt_page");
    let of_page = |field: &str| page.map_or(0, |line| line[field].as_u64().unwrap());
    for (total, of_page, logged) in [
        (
            "bytes_from_programs",
            of_page("bytes_from_programs"),
            "bytes_in",
        ),
        (
            "bytes_to_programs",
            of_page("bytes_to_programs"),
            "bytes_out",
        ),
    ] {
        assert_eq!(
            totals[total].as_u64().unwrap(),
            sum(logged) + of_page,
            "{total}"
        );
    }
    let turn = line(receipt, "answered_here", "code", "chat_turn");
    assert_eq!(turn["requests"], 1);
    line(receipt, "answered_here", "code", "telemetry");
    let llm = line(receipt, "hosts", "way", "your_llm");
    assert_eq!(llm["host"], house.llm.address.to_string());
    assert_eq!(llm["on_this_machine"], true);
    line(receipt, "hosts", "way", "your_comfyui");
    let refused = line(receipt, "refused", "host", "api.comfy.org:80");
    assert_eq!(refused["reason"], "no_rule_matched");
    let rule = refused["to_allow"].as_str().unwrap();
    assert!(rule.contains("api.comfy.org"), "{rule}");
    assert_eq!(receipt["ever"]["refused"], 1);
    assert_eq!(
        receipt["browser"], "csp_only",
        "who asked says nothing of itself"
    );
}

#[test]
fn a_chat_has_a_receipt_of_its_own_and_one_that_nobody_knows_has_none() {
    let house = House::open();
    house.busy();
    let copy = house.copy(&format!("/airlock/receipt.json?session={CHAT}"), 2);
    let receipt = &copy["receipt"];
    assert_eq!(
        receipt["about"],
        json!({"kind": "chat", "id": CHAT, "user": "local"})
    );
    assert_eq!(receipt["totals"]["your_llm"], 1);
    assert_eq!(receipt["totals"]["refused"], 0, "that was another program");
    assert_eq!(receipt["sessions"], json!([]));
    assert_eq!(receipt["ever"], Value::Null);
    let chats = house
        .airlock
        .records()
        .into_iter()
        .filter(|r| r["chat"] == CHAT);
    assert_eq!(chats.count(), 2, "the log names the chat, too");
    let whole = house.copy("/airlock/receipt.json", 4);
    assert_eq!(
        line(&whole["receipt"], "sessions", "id", CHAT)["requests"],
        2
    );
    for (path, status) in [
        ("/airlock/receipt?session=nobody", 404),
        ("/airlock/receipt.json?session=nobody", 404),
        ("/airlock/receipt/live?session=nobody", 404),
        ("/airlock/receipt?chat=x", 400),
        ("/airlock/receipt?session=", 400),
        ("/airlock/receipt/else", 404),
    ] {
        assert_eq!(house.get(path).status, status, "{path}");
    }
    assert_eq!(house.post("/airlock/receipt", &json!({})).status, 403);
}

#[test]
fn the_page_is_ours_alone_and_says_how_far_this_browser_is_closed() {
    let house = House::open();
    house.busy();
    let door = house.door();
    let ask = |method: &str, path: &str, lines: &str| {
        Wire::to(door).ask(format!(
            "{method} {path} HTTP/1.1\r\nHost: {door}\r\n{lines}\r\n"
        ))
    };
    let agent = |name: &str| format!("User-Agent: {name}\r\n");
    let chromium = agent(
        "Mozilla/5.0 (X11) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
    );
    let firefox = agent("Mozilla/5.0 (X11; rv:147.0) Gecko/20100101 Firefox/147.0");
    for (lines, says) in [
        (&chromium, "This browser is fully closed"),
        (&firefox, "This browser is mostly closed"),
    ] {
        let page = ask("GET", "/airlock/receipt", lines);
        assert_eq!(page.status, 200);
        assert!(page.text().contains(says), "{says}: {}", page.text());
    }
    let page = ask("GET", "/airlock/receipt", &chromium);
    let policies: Vec<_> = page
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("content-security-policy"))
        .collect();
    assert_eq!(
        policies.len(),
        1,
        "the page's own, in place of that of the door: {policies:?}"
    );
    assert!(
        policies
            .iter()
            .any(|(_, value)| value.contains("style-src 'self'; connect-src 'self'"))
    );
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(page.text().contains("api.comfy.org:80"));
    let head = ask("HEAD", "/airlock/receipt", &chromium);
    assert_eq!((head.status, head.text().as_str()), (200, ""));
    for (path, kind) in [
        ("/airlock/receipt/style.css", "text/css"),
        ("/airlock/receipt/script.js", "text/javascript"),
    ] {
        let file = ask("GET", path, "");
        assert_eq!(
            (file.status, file.header("content-type")),
            (200, Some(kind)),
            "{path}"
        );
    }
    let foreign = ask(
        "GET",
        "/airlock/receipt.json",
        "Origin: http://evil.example\r\n",
    );
    assert_eq!(
        (foreign.status, foreign.code().as_str()),
        (403, "origin_not_allowed")
    );
    assert!(
        house
            .airlock
            .records()
            .iter()
            .all(|r| r["rule"] != "none" || r["action"] == "deny")
    );
}

#[test]
fn who_looks_on_is_told_what_is_new() {
    let house = House::open();
    let door = house.door();
    let mut wire = Wire::to(door);
    wire.send(format!(
        "GET /airlock/receipt/live HTTP/1.1\r\nHost: {door}\r\n\r\n"
    ));
    let head = String::from_utf8(wire.head().expect("an answer")).unwrap();
    assert!(
        head.to_ascii_lowercase()
            .contains("content-type: text/event-stream"),
        "{head}"
    );
    let mut event = || loop {
        let chunk = wire.line().expect("it goes on");
        if chunk.contains("event: receipt") {
            return chunk;
        }
    };
    assert!(event().contains("Nothing has come by yet"));
    house.refused("first.test");
    assert!(event().contains("first.test:80"));
    house.refused("second.test");
    let second = event();
    assert!(
        second.contains("first.test:80") && second.contains("second.test:80"),
        "{second}"
    );
    drop(wire);
    let over = || {
        let records = house.airlock.records();
        records
            .iter()
            .any(|r| r["path"] == "/airlock/receipt/live" && r["status"] == 200)
    };
    eventually("the one who looked on is written down", over);
}

#[test]
fn a_receipt_is_shown_saved_and_verified_by_commands() {
    let house = House::open();
    house.busy();
    house.copy("/airlock/receipt.json", 4);
    let airlock = &house.airlock;
    let (code, out, err) = airlock.command(&["receipt", "show"]);
    assert_eq!(code, 0, "{err}");
    for words in [
        "Nothing left this machine",
        "Chat turns",
        "api.comfy.org:80",
        CHAT,
        "cannot see",
    ] {
        assert!(out.contains(words), "no {words:?} in {out}");
    }
    let (code, out, _) = airlock.command(&["receipt", "show", "--session", CHAT, "--json"]);
    let shown: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &shown["receipt"]["about"]["kind"]),
        (0, &json!("chat"))
    );
    let (code, _, err) = airlock.command(&["receipt", "show", "--session", "nobody"]);
    assert!(
        code == 1 && err.contains("nothing is known of this chat"),
        "{err}"
    );

    let file = airlock.scratch.path().join("receipt.json");
    let file = file.to_str().unwrap();
    assert_eq!(airlock.command(&["receipt", "save", file]).0, 0);
    let (code, _, err) = airlock.command(&["receipt", "save", file]);
    assert!(code == 1 && err.contains("is there already"), "{err}");
    assert_eq!(airlock.command(&["receipt", "save", file, "--force"]).0, 0);
    let verified = |file: &str| {
        let (code, out, err) = airlock.command(&["receipt", "verify", file, "--json"]);
        let judged: Value =
            serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
        assert_eq!(judged["valid"] == true, code == 0, "{judged:#}");
        judged
    };
    assert_eq!(verified(file)["signed_by"], "current");
    let (code, out, _) = airlock.command(&["receipt", "verify", file]);
    assert!(
        code == 0 && out.contains("valid: a receipt of the whole machine"),
        "{out}"
    );

    let good = fs::read_to_string(file).unwrap();
    let other = airlock.scratch.path().join("other.json");
    let other = other.to_str().unwrap();
    for (name, text, problem) in [
        (
            "altered",
            good.replacen("\"refused\": 1", "\"refused\": 0", 1),
            "altered",
        ),
        ("cut off", good[..good.len() / 2].to_owned(), "truncated"),
        ("something else", "{}".to_owned(), "not_a_receipt"),
    ] {
        assert_ne!(text, good, "{name}");
        fs::write(other, text).unwrap();
        assert_eq!(verified(other)["problem"], problem, "{name}");
    }
    assert_eq!(
        airlock.command(&["receipt", "verify", "/no/such/file"]).0,
        1
    );

    // The page's copy is the same kind of thing, whoever lays it out anew.
    let copy = house.get("/airlock/receipt.json").json().to_string();
    fs::write(other, copy).unwrap();
    assert_eq!(verified(other)["signed_by"], "current");

    let rotate = || assert_eq!(airlock.command(&["secret", "rotate", "--force"]).0, 0);
    rotate();
    assert_eq!(verified(file)["signed_by"], "previous");
    rotate();
    assert_eq!(verified(file)["problem"], "another_key");
    assert_eq!(house.get("/airlock/receipt.json").status, 200);
}

#[test]
fn the_snippet_of_the_page_on_receipts_judges_as_we_do() {
    let house = House::open();
    house.busy();
    let docs = include_str!("../../../docs/RECEIPT.md");
    let snippet = docs.split("```python\n").nth(1).expect("there is one");
    let snippet = snippet.split("```").next().unwrap();
    let folder = house.airlock.scratch.path();
    let script = folder.join("verify.py");
    fs::write(&script, snippet).unwrap();
    let keys = fs::read_to_string(house.airlock.state().join("session.key")).unwrap();
    let keys: Value = serde_json::from_str(&keys).unwrap();
    let file = folder.join("receipt.json");
    let good = house.get("/airlock/receipt.json").text();
    for (text, says) in [
        (good.clone(), "genuine\n"),
        (
            good.replacen("api.comfy.org", "api.comfy.net", 1),
            "not genuine\n",
        ),
    ] {
        fs::write(&file, text).unwrap();
        let out = Command::new("python3")
            .args([
                script.to_str().unwrap(),
                file.to_str().unwrap(),
                keys["current"].as_str().unwrap(),
            ])
            .output()
            .expect("python3 is there, as for other tests");
        let said = String::from_utf8_lossy(&out.stdout);
        assert_eq!(said, says, "{}", String::from_utf8_lossy(&out.stderr));
    }
}
