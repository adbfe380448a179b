//! A bounded look at a JSON object: its members by name, each left unparsed.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// More members than any request of the plugin has (WIRE.md 12 to 18: at most eight).
const MAX_MEMBERS: usize = 64;

/// Members of a JSON object. A name that stands twice keeps its last value, as in the vendor's
/// Python.
#[derive(Debug)]
pub struct Fields<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    /// `None` if the body is no JSON object, or one with more than 64 members.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// The member as a `T`; `None` if absent or of another shape.
    pub fn read<T: Deserialize<'a>>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.0.get(name)?.get()).ok()
    }

    pub fn has_other_than(&self, known: &[&str]) -> bool {
        self.0.keys().any(|name| !known.contains(&name.as_str()))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = BTreeMap<String, &'de RawValue>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry()? {
                    members.insert(name, value);
                    if members.len() > MAX_MEMBERS {
                        return Err(A::Error::custom("too many members"));
                    }
                }
                Ok(members)
            }
        }
        d.deserialize_map(Members).map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_by_name_and_shape() {
        let fields = Fields::parse(br#"{"a":"x","b":[1,2],"a":"y"}"#).expect("object");
        assert_eq!(fields.read::<String>("a").as_deref(), Some("y"));
        assert_eq!(fields.read::<Vec<u8>>("b"), Some(vec![1, 2]));
        assert_eq!(fields.read::<String>("b"), None);
        assert_eq!(fields.read::<String>("c"), None);
        assert!(!fields.has_other_than(&["a", "b", "c"]));
        assert!(fields.has_other_than(&["a"]));
    }

    #[test]
    fn what_is_no_small_object_is_refused() {
        let many: String = (0..65).map(|i| format!("\"{i}\":0,")).collect();
        let many = format!("{{{}}}", many.trim_end_matches(','));
        for (row, body) in [
            ("empty", ""),
            ("a list", "[]"),
            ("half", "{\"a\":"),
            ("too many members", many.as_str()),
        ] {
            assert!(Fields::parse(body.as_bytes()).is_none(), "{row}");
        }
    }
}
