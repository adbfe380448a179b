mod quick;

use super::*;

fn options() -> AnswerOptions {
    AnswerOptions {
        operation: Operation::Chat,
        meta: Meta {
            id: "chatcmpl-abc".into(),
            created: 7,
            model: "qwen".into(),
        },
        strip_think: true,
        offered: Some(vec!["search_node".into()]),
        explain_empty: true,
    }
}

fn chunk(delta: &str, finish: &str) -> String {
    format!(
        "data: {{\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
    )
}

fn text(text: &str) -> String {
    chunk(&format!("{{\"content\":{}}}", edit::quote(text)), "null")
}

struct Run {
    out: String,
    ending: Ending,
    outcome: Option<Outcome>,
    first_token_at: Option<usize>,
    repair: StreamRepair,
}

fn run_with(options: AnswerOptions, input: &str, piece: usize) -> Run {
    let mut repair = StreamRepair::new(options);
    let mut out = BytesMut::new();
    let mut outcome = None;
    let mut first_token_at = None;
    for (at, bytes) in input.as_bytes().chunks(piece).enumerate() {
        let progress = repair.push(bytes, &mut out);
        if progress.first_token {
            assert_eq!(first_token_at, None, "the first token is told once");
            first_token_at = Some(at);
        }
        outcome = outcome.or(progress.outcome);
    }
    let (ending, late) = repair.finish(&mut out);
    let out = String::from_utf8(out.to_vec()).expect("UTF-8");
    Run {
        out,
        ending,
        outcome: outcome.or(late),
        first_token_at,
        repair,
    }
}

fn run(input: &str) -> Run {
    let whole = run_with(options(), input, input.len().max(1));
    for piece in [1, 2, 3, 7, 64] {
        assert_eq!(
            run_with(options(), input, piece).out,
            whole.out,
            "pieces of {piece}"
        );
    }
    whole
}

/// Content, reasoning, tool calls and finish reason that a client puts together.
fn read(out: &str) -> (String, String, Vec<serde_json::Value>, Option<String>) {
    let (mut content, mut reasoning, mut calls, mut finish) = Default::default();
    for frame in out.split("\n\n").filter_map(|f| f.strip_prefix("data: ")) {
        if frame == "[DONE]" {
            continue;
        }
        let value: serde_json::Value = serde_json::from_str(frame).expect(frame);
        for key in ["id", "object", "created", "model", "choices"] {
            assert!(!value[key].is_null(), "{key} in {frame}");
        }
        for choice in value["choices"].as_array().expect("choices") {
            assert!(choice["index"].is_u64(), "{frame}");
            let delta = &choice["delta"];
            let add =
                |to: &mut String, key: &str| to.push_str(delta[key].as_str().unwrap_or_default());
            add(&mut content, "content");
            add(&mut reasoning, "reasoning_content");
            let list: &mut Vec<serde_json::Value> = &mut calls;
            list.extend(delta["tool_calls"].as_array().cloned().unwrap_or_default());
            if let Some(reason) = choice["finish_reason"].as_str() {
                finish = Some(reason.to_owned());
            }
        }
    }
    (content, reasoning, calls, finish)
}

const STOP: &str = "\"stop\"";

