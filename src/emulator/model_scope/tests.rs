//! The endpoints over a library of scripted sources; the hubs' wire formats are tests/it/models.

use std::sync::Arc;

use super::*;
use crate::{
    handler::test_support::{body_bytes, body_json, header, request},
    models::{Download, ModelSource},
    weights::{ByteRange, Details, File, FilePath, Format, Sha256, Summary},
};

const SEARCH: &str = r#"{"PageSize":30,"PageNumber":1,"SortBy":"Default","Target":"","SingleCriterion":[],"Name":"pose","Criterion":null}"#;
const HOST: &str = "www.modelscope.cn";
const SHA: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const MODEL: &str = "/api/v1/models/hf--org/pose";

/// A hub with one repository, `org/pose`, of one file with the bytes 0 to 99.
struct Scripted(Option<SourceError>);

fn summary(id: &ModelId) -> Summary {
    Summary {
        id: id.clone(),
        updated: 1_700_000_000,
        downloads: 12,
        tags: vec!["Hugging Face".into()],
    }
}

#[async_trait]
impl ModelSource for Scripted {
    fn source(&self) -> Source {
        Source::HuggingFace
    }
    async fn search(&self, query: &Query, _: Requester) -> Result<Vec<Summary>, SourceError> {
        if query.text() == "slow" {
            std::future::pending::<()>().await;
        }
        match &self.0 {
            Some(e) => Err(e.clone()),
            None => Ok(vec![summary(
                &ModelId::hugging_face("org/pose", None).unwrap(),
            )]),
        }
    }
    async fn details(&self, id: &ModelId, _: Requester) -> Result<Details, SourceError> {
        if let Some(e) = &self.0 {
            return Err(e.clone());
        }
        Ok(Details {
            summary: summary(id),
            files: vec![File {
                path: FilePath::parse("sub/pose v1.safetensors").unwrap(),
                size: 100,
                sha256: Sha256::parse(SHA),
                format: Format::Safetensors,
                target: "/x".into(),
            }],
            held_back: Vec::new(),
            gated: false,
        })
    }
    async fn open(
        &self,
        file: &File,
        range: Option<ByteRange>,
        _: Requester,
    ) -> Result<Download, SourceError> {
        let length = range.map_or(file.size, |r| r.length());
        let bytes = bytes::Bytes::from(vec![b'x'; length as usize]);
        Ok(Download {
            length,
            body: Box::pin(futures_util::stream::iter([Ok(bytes)])),
        })
    }
}

fn responder(sources: Vec<Arc<dyn ModelSource>>) -> (ModelScopeResponder, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    let library = Arc::new(Library::new(sources, None));
    (ModelScopeResponder::new(library, metrics.clone()), metrics)
}

fn hub(failing: Option<SourceError>) -> ModelScopeResponder {
    responder(vec![Arc::new(Scripted(failing))]).0
}

