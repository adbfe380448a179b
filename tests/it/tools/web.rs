//! `bing_search` with an endpoint of the user's own, and without: what leaves, what comes back, and that it
//! never says that a web was searched which was not.

use serde_json::{Value, json};

use super::{Server, config, files};
use crate::{
    front_door::comfyui::ComfyUi,
    support::{Airlock, Origin, Wire, eventually},
};

/// SearXNG, as far as it is asked; odd things for odd questions.
fn endpoint() -> Origin {
    Origin::recording(|head| {
        let answer = |status: &str, more: &str, body: String| {
            format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{more}Content-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes()
        };
        let path = head.split(' ').nth(1).unwrap_or_default();
        match path {
            _ if path.contains("endless") => answer("200 OK", "", "x".repeat(2 << 20)),
            _ if path.contains("redirect") => answer(
                "302 Found",
                "Location: http://evil.test/\r\n",
                String::new(),
            ),
            _ if path.contains("closed") => answer("403 Forbidden", "", String::new()),
            _ => answer(
                "200 OK",
                "",
                json!({"results": [{"title": "Flux <b>guide</b>", "url": "https://docs.test/flux",
                    "content": "![p](https://evil.test/?q=) Guidance of 3.5."}]})
                .to_string(),
            ),
        }
    })
}

/// Calls the tool of the second server, as the plugin's Python side does; its text.
fn search(airlock: &Airlock, query: &str) -> String {
    let second = Server {
        at: airlock.ready.explicit,
        line: "POST http://mcp.api-inference.modelscope.net/8c9fe550938e4f/sse",
        host: "mcp.api-inference.modelscope.net".into(),
    };
    let reply = second.call("s1", "bing_search", &json!({"query": query}));
    assert_ne!(reply["result"]["isError"], true, "{reply}");
    let text = reply["result"]["content"][0]["text"].as_str();
    let text = text.unwrap_or_else(|| panic!("no text: {reply}"));
    let envelope: Value = serde_json::from_str(text).unwrap_or_default();
    envelope["answer"].as_str().unwrap_or(text).to_owned()
}

fn own(airlock: &Airlock) -> Vec<Value> {
    let all = airlock.records().into_iter();
    all.filter(|r| r["entry"] == "models").collect()
}

#[test]
fn the_web_is_searched_by_the_users_own_endpoint_and_by_no_other() {
    let (comfyui, web) = (ComfyUi::serving(files()), endpoint());
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "search-key-0815\n").unwrap();
    let (at, file) = (web.port(), key.path().display());
    let airlock = Airlock::start(&format!(
        "{}web_search:\n  endpoint: http://127.0.0.1:{at}/search\n  token_file: {file}\n",
        config(comfyui.address())
    ));
    let text = search(&airlock, "flux guidance & \"steps\"\u{7}");
    assert!(text.starts_with("From the web, by 127.0.0.1."), "{text}");
    assert!(
        text.contains("1. Flux b guide /b\nhttps://docs.test/flux\n"),
        "{text}"
    );
    assert!(!text.contains("![") && !text.contains('<'), "{text}");
    assert!(text.contains("local docs, nodes"), "{text}");
    let head = web.heads().concat();
    let line = head.lines().next().unwrap();
    assert_eq!(
        line,
        "GET /search?q=flux%20guidance%20%26%20%22steps%22&format=json HTTP/1.1"
    );
    assert!(
        head.to_lowercase()
            .contains("authorization: bearer search-key-0815"),
        "{head}"
    );
    for ours in ["x-session-id", "cookie", "s1"] {
        assert!(!head.to_lowercase().contains(ours), "{ours}: {head}");
    }
    eventually("it is on record", || {
        let records = own(&airlock);
        records.len() == 1
            && records[0]["rule"] == "web_search"
            && records[0]["action"] == "forward"
            && records[0]["status"] == 200
    });

    for (query, why) in [
        ("endless", "more than a megabyte"),
        ("redirect", "which is not followed"),
        ("closed", "search.formats"),
    ] {
        let text = search(&airlock, query);
        assert!(
            text.starts_with("The web was NOT searched: 127.0.0.1 answered ") && text.contains(why),
            "{query}: {text}"
        );
    }
    // A secret in what a model wants to look up stays here; so does everything in a lockdown.
    let asked = web.heads().len();
    let secret = format!("what is hf_{} for", "A1B2C3D4E5F6G7H8".repeat(2));
    let text = search(&airlock, &secret);
    assert!(text.contains("was not asked: secret_found"), "{text}");
    assert_eq!(airlock.command(&["lockdown", "on"]).0, 0);
    let text = search(&airlock, "flux");
    assert!(text.contains("was not asked: locked_down"), "{text}");
    assert_eq!(web.heads().len(), asked);
    airlock.assert_healthy();
}

#[test]
fn no_client_comes_to_the_endpoint_by_its_rule_and_a_deny_closes_it() {
    let (comfyui, web) = (ComfyUi::serving(files()), endpoint());
    let at = web.port();
    let deny =
        "rules:\n  - name: closed\n    ips: [127.0.0.1]\n    action: deny\n    entries: [models]\n";
    let airlock = Airlock::start(&format!(
        "{}web_search:\n  endpoint: http://127.0.0.1:{at}/search\n{deny}",
        config(comfyui.address())
    ));
    let text = search(&airlock, "flux");
    assert!(text.contains("was not asked: rule_denies"), "{text}");
    let reply = Wire::to(airlock.ready.explicit).ask(format!(
        "GET http://127.0.0.1:{at}/search?q=x HTTP/1.1\r\nHost: 127.0.0.1:{at}\r\n\r\n"
    ));
    assert_eq!(reply.status, 403, "{}", reply.text());
    assert!(web.heads().is_empty());
}
