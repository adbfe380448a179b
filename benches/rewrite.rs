//! What is done to the bytes of a request and its answer: reading its head, editing its JSON,
//! repairing the stream that comes back.

#![allow(
    clippy::expect_used,
    reason = "a bench that cannot be set up has nothing to measure"
)]

use std::hint::black_box;

use airlock::{
    listener::head,
    llm::{
        reply::Meta,
        request::{Operation, Request},
        stream::{AnswerOptions, StreamRepair},
    },
    net::Port,
};
use bytes::{Bytes, BytesMut};
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

/// As the plugin's main agent sends it: a long prompt with line ends, some turns, tools.
fn chat_request() -> String {
    let line = "Use the tools to find nodes before you answer; never invent a node's name.\n";
    let turn = |n: usize| {
        let role = if n.is_multiple_of(2) {
            "user"
        } else {
            "assistant"
        };
        serde_json::json!({"role": role, "content": "Which node loads a checkpoint?"})
    };
    let mut messages = vec![serde_json::json!({"role": "system", "content": line.repeat(180)})];
    messages.extend((0..5).map(turn));
    let tool = |n: usize| {
        serde_json::json!({"type": "function", "function": {
            "name": format!("tool_{n}"),
            "description": "Finds nodes by name",
            "parameters": {"type": "object", "properties": {"name": {"type": "string"}}},
        }})
    };
    serde_json::json!({
        "model": "gemini-2.5-flash",
        "stream": true,
        "messages": messages,
        "tools": (0..8).map(tool).collect::<Vec<_>>(),
    })
    .to_string()
}

fn edits(c: &mut Criterion) {
    let body = Bytes::from(chat_request());
    let mut group = c.benchmark_group("llm");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("read and edit a chat request", |b| {
        b.iter(|| {
            let request = Request::parse(Operation::Chat, black_box(&body))
                .expect("the bench's request is valid");
            request.rewrite().apply(&body, Some("qwen3")).len()
        });
    });

    const CHUNK: &[u8] = b"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\
\"created\":1,\"model\":\"qwen3\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"},\
\"finish_reason\":null}]}\n\n";
    let options = AnswerOptions {
        operation: Operation::Chat,
        meta: Meta {
            id: "chatcmpl-2".into(),
            model: "qwen3".into(),
            created: 1,
        },
        strip_think: true,
        offered: Some(vec!["tool_1".into()]),
        explain_empty: true,
    };
    let mut out = BytesMut::new();
    let mut repair = StreamRepair::new(options);
    group.throughput(Throughput::Bytes(CHUNK.len() as u64));
    group.bench_function("repair one chunk of a stream", |b| {
        b.iter(|| {
            out.clear();
            repair.push(black_box(CHUNK), &mut out)
        });
    });
    group.finish();
}

criterion_group!(benches, heads, edits);
criterion_main!(benches);
