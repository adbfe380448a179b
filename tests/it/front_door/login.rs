//! Who comes in by the front door: logins, tokens, forms of elsewhere, chats of others, and what ends.

use serde_json::Value;

use super::{
    before, door,
    people::{Browser, Plugin, REQUIRED, issue, token, value},
};
use crate::support::{Airlock, Reply, Wire, alone, eventually, eventually_within};

const NAVIGATES: &str =
    "Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\n";
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

fn with_people(plugin: &Plugin) -> Airlock {
    before(plugin.address(), REQUIRED)
}

fn nobody(airlock: &Airlock) -> Browser<'_> {
    Browser {
        airlock,
        cookie: String::new(),
    }
}

fn add_user(airlock: &Airlock, name: &str, role: &str) -> String {
    let (code, out, err) = airlock.command(&["user", "add", name, "--role", role, "--json"]);
    assert_eq!(code, 0, "{out}{err}");
    let made: Value = serde_json::from_str(&out).unwrap();
    made["password"].as_str().unwrap().to_owned()
}

fn log_in(airlock: &Airlock, name: &str, password: &str, to: &str) -> Reply {
    let own = format!("Origin: http://{}\r\n", door(airlock));
    let to = to.replace('%', "%25").replace('&', "%26");
    let form = format!("username={name}&password={password}&to={to}");
    nobody(airlock).send("POST", "/airlock/login", &own, &form)
}

/// Name and value of the cookie that is set.
fn cookie_of(reply: &Reply) -> Option<String> {
    let set = reply
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie");
    let mut ours = set.filter(|(_, value)| value.starts_with("airlock_session="));
    let (_, value) = ours.next()?;
    assert!(ours.next().is_none(), "{:?}", reply.headers);
    Some(value.split(';').next().unwrap().to_owned())
}

/// Status and code, by the header alone: a page has no JSON.
fn refused(reply: &Reply) -> (u16, String) {
    let marker = reply.header("x-airlock-decision").unwrap_or_default();
    let reason = marker.split("reason=").nth(1).unwrap_or_default();
    let code = reason.split(';').next().unwrap_or_default();
    (reply.status, code.to_owned())
}

#[test]
fn nobody_comes_in_without_a_login_and_a_person_is_shown_where() {
    let plugin = Plugin::start();
    let airlock = with_people(&plugin);
    let stranger = nobody(&airlock);
    for (name, method, path, lines, is_page) in [
        ("a page", "GET", "/", NAVIGATES, true),
        (
            "a page of old browsers",
            "GET",
            "/",
            "Accept: text/html\r\n",
            true,
        ),
        ("a page of ours", "GET", "/airlock/receipt", NAVIGATES, true),
        ("a program", "GET", "/api/queue", "", false),
        (
            "a script",
            "GET",
            "/a.js",
            "Sec-Fetch-Dest: script\r\n",
            false,
        ),
        ("a prompt", "POST", "/prompt", "", false),
        ("a stand-in", "GET", "/airlock/copilot/v1/models", "", false),
        ("the LLM", "GET", "/airlock/llm/v1/models", "", false),
        (
            "the plugin's empty key",
            "GET",
            "/api/queue",
            "Authorization: Bearer null\r\n",
            false,
        ),
        ("a WebSocket", "GET", "/ws", UPGRADE, false),
        ("what is not there", "GET", "/airlock/x", "", false),
    ] {
        let reply = stranger.send(method, path, lines, "");
        assert_eq!(refused(&reply), (401, "login_required".into()), "{name}");
        assert_eq!(
            reply.header("www-authenticate"),
            Some("Bearer realm=\"airlock\"")
        );
        let page = reply.text().contains("action=\"/airlock/login\"");
        assert_eq!(page, is_page, "{name}: {}", reply.text());
        if is_page {
            let policy = reply.header("content-security-policy").unwrap();
            assert!(policy.contains("form-action 'self'"), "{policy}");
            assert_eq!(reply.header("cache-control"), Some("no-store"));
            let to = format!("name=\"to\" value=\"{path}\"");
            assert!(reply.text().contains(&to), "{name}");
        }
    }
    assert!(plugin.seen().is_empty(), "{:?}", plugin.seen());
    assert!(airlock.exactly(11).iter().all(|r| r["user"].is_null()));
}

