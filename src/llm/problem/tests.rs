use super::*;

#[test]
fn servers_words_are_sorted() {
    use RefusalKind::{
        ContextTooLong, ImagesUnsupported, Key, Loading, ModelMissing, Other, RateLimited,
        Redirect, Template, ToolsUnsupported,
    };
    let cases = [
        (
            "vLLM, context",
            400,
            "This model's maximum context length is 4096 tokens. However, you requested 9000",
            ContextTooLong,
        ),
        (
            "llama.cpp, context",
            400,
            "the request exceeds the available context size, try increasing it",
            ContextTooLong,
        ),
        (
            "vLLM, model",
            404,
            "The model `x` does not exist.",
            ModelMissing,
        ),
        ("Ollama, model", 404, "model 'x' not found", ModelMissing),
        (
            "LM Studio, none loaded",
            400,
            "No models loaded. Please load a model",
            ModelMissing,
        ),
        ("a wrong path is no missing model", 404, "Not Found", Other),
        (
            "Ollama, tools",
            400,
            "registry.ollama.ai/library/gemma:2b does not support tools",
            ToolsUnsupported,
        ),
        (
            "vLLM, tools",
            400,
            "\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set",
            ToolsUnsupported,
        ),
        (
            "llama.cpp, tools",
            500,
            "tools param requires --jinja flag",
            ToolsUnsupported,
        ),
        (
            "llama.cpp, image",
            500,
            "image input is not supported - hint: you may need to provide the mmproj",
            ImagesUnsupported,
        ),
        (
            "vLLM, image",
            400,
            "x is not a multimodal model",
            ImagesUnsupported,
        ),
        (
            "a template",
            400,
            "Conversation roles must alternate user/assistant",
            Template,
        ),
        ("llama.cpp, loading", 503, "Loading model", Loading),
        ("a key", 401, "Unauthorized", Key),
        ("too many", 429, "slow down", RateLimited),
        ("a redirect", 307, "", Redirect),
        ("anything else", 500, "CUDA error", Other),
    ];
    for (name, status, message, want) in cases {
        assert_eq!(RefusalKind::classify(status, message), want, "{name}");
    }
}

#[test]
fn error_bodies_of_all_servers_are_read() {
    let cases = [
        ("OpenAI's", r#"{"error":{"message":"m.","type":"t"}}"#, "m"),
        ("Ollama's", r#"{"error":"m"}"#, "m"),
        ("FastAPI's", r#"{"detail":"Not Found"}"#, "Not Found"),
        (
            "vLLM's old one",
            r#"{"object":"error","message":"m","code":400}"#,
            "m",
        ),
        ("plain text", " no\n\nway ", "no way"),
        ("a page", "<!doctype html>", "it sent a web page"),
        ("nothing", "", "it said no more"),
    ];
    for (name, body, want) in cases {
        assert_eq!(error_text(body), want, "{name}");
    }
    assert!(error_text(&"é".repeat(5000)).len() < 700);
}

#[test]
fn every_problem_names_a_fix_and_a_status() {
    let url = || "http://127.0.0.1:11434/v1".to_owned();
    let refused = |kind| {
        Problem::Refused(Refusal {
            url: url(),
            status: 500,
            kind,
            message: "m".into(),
            model: "q".into(),
            known_models: vec![],
        })
    };
    let problems = [
        (
            Problem::NoneFound { tried: vec![url()] },
            "LOCAL_LLM_BASE_URL",
        ),
        (
            Problem::Unreachable {
                url: url(),
                detail: "connection refused".into(),
            },
            "Start it",
        ),
        (
            Problem::Tls {
                url: url(),
                detail: "x".into(),
            },
            "CA file",
        ),
        (
            Problem::Slow {
                url: url(),
                waited: Duration::from_secs(9),
            },
            "9 seconds",
        ),
        (
            Problem::Broken {
                url: url(),
                detail: "x".into(),
            },
            "Ask again",
        ),
        (
            Problem::NotOpenAi {
                url: url(),
                detail: "x".into(),
            },
            "/v1",
        ),
        (refused(RefusalKind::Key), "LOCAL_LLM_API_KEY"),
        (refused(RefusalKind::ModelMissing), "pull one"),
        (refused(RefusalKind::ContextTooLong), "num_ctx"),
        (refused(RefusalKind::ToolsUnsupported), "--jinja"),
        (refused(RefusalKind::ImagesUnsupported), "vision"),
        (refused(RefusalKind::Template), "another model"),
        (refused(RefusalKind::RateLimited), "Wait"),
        (refused(RefusalKind::Loading), "Wait"),
        (refused(RefusalKind::Redirect), "final address"),
        (refused(RefusalKind::Other), "log"),
    ];
    for (problem, fix) in problems {
        let text = problem.explain();
        assert!(text.contains(fix), "{text}");
        assert!((400..600).contains(&problem.status()), "{problem:?}");
        assert!(edit::is_json(&problem.to_error().to_json()), "{problem:?}");
    }
}
