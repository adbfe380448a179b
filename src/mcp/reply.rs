//! JSON-RPC replies: one line of JSON, under the size that every client takes as one event.

use serde::Serialize;
use serde_json::json;

use super::{message::Id, tools::ToolResult};

/// mcp 2.3 ends the session on one event over 1 MiB (WIRE.md 24); the rest is room for framing.
pub const MAX_EVENT_BYTES: usize = (1 << 20) - 4096;

/// Error codes of JSON-RPC 2.0 that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    Parse,
    InvalidRequest,
    MethodNotFound,
    Internal,
}

impl ErrorCode {
    pub fn number(self) -> i32 {
        match self {
            ErrorCode::Parse => -32700,
            ErrorCode::InvalidRequest => -32600,
            ErrorCode::MethodNotFound => -32601,
            ErrorCode::Internal => -32603,
        }
    }
}

/// JSON text of one reply: no line break of any kind, at most [`MAX_EVENT_BYTES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply(String);

impl Reply {
    pub fn as_str(&self) -> &str {
        &self.0
    }
    pub fn into_string(self) -> String {
        self.0
    }

    pub fn result(id: &Id, result: &impl Serialize) -> Self {
        Self::encode(id, result).unwrap_or_else(|| {
            Self::error(
                Some(id),
                ErrorCode::Internal,
                "the answer is too large for one message",
            )
        })
    }

    /// A failed call is a result with `isError`, never an error reply: that one ends the chat of
    /// older agents (WIRE.md 4.2).
    pub fn tool(id: &Id, result: &ToolResult) -> Self {
        Self::encode(id, result).unwrap_or_else(|| {
            Self::result(
                id,
                &ToolResult::error(
                    "the tool's answer is larger than 1 MiB: ask for less, such as fewer or narrower results",
                ),
            )
        })
    }

    /// `id` is `None` where the request's id could not be read; JSON-RPC then says `null`.
    pub fn error(id: Option<&Id>, code: ErrorCode, message: &str) -> Self {
        let error = json!({"code": code.number(), "message": message});
        let id = id.map_or("null", Id::as_json);
        Reply(one_line(format!(
            r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#
        )))
    }

    fn encode(id: &Id, result: &impl Serialize) -> Option<Self> {
        let result = serde_json::to_string(result).ok()?;
        if result.len() > MAX_EVENT_BYTES {
            return None;
        }
        let text = one_line(format!(
            r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#,
            id.as_json()
        ));
        (text.len() <= MAX_EVENT_BYTES).then_some(Reply(text))
    }
}

/// Python's `splitlines`, which some SSE readers use, also breaks at U+0085, U+2028 and U+2029.
/// In JSON text these stand only inside strings, where an escape means the same.
fn one_line(json: String) -> String {
    if !json.contains(['\u{85}', '\u{2028}', '\u{2029}', '\n', '\r']) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        match c {
            '\u{85}' => out.push_str("\\u0085"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            // Only white space between tokens can be a bare break; ours has none.
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::message::{Message, Packet};

    fn id(text: &str) -> Id {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{text},"method":"ping"}}"#);
        match Packet::parse(body.as_bytes()) {
            Ok(Packet::Single(Message::Request { id, .. })) => id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_reply_is_one_line_for_every_reader() {
        let text = "a\u{2028}b\u{2029}c\u{85}d\ne\rf\u{b}\u{c}\u{1c}";
        let reply = Reply::tool(&id("\"i\u{2028}\""), &ToolResult::text(text));
        assert!(!reply.as_str().contains([
            '\u{2028}', '\u{2029}', '\u{85}', '\n', '\r', '\u{b}', '\u{c}', '\u{1c}'
        ]));
        let back: serde_json::Value = serde_json::from_str(reply.as_str()).expect("valid JSON");
        assert_eq!(back["result"]["content"][0]["text"], text);
        assert_eq!(back["id"], "i\u{2028}");
    }

    #[test]
    fn an_answer_over_the_limit_becomes_a_short_failure() {
        for (row, text, is_error) in [
            ("just fits", "x".repeat(MAX_EVENT_BYTES - 200), false),
            ("too large", "x".repeat(MAX_EVENT_BYTES + 1), true),
            (
                "too large only after escaping",
                "\u{2028}".repeat(MAX_EVENT_BYTES / 4),
                true,
            ),
            ("quotes double", "\"".repeat(MAX_EVENT_BYTES / 2), true),
        ] {
            let reply = Reply::tool(&id("1"), &ToolResult::text(text));
            assert!(reply.as_str().len() < 1 << 20, "{row}");
            let back: serde_json::Value = serde_json::from_str(reply.as_str()).expect("valid JSON");
            assert_eq!(back["result"]["isError"], is_error, "{row}");
        }
        let reply = Reply::result(&id("1"), &"x".repeat(2 << 20));
        assert!(reply.as_str().contains("-32603"));
    }

    #[test]
    fn an_error_without_a_readable_id_says_null() {
        let reply = Reply::error(None, ErrorCode::Parse, "no");
        assert_eq!(
            reply.as_str(),
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}"#
        );
    }
}
