//! "Accept" on a card: a workflow that the page can load, with settings that it can set.

use super::*;
use crate::emulator::asking::tests::answering;

const PATH: &str = "/api/chat/get_optimized_workflow";
const CLASSES: &str = include_str!("../../../../tests/fixtures/workflow/object_info.json");

/// In the page's form, with a note and a group, and a file that is not installed.
const PAGE_FORM: &str = r#"{"nodes":[
    {"id":4,"type":"CheckpointLoaderSimple","pos":[0,0],"inputs":[],"outputs":[
        {"name":"MODEL","type":"MODEL","links":[]},{"name":"CLIP","type":"CLIP","links":[1]}],
        "widgets_values":["sd_xl_base_1.0_fp16.safetensors"]},
    {"id":6,"type":"CLIPTextEncode","pos":[300,0],"title":"Positive","inputs":[{"name":"clip","type":"CLIP","link":1}],
        "outputs":[{"name":"CONDITIONING","type":"CONDITIONING","links":[]}],"widgets_values":["a house"]},
    {"id":20,"type":"MarkdownNote","pos":[0,300],"widgets_values":["read me"]}],
    "links":[[1,4,1,6,0,"CLIP"]],"groups":[{"title":"Mine"}],"version":0.4}"#;
/// With a reroute between the two.
const REROUTED: &str = r#"{"nodes":[
    {"id":4,"type":"CheckpointLoaderSimple","inputs":[],"outputs":[
        {"name":"MODEL","type":"MODEL","links":[]},{"name":"CLIP","type":"CLIP","links":[1]}],
        "widgets_values":["sd_xl_base_1.0.safetensors"]},
    {"id":5,"type":"Reroute","inputs":[{"name":"","type":"*","link":1}],"outputs":[{"name":"","type":"*","links":[2]}]},
    {"id":6,"type":"CLIPTextEncode","inputs":[{"name":"clip","type":"CLIP","link":2}],
        "outputs":[{"name":"CONDITIONING","type":"CONDITIONING","links":[]}],"widgets_values":["a house"]}],
    "links":[[1,4,1,5,0,"CLIP"],[2,5,0,6,0,"CLIP"]],"version":0.4}"#;

async fn comfyui() -> Arc<Fake> {
    Fake::start(&[
        (
            "/system_stats",
            r#"{"system":{"comfyui_version":"0.3.64"},"devices":[]}"#,
        ),
        ("/object_info", CLASSES),
        ("/templates/one.json", PAGE_FORM),
        ("/templates/rerouted.json", REROUTED),
        ("/templates/no_workflow.json", r#"{"hello":1}"#),
        (
            "/userdata/workflows%2Fmine%2Fapi.json",
            r#"{"6":{"class_type":"CLIPTextEncode","inputs":{"text":"a house","clip":["4",1]}},
                "7":{"class_type":"NodeOfNobody","inputs":{"strength":1}}}"#,
        ),
    ])
    .await
}

fn body(id: &str, prompt: &str) -> String {
    json!({"workflow_id": id, "prompt": prompt}).to_string()
}

fn params(answer: &Value) -> Vec<Value> {
    let params = answer["data"]["optimized_params"].as_array();
    params.expect("a list").clone()
}

