//! Every endpoint as the page asks it, with an LLM and a ComfyUI that are scripted or not there.

mod intents;
mod keys;
mod workflows;
mod written;

use http::HeaderMap;
use serde_json::{Value, json};

use super::{optimize::*, upload::*, *};
use crate::{
    comfyui::tests::{Fake, comfyui_at},
    emulator::asking::tests::asking_of,
    gateway::tests::fake::FakeLlm,
    handler::test_support::{body_json, body_text, header, request},
    receipt::{Receipt, Viewer},
    session::{SecretSource, Settings},
    store::Store,
};

const HOST: &str = "comfyui-copilot-server-pre.onrender.com";
const PAGE: (&str, &str) = ("origin", "http://127.0.0.1:8188");

/// Nothing has come by.
struct NoReceipts;

impl ReceiptSource for NoReceipts {
    fn receipt(&self, _: Option<&str>, _: &Viewer, _: Option<&HeaderMap>) -> Option<Receipt> {
        None
    }
    fn signed(&self, _: &Receipt) -> Option<Value> {
        None
    }
    fn changes(&self) -> u64 {
        0
    }
}

struct Rig {
    _state: tempfile::TempDir,
    metrics: Arc<Metrics>,
    identity: Arc<Identity>,
    made: Arc<MadeWorkflows>,
    responder: CopilotResponder,
}

/// With these; an LLM that is `None` is not there.
async fn rig_with(llm: Option<&FakeLlm>, comfyui: Option<&Fake>) -> Rig {
    let state = tempfile::tempdir().expect("dir");
    let metrics = Arc::new(Metrics::new());
    let settings = Settings {
        state_dir: state.path().to_owned(),
        secret: SecretSource::default(),
        lifetime: std::time::Duration::from_secs(3600),
        max_lifetime: std::time::Duration::from_secs(36_000),
        max_sessions: 100,
    };
    let store = Arc::new(Store::open(state.path()).expect("a store"));
    let identity = Identity::open(store, settings, crate::session::now()).expect("an identity");
    let identity = Arc::new(identity);
    let (asking, _) = match llm {
        Some(llm) => asking_of(llm),
        None => {
            let gone = FakeLlm::start("m", |_| unreachable!("it has stopped")).await;
            gone.stop();
            asking_of(&gone)
        }
    };
    let made = Arc::new(MadeWorkflows::default());
    let responder = CopilotResponder::new(
        state.path(),
        CopilotDeps {
            origins: OriginPolicy::private_only(),
            metrics: metrics.clone(),
            asking,
            providers: Vec::new(),
            comfyui: comfyui.map(|fake| comfyui_at(&fake.url())),
            manager_lists: ManagerLists::below(Some(state.path().join("comfyui"))),
            made: made.clone(),
            identity: identity.clone(),
            receipts: Arc::new(NoReceipts),
        },
    );
    Rig {
        _state: state,
        metrics,
        identity,
        made,
        responder,
    }
}

async fn rig() -> Rig {
    rig_with(None, None).await
}

impl Rig {
    async fn post(
        &self,
        path: &str,
        language: &str,
        body: impl Into<bytes::Bytes>,
    ) -> (Value, String) {
        let headers = [PAGE, ("accept-language", language)];
        let request = request(HOST, "POST", path, &headers, body);
        let exchange = request.exchange.clone();
        let response = self.responder.handle(request).await;
        assert_eq!(response.status(), 200, "{path}");
        let body = body_json(response).await;
        (body, exchange.note.read().detail.unwrap_or_default())
    }
}

fn upload(field: &str, content: &[u8]) -> Vec<u8> {
    [
        format!("--b\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"a.png\"\r\nContent-Type: text/html\r\n\r\n").as_bytes(),
        content,
        b"\r\n--b--\r\n",
    ]
    .concat()
}

#[tokio::test]
async fn every_endpoint_answers_what_the_page_accepts() {
    for (row, method, path, body, status, pointer, want, drift) in [
        (
            "an event is swallowed here too",
            "POST",
            "/api/chat/track_event",
            r#"{"event_type":"chat_request","data":{}}"#,
            200,
            "/success",
            json!(true),
            "",
        ),
        (
            "missing nodes come back without a repository",
            "POST",
            "/api/chat/get_node_info_by_types",
            r#"{"node_types":["TotallyMissingNode"]}"#,
            200,
            "/data",
            json!([{"name": "TotallyMissingNode", "github_url": ""}]),
            "",
        ),
        (
            "node types of a wrong shape",
            "POST",
            "/api/chat/get_node_info_by_types",
            r#"{"node_types":"x"}"#,
            400,
            "/success",
            json!(false),
            "",
        ),
        (
            "no account: a falsy data makes the page show the message",
            "POST",
            "/api/user/create",
            r#"{"username":"someone","email":"someone@example.com"}"#,
            200,
            "/data",
            Value::Null,
            "",
        ),
        (
            "a field that is new to us",
            "POST",
            "/api/user/create",
            r#"{"username":"a","email":"b","phone":"c"}"#,
            200,
            "/success",
            json!(false),
            "field",
        ),
        (
            "an unknown route",
            "POST",
            "/api/chat/share",
            "{}",
            404,
            "/success",
            json!(false),
            "route",
        ),
        (
            "a wrong method",
            "DELETE",
            "/api/chat/announcement",
            "",
            405,
            "/success",
            json!(false),
            "method",
        ),
    ] {
        let rig = rig().await;
        let request = request(HOST, method, path, &[PAGE], body);
        let exchange = request.exchange.clone();
        let response = rig.responder.handle(request).await;
        assert_eq!(response.status(), status, "{row}");
        assert_eq!(
            header(&response, "access-control-allow-origin"),
            PAGE.1,
            "{row}"
        );
        assert_eq!(header(&response, "vary"), "Origin", "{row}");
        assert_eq!(
            header(&response, "content-type"),
            "application/json",
            "{row}"
        );
        let body = body_json(response).await;
        assert_eq!(body.pointer(pointer), Some(&want), "{row}: {body}");
        let exposed = rig.metrics.render();
        match drift {
            "" => assert!(!exposed.contains("airlock_standin_drift_total{"), "{row}"),
            kind => assert!(
                exposed.contains(&format!("kind=\"{kind}\",responder=\"copilot\"}} 1")),
                "{row}"
            ),
        }
        assert!(exchange.note.read().answered_by.is_some(), "{row}");
    }
}