#[test]
fn a_person_logs_in_works_and_logs_out() {
    let plugin = Plugin::start();
    let airlock = with_people(&plugin);
    let password = add_user(&airlock, "ada", "user");
    let page = nobody(&airlock).get("/airlock/login?to=/x");
    assert_eq!(page.status, 200);
    assert!(
        page.text().contains("name=\"to\" value=\"/x\""),
        "{}",
        page.text()
    );

    let wrong = log_in(&airlock, "ada", "not-the-password", "/");
    let unknown = log_in(&airlock, "nobody", "not-the-password", "/");
    for reply in [&wrong, &unknown] {
        assert_eq!(reply.status, 401);
        assert_eq!(reply.header("x-airlock-reason"), Some("login_wrong"));
        assert_eq!(cookie_of(reply), None);
    }
    assert_eq!(wrong.text(), unknown.text(), "which was wrong is not said");

    let reply = log_in(&airlock, "ada", &password, "/?workflow=1");
    assert_eq!(
        (reply.status, reply.header("location")),
        (303, Some("/?workflow=1"))
    );
    let set = reply.header("set-cookie").unwrap();
    // A second may have passed.
    let set = set.replace("Max-Age=86399", "Max-Age=86400");
    let rest = "; Path=/; Max-Age=86400; HttpOnly; SameSite=Strict";
    assert!(set.ends_with(rest), "{set}");
    let ada = Browser {
        airlock: &airlock,
        cookie: cookie_of(&reply).unwrap(),
    };
    for path in ["/", "/api/queue"] {
        let reply = ada.send("GET", path, "Authorization: Bearer null\r\n", "");
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        assert_eq!(
            reply.header("set-cookie"),
            Some("lang=en"),
            "ComfyUI sets none of ours"
        );
    }
    assert_eq!(ada.post("/api/prompt", "{}").status, 200);
    for (head, _) in plugin.seen() {
        assert_eq!(
            value(&head, "cookie").as_deref(),
            Some("a=b; c=d"),
            "{head}"
        );
    }
    assert!(
        ada.get("/airlock/login")
            .text()
            .contains("<strong>ada</strong> (user)")
    );

    let out = ada.post("/airlock/logout", "");
    assert_eq!(
        (out.status, out.header("location")),
        (303, Some("/airlock/login?out"))
    );
    assert_eq!(cookie_of(&out).as_deref(), Some("airlock_session="));
    assert_eq!(
        refused(&ada.get("/api/queue")),
        (401, "session_revoked".into())
    );
    let logins = |outcome| airlock.metric("airlock_logins_total", &[("outcome", outcome)]);
    assert_eq!(
        (logins("ok"), logins("login_wrong"), logins("logout")),
        (1, 2, 1)
    );
    eventually("failures are audited, and what she did is hers", || {
        let records = airlock.records();
        let failed = records.iter().filter(|r| r["ended"] == "login_wrong");
        failed.count() == 2 && records.iter().filter(|r| r["user"] == "ada").count() >= 5
    });
    let all = format!("{:?}", airlock.records());
    assert!(!all.contains("not-the-password") && !all.contains(&password));
}

