//! Chats at the front door and what the plugin makes of them on its way back: ids that belong to somebody,
//! a key that is everybody's, and one person who needs none of it.

use serde_json::json;

use super::{
    before, door,
    people::{Browser, Plugin, REQUIRED, issue, token, value},
};
use crate::support::{Airlock, Reply, Wire, eventually};

const CHAT: &str = "/api/chat/invoke";
const DOCUMENT: &str = "Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n";

/// With the entries of the Python side.
pub fn whole(plugin: &Plugin, more: &str) -> Airlock {
    Airlock::start(&format!(
        "listeners:\n  explicit: 127.0.0.1:0\n  reverse:\n    listen: 127.0.0.1:0\n  admin: 127.0.0.1:0\n\
         llm:\n  discover: false\nfront_door:\n  listen: 127.0.0.1:0\n  comfyui: http://{}\n{more}",
        plugin.address()
    ))
}

pub fn chat(id: &str) -> String {
    json!({"session_id": id, "prompt": "x", "messages": [], "ext": []}).to_string()
}

/// As the plugin's LLM client asks, at the base URL.
fn from_python(airlock: &Airlock, lines: &str) -> Reply {
    let reverse = airlock.ready.reverse;
    Wire::to(reverse).ask(format!(
        "GET /v1/models HTTP/1.1\r\nHost: {reverse}\r\n{lines}\r\n"
    ))
}

fn last_user(airlock: &Airlock, entry: &str) -> Option<String> {
    let records = airlock.records();
    let last = records.iter().rev().find(|r| r["entry"] == entry)?;
    Some(last["user"].as_str().unwrap_or("nobody").to_owned())
}

#[test]
fn three_people_chat_at_once_through_a_plugin_that_has_one_key() {
    let plugin = Plugin::start();
    let airlock = whole(&plugin, REQUIRED);
    let people = ["ada", "bob", "cyd"].map(|name| (name, token(&airlock, name, "user")));
    for (name, token) in &people {
        let person = Browser::with(&airlock, token);
        let reply = person.post(CHAT, &chat(&format!("chat-of-{name}")));
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let key = plugin.global_key().unwrap();
    let given = key.strip_prefix("Bearer ").unwrap();
    assert!(
        people.iter().all(|(_, token)| token != given),
        "a token of its own"
    );
    // Whoever asks, the key is that of who chatted last; the chat's id says who it is.
    for (at, (name, _)) in people.iter().enumerate() {
        let lines = format!("Authorization: {key}\r\nX-Session-Id: chat-of-{name}\r\n");
        let reply = from_python(&airlock, &lines);
        assert!(
            reply.status != 401 && reply.status != 403,
            "{name}: {}",
            reply.text()
        );
        eventually("each is told apart", || {
            let records = airlock.records();
            let of_python = records.iter().filter(|r| r["entry"] == "reverse");
            let users: Vec<_> = of_python.filter_map(|r| r["user"].as_str()).collect();
            users.len() == at + 1 && users.last() == Some(name)
        });
    }
    // What ComfyUI got to see is no login, and is not renewed.
    let lines = format!("Authorization: {key}\r\n");
    let nobody = Browser {
        airlock: &airlock,
        cookie: String::new(),
    };
    let reply = nobody.send("GET", "/api/queue", &lines, "");
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (401, "token_not_here")
    );
    let as_cookie = Browser::with(&airlock, given).get("/api/queue");
    assert_eq!(
        (as_cookie.status, as_cookie.code().as_str()),
        (401, "token_not_here")
    );
}