#[tokio::test]
async fn every_route_is_answered_in_modelscopes_shape() {
    for (row, method, uri, body, status, pointer, want) in [
        (
            "a hit's owner",
            "PUT",
            "/api/v1/dolphin/models",
            SEARCH,
            200,
            "/Data/Model/Models/0/Path",
            json!("hf--org"),
        ),
        (
            "a hit's name",
            "PUT",
            "/api/v1/dolphin/models",
            SEARCH,
            200,
            "/Data/Model/Models/0/Name",
            json!("pose"),
        ),
        (
            "a hit's time is a number",
            "PUT",
            "/api/v1/dolphin/models",
            SEARCH,
            200,
            "/Data/Model/Models/0/LastUpdatedTime",
            json!(1_700_000_000),
        ),
        (
            "how many",
            "PUT",
            "/api/v1/dolphin/models",
            SEARCH,
            200,
            "/Data/Model/TotalCount",
            json!(1),
        ),
        (
            "a second page is empty",
            "PUT",
            "/api/v1/dolphin/models",
            r#"{"Name":"pose","PageNumber":2}"#,
            200,
            "/Data/Model/Models",
            json!([]),
        ),
        (
            "suggestions",
            "POST",
            "/api/v1/dolphin/model/suggestv2",
            r#"{"Name":"pose"}"#,
            200,
            "/Data/Model/Suggests/0/Name",
            json!("pose"),
        ),
        (
            "no body",
            "PUT",
            "/api/v1/dolphin/models",
            "",
            200,
            "/Success",
            json!(true),
        ),
        (
            "a card",
            "GET",
            MODEL,
            "",
            200,
            "/Data/Downloads",
            json!(12),
        ),
        (
            "a card of ModelScope's own",
            "GET",
            "/api/v1/models/InstantX/SD3-Controlnet-Pose",
            "",
            404,
            "/Message",
            json!(NOT_OURS),
        ),
        (
            "revisions",
            "GET",
            "/api/v1/models/hf--org/pose/revisions",
            "",
            200,
            "/Data/RevisionMap/Branches/0/Revision",
            json!("master"),
        ),
        (
            "a file's size",
            "GET",
            "/api/v1/models/hf--org/pose/repo/files?Revision=master&Recursive=True",
            "",
            200,
            "/Data/Files/0/Size",
            json!(100),
        ),
        (
            "a file's digest",
            "GET",
            "/api/v1/models/hf--org/pose/repo/files",
            "",
            200,
            "/Data/Files/0/Sha256",
            json!(SHA),
        ),
        (
            "a file's path",
            "GET",
            "/api/v1/models/hf--org/pose/repo/files",
            "",
            200,
            "/Data/Files/0/Path",
            json!("sub/pose v1.safetensors"),
        ),
        (
            "a file that is not listed",
            "GET",
            "/api/v1/models/hf--org/pose/repo?FilePath=other.safetensors",
            "",
            404,
            "/Success",
            json!(false),
        ),
        (
            "a file above",
            "GET",
            "/api/v1/models/hf--org/pose/repo?FilePath=..%2F..%2Fetc%2Fpasswd",
            "",
            404,
            "/Success",
            json!(false),
        ),
        (
            "the newer api",
            "GET",
            "/openapi/v1/models/hf--org/pose",
            "",
            404,
            "/code",
            json!("ResourceNotFound"),
        ),
        (
            "acceleration",
            "GET",
            "/api/v1/repos/internalAccelerationInfo",
            "",
            404,
            "/Code",
            json!(404),
        ),
        (
            "a source that is off",
            "GET",
            "/api/v1/models/civitai--1/x~~2/repo/files",
            "",
            403,
            "/Code",
            json!(403),
        ),
    ] {
        let response = hub(None)
            .handle(request(HOST, method, uri, &[], body))
            .await;
        assert_eq!(response.status(), status, "{row}");
        let body = body_json(response).await;
        assert_eq!(body.pointer(pointer), Some(&want), "{row}: {body}");
    }
}

#[tokio::test]
async fn what_is_new_to_us_is_counted() {
    for (row, method, uri, body, status, kind) in [
        (
            "a field",
            "PUT",
            "/api/v1/dolphin/models",
            r#"{"Name":"pose","UserId":7}"#,
            200,
            "field",
        ),
        (
            "a route",
            "POST",
            "/api/v1/login",
            r#"{"AccessToken":"x"}"#,
            404,
            "route",
        ),
        ("a method", "DELETE", MODEL, "", 405, "method"),
    ] {
        let (responder, metrics) = responder(vec![]);
        let response = responder
            .handle(request(HOST, method, uri, &[], body))
            .await;
        assert_eq!(response.status(), status, "{row}");
        assert!(
            metrics.render().contains(&format!("kind=\"{kind}\"")),
            "{row}"
        );
    }
}

