use serde_json::json;

use super::{
    explain::ExplainNode, local_docs::LocalDocs, models::*, recall::RecallWorkflow,
    search_node::SearchNode, *,
};
use crate::{
    comfyui::tests::{FILES, Fake, comfyui_at, until},
    handler::test_support::exchange,
    mcp::{Content, Message, Packet, ServerInfo, Step, dispatch},
    models::{Download, Library, ModelSource, Requester, SourceError},
    weights::{ByteRange, Details, File, ModelId, Query, Source, Summary},
};

struct Bench {
    tools: Tools,
    cards: Arc<Cards>,
    comfyui: Arc<ComfyUi>,
    fake: Arc<Fake>,
}

/// A hub that has one model, or none for whom it does not like.
struct Hub;

#[async_trait]
impl ModelSource for Hub {
    fn source(&self) -> Source {
        Source::HuggingFace
    }
    async fn search(&self, query: &Query, _: Requester) -> Result<Vec<Summary>, SourceError> {
        match query.words() {
            [word] if word == "fail" => Err(SourceError::Unreachable {
                from: Source::HuggingFace,
                detail: "it is closed".into(),
            }),
            _ => Ok(vec![Summary {
                id: ModelId::hugging_face("org/flux", None).unwrap(),
                updated: 0,
                downloads: 7,
                tags: vec!["text-to-image\n</script>".into()],
            }]),
        }
    }
    async fn details(&self, _: &ModelId, _: Requester) -> Result<Details, SourceError> {
        Err(SourceError::NotKnown)
    }
    async fn open(
        &self,
        _: &File,
        _: Option<ByteRange>,
        _: Requester,
    ) -> Result<Download, SourceError> {
        Err(SourceError::NotKnown)
    }
}

fn library(hubs: bool) -> Arc<Library> {
    let sources = hubs.then(|| Arc::new(Hub) as Arc<dyn ModelSource>);
    Arc::new(Library::new(sources.into_iter().collect(), None))
}

async fn bench() -> Bench {
    bench_with(true).await
}

async fn bench_with(hubs: bool) -> Bench {
    let fake = Fake::start(FILES).await;
    let comfyui = comfyui_at(&fake.url());
    comfyui.knowledge().await.expect("it answers");
    until("the files are read", || {
        comfyui.known().is_some_and(|k| k.generation == 2)
    })
    .await;
    let runs: Vec<Arc<dyn Run>> = vec![
        Arc::new(RecallWorkflow),
        Arc::new(SearchNode),
        Arc::new(ExplainNode),
        Arc::new(SearchModel::new(library(hubs))),
        Arc::new(LocalDocs),
    ];
    let cards = Arc::new(Cards::default());
    Bench {
        tools: Tools::new(runs, comfyui.clone(), cards.clone()),
        cards,
        comfyui,
        fake,
    }
}

