//! Token counts as OpenAI-compatible servers report them.

use super::edit::{self, Object};

/// Tokens of one call; `None` where the upstream did not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub prompt: Option<u64>,
    pub completion: Option<u64>,
    pub cached: Option<u64>,
}

impl Usage {
    /// Reads a `usage` object; `None` when it is not an object.
    pub fn parse(text: &str) -> Option<Self> {
        let object = Object::parse(text)?;
        let number = |o: &Object<'_>, key: &str| o.last(key).and_then(edit::unsigned);
        let cached = object
            .last("prompt_tokens_details")
            .and_then(Object::parse)
            .and_then(|details| number(&details, "cached_tokens"));
        Some(Self {
            prompt: number(&object, "prompt_tokens"),
            completion: number(&object, "completion_tokens"),
            cached,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_leniently() {
        let cases = [
            (
                "the full shape",
                r#"{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}"#,
                Some((Some(9), Some(2), Some(4))),
            ),
            (
                "null details",
                r#"{"prompt_tokens":9,"prompt_tokens_details":null}"#,
                Some((Some(9), None, None)),
            ),
            (
                "numbers of a wrong kind",
                r#"{"prompt_tokens":"9","completion_tokens":-1}"#,
                Some((None, None, None)),
            ),
            ("not an object", "null", None),
        ];
        for (name, text, want) in cases {
            let got = Usage::parse(text).map(|u| (u.prompt, u.completion, u.cached));
            assert_eq!(got, want, "{name}");
        }
    }
}
