//! Against a stand-in for ComfyUI that counts what it is asked.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::{client::Client, *};
use crate::{net::BaseUrl, upstream::http_client::HttpClient};
use crate::{policy::AddressPolicy, upstream::dial::Dialer};

/// Files by their path without its query; what is absent is 404.
#[derive(Default)]
pub(crate) struct Fake {
    files: Mutex<HashMap<String, String>>,
    asked: Mutex<Vec<String>>,
    address: Mutex<Option<SocketAddr>>,
}

impl Fake {
    pub(crate) async fn start(files: &[(&str, &str)]) -> Arc<Self> {
        let fake = Arc::new(Self::default());
        for (path, body) in files {
            fake.put(path, body);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        *fake.address.lock() = listener.local_addr().ok();
        let own = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(own.clone().serve(stream));
            }
        });
        fake
    }

    pub(crate) fn put(&self, path: &str, body: &str) {
        self.files.lock().insert(path.into(), body.into());
    }

    pub(crate) fn asked(&self, path: &str) -> usize {
        self.asked.lock().iter().filter(|p| *p == path).count()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address.lock().expect("it is started"))
    }

    /// Answers as aiohttp does: a tag for files, 304 for who has it.
    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        loop {
            let (mut path, mut tag, mut line) = (String::new(), None, String::new());
            while stream.read_line(&mut line).await.is_ok_and(|n| n > 0) && line != "\r\n" {
                if path.is_empty() {
                    let target = line.split(' ').nth(1).unwrap_or_default();
                    path = target.split('?').next().unwrap_or_default().to_owned();
                } else if let Some(value) = line.to_lowercase().strip_prefix("if-none-match: ") {
                    tag = Some(value.trim().to_owned());
                }
                line.clear();
            }
            if path.is_empty() {
                return;
            }
            self.asked.lock().push(path.clone());
            let body = self.files.lock().get(&path).cloned();
            let answer = match body {
                None => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
                Some(body) if body.starts_with("HTTP/1.1 ") => body,
                Some(body) => {
                    let own = format!(
                        "\"{}-{}\"",
                        body.len(),
                        body.bytes().map(u64::from).sum::<u64>()
                    );
                    match tag.as_ref() == Some(&own) {
                        true => format!("HTTP/1.1 304 Not Modified\r\nETag: {own}\r\n\r\n"),
                        false => format!(
                            "HTTP/1.1 200 OK\r\nETag: {own}\r\nContent-Length: {}\r\n\r\n{body}",
                            body.len()
                        ),
                    }
                }
            };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// A small ComfyUI, in the shape of the real one.
pub(crate) const FILES: &[(&str, &str)] = &[
    (
        "/system_stats",
        r#"{"system":{"comfyui_version":"0.3.64","installed_templates_version":"0.1.95","ram_free":5},"devices":[]}"#,
    ),
    (
        "/object_info",
        r#"{"KSampler":{"input":{"required":{"model":["MODEL"],"steps":["INT",{"default":20,"min":1,"max":10000}]}},
            "output":["LATENT"],"output_name":["LATENT"],"display_name":"KSampler","category":"sampling",
            "description":"Denoises the latent image.","python_module":"nodes"},
          "CLIPTextEncode":{"display_name":"CLIP Text Encode (Prompt)","category":"conditioning","python_module":"nodes"},
          "MyCustom":{"display_name":"Mine","python_module":"custom_nodes.my_pack"},
          "Broken":[], "Infinite":{"input":{"required":{"x":["FLOAT",{"max":Infinity}]}},"python_module":"nodes"}}"#,
    ),
    (
        "/templates/index.json",
        r#"[{"title":"Image","templates":[{"name":"default","title":"Image Generation","mediaType":"image",
            "mediaSubtype":"webp","description":"Generate images from text prompts."},{"name":"gone","title":"Gone"}]}]"#,
    ),
    (
        "/templates/index.zh.json",
        r#"[{"title":"图像","templates":[{"name":"default","title":"图像生成","description":"通过文本提示生成图像。"}]}]"#,
    ),
    (
        "/templates/default.json",
        r#"{"nodes":[{"type":"KSampler"},{"type":"NotHere"},{"type":"MarkdownNote","widgets_values":["read me"]},
            {"type":"CheckpointLoaderSimple","properties":{"models":[{"name":"sd15.safetensors","directory":"checkpoints","url":"https://h/x"}]}}]}"#,
    ),
    ("/models", r#"["checkpoints","configs","loras"]"#),
    ("/models/checkpoints", r#"["sd_xl_base_1.0.safetensors"]"#),
    ("/models/loras", "no json"),
    (
        "/userdata",
        r#"[{"path":"mine/cat.json","size":20,"modified":1.5},{"path":"../x.json"}]"#,
    ),
    (
        "/userdata/workflows%2Fmine%2Fcat.json",
        r#"{"nodes":[{"type":"KSampler"}]}"#,
    ),
    (
        "/docs/KSampler/en.md",
        "The KSampler denoises with **steps**.",
    ),
    ("/docs/KSampler/zh.md", "KSampler 采样器用于去噪。"),
    ("/docs/ClipTextEncode/en.md", "Encodes prompts."),
    (
        "/queue",
        r#"{"queue_running":[],"queue_pending":[[1],[2]]}"#,
    ),
];

pub(crate) fn comfyui_at(url: &str) -> Arc<ComfyUi> {
    crate::tls::install_provider();
    let base = BaseUrl::parse(url).expect("a url");
    let mut addresses = AddressPolicy::new();
    addresses.permit_private(base.authority.clone());
    let metrics = Arc::new(Metrics::new());
    let dialer = Dialer::new(metrics.clone(), addresses, Duration::from_secs(1));
    let tls = ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let client = HttpClient::new(Arc::new(dialer), Arc::new(tls), Duration::from_secs(2));
    let client = Client::new(client, base, metrics.clone());
    ComfyUi::new(Arc::new(client), metrics)
}

/// Waits for a state that is as `done` wants it.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within ten seconds: {what}");
}

