use super::*;
use serde_json::json;

#[test]
fn the_index_is_read_in_two_languages_and_broken_entries_are_counted() {
    let english = json!([
        {"title": "Image", "templates": [
            {"name": "flux_dev", "title": "Flux Dev", "description": "Text to image.",
             "mediaType": "image", "mediaSubtype": "webp", "tags": ["Text to Image", 5, "Image"],
             "models": ["Flux"]},
            {"name": "../x", "title": "out of its folder"},
            {"title": "nameless"},
            null,
            {"name": "bare"},
        ]},
        {"title": "Video API", "templates": [{"name": "kling", "mediaSubtype": "mp3"}]},
        {"title": 3, "templates": "none"},
        {"title": "Again", "templates": [{"name": "flux_dev"}]},
    ]);
    let chinese = json!([
        {"title": "图像", "templates": [{"name": "flux_dev", "title": "Flux 开发版", "tags": ["文生图", "图像"]}]},
    ]);
    let mut left_out = LeftOut::default();
    let templates = Template::read_index(&english, Some(&chinese), &mut left_out);
    let names: Vec<_> = templates.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(
        (names, left_out.templates),
        (vec!["flux_dev", "bare", "kling"], 3)
    );
    let flux = &templates[0];
    assert_eq!(flux.title.either(true), "Flux 开发版");
    assert_eq!(flux.description.either(true), "Text to image.");
    assert_eq!(flux.group.zh, "图像");
    assert_eq!((flux.tags.len(), flux.tags[0].zh.as_str()), (2, "文生图"));
    assert_eq!(flux.picture(), "/templates/flux_dev-1.webp");
    assert_eq!(templates[1].title.en, "bare");
    assert!(templates[2].is_api && !flux.is_api);
    assert_eq!(templates[2].picture(), "", "a sound has no picture");
    assert!(Template::read_index(&json!({}), None, &mut left_out).is_empty());
}

#[test]
fn what_a_workflow_uses_is_seen_in_both_forms() {
    let page = json!({
        "nodes": [
            {"type": "KSampler"}, {"type": "KSampler"}, {"type": "Note", "widgets_values": ["read me"]},
            {"type": "MarkdownNote", "widgets_values": 7}, {"type": "Reroute"}, {"type": "9e0f-sub"},
            {"type": "CheckpointLoaderSimple", "properties": {"models": [
                {"name": "a.safetensors", "url": "https://h/a", "directory": "checkpoints"},
                {"name": "b.safetensors"}, "x"]}},
            {"no": "type"}, 5,
        ],
        "definitions": {"subgraphs": [{"id": "9e0f-sub", "nodes": [{"type": "VAEDecode"}]}, 3]},
    });
    let uses = Uses::of(&page);
    assert_eq!(
        uses.classes,
        ["CheckpointLoaderSimple", "KSampler", "VAEDecode"]
    );
    assert_eq!(uses.notes, "read me\n");
    assert_eq!(uses.files.len(), 1);
    let api =
        json!({"1": {"class_type": "KSampler", "inputs": {}}, "2": {"class_type": 4}, "3": []});
    assert_eq!(Uses::of(&api).classes, ["KSampler"]);
    for odd in [
        json!(null),
        json!([]),
        json!({"nodes": {}}),
        json!({"nodes": [[]]}),
    ] {
        assert_eq!(Uses::of(&odd), Uses::default(), "{odd}");
    }
}

#[test]
fn a_picture_of_an_odd_name_stays_in_its_folder() {
    let template = |name: &str| Template {
        name: name.into(),
        preview: "webp".into(),
        ..Template::default()
    };
    assert_eq!(template("a b&c").picture(), "/templates/a%20b%26c-1.webp");
}
