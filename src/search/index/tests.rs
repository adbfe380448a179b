use super::*;
use crate::comfy::{Docs, Model, Nodes, Parts, SavedWorkflow, Template, Uses};

fn catalogue() -> Catalogue {
    let nodes = br#"{
        "KSampler":{"display_name":"KSampler","category":"sampling","description":"Uses the provided model to denoise the latent image."},
        "KSamplerAdvanced":{"display_name":"KSampler (Advanced)","category":"sampling"},
        "CLIPTextEncode":{"display_name":"CLIP Text Encode (Prompt)","category":"conditioning","description":"Encodes a text prompt using a CLIP model."},
        "ImageScale":{"display_name":"Upscale Image","category":"image/upscaling"},
        "ImageUpscaleWithModel":{"display_name":"Upscale Image (using Model)","category":"image/upscaling"},
        "VAEDecode":{"display_name":"VAE Decode","category":"latent","description":"Decodes latent images back into pixel space images."},
        "LoadImage":{"display_name":"Load Image","category":"image"},
        "OldKSampler":{"display_name":"KSampler old","deprecated":true},
        "ImageInvert":{"display_name":"Invert Image","category":"image"}
    }"#;
    let words = |en: &str, zh: &str| Words {
        en: en.into(),
        zh: zh.into(),
    };
    let template = |name: &str, title: Words, description: Words, is_api: bool| Template {
        name: name.into(),
        title,
        description,
        is_api,
        ..Template::default()
    };
    let mut parts = Parts {
        nodes: Nodes::read(nodes).expect("an object").nodes,
        templates: vec![
            template(
                "default",
                words("Image Generation", "图像生成"),
                words(
                    "Generate images from text prompts.",
                    "通过文本提示生成图像。",
                ),
                false,
            ),
            template(
                "inpaint_example",
                words("Inpaint", "局部重绘"),
                words("Edit specific parts of images.", "编辑图像的特定部分。"),
                false,
            ),
            template(
                "api_kling",
                words("Kling: Image Generation", ""),
                words("Generate images.", ""),
                true,
            ),
        ],
        saved: vec![SavedWorkflow {
            path: "mine/cat portrait.json".into(),
            uses: Uses {
                classes: vec!["KSampler".into()],
                ..Uses::default()
            },
        }],
        models: vec![Model {
            folder: "checkpoints".into(),
            name: "sd_xl_base_1.0.safetensors".into(),
        }],
        ..Parts::default()
    };
    let docs = Docs {
        en: "Scales pictures with lanczos.".into(),
        zh: "该节点用于缩放图像，支持双线性插值。".into(),
    };
    parts.docs.insert("ImageScale".into(), docs);
    Catalogue::new(parts)
}

fn name(catalogue: &Catalogue, hit: &Hit) -> String {
    match hit.what {
        What::Node => catalogue.nodes()[hit.at].class.clone(),
        What::Template => catalogue.templates()[hit.at].name.clone(),
        What::Saved => catalogue.saved()[hit.at].path.clone(),
        What::Model => catalogue.models()[hit.at].name.clone(),
    }
}

fn found(query: &str, kinds: &[What]) -> Vec<String> {
    let catalogue = catalogue();
    let index = SearchIndex::build(&catalogue, |_| ()).expect("it fits into memory");
    let hits = index.search(query, kinds, 10);
    hits.iter().map(|hit| name(&catalogue, hit)).collect()
}

#[test]
fn people_find_nodes_however_they_write_them() {
    for (row, query, first) in [
        ("the class", "CLIPTextEncode", "CLIPTextEncode"),
        ("in lower case", "ksampler", "KSampler"),
        ("its parts", "clip text encode", "CLIPTextEncode"),
        ("two parts as one", "textencode", "CLIPTextEncode"),
        ("a title", "load image", "LoadImage"),
        ("the beginning of a word", "lancz", "ImageScale"),
        ("a letter too few", "invrt", "ImageInvert"),
        ("two letters changed over", "sampelr", "KSampler"),
        ("what it does", "decode latent to pixels", "VAEDecode"),
        ("a synonym", "enlarge picture", "ImageScale"),
        ("a word of its docs", "lanczos", "ImageScale"),
        ("Chinese words that no node has", "采样器", "KSampler"),
        ("a word of its Chinese docs", "双线性插值", "ImageScale"),
        ("Chinese and English", "加载 image", "LoadImage"),
    ] {
        let names = found(query, &[What::Node]);
        assert_eq!(
            names.first().map(String::as_str),
            Some(first),
            "{row}: {names:?}"
        );
    }
}

#[test]
fn templates_are_found_in_both_languages_and_paid_ones_come_later() {
    for (query, first) in [
        ("image generation", "default"),
        ("文生图", "default"),
        ("图像生成", "default"),
        ("局部重绘", "inpaint_example"),
        ("inpainting", "inpaint_example"),
        ("kling", "api_kling"),
    ] {
        let names = found(query, &[What::Template]);
        assert_eq!(
            names.first().map(String::as_str),
            Some(first),
            "{query}: {names:?}"
        );
    }
}

#[test]
fn results_are_of_the_kinds_that_were_asked_for() {
    let names = found("ksampler", &[What::Saved]);
    assert_eq!(names, ["mine/cat portrait.json"], "by the nodes in it");
    assert_eq!(
        found("sdxl", &[What::Model]),
        ["sd_xl_base_1.0.safetensors"]
    );
    assert_eq!(found("portrait", &What::ALL), ["mine/cat portrait.json"]);
    assert!(found("ksampler", &[]).is_empty());
    let names = found("ksampler", &[What::Node]);
    assert_eq!(
        names.last().map(String::as_str),
        Some("OldKSampler"),
        "deprecated: {names:?}"
    );
}

#[test]
fn queries_of_any_kind_are_bounded_and_find_nothing_at_worst() {
    let catalogue = catalogue();
    let index = SearchIndex::build(&catalogue, |_| ()).expect("it fits into memory");
    for query in [
        "",
        "   ",
        "!!! ???",
        "the of and",
        "\u{0}\u{7f}",
        &"a ".repeat(5000),
        &"本".repeat(3000),
        &"x".repeat(1 << 16),
        "field:name AND (broken",
        "\u{202e}KSampler\u{200d}",
    ] {
        assert!(index.search(query, &What::ALL, 1000).len() <= 100);
    }
    assert!(index.search("ksampler", &What::ALL, 0).is_empty());
    let empty = SearchIndex::build(&Catalogue::default(), |_| ()).expect("nothing fits, too");
    assert!(empty.is_empty() && empty.search("ksampler", &What::ALL, 5).is_empty());
}

#[test]
fn building_tells_how_far_it_is() {
    let mut told = Vec::new();
    let index = SearchIndex::build(&catalogue(), |n| told.push(n)).expect("it fits into memory");
    assert_eq!(told.last(), Some(&index.len()));
    assert_eq!(index.len(), 14);
    assert!(index.bytes() > 0);
}
