//! The exact bytes that a receipt's signature is over (docs/RECEIPT.md).
//!
//! JSON with its keys sorted by code point, no spaces, and nothing escaped that need not be: what
//! Python's `json.dumps(r, sort_keys=True, separators=(",", ":"), ensure_ascii=False)` writes. So a
//! receipt may be indented or sorted anew and stays good; a changed value does not. Only what all
//! readers read alike is taken: whole numbers from 0 on, and each key once.

use std::{collections::BTreeMap, fmt};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// JSON that every reader reads alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plain {
    Null,
    Bool(bool),
    Number(u64),
    Text(String),
    List(Vec<Plain>),
    Object(BTreeMap<String, Plain>),
}

impl Plain {
    /// `None` where it holds what is not plain; ours never does.
    pub fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Null => Plain::Null,
            Value::Bool(yes) => Plain::Bool(*yes),
            Value::Number(number) => Plain::Number(number.as_u64()?),
            Value::String(text) => Plain::Text(text.clone()),
            Value::Array(items) => Plain::List(items.iter().map(Self::of).collect::<Option<_>>()?),
            Value::Object(fields) => Plain::Object(
                fields
                    .iter()
                    .map(|(key, value)| Some((key.clone(), Self::of(value)?)))
                    .collect::<Option<_>>()?,
            ),
        })
    }

    pub fn value(&self) -> Value {
        match self {
            Plain::Null => Value::Null,
            Plain::Bool(yes) => Value::Bool(*yes),
            Plain::Number(number) => Value::from(*number),
            Plain::Text(text) => Value::String(text.clone()),
            Plain::List(items) => Value::Array(items.iter().map(Self::value).collect()),
            Plain::Object(fields) => Value::Object(
                fields
                    .iter()
                    .map(|(key, value)| (key.clone(), value.value()))
                    .collect(),
            ),
        }
    }

    pub fn field(&self, name: &str) -> Option<&Plain> {
        match self {
            Plain::Object(fields) => fields.get(name),
            Plain::Null | Plain::Bool(_) | Plain::Number(_) | Plain::Text(_) | Plain::List(_) => {
                None
            }
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Plain::Text(text) => Some(text),
            Plain::Null | Plain::Bool(_) | Plain::Number(_) | Plain::List(_) | Plain::Object(_) => {
                None
            }
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Plain::Null => out.extend_from_slice(b"null"),
            Plain::Bool(true) => out.extend_from_slice(b"true"),
            Plain::Bool(false) => out.extend_from_slice(b"false"),
            Plain::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Plain::Text(text) => quoted(text, out),
            Plain::List(items) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            // In order: UTF-8 sorts as its code points do.
            Plain::Object(fields) => {
                out.push(b'{');
                for (at, (key, value)) in fields.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    quoted(key, out);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }
}

/// As serde_json and Python write text: the quote, the backslash and control characters escaped.
fn quoted(text: &str, out: &mut Vec<u8>) {
    // Writing a text into memory cannot fail; were it to, no signature would fit.
    if let Ok(text) = serde_json::to_vec(text) {
        out.extend_from_slice(&text);
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Plain;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a receipt's JSON: whole numbers from 0 on, and each key once")
            }
            fn visit_unit<E>(self) -> Result<Plain, E> {
                Ok(Plain::Null)
            }
            fn visit_bool<E>(self, yes: bool) -> Result<Plain, E> {
                Ok(Plain::Bool(yes))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Plain, E> {
                Ok(Plain::Number(number))
            }
            fn visit_str<E>(self, text: &str) -> Result<Plain, E> {
                Ok(Plain::Text(text.to_owned()))
            }
            fn visit_string<E>(self, text: String) -> Result<Plain, E> {
                Ok(Plain::Text(text))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Plain, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Plain::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Plain, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, Plain>()? {
                    if fields.insert(key, value).is_some() {
                        return Err(A::Error::custom("a key stands twice"));
                    }
                }
                Ok(Plain::Object(fields))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
