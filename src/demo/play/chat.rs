//! The LLM's endpoints, with the plugin's own requests (WIRE.md 1 to 3), read as strictly as the
//! newest SDK reads them: what would give an empty bubble there is a fault here.
//!
//! With a real LLM only the protocol is judged: what it says is its own affair.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::{
    answer::Answer,
    call::Call,
    player::Turn,
    stand_in::{INTRODUCTION, PAUSE},
    step::{Fault, must},
};

const MODELS: &str = "https://comfyui-copilot-server.onrender.com/v1/models";
const CHAT: &str = "https://comfyui-copilot-server.onrender.com/v1/chat/completions";
const MAIN_AGENT: &str =
    "You are a powerful AI assistant for designing image processing workflows.";
const REWRITE_AGENT: &str = "你是一个工作流改写代理 (workflow rewrite agent).";
const REWRITE_INTENT: &str = "add an upscaler behind the VAE decoder";
/// What the rewrite and debug agents ask for, whatever the user picked (WIRE.md 2.3).
const HARD_CODED_MODEL: &str = "us.anthropic.claude-sonnet-4-20250514-v1:0";
const PICKED_MODEL: &str = "gemini-2.5-flash";
/// For a real LLM: a demo is no place for an essay.
const FEW_TOKENS: u32 = 48;
/// How much of an answer is shown, in characters.
const SHOWN: usize = 160;

pub async fn models(turn: &mut Turn) -> Result<String, Fault> {
    let answer = turn.send(Call::get(MODELS)?.by_plugin()).await?;
    judge_models(&answer)
}

/// The plugin reads `data[].id` and nothing else.
pub fn judge_models(answer: &Answer) -> Result<String, Fault> {
    answer.must_be(200)?;
    let list = answer.json()?;
    let ids: Vec<&str> = list["data"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|m| m["id"].as_str())
        .collect();
    let first = ids
        .first()
        .ok_or_else(|| Fault("the model list is empty".into()))?;
    Ok(match ids.len() {
        1 => format!("1 model: {first}"),
        n => format!("{n} models, the first is {first}"),
    })
}

pub async fn streamed(turn: &mut Turn) -> Result<String, Fault> {
    let messages = json!([
        {"role": "system", "content": MAIN_AGENT},
        {"role": "user", "content": "What does a KSampler do?"},
    ]);
    let (chat, answer) = ask(
        turn,
        Call::post(CHAT, &Value::Null)?,
        PICKED_MODEL,
        messages,
        json!([]),
    )
    .await?;
    judge_stream(turn, &chat, &answer)
}

/// Asks once with these messages, streamed, and reads the stream.
async fn ask(
    turn: &mut Turn,
    call: Call,
    model: &str,
    messages: Value,
    tools: Value,
) -> Result<(Chat, Answer), Fault> {
    let mut body = json!({"model": model, "stream": true, "messages": messages});
    if tools.as_array().is_some_and(|t| !t.is_empty()) {
        body["tools"] = tools;
    }
    keep_it_short(turn, &mut body);
    let answer = turn.send(call.by_plugin().json(&body)).await?;
    answer.must_be(200)?;
    let chat = Chat::read(&answer)?;
    Ok((chat, answer))
}

fn keep_it_short(turn: &Turn, body: &mut Value) {
    if !turn.player.llm.is_stand_in() {
        body["max_tokens"] = json!(FEW_TOKENS);
    }
}

/// A chat by another door, for `doors`.
pub async fn short_chat(turn: &mut Turn, call: Call) -> Result<String, Fault> {
    let messages = json!([{"role": "user", "content": "Hello, who are you?"}]);
    let (chat, answer) = ask(turn, call, PICKED_MODEL, messages, json!([])).await?;
    judge_stream(turn, &chat, &answer)
}

/// A stream that came as one: pieces over time, with an end, and words in it.
fn judge_stream(turn: &Turn, chat: &Chat, answer: &Answer) -> Result<String, Fault> {
    must(answer.pieces > 1, || {
        "the whole stream came in one piece".into()
    })?;
    if turn.player.llm.is_stand_in() {
        must(chat.text.starts_with(INTRODUCTION), || {
            format!("the text is: {}", chat.text)
        })?;
        // Whoever buffers gives all pieces at once; a busy machine reads the first ones late.
        let shortest = PAUSE * u32::try_from(chat.chunks / 4).unwrap_or(u32::MAX);
        must(answer.span >= shortest, || {
            format!(
                "{} pieces within {}: somebody buffers",
                answer.pieces,
                seconds(answer.span)
            )
        })?;
    }
    let (pieces, span) = (answer.pieces, seconds(answer.span));
    Ok(format!(
        "{pieces} pieces over {span}, to the end: {}",
        start_of(&chat.text)
    ))
}

