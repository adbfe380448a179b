//! `/api/chat/invoke`: a last line that is finished, with words in it, whatever is there or not.

use super::*;
use crate::{
    comfyui::tests::{FILES, until},
    emulator::asking::tests::{answering, whole},
    gateway::tests::fake::{Piece, Reply},
};

/// A sampler, what comes behind it, and what does not.
const GRAPH: &[(&str, &str)] = &[
    (
        "/system_stats",
        r#"{"system":{"comfyui_version":"0.3.64"},"devices":[]}"#,
    ),
    (
        "/object_info",
        r#"{"KSampler":{"input":{"required":{"model":["MODEL"],"seed":["INT",{"default":0}],"latent_image":["LATENT"]}},
              "output":["LATENT"],"display_name":"KSampler","category":"sampling","python_module":"nodes"},
            "VAEDecode":{"input":{"required":{"samples":["LATENT"],"vae":["VAE"]}},
              "output":["IMAGE"],"display_name":"VAE Decode","category":"latent","python_module":"nodes"},
            "LatentUpscale":{"input":{"required":{"upscale_method":[["nearest"]],"samples":["LATENT"]}},
              "output":["LATENT"],"display_name":"Upscale Latent","category":"latent","python_module":"nodes"},
            "SaveImage":{"input":{"required":{"images":["IMAGE"],"filename_prefix":["STRING",{"default":"x"}]}},
              "output":[],"output_node":true,"display_name":"Save Image","category":"image","python_module":"nodes"},
            "OldDecode":{"input":{"required":{"samples":["LATENT"]}},"output":["IMAGE"],"deprecated":true,
              "display_name":"Old","python_module":"nodes"},
            "Anything":{"input":{"required":{"value":["*"]}},"output":[],"display_name":"Any","python_module":"custom_nodes.any"},
            "Masker":{"input":{"optional":{"mask":["MASK"]},"required":{"image":["IMAGE"]}},"output":["IMAGE","MASK"],
              "display_name":"Masker","python_module":"custom_nodes.masks"}}"#,
    ),
    (
        "/userdata",
        r#"[{"path":"one.json","size":20,"modified":1.5}]"#,
    ),
    (
        "/userdata/workflows%2Fone.json",
        r#"{"nodes":[{"type":"KSampler"},{"type":"VAEDecode"},{"type":"SaveImage"}]}"#,
    ),
];

fn body(intent: &str, node: &str, upstream: &[&str]) -> String {
    json!({"session_id": "s-1", "prompt": node, "mock": false, "intent": intent,
        "ext": [{"type": "upstream_node_types", "data": upstream}],
        "messages": [{"role": "user", "content": node}], "images": [], "workflow_checkpoint_id": null})
    .to_string()
}

/// Every line as the page takes it; the last one finishes.
async fn lines(rig: &Rig, language: &str, body: &str) -> Vec<Value> {
    let headers = [PAGE, ("accept-language", language)];
    let request = request(HOST, "POST", "/api/chat/invoke", &headers, body.to_owned());
    let response = rig.responder.handle(request).await;
    assert_eq!(header(&response, "content-type"), "application/x-ndjson");
    assert_eq!(header(&response, "access-control-allow-origin"), PAGE.1);
    let text = body_text(response).await;
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect();
    let finished: Vec<bool> = lines.iter().map(|l| l["finished"] == true).collect();
    let (last, before) = finished.split_last().expect("a line");
    assert!(*last && !before.contains(&true), "{text}");
    for line in &lines {
        assert!(!line["text"].as_str().unwrap_or("").is_empty(), "{line}");
        assert_eq!(line["type"], "message", "{line}");
        assert_eq!(line["format"], "markdown", "{line}");
    }
    lines
}

async fn last(rig: &Rig, language: &str, body: &str) -> Value {
    lines(rig, language, body).await.pop().expect("a line")
}

/// Docs and workflows are read behind the nodes.
async fn settled(rig: &Rig) {
    let comfyui = rig.responder.comfyui.clone().expect("it is on");
    comfyui.knowledge().await.expect("it answers");
    until("the files are read", || {
        comfyui.known().is_some_and(|k| k.generation == 2)
    })
    .await;
}

fn text(line: &Value) -> &str {
    line["text"].as_str().expect("text")
}

