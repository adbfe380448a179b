//! What the stand-in answers: pure, from the request alone.
//!
//! It calls a tool when the newest user message names one that is offered and no result is there
//! yet; it fills a JSON schema when one is given; else it says what it is, and repeats what it was
//! asked, so that a person sees that their words arrived.

use serde_json::{Map, Value, json};

pub const MODEL: &str = "demo-stand-in";
pub const INTRODUCTION: &str = "I am the demo's stand-in, not a language model.";
const ADVICE: &str = "Start vLLM, llama.cpp, Ollama or LM Studio and the demo uses that instead.";
/// How much of a person's words is repeated, in characters.
const REPEATED: usize = 120;
/// Deeper schemas than the plugin's are not filled.
const SCHEMA_DEPTH: usize = 8;

/// What local chat templates refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("messages must be a list of messages")]
    NoMessages,
    #[error("No user query found in messages.")]
    NoUser,
    #[error("the content of a tool message must be a string")]
    ToolContent,
    #[error("model {MODEL} is the only one here")]
    Model,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Text(String),
    Call { name: String, arguments: String },
}

/// Reads a chat request.
pub fn answer(request: &Value) -> Result<Answer, Refusal> {
    if request["model"] != MODEL {
        return Err(Refusal::Model);
    }
    let messages = request["messages"].as_array().ok_or(Refusal::NoMessages)?;
    let of_role = |role: &'static str| messages.iter().filter(move |m| m["role"] == role);
    if of_role("tool").any(|m| !m["content"].is_string()) {
        return Err(Refusal::ToolContent);
    }
    let user = of_role("user").next_back().ok_or(Refusal::NoUser)?;
    let user = text_of(&user["content"]);
    if let Some(schema) = request.pointer("/response_format/json_schema/schema") {
        return Ok(Answer::Text(fill(schema, SCHEMA_DEPTH).to_string()));
    }
    let results: Vec<&str> = of_role("tool")
        .filter_map(|m| m["content"].as_str())
        .collect();
    if results.is_empty()
        && let Some(call) = call_named_in(&user, &request["tools"])
    {
        return Ok(call);
    }
    let said = match results.last() {
        Some(result) if !result.contains("\"assistant\"") => {
            format!("The tool said: {}", cut(result))
        }
        // The result of a hand-off names only the next agent.
        Some(_) | None => format!("You asked: {}", cut(&user)),
    };
    Ok(Answer::Text(format!("{INTRODUCTION} {said} {ADVICE}")))
}

fn call_named_in(user: &str, tools: &Value) -> Option<Answer> {
    let offered = tools.as_array()?.iter().map(|tool| &tool["function"]);
    let function = offered
        .into_iter()
        .find(|f| f["name"].as_str().is_some_and(|n| user.contains(n)))?;
    let name = function["name"].as_str()?.to_owned();
    // Every text parameter gets the person's words.
    let mut arguments = Map::new();
    let parameters = function
        .pointer("/parameters/properties")
        .and_then(Value::as_object);
    for (parameter, schema) in parameters.into_iter().flatten() {
        if schema["type"] == "string" {
            arguments.insert(parameter.clone(), json!(user));
        }
    }
    Some(Answer::Call {
        name,
        arguments: Value::Object(arguments).to_string(),
    })
}

fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().filter_map(|p| p["text"].as_str()).collect();
            texts.join(" ")
        }
        _ => String::new(),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(REPEATED).collect()
}

/// The smallest value of a schema, its texts being our introduction.
fn fill(schema: &Value, depth: usize) -> Value {
    if depth == 0 {
        return Value::Null;
    }
    match schema["type"].as_str() {
        Some("string") => json!(INTRODUCTION),
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        Some(_) | None => {
            let properties = schema["properties"].as_object();
            let filled = properties.into_iter().flatten();
            Value::Object(
                filled
                    .map(|(k, s)| (k.clone(), fill(s, depth - 1)))
                    .collect(),
            )
        }
    }
}

impl Answer {
    /// As a person reads it, cut into what an LLM would call tokens.
    fn tokens(&self) -> Vec<&str> {
        match self {
            Answer::Text(text) => text.split_inclusive(' ').collect(),
            Answer::Call { arguments, .. } => {
                let mut middle = arguments.len() / 2;
                while !arguments.is_char_boundary(middle) {
                    middle -= 1;
                }
                let (head, tail) = arguments.split_at(middle);
                vec![head, tail]
            }
        }
    }

