use super::*;
use crate::workflow::prompt::MAX_NODES;

fn api(workflow: &Value) -> Value {
    let mut prompt = read(workflow, &catalogue()).expect("a workflow");
    for node in prompt.nodes.values_mut() {
        node.title.clear();
    }
    prompt.to_value()
}

#[test]
fn the_apis_form_is_read_as_models_write_it() {
    let plain = Prompt::read(&good()).expect("a workflow");
    assert_eq!(plain.to_value(), good());
    let list: Vec<Value> = good()
        .as_object()
        .expect("an object")
        .iter()
        .map(|(id, node)| {
            json!({"id": id.parse::<u64>().expect("a number"), "type": node["class_type"],
            "inputs": node["inputs"], "_meta": node["_meta"]})
        })
        .collect();
    let mut remarks = good();
    remarks["description"] = json!("a cat");
    for (row, value) in [
        (
            "as ComfyUI's own request has it",
            json!({"prompt": good(), "client_id": "x"}),
        ),
        (
            "in a wrapper, as a text",
            json!({"workflow_data": good().to_string()}),
        ),
        ("a list with ids", json!(list)),
        ("a list named nodes", json!({"nodes": list})),
        ("with remarks beside the nodes", remarks),
    ] {
        assert_eq!(read(&value, &catalogue()).as_ref(), Ok(&plain), "{row}");
    }
}

#[test]
fn what_is_no_workflow_is_told_what_one_is() {
    let many: serde_json::Map<String, Value> = (0..=MAX_NODES)
        .map(|n| (n.to_string(), json!({"class_type": "KSampler"})))
        .collect();
    for (row, value, needle) in [
        ("a number", json!(5), "no workflow"),
        ("nothing", json!({}), "no workflow"),
        ("null", Value::Null, "no workflow"),
        ("prose", json!("I cannot do that"), "no workflow"),
        ("an empty list", json!([]), "no workflow"),
        (
            "an object of something else",
            json!({"a": {"b": 1}}),
            "no workflow",
        ),
        (
            "a node without a class",
            json!({"1": {"class_type": "A"}, "2": {"inputs": {}}}),
            "node 2 has no class_type",
        ),
        (
            "two nodes of one id",
            json!([{"id": 1, "type": "A"}, {"id": "1", "type": "B"}]),
            "two nodes have the id 1",
        ),
        (
            "too many nodes",
            Value::Object(many),
            "more than 2000 nodes",
        ),
        (
            "texts in texts",
            json!(json!(json!("x").to_string()).to_string()),
            "no workflow",
        ),
    ] {
        let error = read(&value, &catalogue()).expect_err(row).to_string();
        assert!(error.contains(needle), "{row}: {error}");
    }
}