#[tokio::test]
async fn the_llm_s_changes_are_checked_one_by_one() {
    let text = json!(["6", "CLIPTextEncode", 0, "text", "a dog, dawn"]);
    let file = json!([
        "4",
        "CheckpointLoaderSimple",
        0,
        "ckpt_name",
        "sd_xl_base_1.0.safetensors"
    ]);
    for (row, answers, want, detail, message) in [
        (
            "one that fits, beside what a rule repairs",
            vec![r#"{"changes":[{"node":"6","setting":"text","value":"a dog, dawn"}]}"#],
            vec![&file, &text],
            "2 settings, 0 dropped",
            "",
        ),
        (
            "those that do not fit are dropped and said",
            vec![
                r#"{"changes":[{"node":6,"setting":"text","value":"a dog, dawn"},
                {"node":"6","setting":"magic","value":1},{"node":"77","setting":"text","value":"x"},
                {"node":"4","setting":"ckpt_name","value":"/etc/passwd"}]}"#,
            ],
            vec![&file, &text],
            "2 settings, 3 dropped",
            "no setting \"magic\"",
        ),
        (
            "none fits: it is asked again with the reasons",
            vec![
                r#"{"changes":[{"node":"6","setting":"prompt","value":"a dog"}]}"#,
                r#"{"changes":[{"node":"6","setting":"text","value":"a dog, dawn"}]}"#,
            ],
            vec![&file, &text],
            "2 settings, 0 dropped",
            "",
        ),
        (
            "nothing to change",
            vec![r#"{"changes":[]}"#],
            vec![&file],
            "1 settings, 0 dropped",
            "",
        ),
        (
            "nonsense: the rules alone",
            vec!["I cannot"],
            vec![&file],
            "1 settings by rule: llm_answer_unusable",
            "",
        ),
    ] {
        let (llm, fake) = (answering(&answers).await, comfyui().await);
        let rig = rig_with(Some(&llm), Some(&fake)).await;
        let (answer, told) = rig
            .post(PATH, "en", body("template:one", "draw a dog"))
            .await;
        assert_eq!(answer["success"], true, "{row}: {answer}");
        assert_eq!(params(&answer), [Value::Null; 0], "{row}");
        let nodes = answer["data"]["workflow"]["nodes"].as_array().expect(row);
        let written = |param: &Value| {
            let id: i64 = param[0].as_str().and_then(|id| id.parse().ok()).expect(row);
            let node = nodes.iter().find(|n| n["id"] == id).expect(row);
            let at = param[2].as_u64().expect(row) as usize;
            node["widgets_values"][at] == param[4]
        };
        for setting in [&file, &text] {
            assert_eq!(
                written(setting),
                want.contains(&setting),
                "{row}: {setting}"
            );
        }
        assert!(told.contains(detail), "{row}: {told}");
        let said = answer["message"].as_str().expect(row);
        assert!(
            said.contains(message) && said.is_empty() == message.is_empty(),
            "{row}: {said}"
        );
    }
}

#[tokio::test]
async fn a_workflow_comes_in_the_form_that_the_page_can_load() {
    let fake = comfyui().await;
    for (row, id, pointer, want) in [
        (
            "the page's form, with its layout",
            "template:one",
            "/nodes/1/pos",
            json!([300, 0]),
        ),
        (
            "its groups stay",
            "template:one",
            "/groups/0/title",
            json!("Mine"),
        ),
        (
            "its notes, which the page takes for missing nodes, do not",
            "template:one",
            "/nodes/2",
            Value::Null,
        ),
        (
            "with a reroute, the API's form, its link drawn through",
            "template:rerouted",
            "/2/inputs/clip",
            json!(["1", 1]),
        ),
    ] {
        let rig = rig_with(None, Some(&fake)).await;
        let (answer, _) = rig.post(PATH, "en", body(id, "")).await;
        assert_eq!(answer["success"], true, "{row}: {answer}");
        let workflow = &answer["data"]["workflow"];
        let got = workflow.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(got, want, "{row}: {workflow}");
        for param in params(&answer) {
            let node = param[0].as_str().expect(row);
            let there = workflow["nodes"].as_array().map_or_else(
                || !workflow[node].is_null(),
                |nodes| nodes.iter().any(|n| n["id"].as_u64() == node.parse().ok()),
            );
            assert!(
                there,
                "the page reads a node that is not there: {row}: {param}"
            );
        }
    }
}

#[tokio::test]
async fn one_that_was_made_for_the_request_is_given_as_it_is() {
    let (llm, fake) = (answering(&["never asked"]).await, comfyui().await);
    let rig = rig_with(Some(&llm), Some(&fake)).await;
    let workflow = json!({"1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a dog"}}});
    let key = rig.made.keep(crate::emulator::Made {
        name: "Dogs".into(),
        workflow: workflow.clone(),
    });
    let id = format!("generated:{}", key.expect("it is small"));
    let (answer, _) = rig.post(PATH, "en", body(&id, "draw a dog")).await;
    assert_eq!(answer["data"]["workflow"], workflow);
    assert_eq!(params(&answer), Vec::<Value>::new());
    assert!(
        !llm.seen
            .lock()
            .iter()
            .any(|seen| seen.head.starts_with("POST"))
    );
}

