//! Does the model call tools? Every turn of the plugin sends some.

use serde_json::json;

use super::{
    Finding,
    chat::{Heard, Question},
};
use crate::{
    gateway::discovery::ServerKind,
    llm::problem::{Problem, RefusalKind},
};

const CHECK: &str = "llm_tools";
/// A tool of the plugin's own, so that the name is one it will meet.
const TOOL: &str = "get_current_workflow";
/// A model that thinks first needs room to come to the call.
const TOKENS: u64 = 1024;

pub fn question() -> Question {
    Question {
        body: json!({
            "max_tokens": TOKENS,
            "messages": [
                {"role": "system", "content": "You work on ComfyUI workflows. Use your tools."},
                {"role": "user", "content": format!("Call the tool {TOOL} now.")},
            ],
            "tools": [{"type": "function", "function": {
                "name": TOOL,
                "description": "The workflow that is open in ComfyUI.",
                "parameters": {"type": "object", "properties": {}},
            }}],
        }),
    }
}

pub fn judge(heard: &Result<Heard, Problem>, kind: ServerKind) -> Finding {
    let heard = match heard {
        Ok(heard) => heard,
        Err(Problem::Refused(refusal)) if refusal.kind == RefusalKind::ToolsUnsupported => {
            return Finding::fail(
                CHECK,
                format!("the server refuses tools: {}", refusal.message),
                enable(kind),
            );
        }
        Err(problem) => {
            return Finding::fail(CHECK, "a request with a tool failed", problem.explain());
        }
    };
    if heard.calls.iter().any(|name| name == TOOL) {
        return Finding::ok(CHECK, "the model calls tools");
    }
    if let Some(other) = heard.calls.first() {
        return Finding::warn(
            CHECK,
            format!("the model called {other}, which it was not offered"),
            "choose a model that is trained for tool calls, such as a current Qwen",
        );
    }
    let as_text = [
        "<tool_call",
        "<function",
        "[TOOL_CALLS]",
        "<|python_tag|>",
        "\"name\"",
    ];
    if heard.text.contains(TOOL) && as_text.iter().any(|mark| heard.text.contains(mark)) {
        return Finding::fail(
            CHECK,
            "the model's tool call came as text: the server does not read it",
            enable(kind),
        );
    }
    if heard.stopped || heard.finish.as_deref() == Some("length") {
        return Finding::warn(
            CHECK,
            format!("the model did not come to a tool call within {TOKENS} tokens"),
            "if it thinks that long before each step, choose one that thinks less",
        );
    }
    Finding::warn(
        CHECK,
        "the model answered in text where a tool call was asked for",
        format!(
            "choose a model that is trained for tool calls, such as a current Qwen; {}",
            enable(kind)
        ),
    )
}

/// How the server is made to read tool calls.
fn enable(kind: ServerKind) -> &'static str {
    match kind {
        ServerKind::Vllm => {
            "start vLLM with --enable-auto-tool-choice and the --tool-call-parser of your model"
        }
        ServerKind::LlamaCpp => "start llama-server with --jinja",
        ServerKind::Ollama => "choose a model that `ollama show` lists with the capability tools",
        ServerKind::LmStudio => "choose a model that LM Studio marks for tool use",
        ServerKind::Other => "turn tool calling on in the server, or choose a model that has it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doctor::Status::{self, Fail, Ok as Fine, Warn},
        llm::problem::Refusal,
    };

    #[test]
    fn answers_to_a_tool_request() {
        let calls = |name: &str| Heard {
            calls: vec![name.to_owned()],
            ..Heard::default()
        };
        let says = |text: &str| Heard {
            text: text.to_owned(),
            ..Heard::default()
        };
        let refused = |kind| {
            Err(Problem::Refused(Refusal {
                url: "http://x/v1".to_owned(),
                status: 400,
                kind,
                message: "no tools here".to_owned(),
                model: "m".to_owned(),
                known_models: Vec::new(),
            }))
        };
        let rows: Vec<(&str, Result<Heard, Problem>, Status, &str)> = vec![
            ("a call", Ok(calls(TOOL)), Fine, ""),
            ("another call", Ok(calls("weather")), Warn, "Qwen"),
            (
                "a call as text",
                Ok(says(
                    "<tool_call>{\"name\": \"get_current_workflow\"}</tool_call>",
                )),
                Fail,
                "--tool-call-parser",
            ),
            (
                "words",
                Ok(says("I cannot do that.")),
                Warn,
                "trained for tool calls",
            ),
            (
                "thinking",
                Ok(Heard {
                    stopped: true,
                    ..Heard::default()
                }),
                Warn,
                "thinks less",
            ),
            (
                "refused",
                refused(RefusalKind::ToolsUnsupported),
                Fail,
                "--enable-auto-tool-choice",
            ),
            (
                "another refusal",
                refused(RefusalKind::Other),
                Fail,
                "http://x/v1",
            ),
        ];
        for (name, heard, want, fix) in rows {
            let got = judge(&heard, ServerKind::Vllm);
            assert_eq!(got.status, want, "{name}: {got:?}");
            assert!(
                got.fix.clone().unwrap_or_default().contains(fix),
                "{name}: {got:?}"
            );
        }
    }
}
