//! The browser's requests (WIRE.md 10 to 18), with another origin, as the page of ComfyUI has it:
//! an answer without the right CORS headers is one that the page never sees.

use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use http::{
    HeaderName, Method,
    header::{ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE, ORIGIN},
};
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use serde_json::{Value, json};

use super::super::{
    answer::Answer,
    call::{Call, PAGE},
    player::Turn,
    step::{Fault, must},
};

const HOST: &str = "https://comfyui-copilot-server-pre.onrender.com";
/// Really sent by the page, the odd third one included (WIRE.md 10.0).
const PAGE_HEADERS: &str = "access-control-allow-origin,authorization,content-type,trace-id";
const SESSION: &str = "852e62c0-8656-4c49-8ccd-136e1ce1483e";
/// A PNG of one pixel.
const PICTURE: &[u8] = &[
    0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, b'I', b'H', b'D', b'R', 0, 0, 0,
    1, 0, 0, 0, 1, 8, 0, 0, 0, 0, 0x3a, 0x7e, 0x9b, 0x55, 0, 0, 0, 0x0a, b'I', b'D', b'A', b'T',
    0x78, 0x9c, 0x63, 0x60, 0, 0, 0, 2, 0, 1, 0x48, 0xaf, 0xa4, 0x71, 0, 0, 0, 0, b'I', b'E', b'N',
    b'D', 0xae, 0x42, 0x60, 0x82,
];

fn url(path: &str) -> String {
    format!("{HOST}{path}")
}

/// The page's question whether it may ask.
async fn preflight(turn: &mut Turn, method: &'static str, path: &str) -> Result<(), Fault> {
    let call = Call::new(Method::OPTIONS, &url(path))?
        .header(ORIGIN, PAGE)
        .header(ACCESS_CONTROL_REQUEST_METHOD, method)
        .header(ACCESS_CONTROL_REQUEST_HEADERS, PAGE_HEADERS);
    let answer = turn.send(call).await?;
    must((200..300).contains(&answer.status), || {
        format!("preflight: status {}", answer.status)
    })?;
    readable_by_the_page(&answer)?;
    let methods = answer.header("access-control-allow-methods");
    must(methods.contains(method), || {
        format!("preflight: {method} is not in {methods:?}")
    })?;
    let allowed = answer
        .header("access-control-allow-headers")
        .to_ascii_lowercase();
    let allowed: Vec<&str> = allowed.split(',').map(str::trim).collect();
    let missing = PAGE_HEADERS.split(',').find(|name| !allowed.contains(name));
    must(missing.is_none(), || {
        format!(
            "preflight: header {} is not allowed",
            missing.unwrap_or_default()
        )
    })
}

fn readable_by_the_page(answer: &Answer) -> Result<(), Fault> {
    let origin = answer.header("access-control-allow-origin");
    must(origin == PAGE || origin == "*", || {
        format!("the page may not read it: allowed is {origin:?}")
    })
}

/// Preflight and POST, as the page does both.
async fn post(turn: &mut Turn, path: &str, body: &Value) -> Result<Answer, Fault> {
    preflight(turn, "POST", path).await?;
    let answer = turn.send(Call::post(&url(path), body)?.by_page()).await?;
    readable_by_the_page(&answer)?;
    Ok(answer)
}

/// The vendor's form: data, or a failure whose words the page shows.
fn declared(answer: &Answer) -> Result<Result<Value, String>, Fault> {
    answer.must_be(200)?;
    let mut body = answer.json()?;
    match body["success"].as_bool() {
        Some(true) => Ok(Ok(body["data"].take())),
        Some(false) => match body["message"].as_str() {
            Some(words) if !words.is_empty() => Ok(Err(words.to_owned())),
            Some(_) | None => Err(Fault("a failure without words for the page to show".into())),
        },
        None => Err(Fault(format!("no `success` in {body}"))),
    }
}

fn data(answer: &Answer) -> Result<Value, Fault> {
    declared(answer)?.map_err(|words| Fault(format!("declared a failure: {words}")))
}

fn told(words: &str) -> String {
    format!("the page shows: {words}")
}

pub async fn announcement(turn: &mut Turn) -> Result<String, Fault> {
    const PATH: &str = "/api/chat/announcement";
    preflight(turn, "GET", PATH).await?;
    let answer = turn.send(Call::get(&url(PATH))?.by_page()).await?;
    readable_by_the_page(&answer)?;
    let data = data(&answer)?;
    must(data.is_string(), || {
        format!("the announcement is no text: {data}")
    })?;
    Ok("preflight and answer, readable by the page".into())
}

/// The page encrypts the user's own key with it; without it, it sends that key in clear to the
/// vendor's host (WIRE.md 9). So the key is used here, not just looked at.
pub async fn rsa_key(turn: &mut Turn) -> Result<String, Fault> {
    let call = Call::get(&url("/api/chat/rsa_public_key"))?.header(ORIGIN, PAGE);
    let answer = turn.send(call).await?;
    readable_by_the_page(&answer)?;
    let data = data(&answer)?;
    let pem = data
        .as_str()
        .ok_or_else(|| Fault("the key is no text".into()))?;
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes())
        .map_err(|e| Fault(format!("the key is no PEM: {e}")))?;
    let not_rsa = || Fault("the key is no RSA key".into());
    let key = PublicEncryptingKey::from_der(&der).map_err(|_| not_rsa())?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| not_rsa())?;
    let mut sealed = vec![0; key.ciphertext_size()];
    let sealed = key
        .encrypt(
            &OAEP_SHA256_MGF1SHA256,
            b"sk-the-users-own-key",
            &mut sealed,
            None,
        )
        .map_err(|_| Fault("nothing can be encrypted with the key".into()))?;
    Ok(format!(
        "RSA-{}, a key was sealed with it",
        sealed.len() * 8
    ))
}