#[tokio::test]
async fn the_card_of_one_that_was_made_has_a_drawn_picture() {
    let rig = rig_with(None, None).await;
    let key = rig.made.keep(crate::emulator::Made {
        name: "Dogs".into(),
        workflow: json!({"1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a dog"}}}),
    });
    let path = crate::emulator::made::picture_of(&key.expect("it is small"));
    for (row, method, path, status, kind) in [
        (
            "as an img element asks",
            "GET",
            path.as_str(),
            200,
            "image/svg+xml",
        ),
        ("a look ahead", "HEAD", path.as_str(), 200, "image/svg+xml"),
        (
            "one that is forgotten",
            "GET",
            "/api/chat/picture/0a.svg",
            404,
            "",
        ),
        (
            "a wrong method",
            "POST",
            path.as_str(),
            405,
            "application/json",
        ),
    ] {
        let response = rig
            .responder
            .handle(request(HOST, method, path, &[], ""))
            .await;
        assert_eq!(response.status(), status, "{row}");
        assert_eq!(header(&response, "content-type"), kind, "{row}");
        if status == 200 {
            assert_eq!(
                header(&response, "x-content-type-options"),
                "nosniff",
                "{row}"
            );
            let policy = header(&response, "content-security-policy");
            assert_eq!(policy, "default-src 'none'; sandbox", "{row}");
        }
        if (method, status) == ("GET", 200) {
            let svg = body_text(response).await;
            assert!(svg.contains(">CLIPTextEncode</text>"), "{svg}");
            assert!(!svg.contains("a dog"), "values are not drawn: {svg}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_loaded_is_said_in_words() {
    let fake = comfyui().await;
    for (row, on, body, says) in [
        (
            "the vendor's own number",
            true,
            r#"{"workflow_id":31809,"prompt":"x"}"#.to_owned(),
            NO_ID.en,
        ),
        ("no id", true, "{}".to_owned(), NO_ID.en),
        (
            "a template that is gone",
            true,
            body("template:gone", "x"),
            GONE.en,
        ),
        (
            "the API's form with a class that is missing",
            true,
            body("saved:mine/api.json", "x"),
            "not installed here: NodeOfNobody.",
        ),
        (
            "a path that climbs",
            true,
            body("saved:../../x.json", "x"),
            GONE.en,
        ),
        (
            "one that was made and is forgotten",
            true,
            body("generated:7", "x"),
            GONE.en,
        ),
        (
            "a file that is none",
            true,
            body("template:no_workflow", "x"),
            "no workflow that Airlock can read",
        ),
        (
            "no ComfyUI",
            false,
            body("template:one", "x"),
            "`comfyui.url` is off",
        ),
    ] {
        let rig = rig_with(None, on.then_some(&*fake)).await;
        let (answer, _) = rig.post(PATH, "en", body).await;
        assert_eq!(answer["success"], false, "{row}");
        assert_eq!(answer["data"], Value::Null, "{row}");
        let words = answer["message"].as_str().expect(row);
        assert!(words.contains(says), "{row}: {words}");
    }
    assert_eq!(fake.asked("/userdata/workflows%2F..%2F..%2Fx.json"), 0);
}

#[tokio::test]
async fn missing_nodes_come_with_the_repository_that_a_list_knows() {
    let rig = rig().await;
    let folder = rig
        ._state
        .path()
        .join("comfyui/custom_nodes/ComfyUI-Manager");
    std::fs::create_dir_all(&folder).expect("folders");
    std::fs::write(
        folder.join("extension-node-map.json"),
        r#"{"https://github.com/ann/pack":[["Theirs"],{}],"javascript:alert(1)":[["Hostile"],{}]}"#,
    )
    .expect("a file");
    let body = json!({"node_types": ["Theirs", "Nobody's", "Hostile", "x".repeat(300)]});
    let path = "/api/chat/get_node_info_by_types";
    let (answer, told) = rig.post(path, "en", body.to_string()).await;
    let want = json!([
        {"name": "Theirs", "github_url": "https://github.com/ann/pack"},
        {"name": "Nobody's", "github_url": ""},
        {"name": "Hostile", "github_url": ""},
    ]);
    assert_eq!(answer["data"], want);
    assert_eq!(told, "1 of 3 repositories known");
}