fn start_of(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn seconds(span: Duration) -> String {
    format!("{:.2} s", span.as_secs_f64())
}

pub async fn with_a_tool(turn: &mut Turn) -> Result<String, Fault> {
    let tools = json!([tool("get_current_workflow", json!({}))]);
    let question = json!([
        {"role": "system", "content": MAIN_AGENT},
        {"role": "user", "content": "Use get_current_workflow and tell me what is in my workflow."},
    ]);
    let call = Call::post(CHAT, &Value::Null)?;
    let (chat, _) = ask(
        turn,
        call.clone(),
        PICKED_MODEL,
        question.clone(),
        tools.clone(),
    )
    .await?;
    let Some(asked) = chat.calls.first() else {
        must(!turn.player.llm.is_stand_in(), || {
            "no tool was called".into()
        })?;
        return Ok(format!(
            "the LLM answered without it: {}",
            start_of(&chat.text)
        ));
    };
    must(asked.name == "get_current_workflow", || {
        format!("tool {} was called", asked.name)
    })?;
    // The result as the new SDK sends it: a list, which local chat templates refuse (WIRE.md 2.2).
    let mut messages = question;
    if let Some(messages) = messages.as_array_mut() {
        messages.push(
            json!({"role": "assistant", "content": null, "tool_calls": [asked.as_message()]}),
        );
        messages.push(json!({"role": "tool", "tool_call_id": asked.id,
            "content": [{"type": "text", "text": "KSampler -> VAEDecode -> SaveImage"}]}));
    }
    let (chat, answer) = ask(turn, call, PICKED_MODEL, messages, tools).await?;
    if turn.player.llm.is_stand_in() {
        must(chat.text.contains("VAEDecode"), || {
            "the tool's result did not arrive".into()
        })?;
    }
    Ok(format!(
        "{} called, its result read, answer in {} pieces",
        asked.name, answer.pieces
    ))
}

pub async fn hand_over(turn: &mut Turn) -> Result<String, Fault> {
    let tools = json!([tool(
        "transfer_to_workflow_rewrite_agent",
        json!({"latest_rewrite_intent": {"type": "string"}}),
    )]);
    let ask_for = format!("Call transfer_to_workflow_rewrite_agent: {REWRITE_INTENT}.");
    let messages = json!([
        {"role": "system", "content": MAIN_AGENT},
        {"role": "user", "content": ask_for},
    ]);
    let call = Call::post(CHAT, &Value::Null)?;
    let (chat, _) = ask(turn, call, PICKED_MODEL, messages, tools).await?;
    match chat.calls.first() {
        Some(call) => {
            let arguments: Value = serde_json::from_str(&call.arguments)
                .map_err(|e| Fault(format!("the call's arguments are no JSON: {e}")))?;
            let has_intent = arguments["latest_rewrite_intent"].is_string();
            must(has_intent || !turn.player.llm.is_stand_in(), || {
                "the intent is missing".into()
            })?;
            Ok(format!("{} called", call.name))
        }
        None => {
            must(!turn.player.llm.is_stand_in(), || {
                "no hand-over was called".into()
            })?;
            Ok(format!(
                "the LLM answered without it: {}",
                start_of(&chat.text)
            ))
        }
    }
}

/// Its request has no user message at all: the intent is in the tool call only (WIRE.md 2.3).
pub async fn rewrite(turn: &mut Turn) -> Result<String, Fault> {
    let arguments = json!({"latest_rewrite_intent": REWRITE_INTENT}).to_string();
    let handed_over = ToolCall {
        id: "call_handoff".into(),
        name: "transfer_to_workflow_rewrite_agent".into(),
        arguments,
    };
    let messages = json!([
        {"role": "system", "content": REWRITE_AGENT},
        {"role": "assistant", "content": null, "tool_calls": [handed_over.as_message()]},
        {"role": "tool", "tool_call_id": handed_over.id,
         "content": "{\"assistant\": \"Workflow Rewrite Agent\"}"},
    ]);
    let tools = json!([tool(
        "update_workflow",
        json!({"workflow_data": {"type": "string"}})
    )]);
    let call = Call::post(CHAT, &Value::Null)?;
    let (chat, _) = ask(turn, call, HARD_CODED_MODEL, messages, tools).await?;
    if turn.player.llm.is_stand_in() {
        must(chat.text.contains(REWRITE_INTENT), || {
            format!("the intent did not arrive; the answer was: {}", chat.text)
        })?;
    }
    Ok(match turn.player.llm.is_stand_in() {
        true => "no user message was sent; the intent arrived as one".into(),
        false => "no user message was sent; the LLM got one and answered".into(),
    })
}

pub async fn summary(turn: &mut Turn) -> Result<String, Fault> {
    let schema = json!({"type": "object", "properties": {"summary": {"type": "string"}},
        "required": ["summary"], "additionalProperties": false});
    let mut body = json!({
        "model": PICKED_MODEL,
        "stream": false,
        "messages": [
            {"role": "system", "content": "You are an expert conversation summarizer."},
            {"role": "user", "content": "## Conversation Messages\nuser: hello\nassistant: hi"},
        ],
        "response_format": {"type": "json_schema", "json_schema":
            {"name": "SummaryResponse", "strict": true, "schema": schema}},
    });
    keep_it_short(turn, &mut body);
    let answer = turn.send(Call::post(CHAT, &body)?.by_plugin()).await?;
    answer.must_be(200)?;
    let whole = answer.json()?;
    let content = whole
        .pointer("/choices/0/message/content")
        .and_then(Value::as_str);
    let content = content.ok_or_else(|| Fault("the answer has no content".into()))?;
    let parsed: Option<Value> = serde_json::from_str(content).ok();
    let summary = parsed.as_ref().and_then(|v| v["summary"].as_str());
    must(summary.is_some() || !turn.player.llm.is_stand_in(), || {
        format!("the content is no SummaryResponse: {content}")
    })?;
    Ok(match summary {
        Some(_) => "one JSON answer, as the schema wants it".into(),
        None => "the LLM answered without following the schema".into(),
    })
}

fn tool(name: &str, properties: Value) -> Value {
    json!({"type": "function", "function": {"name": name, "description": "a tool of the plugin",
        "parameters": {"type": "object", "properties": properties}}})
}

/// A streamed answer put together.
#[derive(Debug, Default)]
struct Chat {
    text: String,
    calls: Vec<ToolCall>,
    chunks: usize,
}

#[derive(Clone, Debug, Default)]
struct ToolCall {
    id: String,
    name: String,
    arguments: String,
}

impl ToolCall {
    fn as_message(&self) -> Value {
        json!({"id": self.id, "type": "function",
            "function": {"name": self.name, "arguments": self.arguments}})
    }
}

impl Chat {
    /// Fails wherever a current SDK would show nothing (WIRE.md 2.4).
    fn read(answer: &Answer) -> Result<Self, Fault> {
        let mut chat = Chat::default();
        let mut done = false;
        for event in answer.events()? {
            let data = event.data.unwrap_or_default();
            if data.as_ref() == b"[DONE]" {
                done = true;
                continue;
            }
            let chunk: Value = serde_json::from_slice(&data)
                .map_err(|e| Fault(format!("a chunk is no JSON: {e}")))?;
            chat.add(&chunk)?;
        }
        must(done, || "the stream has no [DONE]".into())?;
        must(!chat.text.is_empty() || !chat.calls.is_empty(), || {
            "the answer is empty".into()
        })?;
        let incomplete = chat
            .calls
            .iter()
            .find(|c| c.id.is_empty() || c.name.is_empty());
        must(incomplete.is_none(), || {
            "a tool call has no id or no name".into()
        })?;
        Ok(chat)
    }

    fn add(&mut self, chunk: &Value) -> Result<(), Fault> {
        must(chunk.get("error").is_none(), || {
            format!("the stream holds an error: {chunk}")
        })?;
        for field in ["id", "object", "created", "model", "choices"] {
            must(chunk.get(field).is_some(), || {
                format!("a chunk has no {field}")
            })?;
        }
        self.chunks += 1;
        for choice in chunk["choices"].as_array().into_iter().flatten() {
            must(choice["index"].is_number(), || {
                "a choice has no index".into()
            })?;
            let delta = &choice["delta"];
            self.text
                .push_str(delta["content"].as_str().unwrap_or_default());
            for part in delta["tool_calls"].as_array().into_iter().flatten() {
                self.add_call(part)?;
            }
        }
        Ok(())
    }

    fn add_call(&mut self, part: &Value) -> Result<(), Fault> {
        let index = part["index"]
            .as_u64()
            .and_then(|i| usize::try_from(i).ok())
            .unwrap_or(0);
        must(index <= self.calls.len(), || {
            "a tool call is out of order".into()
        })?;
        if index == self.calls.len() {
            self.calls.push(ToolCall::default());
        }
        if let Some(call) = self.calls.get_mut(index) {
            call.id.push_str(part["id"].as_str().unwrap_or_default());
            let function = &part["function"];
            call.name
                .push_str(function["name"].as_str().unwrap_or_default());
            call.arguments
                .push_str(function["arguments"].as_str().unwrap_or_default());
        }
        Ok(())
    }
}
