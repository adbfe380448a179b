//! Takes a tree apart key by key, collecting every mistake with its path and line.

use std::fmt::Display;

use super::{
    error::Errors,
    tree::{Key, Node, Value},
};

/// A group of keys. Every key is asked for by [`Section::take`]; [`Section::close`] names the rest.
pub(crate) struct Section {
    path: String,
    line: u64,
    entries: Vec<(Key, Node)>,
    known: Vec<&'static str>,
}

/// A value and where it stands.
pub(crate) struct Field {
    pub(crate) path: String,
    pub(crate) line: u64,
    pub(crate) value: Value,
}

impl Section {
    /// An empty value (`key:` with nothing after it) is no such key at all.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Field> {
        self.known.push(key);
        let at = self.entries.iter().position(|(k, _)| k.name == key)?;
        let (_, node) = self.entries.remove(at);
        let path = join(&self.path, key);
        (!matches!(node.value, Value::Null)).then_some(Field {
            path,
            line: node.line,
            value: node.value,
        })
    }

    /// Takes the key where its value is `off`; otherwise it is still there.
    pub(crate) fn take_off(&mut self, key: &'static str) -> bool {
        let off = |node: &Node| match &node.value {
            Value::Text(text) => text == "off",
            Value::Bool(on) => !on,
            Value::Null | Value::Integer(_) | Value::Float | Value::List(_) | Value::Map(_) => {
                false
            }
        };
        let found = self
            .entries
            .iter()
            .any(|(k, node)| k.name == key && off(node));
        found && self.take(key).is_some()
    }

    /// As [`Section::take`], with an error where the key is missing.
    pub(crate) fn require(
        &mut self,
        key: &'static str,
        example: &str,
        errors: &mut Errors,
    ) -> Option<Field> {
        let field = self.take(key);
        if field.is_none() {
            let path = join(&self.path, key);
            errors.add(
                &path,
                Some(self.line),
                format!("is missing: write {key}: {example}"),
            );
        }
        field
    }

    pub(crate) fn error(&self, errors: &mut Errors, message: impl Into<String>) {
        errors.add(&self.path, Some(self.line), message);
    }

    pub(crate) fn close(self, errors: &mut Errors) {
        for (key, _) in &self.entries {
            let near = self.known.iter().find(|k| is_near(k, &key.name));
            let message = match near {
                Some(known) => format!("is not a known key: did you mean {known}?"),
                None => format!(
                    "is not a known key: known here are {}",
                    self.known.join(", ")
                ),
            };
            errors.add(&join(&self.path, &key.name), Some(key.line), message);
        }
    }
}

impl Field {
    pub(crate) fn root(node: Node) -> Self {
        Self {
            path: String::new(),
            line: node.line,
            value: node.value,
        }
    }

    pub(crate) fn error(&self, errors: &mut Errors, message: impl Into<String>) {
        errors.add(&self.path, Some(self.line), message);
    }

    fn wrong_type(&self, errors: &mut Errors, want: &str) {
        self.error(errors, format!("is {}: write {want}", self.value.kind()));
    }

    pub(crate) fn section(self, errors: &mut Errors) -> Option<Section> {
        match self.value {
            Value::Map(entries) => Some(Section {
                path: self.path,
                line: self.line,
                entries,
                known: Vec::new(),
            }),
            Value::Null => Some(Section {
                path: self.path,
                line: self.line,
                entries: vec![],
                known: vec![],
            }),
            _ => {
                self.wrong_type(errors, "keys with values, one per line");
                None
            }
        }
    }

    /// A group whose keys are the user's own names.
    pub(crate) fn named(self, errors: &mut Errors) -> Vec<(String, Field)> {
        match self.value {
            Value::Map(entries) => entries
                .into_iter()
                .map(|(key, node)| {
                    let path = join(&self.path, &key.name);
                    (
                        key.name,
                        Field {
                            path,
                            line: node.line,
                            value: node.value,
                        },
                    )
                })
                .collect(),
            _ => {
                self.wrong_type(errors, "name: value, one per line");
                Vec::new()
            }
        }
    }

