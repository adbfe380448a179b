//! A question of our own to an LLM, and the JSON object out of whatever it answers.
//!
//! Small local models are the norm: they think aloud, put JSON into a fence or into a sentence, and
//! some servers refuse a schema. So a schema goes along where the server takes it ([`Form::Schema`]), stands
//! in the prompt where it does not, and the answer is judged either way.
//!
//! Called by `emulator::asking`. It judges the form of an answer; what it means is the caller's to check.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::think::ThinkFilter;

/// Objects of one answer that are tried: prose may hold braces of its own.
const MAX_TRIED: usize = 16;
/// Largest piece of a bad answer that is shown to the model again.
const MAX_SHOWN: usize = 4 << 10;

/// What an answer has to look like.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// `[a-z_]+`: a name for the server.
    pub name: &'static str,
    /// JSON schema of one object. Every object in it lists all its members as required and allows no
    /// others: OpenAI's strict mode, and the best that grammars can enforce.
    pub schema: Value,
}

/// How a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// With `response_format`: the server keeps the model to the schema.
    Schema,
    /// With the schema in the prompt alone: every server takes it.
    Plain,
}

/// A conversation of our own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Talk {
    pub system: String,
    pub user: String,
    /// Answers that were no good, each with what is wrong with it.
    pub again: Vec<(String, String)>,
}

/// Why an answer cannot be used; for the log, and for the model that gave it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRead {
    #[error("it holds no JSON object")]
    NoObject,
    #[error("its JSON object is cut off before its end; a shorter one is needed")]
    Cut,
    #[error("its JSON object is not as the schema says: {0}")]
    Form(String),
}

impl Talk {
    /// The body of a chat request. The model is the gateway's to choose.
    pub fn request(
        &self,
        shape: Option<(&Shape, Form)>,
        max_tokens: Option<u32>,
        stream: bool,
    ) -> Vec<u8> {
        let mut system = self.system.clone();
        if let Some((shape, _)) = shape {
            // In both forms: a grammar says what may be written, not what is meant.
            system.push_str("\n\nAnswer with one JSON object of this schema, and nothing else:\n");
            system.push_str(&shape.schema.to_string());
        }
        let mut messages = vec![
            json!({"role": "system", "content": system}),
            json!({"role": "user", "content": self.user}),
        ];
        for (answer, wrong) in &self.again {
            messages.push(json!({"role": "assistant", "content": clip(answer, MAX_SHOWN)}));
            messages.push(json!({"role": "user", "content": format!(
                "That answer cannot be used: {wrong}. Give the whole answer again, corrected."
            )}));
        }
        let mut body = json!({"messages": messages, "stream": stream});
        if let Value::Object(body) = &mut body {
            if let Some((shape, Form::Schema)) = shape {
                body.insert(
                    "response_format".into(),
                    json!({"type": "json_schema", "json_schema": {
                        "name": shape.name, "strict": true, "schema": shape.schema,
                    }}),
                );
                body.insert("temperature".into(), json!(0.2));
            }
            if let Some(limit) = max_tokens {
                body.insert("max_tokens".into(), json!(limit));
            }
        }
        body.to_string().into_bytes()
    }
}

/// The first object of an answer that is a `T`, whatever stands around it.
pub fn read<T: DeserializeOwned>(answer: &str) -> Result<T, NotRead> {
    let thought_away = ThinkFilter::part_whole(answer).visible;
    let mut worst = NotRead::NoObject;
    for text in [thought_away.as_str(), answer] {
        let mut rest = text;
        for _ in 0..MAX_TRIED {
            let Some(at) = memchr::memchr(b'{', rest.as_bytes()) else {
                break;
            };
            rest = rest.get(at..).unwrap_or_default();
            // Reads one value and leaves what follows alone.
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
            let skip = match values.next() {
                Some(Ok(value)) => match serde_json::from_value(value) {
                    Ok(read) => return Ok(read),
                    Err(error) => {
                        worst = NotRead::Form(clip(&error.to_string(), 300).to_owned());
                        values.byte_offset()
                    }
                },
                Some(Err(error)) if error.is_eof() && worst == NotRead::NoObject => {
                    worst = NotRead::Cut;
                    1
                }
                Some(Err(_)) | None => 1,
            };
            rest = rest.get(skip.max(1)..).unwrap_or_default();
        }
        if worst != NotRead::NoObject {
            break;
        }
    }
    Err(worst)
}

