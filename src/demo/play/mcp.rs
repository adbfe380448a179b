//! Both tool servers over legacy HTTP+SSE, as `mcp` 2.x opens them for every chat turn (WIRE.md 4):
//! a server that fails, hangs or answers `server/discover` late costs the person the whole turn.

use http::header::{ACCEPT, CACHE_CONTROL};
use serde_json::{Value, json};

use super::super::{
    answer::Reply,
    call::Call,
    player::{Line, Turn, within},
    step::{Fault, must},
};

pub async fn first_server(turn: &mut Turn) -> Result<String, Fault> {
    session(
        turn,
        "https://comfyui-copilot-server.onrender.com",
        "/mcp-server/mcp",
    )
    .await
}

pub async fn second_server(turn: &mut Turn) -> Result<String, Fault> {
    session(
        turn,
        "https://mcp.api-inference.modelscope.net",
        "/8c9fe550938e4f/sse",
    )
    .await
}

/// Connect, find out that `server/discover` is not known, initialize, list the tools, go.
async fn session(turn: &mut Turn, origin: &str, path: &str) -> Result<String, Fault> {
    let connect = Call::get(&format!("{origin}{path}"))?
        .by_plugin()
        .header(ACCEPT, "text/event-stream")
        .header(CACHE_CONTROL, "no-store");
    let stream = turn.open(connect).await?;
    must(stream.status == 200, || {
        format!("status {} in place of 200", stream.status)
    })?;
    let kind = stream.header("content-type");
    must(kind.starts_with("text/event-stream"), || {
        format!("content type {kind}")
    })?;
    let mut session = Session {
        stream,
        line: None,
        post_to: String::new(),
    };

    let endpoint = within(turn.player.patience, session.stream.event()).await?;
    must(endpoint.event.as_deref() == Some(b"endpoint"), || {
        "the first event is no endpoint".into()
    })?;
    let endpoint =
        String::from_utf8_lossy(endpoint.data.as_deref().unwrap_or_default()).into_owned();
    // Another origin makes the SDK hang (WIRE.md 24).
    must(
        endpoint.starts_with('/') && !endpoint.starts_with("//"),
        || format!("the endpoint {endpoint} is no path"),
    )?;
    session.post_to = format!("{origin}{endpoint}");

    let unknown = session.ask(turn, 1, "server/discover", json!({})).await?;
    let code = unknown.pointer("/error/code").and_then(Value::as_i64);
    must(code == Some(-32601), || {
        format!("server/discover is answered with {unknown}")
    })?;
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "mcp", "version": "0.1.0"}});
    let hello = session.ask(turn, 2, "initialize", hello).await?;
    let version = hello
        .pointer("/result/protocolVersion")
        .and_then(Value::as_str);
    let version = version.ok_or_else(|| Fault(format!("initialize is answered with {hello}")))?;
    session
        .post(
            turn,
            &json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        )
        .await?;
    let tools = session.ask(turn, 3, "tools/list", json!({})).await?;
    let tools = tools.pointer("/result/tools").and_then(Value::as_array);
    let tools = tools
        .ok_or_else(|| Fault("tools/list holds no list".into()))?
        .len();
    Ok(format!("protocol {version}, {tools} tools"))
}

struct Session {
    stream: Reply,
    /// The second connection: the stream has the first for itself.
    line: Option<Line>,
    post_to: String,
}

impl Session {
    /// Posts a request and waits for its answer on the stream.
    async fn ask(
        &mut self,
        turn: &mut Turn,
        id: u64,
        method: &str,
        params: Value,
    ) -> Result<Value, Fault> {
        self.post(
            turn,
            &json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}),
        )
        .await?;
        let event = within(turn.player.patience, self.stream.event()).await?;
        let answer: Value = serde_json::from_slice(event.data.as_deref().unwrap_or_default())
            .map_err(|e| Fault(format!("{method}: the answer is no JSON: {e}")))?;
        must(answer["id"] == id, || {
            format!("{method}: the answer is for another request: {answer}")
        })?;
        Ok(answer)
    }

    async fn post(&mut self, turn: &mut Turn, message: &Value) -> Result<(), Fault> {
        let call = Call::post(&self.post_to, message)?.by_plugin();
        let line = match &mut self.line {
            Some(line) => line,
            None => self.line.insert(turn.line(&call).await?),
        };
        let reply = turn.send_on(line, call).await?;
        let answer = within(turn.player.patience, reply.read()).await?;
        answer.must_be(202)
    }
}