#[test]
fn a_good_stream_passes_byte_for_byte() {
    let llama = "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null}}],\"created\":1,\"id\":\"c\",\"model\":\"m\",\"system_fingerprint\":\"b1\",\"object\":\"chat.completion.chunk\"}\n\n";
    let vllm_usage = "data: {\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"total_tokens\":11,\"completion_tokens\":2}}\n\n";
    let streams = [
        (
            "LF",
            format!(
                "{}{}{}{}data: [DONE]\n\n",
                text("Hello "),
                text("wörld\n"),
                chunk("{}", STOP),
                vllm_usage
            ),
        ),
        (
            "CRLF, comments, llama.cpp",
            format!(
                ": ping\n\n{llama}{}{}data: [DONE]\n\n",
                text("a"),
                chunk("{}", STOP)
            )
            .replace('\n', "\r\n"),
        ),
        (
            "odd spacing and number spellings",
            format!(
                "data:{{ \"id\" : \"x\", \"object\":\"o\", \"created\": 1.0e0 ,\"model\":\"m\",\"choices\":[ {{\"delta\":{{\"content\":\"a\"}}, \"index\":0 , \"logprobs\": {{\"x\":1.50}}}} ], \"z\": 1e5 }}\n\n{}data: [DONE]\n\n",
                chunk("{}", STOP)
            ),
        ),
        (
            "reasoning of its own",
            format!(
                "{}{}{}data: [DONE]\n\n",
                chunk(r#"{"reasoning_content":"hm"}"#, "null"),
                text("a < b `c`"),
                chunk("{}", STOP)
            ),
        ),
        (
            "tool calls",
            format!(
                "{}{}{}data: [DONE]\n\n",
                chunk(
                    r#"{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"search_node","arguments":""}}]}"#,
                    "null"
                ),
                chunk(
                    r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"q\":1}"}}]}"#,
                    "null"
                ),
                chunk("{}", "\"tool_calls\"")
            ),
        ),
        (
            "a finish with content",
            format!(
                "{}{}data: [DONE]\n\n",
                text("a"),
                chunk(r#"{"content":"b"}"#, STOP)
            ),
        ),
        (
            "legacy function call",
            format!(
                "{}{}data: [DONE]\n\n",
                chunk(
                    r#"{"content":"x","function_call":{"name":"f","arguments":"{}"}}"#,
                    "null"
                ),
                chunk("{}", "\"function_call\"")
            ),
        ),
    ];
    for (name, stream) in streams {
        let run = run(&stream);
        assert_eq!(run.out, stream, "{name}");
        assert_eq!(run.ending, Ending::Complete, "{name}");
        assert_eq!(run.outcome, Some(Outcome::Done), "{name}");
        assert!(
            run.repair.repairs().is_empty(),
            "{name}: {:?}",
            run.repair.repairs()
        );
        assert!(run.first_token_at.is_some(), "{name}");
    }
}

#[test]
fn missing_fields_are_filled_and_the_rest_stays() {
    let bare = "data: {\"choices\":[{\"delta\":{\"content\":\"a\",\"x\":1.0}}]}\n\n";
    let stream = format!(
        "{bare}data: {{\"id\":null,\"created\":\"x\",\"choices\":null}}\n\n{}data: [DONE]\n\n",
        chunk("{}", STOP)
    );
    let run = run(&stream);
    let (content, _, _, finish) = read(&run.out);
    assert_eq!((&*content, finish.as_deref()), ("a", Some("stop")));
    assert!(run.out.starts_with(
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\",\"x\":1.0},\"index\":0}],\"id\":\"chatcmpl-abc\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"qwen\"}\n\n"
    ));
    assert_eq!(run.repair.repairs().count(Repair::Fields), 2);
}

#[test]
fn a_whole_message_in_a_stream_becomes_a_delta() {
    let stream = "data: {\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"<think>x</think>a\"},\"finish_reason\":\"stop\"}]}\n\n";
    let run = run(stream);
    assert_eq!(
        read(&run.out),
        ("a".into(), "x".into(), vec![], Some("stop".into()))
    );
}

#[test]
fn thinking_is_moved_across_chunks() {
    let pieces = [
        "<th",
        "ink>",
        "let me ",
        "see</",
        "think>\n",
        "\nHello",
        " <b>x</b>",
    ];
    let mut stream: String = pieces.iter().map(|p| text(p)).collect();
    stream += &chunk("{}", STOP);
    stream += "data: [DONE]\n\n";
    let run = run(&stream);
    assert_eq!(
        read(&run.out),
        (
            "Hello <b>x</b>".into(),
            "let me see".into(),
            vec![],
            Some("stop".into())
        )
    );

    let mut keep = options();
    keep.strip_think = false;
    assert_eq!(
        run_with(keep, &stream, 5).out,
        stream,
        "switched off, nothing changes"
    );
}

