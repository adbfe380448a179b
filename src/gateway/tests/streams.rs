use super::*;

async fn chat_with(pieces: Vec<Piece>) -> (FakeLlm, Gateway, Arc<Metrics>) {
    let llm = FakeLlm::start("qwen3", move |_| Reply::events(pieces.clone())).await;
    let (gateway, metrics) = gateway(settings(&llm.url()));
    (llm, gateway, metrics)
}

#[tokio::test]
async fn a_stream_passes_byte_for_byte_in_whatever_pieces() {
    let usage = "data: {\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3}}\n\n";
    let stream = format!(
        ": hello\n\n{}{}{}{usage}{DONE}",
        text("Hé"),
        text("llo"),
        stop()
    );
    for size in [1, 3, 4096] {
        let pieces = stream
            .as_bytes()
            .chunks(size)
            .map(|c| Piece::Say(c.to_vec()))
            .collect();
        let (_llm, gateway, metrics) = chat_with(pieces).await;
        let response = gateway.handle(plugin(CHAT)).await;
        assert_eq!(response.status(), 200);
        assert!(
            response.headers()["content-type"]
                .to_str()
                .expect("text")
                .starts_with("text/event-stream")
        );
        assert_eq!(
            response.headers()["access-control-allow-origin"],
            "http://127.0.0.1:8188"
        );
        assert_eq!(
            read(response).await,
            (stream.clone(), None),
            "pieces of {size}"
        );
        let figures = metrics.render();
        for line in [
            r#"gen_ai_client_token_usage_sum{gen_ai_operation_name="chat",gen_ai_request_model="qwen3",gen_ai_token_type="input"} 9"#,
            r#"gen_ai_server_time_to_first_token_seconds_count{gen_ai_operation_name="chat",gen_ai_request_model="qwen3"} 1"#,
            r#"gen_ai_client_operation_duration_seconds_count{error_type="",gen_ai_operation_name="chat",gen_ai_request_model="qwen3"} 1"#,
            "airlock_llm_streams 0",
        ] {
            assert!(figures.contains(line), "{line}\n{figures}");
        }
    }
}

#[tokio::test]
async fn each_piece_is_passed_on_before_the_next_one_came() {
    let pieces = vec![say(text("first")), Piece::Hang];
    let (_llm, gateway, _) = chat_with(pieces).await;
    let LocalBody::Stream(mut stream) = gateway.handle(plugin(CHAT)).await.into_body() else {
        panic!("a stream");
    };
    let first = tokio::time::timeout(Duration::from_millis(200), stream.next())
        .await
        .expect("at once");
    assert_eq!(first.expect("an item").expect("bytes"), text("first"));
}

#[tokio::test]
async fn what_goes_up_is_the_body_with_the_model_changed_and_no_header_of_the_client() {
    let (llm, gateway, _) = chat_with(vec![say(stop()), say(DONE)]).await;
    let body = r#"{"messages": [{"role":"user","content":"h\u00e9"}], "temperature":1.0e0, "model":"gemini-2.5-flash","stream":true}"#;
    let request = plugin(body);
    let note = request.exchange.note.clone();
    let egress = request.exchange.egress.clone();
    read(gateway.handle(request).await).await;
    let seen = llm.last();
    assert_eq!(
        seen.body,
        r#"{"messages": [{"role":"user","content":"h\u00e9"}], "temperature":1.0e0, "model":"qwen3","stream":true,"stream_options":{"include_usage":true}}"#
    );
    let mut names: Vec<String> = seen
        .head
        .lines()
        .skip(1)
        .map(|l| l.split(':').next().unwrap_or_default().to_ascii_lowercase())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "accept",
            "authorization",
            "content-length",
            "content-type",
            "host",
            "user-agent"
        ]
    );
    assert!(seen.head.contains("Bearer sk-upstream"), "{}", seen.head);
    assert!(!seen.head.contains("plugin"), "{}", seen.head);
    let note = note.read();
    assert_eq!(note.answered_by.as_deref(), Some("local llm"));
    assert_eq!(note.upstream, Some(llm.address.to_string()));
    assert_eq!(
        note.detail.as_deref(),
        Some("model gemini-2.5-flash -> qwen3")
    );
    assert_eq!(egress.bytes(), 0, "loopback is this machine");
}