    fn finish_reason(&self) -> &'static str {
        match self {
            Answer::Text(_) => "stop",
            Answer::Call { .. } => "tool_calls",
        }
    }

    fn usage(&self) -> Value {
        let tokens = self.tokens().len();
        json!({"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1})
    }

    fn call(name: &str, arguments: &str) -> Value {
        json!({"index": 0, "id": "call_demo", "type": "function",
               "function": {"name": name, "arguments": arguments}})
    }

    /// A whole `chat.completion`.
    pub fn whole(&self) -> Value {
        let message = match self {
            Answer::Text(text) => json!({"role": "assistant", "content": text}),
            Answer::Call { name, arguments } => {
                json!({"role": "assistant", "content": null, "tool_calls": [Self::call(name, arguments)]})
            }
        };
        json!({
            "id": "demo", "object": "chat.completion", "created": 1, "model": MODEL,
            "choices": [{"index": 0, "message": message, "finish_reason": self.finish_reason()}],
            "usage": self.usage(),
        })
    }

    /// The same as server-sent events.
    pub fn events(&self, with_usage: bool) -> Vec<String> {
        let mut deltas: Vec<(Value, Value)> = Vec::new();
        for (i, token) in self.tokens().into_iter().enumerate() {
            let mut delta = match self {
                Answer::Text(_) => json!({"content": token}),
                Answer::Call { name, .. } if i == 0 => {
                    json!({"content": null, "tool_calls": [Self::call(name, token)]})
                }
                Answer::Call { .. } => {
                    json!({"tool_calls": [{"index": 0, "function": {"arguments": token}}]})
                }
            };
            if i == 0
                && let Some(delta) = delta.as_object_mut()
            {
                delta.insert("role".to_owned(), json!("assistant"));
            }
            deltas.push((delta, Value::Null));
        }
        deltas.push((json!({}), json!(self.finish_reason())));
        let chunk = |choices: Value, usage: Value| {
            json!({"id": "demo", "object": "chat.completion.chunk", "created": 1, "model": MODEL,
                   "choices": choices, "usage": usage})
        };
        let mut chunks: Vec<Value> = deltas
            .into_iter()
            .map(|(delta, end)| json!([{"index": 0, "delta": delta, "finish_reason": end}]))
            .map(|choices| chunk(choices, Value::Null))
            .collect();
        if with_usage {
            chunks.push(chunk(json!([]), self.usage()));
        }
        let mut events: Vec<String> = chunks.iter().map(|c| format!("data: {c}\n\n")).collect();
        events.push("data: [DONE]\n\n".to_owned());
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(messages: Value, more: Value) -> Result<Answer, Refusal> {
        let mut request = json!({"model": MODEL, "messages": messages});
        for (key, value) in more.as_object().unwrap() {
            request[key] = value.clone();
        }
        answer(&request)
    }

    #[test]
    fn it_answers_as_a_strict_local_llm_would() {
        let tools = json!({"tools": [{"type": "function", "function": {"name": "look",
            "parameters": {"properties": {"what": {"type": "string"}}}}}]});
        let user = json!({"role": "user", "content": "please look"});
        let call = Answer::Call {
            name: "look".into(),
            arguments: r#"{"what":"please look"}"#.into(),
        };
        for (row, messages, more, expected) in [
            (
                "an offered tool that is named is called",
                json!([user]),
                tools.clone(),
                Ok(Some(call)),
            ),
            (
                "a tool that is not offered is not",
                json!([user]),
                json!({}),
                Ok(None),
            ),
            (
                "after its result it answers",
                json!([user, {"role": "tool", "content": "a cat"}]),
                tools,
                Ok(None),
            ),
            (
                "a request without a user message is refused",
                json!([{"role": "system", "content": "x"}]),
                json!({}),
                Err(Refusal::NoUser),
            ),
            (
                "a tool result as a list is refused",
                json!([user, {"role": "tool", "content": [{"type": "text", "text": "x"}]}]),
                json!({}),
                Err(Refusal::ToolContent),
            ),
        ] {
            let got = ask(messages, more);
            match (got, expected) {
                (Ok(Answer::Text(text)), Ok(None)) => {
                    assert!(text.starts_with(INTRODUCTION), "{row}")
                }
                (got, Ok(Some(expected))) => assert_eq!(got, Ok(expected), "{row}"),
                (got, expected) => assert_eq!(got.err(), expected.err(), "{row}"),
            }
        }
    }

    #[test]
    fn a_schema_is_filled_and_a_stream_says_the_same_as_the_whole() {
        let schema = json!({"response_format": {"type": "json_schema", "json_schema": {"schema":
            {"type": "object", "properties": {"summary": {"type": "string"}, "n": {"type": "integer"}}}}}});
        let filled = ask(json!([{"role": "user", "content": "x"}]), schema).unwrap();
        let Answer::Text(text) = &filled else {
            panic!("{filled:?}")
        };
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(value, json!({"summary": INTRODUCTION, "n": 1}));

        let events = filled.events(true);
        let streamed: String = events
            .iter()
            .filter_map(|e| serde_json::from_str::<Value>(e.strip_prefix("data: ")?).ok())
            .filter_map(|c| Some(c.pointer("/choices/0/delta/content")?.as_str()?.to_owned()))
            .collect();
        assert_eq!(streamed, *text);
        assert_eq!(
            filled.whole()["choices"][0]["message"]["content"],
            json!(text)
        );
        assert_eq!(events.last().unwrap(), "data: [DONE]\n\n");
        assert_eq!(filled.events(false).len() + 1, events.len());
    }
}