pub async fn telemetry(turn: &mut Turn) -> Result<String, Fault> {
    let event = json!({
        "event_type": "chat_request", "message_type": "chat", "session_id": SESSION,
        "data": {"prompt": "the words of the user", "ext": {}, "intent": null, "messageId": "1"},
    });
    let answer = post(turn, "/api/chat/track_event", &event).await?;
    must((200..300).contains(&answer.status), || {
        format!("status {}", answer.status)
    })?;
    Ok("taken, counted, thrown away".into())
}

pub async fn upload(turn: &mut Turn) -> Result<String, Fault> {
    let mut form = b"--airlock-demo\r\nContent-Disposition: form-data; name=\"file\"; \
        filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n"
        .to_vec();
    form.extend_from_slice(PICTURE);
    form.extend_from_slice(b"\r\n--airlock-demo--\r\n");
    let call = Call::new(Method::POST, &url("/api/chat/imgfile2oss"))?
        .header(ORIGIN, PAGE)
        .header(CONTENT_TYPE, "multipart/form-data; boundary=airlock-demo")
        .body(form);
    let answer = turn.send(call).await?;
    readable_by_the_page(&answer)?;
    let data = data(&answer)?;
    let is_data_url = data
        .as_str()
        .is_some_and(|u| u.starts_with("data:image/png;base64,"));
    must(is_data_url, || format!("the picture's address is {data}"))?;
    Ok("kept here: its address is a data URL".into())
}

pub async fn explain_node(turn: &mut Turn) -> Result<String, Fault> {
    intent(turn, "node_explain", "KSampler", json!([])).await
}

pub async fn downstream_nodes(turn: &mut Turn) -> Result<String, Fault> {
    let above = json!([{"type": "upstream_node_types", "data": ["KSampler"]}]);
    intent(turn, "downstream_subgraph_search", "VAEDecode", above).await
}

/// A stream of JSON lines; without a last one that is `finished`, the page's spinner never stops.
async fn intent(turn: &mut Turn, intent: &str, prompt: &str, ext: Value) -> Result<String, Fault> {
    let body = json!({
        "session_id": SESSION, "prompt": prompt, "mock": false, "intent": intent, "ext": ext,
        "messages": [{"role": "user", "content": prompt}], "images": [],
        "workflow_checkpoint_id": null,
    });
    let answer = post(turn, "/api/chat/invoke", &body).await?;
    answer.must_be(200)?;
    let text = answer.text();
    let last = text
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or_default();
    let last: Value =
        serde_json::from_str(last).map_err(|e| Fault(format!("the last line is no JSON: {e}")))?;
    must(last["finished"] == true, || {
        "the last line is not finished: the spinner stays".into()
    })?;
    let words = last["text"].as_str().unwrap_or_default();
    must(!words.is_empty(), || "finished without a word".into())?;
    Ok(told(words))
}

pub async fn optimized_workflow(turn: &mut Turn) -> Result<String, Fault> {
    let body = json!({"workflow_id": 31809, "prompt": "a cat"});
    let answer = post(turn, "/api/chat/get_optimized_workflow", &body).await?;
    match declared(&answer)? {
        Ok(data) => {
            let whole = data["workflow"].is_object() && data["optimized_params"].is_array();
            must(whole, || {
                "the workflow or its parameters are missing".into()
            })?;
            Ok("a workflow came back".into())
        }
        Err(words) => Ok(told(&words)),
    }
}

pub async fn node_info(turn: &mut Turn) -> Result<String, Fault> {
    let body = json!({"node_types": ["TotallyMissingNode"]});
    let answer = post(turn, "/api/chat/get_node_info_by_types", &body).await?;
    let data = data(&answer)?;
    let list = data
        .as_array()
        .ok_or_else(|| Fault(format!("no list: {data}")))?;
    let named = list
        .iter()
        .all(|n| n["name"].is_string() && n["github_url"].is_string());
    must(named, || {
        format!("an entry lacks its name or its github_url: {data}")
    })?;
    Ok(format!("{} of 1 listed", list.len()))
}

pub async fn create_user(turn: &mut Turn) -> Result<String, Fault> {
    const PATH: &str = "/api/user/create";
    let body = json!({"username": "someone", "email": "someone@example.com"});
    preflight(turn, "POST", PATH).await?;
    // The one request of the page that carries no key.
    let call = Call::post(&url(PATH), &body)?
        .header(ORIGIN, PAGE)
        .header(HeaderName::from_static("trace-id"), "1");
    let answer = turn.send(call).await?;
    readable_by_the_page(&answer)?;
    Ok(match declared(&answer)? {
        Ok(_) => "accepted".into(),
        Err(words) => told(&words),
    })
}

pub async fn prompts(turn: &mut Turn) -> Result<String, Fault> {
    let answer = post(
        turn,
        "/api/param_debug/generate_sd_prompts",
        &json!({"text": "a cat"}),
    )
    .await?;
    match declared(&answer)? {
        Ok(data) => {
            must(data.is_array(), || format!("no list of prompts: {data}"))?;
            Ok("prompts came back".into())
        }
        // The page prints its own words for it (WIRE.md 18).
        Err(words) => Ok(format!("declared: {words}")),
    }
}
