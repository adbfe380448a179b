//! The page's own features (WIRE.md 10 to 18) from a ComfyUI, without any LLM: by the reverse entry and in an
//! intercepted tunnel, with the headers that the page sends.

use super::*;
use crate::support::{Reply, handshake, trusting};

const PAGE: &str = "http://127.0.0.1:8188";
const HOST: &str = "comfyui-copilot-server-pre.onrender.com";
/// Sent along by a page that has an own key; nothing of it may come out anywhere.
const OWN_KEY: &str = "c2VhbGVkLW93bi1rZXktb2YtdGhlLXVzZXI=";

/// Where the page's requests go in.
#[derive(Clone, Copy, Debug)]
enum Way {
    Reverse,
    Intercepted,
}

fn post(airlock: &Airlock, way: Way, path: &str, body: &Value) -> Reply {
    let body = body.to_string();
    let host = match way {
        Way::Reverse => airlock.ready.reverse.to_string(),
        Way::Intercepted => HOST.to_owned(),
    };
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: {PAGE}\r\nAuthorization: Bearer null\r\ntrace-id: 1\r\n\
         Accept-Language: en\r\nEncrypted-Openai-Api-Key: {OWN_KEY}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let reply = match way {
        Way::Reverse => Wire::to(airlock.ready.reverse).ask(request),
        Way::Intercepted => {
            let tunnel = Wire::to(airlock.ready.explicit).connect(&format!("{HOST}:443"));
            let trust = trusting(&airlock.ready.ca_bundle);
            handshake(tunnel, &trust, HOST)
                .expect("the leaf is trusted")
                .ask(request)
        }
    };
    assert_eq!(reply.status, 200, "{way:?} {path}: {}", reply.text());
    assert_eq!(
        reply.header("access-control-allow-origin"),
        Some(PAGE),
        "{way:?} {path}"
    );
    reply
}

fn intent(name: &str, node: &str) -> Value {
    json!({"session_id": "s-1", "prompt": node, "mock": false, "intent": name,
        "ext": [{"type": "upstream_node_types", "data": ["CheckpointLoaderSimple"]}],
        "messages": [{"role": "user", "content": node}], "images": [], "workflow_checkpoint_id": null})
}

fn last_line(reply: &Reply) -> Value {
    let text = reply.text();
    let line = text.lines().last().expect("a line");
    serde_json::from_str(line).expect("a JSON line")
}

#[test]
fn every_feature_of_the_page_has_a_floor_without_an_llm() {
    let comfyui = ComfyUi::serving(files());
    for way in [Way::Reverse, Way::Intercepted] {
        let airlock = Airlock::start(&config(comfyui.address()));
        // Docs are read behind the nodes.
        eventually_within(PATIENCE, "the node is explained with its docs", || {
            let reply = post(
                &airlock,
                way,
                "/api/chat/invoke",
                &intent("node_explain", "KSampler"),
            );
            let line = last_line(&reply);
            assert_eq!(line["finished"], true, "{way:?}: {line}");
            line["text"]
                .as_str()
                .is_some_and(|t| t.contains("takes **steps**"))
        });
        let reply = post(
            &airlock,
            way,
            "/api/chat/invoke",
            &intent("downstream_subgraph_search", "ImageUpscaleWithModel"),
        );
        let line = last_line(&reply);
        let cards = line["ext"][0]["data"].as_array().expect("cards").clone();
        let decodes = |card: &&Value| card["json"]["nodes"][1]["type"] == "SaveImage";
        let card = cards.iter().find(decodes);
        let card = card.unwrap_or_else(|| panic!("{way:?}: {line}"));
        assert_eq!(card["json"]["links"][0]["type"], "IMAGE", "{way:?}");

        let asked = json!({"workflow_id": "template:default", "prompt": "a cat"});
        let given = post(&airlock, way, "/api/chat/get_optimized_workflow", &asked).json();
        assert_eq!(given["success"], true, "{way:?}: {given}");
        let workflow = given["data"]["workflow"].to_string();
        assert!(workflow.contains("KSampler"), "{way:?}: {given}");
        assert!(!workflow.contains("MarkdownNote"), "{way:?}: {given}");
        assert!(
            given["data"]["optimized_params"].is_array(),
            "{way:?}: {given}"
        );

        let prompts = post(
            &airlock,
            way,
            "/api/param_debug/generate_sd_prompts",
            &json!({"text": "a cat"}),
        );
        let prompts = prompts.json();
        assert_eq!(
            prompts["data"].as_array().map(Vec::len),
            Some(3),
            "{way:?}: {prompts}"
        );

        let account = json!({"username": "someone", "email": "someone@example.com"});
        let dialog = post(&airlock, way, "/api/user/create", &account).json();
        let words = dialog["message"].as_str().expect("words");
        assert!(
            dialog["data"].is_null() && words.contains("No mail was sent"),
            "{way:?}: {words}"
        );

        let log = std::fs::read_to_string(airlock.state().join("audit.jsonl")).expect("the log");
        // As it is copied out of the dialog, blanks and all, it is a key.
        let token = words.split("\n\n").nth(1).expect("a key");
        let reverse = airlock.ready.reverse;
        let reply = Wire::to(reverse).ask(format!(
            "POST /api/user/create HTTP/1.1\r\nHost: {reverse}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
        ));
        let again = reply.json()["message"].to_string();
        assert!(again.contains("hold an Airlock key"), "{way:?}: {again}");
        let whole = token.replace(' ', "");
        for secret in [OWN_KEY, token, &*whole, "someone@example.com", "a cat"] {
            assert!(!log.contains(secret), "{way:?}: the log holds {secret}");
        }
        assert!(!log.contains(r#""action":"forward""#), "{way:?}: {log}");
    }
    for head in comfyui.heads() {
        assert!(head.starts_with("GET "), "ComfyUI is only read: {head}");
        assert!(!head.contains(OWN_KEY), "{head}");
    }
}