#[test]
fn one_persons_chat_is_worth_nothing_in_anothers_hands() {
    let plugin = Plugin::start();
    let airlock = whole(&plugin, REQUIRED);
    let (ada, bob) = (
        token(&airlock, "ada", "user"),
        token(&airlock, "bob", "user"),
    );
    let (of_ada, of_bob) = (Browser::with(&airlock, &ada), Browser::with(&airlock, &bob));
    assert_eq!(of_ada.post(CHAT, &chat("ada-1")).status, 200);
    assert_eq!(of_bob.post(CHAT, &chat("bob-1")).status, 200);
    let before = plugin
        .seen()
        .iter()
        .filter(|(_, body)| body.contains("ada-1"))
        .count();
    let own = format!("Origin: http://{}\r\n", door(&airlock));
    let big = "x".repeat(300_000);
    for (name, path, body) in [
        ("in a chat", CHAT, chat("ada-1")),
        ("in a debug run", "/api/debug-agent", chat("ada-1")),
        (
            "by ComfyUI's second name for it",
            "/api/api/chat/invoke",
            chat("ada-1"),
        ),
        (
            "in a checkpoint",
            "/api/save-workflow-checkpoint",
            chat("ada-1"),
        ),
        (
            "given twice",
            CHAT,
            "{\"session_id\":\"bob-1\",\"session_id\":\"ada-1\"}".into(),
        ),
        (
            "in escapes",
            CHAT,
            "{\"session\\u005fid\":\"\\u0061da-1\"}".into(),
        ),
        ("with a space before it", CHAT, chat(" ada-1")),
        (
            "behind pictures",
            CHAT,
            format!("{{\"images\":[\"{big}\"],\"session_id\":\"ada-1\"}}"),
        ),
    ] {
        let reply = of_bob.send("POST", path, &own, &body);
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (403, "session_id_foreign"),
            "{name}"
        );
    }
    for (name, line) in [
        ("compressed", "Content-Encoding: gzip\r\n"),
        (
            "in another charset",
            "Content-Type: application/json; charset=utf-16\r\n",
        ),
    ] {
        let reply = of_bob.send("POST", CHAT, &format!("{own}{line}"), &chat("ada-1"));
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (415, "body_encoded"),
            "{name}"
        );
    }
    let after = plugin
        .seen()
        .iter()
        .filter(|(_, body)| body.contains("ada-1"))
        .count();
    assert_eq!(after, before, "ComfyUI heard nothing of it");
    // In a header, where the page and programs name it, and at the Python side's own port.
    let header = "X-Session-Id: ada-1\r\n";
    let reply = of_bob.send("GET", "/airlock/llm/v1/models", header, "");
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (403, "session_id_foreign")
    );
    let reply = from_python(
        &airlock,
        &format!("Authorization: Bearer {bob}\r\n{header}"),
    );
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (403, "session_id_foreign")
    );
    let mcp = Wire::to(airlock.ready.reverse).ask(format!(
        "POST /mcp-server/messages/ HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {bob}\r\n{header}\
         Content-Length: 2\r\n\r\n{{}}",
        airlock.ready.reverse
    ));
    assert_eq!(
        (mcp.status, mcp.code().as_str()),
        (403, "session_id_foreign")
    );
    let reply = from_python(
        &airlock,
        &format!("Authorization: Bearer {ada}\r\n{header}"),
    );
    assert_ne!(reply.status, 403, "her own");
}

#[test]
fn the_python_side_is_served_with_any_key_but_a_forged_one() {
    let plugin = Plugin::start();
    let airlock = whole(&plugin, REQUIRED);
    let elsewhere = whole(&plugin, REQUIRED);
    let (id, ada) = issue(&airlock, "ada", "user", "12h");
    let forged = token(&elsewhere, "ada", "admin");
    let refused = |reply: &Reply| match reply.status {
        401 | 403 => Some(reply.code()),
        _ => None,
    };
    for (name, lines, want, user) in [
        ("nothing", String::new(), None, "nobody"),
        (
            "null",
            "Authorization: Bearer null\r\n".into(),
            None,
            "nobody",
        ),
        (
            "the user's own key",
            "Authorization: Bearer sk-abc\r\n".into(),
            None,
            "nobody",
        ),
        (
            "a chat of nobody's",
            "X-Session-Id: new-1\r\n".into(),
            None,
            "nobody",
        ),
        (
            "a person's token",
            format!("Authorization: Bearer {ada}\r\n"),
            None,
            "ada",
        ),
        (
            "a forged one",
            format!("Authorization: Bearer {forged}\r\n"),
            Some("token_bad_signature"),
            "nobody",
        ),
    ] {
        let reply = from_python(&airlock, &lines);
        assert_eq!(refused(&reply).as_deref(), want, "{name}");
        eventually(name, || {
            last_user(&airlock, "reverse").as_deref() == Some(user)
        });
    }
    assert_eq!(airlock.command(&["session", "revoke", &id]).0, 0);
    let reply = from_python(&airlock, &format!("Authorization: Bearer {ada}\r\n"));
    assert_eq!(refused(&reply).as_deref(), Some("session_revoked"));
}

