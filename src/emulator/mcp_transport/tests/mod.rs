//! Drives the handler as a client would; the stream is read as it comes.

mod legacy;
mod streamable;

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::*;
use crate::{
    handler::ByteStream,
    handler::test_support::{body_json, body_text, header, request},
    mcp::Tool,
};

const VENDOR: &str = "comfyui-copilot-server.onrender.com";
const SEARCH: &str = "mcp.api-inference.modelscope.net";
const JSON: (&str, &str) = ("content-type", "application/json");
const USER: (&str, &str) = ("x-session-id", "user-1");
const BOTH: (&str, &str) = ("accept", "application/json, text/event-stream");

/// Tools whose names say what they do.
struct Tools(Vec<Tool>);

fn tools() -> Arc<dyn Toolbox> {
    let names = ["echo", "sleep", "panic", "huge"];
    Arc::new(Tools(
        names
            .map(|name| Tool {
                name: name.into(),
                description: name.into(),
                input_schema: json!({"type": "object"}),
            })
            .into(),
    ))
}

impl ToolSet for Tools {
    fn tools(&self) -> &[Tool] {
        &self.0
    }
    fn check(&self, _: &Tool, arguments: &Map<String, Value>) -> Result<(), String> {
        match arguments.get("bad") {
            Some(_) => Err("argument \"bad\" is bad".into()),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Toolbox for Tools {
    async fn call(&self, call: &ToolCall, caller: &ToolCaller) -> ToolResult {
        match call.name.as_str() {
            "echo" => ToolResult::text(format!(
                "{} for {}",
                Value::Object(call.arguments.clone()),
                caller.session_id.as_deref().unwrap_or("nobody")
            )),
            "huge" => ToolResult::text("x".repeat(2 << 20)),
            "panic" => panic!("a tool that panics"),
            _ => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                ToolResult::text("slept")
            }
        }
    }
}

fn responder(bounds: McpBounds) -> McpResponder {
    McpResponder::new(bounds, Arc::new(Metrics::new())).with_tools(tools(), Arc::new(NoTools))
}

struct Stream {
    chunks: ByteStream,
    endpoint: String,
}

impl Stream {
    async fn chunk(&mut self) -> Option<String> {
        let chunk = timeout(Duration::from_secs(5), self.chunks.next())
            .await
            .expect("a chunk within five seconds")?;
        Some(String::from_utf8(chunk.expect("no abort").to_vec()).expect("UTF-8"))
    }

    /// The next message, pings skipped.
    async fn message(&mut self) -> Value {
        loop {
            let chunk = self.chunk().await.expect("stream goes on");
            if chunk == ": ping\n\n" {
                continue;
            }
            let data = chunk
                .strip_prefix("event: message\ndata: ")
                .and_then(|c| c.strip_suffix("\n\n"))
                .unwrap_or_else(|| panic!("not a message event: {chunk}"));
            return serde_json::from_str(data).expect("JSON");
        }
    }
}

async fn open_at(responder: &McpResponder, host: &str, path: &str) -> Stream {
    let headers = [("accept", "text/event-stream"), USER];
    let response = responder
        .handle(request(host, "GET", path, &headers, ""))
        .await;
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "content-type"), "text/event-stream");
    let LocalBody::Stream(chunks) = response.into_body() else {
        panic!("not a stream");
    };
    let mut stream = Stream {
        chunks,
        endpoint: String::new(),
    };
    let first = stream.chunk().await.expect("endpoint event");
    stream.endpoint = first
        .strip_prefix("event: endpoint\ndata: ")
        .and_then(|c| c.strip_suffix("\n\n"))
        .expect("the endpoint event comes first")
        .to_owned();
    stream
}

async fn open(responder: &McpResponder) -> Stream {
    open_at(responder, VENDOR, "/mcp-server/mcp").await
}

async fn post(responder: &McpResponder, uri: &str, body: impl Into<Bytes>) -> LocalResponse {
    responder
        .handle(request(VENDOR, "POST", uri, &[JSON, USER], body))
        .await
}

fn call(id: u32, name: &str, arguments: Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": name, "arguments": arguments}})
        .to_string()
}
