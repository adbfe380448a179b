//! Repair of whole answers, and a whole answer told as a stream.
//!
//! Some servers ignore `stream:true`; the plugin shows nothing for a JSON answer then (WIRE.md 2.4).

use std::borrow::Cow;

use super::{
    calls::{self, Calls, Place},
    edit::{self, Editor, Object},
    repair::{Repair, Repairs},
    reply::{self, Meta},
    request::Operation,
    stream::{self, AnswerOptions},
    think::ThinkFilter,
    usage::Usage,
};

/// A whole answer as it goes to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    pub body: String,
    pub usage: Usage,
    pub repairs: Repairs,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WholeError {
    /// The upstream said 200 and reported an error.
    #[error("the LLM reported: {0}")]
    Reported(String),
    #[error("the answer is no OpenAI completion")]
    NotOpenAi,
}

/// Repairs a whole answer; what needs nothing stays byte for byte.
pub fn repair(body: &str, options: &AnswerOptions) -> Result<Whole, WholeError> {
    let object = Object::parse(body).ok_or(WholeError::NotOpenAi)?;
    if let Some(message) = stream::error_message(body, None) {
        return Err(WholeError::Reported(message));
    }
    let list = match options.operation {
        Operation::Chat | Operation::Completion => "choices",
        Operation::Embeddings => "data",
    };
    if object.last(list).and_then(edit::elements).is_none() {
        return Err(WholeError::NotOpenAi);
    }
    let usage = object
        .present("usage")
        .and_then(Usage::parse)
        .unwrap_or_default();
    let mut repairs = Repairs::default();
    if options.operation != Operation::Chat {
        return Ok(Whole {
            body: body.to_owned(),
            usage,
            repairs,
        });
    }
    let mut editor = Editor::new(body);
    fill_fields(&object, &options.meta, &mut editor, &mut repairs);
    for (at, choice) in object
        .all("choices")
        .filter_map(edit::elements)
        .flatten()
        .enumerate()
    {
        if let Some(choice) = Object::parse(choice) {
            repair_choice(&choice, at, options, &mut editor, &mut repairs);
        }
    }
    Ok(Whole {
        body: editor.finish().into_owned(),
        usage,
        repairs,
    })
}

fn fill_fields(object: &Object<'_>, meta: &Meta, editor: &mut Editor<'_>, repairs: &mut Repairs) {
    let needed = [
        ("id", edit::quote(&meta.id)),
        ("object", "\"chat.completion\"".to_owned()),
        ("created", meta.created.to_string()),
        ("model", edit::quote(&meta.model)),
    ];
    let mut added = Vec::new();
    for (key, value) in needed {
        match object.last(key) {
            None => added.push((key, value)),
            Some("null") => {
                for old in object.all(key) {
                    editor.replace(old, value.clone());
                }
            }
            Some(_) => continue,
        }
        repairs.add(Repair::Fields);
    }
    editor.add_members(object, &added);
}