/// The good one as the page saves it, with everything in it that only the page knows.
fn page() -> Value {
    json!({
        "version": 0.4,
        "nodes": [
            {"id": 3, "type": "KSampler", "mode": 0, "inputs": [
                {"name": "model", "type": "MODEL", "link": 1}, {"name": "positive", "type": "CONDITIONING", "link": 4},
                {"name": "negative", "type": "CONDITIONING", "link": 6}, {"name": "latent_image", "type": "LATENT", "link": 2},
                {"name": "steps", "type": "INT", "link": 20, "widget": {"name": "steps"}}],
                "outputs": [{"name": "LATENT", "type": "LATENT", "links": [7]}],
                "widgets_values": [5, "randomize", 99, 8.0, "euler", "normal", 1.0]},
            {"id": 4, "type": "CheckpointLoaderSimple", "outputs": [{"type": "MODEL"}, {"type": "CLIP"}, {"type": "VAE"}],
                "widgets_values": ["sd_xl_base_1.0.safetensors"]},
            {"id": 5, "type": "EmptyLatentImage", "outputs": [{"type": "LATENT"}], "widgets_values": [512, 512, 1]},
            {"id": 6, "type": "CLIPTextEncode", "inputs": [{"name": "clip", "type": "CLIP", "link": 31}],
                "outputs": [{"type": "CONDITIONING"}], "widgets_values": ["a cat"]},
            {"id": 7, "type": "CLIPTextEncode", "inputs": [{"name": "clip", "type": "CLIP", "link": 5}],
                "outputs": [{"type": "CONDITIONING"}], "widgets_values": ["blurry"]},
            {"id": 8, "type": "VAEDecode", "inputs": [{"name": "samples", "type": "LATENT", "link": 7},
                {"name": "vae", "type": "VAE", "link": 8}], "outputs": [{"type": "IMAGE"}]},
            {"id": 9, "type": "SaveImage", "inputs": [{"name": "images", "type": "IMAGE", "link": 41}],
                "widgets_values": {"filename_prefix": "ComfyUI", "videopreview": {"hidden": true}}},
            {"id": 20, "type": "PrimitiveNode", "outputs": [{"type": "INT"}], "widgets_values": [20, "fixed"]},
            {"id": 30, "type": "Reroute", "inputs": [{"name": "", "type": "*", "link": 30}], "outputs": [{"type": "CLIP"}]},
            {"id": 40, "type": "ImageInvert", "mode": 4, "inputs": [{"name": "image", "type": "IMAGE", "link": 9}],
                "outputs": [{"type": "IMAGE"}]},
            {"id": 50, "type": "SaveImage", "mode": 2, "inputs": [{"name": "images", "type": "IMAGE", "link": 42}]},
            {"id": 60, "type": "MarkdownNote", "widgets_values": ["read me"]},
            {"id": 61, "type": "Note", "widgets_values": ["me too"]},
            {"id": 62, "type": "Label (someone)", "inputs": [], "outputs": []},
            {"id": "broken"}, 7, null
        ],
        "links": [[1, 4, 0, 3, 0, "MODEL"], [2, 5, 0, 3, 3, "LATENT"], [30, 4, 1, 30, 0, "CLIP"], [31, 30, 0, 6, 0, "CLIP"],
            [4, 6, 0, 3, 1, "CONDITIONING"], [5, 4, 1, 7, 0, "CLIP"], [6, 7, 0, 3, 2, "CONDITIONING"], [7, 3, 0, 8, 0, "LATENT"],
            {"id": 8, "origin_id": 4, "origin_slot": 2, "target_id": 8, "target_slot": 1, "type": "VAE"},
            [9, 8, 0, 40, 0, "IMAGE"], [41, 40, 0, 9, 0, "IMAGE"], [42, 8, 0, 50, 0, "IMAGE"], [20, 20, 0, 3, 4, "INT"],
            ["broken"], null, [99]]
    })
}

fn untitled() -> Value {
    let mut good = good();
    let six = good["6"].as_object_mut().expect("a node");
    six.remove("_meta");
    good
}

#[test]
fn the_pages_form_becomes_the_apis() {
    assert_eq!(api(&page()), untitled());
}

