//! Stand-ins on loopback: a hub that speaks the wire formats of Hugging Face and Civitai, and the store
//! that its downloads lead to. What a repository is called says how the hub misbehaves about it.

use std::sync::OnceLock;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{Airlock, Origin, Reply, Setup, Wire};

pub const COMMIT: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567";
pub const FILE: &str = "pose.safetensors";
pub const SIZE: usize = 300_000;

/// What the file holds.
pub fn content() -> &'static [u8] {
    static CONTENT: OnceLock<Vec<u8>> = OnceLock::new();
    CONTENT.get_or_init(|| {
        let mut state = 7_u32;
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        std::iter::repeat_with(next).take(SIZE).collect()
    })
}

pub fn digest() -> String {
    Sha256::digest(content())
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

pub struct Hubs {
    pub hub: Origin,
    pub store: Origin,
    /// Nobody has a rule for it.
    pub stranger: Origin,
}

impl Hubs {
    pub fn start() -> Self {
        let store = Origin::recording(store);
        let stranger = Origin::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
        let (files, trap) = (store.port(), stranger.port());
        let hub = Origin::recording(move |head| hub(head, files, trap));
        Self {
            hub,
            store,
            stranger,
        }
    }

    /// Airlock with both hubs at the stand-in, and what else is to be in the configuration.
    pub fn setup(&self, models: &str, more: &str) -> Setup {
        let (hub, store) = (self.hub.port(), self.store.port());
        let mut setup = Setup::rules(format!(
            "  - name: modelscope\n    hosts: [www.modelscope.cn, modelscope.cn]\n    respond: model_scope\n  \
             - name: store\n    ips: [127.0.0.1]\n    ports: [{store}]\n    methods: [GET]\n    \
             entries: [models]\n    action: forward\n    secrets: \"off\"\n"
        ));
        // As a hub's own stores, which are at public addresses, need not be.
        setup = setup.more(format!(
            "upstreams:\n  - name: store\n    url: http://127.0.0.1:{store}"
        ));
        setup.more(format!(
            "models:\n{models}  huggingface:\n    endpoint: http://127.0.0.1:{hub}\n{more}  civitai:\n    \
             endpoint: http://127.0.0.1:{hub}"
        ))
    }

    pub fn with_both(&self) -> Airlock {
        self.setup("  sources: [local, huggingface, civitai]\n", "")
            .start()
    }
}

/// Through the forward proxy, as the plugin's Python side does.
pub fn ask(airlock: &Airlock, method: &str, target: &str, headers: &str, body: &str) -> Reply {
    Wire::to(airlock.ready.explicit).ask(format!(
        "{method} http://www.modelscope.cn{target} HTTP/1.1\r\nHost: www.modelscope.cn\r\n{headers}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

pub fn search(airlock: &Airlock, text: &str) -> Vec<Value> {
    let body = json!({"PageSize": 30, "PageNumber": 1, "SortBy": "Default", "Target": "",
        "SingleCriterion": [], "Name": text, "Criterion": null});
    let reply = ask(
        airlock,
        "PUT",
        "/api/v1/dolphin/models",
        "",
        &body.to_string(),
    );
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["Data"]["Model"]["Models"]
        .as_array()
        .expect("a list")
        .clone()
}

pub fn file_target(model: &str) -> String {
    format!("/api/v1/models/{model}/repo?Revision=master&FilePath={FILE}")
}

pub fn response(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut out = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    )
    .into_bytes();
    out.extend_from_slice(body);
    out
}

fn document(value: &Value) -> Vec<u8> {
    response(
        "200 OK",
        "content-type: application/json; charset=utf-8\r\n",
        value.to_string(),
    )
}

fn redirect(status: &str, to: &str) -> Vec<u8> {
    let linked = format!(
        "x-repo-commit: {COMMIT}\r\nx-linked-size: {SIZE}\r\nx-linked-etag: \"{}\"\r\n",
        digest()
    );
    response(status, &format!("location: {to}\r\n{linked}"), "")
}

fn target(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or("/")
}

/// The path without the query, split.
fn segments(target: &str) -> Vec<&str> {
    let path = target.split('?').next().unwrap_or_default();
    path.split('/').skip(1).collect()
}

fn hub(head: &str, store: u16, stranger: u16) -> Vec<u8> {
    let target = target(head);
    match segments(target).as_slice() {
        ["api", "models"] if target.contains("search=silent") => Vec::new(),
        ["api", "models"] => document(&json!([
            {"_id": "6", "id": "org/good", "modelId": "org/good", "likes": 3, "private": false,
             "downloads": 1234, "tags": ["diffusers"], "pipeline_tag": "text-to-image",
             "library_name": "diffusers", "createdAt": "2024-01-01T00:00:00.000Z",
             "lastModified": "2024-02-03T04:05:06.000Z", "sha": COMMIT, "gated": false,
             "siblings": [{"rfilename": ".gitattributes"}, {"rfilename": FILE}]},
        ])),
        ["api", "models", "org", repo] => hugging_face(repo),
        ["org", repo, "resolve", COMMIT, name] => resolve(repo, name, store, stranger),
        ["api", "v1", "models"] => document(&json!({"items": [{
            "id": 11, "name": "Pose Helper", "type": "LORA", "nsfw": false,
            "creator": {"username": "someone"}, "modelVersions": [version()],
        }], "metadata": {"totalItems": 1}})),
        ["api", "v1", "model-versions", "22"] => {
            let mut version = version();
            version["modelId"] = json!(11);
            version["model"] = json!({"name": "Pose Helper", "type": "LORA", "nsfw": false});
            document(&version)
        }
        ["api", "download", "models", "22"] => redirect(
            "307 Temporary Redirect",
            &format!(
                "http://127.0.0.1:{store}/good?X-Amz-Credential=AKIAIOSFODNN7EXAMPLE&X-Amz-Signature=ab"
            ),
        ),
        _ => response("404 Not Found", "", ""),
    }
}

fn version() -> Value {
    json!({"id": 22, "name": "v1.0", "baseModel": "SDXL 1.0", "createdAt": "2024-01-01T00:00:00.000Z",
        "publishedAt": "2024-02-03T04:05:06.000Z", "stats": {"downloadCount": 77}, "files": [{
            "id": 33, "name": FILE, "type": "Model", "primary": true, "pickleScanResult": "Success",
            // Rounded, as it comes at times: the store knows the bytes.
            "sizeKB": ((SIZE as f64) / 1024.0 * 100.0).round() / 100.0,
            "metadata": {"format": "SafeTensor", "fp": "fp16"},
            "hashes": {"AutoV2": "0", "SHA256": digest().to_uppercase()},
            "downloadUrl": "https://civitai.com/api/download/models/22"}]})
}

fn hugging_face(repo: &str) -> Vec<u8> {
    let sibling = |name: &str| {
        json!({"rfilename": name, "size": SIZE, "blobId": "0",
               "lfs": {"sha256": digest(), "size": SIZE, "pointerSize": 134}})
    };
    let mut card = json!({"id": format!("org/{repo}"), "sha": COMMIT, "downloads": 1234,
        "gated": false, "lastModified": "2024-02-03T04:05:06.000Z",
        "siblings": [json!({"rfilename": "README.md", "size": 9}), sibling(FILE)]});
    match repo {
        "page-for-json" => return response("200 OK", "content-type: text/html\r\n", "<html>"),
        "broken-json" => {
            return response("200 OK", "content-type: application/json\r\n", "{\"id\":");
        }
        "endless-json" => {
            return response(
                "200 OK",
                "content-type: application/json\r\n",
                vec![b' '; 9 << 20],
            );
        }
        "fails" => return response("500 Internal Server Error", "", ""),
        "asks-for-a-pause" => {
            return response("429 Too Many Requests", "retry-after: 100\r\n", "");
        }
        "gone" => return response("404 Not Found", "", ""),
        "another-commit" => card["sha"] = json!("../../etc"),
        "gated" => card["gated"] = json!("manual"),
        "climbs" => card["siblings"] = json!([sibling("../../../x.safetensors")]),
        "pickles" => card["siblings"] = json!([sibling("pose.ckpt"), sibling("pose.bin")]),
        "huge" => card["siblings"][1]["lfs"]["size"] = json!(1_u64 << 41),
        _ => {}
    }
    document(&card)
}

fn resolve(repo: &str, name: &str, store: u16, stranger: u16) -> Vec<u8> {
    const FOUND: &str = "302 Found";
    match repo {
        "to-a-stranger" => redirect(FOUND, &format!("http://127.0.0.1:{stranger}/x")),
        "to-the-metadata-service" => redirect(FOUND, "http://169.254.169.254/latest/meta-data/"),
        "to-an-encoded-loopback" => {
            redirect(FOUND, &format!("http://[::ffff:127.0.0.1]:{stranger}/x"))
        }
        "to-another-scheme" => redirect(FOUND, "file:///etc/passwd"),
        "in-circles" => redirect(FOUND, &format!("/org/in-circles/resolve/{COMMIT}/{name}")),
        "to-nowhere" => response(FOUND, "", ""),
        "to-the-login" => redirect(FOUND, "/login?returnUrl=x"),
        "wants-a-login" => response("401 Unauthorized", "", "{}"),
        "store-of-fails" => response("503 Service Unavailable", "", ""),
        repo => redirect(
            FOUND,
            &format!(
                "http://127.0.0.1:{store}/{repo}?X-Amz-Credential=AKIAIOSFODNN7EXAMPLE&X-Amz-Signature=ab"
            ),
        ),
    }
}

fn store(head: &str) -> Vec<u8> {
    let target = target(head);
    let binary = "content-type: binary/octet-stream\r\naccept-ranges: bytes\r\n";
    let mut other = content().to_vec();
    other[SIZE - 1] ^= 1;
    match *segments(target).first().unwrap_or(&"") {
        "wrong-size" => response("200 OK", binary, &content()[..SIZE - 1]),
        "wrong-digest" => response("200 OK", binary, other),
        "page" => response(
            "200 OK",
            "content-type: text/html; charset=utf-8\r\n",
            content(),
        ),
        "ignores-ranges" => response("200 OK", binary, content()),
        "endless" => chunked(&[content(), content()]),
        "short" => chunked(&[&content()[..1000]]),
        _ => ranged(head, binary),
    }
}

fn chunked(pieces: &[&[u8]]) -> Vec<u8> {
    let mut out = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for piece in pieces {
        out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

fn ranged(head: &str, headers: &str) -> Vec<u8> {
    let range = head.lines().find_map(|l| {
        l.to_ascii_lowercase()
            .strip_prefix("range: bytes=")
            .map(str::to_owned)
    });
    let Some((first, last)) = range
        .as_deref()
        .and_then(|r| r.split_once('-'))
        .and_then(|(a, b)| Some((a.parse::<usize>().ok()?, b.parse::<usize>().ok()?)))
    else {
        return response("200 OK", headers, content());
    };
    response(
        "206 Partial Content",
        &format!("{headers}content-range: bytes {first}-{last}/{SIZE}\r\n"),
        &content()[first..=last],
    )
}
