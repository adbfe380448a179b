//! Questions to an LLM that is scripted to answer well, badly, late or not at all.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::{
    gateway::{
        settings::{GatewaySettings, Timeouts},
        tests::{
            fake::{FakeLlm, Piece, Reply, say},
            gateway, settings,
        },
    },
    handler::test_support::exchange,
    metrics::Metrics,
};

const HOST: &str = "comfyui-copilot-server-pre.onrender.com";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said3 {
    prompts: Vec<String>,
}

/// An [`Asking`] that asks `llm`.
pub(crate) fn asking_of(llm: &FakeLlm) -> (Arc<Asking>, Arc<Metrics>) {
    let patient = GatewaySettings {
        timeouts: Timeouts::default(),
        ..settings(&llm.url())
    };
    let (gateway, metrics) = gateway(patient);
    (Arc::new(Asking::new(Arc::new(gateway))), metrics)
}

/// An LLM that gives these answers, one each, and the last one for ever.
pub(crate) async fn answering(answers: &[&str]) -> FakeLlm {
    let left: VecDeque<String> = answers.iter().map(|a| (*a).to_owned()).collect();
    let left = Mutex::new(left);
    FakeLlm::start("m", move |_| {
        let mut left = left.lock();
        let answer = match left.len() {
            0 | 1 => left.front().cloned().unwrap_or_default(),
            _ => left.pop_front().unwrap_or_default(),
        };
        whole(&answer)
    })
    .await
}

pub(crate) fn whole(text: &str) -> Reply {
    let answer = json!({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [{
        "index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text},
    }]});
    Reply::json(200, &answer.to_string())
}

fn chunk(text: &str) -> Piece {
    let chunk = json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]});
    say(format!("data: {chunk}\n\n"))
}

fn question(cost: Cost) -> Question {
    Question {
        system: "Write prompts.".into(),
        user: "a cat".into(),
        cost,
    }
}

fn shape() -> Shape {
    Shape {
        name: "prompts",
        schema: json!({"type": "object", "additionalProperties": false, "required": ["prompts"],
            "properties": {"prompts": {"type": "array", "items": {"type": "string"}}}}),
    }
}

async fn prompts(asking: &Asking, cost: Cost) -> Result<usize, Unanswered> {
    asking
        .object(
            &question(cost),
            &shape(),
            &exchange(HOST),
            |said: Said3| match said.prompts.len() {
                0 => Err("there are no prompts".into()),
                n => Ok(n),
            },
        )
        .await
}

fn calls(llm: &FakeLlm) -> Vec<Value> {
    let seen = llm.seen.lock();
    seen.iter()
        .filter(|s| s.head.starts_with("POST"))
        .map(|s| serde_json::from_str(&s.body).expect("JSON"))
        .collect()
}

const GOOD: [(&str, &str); 3] = [
    (
        "the object alone",
        include_str!("../../../tests/fixtures/llm_answers/good-plain.txt"),
    ),
    (
        "thoughts, a fence and prose",
        include_str!("../../../tests/fixtures/llm_answers/good-thinks-and-fences.txt"),
    ),
    (
        "thinking that the template began",
        include_str!("../../../tests/fixtures/llm_answers/good-thinking-begun-by-the-template.txt"),
    ),
];
const BAD: [(&str, &str, &str); 5] = [
    (
        "a list in prose",
        include_str!("../../../tests/fixtures/llm_answers/bad-prose.txt"),
        "no JSON object",
    ),
    (
        "cut off",
        include_str!("../../../tests/fixtures/llm_answers/bad-cut-off.txt"),
        "cut off",
    ),
    (
        "another shape",
        include_str!("../../../tests/fixtures/llm_answers/bad-other-shape.txt"),
        "unknown field",
    ),
    (
        "the right shape with nothing in it",
        include_str!("../../../tests/fixtures/llm_answers/bad-empty.txt"),
        "there are no prompts",
    ),
    (
        "nothing but thoughts",
        include_str!("../../../tests/fixtures/llm_answers/bad-only-thoughts.txt"),
        "no JSON object",
    ),
];

#[tokio::test]
async fn a_good_answer_is_taken_at_the_first_try() {
    for (row, answer) in GOOD {
        let llm = answering(&[answer]).await;
        let (asking, metrics) = asking_of(&llm);
        assert_eq!(prompts(&asking, Cost::default()).await, Ok(3), "{row}");
        let calls = calls(&llm);
        assert_eq!(calls.len(), 1, "{row}");
        assert_eq!(calls[0]["model"], "m", "the gateway's own choice: {row}");
        assert_eq!(calls[0]["response_format"]["type"], "json_schema", "{row}");
        assert!(llm.last().head.contains("sk-upstream"), "{row}");
        let shown = metrics.render();
        assert!(
            shown.contains("gen_ai_client_operation_duration_seconds_count{"),
            "{row}: {shown}"
        );
    }
}

