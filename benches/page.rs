//! What the front door does to a page's scripts and documents.

#![allow(clippy::expect_used, reason = "a bench that cannot run must say so")]

use std::hint::black_box;

use airlock::page::{Coding, Kind, Replacements, Rewrite, Violation};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// A minified script of two megabytes, as the plugin ships them, with one address in it.
fn script() -> Vec<u8> {
    let line = b"var a=function(e,t){return e?{url:`/api/x/${t}`,k:\"https://docs.test/a\"}:null};";
    let mut out = line.repeat(13_000);
    out.extend_from_slice(
        b"const b={apiBaseUrl:\"https://comfyui-copilot-server-pre.onrender.com\"};",
    );
    out.extend(line.repeat(13_000));
    out
}

fn replacements() -> Replacements {
    let hosts = [
        "comfyui-copilot-server.onrender.com",
        "comfyui-copilot-server-pre.onrender.com",
    ];
    Replacements::new(hosts, "/airlock/copilot")
}

fn rewrites(c: &mut Criterion) {
    let script = script();
    let replacements = replacements();
    let mut group = c.benchmark_group("page");
    group.throughput(Throughput::Bytes(script.len() as u64));
    group.bench_function("replace the vendor's address in a script", |b| {
        b.iter(|| replacements.apply(black_box(&script)).len());
    });
    group.bench_function("the same in chunks, with its tag", |b| {
        b.iter(|| {
            let mut rewrite = Rewrite::new(
                Kind::Script,
                Coding::Identity,
                replacements.clone(),
                64 << 20,
            )
            .expect("identity is known");
            for chunk in script.chunks(16 << 10) {
                rewrite.push(black_box(chunk)).expect("within the bound");
            }
            rewrite.finish().expect("within the bound").body.len()
        });
    });
    group.finish();
}

fn reports(c: &mut Criterion) {
    let report = br#"{"csp-report":{"document-uri":"http://127.0.0.1:8189/","referrer":"","violated-directive":"connect-src","effective-directive":"connect-src","original-policy":"default-src 'none'","disposition":"enforce","blocked-uri":"https://api.comfy.org/releases?project=comfyui","line-number":1,"source-file":"http://127.0.0.1:8189/assets/index.js","status-code":200,"script-sample":""}}"#;
    c.bench_function("page/read a report", |b| {
        b.iter(|| Violation::parse(black_box(report)));
    });
}

criterion_group!(benches, rewrites, reports);
criterion_main!(benches);