#[tokio::test]
async fn a_file_comes_whole_or_in_the_part_that_is_asked_for() {
    let uri = "/api/v1/models/hf--org/pose/repo?Revision=master&FilePath=sub%2Fpose+v1.safetensors";
    for (row, range, status, content_range, length) in [
        ("whole", "", 200, "", 100),
        ("to the end", "bytes=40-", 206, "bytes 40-99/100", 60),
        ("a part", "bytes=10-19", 206, "bytes 10-19/100", 10),
        ("all of it, as the old SDK asks", "bytes=0-99", 200, "", 100),
        ("behind the end", "bytes=100-", 416, "bytes */100", 0),
    ] {
        let headers = [("range", range)];
        let headers = if range.is_empty() {
            &[][..]
        } else {
            &headers[..]
        };
        let response = hub(None)
            .handle(request(HOST, "GET", uri, headers, ""))
            .await;
        assert_eq!(response.status(), status, "{row}");
        assert_eq!(header(&response, "content-range"), content_range, "{row}");
        if length > 0 {
            assert_eq!(header(&response, "etag"), format!("\"{SHA}\""), "{row}");
            assert_eq!(body_bytes(response).await.len(), length, "{row}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_search_never_waits_long_and_says_who_did_not_answer() {
    let began = tokio::time::Instant::now();
    let body = r#"{"Name":"slow"}"#;
    let response = hub(None)
        .handle(request(HOST, "PUT", "/api/v1/dolphin/models", &[], body))
        .await;
    assert!(began.elapsed() < std::time::Duration::from_secs(2));
    assert_eq!(response.status(), 200);
    let body = body_json(response).await;
    let line = &body["Data"]["Model"]["Models"][0];
    assert_eq!(line["Path"], "airlock", "{body}");
    assert_eq!(line["Name"], "Hugging Face did not answer in time");
}

#[tokio::test]
async fn an_empty_table_says_why() {
    let (nobody, _) = responder(vec![]);
    let response = nobody
        .handle(request(HOST, "PUT", "/api/v1/dolphin/models", &[], SEARCH))
        .await;
    let body = body_json(response).await;
    let words = body["Data"]["Model"]["Models"][0]["Name"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(words.contains("models.sources"), "{words}");
    assert!(body["Message"].as_str().unwrap().contains("not ModelScope"));
}

/// What each SDK shows (WIRE.md 7): the words of an error have to get there, and a search must not have a
/// status that is tried again.
#[tokio::test]
async fn an_error_has_the_form_that_each_client_shows() {
    const OLD: &[(&str, &str)] = &[("user-agent", "modelscope/1.33.0; python/3.11.7")];
    const NEW: &[(&str, &str)] = &[("user-agent", "modelscope_hub/0.5.1; python/3.11.7")];
    let files = "/api/v1/models/hf--org/pose/repo/files";
    let file = "/api/v1/models/hf--org/pose/repo?FilePath=sub%2Fpose+v1.safetensors";
    let busy = || SourceError::Busy {
        from: Source::HuggingFace,
        pause: std::time::Duration::from_secs(7),
    };
    for (row, error, uri, agent, status, code) in [
        (
            "old, gated list",
            SourceError::Gated(Source::HuggingFace),
            files,
            OLD,
            200,
            403,
        ),
        (
            "new, gated list",
            SourceError::Gated(Source::HuggingFace),
            files,
            NEW,
            403,
            403,
        ),
        ("new, busy list", busy(), files, NEW, 424, 424),
        ("new, busy file", busy(), file, NEW, 429, 429),
        (
            "new, slow file",
            SourceError::TooSlow(Source::HuggingFace),
            file,
            NEW,
            503,
            503,
        ),
        ("old, card of what fails", busy(), MODEL, OLD, 200, 200),
        (
            "the plugin, card of what fails",
            busy(),
            MODEL,
            &[][..],
            404,
            404,
        ),
    ] {
        let words = error.to_string();
        let response = hub(Some(error))
            .handle(request(HOST, "GET", uri, agent, ""))
            .await;
        assert_eq!(response.status(), status, "{row}");
        let body = body_json(response).await;
        assert_eq!(body["Code"], code, "{row}: {body}");
        if code != 200 {
            assert_eq!(body["Message"], json!(words), "{row}");
        }
    }
}