#[test]
fn a_go_server_s_escaped_tags_are_tags() {
    let stream = format!(
        "{}{}data: [DONE]\n\n",
        chunk(
            r#"{"content":"\u003cthink\u003ehm\u003c/think\u003eok"}"#,
            "null"
        ),
        chunk("{}", STOP)
    );
    assert_eq!(read(&run(&stream).out).0, "ok");
}

#[test]
fn text_that_only_looked_like_a_tag_is_said_at_the_end() {
    let cases = [
        (
            "with a finish chunk",
            format!("{}{}data: [DONE]\n\n", text("a <thi"), chunk("{}", STOP)),
        ),
        (
            "with a bare end",
            format!("{}data: [DONE]\n\n", text("a <thi")),
        ),
    ];
    for (name, stream) in cases {
        assert_eq!(read(&run(&stream).out).0, "a <thi", "{name}");
    }
}

#[test]
fn an_empty_answer_is_explained_unless_tools_are_called() {
    let thought = format!("{}{}data: [DONE]\n\n", text("<think>hm"), chunk("{}", STOP));
    let nothing = format!(
        "{}{}data: [DONE]\n\n",
        chunk(r#"{"role":"assistant","content":""}"#, "null"),
        chunk("{}", STOP)
    );
    let length = format!(
        "{}{}data: [DONE]\n\n",
        text("<think>hm"),
        chunk("{}", "\"length\"")
    );
    let bare = format!("{}data: [DONE]\n\n", text(" "));
    let called = format!(
        "{}{}data: [DONE]\n\n",
        chunk(
            r#"{"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"search_node","arguments":"{}"}}]}"#,
            "null"
        ),
        chunk("{}", "\"tool_calls\"")
    );
    let cases = [
        ("thought and said nothing", thought, "thought about this"),
        ("nothing", nothing, "empty answer"),
        ("out of room", length, "ran out of room"),
        ("an end without a reason", bare, "empty answer"),
    ];
    for (name, stream, want) in cases {
        let content = read(&run(&stream).out).0;
        assert!(content.contains(want), "{name}: {content}");
    }
    assert_eq!(read(&run(&called).out).0, "");
}

#[test]
fn a_call_without_id_gets_one_and_an_unknown_tool_becomes_text() {
    let stream = format!(
        "{}{}{}data: [DONE]\n\n",
        chunk(
            r#"{"tool_calls":[{"index":0,"function":{"name":"search_node","arguments":"{\"q\""}}]}"#,
            "null"
        ),
        chunk(
            r#"{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}"#,
            "null"
        ),
        chunk("{}", "\"tool_calls\"")
    );
    let (_, _, calls, finish) = read(&run(&stream).out);
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0]["id"], "call_cmpl-abc_0");
    assert_eq!(calls[0]["type"], "function");
    assert_eq!(finish.as_deref(), Some("tool_calls"));

    let stream = stream.replace("search_node", "no_such_tool");
    let run = run(&stream);
    let (content, _, calls, finish) = read(&run.out);
    assert!(content.contains("`no_such_tool`"), "{content}");
    assert!(calls.is_empty());
    assert_eq!(finish.as_deref(), Some("stop"));
    assert_eq!(run.repair.repairs().count(Repair::UnknownTool), 1);
}

