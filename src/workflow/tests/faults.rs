use super::*;
use crate::workflow::check::accepted;

#[test]
fn a_good_workflow_has_no_fault() {
    assert_eq!(sentences(&check(&with(&[]), &catalogue())), [""; 0]);
}

#[test]
fn each_fault_names_its_place_and_what_would_be_right() {
    let input = |node: &str, name: &str| format!("/{node}/inputs/{name}");
    let sampler = |name: &str, value: Value| vec![(input("3", name), value)];
    for (row, changes, want) in [
        (
            "a class that is not installed",
            vec![("/8/class_type".to_owned(), json!("VAEDecodeX"))],
            "node 8 (VAEDecodeX): this class is not installed: use one that is, perhaps VAEDecode, VAEEncode",
        ),
        (
            "a required link is missing",
            vec![(input("8", "vae"), Value::Null)],
            r#"node 8 (VAEDecode), input "vae": it is required and missing: give it a link from an output of type VAE, such as ["4", 2]"#,
        ),
        (
            "a required link is missing, and nothing makes such a thing",
            vec![
                (
                    "/8".into(),
                    json!({"class_type": "ImageUpscaleWithModel", "inputs": {"image": ["10", 0]}}),
                ),
                (
                    "/10".into(),
                    json!({"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}}),
                ),
            ],
            r#"node 8 (ImageUpscaleWithModel), input "upscale_model": it is required and missing: give it a link from an output of type UPSCALE_MODEL; no node of this workflow has one, so add one that does"#,
        ),
        (
            "a required value is missing",
            sampler("steps", Value::Null),
            r#"node 3 (KSampler), input "steps": it is required and missing: give it a value of type INT"#,
        ),
        (
            "a link to nowhere",
            sampler("model", json!(["44", 0])),
            r#"node 3 (KSampler), input "model": it is linked to node 44, which is not there: add that node or link another one"#,
        ),
        (
            "an output that is not there",
            sampler("model", json!(["4", 3])),
            r#"node 3 (KSampler), input "model": it is linked to output 3 of node 4 (CheckpointLoaderSimple), which has only 0 MODEL, 1 CLIP, 2 VAE"#,
        ),
        (
            "an output by its name",
            sampler("model", json!(["4", "MODEL"])),
            r#"node 3 (KSampler), input "model": it is linked to output "MODEL" of node 4 (CheckpointLoaderSimple), which has only 0 MODEL, 1 CLIP, 2 VAE"#,
        ),
        (
            "another type",
            sampler("model", json!(["4", 2])),
            r#"node 3 (KSampler), input "model": it takes MODEL, and the link brings VAE, such as ["4", 0]"#,
        ),
        (
            "a list that is no link",
            sampler("model", json!([["4", 0]])),
            r#"node 3 (KSampler), input "model": this is a list, but no link: a link is ["node id", number of the output], counted from 0"#,
        ),
        (
            "a value for a link",
            sampler("model", json!("sdxl")),
            r#"node 3 (KSampler), input "model": it takes a link from an output of type MODEL, not a value, such as ["4", 0]"#,
        ),
        (
            "a value that is not in a short list",
            sampler("scheduler", json!("linear")),
            r#"node 3 (KSampler), input "scheduler": "linear" is not allowed: use simple, normal, karras"#,
        ),
        (
            "a file that is not there",
            vec![(input("4", "ckpt_name"), json!("flux.safetensors"))],
            r#"node 4 (CheckpointLoaderSimple), input "ckpt_name": the file "flux.safetensors" is not installed: use sd15/dreamshaper_8.safetensors, sd_xl_base_1.0.safetensors"#,
        ),
        (
            "a number that is none",
            sampler("steps", json!("many")),
            r#"node 3 (KSampler), input "steps": it takes a whole number, not "many""#,
        ),
        (
            "a fraction for a whole number",
            sampler("steps", json!(20.5)),
            r#"node 3 (KSampler), input "steps": it takes a whole number, not 20.5"#,
        ),
        (
            "below",
            sampler("steps", json!(0)),
            r#"node 3 (KSampler), input "steps": 0 is out of bounds: use 1 to 10000"#,
        ),
        (
            "above",
            sampler("denoise", json!(1.5)),
            r#"node 3 (KSampler), input "denoise": 1.5 is out of bounds: use 0 to 1"#,
        ),
        (
            "a text that is none",
            vec![(input("6", "text"), json!({"a": 1}))],
            r#"node 6 (CLIPTextEncode), input "text": it takes a text, not {"a":1}"#,
        ),
        (
            "nothing that is saved",
            vec![("/9".into(), Value::Null)],
            "no node gives a result: end with one that saves or shows it, such as SaveImage",
        ),
        (
            "an input that the class has not",
            sampler("sampler", json!("euler")),
            r#"node 3 (KSampler), input "sampler": the class has no such input: it has none"#,
        ),
        (
            "a link to nowhere in an input that the class has not",
            sampler("extra", json!(["77", 0])),
            r#"node 3 (KSampler), input "extra": it is linked to node 77, which is not there: add that node or link another one"#,
        ),
        (
            "a node that nothing needs",
            vec![(
                "/10".into(),
                json!({"class_type": "LoadImage", "inputs": {"image": "me.png"}}),
            )],
            "node 10 (LoadImage): nothing that is saved or shown needs it: link one of its outputs, or take it out",
        ),
    ] {
        let changes: Vec<(&str, Value)> = changes
            .iter()
            .map(|(p, v)| (p.as_str(), v.clone()))
            .collect();
        let faults = sentences(&check(&with(&changes), &catalogue()));
        assert_eq!(faults, [want], "{row}");
    }
}

#[test]
fn what_comfyui_would_take_is_taken() {
    let either = |inputs: Value| {
        (
            ("/10").to_owned(),
            json!({"class_type": "SaveEither", "inputs": inputs}),
        )
    };
    for (row, changes) in [
        (
            "one of two types",
            vec![either(json!({"what": ["8", 0], "loud": true}))],
        ),
        (
            "any type",
            vec![(
                "/10".into(),
                json!({"class_type": "PreviewAny", "inputs": {"source": ["3", 0]}}),
            )],
        ),
        (
            "several of a list, a number of one, and a linked value",
            vec![either(
                json!({"what": ["8", 0], "loud": false, "tags": {"__value__": ["a", "b"]}, "count": 4}),
            )],
        ),
        (
            "the largest seed",
            vec![("/3/inputs/seed".into(), json!(u64::MAX))],
        ),
        (
            "a whole number for a fraction",
            vec![("/3/inputs/cfg".into(), json!(7))],
        ),
    ] {
        let changes: Vec<(&str, Value)> = changes
            .iter()
            .map(|(p, v)| (p.as_str(), v.clone()))
            .collect();
        assert_eq!(
            sentences(&check(&with(&changes), &catalogue())),
            [""; 0],
            "{row}"
        );
    }
}

#[test]
fn a_ring_is_told_in_its_order_and_blocks() {
    let ring = with(&[
        (
            "/10",
            json!({"class_type": "ImageInvert", "inputs": {"image": ["11", 0]}}),
        ),
        (
            "/11",
            json!({"class_type": "ImageInvert", "inputs": {"image": ["12", 0]}}),
        ),
        (
            "/12",
            json!({"class_type": "ImageInvert", "inputs": {"image": ["10", 0]}}),
        ),
        ("/9/inputs/images", json!(["10", 0])),
        ("/3", Value::Null),
        ("/8", Value::Null),
    ]);
    let faults = check(&ring, &catalogue());
    let told = sentences(&faults);
    assert!(
        told[0].starts_with("the nodes 12 -> 11 -> 10 feed each other in a ring"),
        "{told:?}"
    );
    assert!(!accepted(&faults));
    let own = with(&[
        ("/8/class_type", json!("ImageInvert")),
        ("/8/inputs", json!({"image": ["8", 0]})),
    ]);
    assert!(
        !accepted(&check(&own, &catalogue())),
        "a node that feeds itself"
    );
}

#[test]
fn remarks_do_not_block_and_everything_else_does() {
    let idle = with(&[(
        "/10",
        json!({"class_type": "LoadImage", "inputs": {"image": "gone.png"}}),
    )]);
    let faults = check(&idle, &catalogue());
    assert!(
        accepted(&faults) && faults.len() == 1,
        "ComfyUI never looks at it"
    );
    let lora = with(&[
        (
            "/10",
            json!({"class_type": "LoraLoader", "inputs": {"model": ["4", 0], "clip": ["4", 1],
            "lora_name": "x.safetensors", "strength_model": 1, "strength_clip": 1}}),
        ),
        ("/3/inputs/model", json!(["10", 0])),
    ]);
    let faults = check(&lora, &catalogue());
    assert!(!accepted(&faults));
    assert_eq!(
        sentences(&faults),
        [
            r#"node 10 (LoraLoader), input "lora_name": the file "x.safetensors" is not installed, and ComfyUI lists no other for this input"#
        ]
    );
}
