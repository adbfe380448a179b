//! Arguments as models send them: small ones put a text where a list belongs, and take another name.

use serde_json::{Map, Value};

/// Bytes of one text that are read.
const MAX_TEXT: usize = 2 << 10;
const MAX_ITEMS: usize = 32;

/// The first of these members that is a text and not blank.
pub fn text(arguments: &Map<String, Value>, names: &[&str]) -> Option<String> {
    names
        .iter()
        .find_map(|name| arguments.get(*name).and_then(plain))
}

/// All texts of these members, be they texts or lists of texts, in order.
pub fn texts(arguments: &Map<String, Value>, names: &[&str]) -> Vec<String> {
    let values = names.iter().filter_map(|name| arguments.get(*name));
    let each = values.flat_map(|value| match value {
        Value::Array(items) => items.iter().take(MAX_ITEMS).filter_map(plain).collect(),
        other => Vec::from_iter(plain(other)),
    });
    each.take(MAX_ITEMS).collect()
}

fn plain(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let cut = crate::comfy::sound::text(&text, MAX_TEXT);
    (!cut.is_empty()).then_some(cut)
}

/// A count within bounds; `default` where there is none, or no number.
pub fn count(arguments: &Map<String, Value>, name: &str, default: usize, max: usize) -> usize {
    let value = arguments.get(name);
    let number = value.and_then(|v| match v {
        Value::Number(n) => n.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    });
    match number {
        Some(n) if n >= 1.0 => (n.min(max as f64) as usize).max(1),
        Some(_) | None => default,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn what_models_send_is_understood() {
        for (row, value, want) in [
            (
                "a list",
                json!({"k": ["a", " b ", 3, null, ""]}),
                vec!["a", "b", "3"],
            ),
            ("a text", json!({"k": "a b"}), vec!["a b"]),
            ("two members", json!({"l": "y", "k": ["x"]}), vec!["x", "y"]),
            ("nothing of use", json!({"k": {}, "l": true}), vec![]),
        ] {
            assert_eq!(texts(&map(value), &["k", "l"]), want, "{row}");
        }
        let named = map(json!({"name": " ", "node": "KSampler"}));
        assert_eq!(
            text(&named, &["node_name", "name", "node"]).as_deref(),
            Some("KSampler")
        );
        let long = map(json!({"k": "本".repeat(2000)}));
        assert!(text(&long, &["k"]).is_some_and(|t| t.len() <= MAX_TEXT));
    }

    #[test]
    fn counts_stay_within_their_bounds() {
        for (value, want) in [
            (json!({}), 5),
            (json!({"n": 3}), 3),
            (json!({"n": "7"}), 7),
            (json!({"n": 1e300}), 20),
            (json!({"n": -1}), 5),
            (json!({"n": 0}), 5),
            (json!({"n": "many"}), 5),
            (json!({"n": []}), 5),
        ] {
            assert_eq!(count(&map(value.clone()), "n", 5, 20), want, "{value}");
        }
    }
}
