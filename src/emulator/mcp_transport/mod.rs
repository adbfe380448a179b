//! MCP over HTTP, for both servers that the plugin connects to (WIRE.md 4, 5, 24).
//!
//! | file | holds |
//! |---|---|
//! | [`endpoint`] | which path is which server and transport |
//! | [`session`] | the bounded table of sessions, what a session is bound to |
//! | [`outbox`] | a session's bounded queue and the event stream that drains it |
//! | [`calls`] | running tools: deadline, cancellation, panics |
//! | [`legacy`] | HTTP+SSE: a GET that stays open, POSTs answered on it |
//! | [`streamable`] | streamable HTTP: POST, GET, DELETE on one path |
//!
//! The plugin's chat does not start unless both servers answer, and waits on each (WIRE.md 0.4):
//! nothing here waits for anything but a tool, and nothing is answered by a redirect or a close.
//! Messages are judged in [`crate::mcp`]; this module owns sessions, streams and time.

mod calls;
mod endpoint;
mod legacy;
mod outbox;
mod session;
mod streamable;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use self::{
    endpoint::{Endpoint, Server},
    session::{Binding, Session, SessionTable},
};
use super::http::{json, note, with_type};
use crate::{
    handler::{Exchange, Handler, LocalBody, LocalRequest, LocalResponse, cors::Origin},
    mcp::{
        ErrorCode, Handled, Message, MessageError, Method as McpMethod, NoTools, Outcome, Packet,
        ProtocolVersion, Reply, ServerInfo, Step, ToolCall, ToolResult, ToolSet, dispatch,
    },
    metrics::{
        Metrics,
        drift::{name_of, shape_of, shape_of_path},
    },
};

/// Largest POST, as the reference server has it.
const MAX_MESSAGE: usize = 4 << 20;
/// A longer message's shape is not looked at.
const MAX_SHAPED: usize = 64 << 10;
const SERVER: ServerInfo = ServerInfo {
    name: "airlock",
    version: env!("CARGO_PKG_VERSION"),
};

/// Bounds of the transport; the default suits one machine with a few users.
#[derive(Clone, Copy, Debug)]
pub struct McpBounds {
    /// Open sessions over both servers; one more gets 503 with `Retry-After`.
    pub max_sessions: usize,
    /// A session without a message for so long is freed. A chat turn on a slow LLM may be silent
    /// for minutes between two tool calls.
    pub idle: Duration,
    /// In a full table a streamable session that is silent for so long gives its place away: its
    /// client has no stream whose end would tell that it is gone, and starts anew after a 404.
    pub stale: Duration,
    /// A tool that takes longer is given up.
    pub call_timeout: Duration,
    /// Comment on a silent stream; clients and proxies want one at least every 15 s.
    pub ping: Duration,
}

impl Default for McpBounds {
    fn default() -> Self {
        Self {
            max_sessions: 256,
            idle: Duration::from_secs(3600),
            stale: Duration::from_secs(60),
            call_timeout: Duration::from_secs(240),
            ping: Duration::from_secs(15),
        }
    }
}

/// Tools that can be run. The list and the argument check are [`ToolSet`]'s.
#[async_trait]
pub trait Toolbox: ToolSet + 'static {
    /// Runs a tool whose name and arguments passed the check. Dropped when the client cancels,
    /// goes away, or the deadline passes.
    async fn call(&self, call: &ToolCall, caller: &ToolCaller) -> ToolResult;

    /// A client has asked for the list, so a chat begins. Returns at once.
    fn listed(&self) {}
}

#[async_trait]
impl Toolbox for NoTools {
    async fn call(&self, _: &ToolCall, _: &ToolCaller) -> ToolResult {
        ToolResult::error("there are no tools here")
    }
}

/// Who calls a tool.
#[derive(Clone, Debug)]
pub struct ToolCaller {
    /// The plugin's `X-Session-Id`: the same on its LLM requests.
    pub session_id: Option<String>,
    pub exchange: Exchange,
}

/// Both MCP servers of the plugin, on every host that a rule routes here.
pub struct McpResponder {
    bounds: McpBounds,
    metrics: Arc<Metrics>,
    sessions: Arc<SessionTable>,
    copilot: Arc<dyn Toolbox>,
    search: Arc<dyn Toolbox>,
}