fn repair_choice(
    choice: &Object<'_>,
    at: usize,
    options: &AnswerOptions,
    editor: &mut Editor<'_>,
    repairs: &mut Repairs,
) {
    let mut added = Vec::new();
    if choice.present("index").is_none() {
        match choice.last("index") {
            Some(null) => editor.replace(null, at.to_string()),
            None => added.push(("index", at.to_string())),
        }
    }
    let Some(message) = choice.last("message").and_then(Object::parse) else {
        editor.add_members(choice, &added);
        return;
    };
    let mut in_message = Vec::new();
    if message.present("role").is_none() {
        match message.last("role") {
            Some(null) => editor.replace(null, "\"assistant\""),
            None => in_message.push(("role", "\"assistant\"".to_owned())),
        }
    }
    let content = message.string("content").unwrap_or(Cow::Borrowed(""));
    let mut parted = if options.strip_think {
        ThinkFilter::part_whole(&content)
    } else {
        super::think::Parted {
            visible: content.into_owned(),
            ..Default::default()
        }
    };
    if parted.changed {
        repairs.add(Repair::Think);
    }
    let mut calls = Calls::new(call_tag(&options.meta), options.offered.clone());
    if let Some(list) = message.present("tool_calls").filter(|l| *l != "[]") {
        let repair = calls.repair(list, Place::Message, repairs);
        if let Some(new) = repair.list {
            for old in message.all("tool_calls") {
                editor.replace(old, new.clone());
            }
        }
        if !repair.unknown.is_empty() {
            if !parted.visible.trim().is_empty() {
                parted.visible.push_str("\n\n");
            }
            parted
                .visible
                .push_str(&calls::unknown_tool_text(&repair.unknown));
            parted.changed = true;
        }
    }
    if parted.changed {
        let mut set = |key, value: String| {
            let mut found = false;
            for old in message.all(key) {
                editor.replace(old, value.clone());
                found = true;
            }
            if !found {
                in_message.push((key, value));
            }
        };
        set("content", edit::quote(&parted.visible));
        if !parted.reasoning.is_empty() {
            let before = message.string("reasoning_content").unwrap_or_default();
            set(
                "reasoning_content",
                edit::quote(&format!("{before}{}", parted.reasoning)),
            );
        }
    }
    let dropped_all = calls.any_dropped() && !calls.any_kept();
    let finish = if calls.any_kept() {
        "\"tool_calls\""
    } else {
        "\"stop\""
    };
    match choice.string("finish_reason").as_deref() {
        Some("tool_calls") if !dropped_all => {}
        Some(reason) if reason != "tool_calls" => {}
        Some(_) | None => {
            repairs.add(Repair::FinishReason);
            let mut found = false;
            for old in choice.all("finish_reason") {
                editor.replace(old, finish);
                found = true;
            }
            if !found {
                added.push(("finish_reason", finish.to_owned()));
            }
        }
    }
    editor.add_members(&message, &in_message);
    editor.add_members(choice, &added);
}

/// Last characters of an answer's id: unique enough to tell one turn's calls from another's.
pub(super) fn call_tag(meta: &Meta) -> String {
    let chars: Vec<char> = meta.id.chars().collect();
    chars
        .get(chars.len().saturating_sub(8)..)
        .unwrap_or_default()
        .iter()
        .collect()
}

/// A repaired whole chat answer as a stream.
pub fn to_stream(body: &str, meta: &Meta) -> String {
    let Some(object) = Object::parse(body) else {
        return meta.message_stream("");
    };
    let own = Meta {
        id: object
            .string("id")
            .map_or_else(|| meta.id.clone(), Cow::into_owned),
        created: object
            .last("created")
            .and_then(edit::unsigned)
            .unwrap_or(meta.created),
        model: object
            .string("model")
            .map_or_else(|| meta.model.clone(), Cow::into_owned),
    };
    let head = own.head("chat.completion.chunk");
    let mut out = String::new();
    for choice in object
        .last("choices")
        .and_then(edit::elements)
        .unwrap_or_default()
    {
        let Some(choice) = Object::parse(choice) else {
            continue;
        };
        let index = choice.last("index").and_then(edit::unsigned).unwrap_or(0);
        let message = choice.last("message").unwrap_or("{}");
        let delta = with_call_indices(message);
        let finish = choice.present("finish_reason").unwrap_or("\"stop\"");
        out.push_str(&reply::data_frame(&format!(
            r#"{{{head},"choices":[{{"index":{index},"delta":{delta},"finish_reason":null}}]}}"#
        )));
        out.push_str(&reply::data_frame(&format!(
            r#"{{{head},"choices":[{{"index":{index},"delta":{{}},"finish_reason":{finish}}}]}}"#
        )));
    }
    if let Some(usage) = object.present("usage") {
        out.push_str(&reply::data_frame(&format!(
            r#"{{{head},"choices":[],"usage":{usage}}}"#
        )));
    }
    out.push_str(reply::DONE);
    out
}