#[tokio::test]
async fn a_bad_answer_is_asked_again_with_the_reason() {
    for (row, answer, why) in BAD {
        let llm = answering(&[answer, GOOD[0].1]).await;
        let (asking, _) = asking_of(&llm);
        assert_eq!(prompts(&asking, Cost::default()).await, Ok(3), "{row}");
        let calls = calls(&llm);
        assert_eq!(calls.len(), 2, "{row}");
        let told = calls[1]["messages"][3]["content"].as_str().expect(row);
        assert!(told.contains(why), "{row}: {told}");
    }
}

#[tokio::test]
async fn tries_have_an_end() {
    for (row, answer, why) in BAD {
        let llm = answering(&[answer]).await;
        let (asking, _) = asking_of(&llm);
        let cost = Cost {
            tries: 3,
            ..Cost::default()
        };
        match prompts(&asking, cost).await {
            Err(Unanswered::Unusable(wrong)) => assert!(wrong.contains(why), "{row}: {wrong}"),
            other => panic!("{row}: {other:?}"),
        }
        assert_eq!(calls(&llm).len(), 3, "{row}");
    }
}

/// What LLM servers say to a question whose form they do not take, and how they are asked then.
#[tokio::test]
async fn a_refused_form_is_replaced_and_remembered() {
    for (row, status, words, refused) in [
        (
            "a server without schemas",
            400,
            "response_format type json_schema is unavailable",
            "response_format",
        ),
        (
            "one that judges bodies strictly",
            422,
            "extra fields not permitted",
            "response_format",
        ),
        (
            "a grammar that does not compile",
            500,
            "failed to parse grammar",
            "response_format",
        ),
        (
            "a model with another name for the limit",
            400,
            "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'",
            "max_tokens",
        ),
    ] {
        let llm = FakeLlm::scripted(move |path, body| {
            if path.ends_with("/models") {
                return Reply::json(200, r#"{"data":[{"id":"m"}]}"#);
            }
            match body.contains(refused) {
                true => Reply::json(status, &json!({"error": {"message": words}}).to_string()),
                false => whole(GOOD[0].1),
            }
        })
        .await;
        let (asking, _) = asking_of(&llm);
        assert_eq!(prompts(&asking, Cost::default()).await, Ok(3), "{row}");
        assert_eq!(calls(&llm).len(), 2, "{row}");
        assert_eq!(prompts(&asking, Cost::default()).await, Ok(3), "{row}");
        let calls = calls(&llm);
        assert_eq!(calls.len(), 3, "the second question knows: {row}");
        let system = calls[2]["messages"][0]["content"].as_str().expect(row);
        assert!(system.contains("additionalProperties"), "{row}: {system}");
    }
}

#[tokio::test]
async fn other_refusals_are_no_reason_to_ask_again() {
    for (row, status, words, code) in [
        ("a refused key", 401, "bad key", "llm_key_refused"),
        (
            "too many questions",
            429,
            "slow down",
            "rate_limit_exceeded",
        ),
        ("its own fault", 500, "CUDA error", "llm_error"),
        (
            "too long",
            400,
            "maximum context length is 2048 tokens",
            "context_length_exceeded",
        ),
    ] {
        let llm = FakeLlm::start("m", move |_| {
            Reply::json(status, &json!({"error": {"message": words}}).to_string())
        })
        .await;
        let (asking, _) = asking_of(&llm);
        let why = prompts(&asking, Cost::default()).await.expect_err(row);
        assert_eq!(why.code(), code, "{row}: {why}");
        assert_eq!(calls(&llm).len(), 1, "{row}");
    }
    let always = |_: &str| Reply::json(400, r#"{"error":{"message":"no"}}"#);
    let llm = FakeLlm::start("m", always).await;
    let (asking, _) = asking_of(&llm);
    for _ in 0..2 {
        let why = prompts(&asking, Cost::default()).await;
        assert_eq!(why.expect_err("400 for all").code(), "llm_error");
    }
    let strict = calls(&llm)
        .iter()
        .filter(|c| !c["response_format"].is_null())
        .count();
    assert_eq!(strict, 2, "what was refused in both forms teaches nothing");
}

#[tokio::test]
async fn no_llm_is_an_answer_too() {
    let llm = answering(&[]).await;
    let (asking, _) = asking_of(&llm);
    llm.stop();
    let why = prompts(&asking, Cost::default()).await;
    let why = why.expect_err("nobody is there");
    assert_eq!(why.code(), "llm_unreachable");
    assert!(why.to_string().contains("airlock doctor"), "{why}");
}

#[tokio::test]
async fn the_deadline_holds_whatever_the_llm_does() {
    let cost = Cost {
        time: Duration::from_millis(300),
        ..Cost::default()
    };
    for (row, reply) in [
        ("never a head", Reply::silence()),
        (
            "a head and no body",
            Reply {
                status: 200,
                headers: "content-type: application/json\r\n".into(),
                pieces: vec![say("{"), Piece::Hang],
            },
        ),
    ] {
        let llm = FakeLlm::start("m", move |_| reply.clone()).await;
        let (asking, _) = asking_of(&llm);
        let why = prompts(&asking, cost).await.expect_err(row);
        assert_eq!(why.code(), "llm_timeout", "{row}");
        llm.wait_cancelled().await;
    }
}

#[tokio::test]
async fn a_flood_is_cut() {
    let llm = FakeLlm::start("m", |_| whole(&"x".repeat(1 << 20))).await;
    let (asking, _) = asking_of(&llm);
    let why = prompts(&asking, Cost::default()).await;
    assert_eq!(why.expect_err("a flood").code(), "llm_bad_answer");
}

#[tokio::test]
async fn who_goes_cancels_the_question() {
    let llm = FakeLlm::start("m", |_| Reply::silence()).await;
    let (asking, _) = asking_of(&llm);
    let gone = Arc::new(AtomicUsize::new(0));
    let (also, done) = (asking.clone(), gone.clone());
    let task = tokio::spawn(async move {
        let _ = prompts(&also, Cost::default()).await;
        done.fetch_add(1, Ordering::SeqCst);
    });
    while calls(&llm).is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    task.abort();
    llm.wait_cancelled().await;
    assert_eq!(gone.load(Ordering::SeqCst), 0);
    // Its turn went with it.
    let cost = Cost {
        time: Duration::from_millis(50),
        ..Cost::default()
    };
    let why = prompts(&asking, cost).await.expect_err("it is silent");
    assert_eq!(why.code(), "llm_timeout");
    assert_eq!(calls(&llm).len(), 2);
}

async fn told(asking: &Arc<Asking>, cost: Cost) -> (String, Option<String>) {
    let mut pieces = asking.text(question(cost), &exchange(HOST));
    let mut text = String::new();
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => text.push_str(&piece),
            Err(words) => {
                assert!(pieces.next().await.is_none(), "an error is the last item");
                return (text, Some(words));
            }
        }
    }
    (text, None)
}

