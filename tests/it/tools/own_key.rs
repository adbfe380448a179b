//! The OpenAI key of the plugin's settings, sealed as the page seals it, sent along with a card: to whom it
//! goes, and that it goes nowhere else.

use std::sync::{Arc, Mutex};

use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, Pkcs1PublicEncryptingKey, PublicEncryptingKey,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{config, files};
use crate::{
    front_door::comfyui::ComfyUi,
    support::{Airlock, Origin, Wire, eventually},
};

const PAGE: &str = "http://127.0.0.1:8188";
const KEY: &str = "sk-proj-of-the-user-0123456789abcdefghijklmnop";

/// How the page seals.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Seal {
    /// WebCrypto, on this machine's page.
    Oaep,
    /// JSEncrypt, where the browser has no WebCrypto.
    Pkcs1,
    /// With a key of an Airlock that is gone.
    Stale,
}

/// A provider: takes this one key, and says that a setting is to change.
struct Provider {
    origin: Origin,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

fn provider() -> Provider {
    let asked: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
    let log = asked.clone();
    let origin = Origin::scripted(move |mut guest| {
        while let Some(head) = guest.head() {
            let head = String::from_utf8_lossy(&head).into_owned();
            let low = head.to_ascii_lowercase();
            let length = low.split("content-length: ").nth(1);
            let length = length.and_then(|l| l.split("\r\n").next()?.parse().ok());
            let body = guest.exact(length.unwrap_or(0));
            let (status, answer) = match head.contains(&format!("Bearer {KEY}\r\n")) {
                true => {
                    let said = json!({"changes": [{"node": "1", "setting": "steps", "value": 7}]});
                    let message = json!({"role": "assistant", "content": said.to_string()});
                    let choice = json!({"index": 0, "finish_reason": "stop", "message": message});
                    (
                        "200 OK",
                        json!({"id": "x", "object": "chat.completion", "created": 1, "choices": [choice]}),
                    )
                }
                false => (
                    "401 Unauthorized",
                    json!({"error": {"message": "wrong key: sk-proj-of..."}}),
                ),
            };
            let body = serde_json::from_slice(&body).unwrap_or_default();
            log.lock().unwrap().push((head, body));
            let answer = answer.to_string();
            guest.send(format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{answer}",
                answer.len()
            ));
        }
    });
    Provider { origin, asked }
}

fn with_provider(comfyui: &ComfyUi, provider: &Provider) -> String {
    let llm = format!(
        "llm:\n  discover: false\n  providers:\n    - base_url: http://{}/v1\n      model: gpt-small\n",
        provider.origin.address
    );
    config(comfyui.address()).replace("llm:\n  discover: false\n", &llm)
}

