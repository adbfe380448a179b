//! YAML as a tree of nodes that know their line.
//!
//! Serde stops at the first wrong field; a person wants every mistake at once. So the text is read
//! into this tree first (which can fail only on what is no YAML), and `reader` takes it apart.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::{DuplicateKeyPolicy, MergeKeyPolicy, Spanned};

use super::error::Errors;

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) line: u64,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    /// No setting takes one, so its value is not kept.
    Float,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) line: u64,
    pub(crate) name: String,
}

impl Value {
    /// With its article, for "is a list".
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "empty",
            Value::Bool(_) => "true or false",
            Value::Integer(_) | Value::Float => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a group of keys",
        }
    }
}

/// Reads one YAML document. An empty one is `Null`.
pub(crate) fn parse(yaml: &str, errors: &mut Errors) -> Option<Node> {
    // YAML 1.1's yes/no/on/off stay text, so that `off` is a word that listeners understand.
    // Merge keys would hide which line a value came from.
    let options = serde_yaml::options! {
        strict_booleans: true,
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        with_snippet: false,
        // A hundred thousand rules fit; aliases cannot blow a small file up.
        budget: serde_yaml::budget! {
            max_events: 8_000_000,
            max_nodes: 4_000_000,
            max_depth: 32,
            max_documents: 2,
        },
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: 100_000 },
    };
    if let Some((line, _)) = (1..).zip(yaml.lines()).find(|(_, l)| indented_by_tab(l)) {
        errors.add(
            "",
            Some(line),
            "a tab stands in the indentation: indent with spaces",
        );
        return None;
    }
    match serde_yaml::from_str_with_options::<Option<Node>>(yaml, options) {
        Ok(Some(node)) => Some(node),
        Ok(None) => Some(Node {
            line: 1,
            value: Value::Null,
        }),
        Err(e) => {
            let line = e.location().map(|l| l.line()).filter(|l| *l > 0);
            errors.add("", line, describe(&e));
            None
        }
    }
}

fn indented_by_tab(line: &str) -> bool {
    let indent = line
        .find(|c| c != ' ' && c != '\t')
        .and_then(|end| line.get(..end));
    indent.is_some_and(|i| i.contains('\t')) && !line.trim_start().starts_with('#')
}

fn describe(e: &serde_yaml::Error) -> String {
    use serde_yaml::Error as E;
    match e.without_snippet() {
        E::AliasError { error, .. } => describe(error),
        E::DuplicateMappingKey { key: Some(key), .. } => {
            format!("key {key:?} is there twice: keep one")
        }
        E::DuplicateMappingKey { key: None, .. } => "a key is there twice: keep one".into(),
        E::MergeKeyNotAllowed { .. } => "'<<' is not known here: write the keys out".into(),
        E::Budget { .. } | E::AliasReplayLimitExceeded { .. } => {
            "holds more than is read here, or nests too deep: write fewer or flatter values".into()
        }
        E::MultipleDocuments { .. } => "a second document begins: write one document".into(),
        other => {
            let text = other.to_string();
            let first = text.lines().next().unwrap_or_default();
            format!("not valid YAML: {first}")
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(d)?;
        Ok(Node {
            line: spanned.referenced.line(),
            value: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        Value::deserialize(d)
    }
    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Integer(v.into()))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::Integer(v.into()))
    }
    fn visit_i128<E>(self, v: i128) -> Result<Value, E> {
        Ok(Value::Integer(v))
    }
    fn visit_u128<E>(self, v: u128) -> Result<Value, E> {
        Ok(Value::Integer(i128::try_from(v).unwrap_or(i128::MAX)))
    }
    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Float)
    }
    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::Text(v.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = seq.next_element()? {
            list.push(node);
        }
        Ok(Value::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, node)) = map.next_entry::<Spanned<String>, Node>()? {
            let key = Key {
                line: key.referenced.line(),
                name: key.value,
            };
            entries.push((key, node));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_know_their_lines_and_types() {
        let mut errors = Errors::default();
        let yaml = "a: 1\nb:\n  - x\n  - off\nc: { d: true, e: null }\nf: 1.5\ng: \"2\"\n";
        let node = parse(yaml, &mut errors).unwrap();
        let Value::Map(entries) = &node.value else {
            panic!("{node:?}")
        };
        let shown: Vec<_> = entries
            .iter()
            .map(|(k, n)| format!("{}@{} {} {:?}", k.name, k.line, n.line, n.value.kind()))
            .collect();
        assert_eq!(
            shown,
            [
                "a@1 1 \"a number\"",
                "b@2 3 \"a list\"",
                "c@5 5 \"a group of keys\"",
                "f@6 6 \"a number\"",
                "g@7 7 \"text\"",
            ]
        );
        let Value::List(list) = &entries[1].1.value else {
            panic!()
        };
        assert!(matches!(&list[1], Node { line: 4, value: Value::Text(t) } if t == "off"));
        assert!(errors.is_empty());
    }

    #[test]
    fn what_is_no_yaml_is_one_error_with_its_line() {
        let rows = [
            ("a: 1\na: 2\n", 2, "key \"a\" is there twice: keep one"),
            (
                "a:\n\tb: 1\n",
                2,
                "a tab stands in the indentation: indent with spaces",
            ),
            (
                "a: 1
---
b: 2
",
                3,
                "a second document begins: write one document",
            ),
            (
                "a: &x {b: 1}\nc:\n  <<: *x\n",
                3,
                "'<<' is not known here: write the keys out",
            ),
        ];
        for (yaml, line, want) in rows {
            let mut errors = Errors::default();
            assert!(parse(yaml, &mut errors).is_none(), "{yaml}");
            let errors = errors.into_errors("x").errors;
            assert_eq!(errors.len(), 1);
            assert_eq!(
                (errors[0].line, errors[0].message.as_str()),
                (Some(line), want),
                "{yaml}"
            );
        }
        let deep = format!("a: {}1{}", "[".repeat(60), "]".repeat(60));
        let bomb = "a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n\
                    c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n\
                    e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
        for yaml in [deep.as_str(), bomb] {
            let mut errors = Errors::default();
            assert!(parse(yaml, &mut errors).is_none());
            let shown = errors.into_errors("x").to_string();
            assert!(shown.contains("more than is read here"), "{shown}");
        }
        let mut errors = Errors::default();
        assert!(parse("a: [1\nb: 2\n", &mut errors).is_none());
        let shown = errors.into_errors("x").to_string();
        assert!(shown.contains("not valid YAML"), "{shown}");
        assert!(matches!(
            parse("", &mut Errors::default()),
            Some(Node {
                value: Value::Null,
                ..
            })
        ));
    }
}
