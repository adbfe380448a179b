//! From one message to the step that a transport has to take.

use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use super::{
    message::{Id, Message},
    reply::{ErrorCode, Reply},
    tools::{ToolResult, ToolSet},
    version::ProtocolVersion,
};

/// Name and version as `initialize` tells them.
#[derive(Clone, Copy, Debug)]
pub struct ServerInfo {
    pub name: &'static str,
    pub version: &'static str,
}

/// Methods, as far as anything here or in the metrics tells them apart. Closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Initialize,
    Ping,
    ToolsList,
    ToolsCall,
    /// First message of mcp 2.x; an answer is needed at once (WIRE.md 4.1).
    Discover,
    Cancelled,
    /// Any other notification: `initialized`, `progress`, `roots/list_changed`.
    Notification,
    /// A method of the protocol for something that is not advertised here.
    NotAdvertised,
    Response,
    Unknown,
}

impl Method {
    /// Metric label.
    pub fn label(self) -> &'static str {
        match self {
            Method::Initialize => "initialize",
            Method::Ping => "ping",
            Method::ToolsList => "tools/list",
            Method::ToolsCall => "tools/call",
            Method::Discover => "server/discover",
            Method::Cancelled => "notifications/cancelled",
            Method::Notification => "notifications/*",
            Method::NotAdvertised => "not_advertised",
            Method::Response => "response",
            Method::Unknown => "unknown",
        }
    }

    fn of_request(name: &str) -> Self {
        match name {
            "initialize" => Method::Initialize,
            "ping" => Method::Ping,
            "tools/list" => Method::ToolsList,
            "tools/call" => Method::ToolsCall,
            "server/discover" => Method::Discover,
            "resources/list"
            | "resources/templates/list"
            | "resources/read"
            | "resources/subscribe"
            | "resources/unsubscribe"
            | "prompts/list"
            | "prompts/get"
            | "completion/complete"
            | "logging/setLevel" => Method::NotAdvertised,
            _ => Method::Unknown,
        }
    }
}

/// How it went, so far as dispatch can know. Metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    MethodNotFound,
    UnknownTool,
    BadArguments,
}

impl Outcome {
    pub fn label(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::MethodNotFound => "method_not_found",
            Outcome::UnknownTool => "unknown_tool",
            Outcome::BadArguments => "bad_arguments",
        }
    }
}

/// A call whose tool exists and whose arguments passed the check.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    pub id: Id,
    pub name: String,
    pub arguments: Map<String, Value>,
}

/// What the transport does next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Reply(Reply),
    /// Run the tool, then send [`Reply::tool`].
    Call(ToolCall),
    /// Stop the call with this id, if it runs; nothing is answered.
    Cancel(Id),
    None,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Handled {
    pub method: Method,
    pub outcome: Outcome,
    pub step: Step,
    /// Set by `initialize`.
    pub negotiated: Option<ProtocolVersion>,
}

impl Handled {
    fn new(method: Method, outcome: Outcome, step: Step) -> Self {
        Self {
            method,
            outcome,
            step,
            negotiated: None,
        }
    }
}

#[derive(Deserialize)]
struct InitializeParams {
    #[serde(rename = "protocolVersion")]
    protocol_version: Option<String>,
}

#[derive(Deserialize)]
struct CancelledParams<'a> {
    #[serde(borrow, rename = "requestId")]
    request_id: &'a RawValue,
}

#[derive(Deserialize)]
struct CallParams<'a> {
    name: String,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

