//! Streamable HTTP.

use super::*;

async fn send(
    responder: &McpResponder,
    method: &str,
    session: Option<&str>,
    extra: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> LocalResponse {
    let mut headers = vec![JSON, USER, BOTH];
    headers.extend(session.map(|id| ("mcp-session-id", id)));
    headers.retain(|(name, _)| !extra.iter().any(|(n, _)| n == name));
    headers.extend(extra);
    responder
        .handle(request(VENDOR, method, "/mcp-server/mcp", &headers, body))
        .await
}

const INITIALIZE: &str =
    r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-03-26"}}"#;

async fn initialize(responder: &McpResponder) -> String {
    let response = send(responder, "POST", None, &[], INITIALIZE).await;
    assert_eq!(response.status(), 200);
    let id = header(&response, "mcp-session-id").to_owned();
    assert_eq!(
        body_json(response).await["result"]["protocolVersion"],
        "2025-03-26"
    );
    id
}

#[tokio::test]
async fn a_streamable_session_lives_from_initialize_to_delete() {
    let responder = responder(McpBounds::default());
    let id = initialize(&responder).await;
    assert_eq!(id.len(), 32);
    let id = Some(id.as_str());
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let batch = format!("[{ping},{initialized},5]");
    let zeros = Some("00000000000000000000000000000000");
    for (row, method, session, extra, body, status) in [
        ("initialized", "POST", id, vec![], initialized, 202),
        ("a request", "POST", id, vec![], ping, 200),
        (
            "a known version",
            "POST",
            id,
            vec![("mcp-protocol-version", "2025-03-26")],
            ping,
            200,
        ),
        (
            "a bad version",
            "POST",
            id,
            vec![("mcp-protocol-version", "2099-01-01")],
            ping,
            400,
        ),
        (
            "a batch, which this version has",
            "POST",
            id,
            vec![],
            batch.as_str(),
            200,
        ),
        ("no session", "POST", None, vec![], ping, 400),
        (
            "a session that is not there",
            "POST",
            zeros,
            vec![],
            ping,
            404,
        ),
        (
            "a session id that is none",
            "POST",
            Some("x"),
            vec![],
            ping,
            404,
        ),
        (
            "another user",
            "POST",
            id,
            vec![("x-session-id", "user-2")],
            ping,
            404,
        ),
        ("a stream to listen on", "GET", id, vec![], "", 405),
        (
            "a listener without a session",
            "GET",
            zeros,
            vec![],
            "",
            404,
        ),
        ("delete without a session", "DELETE", None, vec![], "", 400),
        ("cut JSON", "POST", id, vec![], "{", 400),
        (
            "a form",
            "POST",
            id,
            vec![("content-type", "text/plain")],
            ping,
            415,
        ),
        (
            "takes neither",
            "POST",
            id,
            vec![("accept", "text/html")],
            ping,
            406,
        ),
        (
            "another site",
            "POST",
            id,
            vec![("origin", "https://evil.example")],
            ping,
            403,
        ),
        (
            "discover without a session",
            "POST",
            None,
            vec![("mcp-protocol-version", "2026-07-28")],
            r#"{"jsonrpc":"2.0","id":1,"method":"server/discover"}"#,
            200,
        ),
        ("delete", "DELETE", id, vec![], "", 204),
        ("after delete", "POST", id, vec![], ping, 404),
    ] {
        let response = send(&responder, method, session, &extra, body.to_owned()).await;
        assert_eq!(response.status(), status, "{row}");
        match row {
            "a request" => assert_eq!(
                body_json(response).await,
                json!({"jsonrpc":"2.0","id":1,"result":{}}),
                "{row}"
            ),
            "a batch, which this version has" => {
                let answers = body_json(response).await;
                assert_eq!(
                    answers.as_array().map(Vec::len),
                    Some(2),
                    "{row}: {answers}"
                );
            }
            "discover without a session" => {
                assert_eq!(body_json(response).await["error"]["code"], -32601, "{row}");
            }
            _ => {}
        }
    }
    assert_eq!(responder.sessions.len(), 0);
}

#[tokio::test]
async fn a_streamable_call_answers_in_the_form_the_client_takes() {
    let responder = responder(McpBounds {
        ping: Duration::from_millis(20),
        call_timeout: Duration::from_millis(100),
        ..McpBounds::default()
    });
    let id = initialize(&responder).await;
    let id = Some(id.as_str());
    for (row, accept, tool, kind, pings) in [
        (
            "both: events for a call",
            BOTH.1,
            "echo",
            "text/event-stream",
            false,
        ),
        (
            "only JSON",
            "application/json",
            "echo",
            "application/json",
            false,
        ),
        (
            "only events",
            "text/event-stream",
            "echo",
            "text/event-stream",
            false,
        ),
        (
            "a slow one pings",
            BOTH.1,
            "sleep",
            "text/event-stream",
            true,
        ),
    ] {
        let extra = [("accept", accept)];
        let response = send(&responder, "POST", id, &extra, call(1, tool, json!({}))).await;
        assert_eq!(response.status(), 200, "{row}");
        assert_eq!(header(&response, "content-type"), kind, "{row}");
        let text = body_text(response).await;
        assert_eq!(text.contains(": ping\n\n"), pings, "{row}: {text}");
        assert!(text.contains(r#""id":1,"result":"#), "{row}: {text}");
    }
    // The answer's stream is gone half way: its call's place must be free again.
    for _ in 0..20 {
        let response = send(&responder, "POST", id, &[], call(2, "sleep", json!({}))).await;
        assert_eq!(response.status(), 200);
    }
    let text = body_text(send(&responder, "POST", id, &[], call(2, "echo", json!({}))).await).await;
    assert!(text.contains(r#""isError":false"#), "{text}");
}

#[tokio::test]
async fn an_idle_streamable_session_gives_its_place_away() {
    let responder = responder(McpBounds {
        max_sessions: 1,
        idle: Duration::from_millis(50),
        ..McpBounds::default()
    });
    let first = initialize(&responder).await;
    let refused = send(&responder, "POST", None, &[], INITIALIZE).await;
    assert_eq!(refused.status(), 503);
    tokio::time::sleep(Duration::from_millis(80)).await;
    let second = initialize(&responder).await;
    assert_ne!(first, second);
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let expired = send(&responder, "POST", Some(&first), &[], ping).await;
    assert_eq!(expired.status(), 404);
}

#[tokio::test]
async fn a_full_table_takes_the_stalest_streamable_place_and_never_a_live_stream() {
    let responder = responder(McpBounds {
        max_sessions: 3,
        stale: Duration::from_millis(50),
        ..McpBounds::default()
    });
    let stream = open(&responder).await;
    let first = initialize(&responder).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let second = initialize(&responder).await;
    tokio::time::sleep(Duration::from_millis(80)).await;
    initialize(&responder).await;
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for (row, session, status) in [
        ("the stalest", &first, 404),
        ("a younger one", &second, 200),
    ] {
        let response = send(&responder, "POST", Some(session), &[], ping).await;
        assert_eq!(response.status(), status, "{row}");
    }
    let legacy = post(&responder, &stream.endpoint, ping).await;
    assert_eq!(legacy.status(), 202, "the stream is older than all of them");
}
