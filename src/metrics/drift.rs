//! What a newer plugin asks for and nobody here knows (issue 5, point 6): counted, logged once, and kept
//! in its shape, so that a bug report writes itself. Values are never kept: only names and types.

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;

use super::Metrics;

/// Shapes kept; a client that makes up more is counted all the same.
const MAX_SHAPES: usize = 64;
const MAX_SHAPE: usize = 512;
/// Of one object, and levels of it.
const MAX_MEMBERS: usize = 24;
const MAX_DEPTH: usize = 4;
const MAX_NAME: usize = 40;

/// One kind of unknown request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// Which stand-in was asked.
    pub responder: &'static str,
    /// `route`, `field`, `method`, `tool` or `intent`.
    pub kind: &'static str,
    /// Names and types.
    pub shape: String,
    pub count: u64,
}

#[derive(Default)]
pub(super) struct Shapes(Mutex<Vec<Drift>>);

impl Shapes {
    pub(super) fn note(&self, responder: &'static str, kind: &'static str, shape: String) {
        let mut known = self.0.lock();
        let same = |d: &&mut Drift| (d.responder, d.kind, &d.shape) == (responder, kind, &shape);
        if let Some(drift) = known.iter_mut().find(same) {
            drift.count += 1;
        } else if known.len() < MAX_SHAPES {
            tracing::warn!(responder, kind, %shape, "the plugin asked for something unknown here");
            known.push(Drift {
                responder,
                kind,
                shape,
                count: 1,
            });
        }
    }

    pub(super) fn seen(&self) -> Vec<Drift> {
        self.0.lock().clone()
    }
}

impl Metrics {
    /// `kind`: `route`, `field`, `method`, `tool`, `intent`.
    pub fn drift(&self, responder: &'static str, kind: &'static str) {
        self.drift_of(responder, kind, String::new());
    }
    /// `shape` is made here: names and types, no content.
    pub fn drift_of(&self, responder: &'static str, kind: &'static str, shape: String) {
        self.drift.with_label_values(&[responder, kind]).inc();
        self.shapes.note(responder, kind, shape);
    }
    /// Each shape that was met, the first ones first.
    pub fn drifts(&self) -> Vec<Drift> {
        self.shapes.seen()
    }
}

/// Names and types of a JSON value: `{data:[{name:text}],limit:number}`.
pub fn shape_of(value: &Value) -> String {
    let mut out = String::new();
    write(value, 0, &mut out);
    cut(out)
}

/// The shape of a body that should be JSON.
pub fn shape_of_body(body: &[u8]) -> String {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => shape_of(&value),
        Err(_) if body.is_empty() => "no body".into(),
        Err(_) => "no json".into(),
    }
}

/// A path with everything that may be an id or a name of somebody's left out: `/api/*/models`.
pub fn shape_of_path(path: &str) -> String {
    let segments = path.split('/').map(|segment| {
        let plain = segment.len() <= MAX_NAME
            && segment
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b"_-.".contains(&b));
        if plain { segment } else { "*" }
    });
    cut(segments.collect::<Vec<_>>().join("/"))
}

fn write(value: &Value, depth: usize, out: &mut String) {
    if out.len() > MAX_SHAPE {
        return;
    }
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(_) => out.push_str("flag"),
        Value::Number(_) => out.push_str("number"),
        Value::String(_) => out.push_str("text"),
        Value::Array(items) => {
            out.push('[');
            match items.first() {
                Some(first) if depth < MAX_DEPTH => write(first, depth + 1, out),
                Some(_) => out.push('…'),
                None => {}
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (at, (name, value)) in members.iter().take(MAX_MEMBERS).enumerate() {
                if at > 0 {
                    out.push(',');
                }
                out.push_str(name_of(name));
                out.push(':');
                match depth < MAX_DEPTH {
                    true => write(value, depth + 1, out),
                    false => out.push('…'),
                }
            }
            if members.len() > MAX_MEMBERS {
                out.push_str(",…");
            }
            out.push('}');
        }
    }
}

/// A member's name, unless it looks like data: ids and file names are keys, too.
pub fn name_of(name: &str) -> &str {
    let plain = !name.is_empty()
        && name.len() <= MAX_NAME
        && name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
    if plain { name } else { "*" }
}

fn cut(mut text: String) -> String {
    let mut end = text.len().min(MAX_SHAPE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_shape_holds_names_and_types_and_no_value() {
        let secret = "sk-SECRET";
        for (row, value, want) in [
            (
                "values become types",
                json!({"prompt": secret, "n": 5, "on": true, "none": null}),
                "{n:number,none:null,on:flag,prompt:text}",
            ),
            (
                "lists show their first item",
                json!([{"id": 7, "tags": [secret]}, 3]),
                "[{id:number,tags:[text]}]",
            ),
            (
                "names that may be data are left out",
                json!({"31809": 1, secret: 2, "a b": 3, "本": 4}),
                "{*:number,*:number,*:number,*:number}",
            ),
            ("depth ends", json!([[[[[[1]]]]]]), "[[[[[…]]]]]"),
        ] {
            let shape = shape_of(&value);
            assert_eq!(shape, want, "{row}");
            assert!(!shape.contains("SECRET"), "{row}");
        }
        let wide: serde_json::Map<_, _> = (0..500)
            .map(|n| {
                (
                    format!("{}{}", "a".repeat(n % 30 + 1), "b".repeat(n / 30)),
                    json!("x"),
                )
            })
            .collect();
        assert!(shape_of(&Value::Object(wide)).len() <= MAX_SHAPE);
        assert_eq!(shape_of_body(b""), "no body");
        assert_eq!(shape_of_body(b"\xff"), "no json");
    }

    #[test]
    fn a_path_keeps_its_words_and_loses_its_ids() {
        for (path, want) in [
            ("/api/chat/new_route", "/api/chat/new_route"),
            ("/api/user/31809/keys", "/api/user/*/keys"),
            ("/api/AKIAEXAMPLE", "/api/*"),
            ("/a%20b/c", "/*/c"),
            ("/", "/"),
        ] {
            assert_eq!(shape_of_path(path), want);
        }
    }

    #[test]
    fn each_shape_is_kept_once_and_only_so_many() {
        let shapes = Shapes::default();
        for n in 0..200u32 {
            shapes.note("mcp", "tool", format!("t{}", n % 100));
        }
        let seen = shapes.seen();
        assert_eq!(seen.len(), MAX_SHAPES);
        assert_eq!(seen.first().map(|d| d.count), Some(2));
    }
}
