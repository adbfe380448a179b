use super::*;
use crate::llm::models::CatchAll;

async fn ids(gateway: &Gateway) -> Vec<String> {
    let response = gateway.handle(get("/v1/models")).await;
    assert_eq!(response.status(), 200);
    let (body, _) = read(response).await;
    let value: serde_json::Value = serde_json::from_str(&body).expect(&body);
    let data = value["data"].as_array().expect("a list");
    data.iter()
        .map(|m| m["id"].as_str().expect("an id").to_owned())
        .collect()
}

fn dead_url() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}/v1", listener.local_addr().expect("an address"))
}

#[tokio::test]
async fn the_list_is_the_upstream_s_with_the_configured_model_first() {
    let llm = FakeLlm::start("nomic-embed-text,a,b", |_| Reply::json(500, "{}")).await;
    let (gateway, _) = gateway(GatewaySettings {
        model: Some("b".into()),
        ..settings(&llm.url())
    });
    assert_eq!(ids(&gateway).await, ["b", "a", "nomic-embed-text"]);
    let response = gateway.handle(get("/v1/models/a")).await;
    assert_eq!(
        read(response).await.0,
        r#"{"id":"a","object":"model","created":1,"owned_by":"vllm"}"#
    );
    assert_eq!(gateway.status().kind, Some(discovery::ServerKind::Vllm));
}

#[tokio::test]
async fn a_list_never_hangs_and_is_never_empty() {
    let hanging = FakeLlm::scripted(|_, _| Reply::silence()).await;
    let configured = CatchAll::Model("mine".into());
    let with = |url: &str, catch_all| GatewaySettings {
        aliases: Aliases {
            catch_all,
            ..Aliases::default()
        },
        ..settings(url)
    };
    let cases = [
        (
            "it hangs",
            with(&hanging.url(), CatchAll::First),
            "no-local-llm-found",
        ),
        (
            "it hangs, a model is configured",
            with(&hanging.url(), configured.clone()),
            "mine",
        ),
        (
            "it is down",
            with(&dead_url(), CatchAll::First),
            "no-local-llm-found",
        ),
        (
            "it is down, a model is configured",
            with(&dead_url(), configured),
            "mine",
        ),
    ];
    for (name, settings, want) in cases {
        let (gateway, _) = gateway(settings);
        let started = std::time::Instant::now();
        assert_eq!(ids(&gateway).await, [want], "{name}");
        assert!(started.elapsed() < Duration::from_millis(600), "{name}");
    }
}

#[tokio::test]
async fn what_was_last_known_is_told_when_the_llm_is_gone() {
    let llm = FakeLlm::start("a,b", |_| Reply::json(500, "{}")).await;
    let (gateway, _) = gateway(settings(&llm.url()));
    assert_eq!(ids(&gateway).await, ["a", "b"]);
    llm.stop();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let (body, _) = read(gateway.handle(plugin(CHAT)).await).await;
    assert!(content(&body).contains("could not reach"), "{body}");
    assert_eq!(ids(&gateway).await, ["a", "b"]);
}

