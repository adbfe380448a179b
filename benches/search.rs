//! Search over the largest ComfyUI that is planned for: 5,000 nodes and 500 templates.

#![allow(clippy::expect_used, reason = "a bench that cannot run must say so")]

use std::{
    fmt::Write,
    hint::black_box,
    time::{Duration, Instant},
};

use airlock::{
    comfy::{Catalogue, Docs, Nodes, Parts, Template, Words},
    search::{SearchIndex, What},
};
use criterion::{Criterion, criterion_group, criterion_main};

const VERBS: [&str; 20] = [
    "Load", "Save", "Upscale", "Crop", "Blend", "Mask", "Encode", "Decode", "Sample", "Merge",
    "Preview", "Convert", "Resize", "Rotate", "Invert", "Apply", "Combine", "Switch", "Batch",
    "Detect",
];
const NOUNS: [&str; 25] = [
    "Image",
    "Latent",
    "Model",
    "Mask",
    "Video",
    "Audio",
    "Prompt",
    "Conditioning",
    "ControlNet",
    "Lora",
    "Vae",
    "Clip",
    "Noise",
    "Sigmas",
    "Depth",
    "Pose",
    "Face",
    "Text",
    "Float",
    "Scheduler",
    "Sampler",
    "Checkpoint",
    "Background",
    "Frame",
    "Color",
];
const QUERIES: [&str; 12] = [
    "KSampler",
    "upscale image with model",
    "load checkpoint",
    "inpainting mask blur",
    "controlnet pose depth",
    "sampelr shceduler",
    "convrt backgruond",
    "enc",
    "图像放大",
    "加载模型 采样器",
    "text to video",
    "remove background from portrait photo and save it with a preview",
];

/// Names as packs of custom nodes give them, with docs for one in five.
fn catalogue(nodes: usize, templates: usize) -> Catalogue {
    let mut json = String::from("{");
    let mut parts = Parts::default();
    for n in 0..nodes {
        let (verb, noun) = (VERBS[n % 20], NOUNS[n / 20 % 25]);
        let class = format!("{verb}{noun}Pack{}", n / 500);
        let _ = write!(
            json,
            "{}\"{class}\":{{\"display_name\":\"{verb} {noun} ({})\",\"category\":\"pack{}/{noun}\",\
             \"description\":\"{verb}s the {noun} that is given, with strength, seed and threshold {n}.\",\
             \"input\":{{\"required\":{{\"image\":[\"IMAGE\"],\"strength\":[\"FLOAT\"],\"seed\":[\"INT\"]}}}},\
             \"output\":[\"{noun}\"],\"output_name\":[\"{noun}\"]}}",
            if n == 0 { "" } else { "," },
            n / 500,
            n / 500,
        );
        if n % 5 == 0 {
            let en = format!("The {class} node {verb}s a {noun}. ").repeat(40);
            let zh = format!("此节点用于处理图像和{n}号模型，支持采样与放大。").repeat(30);
            parts.docs.insert(class, Docs { en, zh });
        }
    }
    json.push('}');
    parts.nodes = Nodes::read(json.as_bytes()).expect("an object").nodes;
    for n in 0..templates {
        let (verb, noun) = (VERBS[n % 20], NOUNS[n / 20]);
        parts.templates.push(Template {
            name: format!("{verb}_{noun}_{n}"),
            title: Words {
                en: format!("{noun} to {verb}"),
                zh: "图像生成视频".into(),
            },
            description: Words {
                en: format!("{verb} a {noun} from a text prompt, then upscale it."),
                zh: "通过文本提示生成图像，然后放大。".into(),
            },
            ..Template::default()
        });
    }
    Catalogue::new(parts)
}

fn searches(c: &mut Criterion) {
    let large = catalogue(5_000, 500);
    let index = SearchIndex::build(&large, |_| ()).expect("it fits into memory");
    println!(
        "{} documents, {} bytes of index",
        index.len(),
        index.bytes()
    );
    told_p99(&index);
    let mut group = c.benchmark_group("search");
    for query in QUERIES {
        group.bench_function(query, |b| {
            b.iter(|| index.search(black_box(query), &[What::Node], 8).len());
        });
    }
    group.bench_function("over everything", |b| {
        b.iter(|| index.search(black_box(QUERIES[1]), &What::ALL, 6).len());
    });
    group.finish();
}

/// Criterion tells means; the promise is about the slowest in a hundred.
fn told_p99(index: &SearchIndex) {
    let mut times: Vec<Duration> = Vec::new();
    for round in 0..250 {
        for query in QUERIES {
            let query = format!("{query} {}", NOUNS[round % 25]);
            let began = Instant::now();
            black_box(index.search(&query, &What::ALL, 8));
            times.push(began.elapsed());
        }
    }
    times.sort();
    let at = |share: f64| times.get((times.len() as f64 * share) as usize);
    println!(
        "{} searches: p50 {:?}, p99 {:?}, slowest {:?}",
        times.len(),
        at(0.5).expect("some"),
        at(0.99).expect("some"),
        times.last().expect("some"),
    );
}

fn builds(c: &mut Criterion) {
    let mut group = c.benchmark_group("search/build");
    group.sample_size(10);
    for (name, nodes, templates) in [("a default ComfyUI", 496, 172), ("5,000 nodes", 5_000, 500)] {
        let catalogue = catalogue(nodes, templates);
        group.bench_function(name, |b| {
            b.iter(|| {
                SearchIndex::build(black_box(&catalogue), |_| ())
                    .expect("it fits")
                    .len()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, searches, builds);
criterion_main!(benches);