fn ask(airlock: &Airlock, method: &str, path: &str, more: &str, body: &str) -> Value {
    let reverse = airlock.ready.reverse;
    let reply = Wire::to(reverse).ask(format!(
        "{method} {path} HTTP/1.1\r\nHost: {reverse}\r\nOrigin: {PAGE}\r\nAccept-Language: en\r\n{more}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply.json()
}

/// As the page does it, with the key that it was given.
fn sealed(airlock: &Airlock, seal: Seal, text: &str) -> String {
    let pem = ask(airlock, "GET", "/api/chat/rsa_public_key", "", "");
    let pem = pem["data"].as_str().expect("PEM");
    let der: String = pem.lines().filter(|l| !l.starts_with('-')).collect();
    let key = match seal {
        Seal::Stale => {
            use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
            PrivateDecryptingKey::generate(KeySize::Rsa2048)
                .expect("a key")
                .public_key()
        }
        Seal::Oaep | Seal::Pkcs1 => {
            PublicEncryptingKey::from_der(&STANDARD.decode(der).expect("base64")).expect("SPKI")
        }
    };
    let mut out = vec![0; 256];
    let sealed = match seal {
        Seal::Oaep | Seal::Stale => OaepPublicEncryptingKey::new(key)
            .expect("OAEP")
            .encrypt(&OAEP_SHA256_MGF1SHA256, text.as_bytes(), &mut out, None)
            .expect("sealed")
            .len(),
        Seal::Pkcs1 => Pkcs1PublicEncryptingKey::new(key)
            .expect("PKCS#1")
            .encrypt(text.as_bytes(), &mut out)
            .expect("sealed")
            .len(),
    };
    STANDARD.encode(&out[..sealed])
}

/// "Accept" on a card, with a key; what the page gets.
fn accept(airlock: &Airlock, sealed: &str, base: &str, prompt: &str) -> Value {
    let body = json!({"workflow_id": "template:default", "prompt": prompt}).to_string();
    let more = format!(
        "Content-Type: application/json\r\nEncrypted-Openai-Api-Key: {sealed}\r\nOpenai-Base-Url: {base}\r\n"
    );
    let path = "/api/chat/get_optimized_workflow";
    let given = ask(airlock, "POST", path, &more, &body);
    assert_eq!(given["success"], true, "{given}");
    given
}

fn log(airlock: &Airlock) -> String {
    std::fs::read_to_string(airlock.state().join("audit.jsonl")).expect("the log")
}

/// Nothing of the key on the disk or in the words of the process.
fn assert_kept_nowhere(airlock: &Airlock, sealed: &str) {
    for entry in std::fs::read_dir(airlock.state()).expect("the folder") {
        let path = entry.expect("an entry").path();
        let bytes = match path.is_file() {
            true => std::fs::read(&path).expect("a file"),
            false => continue,
        };
        for secret in [KEY, sealed] {
            let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
            assert!(!found, "{} holds it", path.display());
        }
    }
    let said = airlock.process.stderr();
    assert!(!said.contains(KEY) && !said.contains(sealed), "{said}");
}

#[test]
fn an_enabled_provider_is_asked_with_the_key_and_nobody_else_sees_it() {
    let comfyui = ComfyUi::serving(files());
    for seal in [Seal::Oaep, Seal::Pkcs1] {
        let provider = provider();
        let airlock = Airlock::start(&with_provider(&comfyui, &provider));
        let sealed = sealed(&airlock, seal, KEY);
        let base = format!("http://{}/v1/", provider.origin.address);
        let given = accept(&airlock, &sealed, &base, "fewer steps");
        let workflow = given["data"]["workflow"].to_string();
        assert!(!workflow.is_empty(), "{seal:?}: {given}");

        let asked = provider.asked.lock().unwrap().clone();
        let (head, body) = asked.first().expect("it was asked");
        assert!(head.starts_with("POST /v1/chat/completions "), "{head}");
        assert!(
            head.contains(&format!("Bearer {KEY}\r\n")),
            "{seal:?}: {head}"
        );
        assert_eq!(body["model"], "gpt-small", "{seal:?}");
        assert!(
            body["messages"].to_string().contains("fewer steps"),
            "{body}"
        );

        eventually("the question is on record", || {
            log(&airlock).lines().any(|line| {
                let line: Value = serde_json::from_str(line).unwrap_or_default();
                line["rule"] == "llm.providers/1"
                    && line["method"] == "POST"
                    && line["status"] == 200
                    && line["path"] == "/v1/chat/completions"
            })
        });
        assert_kept_nowhere(&airlock, &sealed);
        for head in comfyui.heads() {
            assert!(!head.contains(KEY) && !head.contains(&sealed), "{head}");
        }
        airlock.assert_healthy();
    }
}

#[test]
fn a_key_that_is_not_for_a_provider_is_dropped_and_its_owner_is_told() {
    let comfyui = ComfyUi::serving(files());
    for (row, enabled, seal, base, told) in [
        (
            "nothing is enabled",
            false,
            Seal::Oaep,
            None,
            "`llm.providers`",
        ),
        (
            "another base URL than the enabled one",
            true,
            Seal::Oaep,
            Some("https://api.openai.com/v1"),
            "`llm.providers`",
        ),
        (
            "the same host, and a path that was not enabled",
            true,
            Seal::Oaep,
            Some("/v2"),
            "`llm.providers`",
        ),
        (
            "a base URL that is none",
            true,
            Seal::Oaep,
            Some("javascript:1"),
            "`llm.providers`",
        ),
        (
            "sealed for somebody else",
            true,
            Seal::Stale,
            None,
            "another Airlock",
        ),
    ] {
        let provider = provider();
        let airlock = Airlock::start(&match enabled {
            true => with_provider(&comfyui, &provider),
            false => config(comfyui.address()),
        });
        let sealed = sealed(&airlock, seal, KEY);
        let at = format!("http://{}", provider.origin.address);
        let base = match base {
            None => format!("{at}/v1"),
            Some(path) if path.starts_with('/') => format!("{at}{path}"),
            Some(other) => other.to_owned(),
        };
        let banner = |airlock| ask(airlock, "GET", "/api/chat/announcement", "", "");
        let before = banner(&airlock)["data"].to_string();
        assert!(!before.contains(told), "{row}: {before}");
        let given = accept(&airlock, &sealed, &base, "fewer steps");
        let words = given["message"].as_str().unwrap_or_default();
        assert!(words.contains(told), "{row}: {given}");
        let after = banner(&airlock)["data"].to_string();
        assert!(after.contains(told), "{row}: {after}");
        let again = banner(&airlock)["data"].to_string();
        assert_eq!(again, "\"\"", "{row}: told once");
        assert_eq!(provider.origin.connections(), 0, "{row}");
        eventually("it is on record", || log(&airlock).contains("own key"));
        assert_kept_nowhere(&airlock, &sealed);
        airlock.assert_healthy();
    }
}

#[test]
fn a_provider_is_behind_the_same_checkpoint_as_everybody() {
    let comfyui = ComfyUi::serving(files());
    let provider = provider();
    let airlock = Airlock::start(&with_provider(&comfyui, &provider));
    let base = format!("http://{}/v1", provider.origin.address);
    let good = sealed(&airlock, Seal::Oaep, KEY);

    // A secret in what was typed is not sent to anybody.
    let given = accept(
        &airlock,
        &good,
        &base,
        "use hf_aB3dE5gH7jK9mN1pQ2sT4vW6xY8zA0bC2d",
    );
    assert_eq!(provider.origin.connections(), 0, "{given}");
    eventually("the refusal is on record", || {
        log(&airlock).contains("secret_found")
    });

    // A key that the provider refuses: the rules are the floor, and its words are not passed on.
    let wrong = sealed(&airlock, Seal::Oaep, "sk-proj-of-somebody-else-0123456789");
    let given = accept(&airlock, &wrong, &base, "fewer steps");
    let words = given["message"].as_str().unwrap_or_default();
    assert!(words.contains("llm_key_refused"), "{given}");
    assert!(!given.to_string().contains("wrong key"), "{given}");
    assert_eq!(provider.asked.lock().unwrap().len(), 1);

    let (code, _, _) = airlock.command(&["lockdown", "on"]);
    assert_eq!(code, 0);
    let given = accept(&airlock, &good, &base, "fewer steps");
    let words = given["message"].as_str().unwrap_or_default();
    assert!(words.contains("llm_unreachable"), "{given}");
    assert_eq!(
        provider.asked.lock().unwrap().len(),
        1,
        "nothing after the lockdown"
    );
}
