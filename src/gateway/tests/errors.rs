use super::*;

fn refusing(status: u16, body: &'static str) -> impl Fn(&str) -> Reply + Send + Sync {
    move |_| Reply::json(status, body)
}

struct Fault {
    name: &'static str,
    reply: Reply,
    /// What the person reads.
    says: &'static str,
    /// For everyone else.
    status: u16,
    code: &'static str,
    retry: bool,
}

fn faults() -> Vec<Fault> {
    let html = Reply {
        status: 200,
        headers: "content-type: text/html\r\n".into(),
        pieces: vec![say("<html>")],
    };
    let redirect = Reply {
        status: 307,
        headers: "location: http://evil.test/v1/chat/completions\r\n".into(),
        pieces: vec![],
    };
    let fault = |name, reply, says, status, code, retry| Fault {
        name,
        reply,
        says,
        status,
        code,
        retry,
    };
    vec![
        fault(
            "500",
            Reply::json(500, r#"{"error":{"message":"CUDA error"}}"#),
            "CUDA error",
            500,
            "llm_error",
            true,
        ),
        fault(
            "429",
            Reply::json(429, r#"{"error":"slow down"}"#),
            "slow down",
            429,
            "rate_limit_exceeded",
            true,
        ),
        fault(
            "a refused key",
            Reply::json(401, r#"{"error":{"message":"bad key"}}"#),
            "refused Airlock's key",
            502,
            "llm_key_refused",
            false,
        ),
        fault(
            "context",
            Reply::json(
                400,
                r#"{"error":{"message":"This model's maximum context length is 4096 tokens"}}"#,
            ),
            "larger context",
            400,
            "context_length_exceeded",
            false,
        ),
        fault(
            "model",
            Reply::json(
                404,
                r#"{"error":{"message":"The model `qwen3` does not exist."}}"#,
            ),
            "does not have the model `qwen3`",
            404,
            "model_not_found",
            false,
        ),
        fault(
            "tools",
            Reply::json(400, r#"{"error":"x does not support tools"}"#),
            "cannot use tools",
            400,
            "llm_without_tools",
            false,
        ),
        fault(
            "a wrong path",
            Reply::json(404, r#"{"detail":"Not Found"}"#),
            "LOCAL_LLM_BASE_URL",
            502,
            "llm_bad_answer",
            false,
        ),
        fault(
            "a redirect",
            redirect,
            "redirect",
            502,
            "llm_redirects",
            false,
        ),
        fault(
            "a web page",
            html,
            "not an OpenAI-compatible",
            502,
            "llm_bad_answer",
            false,
        ),
        fault(
            "an error behind 200",
            Reply::json(200, r#"{"error":{"message":"no room"}}"#),
            "no room",
            502,
            "llm_broke_off",
            true,
        ),
        fault(
            "a hang",
            Reply::silence(),
            "gave nothing",
            504,
            "llm_timeout",
            false,
        ),
        fault(
            "a close before the head",
            Reply {
                status: 0,
                headers: String::new(),
                pieces: vec![Piece::Die],
            },
            "broke off",
            502,
            "llm_broke_off",
            true,
        ),
    ]
}

#[tokio::test]
async fn the_plugin_reads_the_reason_in_the_chat() {
    for Fault {
        name, reply, says, ..
    } in faults()
    {
        let llm = FakeLlm::start("qwen3", move |_| reply.clone()).await;
        let (gateway, _) = gateway(settings(&llm.url()));
        let response = gateway.handle(plugin(CHAT)).await;
        assert_eq!(response.status(), 200, "{name}");
        let (body, cut) = read(response).await;
        assert!(content(&body).contains(says), "{name}: {body}");
        assert!(body.ends_with(DONE), "{name}: {body}");
        assert!(body.contains(r#""finish_reason":"stop""#), "{name}");
        assert_eq!(cut, None, "{name}");
    }
}

#[tokio::test]
async fn others_get_an_error_their_sdk_understands() {
    for Fault {
        name,
        reply,
        status,
        code,
        retry,
        ..
    } in faults()
    {
        if name == "an error behind 200" {
            continue; // told in the stream: the head was good
        }
        let streamed = status;
        let llm = FakeLlm::start("qwen3", move |_| reply.clone()).await;
        let (gateway, _) = gateway(settings(&llm.url()));
        for body in [CHAT, WHOLE] {
            let response = gateway.handle(other(body)).await;
            assert_eq!(response.status(), streamed, "{name}");
            assert!(
                response
                    .headers()
                    .contains_key("access-control-allow-origin"),
                "{name}"
            );
            assert_eq!(
                response.headers().contains_key("x-should-retry"),
                !retry,
                "{name}"
            );
            let (body, _) = read(response).await;
            let value: serde_json::Value = serde_json::from_str(&body).expect(&body);
            assert_eq!(value["error"]["code"], code, "{name}");
            assert!(
                value["error"]["param"].is_null() && value["error"]["type"].is_string(),
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn the_plugin_s_blocking_calls_are_told_not_to_retry() {
    let llm = FakeLlm::start("q", refusing(500, r#"{"error":"x"}"#)).await;
    let (gateway, _) = gateway(settings(&llm.url()));
    let body = r#"{"model":"m","stream":false,"messages":[{"role":"system","content":"You are an expert conversation summarizer"}]}"#;
    let response = gateway.handle(other(body)).await;
    assert_eq!(response.status(), 500);
    assert_eq!(response.headers()["x-should-retry"], "false");
}

#[tokio::test]
async fn nobody_there_is_said_at_once() {
    let llm = FakeLlm::start("q", refusing(200, "{}")).await;
    let url = llm.url();
    llm.stop();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let (gateway, metrics) = gateway(settings(&url));
    let started = std::time::Instant::now();
    let request = plugin(CHAT);
    let note = request.exchange.note.clone();
    let (body, _) = read(gateway.handle(request).await).await;
    let said = content(&body);
    assert!(
        said.contains("could not reach your local LLM") && said.contains(&url),
        "{said}"
    );
    assert!(
        said.contains("refused") && said.contains("airlock doctor"),
        "{said}"
    );
    assert_eq!(note.read().answered_by.as_deref(), Some("airlock"));
    let response = gateway.handle(other(CHAT)).await;
    assert_eq!(
        (
            response.status().as_u16(),
            &response.headers()["x-should-retry"]
        ),
        (502, &"false".parse().expect("a value"))
    );
    assert!(started.elapsed() < Duration::from_millis(500));
    assert!(
        metrics
            .render()
            .contains(r#"airlock_llm_upstream_errors_total{kind="connect"} 2"#)
    );
    assert!(!gateway.status().up);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_ended_as_if_it_were_whole() {
    let half = || say(text("Half an answer"));
    let cut_chunk = say(&text("never seen")[..40]);
    let cases: Vec<(&str, Vec<Piece>, &str, &str)> = vec![
        (
            "the connection dies",
            vec![half(), Piece::Die],
            "broke off",
            "llm_broke_off",
        ),
        (
            "it dies within a chunk",
            vec![half(), cut_chunk, Piece::Die],
            "broke off",
            "llm_broke_off",
        ),
        (
            "the body ends early",
            vec![half()],
            "broke off",
            "llm_broke_off",
        ),
        (
            "an error event",
            vec![
                half(),
                say("data: {\"error\":{\"message\":\"out of memory\"}}\n\n"),
                say(DONE),
            ],
            "out of memory",
            "llm_broke_off",
        ),
        (
            "a context error event",
            vec![
                half(),
                say("data: {\"error\":{\"message\":\"exceeds the context size\"}}\n\n"),
            ],
            "larger context",
            "context_length_exceeded",
        ),
        (
            "it stops talking",
            vec![half(), Piece::Hang],
            "gave nothing",
            "llm_timeout",
        ),
    ];
    for (name, pieces, says, code) in cases {
        let llm = FakeLlm::start("q", move |_| Reply::events(pieces.clone())).await;
        let (gateway, _) = gateway(settings(&llm.url()));
        let (body, cut) = read(gateway.handle(plugin(CHAT)).await).await;
        let said = content(&body);
        assert!(
            said.starts_with("Half an answer\n\n") && said.contains(says),
            "{name}: {said}"
        );
        assert!(
            body.ends_with(DONE) && body.contains(r#""finish_reason":"stop""#),
            "{name}: {body}"
        );
        assert_eq!(cut, None, "{name}");

        let (body, cut) = read(gateway.handle(other(CHAT)).await).await;
        let last = body
            .trim_end()
            .rsplit("\n\n")
            .next()
            .unwrap_or_default()
            .to_owned();
        let error: serde_json::Value =
            serde_json::from_str(last.strip_prefix("data: ").expect(&last)).expect(&last);
        assert_eq!(error["error"]["code"], code, "{name}");
        assert_eq!(cut.as_deref(), Some(code), "{name}");
        assert!(!body.contains("[DONE]"), "{name}");
    }
}

#[tokio::test]
async fn a_problem_met_after_the_head_went_out_is_told_in_the_stream() {
    let llm = FakeLlm::start("q", |_| Reply::silence()).await;
    let timeouts = Timeouts {
        hold_head: Duration::from_millis(10),
        first_byte: Duration::from_millis(80),
        ..quick()
    };
    let (gateway, _) = gateway(GatewaySettings {
        timeouts,
        ..settings(&llm.url())
    });
    let (body, cut) = read(gateway.handle(plugin(CHAT)).await).await;
    assert!(content(&body).contains("gave nothing"), "{body}");
    assert_eq!(cut, None);
    let (body, cut) = read(gateway.handle(other(CHAT)).await).await;
    assert!(body.contains("llm_timeout"), "{body}");
    assert_eq!(cut.as_deref(), Some("llm_timeout"));
}

#[tokio::test]
async fn the_style_of_errors_can_be_chosen() {
    let llm = FakeLlm::start("q", refusing(500, "{}")).await;
    for (style, plugin_status, other_status) in [
        (ErrorStyle::Auto, 200, 500),
        (ErrorStyle::Http, 500, 500),
        (ErrorStyle::Chat, 200, 200),
    ] {
        let (gateway, _) = gateway(GatewaySettings {
            error_style: style,
            ..settings(&llm.url())
        });
        assert_eq!(
            gateway.handle(plugin(CHAT)).await.status(),
            plugin_status,
            "{style:?}"
        );
        assert_eq!(
            gateway.handle(other(CHAT)).await.status(),
            other_status,
            "{style:?}"
        );
    }
}

#[tokio::test]
async fn an_sdk_s_own_patience_is_honoured() {
    let llm = FakeLlm::start("q", |_| Reply::silence()).await;
    let timeouts = Timeouts {
        first_byte: Duration::from_secs(60),
        ..quick()
    };
    let (gateway, _) = gateway(GatewaySettings {
        timeouts,
        ..settings(&llm.url())
    });
    let mut request = other(WHOLE);
    request
        .parts
        .headers
        .insert("x-stainless-read-timeout", "0.2".parse().expect("a value"));
    let started = std::time::Instant::now();
    assert_eq!(gateway.handle(request).await.status(), 504);
    assert!(started.elapsed() < Duration::from_millis(1500));
}

#[tokio::test]
async fn requests_that_cannot_be_served_say_why() {
    let llm = FakeLlm::start("q", refusing(200, "{}")).await;
    let (gateway, metrics) = gateway(settings(&llm.url()));
    let at = |method: &str, path: &str, body: &str| {
        let mut request = other(body);
        request.parts.method = method.parse().expect("a method");
        request.parts.uri = path.parse().expect("a path");
        request
    };
    let cases = [
        (
            "not JSON",
            at("POST", "/v1/chat/completions", "hello"),
            400,
            "invalid_request",
        ),
        (
            "an unknown path",
            at("POST", "/v1/responses", "{}"),
            404,
            "unknown_url",
        ),
        (
            "a wrong method",
            at("GET", "/v1/chat/completions", ""),
            405,
            "method_not_allowed",
        ),
        (
            "no such model",
            at("GET", "/v1/models/nope", ""),
            404,
            "model_not_found",
        ),
    ];
    for (name, request, status, code) in cases {
        let response = gateway.handle(request).await;
        assert_eq!(response.status(), status, "{name}");
        assert!(
            response
                .headers()
                .contains_key("access-control-allow-origin"),
            "{name}"
        );
        let (body, _) = read(response).await;
        let value: serde_json::Value = serde_json::from_str(&body).expect(&body);
        assert_eq!(value["error"]["code"], code, "{name}");
    }
    assert!(
        metrics
            .render()
            .contains(r#"airlock_standin_drift_total{kind="route",responder="llm"} 1"#)
    );
}

#[tokio::test]
async fn a_preflight_is_allowed_what_it_asks() {
    let (gateway, _) = gateway(settings("http://127.0.0.1:9/v1"));
    let mut request = get("/v1/models");
    request.parts.method = Method::OPTIONS;
    let headers = &mut request.parts.headers;
    headers.insert("origin", "http://127.0.0.1:8188".parse().expect("a value"));
    headers.insert(
        "access-control-request-headers",
        "authorization, trace-id".parse().expect("a value"),
    );
    let response = gateway.handle(request).await;
    assert_eq!(response.status(), 204);
    assert_eq!(
        response.headers()["access-control-allow-origin"],
        "http://127.0.0.1:8188"
    );
    let allowed = response.headers()["access-control-allow-headers"]
        .to_str()
        .expect("text");
    for asked in ["authorization", "trace-id"] {
        assert!(
            allowed.split(", ").any(|h| h == asked),
            "{asked} in {allowed}"
        );
    }
}

#[tokio::test]
async fn a_page_of_a_public_site_may_not_use_the_llm() {
    let (gateway, _) = gateway(settings("http://127.0.0.1:9/v1"));
    let mut request = get("/v1/models");
    let origin = "https://evil.example.com".parse().expect("a value");
    request.parts.headers.insert("origin", origin);
    let response = gateway.handle(request).await;
    assert_eq!(response.status(), 403);
    assert!(
        !response
            .headers()
            .contains_key("access-control-allow-origin")
    );
}