#[tokio::test]
async fn without_a_key_none_is_sent() {
    let llm = FakeLlm::start("q", |_| Reply::events(vec![say(stop()), say(DONE)])).await;
    let (gateway, _) = gateway(GatewaySettings {
        api_key: None,
        ..settings(&llm.url())
    });
    read(gateway.handle(plugin(CHAT)).await).await;
    assert!(
        !llm.last()
            .head
            .to_ascii_lowercase()
            .contains("authorization")
    );
}

#[tokio::test]
async fn connections_are_used_again() {
    const ASKED: usize = 24;
    let (llm, gateway, _) = chat_with(vec![say(text("a")), say(stop()), say(DONE)]).await;
    for _ in 0..ASKED {
        read(gateway.handle(plugin(CHAT)).await).await;
        // When a connection is back in its pool cannot be seen from here. On a busy machine a question
        // may come before one is, and opens another, which is then there for those that follow.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let opened = llm.connections.load(std::sync::atomic::Ordering::SeqCst);
    assert!(
        opened <= ASKED / 4,
        "{opened} connections for {ASKED} questions"
    );
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_the_call() {
    // While an answer streams.
    let (llm, gateway, metrics) = chat_with(vec![say(text("a")), Piece::Hang]).await;
    let LocalBody::Stream(mut stream) = gateway.handle(plugin(CHAT)).await.into_body() else {
        panic!("a stream");
    };
    stream.next().await;
    drop(stream);
    llm.wait_cancelled().await;
    assert!(metrics.render().contains(r#"error_type="client_gone""#));

    // While the upstream has not begun, and the head is out already.
    let llm = FakeLlm::start("q", |_| Reply::silence()).await;
    let timeouts = Timeouts {
        hold_head: Duration::from_millis(20),
        ..quick()
    };
    let (gateway, _) = super::gateway(GatewaySettings {
        timeouts,
        ..settings(&llm.url())
    });
    drop(gateway.handle(plugin(CHAT)).await);
    llm.wait_cancelled().await;

    // While the head is still held.
    let llm = FakeLlm::start("q", |_| Reply::silence()).await;
    let (gateway, _) = super::gateway(settings(&llm.url()));
    let waiting = gateway.handle(plugin(CHAT));
    let _ = tokio::time::timeout(Duration::from_millis(100), waiting).await;
    llm.wait_cancelled().await;
}

#[tokio::test]
async fn a_slow_upstream_is_waited_for_with_comments() {
    let slow = FakeLlm::start("q", |_| {
        Reply::events(vec![
            Piece::Wait(150),
            say(text("late")),
            Piece::Wait(150),
            say(stop()),
            say(DONE),
        ])
    })
    .await;
    let timeouts = Timeouts {
        hold_head: Duration::from_millis(20),
        keep_alive: Duration::from_millis(40),
        ..quick()
    };
    let (gateway, _) = gateway(GatewaySettings {
        timeouts,
        ..settings(&slow.url())
    });
    let (body, cut) = read(gateway.handle(plugin(CHAT)).await).await;
    assert!(body.matches(": waiting").count() >= 3, "{body}");
    assert_eq!((content(&body), cut), ("late".into(), None));
}

#[tokio::test]
async fn quirks_are_repaired_on_the_way() {
    let bare = r#"data: {"choices":[{"delta":{"content":"<th"}}]}"#;
    let rest = r#"data: {"choices":[{"delta":{"content":"ink>hm</think>Hello"}}]}"#;
    let pieces = vec![
        say("retry: 1\n\n"),
        say(format!("{bare}\n\n")),
        say(format!("{rest}\n\n")),
        say(stop()),
    ];
    let (_llm, gateway, metrics) = chat_with(pieces).await;
    let (body, cut) = read(gateway.handle(plugin(CHAT)).await).await;
    assert_eq!((content(&body).as_str(), cut), ("Hello", None));
    assert!(body.contains(r#""reasoning_content":"hm""#), "{body}");
    assert!(body.ends_with(DONE));
    for kind in ["think", "fields", "odd_frame", "done"] {
        let line = format!(r#"airlock_llm_repairs_total{{kind="{kind}"}}"#);
        assert!(metrics.render().contains(&line), "{kind}");
    }
}

#[tokio::test]
async fn a_whole_answer_and_a_stream_become_what_was_asked_for() {
    let whole = r#"{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}]}"#;
    let llm = FakeLlm::start("q", move |_| Reply::json(200, whole)).await;
    let (gateway, _) = super::gateway(settings(&llm.url()));
    let response = gateway.handle(plugin(CHAT)).await;
    let (body, _) = read(response).await;
    assert_eq!(content(&body), "Hello");
    assert!(body.ends_with(DONE));
    // The same answer where it was asked for stays byte for byte.
    let response = gateway.handle(plugin(WHOLE)).await;
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(read(response).await.0, whole);

    let (_llm, gateway, _) = chat_with(vec![
        say(text("Hel")),
        say(text("lo")),
        say(stop()),
        say(DONE),
    ])
    .await;
    let (body, _) = read(gateway.handle(plugin(WHOLE)).await).await;
    let value: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(value["choices"][0]["message"]["content"], "Hello");
    assert_eq!(value["object"], "chat.completion");
}

#[tokio::test]
async fn completions_and_embeddings_go_to_their_own_paths() {
    let llm = FakeLlm::start("q,nomic-embed-text", |path| match path {
        "/v1/embeddings" => Reply::json(
            200,
            r#"{"object":"list","data":[{"embedding":[0.10]}],"model":"e"}"#,
        ),
        "/v1/completions" => Reply::events(vec![
            say(
                "data: {\"choices\":[{\"text\":\"a\",\"index\":0,\"finish_reason\":\"stop\"}]}\n\n",
            ),
            say(DONE),
        ]),
        _ => Reply::json(404, "{}"),
    })
    .await;
    let (gateway, _) = gateway(settings(&llm.url()));
    let mut request = other(r#"{"model":"text-embedding-3-small","input":"x"}"#);
    request.parts.uri = "/embeddings".parse().expect("a path");
    let (body, _) = read(gateway.handle(request).await).await;
    assert_eq!(
        body,
        r#"{"object":"list","data":[{"embedding":[0.10]}],"model":"e"}"#
    );
    assert!(llm.last().body.contains(r#""model":"nomic-embed-text""#));

    let mut request = other(r#"{"model":"q","prompt":"x","stream":true}"#);
    request.parts.uri = "/v1/completions".parse().expect("a path");
    let (body, cut) = read(gateway.handle(request).await).await;
    assert!(
        body.contains(r#""text":"a""#) && body.ends_with(DONE),
        "{body}"
    );
    assert_eq!(cut, None);
}

#[tokio::test]
async fn tls_upstreams_are_verified() {
    use rustls::pki_types::PrivateKeyDer;
    let own =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let certificate = own.cert.der().clone();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("a server");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut tls) = acceptor.accept(tcp).await else {
                continue;
            };
            let mut buffer = [0u8; 4096];
            let _ = tls.read(&mut buffer).await;
            let body = r#"{"data":[{"id":"private"}]}"#;
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = tls.write_all(head.as_bytes()).await;
        }
    });
    let base = BaseUrl::parse(&format!("https://localhost:{port}/v1")).expect("a url");
    let metrics = Arc::new(Metrics::new());
    let refused = discovery::probe(&client(&metrics), &base, None, Duration::from_secs(2)).await;
    assert!(matches!(refused, Err(Problem::Tls { .. })), "{refused:?}");

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).expect("a root");
    let dialer = Arc::new(Dialer::new(
        metrics,
        crate::policy::AddressPolicy::for_tests(),
        Duration::from_secs(2),
    ));
    let trusting = HttpClient::new(dialer, tls_config(roots), Duration::from_secs(2));
    let found = discovery::probe(&trusting, &base, None, Duration::from_secs(2))
        .await
        .expect("an LLM");
    assert_eq!(found.models.models[0].id, "private");
}