#[tokio::test]
async fn a_bubble_is_never_empty_whatever_is_missing() {
    let fake = Fake::start(FILES).await;
    let gone = Fake::start(&[]).await;
    gone.put(
        "/system_stats",
        "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n",
    );
    gone.put(
        "/object_info",
        "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n",
    );
    for (row, comfyui, language, intent, node, says) in [
        (
            "docs and facts without an LLM",
            Some(&fake),
            "en",
            "node_explain",
            "KSampler",
            "denoises with **steps**",
        ),
        (
            "in Chinese",
            Some(&fake),
            "zh-CN",
            "node_explain",
            "KSampler",
            "采样器用于去噪",
        ),
        (
            "parameters with their bounds",
            Some(&fake),
            "en",
            "node_params",
            "KSampler",
            "steps (INT, required): 1 to 10000; default 20",
        ),
        (
            "the LLM's absence is said",
            Some(&fake),
            "en",
            "node_explain",
            "KSampler",
            "your LLM wrote nothing",
        ),
        (
            "a node that is not installed, with the nearest",
            Some(&fake),
            "en",
            "node_explain",
            "KSamplr",
            "Nearest ones that are installed: `KSampler`",
        ),
        (
            "the same behind a node",
            Some(&fake),
            "zh",
            "downstream_subgraph_search",
            "No`such\nNode",
            "没有此节点：`NosuchNode`",
        ),
        (
            "a ComfyUI that fails",
            Some(&gone),
            "en",
            "node_explain",
            "KSampler",
            "cannot be asked",
        ),
        (
            "one that is off",
            None,
            "en",
            "downstream_subgraph_search",
            "KSampler",
            "`comfyui.url` is off",
        ),
        (
            "an intent that is new to us",
            Some(&fake),
            "en",
            "mind_reading",
            "KSampler",
            "does not know this feature",
        ),
        (
            "nothing fits behind it",
            Some(&fake),
            "en",
            "downstream_subgraph_search",
            "CLIPTextEncode",
            "Nothing that is installed",
        ),
    ] {
        let rig = rig_with(None, comfyui.map(|f| &**f)).await;
        if comfyui.is_some_and(|f| Arc::ptr_eq(f, &fake)) {
            settled(&rig).await;
        }
        let line = last(&rig, language, &body(intent, node, &[])).await;
        assert!(text(&line).contains(says), "{row}: {line}");
        assert_eq!(line["session_id"], "s-1", "{row}");
        let drift = rig.metrics.render().contains("kind=\"intent\"");
        assert_eq!(drift, intent == "mind_reading", "{row}");
    }
    for (row, body) in [
        ("a body cut short", r#"{"session_id":"s-"#),
        ("no intent", r#"{"session_id":"s-1","prompt":"x"}"#),
        (
            "no node",
            r#"{"session_id":"s-1","intent":"node_explain","prompt":" "}"#,
        ),
        ("another kind", r#"{"session_id":1,"intent":2,"prompt":3}"#),
    ] {
        let rig = rig_with(None, None).await;
        let line = last(&rig, "en", body).await;
        assert_eq!(text(&line), BAD_REQUEST.en, "{row}");
    }
}

#[tokio::test]
async fn what_the_llm_writes_grows_inside_of_the_facts() {
    let words = "Connect a model. ".repeat(40);
    let answer = format!("<think>hm</think>{words}");
    let llm = answering(&[&answer]).await;
    let fake = Fake::start(FILES).await;
    let rig = rig_with(Some(&llm), Some(&fake)).await;
    settled(&rig).await;
    let lines = lines(&rig, "zh-CN", &body("node_explain", "KSampler", &[])).await;
    assert!(lines.len() >= 2, "facts first, then words: {lines:?}");
    let (first, last) = (text(&lines[0]), text(&lines[lines.len() - 1]));
    assert!(
        first.contains("KSampler") && !first.contains("Connect"),
        "{first}"
    );
    assert!(
        last.contains(words.trim()) && !last.contains("hm"),
        "{last}"
    );
    assert!(last.contains("采样器用于去噪"), "the docs stay: {last}");
    let asked: Value = serde_json::from_str(&llm.last().body).expect("JSON");
    let system = asked["messages"][0]["content"].as_str().expect("a prompt");
    assert!(
        system.contains("简体中文") && !system.contains("{{"),
        "{system}"
    );
    let facts = asked["messages"][1]["content"].as_str().expect("facts");
    assert!(facts.contains("default 20"), "{facts}");
}

#[tokio::test]
async fn an_llm_that_fails_midway_is_told_of() {
    let chunk = r#"{"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"It sam"},"finish_reason":null}]}"#;
    let half = Reply::events(vec![
        Piece::Say(format!("data: {chunk}\n\n").into_bytes()),
        Piece::Die,
    ]);
    for (row, reply, says) in [
        ("it breaks off", half, "broke off here"),
        (
            "it refuses",
            Reply::json(401, r#"{"error":{"message":"bad\nkey"}}"#),
            "your LLM wrote nothing",
        ),
        ("it says nothing", whole("  "), "steps (INT"),
    ] {
        let llm = FakeLlm::start("m", move |_| reply.clone()).await;
        let fake = Fake::start(FILES).await;
        let rig = rig_with(Some(&llm), Some(&fake)).await;
        settled(&rig).await;
        settled(&rig).await;
        let line = last(&rig, "en", &body("node_explain", "KSampler", &[])).await;
        assert!(text(&line).contains(says), "{row}: {line}");
        assert!(
            text(&line).contains("denoises with **steps**"),
            "{row}: {line}"
        );
    }
}

#[tokio::test]
async fn what_fits_behind_a_node_can_be_put_on_the_canvas() {
    let fake = Fake::start(GRAPH).await;
    let rig = rig_with(None, Some(&fake)).await;
    settled(&rig).await;
    for (row, node, upstream, names, links) in [
        (
            "what people link first, then the rest",
            "KSampler",
            vec!["CheckpointLoaderSimple"],
            vec!["VAE Decode", "Upscale Latent"],
            vec![(0, 0, "LATENT")],
        ),
        (
            "what is upstream already is left out",
            "KSampler",
            vec!["LatentUpscale"],
            vec!["VAE Decode"],
            vec![(0, 0, "LATENT")],
        ),
        (
            "each output finds its own input",
            "Masker",
            vec![],
            vec!["Save Image"],
            vec![(0, 0, "IMAGE")],
        ),
        (
            "an image: what ends a workflow first",
            "VAEDecode",
            vec![],
            vec!["Save Image", "Masker"],
            vec![(0, 0, "IMAGE")],
        ),
    ] {
        let asked = body("downstream_subgraph_search", node, &upstream);
        let line = last(&rig, "en", &asked).await;
        assert_eq!(
            line["ext"][0]["type"], "downstream_subgraph_search",
            "{row}"
        );
        let cards = line["ext"][0]["data"].as_array().expect(row);
        let got: Vec<&str> = cards.iter().filter_map(|c| c["name"].as_str()).collect();
        assert_eq!(got, names, "{row}: {line}");
        let first = &cards[0];
        assert_eq!(
            first["json"]["nodes"][0],
            json!({"id": 0, "type": node, "pos": [0, 0]}),
            "{row}"
        );
        assert_eq!(first["json"]["nodes"][1]["id"], 1, "{row}");
        let got: Vec<Value> = first["json"]["links"].as_array().expect(row).clone();
        let want: Vec<Value> = links
            .iter()
            .zip(1..)
            .map(|((origin, target, kind), id)| {
                json!({"id": id, "origin_id": 0, "origin_slot": origin, "target_id": 1,
                    "target_slot": target, "type": kind})
            })
            .collect();
        assert_eq!(got, want, "{row}");
        assert!(
            first["tags"].is_array() && first["description"].is_string(),
            "{row}"
        );
    }
}

/// A workflow as the page saves it: a sampler, what decodes its latent, what saves the image.
const LINKED: &str = r#"{"nodes":[
    {"id":1,"type":"KSampler","inputs":[{"name":"model","type":"MODEL","link":null},
        {"name":"latent_image","type":"LATENT","link":null}],
        "outputs":[{"name":"LATENT","type":"LATENT","links":[1]}],"widgets_values":[0]},
    {"id":2,"type":"VAEDecode","inputs":[{"name":"samples","type":"LATENT","link":1},{"name":"vae","type":"VAE","link":null}],
        "outputs":[{"name":"IMAGE","type":"IMAGE","links":[2]}]},
    {"id":3,"type":"SaveImage","inputs":[{"name":"images","type":"IMAGE","link":2}],"widgets_values":["x"]}],
    "links":[[1,1,0,2,0,"LATENT"],[2,2,0,3,0,"IMAGE"]]}"#;

#[tokio::test]
async fn what_people_put_behind_a_node_comes_as_a_whole_chain_first() {
    let fake = Fake::start(GRAPH).await;
    let path = "/userdata/workflows%2Fone.json";
    fake.put(path, LINKED);
    let rig = rig_with(None, Some(&fake)).await;
    settled(&rig).await;
    let asked = body("downstream_subgraph_search", "KSampler", &[]);
    let names = |line: &Value| -> Vec<String> {
        let cards = line["ext"][0]["data"].as_array().expect("cards");
        let name = |card: &Value| card["name"].as_str().unwrap_or_default().to_owned();
        cards.iter().map(name).collect()
    };
    let line = last(&rig, "en", &asked).await;
    let all = ["VAE Decode → Save Image", "VAE Decode", "Upscale Latent"];
    assert_eq!(names(&line), all, "{line}");
    let chain = &line["ext"][0]["data"][0];
    assert_eq!(chain["id"], 1);
    assert_eq!(
        chain["json"],
        json!({
            "nodes": [
                {"id": 0, "type": "KSampler", "pos": [0, 0]},
                {"id": 1, "type": "VAEDecode", "pos": [320, 0]},
                {"id": 2, "type": "SaveImage", "pos": [640, 0]},
            ],
            "links": [
                {"id": 1, "origin_id": 0, "origin_slot": 0, "target_id": 1, "target_slot": 0, "type": "LATENT"},
                {"id": 2, "origin_id": 1, "origin_slot": 0, "target_id": 2, "target_slot": 0, "type": "IMAGE"},
            ],
        })
    );
    assert!(text(&line).contains("- **VAE Decode → Save Image** (`VAEDecode`, `SaveImage`)"));

    // A file that cannot be had now costs the chain alone.
    fake.put(path, "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n");
    let line = last(&rig, "en", &asked).await;
    assert_eq!(names(&line), all[1..], "{line}");
}