#[test]
fn one_goes_on_to_this_origin_alone() {
    let plugin = Plugin::start();
    let airlock = with_people(&plugin);
    let password = add_user(&airlock, "ada", "user");
    for (to, want) in [
        ("/a?b=c", "/a?b=c"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/", "/"),
        ("%2F%2Fevil.example", "/"),
        ("/%0d%0aSet-Cookie:x=1", "/%0d%0aSet-Cookie:x=1"),
        ("javascript:alert(1)", "/"),
        ("/airlock/logout", "/"),
    ] {
        let reply = log_in(&airlock, "ada", &password, to);
        assert_eq!(reply.header("location"), Some(want), "{to}");
        assert_eq!(reply.header("x"), None);
    }
}

#[test]
fn guessing_is_slowed_down() {
    let plugin = Plugin::start();
    let airlock = with_people(&plugin);
    let password = add_user(&airlock, "ada", "user");
    let mut told = None;
    for _ in 0..8 {
        let reply = log_in(&airlock, "ada", "wrong-wrong-wrong", "/");
        if reply.status == 429 {
            told = reply.header("retry-after").map(str::to_owned);
            assert_eq!(reply.header("x-airlock-reason"), Some("login_throttled"));
            break;
        }
    }
    assert!(told.is_some_and(|wait| wait.parse::<u64>().unwrap() > 0));
    let reply = log_in(&airlock, "ada", &password, "/");
    assert_eq!(reply.status, 429, "the right one has to wait as well");

    // Who guesses, at which account, stands in the log; what is nobody's name does not.
    let typed = "a-password-in-the-wrong-field";
    log_in(&airlock, typed, "x", "/");
    eventually("each attempt is in the log", || {
        let records = airlock.records();
        let logins = records.iter().filter(|r| r["path"] == "/airlock/login");
        let of = |ended: &str| {
            let mut all = logins.clone().filter(|r| r["ended"] == ended);
            all.any(|r| r["detail"] == "tried as ada" && r["client"] == "127.0.0.1")
        };
        of("login_wrong") && of("login_throttled") && logins.count() >= 8
    });
    let log = airlock.records();
    assert!(log.iter().all(|r| !r.to_string().contains(typed)));
}

#[test]
fn a_token_that_is_not_good_is_refused_with_its_reason_and_nothing_else() {
    let plugin = Plugin::start();
    let airlock = with_people(&plugin);
    let elsewhere = with_people(&plugin);
    let good = token(&airlock, "ada", "user");
    let (payload, signature) = good.split_once('.').unwrap();
    let (gone, revoked) = issue(&airlock, "ada", "user", "12h");
    assert_eq!(airlock.command(&["session", "revoke", &gone]).0, 0);
    let (_, short) = issue(&airlock, "ada", "user", "1s");
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let changed = format!("{first}{}", &signature[1..]);
    for (name, token, code) in [
        (
            "another Airlock's",
            token(&elsewhere, "ada", "admin"),
            "token_bad_signature",
        ),
        (
            "another letter in its signature",
            format!("{payload}.{changed}"),
            "token_bad_signature",
        ),
        (
            "a payload of its own",
            format!("{}.{signature}", &payload[..payload.len() - 4]),
            "token_bad_signature",
        ),
        ("cut", good[..good.len() - 3].to_owned(), "token_malformed"),
        ("padded", format!("{good}="), "token_malformed"),
        ("three parts", format!("{good}.x"), "token_malformed"),
        (
            "in another alphabet",
            good.replace(['-', '_'], "+") + "+",
            "token_malformed",
        ),
        ("revoked", revoked, "session_revoked"),
        ("expired", short, "token_expired"),
    ] {
        // The one that expires does so while the others are asked, and may come in until then.
        let path = match name {
            "expired" => "/soon",
            _ => "/api/queue",
        };
        let ask = |lines: &str, cookie: &str| {
            let browser = Browser {
                airlock: &airlock,
                cookie: cookie.to_owned(),
            };
            refused(&browser.send("GET", path, lines, ""))
        };
        let want = (401, code.to_owned());
        let bearer = format!("Authorization: Bearer {token}\r\n");
        let cookie = format!("airlock_session={token}");
        eventually_within(std::time::Duration::from_secs(10), name, || {
            ask("", &cookie) == want
        });
        assert_eq!(ask(&bearer, ""), want, "{name}, as a bearer");
    }
    let twice = format!("airlock_session={good}; airlock_session={good}");
    let browser = Browser {
        airlock: &airlock,
        cookie: twice,
    };
    assert_eq!(refused(&browser.get("/")), (401, "token_malformed".into()));
    assert!(
        plugin
            .seen()
            .iter()
            .all(|(head, _)| !head.contains("/api/queue"))
    );
    assert_eq!(Browser::with(&airlock, &good).get("/api/queue").status, 200);
}

#[test]
fn a_program_shows_a_token_or_a_key_and_comfyui_sees_neither() {
    let plugin = Plugin::start();
    let airlock = with_people(&plugin);
    let token = token(&airlock, "ada", "user");
    let add = [
        "key",
        "add",
        "render-box",
        "--role",
        "user",
        "--per-minute",
        "3",
        "--json",
    ];
    let (code, out, err) = airlock.command(&add);
    assert_eq!(code, 0, "{out}{err}");
    let key: Value = serde_json::from_str(&out).unwrap();
    let key = key["key"].as_str().unwrap();
    for secret in [token.as_str(), key] {
        let lines = format!("Authorization: Bearer {secret}\r\n");
        let reply = nobody(&airlock).send("POST", "/prompt", &lines, "{}");
        assert_eq!(reply.status, 200, "{}", reply.text());
        let (head, _) = plugin.seen().pop().unwrap();
        assert_eq!(value(&head, "authorization"), None, "{head}");
    }
    let lines = format!("Authorization: Bearer {key}\r\n");
    let ask = || nobody(&airlock).send("GET", "/api/queue", &lines, "");
    let last = (0..4)
        .map(|_| ask())
        .find(|reply| reply.status != 200)
        .unwrap();
    assert_eq!(refused(&last), (429, "key_too_many".into()));
    assert!(last.header("retry-after").is_some());
    let wrong = format!("Authorization: Bearer {}x\r\n", &key[..key.len() - 1]);
    let reply = nobody(&airlock).send("GET", "/api/queue", &wrong, "");
    assert_eq!(refused(&reply), (401, "key_unknown".into()));
    let found = |user: &str, has_session: bool| {
        let records = airlock.records();
        let mut of = records.iter().filter(|r| r["user"] == user);
        of.any(|r| r["session"].is_string() == has_session)
    };
    eventually("both are named in the records", || {
        found("render-box", false) && found("ada", true)
    });
}

#[test]
fn a_cookie_acts_from_our_own_page_alone() {
    let plugin = Plugin::start();
    let airlock = with_people(&plugin);
    let ada = Browser::with(&airlock, &token(&airlock, "ada", "user"));
    let own = format!("Origin: http://{}\r\n", door(&airlock));
    let same = "Sec-Fetch-Site: same-origin\r\n";
    let evil = "Origin: https://evil.example\r\n";
    let other_port = "Sec-Fetch-Site: same-site\r\n";
    for (name, method, path, lines, want) in [
        (
            "a prompt of our page",
            "POST",
            "/prompt",
            own.clone(),
            (200, ""),
        ),
        (
            "the same, said otherwise",
            "POST",
            "/prompt",
            same.into(),
            (200, ""),
        ),
        (
            "a prompt that does not say",
            "POST",
            "/prompt",
            String::new(),
            (403, "page_unknown"),
        ),
        (
            "a prompt of elsewhere",
            "POST",
            "/prompt",
            evil.into(),
            (403, "origin_not_allowed"),
        ),
        (
            "a prompt of another port",
            "POST",
            "/prompt",
            other_port.into(),
            (403, "origin_not_allowed"),
        ),
        (
            "a deletion that does not say",
            "DELETE",
            "/api/x",
            String::new(),
            (403, "page_unknown"),
        ),
        (
            "a look that does not say",
            "GET",
            "/api/queue",
            String::new(),
            (200, ""),
        ),
        (
            "a WebSocket that does not say",
            "GET",
            "/ws",
            UPGRADE.into(),
            (403, "page_unknown"),
        ),
        (
            "a WebSocket with no origin",
            "GET",
            "/ws",
            format!("{UPGRADE}{same}"),
            (403, "page_unknown"),
        ),
        (
            "a WebSocket of elsewhere",
            "GET",
            "/ws",
            format!("{UPGRADE}{evil}"),
            (403, "origin_not_allowed"),
        ),
        (
            "a WebSocket of our page",
            "GET",
            "/ws",
            format!("{UPGRADE}{own}"),
            (101, ""),
        ),
        (
            "a logout of elsewhere",
            "POST",
            "/airlock/logout",
            evil.into(),
            (403, "origin_not_allowed"),
        ),
        (
            "a logout that does not say",
            "POST",
            "/airlock/logout",
            String::new(),
            (403, ""),
        ),
        (
            "a link to the logout",
            "GET",
            "/airlock/logout",
            NAVIGATES.into(),
            (303, ""),
        ),
        (
            "the session is still there",
            "GET",
            "/api/queue",
            String::new(),
            (200, ""),
        ),
    ] {
        let body = if method == "GET" { "" } else { "{}" };
        let reply = ada.send(method, path, &lines, body);
        let (status, code) = want;
        assert_eq!(refused(&reply), (status, code.to_owned()), "{name}");
    }
    // A form of elsewhere logs nobody in.
    let password = add_user(&airlock, "eve", "user");
    let form = format!("username=eve&password={password}");
    for (lines, status) in [(evil, 403), ("", 403), (same, 303)] {
        let reply = nobody(&airlock).send("POST", "/airlock/login", lines, &form);
        assert_eq!(
            (reply.status, cookie_of(&reply).is_some()),
            (status, status == 303)
        );
    }
}

#[test]
fn who_looks_changes_nothing() {
    let plugin = Plugin::start();
    let airlock = with_people(&plugin);
    let eve = Browser::with(&airlock, &token(&airlock, "eve", "viewer"));
    for path in ["/", "/api/queue", "/airlock/copilot/api/chat/announcement"] {
        assert_eq!(eve.get(path).status, 200, "{path}");
    }
    for path in [
        "/prompt",
        "/api/chat/invoke",
        "/airlock/llm/v1/chat/completions",
    ] {
        assert_eq!(
            refused(&eve.post(path, "{}")),
            (403, "role_too_low".into()),
            "{path}"
        );
    }
    assert_eq!(eve.post("/airlock/logout", "").status, 303);
}

#[test]
fn an_active_session_is_extended_and_gets_a_fresh_cookie() {
    let plugin = Plugin::start();
    let airlock = with_people(&plugin);
    let (_, token) = issue(&airlock, "ada", "user", "12s");
    let ada = Browser::with(&airlock, &token);
    assert_eq!(cookie_of(&ada.get("/api/queue")), None, "it is young");
    let mut fresh = None;
    eventually_within(
        std::time::Duration::from_secs(11),
        "half of its life",
        || {
            let reply = ada.get("/api/queue");
            assert_eq!(reply.status, 200, "{}", reply.text());
            fresh = cookie_of(&reply);
            fresh.is_some()
        },
    );
    let fresh = fresh.unwrap();
    assert!(!fresh.contains(&token));
    let ada = Browser {
        airlock: &airlock,
        cookie: fresh,
    };
    assert_eq!(ada.get("/").status, 200);
}

/// As a cookie is, for a program: in a header of ours, in what no cache keeps and no other page reads.
#[test]
fn an_active_bearer_is_extended_and_gets_a_fresh_token() {
    let plugin = Plugin::start();
    let airlock = with_people(&plugin);
    let (_, token) = issue(&airlock, "ada", "user", "12s");
    let by = |token: &str, path: &str, lines: &str| {
        let nobody = Browser {
            airlock: &airlock,
            cookie: String::new(),
        };
        let lines = format!("Authorization: Bearer {token}\r\n{lines}");
        nobody.send("GET", path, &lines, "")
    };
    let fresh_of = |reply: &Reply| reply.header("x-airlock-token").map(str::to_owned);
    assert_eq!(fresh_of(&by(&token, "/api/queue", "")), None, "it is young");
    let mut answer = None;
    eventually_within(
        std::time::Duration::from_secs(11),
        "half of its life",
        || {
            let reply = by(&token, "/api/queue", "");
            assert_eq!(reply.status, 200, "{}", reply.text());
            let found = fresh_of(&reply).is_some();
            answer = found.then_some(reply);
            found
        },
    );
    let answer = answer.unwrap();
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("access-control-expose-headers"), None);
    let fresh = fresh_of(&answer).unwrap();
    assert_ne!(fresh, token);
    let next = by(&fresh, "/api/queue", "");
    assert_eq!((next.status, fresh_of(&next)), (200, None), "it is whole");
    // The old one is good until it ends, and brings another wherever it is shown to us.
    let own = by(&token, "/airlock/receipt", "");
    assert!(fresh_of(&own).is_some(), "{own:?}");
    // What goes on to ComfyUI is neither.
    let (head, _) = plugin.seen().pop().unwrap();
    assert!(!head.contains(&fresh) && !head.contains(&token), "{head}");
}

