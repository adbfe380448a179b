//! What a tool is and what it returns; the seam by which a server brings its own.

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value, json};

/// One entry of `tools/list`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tool {
    pub name: String,
    pub description: String,
    /// JSON Schema of the arguments; `type` is `object`.
    #[serde(rename = "inputSchema")]
    pub input_schema: Value,
}

impl Tool {
    /// Checks the top level against the schema: required members are there, and a member with a
    /// plain `type` has that type. Depth and formats are the tool's own business.
    pub fn check(&self, arguments: &Map<String, Value>) -> Result<(), String> {
        let required = self.input_schema.get("required").and_then(Value::as_array);
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            if !arguments.contains_key(name) {
                return Err(format!("argument \"{name}\" is missing"));
            }
        }
        let properties = self
            .input_schema
            .get("properties")
            .and_then(Value::as_object);
        for (name, schema) in properties.into_iter().flatten() {
            let (Some(value), Some(kind)) = (
                arguments.get(name),
                schema.get("type").and_then(Value::as_str),
            ) else {
                continue;
            };
            if !is_of_type(value, kind) {
                return Err(format!("argument \"{name}\" must be of type {kind}"));
            }
        }
        Ok(())
    }
}

fn is_of_type(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "integer" => value.as_f64().is_some_and(|n| n.fract() == 0.0),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        // A type of a later schema dialect: not ours to refuse.
        _ => true,
    }
}

/// The tools of one server. The order is the order of `tools/list` and must not change between
/// calls: agents put the list into the prompt, and a stable prompt keeps the LLM's cache warm.
pub trait ToolSet: Send + Sync {
    fn tools(&self) -> &[Tool];

    /// Judges the arguments before the tool runs; the error goes to the model as text.
    fn check(&self, tool: &Tool, arguments: &Map<String, Value>) -> Result<(), String> {
        tool.check(arguments)
    }

    fn find(&self, name: &str) -> Option<&Tool> {
        self.tools().iter().find(|t| t.name == name)
    }
}

/// A server without tools: every client accepts an empty list (WIRE.md 4.1).
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTools;

impl ToolSet for NoTools {
    fn tools(&self) -> &[Tool] {
        &[]
    }
}

/// One block of a tool's answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Text(String),
    Image { base64: String, mime: &'static str },
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Content::Text(text) => {
                let mut m = s.serialize_map(Some(2))?;
                m.serialize_entry("type", "text")?;
                m.serialize_entry("text", text)?;
                m.end()
            }
            Content::Image { base64, mime } => {
                let mut m = s.serialize_map(Some(3))?;
                m.serialize_entry("type", "image")?;
                m.serialize_entry("data", base64)?;
                m.serialize_entry("mimeType", mime)?;
                m.end()
            }
        }
    }
}

/// Result of `tools/call`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ToolResult {
    pub content: Vec<Content>,
    #[serde(rename = "isError")]
    pub is_error: bool,
}

impl ToolResult {
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            content: vec![Content::Text(text.into())],
            is_error: false,
        }
    }

    /// The plugin's envelope around a result (WIRE.md 4.2): text for the model, `data` and the
    /// page's `ext` cards.
    pub fn envelope(answer: &str, data: Value, ext: Value) -> Self {
        Self::text(json!({"answer": answer, "data": data, "ext": ext}).to_string())
    }

    /// A failure, in words for the model.
    pub fn error(text: impl Into<String>) -> Self {
        Self {
            content: vec![Content::Text(text.into())],
            is_error: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_checked_against_the_top_of_the_schema() {
        let tool = Tool {
            name: "search_node".into(),
            description: "d".into(),
            input_schema: json!({
                "type": "object",
                "properties": {
                    "query": {"type": "string"}, "limit": {"type": "integer"},
                    "tags": {"type": "array"}, "any": {}
                },
                "required": ["query"]
            }),
        };
        for (row, arguments, want) in [
            ("all there", json!({"query": "a", "limit": 3}), Ok(())),
            (
                "a whole number as a float",
                json!({"query": "a", "limit": 3.0}),
                Ok(()),
            ),
            ("an extra member", json!({"query": "a", "more": 1}), Ok(())),
            (
                "no type asked for",
                json!({"query": "a", "any": null}),
                Ok(()),
            ),
            (
                "a required one is missing",
                json!({"limit": 3}),
                Err("argument \"query\" is missing"),
            ),
            (
                "a list where a text belongs",
                json!({"query": ["a"]}),
                Err("argument \"query\" must be of type string"),
            ),
            (
                "a fraction where a count belongs",
                json!({"query": "a", "limit": 1.5}),
                Err("argument \"limit\" must be of type integer"),
            ),
        ] {
            let arguments = arguments.as_object().expect("object").clone();
            assert_eq!(tool.check(&arguments), want.map_err(str::to_owned), "{row}");
        }
    }

    #[test]
    fn each_type_of_a_schema_is_its_own_and_an_unknown_one_is_let_be() {
        let samples = [
            ("string", json!("a")),
            ("integer", json!(1)),
            ("number", json!(1.5)),
            ("boolean", json!(true)),
            ("array", json!([])),
            ("object", json!({})),
            ("null", json!(null)),
        ];
        for (kind, _) in &samples {
            for (of, value) in &samples {
                let want = kind == of || (*kind, *of) == ("number", "integer");
                assert_eq!(is_of_type(value, kind), want, "{value} as {kind}");
            }
        }
        assert!(is_of_type(&json!(1), "a type of a later dialect"));
    }

    #[test]
    fn results_have_the_wire_shape() {
        let envelope = ToolResult::envelope("done", json!([1]), json!(null));
        let Some(Content::Text(text)) = envelope.content.first() else {
            panic!("an envelope is text");
        };
        assert_eq!(
            serde_json::from_str::<Value>(text).expect("json"),
            json!({"answer": "done", "data": [1], "ext": null})
        );
        assert_eq!(
            serde_json::to_value(ToolResult::text("t")).expect("json"),
            json!({"content": [{"type": "text", "text": "t"}], "isError": false})
        );
        let image = Content::Image {
            base64: "QQ==".into(),
            mime: "image/png",
        };
        assert_eq!(
            serde_json::to_value(image).expect("json"),
            json!({"type": "image", "data": "QQ==", "mimeType": "image/png"})
        );
    }
}
