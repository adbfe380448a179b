use super::*;
use crate::workflow::check::accepted;

#[test]
fn slips_are_made_good_and_told() {
    for (row, changes, want) in [
        (
            "case and blanks of a class",
            vec![("/3/class_type", json!("k sampler"))],
            r#"node 3 (KSampler): read "k sampler" as this class"#,
        ),
        (
            "the page's name of a class",
            vec![("/4/class_type", json!("Load Checkpoint"))],
            r#"node 4 (CheckpointLoaderSimple): read "Load Checkpoint" as this class"#,
        ),
        (
            "an input's name",
            vec![
                ("/3/inputs/latent_image", Value::Null),
                ("/3/inputs/latentImage", json!(["5", 0])),
            ],
            r#"node 3 (KSampler), input "latent_image": read "latentImage" as this input"#,
        ),
        (
            "a number as a text",
            vec![("/3/inputs/steps", json!("20"))],
            r#"node 3 (KSampler), input "steps": read "20" as 20"#,
        ),
        (
            "a fraction for a whole number",
            vec![("/3/inputs/steps", json!(19.6))],
            r#"node 3 (KSampler), input "steps": read 19.6 as 20"#,
        ),
        (
            "below the bounds",
            vec![("/3/inputs/seed", json!(-1))],
            r#"node 3 (KSampler), input "seed": -1 is out of bounds, took 0"#,
        ),
        (
            "above the bounds, at the end of what there is",
            vec![("/3/inputs/seed", json!(1e30))],
            r#"node 3 (KSampler), input "seed": 1e+30 is out of bounds, took 18446744073709551615"#,
        ),
        (
            "a sampler as people write it",
            vec![("/3/inputs/sampler_name", json!("Euler Ancestral"))],
            r#"node 3 (KSampler), input "sampler_name": read "Euler Ancestral" as "euler_ancestral""#,
        ),
        (
            "a number where a text belongs",
            vec![("/6/inputs/text", json!(1984))],
            r#"node 6 (CLIPTextEncode), input "text": read 1984 as "1984""#,
        ),
        (
            "a value that is missing",
            vec![("/3/inputs/denoise", Value::Null)],
            r#"node 3 (KSampler), input "denoise": was missing, took 1.0"#,
        ),
        (
            "a choice that is missing",
            vec![("/3/inputs/scheduler", Value::Null)],
            r#"node 3 (KSampler), input "scheduler": was missing, took "simple""#,
        ),
        (
            "a wrong output of the right node",
            vec![("/8/inputs/vae", json!(["4", 0]))],
            r#"node 8 (VAEDecode), input "vae": linked to output 2 of node 4, the only one that fits"#,
        ),
        (
            "an output by its name",
            vec![("/6/inputs/clip", json!([4, "clip"]))],
            r#"node 6 (CLIPTextEncode), input "clip": linked to output 1 of node 4, the only one that fits"#,
        ),
        (
            "a link that is missing where one output would do",
            vec![("/8/inputs/vae", Value::Null)],
            r#"node 8 (VAEDecode), input "vae": linked to output 2 of node 4, the only one that fits"#,
        ),
        (
            "a file in another folder",
            vec![("/4/inputs/ckpt_name", json!("dreamshaper_8.safetensors"))],
            r#"node 4 (CheckpointLoaderSimple), input "ckpt_name": "dreamshaper_8.safetensors" is not installed, took sd15/dreamshaper_8.safetensors, the most similar that is installed"#,
        ),
        (
            "a file that is like another",
            vec![("/4/inputs/ckpt_name", json!("sd_xl_base_0.9.safetensors"))],
            r#"node 4 (CheckpointLoaderSimple), input "ckpt_name": "sd_xl_base_0.9.safetensors" is not installed, took sd_xl_base_1.0.safetensors, the most similar that is installed"#,
        ),
    ] {
        let mut prompt = with(&changes);
        let told = sentences(&repair(&mut prompt, &catalogue()));
        assert_eq!(told, [want], "{row}");
        assert_eq!(sentences(&check(&prompt, &catalogue())), [""; 0], "{row}");
        assert_eq!(
            sentences(&repair(&mut prompt, &catalogue())),
            [""; 0],
            "{row}: once is enough"
        );
    }
}

#[test]
fn ids_and_slots_as_texts_and_numbers_are_links() {
    let prompt = with(&[("/8/inputs", json!({"samples": [3, "0"], "vae": ["4", 2]}))]);
    assert_eq!(prompt, with(&[]));
}