#[test]
fn one_person_alone_logs_in_nowhere_and_has_a_session_all_the_same() {
    let plugin = Plugin::start();
    let airlock = whole(&plugin, "");
    let nobody = Browser {
        airlock: &airlock,
        cookie: String::new(),
    };
    // Programs, and the plugin as it always was.
    for (name, method, path, lines, body) in [
        ("a program", "GET", "/api/queue", "", ""),
        ("a prompt", "POST", "/prompt", "", "{}"),
        (
            "no key yet",
            "POST",
            CHAT,
            "Authorization: Bearer null\r\n",
            "{\"session_id\":\"a\"}",
        ),
        (
            "a key of one's own",
            "POST",
            CHAT,
            "Authorization: Bearer cp-test-key-0001\r\n",
            "{}",
        ),
        (
            "a key for a ComfyUI",
            "GET",
            "/api/queue",
            "Authorization: Bearer eyJh.eyJi.c2ln\r\n",
            "",
        ),
    ] {
        let reply = nobody.send(method, path, lines, body);
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        assert_eq!(reply.header("set-cookie"), Some("lang=en"), "{name}");
        let (head, _) = plugin.seen().pop().unwrap();
        let sent = lines
            .split_once(": ")
            .map(|(_, value)| value.trim().to_owned());
        assert_eq!(value(&head, "authorization"), sent, "{name}");
    }
    assert_eq!(
        from_python(&airlock, "Authorization: Bearer null\r\n").header("www-authenticate"),
        None
    );
    // A link of elsewhere may have kept a cookie back: no second session for it.
    let linked = nobody.send(
        "GET",
        "/",
        &format!("{DOCUMENT}Sec-Fetch-Site: cross-site\r\n"),
        "",
    );
    assert_eq!(
        (linked.status, linked.header("set-cookie")),
        (200, Some("lang=en"))
    );

    let page = nobody.send(
        "GET",
        "/",
        &format!("{DOCUMENT}Sec-Fetch-Site: none\r\n"),
        "",
    );
    let ours = |reply: &Reply| {
        let set = reply
            .headers
            .iter()
            .filter(|(name, _)| name == "set-cookie");
        let mut set = set.filter_map(|(_, v)| v.strip_prefix("airlock_session="));
        set.next().map(|v| v.split(';').next().unwrap().to_owned())
    };
    let token = ours(&page).expect("a browser gets a session without a word");
    let browser = Browser::with(&airlock, &token);
    assert_eq!(
        ours(&browser.send(
            "GET",
            "/",
            &format!("{DOCUMENT}Sec-Fetch-Site: none\r\n"),
            ""
        )),
        None
    );
    let reply = browser.post(CHAT, &chat("mine"));
    assert_eq!(reply.status, 200, "{}", reply.text());
    let key = plugin.global_key().unwrap();
    assert!(key.starts_with("Bearer ") && !key.contains(&token), "{key}");
    let reply = from_python(
        &airlock,
        &format!("Authorization: {key}\r\nX-Session-Id: mine\r\n"),
    );
    assert_ne!(reply.status, 401);
    eventually("it is the browser's session", || {
        let records = airlock.records();
        let of = |entry: &str| {
            let mine = records
                .iter()
                .rev()
                .find(|r| r["entry"] == entry && r["session"].is_string());
            mine.map(|r| (r["session"].clone(), r["user"].clone()))
        };
        of("reverse").is_some_and(|(session, user)| {
            user == "local" && of("front_door").map(|(s, _)| s) == Some(session)
        })
    });
    // A cookie that is no good is as none.
    let stale = Browser::with(&airlock, "old.cookie");
    assert_eq!(stale.get("/api/queue").status, 200);
    assert!(
        browser
            .get("/airlock/login")
            .text()
            .contains("asks for no login")
    );
}

#[test]
fn what_one_person_had_without_a_login_is_worth_nothing_when_people_log_in() {
    let plugin = Plugin::start();
    let airlock = before(plugin.address(), "");
    let nobody = Browser {
        airlock: &airlock,
        cookie: String::new(),
    };
    let page = nobody.send(
        "GET",
        "/",
        &format!("{DOCUMENT}Sec-Fetch-Site: none\r\n"),
        "",
    );
    let mut set = page.headers.iter().filter(|(name, _)| name == "set-cookie");
    let (_, set) = set.next_back().unwrap();
    let cookie = set.split(';').next().unwrap().to_owned();
    let text = std::fs::read_to_string(airlock.config()).unwrap();
    airlock.replace(&format!("{text}{REQUIRED}"));
    let airlock = airlock.restart();
    let browser = Browser {
        airlock: &airlock,
        cookie,
    };
    let reply = browser.get("/api/queue");
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (401, "session_revoked")
    );
}
