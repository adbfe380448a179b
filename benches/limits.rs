//! What limits and guards cost a request: a caller's places, and the look at a head, an upload, a workflow.

#![allow(clippy::expect_used, reason = "a bench that cannot run must say so")]

use std::{hint::black_box, sync::Arc};

use airlock::{
    config::RatesConfig,
    guard::{Asked, Guards},
    limit::{Caller, Lane, Limiter},
    metrics::Metrics,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method};

fn places(c: &mut Criterion) {
    let metrics = Arc::new(Metrics::new());
    let limiter = Limiter::new(&RatesConfig::default(), &metrics);
    let here = "127.0.0.1".parse().expect("an address");
    let elsewhere = "192.0.2.1".parse().expect("an address");
    let session = "6f1c0b52-6c1f-4b2e-9d3a-0c5a4f1e7b90";
    let session = Caller::Session(session.parse().expect("a session"));
    let mut group = c.benchmark_group("limits");
    // Refusals cost as much: the rate is spent after the first rounds.
    for (name, caller, address) in [
        ("this machine, off", &Caller::Address, here),
        ("an address", &Caller::Address, elsewhere),
        ("an address and a session", &session, elsewhere),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| black_box(limiter.enter(caller, address, Lane::FrontDoor)).is_ok())
        });
    }
    group.finish();
}

fn asked<'a>(
    method: &'a Method,
    path: &'a str,
    query: &'a str,
    headers: &'a HeaderMap,
) -> Asked<'a> {
    Asked {
        method,
        path,
        query,
        headers,
        role: None,
    }
}

fn looks(c: &mut Criterion) {
    let guards = Guards::default();
    let (get, post) = (Method::GET, Method::POST);
    let none = HeaderMap::new();
    let mut group = c.benchmark_group("guards");
    for (path, query) in [
        ("/assets/index-1a2b3c.js", ""),
        (
            "/api/view",
            "filename=ComfyUI_00001_.png&type=output&subfolder=2026",
        ),
    ] {
        group.bench_function(path, |b| {
            b.iter(|| black_box(guards.head(&asked(&get, path, query, &none))).is_ok())
        });
    }
    let piece = vec![b'x'; 64 << 10];
    group.throughput(Throughput::Bytes(piece.len() as u64));
    let mut headers = HeaderMap::new();
    headers.insert(
        "content-type",
        HeaderValue::from_static("multipart/form-data; boundary=abc"),
    );
    let mut watch = guards
        .head(&asked(&post, "/upload/image", "", &headers))
        .expect("it is fine");
    let head =
        b"--abc\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.mp4\"\r\n\r\n";
    watch.push(head, false).expect("it is fine");
    group.bench_function("64 KiB of an upload", |b| {
        b.iter(|| watch.push(black_box(&piece), false).is_ok())
    });
    let nodes: Vec<String> = (0..400)
        .map(|n| format!(r#""{n}":{{"inputs":{{"text":"a picture of a cat","seed":{n},"clip":["4",1]}},"class_type":"CLIPTextEncode"}}"#))
        .collect();
    let workflow = format!(r#"{{"client_id":"x","prompt":{{{}}}}}"#, nodes.join(","));
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    group.throughput(Throughput::Bytes(workflow.len() as u64));
    group.bench_function("a workflow of 400 nodes", |b| {
        b.iter(|| {
            let mut watch = guards
                .head(&asked(&post, "/prompt", "", &headers))
                .expect("it is fine");
            watch.push(black_box(workflow.as_bytes()), true).is_ok()
        })
    });
    group.finish();
}

criterion_group!(benches, places, looks);
criterion_main!(benches);
