//! Model lists as local servers give them, and which of them a requested name becomes.

use std::collections::BTreeMap;

use super::{
    edit::{self, Object},
    request::Operation,
};

/// More models than anyone serves; a list beyond it is cut.
const MAX_MODELS: usize = 2000;
/// Parts of names of models that cannot chat, in lower case.
const NO_CHAT: [&str; 7] = [
    "embed", "rerank", "bge-", "e5-", "whisper", "-tts", "minilm",
];

/// One model of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    pub id: String,
    pub owned_by: Option<String>,
    /// Context length in tokens, where the server tells it.
    pub context: Option<u64>,
    /// The upstream's own JSON, if it has the OpenAI shape.
    raw: Option<String>,
}

impl Model {
    pub fn named(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            owned_by: None,
            context: None,
            raw: None,
        }
    }
    pub fn owned(id: impl Into<String>, owner: impl Into<String>) -> Self {
        Self {
            owned_by: Some(owner.into()),
            ..Self::named(id)
        }
    }
    pub fn can_chat(&self) -> bool {
        let id = self.id.to_ascii_lowercase();
        !NO_CHAT.iter().any(|part| id.contains(part))
    }
    /// The model as an OpenAI model object.
    pub fn to_json(&self) -> String {
        self.raw.clone().unwrap_or_else(|| {
            let owner = self.owned_by.as_deref().unwrap_or("local");
            format!(
                r#"{{"id":{},"object":"model","created":0,"owned_by":{}}}"#,
                edit::quote(&self.id),
                edit::quote(owner)
            )
        })
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(id) = edit::string(text) {
            return Some(Self::named(id)).filter(|m| !m.id.is_empty());
        }
        let object = Object::parse(text)?;
        let name = ["id", "model", "name", "key"]
            .into_iter()
            .find_map(|k| object.string(k));
        let id = name.filter(|id| !id.is_empty())?.into_owned();
        let meta = object.last("meta").and_then(Object::parse);
        let context = [
            "max_model_len",
            "context_length",
            "max_context_length",
            "context_window",
        ]
        .into_iter()
        .find_map(|k| object.last(k).and_then(edit::unsigned))
        .or_else(|| {
            let meta = meta?;
            ["n_ctx", "n_ctx_train"]
                .into_iter()
                .find_map(|k| meta.last(k).and_then(edit::unsigned))
        });
        let openai = object.string("id").is_some_and(|own| own == id);
        Some(Self {
            id,
            owned_by: object.string("owned_by").map(|o| o.into_owned()),
            context,
            raw: openai.then(|| object.text().to_owned()),
        })
    }
}

/// What an upstream says it serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelList {
    pub models: Vec<Model>,
}

impl ModelList {
    /// Reads OpenAI's `{"data":[…]}`, Ollama's `{"models":[…]}` or a bare list; `None` for anything
    /// else, so that a stray web server is not taken for an LLM.
    pub fn parse(body: &str) -> Option<Self> {
        let list = match Object::parse(body) {
            Some(object) => object
                .present("data")
                .or_else(|| object.present("models"))?,
            None => body,
        };
        let elements = edit::elements(list)?;
        let models: Vec<Model> = elements
            .iter()
            .take(MAX_MODELS)
            .filter_map(|e| Model::parse(e))
            .collect();
        (elements.is_empty() || !models.is_empty()).then_some(Self { models })
    }

    /// The model of that name; `name` stands for `name:latest`, as Ollama has it.
    pub fn find(&self, id: &str) -> Option<&Model> {
        self.models.iter().find(|m| m.id == id).or_else(|| {
            self.models
                .iter()
                .find(|m| m.id.strip_suffix(":latest") == Some(id))
        })
    }
    pub fn first_chat(&self) -> Option<&Model> {
        self.models
            .iter()
            .find(|m| m.can_chat())
            .or_else(|| self.models.first())
    }
    fn first_embedding(&self) -> Option<&Model> {
        self.models
            .iter()
            .find(|m| m.id.to_ascii_lowercase().contains("embed"))
            .or_else(|| self.models.iter().find(|m| !m.can_chat()))
    }