#[test]
fn what_has_two_answers_is_left_to_be_asked() {
    for (row, changes) in [
        (
            "either text could be meant",
            vec![("/3/inputs/positive", Value::Null)],
        ),
        (
            "no file is like it",
            vec![("/4/inputs/ckpt_name", json!("hunyuan.safetensors"))],
        ),
        (
            "two files, and none is named",
            vec![("/4/inputs/ckpt_name", Value::Null)],
        ),
        (
            "no sampler is like it",
            vec![("/3/inputs/sampler_name", json!("magic"))],
        ),
        (
            "a class that is like no other",
            vec![("/8/class_type", json!("IPAdapter"))],
        ),
        (
            "two classes are as near",
            vec![("/8/class_type", json!("VAEcode"))],
        ),
        ("words for a number", vec![("/3/inputs/cfg", json!("high"))]),
    ] {
        let mut prompt = with(&changes);
        repair(&mut prompt, &catalogue());
        assert!(!accepted(&check(&prompt, &catalogue())), "{row}");
    }
}

#[test]
fn flags_only_files_and_the_users_own_pictures() {
    let mut prompt = with(&[
        (
            "/10",
            json!({"class_type": "LoadImage", "inputs": {"image": "cat.png"}}),
        ),
        (
            "/11",
            json!({"class_type": "UpscaleModelLoader", "inputs": {"model_name": "4x-UltraSharp.pth"}}),
        ),
        (
            "/12",
            json!({"class_type": "ImageUpscaleWithModel", "inputs": {"upscale_model": ["11", 0], "image": ["10", 0]}}),
        ),
        (
            "/13",
            json!({"class_type": "SaveEither", "inputs": {"what": ["12", 0], "loud": "False", "count": "4"}}),
        ),
    ]);
    assert_eq!(
        sentences(&repair(&mut prompt, &catalogue())),
        [
            r#"node 10 (LoadImage), input "image": "cat.png" is not among the user's files, took "example.png": choose your own"#,
            r#"node 11 (UpscaleModelLoader), input "model_name": "4x-UltraSharp.pth" is not installed, took RealESRGAN_x4plus.pth, the only one that is installed"#,
            r#"node 13 (SaveEither), input "loud": read "False" as false"#,
            r#"node 13 (SaveEither), input "count": read "4" as 4"#,
        ]
    );
    assert_eq!(sentences(&check(&prompt, &catalogue())), [""; 0]);
}

#[test]
fn what_no_result_needs_is_taken_out_last_and_ids_follow_the_work() {
    let mut prompt = with(&[
        (
            "/10",
            json!({"class_type": "LoadImage", "inputs": {"image": "me.png"}}),
        ),
        (
            "/11",
            json!({"class_type": "NotThere", "inputs": {"image": ["10", 0]}}),
        ),
    ]);
    assert_eq!(
        sentences(&drop_idle(&mut prompt, &catalogue())),
        [
            "node 10 (LoadImage): taken out, as no result needs it",
            "node 11 (NotThere): taken out, as no result needs it"
        ]
    );
    assert_eq!(prompt, with(&[]));
    let renumbered = order::renumbered(&prompt);
    let classes: Vec<&str> = renumbered
        .nodes
        .values()
        .map(|n| n.class.as_str())
        .collect();
    assert_eq!(
        classes,
        [
            "CheckpointLoaderSimple",
            "EmptyLatentImage",
            "CLIPTextEncode",
            "CLIPTextEncode",
            "KSampler",
            "VAEDecode",
            "SaveImage"
        ]
    );
    assert_eq!(sentences(&check(&renumbered, &catalogue())), [""; 0]);
    for (id, node) in &renumbered.nodes {
        assert!(node.links().all(|(_, from, _)| from < id), "{id}");
    }
    let mut none = with(&[("/9", Value::Null)]);
    assert_eq!(
        sentences(&drop_idle(&mut none, &catalogue())),
        [""; 0],
        "all would go"
    );
}

#[test]
fn two_nodes_are_not_linked_to_each_other() {
    let mut prompt = with(&[
        ("/3", Value::Null),
        ("/8", Value::Null),
        ("/10", json!({"class_type": "ImageInvert", "inputs": {}})),
        ("/11", json!({"class_type": "ImageInvert", "inputs": {}})),
        ("/9/inputs/images", json!(["11", 0])),
    ]);
    let told = sentences(&repair(&mut prompt, &catalogue()));
    assert!(order::ring(&prompt).is_empty(), "{told:?}");
    assert_eq!(
        told,
        [
            r#"node 10 (ImageInvert), input "image": linked to output 0 of node 11, the only one that fits"#
        ]
    );
}