#[test]
fn frames_that_break_sdks_are_dropped() {
    let stream = format!(
        "retry: 500\n\nid: 7\n\nevent: ping\n\nevent: message\n{}data:\n\ndata: not json\n\ndata: 7\n\n{}data: [DONE]\n\n",
        text("a"),
        chunk("{}", STOP)
    );
    let run = run(&stream);
    assert_eq!(
        run.out,
        format!("{}{}data: [DONE]\n\n", text("a"), chunk("{}", STOP))
    );
    assert_eq!(run.repair.repairs().count(Repair::OddFrame), 4);
    assert_eq!(run.repair.repairs().count(Repair::NotJson), 2);
    assert_eq!(run.repair.repairs().count(Repair::EventLine), 1);
}

#[test]
fn errors_in_a_stream_are_told_and_not_passed_on() {
    let cases = [
        (
            "an object",
            "data: {\"error\":{\"message\":\"out of memory\",\"code\":500}}\n\n",
            "out of memory",
        ),
        ("a string", "data: {\"error\":\"boom\"}\n\n", "boom"),
        (
            "an error event",
            "event: error\ndata: {\"message\":\"m\"}\n\n",
            "m",
        ),
    ];
    for (name, frame, want) in cases {
        let run = run(&format!("{}{frame}", text("a")));
        assert_eq!(run.outcome, Some(Outcome::Error(want.into())), "{name}");
        assert_eq!(run.out, text("a"), "{name}");
    }
    let talk = text("the \"error\" key");
    assert_eq!(run(&format!("{talk}{}", chunk("{}", STOP))).outcome, None);
}

#[test]
fn an_end_is_complete_truncated_or_nothing() {
    let finish = chunk("{}", STOP);
    let cases = [
        (
            "no [DONE]",
            format!("{}{finish}", text("a")),
            Ending::Complete,
            true,
        ),
        (
            "a last frame without its blank line",
            format!("{}{}", text("a"), finish.trim_end()),
            Ending::Complete,
            true,
        ),
        ("cut between chunks", text("a"), Ending::Truncated, false),
        (
            "cut in a chunk",
            format!("{}data: {{\"id\":\"x\",\"cho", text("a")),
            Ending::Truncated,
            false,
        ),
        ("nothing", String::new(), Ending::Nothing, false),
        (
            "a web page",
            "<html>\n\n</html>".into(),
            Ending::Nothing,
            false,
        ),
    ];
    for (name, stream, ending, done) in cases {
        let run = run(&stream);
        assert_eq!(run.ending, ending, "{name}");
        assert_eq!(run.out.ends_with(reply::DONE), done, "{name}: {}", run.out);
        assert!(
            run.out.is_empty() || run.out.ends_with("\n\n"),
            "{name}: {}",
            run.out
        );
    }
}

#[test]
fn a_broken_stream_can_end_with_a_reason() {
    let mut repair = StreamRepair::new(options());
    let mut out = BytesMut::new();
    repair.push(text("Half an <th").as_bytes(), &mut out);
    assert_eq!(repair.finish(&mut out).0, Ending::Truncated);
    repair.close_with_text("The LLM went away.", &mut out);
    let out = String::from_utf8(out.to_vec()).expect("UTF-8");
    assert_eq!(read(&out).0, "Half an <th\n\nThe LLM went away.");
    assert!(out.ends_with(reply::DONE));
}

#[test]
fn usage_is_seen_wherever_it_stands() {
    let usage = r#""usage":{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}"#;
    let stream = format!(
        "{}data: {{\"choices\":[],{usage}}}\n\ndata: [DONE]\n\n",
        text("a")
    );
    let run = run(&stream);
    assert_eq!(
        run.repair.usage(),
        Usage {
            prompt: Some(9),
            completion: Some(2),
            cached: Some(4)
        }
    );
}

#[test]
fn completions_are_watched_and_not_changed() {
    let stream = "data: {\"choices\":[{\"text\":\"<think>\",\"index\":0}]}\n\ndata: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let mut as_text = options();
    as_text.operation = Operation::Completion;
    let run = run_with(as_text, stream, 3);
    assert_eq!(run.out, stream);
    assert_eq!(run.ending, Ending::Complete);
}
