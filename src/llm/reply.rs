//! Answers made here: chunks, whole completions and error bodies in OpenAI's shape.

use super::edit::quote;

pub const DONE: &str = "data: [DONE]\n\n";

/// Fields every chunk and completion carries. Ids and times come from the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    pub id: String,
    /// Unix seconds.
    pub created: u64,
    pub model: String,
}

impl Meta {
    pub(super) fn head(&self, object: &str) -> String {
        format!(
            r#""id":{},"object":"{object}","created":{},"model":{}"#,
            quote(&self.id),
            self.created,
            quote(&self.model)
        )
    }

    /// One `data:` frame whose delta is the given JSON object.
    pub fn delta_frame(&self, delta: &str) -> String {
        format!(
            "data: {{{},\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":null}}]}}\n\n",
            self.head("chat.completion.chunk")
        )
    }
    pub fn text_frame(&self, text: &str) -> String {
        self.delta_frame(&format!(
            r#"{{"role":"assistant","content":{}}}"#,
            quote(text)
        ))
    }
    pub fn finish_frame(&self, reason: &str) -> String {
        format!(
            "data: {{{},\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"{reason}\"}}]}}\n\n",
            self.head("chat.completion.chunk")
        )
    }
    /// A whole streamed assistant message: what the plugin shows as a normal answer.
    pub fn message_stream(&self, text: &str) -> String {
        [&*self.text_frame(text), &*self.finish_frame("stop"), DONE].concat()
    }
    /// A whole completion with that text.
    pub fn completion(&self, text: &str) -> String {
        format!(
            r#"{{{},"choices":[{{"index":0,"message":{{"role":"assistant","content":{}}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}}}"#,
            self.head("chat.completion"),
            quote(text)
        )
    }
}

/// OpenAI's error object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorBody {
    pub message: String,
    /// OpenAI's `type`: `invalid_request_error`, `api_error`, …
    pub kind: &'static str,
    pub code: &'static str,
}

impl ErrorBody {
    pub fn to_json(&self) -> String {
        format!(
            r#"{{"error":{{"message":{},"type":"{}","param":null,"code":"{}"}}}}"#,
            quote(&self.message),
            self.kind,
            self.code
        )
    }
    /// The error as the last event of a stream that cannot go on.
    pub fn to_frame(&self) -> String {
        format!("data: {}\n\n", self.to_json())
    }
}

/// `json` as one frame; line breaks between its tokens become data lines.
pub fn data_frame(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + 16);
    for line in json.split(['\n', '\r']).filter(|l| !l.is_empty()) {
        out.push_str("data: ");
        out.push_str(line);
        out.push('\n');
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        Meta {
            id: "chatcmpl-1".into(),
            created: 7,
            model: "m\"".into(),
        }
    }

    #[test]
    fn a_message_stream_has_every_field_that_sdks_require() {
        assert_eq!(
            meta().message_stream("a\n\"b\""),
            concat!(
                r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m\"","choices":[{"index":0,"delta":{"role":"assistant","content":"a\n\"b\""},"finish_reason":null}]}"#,
                "\n\n",
                r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m\"","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
                "\n\ndata: [DONE]\n\n",
            )
        );
    }

    #[test]
    fn bodies_are_well_formed_json() {
        let error = ErrorBody {
            message: "a \"b\"\n".into(),
            kind: "api_error",
            code: "x",
        };
        for text in [meta().completion("</t> \u{1}"), error.to_json()] {
            assert!(
                serde_json::from_str::<serde_json::Value>(&text).is_ok(),
                "{text}"
            );
        }
        assert_eq!(data_frame("{\"a\":\r\n1}"), "data: {\"a\":\ndata: 1}\n\n");
    }
}