/// Answers everything but tool calls itself. Requests before `initialize` are answered too:
/// the order is the client's duty, and a refusal would only cost the user a chat.
pub fn dispatch(message: Message, server: ServerInfo, tools: &dyn ToolSet) -> Handled {
    match message {
        Message::Request { id, method, params } => request(&id, &method, params, server, tools),
        Message::Notification { method, params } if method == "notifications/cancelled" => {
            let step = params
                .as_deref()
                .and_then(|p| serde_json::from_str::<CancelledParams<'_>>(p.get()).ok())
                .and_then(|p| Id::from_raw(p.request_id))
                .map_or(Step::None, Step::Cancel);
            Handled::new(Method::Cancelled, Outcome::Ok, step)
        }
        Message::Notification { .. } => Handled::new(Method::Notification, Outcome::Ok, Step::None),
        Message::Response => Handled::new(Method::Response, Outcome::Ok, Step::None),
    }
}

fn request(
    id: &Id,
    name: &str,
    params: Option<Box<RawValue>>,
    server: ServerInfo,
    tools: &dyn ToolSet,
) -> Handled {
    let method = Method::of_request(name);
    let ok =
        |result: Value| Handled::new(method, Outcome::Ok, Step::Reply(Reply::result(id, &result)));
    match method {
        Method::Initialize => {
            let offered = params
                .as_deref()
                .and_then(|p| serde_json::from_str::<InitializeParams>(p.get()).ok())
                .and_then(|p| p.protocol_version);
            let version = ProtocolVersion::negotiate(offered.as_deref());
            Handled {
                negotiated: Some(version),
                ..ok(json!({
                    "protocolVersion": version,
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": server.name, "version": server.version},
                }))
            }
        }
        Method::Ping => ok(json!({})),
        // One page: a cursor is none of ours and changes nothing.
        Method::ToolsList => ok(json!({"tools": tools.tools()})),
        Method::ToolsCall => call(id, params.as_deref(), tools),
        Method::Discover
        | Method::NotAdvertised
        | Method::Unknown
        | Method::Cancelled
        | Method::Notification
        | Method::Response => Handled::new(
            method,
            Outcome::MethodNotFound,
            Step::Reply(Reply::error(
                Some(id),
                ErrorCode::MethodNotFound,
                "Method not found",
            )),
        ),
    }
}

/// Every failure here is an `isError` result, in words for the model.
fn call(id: &Id, params: Option<&RawValue>, tools: &dyn ToolSet) -> Handled {
    let failed = |outcome, text: String| {
        Handled::new(
            Method::ToolsCall,
            outcome,
            Step::Reply(Reply::tool(id, &ToolResult::error(text))),
        )
    };
    let Some(CallParams { name, arguments }) =
        params.and_then(|p| serde_json::from_str::<CallParams<'_>>(p.get()).ok())
    else {
        return failed(
            Outcome::BadArguments,
            "tools/call needs a \"name\" and an \"arguments\" object".into(),
        );
    };
    let Some(tool) = tools.find(&name) else {
        return failed(
            Outcome::UnknownTool,
            "there is no tool of this name: use one of tools/list, or answer without a tool".into(),
        );
    };
    let arguments = match arguments.map(|a| serde_json::from_str(a.get())) {
        None => Map::new(),
        Some(Ok(Value::Object(map))) => map,
        Some(_) => {
            return failed(
                Outcome::BadArguments,
                "\"arguments\" must be a JSON object".into(),
            );
        }
    };
    match tools.check(tool, &arguments) {
        Ok(()) => Handled::new(
            Method::ToolsCall,
            Outcome::Ok,
            Step::Call(ToolCall {
                id: id.clone(),
                name,
                arguments,
            }),
        ),
        Err(text) => failed(Outcome::BadArguments, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::{NoTools, Packet, Tool};

    const SERVER: ServerInfo = ServerInfo {
        name: "airlock",
        version: "0",
    };

    struct Two(Vec<Tool>);
    impl ToolSet for Two {
        fn tools(&self) -> &[Tool] {
            &self.0
        }
    }
    fn two() -> Two {
        let tool = |name: &str| Tool {
            name: name.into(),
            description: "d".into(),
            input_schema: json!({"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}),
        };
        Two(vec![
            tool("b_second_in_alphabet"),
            tool("a_first_in_alphabet"),
        ])
    }

    fn run(body: &str, tools: &dyn ToolSet) -> Handled {
        match Packet::parse(body.as_bytes()) {
            Ok(Packet::Single(m)) => dispatch(m, SERVER, tools),
            other => panic!("{other:?}"),
        }
    }
    fn reply(h: &Handled) -> Value {
        match &h.step {
            Step::Reply(r) => serde_json::from_str(r.as_str()).expect("valid JSON"),
            other => panic!("no reply: {other:?}"),
        }
    }

    #[test]
    fn every_request_gets_its_answer() {
        for (row, body, want) in [
            (
                "initialize of mcp 1.x",
                r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"mcp","version":"0.1.0"}}}"#,
                json!({"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"airlock","version":"0"}}}),
            ),
            (
                "initialize without params",
                r#"{"jsonrpc":"2.0","id":0,"method":"initialize"}"#,
                json!({"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"airlock","version":"0"}}}),
            ),
            (
                "server/discover of mcp 2.x",
                r#"{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
                json!({"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}),
            ),
            (
                "ping with a text id",
                r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#,
                json!({"jsonrpc":"2.0","id":"p","result":{}}),
            ),
            (
                "an empty tool list, cursor or not",
                r#"{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{"cursor":"x"}}"#,
                json!({"jsonrpc":"2.0","id":2,"result":{"tools":[]}}),
            ),
            (
                "resources are not advertised",
                r#"{"jsonrpc":"2.0","id":3,"method":"resources/list"}"#,
                json!({"jsonrpc":"2.0","id":3,"error":{"code":-32601,"message":"Method not found"}}),
            ),
            (
                "prompts are not advertised",
                r#"{"jsonrpc":"2.0","id":3,"method":"prompts/list"}"#,
                json!({"jsonrpc":"2.0","id":3,"error":{"code":-32601,"message":"Method not found"}}),
            ),
            (
                "a notification's name with an id is an unknown request",
                r#"{"jsonrpc":"2.0","id":3,"method":"notifications/cancelled"}"#,
                json!({"jsonrpc":"2.0","id":3,"error":{"code":-32601,"message":"Method not found"}}),
            ),
        ] {
            assert_eq!(reply(&run(body, &NoTools)), want, "{row}");
        }
    }

    #[test]
    fn a_bad_call_is_a_result_and_never_an_error_reply() {
        for (row, params, outcome) in [
            ("no params", "", Outcome::BadArguments),
            ("no name", r#","params":{}"#, Outcome::BadArguments),
            (
                "unknown tool",
                r#","params":{"name":"bing_search"}"#,
                Outcome::UnknownTool,
            ),
            (
                "arguments are a list",
                r#","params":{"name":"a_first_in_alphabet","arguments":[]}"#,
                Outcome::BadArguments,
            ),
            (
                "a required argument is missing",
                r#","params":{"name":"a_first_in_alphabet"}"#,
                Outcome::BadArguments,
            ),
            (
                "a wrong type",
                r#","params":{"name":"a_first_in_alphabet","arguments":{"q":1}}"#,
                Outcome::BadArguments,
            ),
        ] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":4,"method":"tools/call"{params}}}"#);
            let handled = run(&body, &two());
            assert_eq!(handled.outcome, outcome, "{row}");
            let reply = reply(&handled);
            assert_eq!(reply["result"]["isError"], true, "{row}");
            assert!(reply.get("error").is_none(), "{row}");
        }
    }

    #[test]
    fn a_good_call_is_handed_to_the_transport() {
        let handled = run(
            r#"{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"a_first_in_alphabet","arguments":{"q":"x"},"_meta":{"progressToken":1}}}"#,
            &two(),
        );
        match handled.step {
            Step::Call(call) => {
                assert_eq!(
                    (call.id.as_json(), call.name.as_str()),
                    ("\"c\"", "a_first_in_alphabet")
                );
                assert_eq!(call.arguments.get("q"), Some(&json!("x")));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_list_keeps_the_order_of_the_set() {
        let handled = run(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, &two());
        let tools = &reply(&handled)["result"]["tools"];
        assert_eq!(tools[0]["name"], "b_second_in_alphabet");
        assert_eq!(tools[1]["name"], "a_first_in_alphabet");
        assert_eq!(tools[0]["inputSchema"]["type"], "object");
    }

    #[test]
    fn notifications_are_never_answered() {
        for (row, body, want) in [
            (
                "initialized",
                r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
                Step::None,
            ),
            (
                "an unknown one",
                r#"{"jsonrpc":"2.0","method":"notifications/later"}"#,
                Step::None,
            ),
            (
                "cancelled without an id",
                r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{}}"#,
                Step::None,
            ),
        ] {
            assert_eq!(run(body, &NoTools).step, want, "{row}");
        }
        let cancelled = run(
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#,
            &NoTools,
        );
        assert!(matches!(cancelled.step, Step::Cancel(id) if id.as_json() == "7"));
    }
}