#[test]
fn subgraphs_are_opened_with_the_values_that_their_node_holds() {
    let mut workflow = page();
    workflow["definitions"] = json!({"subgraphs": [{
        "id": "aaaa-bbbb", "name": "Sample",
        "inputNode": {"id": -10}, "outputNode": {"id": -20},
        "inputs": [{"name": "model", "type": "MODEL"}, {"name": "pos", "type": "CONDITIONING"}, {"name": "neg", "type": "CONDITIONING"},
            {"name": "latent", "type": "LATENT"}, {"name": "steps", "type": "INT"}],
        "outputs": [{"name": "LATENT", "type": "LATENT"}],
        "nodes": [{"id": 1, "type": "KSampler", "inputs": [
                {"name": "model", "type": "MODEL", "link": 1}, {"name": "positive", "type": "CONDITIONING", "link": 2},
                {"name": "negative", "type": "CONDITIONING", "link": 3}, {"name": "latent_image", "type": "LATENT", "link": 4},
                {"name": "steps", "type": "INT", "link": 6, "widget": {"name": "steps"}}],
            "outputs": [{"type": "LATENT"}], "widgets_values": [5, "fixed", 3, 8.0, "euler", "normal", 1.0]}],
        "links": [
            {"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 1, "target_slot": 0, "type": "MODEL"},
            {"id": 2, "origin_id": -10, "origin_slot": 1, "target_id": 1, "target_slot": 1, "type": "CONDITIONING"},
            {"id": 3, "origin_id": -10, "origin_slot": 2, "target_id": 1, "target_slot": 2, "type": "CONDITIONING"},
            {"id": 4, "origin_id": -10, "origin_slot": 3, "target_id": 1, "target_slot": 3, "type": "LATENT"},
            {"id": 6, "origin_id": -10, "origin_slot": 4, "target_id": 1, "target_slot": 4, "type": "INT"},
            {"id": 5, "origin_id": 1, "origin_slot": 0, "target_id": -20, "target_slot": 0, "type": "LATENT"}]
    }]});
    let sampler = |steps: Value| {
        json!({"id": 3, "type": "aaaa-bbbb", "inputs": [
            {"name": "model", "type": "MODEL", "link": 1}, {"name": "pos", "type": "CONDITIONING", "link": 4},
            {"name": "neg", "type": "CONDITIONING", "link": 6}, {"name": "latent", "type": "LATENT", "link": 2}],
            "outputs": [{"type": "LATENT"}], "widgets_values": steps})
    };
    for (row, node, steps) in [
        ("its own value", sampler(json!([20])), 20),
        ("none of its own: the inner one", sampler(json!([])), 3),
    ] {
        workflow["nodes"][0] = node;
        let mut want = untitled();
        let inner = want["3"].take();
        let members = want.as_object_mut().expect("an object");
        members.remove("3");
        members.insert("3:1".into(), inner);
        want["3:1"]["inputs"]["steps"] = json!(steps);
        want["8"]["inputs"]["samples"] = json!(["3:1", 0]);
        assert_eq!(api(&workflow), want, "{row}");
    }
    workflow["nodes"][0]["mode"] = json!(2);
    let muted = api(&workflow);
    assert!(muted["8"]["inputs"].get("samples").is_none() && muted.get("3:1").is_none());
}

#[test]
fn a_subgraph_within_itself_ends() {
    let own = json!({"nodes": [{"id": 1, "type": "s"}, {"id": 2, "type": "s"}],
        "definitions": {"subgraphs": [{"id": "s", "nodes": [{"id": 1, "type": "s"}, {"id": 2, "type": "s"}]}]}});
    assert!(read(&own, &catalogue()).is_err());
    let ring = json!({"nodes": [
        {"id": 1, "type": "Reroute", "inputs": [{"name": "", "type": "*", "link": 2}], "outputs": [{"type": "*"}]},
        {"id": 2, "type": "Reroute", "inputs": [{"name": "", "type": "*", "link": 1}], "outputs": [{"type": "*"}]},
        {"id": 3, "type": "SaveImage", "inputs": [{"name": "images", "type": "IMAGE", "link": 1}]}],
        "links": [[1, 1, 0, 2, 0, "*"], [2, 2, 0, 1, 0, "*"]]});
    assert_eq!(
        api(&ring),
        json!({"3": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ComfyUI"}}})
    );
}

#[test]
fn nodes_of_packs_that_pass_values_by_name_are_seen_through() {
    let workflow = json!({"nodes": [
        {"id": 1, "type": "LoadImage", "outputs": [{"type": "IMAGE"}], "widgets_values": ["me.png", "image"]},
        {"id": 2, "type": "SetNode", "inputs": [{"name": "IMAGE", "type": "IMAGE", "link": 1}], "widgets_values": ["pic"]},
        {"id": 3, "type": "GetNode", "outputs": [{"type": "IMAGE"}], "widgets_values": ["pic"]},
        {"id": 4, "type": "SaveImage", "inputs": [{"name": "images", "type": "IMAGE", "link": 2}], "widgets_values": ["x"]}],
        "links": [[1, 1, 0, 2, 0, "IMAGE"], [2, 3, 0, 4, 0, "IMAGE"]]});
    assert_eq!(
        api(&workflow),
        json!({"1": {"class_type": "LoadImage", "inputs": {"image": "me.png"}},
            "4": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}})
    );
}

#[test]
fn no_json_makes_it_panic() {
    let pieces = [
        json!(null),
        json!(-1),
        json!(1e300),
        json!("x"),
        json!([]),
        json!({}),
        json!([["a"]]),
        json!(["4", -1]),
        json!({"id": -10}),
        json!([u64::MAX, 4, u64::MAX, 3, 0]),
        json!({"__value__": [1]}),
    ];
    let catalogue = catalogue();
    // Each place of either form, with each piece in its stead.
    for whole in [page(), good()] {
        let mut pointers = Vec::new();
        collect(&whole, String::new(), &mut pointers);
        for pointer in &pointers {
            for piece in &pieces {
                let mut value = whole.clone();
                *value.pointer_mut(pointer).expect("it is there") = piece.clone();
                if let Ok(mut prompt) = read(&value, &catalogue) {
                    repair(&mut prompt, &catalogue);
                    sentences(&check(&prompt, &catalogue));
                    drop_idle(&mut prompt, &catalogue);
                    order::renumbered(&prompt);
                }
            }
        }
    }
}

fn collect(value: &Value, at: String, out: &mut Vec<String>) {
    let mut each = |name: String, inner: &Value| collect(inner, format!("{at}/{name}"), out);
    match value {
        Value::Object(members) => members.iter().for_each(|(k, v)| each(k.clone(), v)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(n, v)| each(n.to_string(), v)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    out.push(at);
}
