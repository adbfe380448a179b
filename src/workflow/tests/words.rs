use super::*;
use crate::workflow::texts::{TextPlace, negative, positive};

fn places(of: &[TextPlace]) -> Vec<String> {
    of.iter()
        .map(|p| format!("{}.{}", p.node, p.input))
        .collect()
}

#[test]
fn what_is_wanted_and_what_is_not_are_told_apart() {
    let catalogue = catalogue();
    let second = json!({"class_type": "KSampler", "inputs": {"model": ["4", 0], "seed": 5, "steps": 20, "cfg": 8.0,
        "sampler_name": "euler", "scheduler": "normal", "positive": ["10", 0], "negative": ["7", 0],
        "latent_image": ["3", 0], "denoise": 0.5}});
    for (row, changes, wanted, unwanted) in [
        ("one of each", vec![], vec!["6.text"], vec!["7.text"]),
        (
            "two passes with the same words",
            vec![
                ("/11", second.clone()),
                ("/11/inputs/positive", json!(["6", 0])),
            ],
            vec!["6.text"],
            vec!["7.text"],
        ),
        (
            "two passes with words of their own",
            vec![
                (
                    "/10",
                    json!({"class_type": "CLIPTextEncode", "inputs": {"text": "more", "clip": ["4", 1]}}),
                ),
                ("/11", second.clone()),
            ],
            vec![],
            vec!["7.text"],
        ),
        (
            "the same words for both",
            vec![("/3/inputs/negative", json!(["6", 0])), ("/7", Value::Null)],
            vec!["6.text"],
            vec![],
        ),
        (
            "no ends: the only text",
            vec![
                ("/3", Value::Null),
                ("/7", Value::Null),
                ("/8", Value::Null),
            ],
            vec!["6.text"],
            vec![],
        ),
        (
            "no ends, and two texts",
            vec![("/3", Value::Null), ("/8", Value::Null)],
            vec![],
            vec![],
        ),
    ] {
        let prompt = with(&changes);
        assert_eq!(places(&positive(&prompt, &catalogue)), wanted, "{row}");
        assert_eq!(places(&negative(&prompt, &catalogue)), unwanted, "{row}");
    }
}