/// A name that a page of another host would read is none of ours to answer under.
#[test]
fn no_token_is_handed_out_under_another_hosts_name() {
    let plugin = Plugin::start();
    let airlock = super::chats::whole(&plugin, REQUIRED);
    let (_, token) = issue(&airlock, "ada", "user", "12h");
    assert_eq!(airlock.command(&["secret", "rotate"]).0, 0);
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let (explicit, reverse) = (airlock.ready.explicit, airlock.ready.reverse);
    let vendor = "comfyui-copilot-server.onrender.com";
    for (name, at, target, host, want) in [
        (
            "the base URL",
            reverse,
            "/v1/models".to_owned(),
            reverse.to_string(),
            true,
        ),
        (
            "the vendor's name, by proxy",
            explicit,
            format!("http://{vendor}/v1/models"),
            vendor.into(),
            false,
        ),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{bearer}\r\n");
        let reply = Wire::to(at).ask(request);
        assert!(reply.header("x-airlock-decision").is_some(), "{reply:?}");
        let found = reply.header("x-airlock-token").is_some();
        assert_eq!(found, want, "{name}: {reply:?}");
    }
}

#[test]
fn a_revocation_cuts_the_websocket_of_that_session_and_no_other() {
    let plugin = Plugin::start();
    let airlock = with_people(&plugin);
    let own = format!("Origin: http://{}\r\n", door(&airlock));
    let open = |token: &str| {
        let browser = Browser::with(&airlock, token);
        let mut wire = Wire::to(door(&airlock));
        wire.send(browser.request("GET", "/ws", &format!("{UPGRADE}{own}"), ""));
        let head = String::from_utf8(wire.head().unwrap()).unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert_eq!(wire.exact(5), b"hello");
        wire
    };
    let (id, ada) = issue(&airlock, "ada", "user", "12h");
    let bob = token(&airlock, "bob", "user");
    let (mut of_ada, mut of_bob) = (open(&ada), open(&bob));
    assert_eq!(airlock.command(&["session", "revoke", &id]).0, 0);
    assert!(of_ada.closed(), "it is cut");
    eventually("the record says why", || {
        airlock
            .records()
            .iter()
            .any(|r| r["ended"] == "session_revoked" && r["user"] == "ada")
    });
    let again = Browser::with(&airlock, &ada).send("GET", "/ws", &format!("{UPGRADE}{own}"), "");
    assert_eq!(refused(&again), (401, "session_revoked".into()));
    of_bob.send("still here");
    // A logout of bob's is as good.
    assert_eq!(
        Browser::with(&airlock, &bob)
            .post("/airlock/logout", "")
            .status,
        303
    );
    assert!(of_bob.closed());
}