#[tokio::test]
async fn what_comfyui_has_is_known_with_its_files() {
    let fake = Fake::start(FILES).await;
    let comfyui = comfyui_at(&fake.url());
    let first = comfyui.knowledge().await.expect("it answers");
    assert_eq!(first.catalogue.nodes().len(), 4);
    until("the files are read", || {
        comfyui.known().is_some_and(|k| k.generation == 2)
    })
    .await;
    let known = comfyui.known().expect("it is known");
    let catalogue = &known.catalogue;
    let docs = |class: &str| catalogue.docs(class).map(|d| d.either(true).to_owned());
    assert_eq!(
        docs("KSampler").as_deref(),
        Some("KSampler 采样器用于去噪。")
    );
    assert_eq!(docs("CLIPTextEncode").as_deref(), Some("Encodes prompts."));
    assert_eq!(docs("MyCustom"), None);
    assert_eq!(
        fake.asked("/docs/MyCustom/en.md"),
        0,
        "not in the package of docs"
    );
    let uses = catalogue.template("default").and_then(|t| t.uses.as_ref());
    assert_eq!(uses.map(|u| u.classes.len()), Some(3));
    assert_eq!(catalogue.saved()[0].uses.classes, ["KSampler"]);
    assert_eq!(catalogue.models().len(), 1);
    let left_out = catalogue.left_out();
    assert_eq!((left_out.nodes, left_out.saved, left_out.models), (1, 1, 1));
    let status = comfyui.status();
    assert!(status.up && status.doing.is_none() && status.problem.is_none());
    assert_eq!(
        (status.nodes, status.documented_nodes, status.indexed),
        (4, 2, 8)
    );
    let workflow = comfyui
        .workflow(&WorkflowId::Saved("mine/cat.json".into()))
        .await;
    assert!(workflow.is_ok_and(|w| w.is_some()));
    let absent = comfyui.workflow(&WorkflowId::Template("nope".into())).await;
    assert_eq!(absent, Ok(None));
    assert_eq!(comfyui.queue().await.map(|q| q.pending), Ok(2));
}

