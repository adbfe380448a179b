use serde_json::{Value, json};

use super::*;
use crate::workflow::{
    tune::{Wish, apply, differences, settings},
    widgets,
};

fn wish(node: &str, input: &str, value: Value) -> Wish {
    Wish {
        node: node.into(),
        input: input.into(),
        value,
    }
}

#[test]
fn settings_are_values_that_could_be_others() {
    let prompt = with(&[
        ("/7/class_type", json!("NotHere")),
        ("/5/inputs/width", json!(["3", 0])),
    ]);
    let known = catalogue();
    let names: Vec<String> = settings(&prompt, &known)
        .iter()
        .map(|s| format!("{}.{} {}", s.id, s.input.name, s.at))
        .collect();
    for there in [
        "6.text 0",
        "3.seed 0",
        "3.steps 1",
        "3.denoise 5",
        "9.filename_prefix 0",
    ] {
        assert!(names.iter().any(|n| n == there), "{there}: {names:?}");
    }
    for linked_or_unknown in ["5.width", "6.clip", "7.text"] {
        let seen = names.iter().any(|n| n.starts_with(linked_or_unknown));
        assert!(!seen, "{linked_or_unknown}: {names:?}");
    }
}

#[test]
fn a_value_is_put_in_where_comfyui_takes_it() {
    let known = catalogue();
    for (row, wish, want) in [
        ("a text", wish("6", "text", json!("a dog")), json!("a dog")),
        ("a number", wish("3", "steps", json!(30)), json!(30)),
        (
            "a number as a text",
            wish("3", "steps", json!("30")),
            json!(30),
        ),
        (
            "a whole number with a point",
            wish("3", "steps", json!(30.0)),
            json!(30),
        ),
        (
            "a float as a text",
            wish("3", "cfg", json!("5.5")),
            json!(5.5),
        ),
        (
            "a choice",
            wish("3", "sampler_name", json!("euler")),
            json!("euler"),
        ),
        (
            "blanks around names",
            wish(" 6 ", " text ", json!("x")),
            json!("x"),
        ),
    ] {
        let mut prompt = with(&[]);
        apply(&mut prompt, &known, &wish).expect(row);
        let value = prompt.to_value();
        let pointer = format!("/{}/inputs/{}", wish.node.trim(), wish.input.trim());
        assert_eq!(value.pointer(&pointer), Some(&want), "{row}");
    }
}

#[test]
fn what_comfyui_would_refuse_changes_nothing() {
    let known = catalogue();
    for (row, wish, says) in [
        ("no such node", wish("99", "text", json!("x")), "no node 99"),
        (
            "a name that is none",
            wish("a\nb", "text", json!("x")),
            "names no node",
        ),
        (
            "no such setting",
            wish("6", "strength", json!(1)),
            "no setting",
        ),
        ("a link", wish("3", "model", json!("x")), "no setting"),
        (
            "beyond its bounds",
            wish("3", "steps", json!(1_000_000)),
            "steps",
        ),
        ("half a step", wish("3", "steps", json!(20.5)), "steps"),
        ("no number", wish("3", "cfg", json!("much")), "cfg"),
        (
            "a choice that is none",
            wish("3", "sampler_name", json!("magic")),
            "sampler_name",
        ),
        (
            "a model that is not installed",
            wish("4", "ckpt_name", json!("other.safetensors")),
            "ckpt_name",
        ),
        (
            "a list where a text stands",
            wish("6", "text", json!(["4", 0])),
            "text",
        ),
        (
            "a book",
            wish("6", "text", json!("x".repeat(9 << 10))),
            "too long",
        ),
    ] {
        let mut prompt = with(&[]);
        let why = apply(&mut prompt, &known, &wish).expect_err(row);
        assert!(why.contains(says), "{row}: {why}");
        assert_eq!(prompt, with(&[]), "{row}");
    }
    let mut linked = with(&[("/6/inputs/text", json!(["8", 0]))]);
    let why = apply(&mut linked, &known, &wish("6", "text", json!("x")));
    assert!(why.is_err_and(|why| why.contains("it is linked")));
}

#[test]
fn differences_are_what_the_page_has_to_set() {
    let known = catalogue();
    let before = with(&[]);
    let mut after = before.clone();
    assert_eq!(differences(&before, &after, &known), Vec::new());
    apply(&mut after, &known, &wish("6", "text", json!("a dog"))).expect("it fits");
    apply(&mut after, &known, &wish("3", "steps", json!(20))).expect("it fits");
    let changed = differences(&before, &after, &known);
    let [one] = changed.as_slice() else {
        panic!("one value is another: {changed:?}");
    };
    assert_eq!(
        (one.node.as_str(), one.class.as_str()),
        ("6", "CLIPTextEncode")
    );
    assert_eq!((one.input.as_str(), one.at), ("text", 0));
}

#[test]
fn a_value_is_written_where_the_page_keeps_it() {
    let catalogue = catalogue();
    let sampler = |values: Value| json!({"id": 3, "type": "KSampler", "inputs": [], "outputs": [], "widgets_values": values});
    let list = || json!([5, "randomize", 20, 8.0, "euler", "normal", 1.0]);
    for (row, values, input, to, want) in [
        (
            "behind what happens to a seed after a run",
            list(),
            "steps",
            json!(33),
            Some(json!([5, "randomize", 33, 8.0, "euler", "normal", 1.0])),
        ),
        (
            "the seed itself",
            list(),
            "seed",
            json!(7),
            Some(json!([7, "randomize", 20, 8.0, "euler", "normal", 1.0])),
        ),
        (
            "the last one",
            list(),
            "denoise",
            json!(0.5),
            Some(json!([5, "randomize", 20, 8.0, "euler", "normal", 0.5])),
        ),
        (
            "by name, where the node keeps names",
            json!({"steps": 20, "cfg": 8.0}),
            "steps",
            json!(33),
            Some(json!({"steps": 33, "cfg": 8.0})),
        ),
        ("a link has no place", list(), "model", json!("x"), None),
        (
            "a name that the node does not keep",
            json!({"cfg": 8.0}),
            "steps",
            json!(33),
            None,
        ),
        (
            "a list that ends before",
            json!([5, "randomize"]),
            "steps",
            json!(33),
            None,
        ),
        ("no values at all", Value::Null, "steps", json!(33), None),
    ] {
        let (mut file, before) = (sampler(values.clone()), sampler(values));
        let class = catalogue.node("KSampler");
        let done = widgets::put(&mut file, class, input, &to);
        assert_eq!(done, want.is_some(), "{row}");
        match want {
            Some(want) => assert_eq!(file["widgets_values"], want, "{row}"),
            None => assert_eq!(file, before, "{row}"),
        }
    }
}