impl McpResponder {
    /// With empty tool lists.
    pub fn new(bounds: McpBounds, metrics: Arc<Metrics>) -> Self {
        Self {
            bounds,
            sessions: SessionTable::new(bounds, metrics.clone()),
            metrics,
            copilot: Arc::new(NoTools),
            search: Arc::new(NoTools),
        }
    }

    /// Tools of the vendor's own server and of its search server. No name may be in both: the
    /// plugin puts the two lists into one.
    pub fn with_tools(self, copilot: Arc<dyn Toolbox>, search: Arc<dyn Toolbox>) -> Self {
        Self {
            copilot,
            search,
            ..self
        }
    }

    fn toolbox(&self, server: Server) -> &Arc<dyn Toolbox> {
        match server {
            Server::Copilot => &self.copilot,
            Server::Search => &self.search,
        }
    }

    /// Judges one message and counts it; a call that is to run is counted by its end.
    fn judge(&self, message: Message, server: Server) -> Handled {
        let named = named(&message);
        let handled = dispatch(message, SERVER, self.toolbox(server).as_ref());
        if handled.method == McpMethod::ToolsList {
            self.toolbox(server).listed();
        }
        if !matches!(handled.step, Step::Call(_)) {
            self.metrics
                .mcp_request(handled.method.label(), handled.outcome.label());
        }
        match (handled.method, handled.outcome) {
            (McpMethod::Unknown, _) => self.metrics.drift_of("mcp", "method", named),
            (_, Outcome::UnknownTool) => self.metrics.drift_of("mcp", "tool", named),
            (_, Outcome::Ok | Outcome::MethodNotFound | Outcome::BadArguments) => {}
        }
        handled
    }

    /// The messages of one POST, with a batch only where the session's protocol has them.
    fn messages(
        &self,
        body: &[u8],
        version: Option<ProtocolVersion>,
    ) -> Result<Vec<Result<Message, MessageError>>, MessageError> {
        match Packet::parse(body)? {
            Packet::Single(message) => Ok(vec![Ok(message)]),
            Packet::Batch(members) if version.is_none_or(ProtocolVersion::has_batches) => {
                Ok(members)
            }
            Packet::Batch(_) => Err(MessageError::BatchNotSpoken),
        }
    }
}

#[async_trait]
impl Handler for McpResponder {
    async fn handle(&self, request: LocalRequest) -> LocalResponse {
        note(&request.exchange, "mcp", "");
        let Some(endpoint) = Endpoint::of(request.parts.uri.path()) else {
            let shape = shape_of_path(request.parts.uri.path());
            self.metrics.drift_of("mcp", "route", shape);
            return refusal(
                StatusCode::NOT_FOUND,
                "no MCP server at this path: use /mcp-server/mcp or a path that ends in /sse",
            );
        };
        if !origin_is_ours(&request.parts.headers) {
            note(&request.exchange, "mcp", "origin refused");
            return refusal(
                StatusCode::FORBIDDEN,
                "pages of other origins may not use this MCP server",
            );
        }
        if request.body.len() > MAX_MESSAGE {
            return refusal(
                StatusCode::PAYLOAD_TOO_LARGE,
                "message is larger than 4 MiB: send less in one message",
            );
        }
        match endpoint {
            Endpoint::Messages { server } => match request.parts.method {
                Method::POST => self.legacy_post(request, server),
                _ => with_allow("POST"),
            },
            Endpoint::Connect { server, base } => match request.parts.method {
                Method::POST => self.streamable_post(request, server).await,
                Method::GET => match session_header(&request.parts.headers) {
                    Some(_) => self.streamable_get(&request, server),
                    None => {
                        let base = base.to_owned();
                        self.legacy_open(&request, server, &base)
                    }
                },
                Method::DELETE => self.streamable_delete(&request, server),
                _ => with_allow("GET, POST, DELETE"),
            },
        }
    }

    fn max_body(&self) -> usize {
        MAX_MESSAGE
    }
}

impl McpResponder {
    fn binding(&self, request: &LocalRequest, server: Server) -> Binding {
        Binding {
            host: request.exchange.authority.host.clone(),
            server,
            user: request.parts.headers.get("x-session-id").cloned(),
        }
    }

