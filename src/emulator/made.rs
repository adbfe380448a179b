//! Workflows that were made here, kept until the page asks for them: a card holds an id alone, and the
//! page fetches the workflow when the card is accepted (WIRE.md 14).
//!
//! `tools::generate` puts them in; whoever answers `get_optimized_workflow` takes them from here by the
//! key of a [`WorkflowId::Generated`](crate::comfy::WorkflowId). A key cannot be guessed, so nobody finds
//! another user's. In memory, bounded: the oldest go first.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use serde_json::Value;
use uuid::Uuid;

const MAX_KEPT: usize = 128;
/// JSON text of one workflow.
pub const MAX_BYTES: usize = 512 << 10;

/// Pictures of them, below an address that leads here.
const PICTURES: &str = "/api/chat/picture/";
const PICTURE_ENDS: &str = ".svg";

/// Where the page finds the picture of a workflow, below the address of the stand-in.
pub fn picture_of(key: &str) -> String {
    format!("{PICTURES}{key}{PICTURE_ENDS}")
}

/// `None`: the path is no picture's.
pub fn key_of_picture(path: &str) -> Option<&str> {
    let key = path.strip_prefix(PICTURES)?.strip_suffix(PICTURE_ENDS)?;
    let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric());
    is_key.then_some(key)
}

/// One workflow.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    pub name: String,
    /// In the API's form: the page sets values by name then, and lays the nodes out itself.
    pub workflow: Value,
}

/// Shared by who makes workflows and who gives them to the page.
#[derive(Default)]
pub struct MadeWorkflows {
    kept: Mutex<VecDeque<(String, Arc<Made>)>>,
}

impl std::fmt::Debug for MadeWorkflows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MadeWorkflows({})", self.kept.lock().len())
    }
}

impl MadeWorkflows {
    /// The key to find it by; `None` where it is too large to be kept.
    pub fn keep(&self, made: Made) -> Option<String> {
        if made.workflow.to_string().len() > MAX_BYTES {
            return None;
        }
        let key = Uuid::new_v4().simple().to_string();
        let mut kept = self.kept.lock();
        if kept.len() >= MAX_KEPT {
            kept.pop_front();
        }
        kept.push_back((key.clone(), Arc::new(made)));
        Some(key)
    }

    pub fn find(&self, key: &str) -> Option<Arc<Made>> {
        let kept = self.kept.lock();
        let (_, made) = kept.iter().find(|(own, _)| own == key)?;
        Some(made.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn made(name: usize) -> Made {
        Made {
            name: name.to_string(),
            workflow: json!({}),
        }
    }

    #[test]
    fn a_picture_is_found_by_its_path() {
        assert_eq!(key_of_picture(&picture_of("0a1b")), Some("0a1b"));
        for path in [
            "/api/chat/picture/",
            "/api/chat/picture/.svg",
            "/api/chat/picture/a/b.svg",
            "/x/a.svg",
        ] {
            assert_eq!(key_of_picture(path), None, "{path}");
        }
    }

    #[test]
    fn the_newest_are_found_by_their_key_alone() {
        let all = MadeWorkflows::default();
        let keys: Vec<String> = (0..=MAX_KEPT)
            .map(|n| all.keep(made(n)).expect("it is small"))
            .collect();
        assert_eq!(all.find(&keys[0]), None, "the oldest one is gone");
        for (n, key) in keys.iter().enumerate().skip(1) {
            assert_eq!(all.find(key).as_deref(), Some(&made(n)));
        }
        assert_eq!(all.find(""), None);
        let large = Made {
            workflow: json!("x".repeat(MAX_BYTES)),
            ..made(0)
        };
        assert_eq!(all.keep(large), None);
    }
}
