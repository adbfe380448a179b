//! JSON-RPC 2.0 messages as a client sends them.
//!
//! An id is kept exactly as it was written (`0`, `"0"` and `1e0` are three ids), because it must
//! go back byte for byte and is never computed with.

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::reply::ErrorCode;

/// Messages taken from one batch; more are refused as a whole.
pub const MAX_BATCH: usize = 32;
/// Longest id, as written; it is copied into every reply.
const MAX_ID_BYTES: usize = 256;

/// Raw JSON text of a string or a number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Id(Box<str>);

impl Id {
    /// The JSON text, ready to be put into a reply.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    pub(super) fn from_raw(raw: &RawValue) -> Option<Self> {
        let text = raw.get();
        let is_id = text.len() <= MAX_ID_BYTES
            && text
                .bytes()
                .next()
                .is_some_and(|b| b == b'"' || b == b'-' || b.is_ascii_digit());
        is_id.then(|| Id(text.into()))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One well-formed message.
#[derive(Debug)]
pub enum Message {
    Request {
        id: Id,
        method: String,
        params: Option<Box<RawValue>>,
    },
    Notification {
        method: String,
        params: Option<Box<RawValue>>,
    },
    /// Answer to a request of ours. We send none, so it is accepted and dropped.
    Response,
}

/// What one POST holds. A member of a batch that is no message fails alone.
#[derive(Debug)]
pub enum Packet {
    Single(Message),
    Batch(Vec<Result<Message, MessageError>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    #[error("parse error: send one JSON-RPC 2.0 message in UTF-8 JSON")]
    NotJson,
    #[error(
        "invalid request: needs \"jsonrpc\":\"2.0\", a \"method\", and an \"id\" that is a string or a number"
    )]
    NotAMessage,
    #[error("invalid request: a batch holds 1 to 32 messages")]
    BatchSize,
    #[error(
        "invalid request: batches ended with protocol 2025-06-18, send one message per request"
    )]
    BatchNotSpoken,
}

impl MessageError {
    pub fn code(self) -> ErrorCode {
        match self {
            MessageError::NotJson => ErrorCode::Parse,
            MessageError::NotAMessage | MessageError::BatchSize | MessageError::BatchNotSpoken => {
                ErrorCode::InvalidRequest
            }
        }
    }
}

#[derive(Deserialize)]
struct Wire<'a> {
    jsonrpc: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    method: Option<String>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// Keeps an explicit `null` apart from an absent member.
fn present<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(d).map(Some)
}

impl Packet {
    pub fn parse(body: &[u8]) -> Result<Self, MessageError> {
        let raw: &RawValue = serde_json::from_slice(body).map_err(|_| MessageError::NotJson)?;
        if !raw.get().starts_with('[') {
            return Message::parse(raw).map(Packet::Single);
        }
        let members: Vec<&RawValue> =
            serde_json::from_str(raw.get()).map_err(|_| MessageError::NotJson)?;
        if members.is_empty() || members.len() > MAX_BATCH {
            return Err(MessageError::BatchSize);
        }
        Ok(Packet::Batch(
            members.into_iter().map(Message::parse).collect(),
        ))
    }
}

impl Message {
    fn parse(raw: &RawValue) -> Result<Self, MessageError> {
        let Wire {
            jsonrpc,
            id,
            method,
            params,
            result,
            error,
        } = serde_json::from_str(raw.get()).map_err(|_| MessageError::NotAMessage)?;
        if jsonrpc.as_deref() != Some("2.0") {
            return Err(MessageError::NotAMessage);
        }
        let params = params.map(ToOwned::to_owned);
        match (method, id, result.is_some() || error.is_some()) {
            (Some(method), Some(id), false) => Ok(Message::Request {
                id: Id::from_raw(id).ok_or(MessageError::NotAMessage)?,
                method,
                params,
            }),
            (Some(method), None, false) => Ok(Message::Notification { method, params }),
            (None, Some(_), true) => Ok(Message::Response),
            (Some(_), _, true) | (None, None, _) | (None, Some(_), false) => {
                Err(MessageError::NotAMessage)
            }
        }
    }