    pub(crate) fn list(self, errors: &mut Errors) -> Option<Vec<Field>> {
        match self.value {
            Value::List(nodes) => Some(
                (0..)
                    .zip(nodes)
                    .map(|(i, node): (usize, Node)| Field {
                        path: format!("{}[{i}]", self.path),
                        line: node.line,
                        value: node.value,
                    })
                    .collect(),
            ),
            _ => {
                self.wrong_type(errors, "a list, as in [a, b]");
                None
            }
        }
    }

    /// A list that restricts something: an empty one would match nothing, so it is a mistake.
    pub(crate) fn some_list<T>(
        self,
        errors: &mut Errors,
        item: impl Fn(Field, &mut Errors) -> Option<T>,
    ) -> Vec<T> {
        let (path, line) = (self.path.clone(), self.line);
        let Some(fields) = self.list(errors) else {
            return Vec::new();
        };
        if fields.is_empty() {
            errors.add(
                &path,
                Some(line),
                "is an empty list: name at least one, or leave it out",
            );
        }
        fields.into_iter().filter_map(|f| item(f, errors)).collect()
    }

    pub(crate) fn text(self, errors: &mut Errors) -> Option<String> {
        self.text_like(errors, "text")
    }

    /// `what` says what the text is, with an example: "a host such as example.com".
    pub(crate) fn text_like(self, errors: &mut Errors, what: &str) -> Option<String> {
        match self.value {
            Value::Text(text) => Some(text),
            Value::Integer(_) | Value::Float | Value::Bool(_) => {
                let kind = self.value.kind();
                self.error(
                    errors,
                    format!("is {kind}: write {what}, in quotes if it is digits"),
                );
                None
            }
            Value::Null | Value::List(_) | Value::Map(_) => {
                self.wrong_type(errors, what);
                None
            }
        }
    }

    pub(crate) fn parse<T, E: Display>(
        self,
        errors: &mut Errors,
        what: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let (path, line) = (self.path.clone(), self.line);
        let text = self.text_like(errors, what)?;
        parse(&text)
            .map_err(|e| errors.add(&path, Some(line), e.to_string()))
            .ok()
    }

    pub(crate) fn boolean(self, errors: &mut Errors) -> Option<bool> {
        match self.value {
            Value::Bool(b) => Some(b),
            _ => {
                self.wrong_type(errors, "true or false");
                None
            }
        }
    }

    pub(crate) fn integer(self, errors: &mut Errors, low: u64, high: u64) -> Option<u64> {
        let number = match self.value {
            Value::Integer(n) => u64::try_from(n).ok().filter(|n| (low..=high).contains(n)),
            _ => None,
        };
        if number.is_none() {
            self.error(
                errors,
                format!("is not in range: write a number from {low} to {high}"),
            );
        }
        number
    }

    /// `off` (or `false`), as listeners take it.
    pub(crate) fn is_off(&self) -> bool {
        match &self.value {
            Value::Text(text) => text == "off",
            Value::Bool(on) => !on,
            Value::Null | Value::Integer(_) | Value::Float | Value::List(_) | Value::Map(_) => {
                false
            }
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// One or two slips away, or the beginning of it: `host` for `hosts`, `listen` for `listeners`.
fn is_near(known: &str, given: &str) -> bool {
    let given = given.to_ascii_lowercase().replace('-', "_");
    let allowed = if known.len() <= 5 { 1 } else { 2 };
    let close = || distance(known.as_bytes(), given.as_bytes()) <= allowed;
    (3..64).contains(&given.len()) && (given.len() > 3 && known.starts_with(&given) || close())
}

/// Levenshtein, one row at a time.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, above) in b.iter().zip(row.iter().skip(1)) {
            let substituted = diagonal + usize::from(x != y);
            left = substituted.min(left + 1).min(above + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_keys_are_suggested() {
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"", b"ab"), 2);
        for (known, given, want) in [
            ("hosts", "host", true),
            ("methods", "metods", true),
            ("base_url", "base-url", true),
            ("listeners", "listen", true),
            ("hosts", "paths", false),
            ("model", "m", false),
        ] {
            assert_eq!(is_near(known, given), want, "{known} {given}");
        }
    }
}
