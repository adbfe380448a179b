//! The whole walk against small servers on loopback, each with one thing that is wrong.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{config, doctor::Status};

/// How the server behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Server {
    /// A piece every few milliseconds, tools, 32k.
    Good,
    /// The same, held back and sent at once.
    Buffered,
    WithoutTools,
    SmallContext,
    WantsKey,
    /// Answers 404 to everything below `/v1`.
    OtherPath,
    WebPage,
    Silent,
}

async fn serve(server: Server) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, server));
        }
    });
    address
}

async fn connection(mut stream: TcpStream, server: Server) {
    if server == Server::Silent {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let (path, body) = request(&mut stream).await;
    let out = match (server, path.as_str()) {
        (Server::WantsKey, _) => json(401, r#"{"error":{"message":"Invalid API key"}}"#),
        (Server::OtherPath, _) => json(404, r#"{"detail":"Not Found"}"#),
        (Server::WebPage, _) => json(200, "<html></html>"),
        (_, "/v1/models") => {
            let context = if server == Server::SmallContext {
                8192
            } else {
                32768
            };
            json(
                200,
                &format!(
                    r#"{{"data":[{{"id":"qwen3","owned_by":"vllm","max_model_len":{context}}}]}}"#
                ),
            )
        }
        (_, "/v1/chat/completions") if body.contains("\"tools\"") => {
            if server == Server::WithoutTools {
                json(
                    400,
                    r#"{"error":{"message":"\"auto\" tool choice requires --tool-call-parser"}}"#,
                )
            } else {
                stream_head()
                    + &chunk(
                        r#"{"tool_calls":[{"index":0,"id":"c","function":{"name":"get_current_workflow","arguments":"{}"}}]}"#,
                    )
                    + end()
            }
        }
        (_, "/v1/chat/completions") => {
            stream.write_all(stream_head().as_bytes()).await.unwrap();
            let mut held = String::new();
            for _ in 0..30 {
                held += &chunk(r#"{"content":"one "}"#);
                if server != Server::Buffered {
                    stream.write_all(held.as_bytes()).await.unwrap();
                    held.clear();
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
            }
            held + end()
        }
        _ => json(404, "{}"),
    };
    let _ = stream.write_all(out.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn request(stream: &mut TcpStream) -> (String, String) {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        let n = stream.read(&mut buffer).await.unwrap();
        text.push_str(&String::from_utf8_lossy(&buffer[..n]));
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|l| {
            let (name, value) = l.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse().unwrap())
        });
        if n == 0 || body.len() >= length.unwrap_or(0) {
            let path = head.split(' ').nth(1).unwrap().to_owned();
            return (path, body.to_owned());
        }
    }
}

fn json(status: u16, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

fn stream_head() -> String {
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n".to_owned()
}

fn chunk(delta: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":null}}]}}\n\n")
}

fn end() -> &'static str {
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
}

/// `llm`: the section of the configuration.
async fn findings(llm: &str, depth: Depth) -> Vec<Finding> {
    let env = HashMap::from([("HOME".to_owned(), "/nonexistent".to_owned())]);
    let yaml = format!("version: 1\nllm: {llm}\n");
    let config = config::compile(&yaml, "test", ".".into(), &env).unwrap();
    examine(&config, &env, depth, &Progress::default()).await
}

fn worst<'a>(findings: &'a [Finding], check: &str) -> Option<&'a Finding> {
    findings
        .iter()
        .filter(|f| f.check == check)
        .max_by_key(|f| f.status)
}

#[tokio::test]
async fn a_good_server_has_nothing_wrong() {
    let address = serve(Server::Good).await;
    let got = findings(
        &format!("{{base_url: \"http://{address}/v1\", discover: false}}"),
        Depth::Full,
    )
    .await;
    assert!(got.iter().all(|f| f.status == Status::Ok), "{got:#?}");
    for (check, words) in [
        ("llm", "vLLM at http://"),
        ("llm_model", "-> qwen3 (catch-all)"),
        ("llm_stream", "a real stream"),
        ("llm_pace", "tokens/s"),
        ("llm_tools", "calls tools"),
        ("llm_context", "32768"),
    ] {
        let all: Vec<_> = got.iter().filter(|f| f.check == check).collect();
        assert!(
            all.iter().any(|f| f.finding.contains(words)),
            "{check}: {all:?}"
        );
    }
}

#[tokio::test]
async fn each_fault_is_found_where_it_is() {
    let rows = [
        (Server::Buffered, "llm_stream", Status::Warn, "buffer"),
        (
            Server::WithoutTools,
            "llm_tools",
            Status::Fail,
            "--enable-auto-tool-choice",
        ),
        (
            Server::SmallContext,
            "llm_context",
            Status::Warn,
            "--max-model-len",
        ),
        (Server::WantsKey, "llm", Status::Fail, "LOCAL_LLM_API_KEY"),
        (Server::OtherPath, "llm", Status::Fail, "LOCAL_LLM_BASE_URL"),
        (Server::WebPage, "llm", Status::Fail, "LOCAL_LLM_BASE_URL"),
    ];
    for (server, check, status, fix) in rows {
        let address = serve(server).await;
        let llm = format!("{{base_url: \"http://{address}/v1\", discover: false}}");
        let got = findings(&llm, Depth::Full).await;
        let found = worst(&got, check).unwrap_or_else(|| panic!("{check} is missing: {got:#?}"));
        assert_eq!(found.status, status, "{got:#?}");
        assert!(
            found.fix.as_deref().is_some_and(|f| f.contains(fix)),
            "{found:?}"
        );
    }
}

#[tokio::test]
async fn an_address_that_cannot_be_reached_says_why() {
    for (base, words, fix) in [
        ("http://127.0.0.1:1/v1", "refused", "start the LLM"),
        ("http://127.0.0.1:3128/v1", "closed", "airlock's own port"),
    ] {
        let got = findings(
            &format!("{{base_url: \"{base}\", discover: false}}"),
            Depth::Full,
        )
        .await;
        let found = worst(&got, "llm").unwrap();
        assert_eq!(found.status, Status::Fail, "{base}");
        assert!(found.finding.contains(words), "{base}: {found:?}");
        assert!(
            found.fix.as_deref().is_some_and(|f| f.contains(fix)),
            "{base}: {found:?}"
        );
    }
}

#[tokio::test]
async fn the_usual_places_are_named_each_and_the_one_that_answers_is_used() {
    let good = serve(Server::Good).await;
    let silent = serve(Server::Silent).await;
    let places =
        format!("[\"http://127.0.0.1:1/v1\", \"http://{silent}/v1\", \"http://{good}/v1\"]");
    let got = findings(&format!("{{discover_ports: {places}}}"), Depth::Quick).await;
    let search: Vec<_> = got.iter().filter(|f| f.check == "llm_search").collect();
    assert_eq!(search.len(), 3, "{got:#?}");
    assert!(search[0].finding.contains("nothing there"), "{search:?}");
    assert!(search[1].finding.contains("no answer"), "{search:?}");
    assert!(
        search[2].finding.contains("vLLM, 1 model (qwen3)"),
        "{search:?}"
    );
    assert!(
        worst(&got, "llm").is_some_and(|f| f.status == Status::Ok),
        "{got:#?}"
    );
    assert_eq!(worst(&got, "llm_stream"), None, "quick generates nothing");
}

#[tokio::test]
async fn a_configured_llm_that_is_down_points_to_the_one_that_was_found() {
    let good = serve(Server::Good).await;
    let llm =
        format!("{{base_url: \"http://127.0.0.1:1/v1\", discover_ports: [\"http://{good}/v1\"]}}");
    let got = findings(&llm, Depth::Quick).await;
    let found = worst(&got, "llm").unwrap();
    let fix = found.fix.as_deref().unwrap_or_default();
    assert!(
        fix.contains(&format!("the vLLM found at http://{good}/v1")),
        "{found:?}"
    );
}

#[tokio::test]
async fn nothing_anywhere_is_a_failure_with_a_way_out() {
    let got = findings("{discover_ports: [\"http://127.0.0.1:1/v1\"]}", Depth::Full).await;
    let found = worst(&got, "llm").unwrap();
    assert_eq!(found.status, Status::Fail);
    assert!(
        found
            .fix
            .as_deref()
            .is_some_and(|f| f.contains("ollama serve")),
        "{found:?}"
    );
}