    pub fn is_initialize(&self) -> bool {
        matches!(self, Message::Request { method, .. } if method == "initialize")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn single(body: &str) -> Result<Message, MessageError> {
        match Packet::parse(body.as_bytes())? {
            Packet::Single(m) => Ok(m),
            Packet::Batch(_) => panic!("a batch: {body}"),
        }
    }

    #[test]
    fn ids_come_back_as_they_were_written() {
        for (row, id) in [
            ("zero, the first id of mcp 1.x", "0"),
            ("a number", "17"),
            ("a negative number", "-3"),
            ("a number past 2^53", "9007199254740993"),
            ("a string", "\"a-1\""),
            ("a string with an escape", r#""\u0041\n""#),
            ("an empty string", "\"\""),
        ] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            match single(&body) {
                Ok(Message::Request { id: got, .. }) => assert_eq!(got.as_json(), id, "{row}"),
                other => panic!("{row}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_no_message_is_refused_with_the_right_code() {
        let long = format!(
            r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#,
            "x".repeat(300)
        );
        for (row, body, want) in [
            ("empty body", "", MessageError::NotJson),
            (
                "half an object",
                r#"{"jsonrpc":"2.0","#,
                MessageError::NotJson,
            ),
            ("two objects", "{}{}", MessageError::NotJson),
            ("a bare string", "\"ping\"", MessageError::NotAMessage),
            ("an empty object", "{}", MessageError::NotAMessage),
            (
                "no version",
                r#"{"id":1,"method":"ping"}"#,
                MessageError::NotAMessage,
            ),
            (
                "version 1.0",
                r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
                MessageError::NotAMessage,
            ),
            (
                "null id",
                r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
                MessageError::NotAMessage,
            ),
            (
                "boolean id",
                r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#,
                MessageError::NotAMessage,
            ),
            (
                "object id",
                r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
                MessageError::NotAMessage,
            ),
            (
                "the same member twice",
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"pong"}"#,
                MessageError::NotAMessage,
            ),
            (
                "request and response at once",
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
                MessageError::NotAMessage,
            ),
            ("an endless id", &long, MessageError::NotAMessage),
            ("an empty batch", "[]", MessageError::BatchSize),
        ] {
            assert_eq!(Packet::parse(body.as_bytes()).err(), Some(want), "{row}");
        }
        assert_eq!(
            Packet::parse(b"\xff\xfe").err(),
            Some(MessageError::NotJson)
        );
    }

    #[test]
    fn requests_notifications_and_responses_are_told_apart() {
        assert!(matches!(
            single(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#),
            Ok(Message::Notification { .. })
        ));
        assert!(matches!(
            single(r#"{"jsonrpc":"2.0","id":1,"result":null}"#),
            Ok(Message::Response)
        ));
        assert!(matches!(
            single(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}"#),
            Ok(Message::Response)
        ));
    }

    #[test]
    fn a_batch_keeps_its_good_members() {
        let body = br#"[{"jsonrpc":"2.0","id":1,"method":"ping"}, 7]"#;
        match Packet::parse(body) {
            Ok(Packet::Batch(members)) => {
                assert!(matches!(members[0], Ok(Message::Request { .. })));
                assert_eq!(members[1].as_ref().err(), Some(&MessageError::NotAMessage));
            }
            other => panic!("{other:?}"),
        }
        let many = format!("[{}]", vec!["1"; MAX_BATCH + 1].join(","));
        assert_eq!(
            Packet::parse(many.as_bytes()).err(),
            Some(MessageError::BatchSize)
        );
    }

    #[test]
    fn deep_nesting_is_survived() {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{}{}}}"#,
            "[".repeat(200_000),
            "]".repeat(200_000)
        );
        assert!(single(&body).is_ok());
    }
}