#[tokio::test]
async fn a_second_look_asks_only_for_what_changed_and_a_change_makes_a_new_state() {
    let fake = Fake::start(FILES).await;
    let comfyui = comfyui_at(&fake.url());
    comfyui.knowledge().await.expect("it answers");
    until("the files are read", || {
        comfyui.known().is_some_and(|k| k.generation == 2)
    })
    .await;
    comfyui.refresh().await.expect("it answers");
    assert_eq!(
        comfyui.known().map(|k| k.generation),
        Some(2),
        "nothing changed"
    );
    let asked = [
        "/templates/default.json",
        "/docs/KSampler/en.md",
        "/userdata/workflows%2Fmine%2Fcat.json",
    ];
    assert!(asked.iter().all(|path| fake.asked(path) == 1));

    fake.put(
        "/object_info",
        r#"{"KSampler":{},"New":{"python_module":"nodes"}}"#,
    );
    let before = comfyui.known().expect("it is known");
    comfyui.refresh().await.expect("it answers");
    let known = comfyui.known().expect("it is known");
    assert!(known.generation > 2 && known.catalogue.node("New").is_some());
    assert!(known.catalogue.docs("KSampler").is_some(), "docs are kept");
    assert_eq!(fake.asked("/docs/KSampler/en.md"), 1);
    assert_eq!(fake.asked("/docs/New/en.md"), 1);
    assert!(
        before.catalogue.node("New").is_none(),
        "who holds the old state keeps it"
    );

    fake.put("/templates/default.json", r#"{"nodes":[{"type":"Other"}]}"#);
    fake.put(
        "/templates/index.json",
        r#"[{"title":"Image","templates":[{"name":"default","title":"Renamed"}]}]"#,
    );
    comfyui.refresh().await.expect("it answers");
    let known = comfyui.known().expect("it is known");
    let template = known.catalogue.template("default").expect("it is there");
    assert_eq!(template.title.en, "Renamed");
    let uses = template.uses.as_ref().map(|u| u.classes.clone());
    assert_eq!(uses, Some(vec!["Other".to_owned()]));
}

#[tokio::test]
async fn a_comfyui_that_is_not_there_is_told_in_plain_words_and_left_alone() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let comfyui = comfyui_at(&format!("http://{address}"));
    let error = comfyui.knowledge().await.expect_err("nobody is there");
    let words = error.to_string();
    assert!(
        words.contains("refuses connections or has not been started"),
        "{words}"
    );
    assert!(
        words.contains("Start ComfyUI, or set comfyui.url"),
        "{words}"
    );
    assert!(!comfyui.status().up && comfyui.status().problem.is_some());
}

#[tokio::test]
async fn answers_that_are_not_comfyuis_are_an_end_of_the_round_or_of_their_part() {
    let with = |path: &'static str, body: &'static str| {
        let mut files: Vec<(&str, &str)> = FILES.to_vec();
        files.retain(|(p, _)| *p != path);
        files.push((path, body));
        files
    };
    let refused = "HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nno";
    for (row, files, fails) in [
        ("no classes at all", with("/object_info", "<html>"), true),
        ("classes refused", with("/object_info", refused), true),
        (
            "another server's system",
            with("/system_stats", "[]"),
            false,
        ),
        (
            "an index that is no JSON",
            with("/templates/index.json", "oops"),
            false,
        ),
        (
            "a template refused",
            with("/templates/default.json", refused),
            false,
        ),
        ("no models", with("/models", refused), false),
        ("no user's folder", with("/userdata", refused), false),
        (
            "saved ones that are no JSON",
            with("/userdata/workflows%2Fmine%2Fcat.json", "]"),
            false,
        ),
        ("docs refused", with("/docs/KSampler/en.md", refused), false),
    ] {
        let fake = Fake::start(&files).await;
        let comfyui = comfyui_at(&fake.url());
        assert_eq!(comfyui.refresh().await.is_err(), fails, "{row}");
        assert_eq!(comfyui.known().is_none(), fails, "{row}");
    }
}

#[tokio::test]
async fn what_is_saved_is_known_to_whoever_asks_next() {
    let fake = Fake::start(FILES).await;
    let comfyui = comfyui_at(&fake.url());
    comfyui.knowledge().await.expect("it answers");
    until("all is read", || {
        comfyui.known().is_some_and(|k| k.generation == 2)
    })
    .await;
    let saved = |known: &Knowledge| known.catalogue.saved().len();
    fake.put(
        "/userdata",
        r#"[{"path":"cat.json","size":20,"modified":1.5},{"path":"new.json","size":20,"modified":2.5}]"#,
    );
    let before = comfyui.knowledge().await.expect("it answers");
    assert_eq!(saved(&before), 1, "nobody said that there is news");
    comfyui.news(News::There);
    let after = comfyui.knowledge().await.expect("it answers");
    assert_eq!(saved(&after), 2);

    // What is coming is not waited for, and found when it is there.
    let asked = fake.asked("/models");
    comfyui.news(News::Coming);
    until("it was looked for, and was not there", || {
        fake.asked("/models") > asked
    })
    .await;
    let models = comfyui.known().map(|k| k.catalogue.models().len());
    fake.put(
        "/models/checkpoints",
        r#"["a.safetensors","b.safetensors"]"#,
    );
    until("the model that was moved into its folder is known", || {
        let now = comfyui.known().map(|k| k.catalogue.models().len());
        now > models
    })
    .await;
}