    /// An OpenAI list: `preferred` first (a page selects the first), models that cannot chat last.
    pub fn to_json(&self, preferred: Option<&str>) -> String {
        let mut sorted: Vec<&Model> = self.models.iter().collect();
        sorted.sort_by_key(|m| (Some(&*m.id) != preferred, !m.can_chat()));
        let items: Vec<String> = sorted.iter().map(|m| m.to_json()).collect();
        format!(r#"{{"object":"list","data":[{}]}}"#, items.join(","))
    }
}

/// What becomes of a name that the upstream does not serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CatchAll {
    /// It goes on as it is, and the upstream refuses it.
    Off,
    /// The upstream's first model that chats.
    #[default]
    First,
    Model(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aliases {
    pub exact: BTreeMap<String, String>,
    pub catch_all: CatchAll,
}

/// A model name for the upstream, and why this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    pub model: Option<String>,
    pub by: ResolvedBy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolvedBy {
    Alias,
    /// The upstream serves that name.
    Known,
    CatchAll,
    /// Nothing is known: it goes on as it came.
    AsAsked,
}

impl Aliases {
    /// `list` is `None` where the upstream's models are not known.
    pub fn resolve(
        &self,
        asked: Option<&str>,
        list: Option<&ModelList>,
        operation: Operation,
    ) -> Resolved {
        let to = |model: &str, by| Resolved {
            model: Some(model.to_owned()),
            by,
        };
        if let Some(target) = asked.and_then(|a| self.exact.get(a)) {
            return to(target, ResolvedBy::Alias);
        }
        if let Some(asked) = asked
            && list.is_some_and(|l| l.find(asked).is_some())
        {
            return to(asked, ResolvedBy::Known);
        }
        if operation == Operation::Embeddings
            && self.catch_all != CatchAll::Off
            && let Some(model) = list.and_then(ModelList::first_embedding)
        {
            return to(&model.id, ResolvedBy::CatchAll);
        }
        let caught = match &self.catch_all {
            CatchAll::Model(model) => Some(&**model),
            CatchAll::First => list.and_then(ModelList::first_chat).map(|m| &*m.id),
            CatchAll::Off => None,
        };
        match caught {
            Some(model) => to(model, ResolvedBy::CatchAll),
            None => Resolved {
                model: asked.map(str::to_owned),
                by: ResolvedBy::AsAsked,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_all_servers_are_read_and_nothing_else_is() {
        let cases = [
            (
                "OpenAI",
                r#"{"object":"list","data":[{"id":"a","object":"model"},{"id":"b"}]}"#,
                Some(vec!["a", "b"]),
            ),
            (
                "Ollama's tags",
                r#"{"models":[{"name":"q:latest","model":"q:latest","size":1}]}"#,
                Some(vec!["q:latest"]),
            ),
            (
                "llama.cpp has both",
                r#"{"models":[{"name":"x.gguf"}],"data":[{"id":"x.gguf","meta":{"n_ctx_train":4096}}]}"#,
                Some(vec!["x.gguf"]),
            ),
            ("a bare list", r#"[{"id":"a"},"b"]"#, Some(vec!["a", "b"])),
            (
                "no model loaded",
                r#"{"object":"list","data":[]}"#,
                Some(vec![]),
            ),
            ("a null list", r#"{"data":null}"#, None),
            ("a web page", "<html>", None),
            ("another API", r#"{"data":[{"title":"x"}]}"#, None),
            ("an error", r#"{"error":{"message":"x"}}"#, None),
        ];
        for (name, body, want) in cases {
            let got = ModelList::parse(body)
                .map(|l| l.models.into_iter().map(|m| m.id).collect::<Vec<_>>());
            assert_eq!(
                got,
                want.map(|w| w.into_iter().map(str::to_owned).collect()),
                "{name}"
            );
        }
        let list =
            ModelList::parse(r#"{"data":[{"id":"v","max_model_len":32768}]}"#).expect("a list");
        assert_eq!(list.models[0].context, Some(32768));
    }

    #[test]
    fn names_resolve_to_what_the_upstream_serves() {
        let list = ModelList::parse(
            r#"{"data":[{"id":"nomic-embed-text"},{"id":"qwen3:latest"},{"id":"glm"}]}"#,
        );
        let aliases = |catch_all| Aliases {
            exact: BTreeMap::from([("gpt-4.1".to_owned(), "glm".to_owned())]),
            catch_all,
        };
        let own = CatchAll::Model("mine".into());
        use {
            Operation::{Chat, Embeddings},
            ResolvedBy::{Alias, AsAsked, CatchAll as ByCatchAll, Known},
        };
        let cases = [
            (
                "an alias",
                Some("gpt-4.1"),
                true,
                CatchAll::First,
                Chat,
                Some("glm"),
                Alias,
            ),
            (
                "a served name",
                Some("glm"),
                true,
                own.clone(),
                Chat,
                Some("glm"),
                Known,
            ),
            (
                "Ollama's short name",
                Some("qwen3"),
                true,
                CatchAll::First,
                Chat,
                Some("qwen3"),
                Known,
            ),
            (
                "the vendor's name, first model that chats",
                Some("gemini-2.5-flash"),
                true,
                CatchAll::First,
                Chat,
                Some("qwen3:latest"),
                ByCatchAll,
            ),
            (
                "the vendor's name, configured model",
                Some("gemini-2.5-flash"),
                true,
                own.clone(),
                Chat,
                Some("mine"),
                ByCatchAll,
            ),
            (
                "no name at all",
                None,
                true,
                CatchAll::First,
                Chat,
                Some("qwen3:latest"),
                ByCatchAll,
            ),
            (
                "an embedding model for embeddings",
                Some("text-embedding-3-small"),
                true,
                own.clone(),
                Embeddings,
                Some("nomic-embed-text"),
                ByCatchAll,
            ),
            (
                "unknown list, configured model",
                Some("x"),
                false,
                own,
                Chat,
                Some("mine"),
                ByCatchAll,
            ),
            (
                "unknown list, nothing configured",
                Some("x"),
                false,
                CatchAll::First,
                Chat,
                Some("x"),
                AsAsked,
            ),
            (
                "catch-all off",
                Some("x"),
                true,
                CatchAll::Off,
                Chat,
                Some("x"),
                AsAsked,
            ),
        ];
        for (name, asked, known, catch_all, operation, want, by) in cases {
            let got = aliases(catch_all).resolve(asked, list.as_ref().filter(|_| known), operation);
            assert_eq!((got.model.as_deref(), got.by), (want, by), "{name}");
        }
    }

    #[test]
    fn a_list_for_the_page_begins_with_the_model_to_select() {
        let list =
            ModelList::parse(r#"{"data":[{"id":"all-minilm"},{"id":"b","x":1.0},{"id":"c"}]}"#)
                .expect("a list");
        assert_eq!(
            list.to_json(Some("c")),
            r#"{"object":"list","data":[{"id":"c"},{"id":"b","x":1.0},{"id":"all-minilm"}]}"#
        );
        let tags = ModelList::parse(r#"{"models":[{"name":"q"}]}"#).expect("a list");
        assert_eq!(
            tags.to_json(None),
            r#"{"object":"list","data":[{"id":"q","object":"model","created":0,"owned_by":"local"}]}"#
        );
    }
}