#[test]
fn a_cookie_beyond_this_machine_wants_tls() {
    let plugin = Plugin::start();
    let more =
        format!("  hosts: [studio.lan, plain.lan]\n  plain_websockets: [plain.lan]\n{REQUIRED}");
    let airlock = before(plugin.address(), &more);
    let password = add_user(&airlock, "ada", "user");
    let form = format!("username=ada&password={password}");
    for (name, host, origin, status, set) in [
        (
            "behind TLS",
            "studio.lan",
            "https://studio.lan",
            303,
            Some("__Host-airlock_session="),
        ),
        ("in the clear", "studio.lan", "http://studio.lan", 403, None),
        (
            "in the clear, allowed",
            "plain.lan",
            "http://plain.lan",
            303,
            Some("airlock_session="),
        ),
    ] {
        let reply = Wire::to(door(&airlock)).ask(format!(
            "POST /airlock/login HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n\
             Content-Length: {}\r\n\r\n{form}",
            form.len()
        ));
        assert_eq!(reply.status, status, "{name}: {}", reply.text());
        let cookie = reply.header("set-cookie");
        assert_eq!(cookie.is_some(), set.is_some(), "{name}");
        if let (Some(cookie), Some(set)) = (cookie, set) {
            assert!(cookie.starts_with(set), "{name}: {cookie}");
            assert_eq!(
                cookie.ends_with("; Secure"),
                set.starts_with("__Host-"),
                "{name}"
            );
        }
    }
}