#[tokio::test]
async fn a_base_url_without_v1_is_understood() {
    let llm = FakeLlm::scripted(|path, _| match path {
        "/v1/models" => Reply::json(200, r#"{"data":[{"id":"q"}]}"#),
        "/v1/chat/completions" => Reply::events(vec![say(text("ok")), say(stop()), say(DONE)]),
        _ => Reply::json(404, "404 page not found"),
    })
    .await;
    let (gateway, _) = gateway(settings(&format!("http://{}", llm.address)));
    let (body, _) = read(gateway.handle(plugin(CHAT)).await).await;
    assert_eq!(content(&body), "ok");
}

#[tokio::test]
async fn an_llm_without_a_list_still_answers() {
    let llm = FakeLlm::scripted(|path, _| {
        if path.ends_with("/models") {
            Reply::json(404, "{}")
        } else {
            Reply::events(vec![say(text("ok")), say(stop()), say(DONE)])
        }
    })
    .await;
    let (gateway, metrics) = gateway(settings(&llm.url()));
    let (body, _) = read(gateway.handle(plugin(CHAT)).await).await;
    assert_eq!(content(&body), "ok");
    assert!(
        llm.last().body.contains("gemini-2.5-flash"),
        "nothing better is known"
    );
    assert!(
        !metrics.render().contains("gemini"),
        "a client's words are no metric label"
    );
}

#[tokio::test]
async fn a_model_that_was_changed_behind_our_back_is_found_by_asking_again() {
    let now = Arc::new(parking_lot::Mutex::new("old"));
    let served = now.clone();
    let llm = FakeLlm::scripted(move |path, body| {
        let model = *served.lock();
        if path == "/v1/models" {
            Reply::json(200, &format!(r#"{{"data":[{{"id":"{model}"}}]}}"#))
        } else if body.contains(&format!(r#""model":"{model}""#)) {
            Reply::events(vec![say(text("ok")), say(stop()), say(DONE)])
        } else {
            Reply::json(
                404,
                r#"{"error":{"message":"The model `old` does not exist."}}"#,
            )
        }
    })
    .await;
    let (gateway, _) = gateway(settings(&llm.url()));
    assert_eq!(ids(&gateway).await, ["old"]);
    *now.lock() = "new";
    let (body, _) = read(gateway.handle(plugin(CHAT)).await).await;
    assert_eq!(content(&body), "ok");
    let calls = llm
        .seen
        .lock()
        .iter()
        .filter(|s| s.head.starts_with("POST"))
        .count();
    assert_eq!(calls, 2, "one with the stale name, one with the new");
}

fn discovering(urls: &[String]) -> GatewaySettings {
    GatewaySettings {
        base_url: None,
        discover: true,
        discover_urls: urls
            .iter()
            .map(|u| BaseUrl::parse(u).expect("a url"))
            .collect(),
        ..settings("http://127.0.0.1:9/v1")
    }
}

#[tokio::test]
async fn the_first_llm_in_order_is_found_by_itself() {
    let page = FakeLlm::scripted(|_, _| Reply::json(200, r#"{"hello":"world"}"#)).await;
    let hang = FakeLlm::scripted(|_, _| Reply::silence()).await;
    let answer =
        |t: &'static str| move |_: &str| Reply::events(vec![say(text(t)), say(stop()), say(DONE)]);
    let first = FakeLlm::start("one", answer("one")).await;
    let second = FakeLlm::start("two", answer("two")).await;
    let urls = [
        dead_url(),
        page.url(),
        hang.url(),
        first.url(),
        second.url(),
    ];
    let (gateway, _) = gateway(discovering(&urls));
    let status = gateway.warm_up().await;
    assert_eq!(status.url.as_deref(), Some(&*first.url()));
    assert!(status.up && status.discovered);
    assert_eq!(status.models, ["one"]);
    let (body, _) = read(gateway.handle(plugin(CHAT)).await).await;
    assert_eq!(content(&body), "one");
    assert!(
        !first.last().head.contains("sk-upstream"),
        "a found LLM is not given the key"
    );

    // It goes away: the same request is answered by the next one.
    first.stop();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let (body, _) = read(gateway.handle(plugin(CHAT)).await).await;
    assert_eq!(content(&body), "two");
    assert_eq!(gateway.status().url.as_deref(), Some(&*second.url()));
}

#[tokio::test]
async fn no_llm_anywhere_names_where_was_looked() {
    let url = dead_url();
    let (gateway, metrics) = gateway(discovering(std::slice::from_ref(&url)));
    for _ in 0..2 {
        let (body, _) = read(gateway.handle(plugin(CHAT)).await).await;
        let said = content(&body);
        assert!(
            said.contains("found no local LLM") && said.contains(&url),
            "{said}"
        );
    }
    assert_eq!(ids(&gateway).await, ["no-local-llm-found"]);
    assert!(
        metrics
            .render()
            .contains(r#"airlock_llm_upstream_errors_total{kind="no_upstream"} 2"#)
    );
    assert_eq!(gateway.handle(other(CHAT)).await.status(), 503);
}

#[tokio::test]
async fn an_llm_started_later_is_found_without_a_restart() {
    let port = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = port.local_addr().expect("an address");
    let (gateway, _) = gateway(discovering(&[format!("http://{address}/v1")]));
    drop(port);
    assert!(!gateway.warm_up().await.up);
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .expect("the same port");
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0u8; 2048];
            let _ = stream.read(&mut buffer).await;
            let body = r#"{"models":[{"name":"late:latest"}]}"#;
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).await;
        }
    });
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(ids(&gateway).await, ["late:latest"]);
}

#[tokio::test]
async fn a_list_that_hangs_is_waited_for_once_and_not_by_every_caller() {
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = asked.clone();
    let hanging = FakeLlm::scripted(move |_, _| {
        counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Reply::silence()
    })
    .await;
    let (gateway, _) = gateway(settings(&hanging.url()));
    for _ in 0..5 {
        assert_eq!(ids(&gateway).await, ["no-local-llm-found"]);
    }
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 1);
}
