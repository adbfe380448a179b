//! `gen_workflow` over MCP, with an LLM that is scripted to be wrong first.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{JSON, call, files};
use crate::{
    front_door::comfyui::{Answer, ComfyUi},
    support::{Airlock, Origin},
};

/// An LLM on loopback: its answers in order, the last one again and again; and what it was asked.
struct Scripted {
    origin: Origin,
    asked: Arc<Mutex<Vec<Value>>>,
}

fn llm(answers: &'static [&'static str]) -> Scripted {
    let asked: Arc<Mutex<Vec<Value>>> = Arc::default();
    let log = asked.clone();
    let origin = Origin::scripted(move |mut guest| {
        while let Some(head) = guest.head() {
            let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
            let body = if head.starts_with("get ") {
                json!({"object": "list", "data": [{"id": "small", "object": "model", "created": 1, "owned_by": "x"}]})
            } else {
                let length = head.split("content-length: ").nth(1);
                let length = length.and_then(|l| l.split("\r\n").next()?.parse().ok());
                let request = guest.exact(length.expect("a length"));
                let request: Value = serde_json::from_slice(&request).expect("JSON");
                let mut log = log.lock().unwrap();
                // A server that knows no schema says so, once for each question.
                if request.get("response_format").is_some() {
                    let refusal = r#"{"error":{"message":"response_format is not supported"}}"#;
                    guest.send(format!(
                        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{refusal}",
                        refusal.len()
                    ));
                    continue;
                }
                let text = answers[log.len().min(answers.len() - 1)];
                log.push(request);
                json!({"id": "x", "object": "chat.completion", "created": 1, "model": "small", "choices": [{
                    "index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}]})
            };
            let body = body.to_string();
            guest.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ));
        }
    });
    Scripted { origin, asked }
}

/// A ComfyUI that can make an image of a text, and larger ones of images.
fn comfyui() -> ComfyUi {
    let mut files = files();
    files.retain(|(path, _)| !matches!(*path, "/object_info" | "/templates/default.json"));
    files.push((
        "/object_info",
        Answer::plain(
            JSON,
            include_str!("../../fixtures/workflow/object_info.json"),
        ),
    ));
    files.push((
        "/templates/default.json",
        Answer::file(
            "application/json",
            include_str!("../../fixtures/workflow/text_to_image.json"),
        ),
    ));
    ComfyUi::serving(files)
}

fn airlock(comfyui: &ComfyUi, llm_url: &str) -> Airlock {
    Airlock::start(&format!(
        "listeners:\n  explicit: 127.0.0.1:0\n  reverse:\n    listen: 127.0.0.1:0\n  admin: 127.0.0.1:0\n\
         llm:\n  discover: false\n  base_url: {llm_url}\ncomfyui:\n  url: http://{}\n",
        comfyui.address()
    ))
}

fn last_message(request: &Value) -> String {
    let last = request["messages"].as_array().and_then(|m| m.last());
    last.and_then(|m| m["content"].as_str())
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn a_faulty_workflow_is_told_its_faults_and_the_right_one_becomes_a_card() {
    let comfyui = comfyui();
    let llm = llm(&[
        include_str!("../../fixtures/llm_answers/workflow-choice-none.txt"),
        include_str!("../../fixtures/llm_answers/workflow-wrong-links.txt"),
        include_str!("../../fixtures/llm_answers/workflow-api-form-with-thoughts.txt"),
    ]);
    let airlock = airlock(&comfyui, &format!("http://{}/v1", llm.origin.address));
    let made = call(
        &airlock,
        "s1",
        "gen_workflow",
        &json!({"keywords": ["image generation"], "instruction": "make my picture four times as large"}),
    );
    let card = &made["data"][0];
    let id = card["id"].as_str().unwrap_or_default();
    assert!(id.starts_with("generated:"), "{made}");
    assert_eq!(card["source"], "AI Generated");
    assert_eq!(made["ext"][0], json!({"type": "workflow", "data": [card]}));

    let asked = llm.asked.lock().unwrap();
    assert_eq!(asked.len(), 3, "{asked:?}");
    let told = last_message(&asked[2]);
    for needle in [
        "input \"upscale_model\": it is linked to node 9, which is not there",
        "input \"images\": it takes IMAGE, and the link brings UPSCALE_MODEL",
    ] {
        assert!(told.contains(needle), "{told}");
    }
    for head in comfyui.heads() {
        assert!(head.starts_with("GET "), "ComfyUI is only read: {head}");
    }
    drop(asked);
    airlock.assert_healthy();
}

#[test]
fn without_an_llm_a_template_that_runs_here_gets_the_words_and_says_so() {
    let comfyui = comfyui();
    // tcpmux: nobody has served it for decades.
    let airlock = airlock(&comfyui, "http://127.0.0.1:1/v1");
    let wish = json!({"keywords": ["image generation"], "instruction": "a red fox in snow"});
    let made = call(&airlock, "s1", "gen_workflow", &wish);
    let words = made["answer"].as_str().unwrap_or_default();
    assert!(
        words.contains("No LLM had a part in it") && words.contains("Made from"),
        "{made}"
    );
    let failed = call(
        &airlock,
        "s1",
        "gen_workflow",
        &json!({"keywords": ["zzqqxx"], "instruction": ""}),
    );
    assert_eq!(failed["failed"], true, "{failed}");
    let words = failed["answer"].as_str().unwrap_or_default();
    assert!(words.starts_with("no workflow was made"), "{failed}");
    let empty = call(&airlock, "s1", "gen_workflow", &json!({}));
    let words = empty["answer"].as_str().unwrap_or_default();
    assert!(
        empty["failed"] == true && words.starts_with("say in \"instruction\""),
        "{empty}"
    );
    airlock.assert_healthy();
}
