//! Legacy HTTP+SSE, as mcp 1.x and 2.x use it.

use super::*;

#[tokio::test]
async fn a_legacy_session_of_mcp_2_goes_from_discover_to_a_tool() {
    let responder = responder(McpBounds::default());
    let mut stream = open(&responder).await;
    let id = stream
        .endpoint
        .strip_prefix("/mcp-server/messages/?session_id=")
        .expect("a relative path on the vendor's server");
    assert_eq!(id.len(), 32);
    let uri = stream.endpoint.clone();

    for (row, body, want) in [
        (
            "discover is declined at once",
            r#"{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{}}"#.to_owned(),
            Some(json!({"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}})),
        ),
        (
            "initialize echoes the version",
            r#"{"jsonrpc":"2.0","id":2,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#.to_owned(),
            Some(json!({"jsonrpc":"2.0","id":2,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"airlock","version":env!("CARGO_PKG_VERSION")}}})),
        ),
        (
            "initialized is silent",
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned(),
            None,
        ),
        (
            "a call",
            call(3, "echo", json!({"q": "画"})),
            Some(json!({"jsonrpc":"2.0","id":3,"result":{"content":[{"type":"text","text":"{\"q\":\"画\"} for user-1"}],"isError":false}})),
        ),
        (
            "arguments that the tool refuses",
            call(4, "echo", json!({"bad": 1})),
            Some(json!({"jsonrpc":"2.0","id":4,"result":{"content":[{"type":"text","text":"argument \"bad\" is bad"}],"isError":true}})),
        ),
        (
            "a ping",
            r#"{"jsonrpc":"2.0","id":5,"method":"ping"}"#.to_owned(),
            Some(json!({"jsonrpc":"2.0","id":5,"result":{}})),
        ),
    ] {
        let response = post(&responder, &uri, body).await;
        assert_eq!(response.status(), 202, "{row}");
        if let Some(want) = want {
            assert_eq!(stream.message().await, want, "{row}");
        }
    }
    let batch = post(
        &responder,
        &uri,
        r#"[{"jsonrpc":"2.0","id":6,"method":"ping"}]"#,
    )
    .await;
    assert_eq!(batch.status(), 400);
    let exposed = responder.metrics.render();
    assert!(exposed.contains("airlock_mcp_sessions 1"));
    assert!(exposed.contains(
        r#"airlock_mcp_requests_total{method="server/discover",outcome="method_not_found"} 1"#
    ));
    assert!(
        exposed.contains(r#"airlock_mcp_requests_total{method="tools/call",outcome="tool_ok"} 1"#)
    );
    assert!(!exposed.contains("airlock_standin_drift_total{"));
}

#[tokio::test]
async fn the_search_server_has_its_own_path_and_tools() {
    let responder = responder(McpBounds::default());
    let mut stream = open_at(&responder, SEARCH, "/8c9fe550938e4f/sse").await;
    assert!(
        stream
            .endpoint
            .starts_with("/8c9fe550938e4f/messages/?session_id=")
    );
    let body = r#"{"jsonrpc":"2.0","id":0,"method":"tools/list"}"#;
    let headers = [JSON, USER];
    let response = responder
        .handle(request(SEARCH, "POST", &stream.endpoint, &headers, body))
        .await;
    assert_eq!(response.status(), 202);
    assert_eq!(
        stream.message().await,
        json!({"jsonrpc":"2.0","id":0,"result":{"tools":[]}})
    );
}

#[tokio::test]
async fn dropping_the_stream_frees_the_session_and_stops_its_calls() {
    let responder = responder(McpBounds::default());
    let stream = open(&responder).await;
    let uri = stream.endpoint.clone();
    assert_eq!(
        post(&responder, &uri, call(1, "sleep", json!({})))
            .await
            .status(),
        202
    );
    assert_eq!(responder.sessions.len(), 1);
    drop(stream);
    assert_eq!(responder.sessions.len(), 0);
    assert!(
        responder
            .metrics
            .render()
            .contains("airlock_mcp_sessions 0")
    );
    assert_eq!(
        post(&responder, &uri, call(2, "echo", json!({})))
            .await
            .status(),
        404
    );
    for _ in 0..100 {
        if responder
            .metrics
            .render()
            .contains(r#"outcome="cancelled"} 1"#)
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the call was not stopped");
}

#[tokio::test]
async fn sessions_are_bounded_and_a_place_comes_back() {
    let responder = responder(McpBounds {
        max_sessions: 2,
        ..McpBounds::default()
    });
    let first = open(&responder).await;
    let _second = open(&responder).await;
    let get = || request(VENDOR, "GET", "/mcp-server/mcp", &[USER], "");
    let refused = responder.handle(get()).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(header(&refused, "retry-after"), "5");
    drop(first);
    assert_eq!(responder.handle(get()).await.status(), 200);
}

#[tokio::test]
async fn a_foreign_session_is_not_found() {
    let responder = responder(McpBounds::default());
    let stream = open(&responder).await;
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let uri = stream.endpoint.as_str();
    let as_search = uri.replace("/mcp-server/", "/8c9fe550938e4f/");
    let unknown = "/mcp-server/messages/?session_id=00000000000000000000000000000000";
    let twice = format!("{uri}&session_id=00000000000000000000000000000000");
    for (row, host, uri, user, status) in [
        ("the owner", VENDOR, uri, Some("user-1"), 202),
        ("another user", VENDOR, uri, Some("user-2"), 404),
        ("a client without a user", VENDOR, uri, None, 404),
        (
            "another host",
            "comfyui-copilot-server-pre.onrender.com",
            uri,
            Some("user-1"),
            404,
        ),
        (
            "the other server",
            VENDOR,
            as_search.as_str(),
            Some("user-1"),
            404,
        ),
        (
            "an id that is not there",
            VENDOR,
            unknown,
            Some("user-1"),
            404,
        ),
        (
            "no id",
            VENDOR,
            "/mcp-server/messages/",
            Some("user-1"),
            400,
        ),
        (
            "a bad id",
            VENDOR,
            "/mcp-server/messages/?session_id=1",
            Some("user-1"),
            400,
        ),
        ("two ids", VENDOR, twice.as_str(), Some("user-1"), 400),
    ] {
        let mut headers = vec![JSON];
        headers.extend(user.map(|u| ("x-session-id", u)));
        let response = responder
            .handle(request(host, "POST", uri, &headers, ping))
            .await;
        assert_eq!(response.status(), status, "{row}");
    }
}

#[tokio::test]
async fn what_the_legacy_transport_refuses() {
    let responder = responder(McpBounds::default());
    let stream = open(&responder).await;
    let uri = stream.endpoint.as_str();
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let large = format!("{ping}{}", " ".repeat(4 << 20));
    let evil = ("origin", "https://evil.example");
    let page = ("origin", "http://localhost:3000");
    for (row, method, uri, headers, body, status, allow) in [
        (
            "cut JSON",
            "POST",
            uri,
            vec![JSON, USER],
            "{\"jsonrpc\":",
            400,
            "",
        ),
        ("no message", "POST", uri, vec![JSON, USER], "{}", 400, ""),
        (
            "a form",
            "POST",
            uri,
            vec![("content-type", "text/plain"), USER],
            ping,
            400,
            "",
        ),
        (
            "over 4 MiB",
            "POST",
            uri,
            vec![JSON, USER],
            large.as_str(),
            413,
            "",
        ),
        (
            "GET of the message path",
            "GET",
            uri,
            vec![USER],
            "",
            405,
            "POST",
        ),
        (
            "PUT of the stream",
            "PUT",
            "/mcp-server/mcp",
            vec![USER],
            "",
            405,
            "GET, POST, DELETE",
        ),
        (
            "an unknown path",
            "GET",
            "/mcp-server/other",
            vec![USER],
            "",
            404,
            "",
        ),
        (
            "a page of another site",
            "GET",
            "/mcp-server/mcp",
            vec![USER, evil],
            "",
            403,
            "",
        ),
        (
            "a page of another site posts",
            "POST",
            uri,
            vec![JSON, USER, evil],
            ping,
            403,
            "",
        ),
        (
            "a page of this machine",
            "POST",
            uri,
            vec![JSON, USER, page],
            ping,
            202,
            "",
        ),
        (
            "a client that takes no stream",
            "GET",
            "/mcp-server/mcp",
            vec![USER, ("accept", "application/json")],
            "",
            406,
            "",
        ),
    ] {
        let response = responder
            .handle(request(VENDOR, method, uri, &headers, body.to_owned()))
            .await;
        assert_eq!(response.status(), status, "{row}");
        assert_eq!(header(&response, "allow"), allow, "{row}");
        if status == 400 {
            assert!(
                body_json(response).await["error"]["code"].is_number(),
                "{row}"
            );
        }
    }
}

#[tokio::test]
async fn a_silent_stream_pings_and_an_idle_one_ends() {
    let responder = responder(McpBounds {
        ping: Duration::from_millis(30),
        idle: Duration::from_millis(200),
        ..McpBounds::default()
    });
    let mut stream = open(&responder).await;
    assert_eq!(stream.chunk().await.as_deref(), Some(": ping\n\n"));
    let mut pings = 1;
    while let Some(chunk) = stream.chunk().await {
        assert_eq!(chunk, ": ping\n\n");
        pings += 1;
    }
    assert!((2..=10).contains(&pings), "{pings} pings before the end");
    assert_eq!(responder.sessions.len(), 0);
}

#[tokio::test]
async fn failures_of_a_tool_are_results() {
    let responder = responder(McpBounds {
        call_timeout: Duration::from_millis(50),
        ..McpBounds::default()
    });
    let mut stream = open(&responder).await;
    let uri = stream.endpoint.clone();
    for (row, name, words) in [
        ("a panic", "panic", "failed in airlock"),
        ("too slow", "sleep", "took too long"),
        ("too large", "huge", "larger than 1 MiB"),
        ("no such tool", "bing_search", "no tool of this name"),
    ] {
        assert_eq!(
            post(&responder, &uri, call(1, name, json!({})))
                .await
                .status(),
            202,
            "{row}"
        );
        let message = stream.message().await;
        assert_eq!(message["result"]["isError"], true, "{row}");
        let text = message["result"]["content"][0]["text"]
            .as_str()
            .expect("text");
        assert!(text.contains(words), "{row}: {text}");
    }
}

#[tokio::test]
async fn a_cancelled_call_is_not_answered_and_its_id_is_free_again() {
    let responder = responder(McpBounds::default());
    let mut stream = open(&responder).await;
    let uri = stream.endpoint.clone();
    post(&responder, &uri, call(7, "sleep", json!({}))).await;
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#;
    assert_eq!(post(&responder, &uri, cancel).await.status(), 202);
    tokio::time::sleep(Duration::from_millis(50)).await;
    post(&responder, &uri, call(7, "echo", json!({}))).await;
    let message = stream.message().await;
    assert_eq!(message["result"]["isError"], false, "{message}");
}

#[tokio::test]
async fn calls_at_the_same_time_are_bounded() {
    let responder = responder(McpBounds::default());
    let mut stream = open(&responder).await;
    let uri = stream.endpoint.clone();
    for id in 0..9 {
        assert_eq!(
            post(&responder, &uri, call(id, "sleep", json!({})))
                .await
                .status(),
            202
        );
    }
    let message = stream.message().await;
    assert_eq!(
        (&message["id"], &message["result"]["isError"]),
        (&json!(8), &json!(true))
    );
}

#[tokio::test]
async fn a_client_that_does_not_read_is_told_so() {
    let responder = responder(McpBounds::default());
    let stream = open(&responder).await;
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let mut taken = 0;
    loop {
        let response = post(&responder, &stream.endpoint, ping).await;
        if response.status() == 503 {
            assert_eq!(header(&response, "retry-after"), "1");
            break;
        }
        taken += 1;
        assert!(taken < 1000, "the queue has no bound");
    }
    assert_eq!(taken, 64);
}
