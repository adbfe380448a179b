//! What is written for the user: variations of a prompt, and the banner.

use super::*;
use crate::emulator::asking::tests::answering;

const PROMPTS: &str = "/api/param_debug/generate_sd_prompts";

#[tokio::test]
async fn variations_come_from_the_llm_or_from_styles() {
    let good = r#"{"prompts":["a cat, dawn","a cat, dusk","a cat, noon"]}"#;
    for (row, answers, want, detail) in [
        (
            "the LLM's",
            Some(vec![good]),
            vec!["a cat, dawn", "a cat, dusk", "a cat, noon"],
            "model",
        ),
        (
            "the LLM's second try",
            Some(vec!["I would rather not.", good]),
            vec!["a cat, dawn", "a cat, dusk", "a cat, noon"],
            "model",
        ),
        (
            "styles where it talks nonsense",
            Some(vec!["no"]),
            vec!["a cat, photograph", "a cat, cinematic", "a cat, digital"],
            "prompts without an llm: llm_answer_unusable",
        ),
        (
            "styles where there is none",
            None,
            vec!["a cat, photograph", "a cat, cinematic", "a cat, digital"],
            "prompts without an llm: llm_unreachable",
        ),
    ] {
        let llm = match answers {
            Some(answers) => Some(answering(&answers).await),
            None => None,
        };
        let rig = rig_with(llm.as_ref(), None).await;
        let (body, told) = rig.post(PROMPTS, "en", r#"{"text":" a cat "}"#).await;
        assert_eq!(body["success"], true, "{row}: {body}");
        let got: Vec<&str> = body["data"]
            .as_array()
            .expect(row)
            .iter()
            .filter_map(Value::as_str)
            .collect();
        assert_eq!(got.len(), want.len(), "{row}: {body}");
        for (got, want) in got.iter().zip(want) {
            assert!(got.starts_with(want), "{row}: {got}");
        }
        assert!(told.starts_with(detail), "{row}: {told}");
        assert!(!told.contains("cat"), "{row}: {told}");
    }
}

#[tokio::test]
async fn a_text_that_is_none_is_refused_in_words() {
    let rig = rig().await;
    let long = json!({"text": "x".repeat(5 << 10)}).to_string();
    for (row, body) in [
        ("no text", "{}"),
        ("blanks", r#"{"text":"  "}"#),
        ("another kind", r#"{"text":["a"]}"#),
        ("no JSON", "a cat"),
        ("a book", &long),
    ] {
        let request = request(HOST, "POST", PROMPTS, &[PAGE], body.to_owned());
        let response = rig.responder.handle(request).await;
        assert_eq!(response.status(), 400, "{row}");
        let body = body_json(response).await;
        assert_eq!(body["message"], BAD_REQUEST.en, "{row}");
    }
}

#[tokio::test]
async fn the_banner_says_what_airlock_is_once() {
    let rig = rig().await;
    for (row, language, says) in [
        ("the first time", "en", "your own LLM"),
        ("nothing new", "en", ""),
        ("nothing new in Chinese", "zh", ""),
    ] {
        let headers = [PAGE, ("accept-language", language)];
        let request = request(HOST, "GET", "/api/chat/announcement", &headers, "");
        let body = body_json(rig.responder.handle(request).await).await;
        assert_eq!(body["success"], true, "{row}");
        let text = body["data"].as_str().expect(row);
        assert!(
            text.contains(says) && text.is_empty() == says.is_empty(),
            "{row}: {text}"
        );
    }
}