#[tokio::test]
async fn the_rsa_key_is_a_real_one_and_stays() {
    let rig = rig().await;
    let mut keys = Vec::new();
    for _ in 0..2 {
        let response = rig
            .responder
            .handle(request(
                HOST,
                "GET",
                "/api/chat/rsa_public_key",
                &[PAGE],
                "",
            ))
            .await;
        let body = body_json(response).await;
        assert_eq!(body["success"], true);
        keys.push(body["data"].as_str().expect("PEM").to_owned());
    }
    assert!(keys[0].starts_with("-----BEGIN PUBLIC KEY-----\nMIIB"));
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test]
async fn an_upload_comes_back_as_a_data_url_of_what_it_is() {
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest";
    let large = [PNG, &vec![0; MAX_PICTURE]].concat();
    for (row, content_type, body, want) in [
        (
            "a picture, whatever the form calls it",
            "multipart/form-data; boundary=b",
            upload("file", PNG),
            Ok("data:image/png;base64,iVBORw0KGgpyZXN0"),
        ),
        (
            "a page with a script",
            "multipart/form-data; boundary=b",
            upload("file", b"<script>"),
            Err(NO_PICTURE),
        ),
        (
            "an SVG, which can hold scripts",
            "multipart/form-data; boundary=b",
            upload("file", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
            Err(NO_PICTURE),
        ),
        (
            "another field",
            "multipart/form-data; boundary=b",
            upload("image", PNG),
            Err(NO_PICTURE),
        ),
        (
            "no form",
            "application/json",
            b"{}".to_vec(),
            Err(BAD_REQUEST),
        ),
        (
            "too large",
            "multipart/form-data; boundary=b",
            upload("file", &large),
            Err(PICTURE_TOO_LARGE),
        ),
    ] {
        let rig = rig().await;
        assert!(body.len() <= rig.responder.max_body(), "{row}");
        let headers = [PAGE, ("content-type", content_type)];
        let response = rig
            .responder
            .handle(request(
                HOST,
                "POST",
                "/api/chat/imgfile2oss",
                &headers,
                body,
            ))
            .await;
        assert_eq!(
            header(&response, "access-control-allow-origin"),
            PAGE.1,
            "{row}"
        );
        let body = body_json(response).await;
        match want {
            Ok(url) => assert_eq!(body["data"], url, "{row}"),
            Err(phrase) => {
                assert_eq!(body["success"], false, "{row}");
                assert_eq!(body["message"], phrase.en, "{row}");
            }
        }
    }
}

#[tokio::test]
async fn a_preflight_passes_on_every_path() {
    let rig = rig().await;
    for path in ["/api/chat/invoke", "/api/user/create", "/not/known"] {
        let headers = [
            PAGE,
            ("access-control-request-method", "POST"),
            (
                "access-control-request-headers",
                "authorization,content-type,trace-id",
            ),
        ];
        let response = rig
            .responder
            .handle(request(HOST, "OPTIONS", path, &headers, ""))
            .await;
        assert_eq!(response.status(), 204, "{path}");
        assert_eq!(
            header(&response, "access-control-allow-origin"),
            PAGE.1,
            "{path}"
        );
    }
    assert!(
        !rig.metrics
            .render()
            .contains("airlock_standin_drift_total{")
    );
}

#[tokio::test]
async fn a_page_of_a_public_site_is_refused_before_anything_is_done() {
    let rig = rig().await;
    let headers = [
        ("origin", "https://evil.example"),
        ("content-type", "multipart/form-data; boundary=b"),
    ];
    let response = rig
        .responder
        .handle(request(
            HOST,
            "POST",
            "/api/chat/imgfile2oss",
            &headers,
            upload("file", b"GIF89a"),
        ))
        .await;
    assert_eq!(response.status(), 403);
    assert_eq!(header(&response, "access-control-allow-origin"), "");
}

#[tokio::test]
async fn head_has_no_body() {
    let rig = rig().await;
    let response = rig
        .responder
        .handle(request(HOST, "HEAD", "/api/chat/announcement", &[], ""))
        .await;
    assert_eq!(response.status(), 200);
    assert!(matches!(response.body(), LocalBody::Empty));
}