    fn caller(&self, request: &LocalRequest) -> ToolCaller {
        ToolCaller {
            session_id: request
                .parts
                .headers
                .get("x-session-id")
                .and_then(|v| v.to_str().ok())
                .map(str::to_owned),
            exchange: request.exchange.clone(),
        }
    }

    /// Answer to a call that finds no place in its session.
    fn too_many_calls(&self, call: &ToolCall) -> Reply {
        self.metrics.mcp_request("tools/call", "busy");
        let words = "too many tool calls at the same time: wait for one to end";
        Reply::tool(&call.id, &ToolResult::error(words))
    }

    /// Applies what a message settled for its session.
    fn remember(&self, session: &Session, handled: &Handled) {
        if let Some(version) = handled.negotiated {
            session.set_version(version);
        }
    }
}

/// A message's method with the shape of its params, and a tool's name; for what turns out unknown.
fn named(message: &Message) -> String {
    let Message::Request { method, params, .. } = message else {
        return String::new();
    };
    let known = ["initialize", "ping", "tools/list", "server/discover"];
    if known.contains(&method.as_str()) {
        return String::new();
    }
    let params = params
        .as_deref()
        .filter(|p| p.get().len() <= MAX_SHAPED)
        .and_then(|p| serde_json::from_str::<serde_json::Value>(p.get()).ok())
        .unwrap_or_default();
    let tool = params.get("name").and_then(serde_json::Value::as_str);
    match (method.as_str(), tool) {
        ("tools/call", Some(tool)) => {
            let arguments = params.get("arguments").unwrap_or(&serde_json::Value::Null);
            format!("{}{}", name_of(tool), shape_of(arguments))
        }
        (method, _) => format!("{}{}", shape_of_path(method), shape_of(&params)),
    }
}

/// Guards against pages that reach us by DNS rebinding or through the proxy: an absent origin is a
/// program, a loopback one is this machine's own page.
fn origin_is_ours(headers: &HeaderMap) -> bool {
    headers.get_all(header::ORIGIN).iter().all(|value| {
        value
            .to_str()
            .ok()
            .and_then(Origin::parse)
            .is_some_and(|o| o.is_loopback())
    })
}

fn session_header(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get("mcp-session-id")
}

/// True if `Accept` takes the type; `absent` is what no header means.
fn accepts(headers: &HeaderMap, kind: &str, subtype: &str, absent: bool) -> bool {
    let mut seen = false;
    for value in headers.get_all(header::ACCEPT) {
        seen = true;
        let Ok(text) = value.to_str() else { continue };
        for item in text.split(',') {
            let mut pieces = item.split(';').map(str::trim);
            let range = pieces.next().unwrap_or_default();
            let refused = pieces.any(|p| {
                p.strip_prefix("q=")
                    .is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0))
            });
            let Some((k, s)) = range.split_once('/') else {
                continue;
            };
            let matches = (k == "*" || k.eq_ignore_ascii_case(kind))
                && (s == "*" || s.eq_ignore_ascii_case(subtype));
            if matches && !refused {
                return true;
            }
        }
    }
    !seen && absent
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// A refusal of the transport, in JSON-RPC's form as the reference server has it.
fn refusal(status: StatusCode, message: &str) -> LocalResponse {
    rpc_error(status, ErrorCode::InvalidRequest, message)
}

fn rpc_error(status: StatusCode, code: ErrorCode, message: &str) -> LocalResponse {
    with_type(
        status,
        "application/json",
        Reply::error(None, code, message).into_string().into(),
    )
}

fn malformed(error: MessageError) -> LocalResponse {
    rpc_error(StatusCode::BAD_REQUEST, error.code(), &error.to_string())
}

fn with_allow(allow: &'static str) -> LocalResponse {
    let mut response = refusal(
        StatusCode::METHOD_NOT_ALLOWED,
        "this method is not served here: use one of the Allow header",
    );
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

fn overloaded(seconds: u32, message: &str) -> LocalResponse {
    let mut response = json(
        StatusCode::SERVICE_UNAVAILABLE,
        &serde_json::json!({"error": message}),
    );
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn event_stream(body: LocalBody) -> LocalResponse {
    let mut response = with_type(StatusCode::OK, "text/event-stream", body);
    response
        .headers_mut()
        .insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
