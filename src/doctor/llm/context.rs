//! How much the model can read, as far as the server tells. Each server tells in its own place.

use serde_json::{Value, json};

use super::{Finding, Llm};
use crate::gateway::discovery::ServerKind;

const CHECK: &str = "llm_context";
/// Tokens that a turn of the plugin needs: 10 to 15 kB of prompt and tools, a workflow, room for an
/// answer of up to 8192 (WIRE.md 2.1).
const ENOUGH: u64 = 16 * 1024;

/// What is known of a context length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Context {
    /// The server runs with this.
    Running(u64),
    /// The model could; what the server gives it is not told.
    Possible(u64),
}

pub async fn examine(llm: &Llm<'_>) -> Finding {
    judge(find(llm).await, llm.found.kind)
}

async fn find(llm: &Llm<'_>) -> Option<Context> {
    let listed = llm.found.models.find(llm.model).and_then(|m| m.context);
    match llm.found.kind {
        ServerKind::Vllm => listed.map(Context::Running),
        ServerKind::LlamaCpp => {
            let props = llm.page("/props", None).await;
            props
                .as_ref()
                .and_then(of_props)
                .or(listed.map(Context::Possible))
        }
        ServerKind::Ollama => {
            let loaded = llm.page("/api/ps", None).await;
            if let Some(running) = loaded.as_ref().and_then(|ps| of_ps(ps, llm.model)) {
                return Some(running);
            }
            of_show(
                &llm.page("/api/show", Some(&json!({"model": llm.model})))
                    .await?,
            )
        }
        ServerKind::LmStudio => {
            let models = llm.page("/api/v0/models", None).await;
            models
                .as_ref()
                .and_then(|m| of_lm_studio(m, llm.model))
                .or(listed.map(Context::Possible))
        }
        ServerKind::Other => listed.map(Context::Running),
    }
}

/// llama.cpp: what one slot gets.
fn of_props(props: &Value) -> Option<Context> {
    let slot = props
        .pointer("/default_generation_settings/n_ctx")
        .and_then(Value::as_u64);
    slot.or_else(|| props.get("n_ctx").and_then(Value::as_u64))
        .map(Context::Running)
}

/// Ollama: the models in memory.
fn of_ps(ps: &Value, model: &str) -> Option<Context> {
    let models = ps.get("models").and_then(Value::as_array)?;
    let is_it = |m: &&Value| {
        let named = |key: &str| m.get(key).and_then(Value::as_str);
        named("model") == Some(model)
            || named("name").is_some_and(|n| n.trim_end_matches(":latest") == model)
    };
    let context = models.iter().find(is_it)?.get("context_length")?.as_u64()?;
    Some(Context::Running(context))
}

/// Ollama: the model file's own setting, or what the model was trained for.
fn of_show(show: &Value) -> Option<Context> {
    let parameters = show
        .get("parameters")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let set = parameters.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "num_ctx")
            .then(|| words.next()?.parse().ok())
            .flatten()
    });
    if let Some(set) = set {
        return Some(Context::Running(set));
    }
    let info = show.get("model_info").and_then(Value::as_object)?;
    let trained = info
        .iter()
        .find(|(key, _)| key.ends_with(".context_length"))?;
    trained.1.as_u64().map(Context::Possible)
}

fn of_lm_studio(models: &Value, model: &str) -> Option<Context> {
    let all = models.get("data").and_then(Value::as_array)?;
    let entry = all
        .iter()
        .find(|m| m.get("id").and_then(Value::as_str) == Some(model))?;
    let number = |key: &str| entry.get(key).and_then(Value::as_u64);
    number("loaded_context_length")
        .map(Context::Running)
        .or_else(|| number("max_context_length").map(Context::Possible))
}

fn judge(context: Option<Context>, kind: ServerKind) -> Finding {
    match context {
        Some(Context::Running(tokens)) if tokens < ENOUGH => Finding::warn(
            CHECK,
            format!(
                "{tokens} tokens of context; a turn of the plugin with its tools and a workflow needs \
                 {ENOUGH} or more, and what does not fit is cut or refused"
            ),
            enlarge(kind),
        ),
        Some(Context::Running(tokens)) => Finding::ok(CHECK, format!("{tokens} tokens of context")),
        Some(Context::Possible(tokens)) => Finding::warn(
            CHECK,
            format!("the model can do {tokens} tokens; how many the server gives it is not told"),
            enlarge(kind),
        ),
        None => Finding::warn(
            CHECK,
            "the server does not tell its context length",
            format!("see that it is {ENOUGH} tokens or more: {}", enlarge(kind)),
        ),
    }
}

fn enlarge(kind: ServerKind) -> &'static str {
    match kind {
        ServerKind::Vllm => "start vLLM with --max-model-len 32768",
        ServerKind::LlamaCpp => {
            "start llama-server with -c 32768 (shared by the slots of --parallel, so multiply by them)"
        }
        ServerKind::Ollama => {
            "start Ollama with OLLAMA_CONTEXT_LENGTH=32768; its default is small, and it cuts without \
             saying so"
        }
        ServerKind::LmStudio => "load the model in LM Studio with a context length of 32768",
        ServerKind::Other => "start the server with a context of 32768 tokens",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;
    use Context::{Possible, Running};

    #[test]
    fn each_server_is_read_in_its_own_place() {
        let ps = json!({"models": [
            {"name": "other:latest", "model": "other:latest", "context_length": 1},
            {"name": "qwen3:latest", "model": "qwen3:latest", "context_length": 4096},
        ]});
        let show = |parameters: &str| json!({"parameters": parameters, "model_info": {"qwen3.context_length": 40960, "a.b": 1}});
        let studio = json!({"data": [
            {"id": "a", "max_context_length": 131072},
            {"id": "b", "max_context_length": 131072, "loaded_context_length": 8192},
        ]});
        let props = json!({"default_generation_settings": {"n_ctx": 8192}});
        let rows = [
            ("llama.cpp's slot", of_props(&props), Some(Running(8192))),
            ("llama.cpp, another page", of_props(&json!({})), None),
            (
                "Ollama, loaded",
                of_ps(&ps, "qwen3:latest"),
                Some(Running(4096)),
            ),
            (
                "Ollama, by its short name",
                of_ps(&ps, "qwen3"),
                Some(Running(4096)),
            ),
            ("Ollama, not loaded", of_ps(&ps, "gemma"), None),
            ("Ollama, trained", of_show(&show("")), Some(Possible(40960))),
            (
                "Ollama, set",
                of_show(&show("stop x\nnum_ctx    16384")),
                Some(Running(16384)),
            ),
            (
                "LM Studio, loaded",
                of_lm_studio(&studio, "b"),
                Some(Running(8192)),
            ),
            (
                "LM Studio, not loaded",
                of_lm_studio(&studio, "a"),
                Some(Possible(131072)),
            ),
        ];
        for (name, got, want) in rows {
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn under_16k_is_warned_of() {
        for (context, want) in [
            (Some(Running(16_383)), Status::Warn),
            (Some(Running(16_384)), Status::Ok),
            (Some(Possible(131_072)), Status::Warn),
            (None, Status::Warn),
        ] {
            let got = judge(context, ServerKind::Ollama);
            assert_eq!(got.status, want, "{got:?}");
        }
    }
}
