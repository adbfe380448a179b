//! The other hosts that the plugin calls: model search, trace upload, pictures (WIRE.md 6, 8, 20).

use http::Method;
use serde_json::{Value, json};

use super::super::{
    answer::Answer,
    call::Call,
    player::Turn,
    step::{Fault, must},
};

pub async fn search(turn: &mut Turn) -> Result<String, Fault> {
    let body = json!({"PageSize": 30, "PageNumber": 1, "SortBy": "Default", "Target": "",
        "SingleCriterion": [], "Name": "pose", "Criterion": null});
    let call = Call::new(
        Method::PUT,
        "https://www.modelscope.cn/api/v1/dolphin/models",
    )?
    .json(&body);
    let answer = turn.send(call).await?;
    answer.must_be(200)?;
    let answer = answer.json()?;
    let models = answer.pointer("/Data/Model/Models");
    let found = match models {
        Some(Value::Array(models)) => models.len(),
        Some(Value::Null) => 0,
        Some(_) | None => return Err(Fault(format!("no list of models: {answer}"))),
    };
    Ok(format!("{found} models, nothing was asked outside"))
}

pub async fn details(turn: &mut Turn) -> Result<String, Fault> {
    let url = "https://www.modelscope.cn/api/v1/models/InstantX/SD3-Controlnet-Pose";
    let answer = turn.send(Call::get(url)?).await?;
    must_not_be_retried(&answer)?;
    let body = answer.json()?;
    must(body["Success"].is_boolean(), || {
        format!("not ModelScope's form: {body}")
    })?;
    Ok(format!(
        "status {}: {}",
        answer.status,
        body["Message"].as_str().unwrap_or("found")
    ))
}

/// The plugin repeats on these from ComfyUI's own event loop, and all of ComfyUI stands still.
fn must_not_be_retried(answer: &Answer) -> Result<(), Fault> {
    let repeated = answer.status == 429 || answer.status >= 500;
    must(!repeated, || {
        format!("status {} makes the plugin try again", answer.status)
    })
}

pub async fn traces(turn: &mut Turn) -> Result<String, Fault> {
    let span = json!({"type": "generation", "input": [{"role": "user", "content": "a prompt"}]});
    let body = json!({"data": [{"object": "trace", "id": "trace_1"},
        {"object": "trace.span", "id": "span_1", "span_data": span}]});
    let call = Call::post("https://api.openai.com/v1/traces/ingest", &body)?.by_plugin();
    let answer = turn.send(call).await?;
    must((200..300).contains(&answer.status), || {
        format!("status {}", answer.status)
    })?;
    Ok("taken, counted, thrown away".into())
}

pub async fn picture(turn: &mut Turn) -> Result<String, Fault> {
    let url = "https://ppc-img.oss-ap-southeast-1.aliyuncs.com/AI_workflow_default.jpg";
    let answer = turn.send(Call::get(url)?).await?;
    answer.must_be(200)?;
    let kind = answer.header("content-type");
    must(
        kind.starts_with("image/") && !answer.body.is_empty(),
        || format!("content type {kind}"),
    )?;
    Ok(format!("a placeholder of {} bytes", answer.body.len()))
}
