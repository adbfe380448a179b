//! The tools of the chat, answered from a ComfyUI: by the real MCP SDKs, and as cards at the front door.

mod cards;
mod generate;
mod news;
mod own_key;
mod page;
mod web;

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::{
    front_door::comfyui::{Answer, ComfyUi},
    support::{Airlock, Entry, Llm, Sdk, Wire, eventually_within, run_script},
};
use std::time::Duration;

const JSON: &str = "application/json; charset=utf-8";
/// For the first index, on a machine with other work.
const PATIENCE: Duration = Duration::from_secs(30);

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../fixtures/comfyui/", $name))
    };
}

/// What a small ComfyUI answers, by path.
pub fn files() -> Vec<(&'static str, Answer)> {
    vec![
        (
            "/system_stats",
            Answer::plain(
                JSON,
                r#"{"system": {"comfyui_version": "0.3.64", "argv": ["main.py"]}, "devices": [{"name": "cpu"}]}"#,
            ),
        ),
        (
            "/object_info",
            Answer::plain(JSON, fixture!("object_info.json")),
        ),
        (
            "/templates/index.json",
            Answer::file("application/json", fixture!("templates_index.json")),
        ),
        (
            "/templates/index.zh.json",
            Answer::file("application/json", fixture!("templates_index.zh.json")),
        ),
        (
            "/templates/default.json",
            Answer::file("application/json", fixture!("template_default.json")),
        ),
        (
            "/models",
            Answer::plain(JSON, r#"["checkpoints", "configs"]"#),
        ),
        (
            "/models/checkpoints",
            Answer::plain(JSON, r#"["sd_xl_base_1.0.safetensors", "../../x", null]"#),
        ),
        (
            "/userdata",
            Answer::plain(JSON, r#"[{"path": "mine.json", "size": 2, "modified": 1}]"#),
        ),
        (
            "/userdata/workflows%2Fmine.json",
            Answer::plain(JSON, r#"{"nodes": [{"type": "KSampler"}]}"#),
        ),
        (
            "/docs/KSampler/en.md",
            Answer::file(
                "application/octet-stream",
                "The KSampler takes **steps** to remove noise.",
            ),
        ),
        (
            "/docs/KSampler/zh.md",
            Answer::file("application/octet-stream", "KSampler 采样器逐步去除噪声。"),
        ),
    ]
}

pub fn config(comfyui: SocketAddr) -> String {
    format!(
        "listeners:\n  explicit: 127.0.0.1:0\n  reverse:\n    listen: 127.0.0.1:0\n  admin: 127.0.0.1:0\n\
         llm:\n  discover: false\ncomfyui:\n  url: http://{comfyui}\n"
    )
}

fn status(airlock: &Airlock) -> Value {
    let (code, body) = airlock.admin("/status");
    assert_eq!(code, 200, "{body}");
    serde_json::from_str(&body).expect("status is JSON")
}

/// One of the two MCP servers, as it is asked: where to, its request line and `Host`.
struct Server {
    at: SocketAddr,
    line: &'static str,
    host: String,
}

impl Server {
    /// The vendor's, by the base URL.
    fn vendor(airlock: &Airlock) -> Self {
        Self {
            at: airlock.ready.reverse,
            line: "POST /mcp-server/mcp",
            host: airlock.ready.reverse.to_string(),
        }
    }

    /// One message by streamable HTTP, of the plugin's session `user`: the id of the MCP session, and
    /// what it says.
    fn message(&self, session: Option<&str>, user: &str, body: &Value) -> (Option<String>, Value) {
        let Self { at, line, host } = self;
        let body = body.to_string();
        let own = session.map_or(String::new(), |id| format!("Mcp-Session-Id: {id}\r\n"));
        let reply = Wire::to(*at).ask(format!(
            "{line} HTTP/1.1\r\nHost: {host}\r\nX-Session-Id: {user}\r\n{own}\
             Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let text = reply.text();
        let data = text.lines().find_map(|line| line.strip_prefix("data: "));
        let parsed = serde_json::from_str(data.unwrap_or(&text)).unwrap_or(Value::Null);
        (reply.header("mcp-session-id").map(str::to_owned), parsed)
    }

    /// Begins a session and calls a tool in it; the answer's envelope.
    fn call(&self, user: &str, tool: &str, arguments: &Value) -> Value {
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize",
            "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}}});
        let (session, said) = self.message(None, user, &hello);
        let session = session.unwrap_or_else(|| panic!("a session begins: {said}"));
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": tool, "arguments": arguments}});
        self.message(Some(&session), user, &call).1
    }
}

/// Calls a tool as the plugin's session `user`; its envelope.
pub fn call(airlock: &Airlock, user: &str, tool: &str, arguments: &Value) -> Value {
    let reply = Server::vendor(airlock).call(user, tool, arguments);
    let text = reply["result"]["content"][0]["text"].as_str();
    let text = text.unwrap_or_else(|| panic!("no result: {reply}"));
    serde_json::from_str(text)
        .unwrap_or_else(|_| json!({"answer": text, "failed": reply["result"]["isError"]}))
}

fn sdk_calls_the_tools(sdk: Sdk) {
    let comfyui = ComfyUi::serving(files());
    let airlock = Airlock::start(&config(comfyui.address()));
    run_script("tools_client", sdk, Entry::Proxy, &airlock, &Llm::Down);
    for head in comfyui.heads() {
        assert!(head.starts_with("GET "), "ComfyUI is only read: {head}");
    }
    airlock.assert_healthy();
}

#[test]
fn mcp_1_lists_and_calls_the_tools() {
    sdk_calls_the_tools(Sdk::Old);
}

#[test]
fn mcp_2_lists_and_calls_the_tools() {
    sdk_calls_the_tools(Sdk::New);
}

#[test]
fn comfyui_is_asked_when_it_is_needed_and_status_and_metrics_tell() {
    let comfyui = ComfyUi::serving(files());
    let airlock = Airlock::start(&config(comfyui.address()));
    let before = status(&airlock);
    assert_eq!(before["comfyui"]["generation"], 0, "{before}");
    assert!(comfyui.heads().is_empty(), "nobody needed it yet");
    let found = call(&airlock, "s1", "search_node", &json!({"query": "upscale"}));
    assert_eq!(found["data"][0]["name"], "ImageUpscaleWithModel", "{found}");
    eventually_within(PATIENCE, "docs and files are in", || {
        let comfyui = &status(&airlock)["comfyui"];
        comfyui["generation"] == 2 && comfyui["doing"].is_null()
    });
    let after = status(&airlock);
    let known = &after["comfyui"];
    assert_eq!(
        (
            &known["up"],
            &known["nodes"],
            &known["templates"],
            &known["documented_nodes"]
        ),
        (&json!(true), &json!(5), &json!(2), &json!(1)),
        "{known}"
    );
    // Two classes, two templates, one output slot of two, two files of models, the inputs of one class.
    assert!(
        known["left_out"].as_u64().is_some_and(|n| n >= 6),
        "{known}"
    );
    assert_eq!(airlock.metric("airlock_comfyui_up", &[]), 1);
    assert_eq!(
        airlock.metric("airlock_search_builds_total", &[("outcome", "ok")]),
        2
    );
    assert_eq!(airlock.metric("airlock_search_progress_percent", &[]), 100);
    let documents = known["indexed"].as_u64().expect("a count");
    assert_eq!(airlock.metric("airlock_search_documents", &[]), documents);
    airlock.assert_healthy();
}

#[test]
fn without_a_comfyui_the_tools_say_so_and_turned_off_there_are_none() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let airlock = Airlock::start(&config(nobody));
    let said = call(
        &airlock,
        "s1",
        "recall_workflow",
        &json!({"keywords": ["cat"]}),
    );
    let words = said["answer"].as_str().unwrap();
    assert!(
        said["failed"] == true && words.contains("Start ComfyUI"),
        "{said}"
    );
    airlock.assert_healthy();

    let off = config(nobody).replace(
        &format!("comfyui:\n  url: http://{nobody}\n"),
        "comfyui: off\n",
    );
    let airlock = Airlock::start(&off);
    let (_, listed) = Server::vendor(&airlock).message(
        None,
        "s1",
        &json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}),
    );
    assert!(listed["result"]["serverInfo"].is_object(), "{listed}");
    let said = call(
        &airlock,
        "s1",
        "recall_workflow",
        &json!({"keywords": ["cat"]}),
    );
    assert!(
        said["answer"]
            .as_str()
            .unwrap()
            .contains("there is no tool of this name"),
        "{said}"
    );
    assert!(status(&airlock)["comfyui"].is_null());
    airlock.assert_touched_nothing();
}

#[test]
fn what_a_newer_plugin_asks_for_is_counted_and_shown_by_its_shape_alone() {
    let comfyui = ComfyUi::serving(files());
    let airlock = Airlock::start(&config(comfyui.address()));
    let secret = "sk-SECRET-4711";
    let said = call(
        &airlock,
        "s1",
        "draw_picture",
        &json!({"prompt": secret, "size": 5}),
    );
    assert!(
        said["answer"]
            .as_str()
            .unwrap()
            .contains("no tool of this name"),
        "{said}"
    );
    let reverse = airlock.ready.reverse;
    let mut wire = Wire::to(reverse);
    let reply = wire.ask(format!(
        "GET /api/chat/new_route/{secret} HTTP/1.1\r\nHost: {reverse}\r\n\r\n"
    ));
    assert!(reply.status >= 400);
    let body = format!(r#"{{"text": "{secret}", "style": {{"{secret}": 1, "mood": "x"}}}}"#);
    let reply = Wire::to(reverse).ask(format!(
        "POST /api/param_debug/generate_sd_prompts HTTP/1.1\r\nHost: {reverse}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert!(reply.status < 500, "{}", reply.text());
    let told = status(&airlock);
    let drift = told["drift"].as_array().expect("a list");
    let shapes: Vec<&str> = drift.iter().filter_map(|d| d["shape"].as_str()).collect();
    assert!(
        shapes.contains(&"draw_picture{prompt:text,size:number}"),
        "{shapes:?}"
    );
    assert!(
        shapes.contains(
            &"/api/param_debug/generate_sd_prompts {style:{mood:text,*:number},text:text}"
        ),
        "{shapes:?}"
    );
    assert!(!told.to_string().contains("SECRET") && !airlock.process.stderr().contains("SECRET"));
    let counted = |responder, kind| {
        airlock.metric(
            "airlock_standin_drift_total",
            &[("responder", responder), ("kind", kind)],
        )
    };
    assert_eq!(
        (counted("mcp", "tool"), counted("copilot", "field")),
        (1, 1)
    );
}