/// The proxy and the base URL on all addresses, in a network namespace that has none but loopback.
#[cfg(target_os = "linux")]
#[test]
fn a_proxy_that_other_machines_reach_wants_a_key() {
    if !alone("front_door::login::a_proxy_that_other_machines_reach_wants_a_key") {
        return;
    }
    let airlock = Airlock::start(&format!(
        "listeners:\n  explicit: 0.0.0.0:0\n  reverse:\n    listen: 0.0.0.0:0\n  admin: 127.0.0.1:0\n\
         llm:\n  discover: false\n{REQUIRED}"
    ));
    let here = |address: std::net::SocketAddr| {
        std::net::SocketAddr::from(([127, 0, 0, 1], address.port()))
    };
    let (proxy, base) = (here(airlock.ready.explicit), here(airlock.ready.reverse));
    let (_, out, _) = airlock.command(&["key", "add", "box", "--role", "user", "--json"]);
    let made: Value = serde_json::from_str(&out).unwrap();
    let key = made["key"].as_str().unwrap().to_owned();
    let token = token(&airlock, "ada", "user");
    let host = "comfyui-copilot-server.onrender.com";
    use base64::{Engine, engine::general_purpose::STANDARD};
    let basic = |secret: &str| {
        let pair = STANDARD.encode(format!("key:{secret}"));
        format!("Proxy-Authorization: Basic {pair}\r\n")
    };
    let wanted = (407, "proxy_login_required".to_owned());
    for (name, line, good) in [
        ("nothing", String::new(), false),
        ("a wrong key", basic("airlock_a_b"), false),
        ("no key at all", basic("secret"), false),
        (
            "a key in the wrong header",
            format!("Authorization: Bearer {key}\r\n"),
            false,
        ),
        ("a key", basic(&key), true),
        ("a token", basic(&token), true),
    ] {
        let plain = Wire::to(proxy).ask(format!(
            "GET http://{host}/v1/models HTTP/1.1\r\nHost: {host}\r\n{line}\r\n"
        ));
        let connect = Wire::to(proxy).ask(format!(
            "CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n{line}\r\n"
        ));
        if good {
            assert_ne!(plain.status, 407, "{name}");
            assert_eq!(connect.status, 200, "{name}");
            continue;
        }
        for reply in [plain, connect] {
            assert_eq!((reply.status, reply.code()), wanted, "{name}");
            let challenge = reply.header("proxy-authenticate");
            assert_eq!(challenge, Some("Basic realm=\"airlock\""), "{name}");
        }
    }
    for (name, line, status) in [
        ("nothing", String::new(), Some(401)),
        ("null", "Authorization: Bearer null\r\n".into(), Some(401)),
        ("a key", format!("Authorization: Bearer {key}\r\n"), None),
    ] {
        let reply = Wire::to(base).ask(format!(
            "GET /v1/models HTTP/1.1\r\nHost: {base}\r\n{line}\r\n"
        ));
        assert_eq!(Some(reply.status).filter(|s| *s == 401), status, "{name}");
    }
    eventually("the key is named in the record of the tunnel", || {
        let records = airlock.records();
        records
            .iter()
            .any(|r| r["method"] == "CONNECT" && r["user"] == "box")
    });
}
