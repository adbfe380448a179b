//! What is done to the bytes of a request: reading its head, editing its JSON.

use std::hint::black_box;

use airlock::{listener::head, net::Port};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const HEAD: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\n\
Host: comfyui-copilot-server.onrender.com\r\n\
Accept: application/json\r\nContent-Type: application/json\r\nContent-Length: 15000\r\n\
User-Agent: Agents/Python 0.22.2\r\nAuthorization: Bearer null\r\n\
X-Session-Id: 5b0c4a50-6d9f-4b6e-9d87-3f0f5b8f8a11\r\nx-stainless-lang: python\r\n\
x-stainless-retry-count: 0\r\nx-stainless-read-timeout: 600\r\n\r\n";

fn heads(c: &mut Criterion) {
    let mut group = c.benchmark_group("head");
    group.throughput(Throughput::Bytes(HEAD.len() as u64));
    group.bench_function("parse", |b| {
        b.iter(|| head::parse(black_box(HEAD), Port::HTTPS))
    });
    group.finish();
}

criterion_group!(benches, heads);
criterion_main!(benches);