fn with_call_indices(message: &str) -> String {
    let Some(object) = Object::parse(message) else {
        return "{}".to_owned();
    };
    let mut editor = Editor::new(message);
    for list in object.all("tool_calls").filter_map(edit::elements) {
        for (at, call) in list.into_iter().enumerate() {
            if let Some(call) = Object::parse(call).filter(|c| c.last("index").is_none()) {
                editor.add_members(&call, &[("index", at.to_string())]);
            }
        }
    }
    editor.finish().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> AnswerOptions {
        AnswerOptions {
            operation: Operation::Chat,
            meta: Meta {
                id: "chatcmpl-12345678".into(),
                created: 7,
                model: "qwen".into(),
            },
            strip_think: true,
            offered: Some(vec!["f".into()]),
            explain_empty: false,
        }
    }

    #[test]
    fn a_whole_answer_is_repaired_only_where_it_must() {
        let good = r#"{ "id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"{\"summary\":\"a\"}"},"finish_reason":"stop","logprobs":null}],"usage":{"prompt_tokens":1.0} , "z":1e3}"#;
        let cases = [
            ("a good answer stays byte for byte", good, good),
            (
                "missing fields are filled",
                r#"{"choices":[{"message":{"content":"a"}}]}"#,
                r#"{"choices":[{"message":{"content":"a","role":"assistant"},"index":0,"finish_reason":"stop"}],"id":"chatcmpl-12345678","object":"chat.completion","created":7,"model":"qwen"}"#,
            ),
            (
                "thinking is moved",
                r#"{"id":"x","object":"o","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hm</think>\n\n{}"},"finish_reason":"stop"}]}"#,
                r#"{"id":"x","object":"o","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"{}","reasoning_content":"hm"},"finish_reason":"stop"}]}"#,
            ),
            (
                "tool calls get ids and text arguments",
                r#"{"id":"x","object":"o","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]},"finish_reason":null}]}"#,
                r#"{"id":"x","object":"o","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":"{\"a\":1}"},"id":"call_12345678_0","type":"function"}]},"finish_reason":"tool_calls"}]}"#,
            ),
        ];
        for (name, body, want) in cases {
            assert_eq!(repair(body, &options()).expect(name).body, want, "{name}");
        }
    }

    #[test]
    fn what_is_no_completion_is_told() {
        let cases = [
            ("a page", "<html>", WholeError::NotOpenAi),
            (
                "another shape",
                r#"{"message":{"content":"a"}}"#,
                WholeError::NotOpenAi,
            ),
            (
                "an error",
                r#"{"error":{"message":"boom"}}"#,
                WholeError::Reported("boom".into()),
            ),
            ("null choices", r#"{"choices":null}"#, WholeError::NotOpenAi),
        ];
        for (name, body, want) in cases {
            assert_eq!(repair(body, &options()), Err(want), "{name}");
        }
    }

    #[test]
    fn a_call_of_an_unknown_tool_becomes_text() {
        let body = r#"{"id":"x","object":"o","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"nope","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}"#;
        let got = repair(body, &options()).expect("a completion").body;
        let value: serde_json::Value = serde_json::from_str(&got).expect("JSON");
        let choice = &value["choices"][0];
        assert!(
            choice["message"]["content"]
                .as_str()
                .expect("text")
                .contains("`nope`")
        );
        assert!(choice["message"]["tool_calls"].is_null());
        assert_eq!(choice["finish_reason"], "stop");
    }

    #[test]
    fn a_whole_answer_can_be_told_as_a_stream() {
        let body = r#"{"id":"x","object":"o","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"a","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1}}"#;
        let head = r#"data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":["#;
        let want = [
            head,
            r#"{"index":0,"delta":{"role":"assistant","content":"a","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"},"index":0}]},"finish_reason":null}]}"#,
            "\n\n",
            head,
            r#"{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
            "\n\n",
            head,
            r#"],"usage":{"prompt_tokens":1}}"#,
            "\n\ndata: [DONE]\n\n",
        ];
        assert_eq!(to_stream(body, &options().meta), want.concat());
    }
}