#[tokio::test]
async fn text_comes_in_pieces_without_thoughts() {
    let events = |mut pieces: Vec<Piece>| {
        pieces.push(say("data: [DONE]\n\n"));
        Reply::events(pieces)
    };
    let finish = || {
        let chunk = json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
        say(format!("data: {chunk}\n\n"))
    };
    let short = Cost {
        bytes: 4,
        ..Cost::default()
    };
    for (row, reply, cost, text, problem) in [
        (
            "pieces",
            events(vec![chunk("Hello "), chunk("you"), finish()]),
            Cost::default(),
            "Hello you",
            None,
        ),
        (
            "thoughts across pieces",
            events(vec![
                chunk("<thi"),
                chunk("nk>no</think>ye"),
                chunk("s"),
                finish(),
            ]),
            Cost::default(),
            "yes",
            None,
        ),
        (
            "one that does not stream",
            whole("all at once"),
            Cost::default(),
            "all at once",
            None,
        ),
        (
            "one that breaks off",
            Reply::events(vec![chunk("half"), Piece::Die]),
            Cost::default(),
            "half",
            Some("broke off"),
        ),
        (
            "one that refuses",
            Reply::json(401, r#"{"error":{"message":"bad key"}}"#),
            Cost::default(),
            "",
            Some("refused Airlock's key"),
        ),
        (
            "one that goes on and on",
            events(vec![chunk("äöü"), chunk("x"), finish()]),
            short,
            "äö",
            Some("too long"),
        ),
    ] {
        let llm = FakeLlm::start("m", move |_| reply.clone()).await;
        let (asking, _) = asking_of(&llm);
        let (got, why) = told(&asking, cost).await;
        assert_eq!(got, text, "{row}");
        match problem {
            None => assert_eq!(why, None, "{row}"),
            Some(words) => assert!(
                why.as_deref().is_some_and(|w| w.contains(words)),
                "{row}: {why:?}"
            ),
        }
        let calls = calls(&llm);
        assert_eq!(calls.len(), 1, "{row}");
        assert_eq!(calls[0]["stream"], true, "{row}");
    }
}

#[tokio::test]
async fn a_page_that_goes_cancels_the_stream_and_gives_its_turn_back() {
    let llm = FakeLlm::start("m", |_| Reply::events(vec![chunk("Hello"), Piece::Hang])).await;
    let (asking, _) = asking_of(&llm);
    let mut pieces = asking.text(question(Cost::default()), &exchange(HOST));
    assert_eq!(pieces.next().await, Some(Ok("Hello".into())));
    drop(pieces);
    llm.wait_cancelled().await;
    let mut pieces = asking.text(question(Cost::default()), &exchange(HOST));
    assert_eq!(pieces.next().await, Some(Ok("Hello".into())));
}
