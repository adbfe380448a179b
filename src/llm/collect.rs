//! Puts a repaired stream together into one whole completion, for servers that stream unasked.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Chunks are read from our own repair's output, so every required field is there.
#[derive(Debug, Default)]
pub struct Collector {
    head: Map<String, Value>,
    choices: BTreeMap<u64, Choice>,
    usage: Option<Value>,
}

#[derive(Debug, Default)]
struct Choice {
    content: Option<String>,
    reasoning: Option<String>,
    calls: BTreeMap<u64, Value>,
    finish: Option<String>,
}

impl Collector {
    /// Takes one chunk's JSON; anything else is ignored.
    pub fn add(&mut self, chunk: &str) {
        let Ok(Value::Object(mut chunk)) = serde_json::from_str(chunk) else {
            return;
        };
        for choice in chunk
            .get("choices")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let index = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
            self.choices.entry(index).or_default().add(choice);
        }
        if let Some(usage) = chunk.remove("usage").filter(|u| !u.is_null()) {
            self.usage = Some(usage);
        }
        if self.head.is_empty() {
            chunk.remove("choices");
            self.head = chunk;
        }
    }

    pub fn finish(self) -> String {
        let mut whole = self.head;
        whole.insert("object".into(), "chat.completion".into());
        let choices: Vec<Value> = self
            .choices
            .into_iter()
            .map(|(index, choice)| choice.finish(index))
            .collect();
        whole.insert("choices".into(), choices.into());
        if let Some(usage) = self.usage {
            whole.insert("usage".into(), usage);
        }
        Value::Object(whole).to_string()
    }
}

impl Choice {
    fn add(&mut self, choice: &Value) {
        let Some(delta) = choice.get("delta") else {
            return;
        };
        append(&mut self.content, delta.get("content"));
        append(&mut self.reasoning, delta.get("reasoning_content"));
        for call in delta
            .get("tool_calls")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let index = call.get("index").and_then(Value::as_u64).unwrap_or(0);
            match self.calls.get_mut(&index) {
                None => {
                    let mut call = call.clone();
                    if let Value::Object(call) = &mut call {
                        call.remove("index");
                    }
                    self.calls.insert(index, call);
                }
                Some(known) => {
                    let more = call.pointer("/function/arguments").and_then(Value::as_str);
                    if let (Some(Value::String(all)), Some(more)) =
                        (known.pointer_mut("/function/arguments"), more)
                    {
                        all.push_str(more);
                    }
                }
            }
        }
        if let Some(reason) = choice.get("finish_reason").and_then(Value::as_str) {
            self.finish = Some(reason.to_owned());
        }
    }

    fn finish(self, index: u64) -> Value {
        let mut message = json!({"role": "assistant", "content": self.content});
        if let Value::Object(message) = &mut message {
            if let Some(reasoning) = self.reasoning {
                message.insert("reasoning_content".into(), reasoning.into());
            }
            if !self.calls.is_empty() {
                message.insert("tool_calls".into(), self.calls.into_values().collect());
            }
        }
        json!({"index": index, "message": message, "finish_reason": self.finish})
    }
}

fn append(to: &mut Option<String>, text: Option<&Value>) {
    if let Some(text) = text.and_then(Value::as_str) {
        to.get_or_insert_default().push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_becomes_one_answer() {
        let mut collector = Collector::default();
        for chunk in [
            r#"{"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"a"}}]}"#,
            r#"{"id":"x","choices":[{"index":0,"delta":{"content":"b","tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":"{"}}]}}]}"#,
            r#"{"id":"x","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]},"finish_reason":"tool_calls"}]}"#,
            "[DONE]",
            r#"{"id":"x","choices":[],"usage":{"prompt_tokens":1}}"#,
        ] {
            collector.add(chunk);
        }
        let got: Value = serde_json::from_str(&collector.finish()).expect("JSON");
        let want = json!({
            "id": "x", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": "ab",
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}}],
            "usage": {"prompt_tokens": 1},
        });
        assert_eq!(got, want);
    }
}