/// At most `max` bytes, whole characters.
pub fn clip(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev();
    let mut whole = end.filter(|at| text.is_char_boundary(*at));
    whole
        .next()
        .and_then(|at| text.get(..at))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Said {
        prompts: Vec<String>,
    }

    fn said(prompts: &[&str]) -> Said {
        Said {
            prompts: prompts.iter().map(|p| (*p).to_owned()).collect(),
        }
    }

    #[test]
    fn the_object_is_found_in_whatever_stands_around_it() {
        for (row, answer) in [
            ("the object alone", r#"{"prompts":["a"]}"#),
            ("white space around it", "\n\n {\"prompts\": [\"a\"]}\n"),
            ("a fence of JSON", "```json\n{\"prompts\":[\"a\"]}\n```"),
            (
                "a fence without a language",
                "```\n{\"prompts\":[\"a\"]}\n```",
            ),
            (
                "prose before and behind",
                "Sure! Here you are:\n{\"prompts\":[\"a\"]}\nShall I go on?",
            ),
            (
                "prose with braces of its own",
                "A prompt {like this} and {} are none: {\"prompts\":[\"a\"]}",
            ),
            (
                "thinking before it",
                "<think>I could say {\"prompts\":[\"b\"]} but no</think>{\"prompts\":[\"a\"]}",
            ),
            (
                "thinking that the template began",
                "I could say {\"prompts\":[\"b\"]}</think>\n\n{\"prompts\":[\"a\"]}",
            ),
            (
                "an answer that never left its thinking",
                "<think>So the answer is {\"prompts\":[\"a\"]}",
            ),
            (
                "an example of another shape first",
                r#"{"example":1} {"prompts":["a"]}"#,
            ),
            (
                "two answers: the first counts",
                r#"{"prompts":["a"]} {"prompts":["b"]}"#,
            ),
        ] {
            assert_eq!(read::<Said>(answer), Ok(said(&["a"])), "{row}");
        }
        let braces = r#"{"prompts":["a } b {", "\"} "]}"#;
        assert_eq!(
            read::<Said>(braces),
            Ok(said(&["a } b {", "\"} "])),
            "braces inside strings are text"
        );
    }

    #[test]
    fn what_is_no_answer_says_why() {
        for (row, answer, want) in [
            ("nothing", "", NotRead::NoObject),
            ("a refusal", "I cannot help with that.", NotRead::NoObject),
            ("a list", r#"["a"]"#, NotRead::NoObject),
            ("cut off", r#"{"prompts":["a","#, NotRead::Cut),
            (
                "cut off in a fence",
                "```json\n{\"prompts\":[\"a\"",
                NotRead::Cut,
            ),
        ] {
            assert_eq!(read::<Said>(answer), Err(want), "{row}");
        }
        for (row, answer, word) in [
            ("another member", r#"{"prompt":["a"]}"#, "unknown field"),
            ("another type", r#"{"prompts":"a"}"#, "invalid type"),
            (
                "a tool call",
                r#"{"name":"f","arguments":{}}"#,
                "unknown field",
            ),
        ] {
            let got = read::<Said>(answer).expect_err(row).to_string();
            assert!(got.contains(word), "{row}: {got}");
        }
    }

    /// Each opening brace begins a look; a long row of them must not make the look square.
    #[test]
    fn an_endless_row_of_braces_is_given_up() {
        assert!(read::<Said>(&"{".repeat(1 << 20)).is_err());
        assert!(read::<Said>(&"{\"a\":".repeat(1 << 18)).is_err());
    }

    #[test]
    fn a_request_has_the_schema_where_it_belongs() {
        let talk = Talk {
            system: "Be short.".into(),
            user: "a cat".into(),
            again: vec![("no".into(), "it holds no JSON object".into())],
        };
        let shape = Shape {
            name: "prompts",
            schema: json!({"type": "object"}),
        };
        let body = |shape, limit, stream| -> Value {
            serde_json::from_slice(&talk.request(shape, limit, stream)).expect("JSON")
        };
        let strict = body(Some((&shape, Form::Schema)), Some(9), false);
        assert_eq!(strict["response_format"]["json_schema"]["name"], "prompts");
        assert_eq!(strict["response_format"]["json_schema"]["strict"], true);
        assert_eq!(strict["max_tokens"], 9);
        let plain = body(Some((&shape, Form::Plain)), None, false);
        assert_eq!(plain.get("response_format"), None);
        assert_eq!(plain.get("temperature"), None);
        assert_eq!(plain.get("max_tokens"), None);
        for asked in [&strict, &plain] {
            let system = asked["messages"][0]["content"].as_str().unwrap_or_default();
            assert!(system.ends_with(r#"{"type":"object"}"#), "{system}");
            assert_eq!(asked["messages"][1]["content"], "a cat");
            assert_eq!(asked["messages"][2]["role"], "assistant");
            let again = asked["messages"][3]["content"].as_str().unwrap_or_default();
            assert!(again.contains("it holds no JSON object"), "{again}");
        }
        let free = body(None, None, true);
        assert_eq!(free["messages"][0]["content"], "Be short.");
        assert_eq!(free["stream"], true);
    }
}