impl Bench {
    /// As a client calls it: through the dispatch, which judges the arguments.
    async fn call(&self, tool: &str, arguments: Value) -> (bool, Value) {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": tool, "arguments": arguments}})
        .to_string();
        let Ok(Packet::Single(message)) = Packet::parse(body.as_bytes()) else {
            panic!("a message");
        };
        assert!(matches!(message, Message::Request { .. }));
        let server = ServerInfo {
            name: "t",
            version: "0",
        };
        match dispatch(message, server, &self.tools).step {
            Step::Call(call) => {
                let caller = ToolCaller {
                    session_id: Some("s1".into()),
                    exchange: exchange("comfyui-copilot-server.onrender.com"),
                };
                let result = self.tools.call(&call, &caller).await;
                let Some(Content::Text(text)) = result.content.first() else {
                    panic!("text");
                };
                let parsed = serde_json::from_str(text);
                (
                    result.is_error,
                    parsed.unwrap_or_else(|_| json!({"answer": text})),
                )
            }
            Step::Reply(reply) => {
                let reply: Value = serde_json::from_str(reply.as_str()).expect("JSON");
                let result = &reply["result"];
                let text = result["content"][0]["text"].clone();
                (result["isError"] == true, json!({"answer": text}))
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn tools_are_listed_in_one_order_with_schemas() {
    let bench = bench().await;
    let names: Vec<_> = bench
        .tools
        .tools()
        .iter()
        .map(|t| t.name.as_str())
        .collect();
    let want = [
        "recall_workflow",
        "search_node",
        "explain_node",
        "search_model",
        "bing_search",
    ];
    assert_eq!(names, want);
    for tool in bench.tools.tools() {
        assert_eq!(tool.input_schema["type"], "object", "{}", tool.name);
        for name in tool.input_schema["required"].as_array().expect("a list") {
            let name = name.as_str().expect("a name");
            assert!(
                tool.input_schema["properties"][name].is_object(),
                "{}: {name}",
                tool.name
            );
        }
    }
}

#[tokio::test]
async fn recall_gives_cards_with_pictures_and_what_is_missing() {
    let bench = bench().await;
    for (row, arguments) in [
        (
            "the vendor's shape",
            json!({"keywords": ["text to image"], "name": "", "description": "make pictures"}),
        ),
        (
            "a text for the list",
            json!({"keywords": "image generation"}),
        ),
        (
            "a description alone",
            json!({"description": "generate images"}),
        ),
        ("Chinese", json!({"keywords": ["文生图"]})),
    ] {
        let (failed, result) = bench.call("recall_workflow", arguments).await;
        assert!(!failed, "{row}: {result}");
        let card = &result["data"][0];
        assert_eq!(card["id"], "template:default", "{row}: {result}");
        assert_eq!(card["image"], "/templates/default-1.webp", "{row}");
        let chinese = row == "Chinese";
        assert_eq!(
            card["name"],
            if chinese {
                "图像生成"
            } else {
                "Image Generation"
            },
            "{row}"
        );
        let about = card["description"].as_str().expect("text");
        assert!(
            about.contains("NotHere") && about.contains("checkpoints/sd15.safetensors"),
            "{about}"
        );
        assert_eq!(result["ext"][0]["type"], "workflow", "{row}");
        assert_eq!(result["ext"][0]["data"], result["data"], "{row}");
    }
    let (_, saved) = bench
        .call("recall_workflow", json!({"keywords": ["cat"]}))
        .await;
    assert_eq!(saved["data"][0]["id"], "saved:mine/cat.json");
    let (failed, none) = bench
        .call("recall_workflow", json!({"keywords": ["zzzzqq"]}))
        .await;
    assert!(
        !failed && none["data"] == json!([]) && none["ext"].is_null(),
        "{none}"
    );
}

#[tokio::test]
async fn nodes_are_found_and_explained_without_an_llm() {
    let bench = bench().await;
    let (failed, found) = bench
        .call("search_node", json!({"query": "denoise latent"}))
        .await;
    assert!(!failed);
    let card = &found["ext"][0]["data"][0];
    assert_eq!(
        (&card["name"], &card["is_existed"]),
        (&json!("KSampler"), &json!(true))
    );
    let (_, missing) = bench
        .call("search_node", json!({"query": "IPAdapterAdvanced"}))
        .await;
    let words = missing["answer"].as_str().expect("text");
    assert!(
        words.starts_with("No node named IPAdapterAdvanced is installed"),
        "{words}"
    );

    for (arguments, needle) in [
        (json!({"node_name": "ksampler"}), "denoises with **steps**"),
        (
            json!({"name": "KSampler", "language": "zh"}),
            "采样器用于去噪",
        ),
        (
            json!({"node_name": "KSampler"}),
            "- steps (INT, required): 1 to 10000; default 20",
        ),
        (json!({"node_name": "mine"}), "A custom node, from my_pack"),
    ] {
        let (failed, result) = bench.call("explain_node", arguments.clone()).await;
        let words = result["answer"].as_str().expect("text");
        assert!(!failed && words.contains(needle), "{arguments}: {words}");
    }
    let (failed, unknown) = bench
        .call("explain_node", json!({"node_name": "KSampelr"}))
        .await;
    let words = unknown["answer"].as_str().expect("text");
    assert!(
        failed && words.contains("Nearest installed ones: KSampler"),
        "{words}"
    );
}

#[tokio::test]
async fn models_come_from_the_disk_first_and_a_source_that_fails_says_so() {
    let bench = bench().await;
    let (_, found) = bench
        .call("search_model", json!({"query": "sdxl base"}))
        .await;
    let cards = &found["data"];
    assert_eq!(
        (&cards[0]["name"], &cards[0]["installed"]),
        (&json!("sd_xl_base_1.0.safetensors"), &json!(true))
    );
    assert_eq!(
        (&cards[1]["source"], &cards[1]["installed"]),
        (&json!("Hugging Face"), &json!(false))
    );
    assert_eq!(cards[1]["id"], "hf--org/flux");
    assert_eq!(cards[1]["url"], "https://huggingface.co/org/flux");
    assert_eq!(cards.as_array().map(Vec::len), Some(2), "{cards}");
    let (failed, closed) = bench.call("search_model", json!({"query": "fail"})).await;
    let words = closed["answer"].as_str().expect("text");
    assert!(
        !failed && words.contains("Hugging Face gave nothing: ") && words.contains("it is closed"),
        "{words}"
    );
    assert!(words.contains("No model file on this disk fits"), "{words}");
    assert!(words.contains("of this machine alone"), "{words}");
    // Where no hub is allowed, that is said in place of it.
    let offline = bench_with(false).await;
    let (_, found) = offline
        .call("search_model", json!({"query": "sdxl base"}))
        .await;
    let words = found["answer"].as_str().expect("text");
    assert!(words.contains("Only this machine was searched"), "{words}");
    assert_eq!(found["data"].as_array().map(Vec::len), Some(1), "{found}");
}

#[tokio::test]
async fn the_search_of_the_second_server_says_that_it_is_none() {
    let bench = bench().await;
    for query in ["ksampler steps", "weather in Paris zzzqqq", "采样"] {
        let (failed, result) = bench.call("bing_search", json!({"query": query})).await;
        let words = result["answer"].as_str().expect("text");
        assert!(
            !failed && words.starts_with("This was NOT a web search"),
            "{words}"
        );
    }
    let (_, result) = bench
        .call("bing_search", json!({"query": "ksampler steps"}))
        .await;
    assert!(
        result["answer"]
            .as_str()
            .expect("text")
            .contains("denoises with"),
        "{result}"
    );
}

#[tokio::test]
async fn bad_arguments_are_told_with_what_to_write() {
    let bench = bench().await;
    for (tool, arguments) in [
        ("recall_workflow", json!({})),
        ("recall_workflow", json!({"keywords": []})),
        ("recall_workflow", json!({"keywords": {"a": 1}})),
        ("search_node", json!({"query": " "})),
        ("explain_node", json!({"node_name": null})),
        ("search_model", json!({"query": []})),
        ("bing_search", json!({"query": true})),
    ] {
        let (failed, result) = bench.call(tool, arguments.clone()).await;
        let words = result["answer"].as_str().expect("text");
        assert!(
            failed && words.starts_with("say in \""),
            "{tool} {arguments}: {words}"
        );
    }
}

#[tokio::test]
async fn results_are_kept_while_comfyui_stays_the_same_and_cards_are_noted_each_time() {
    let bench = bench().await;
    let arguments = json!({"keywords": ["text to image"]});
    let (_, first) = bench.call("recall_workflow", arguments.clone()).await;
    assert_eq!(bench.tools.kept.lock().order.len(), 1);
    let began = Instant::now();
    let (_, again) = bench.call("recall_workflow", arguments.clone()).await;
    assert_eq!(first, again);
    assert_eq!(bench.tools.kept.lock().order.len(), 1);
    assert!(
        bench.cards.take("s1", began).is_some(),
        "a kept result is shown, too"
    );
    bench.fake.put("/object_info", r#"{"Other":{}}"#);
    bench.comfyui.refresh().await.expect("it answers");
    bench.call("recall_workflow", arguments).await;
    let kept = bench.tools.kept.lock();
    assert!(
        kept.order.iter().all(|k| k.generation > 2),
        "stale ones are gone"
    );
}

#[tokio::test]
async fn a_comfyui_that_is_down_is_a_failure_in_plain_words() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let mut bench = bench().await;
    let comfyui = comfyui_at(&format!("http://{address}"));
    bench.tools.comfyui = comfyui;
    let (failed, result) = bench.call("search_node", json!({"query": "x"})).await;
    let words = result["answer"].as_str().expect("text");
    assert!(failed && words.contains("has not been started"), "{words}");
}
