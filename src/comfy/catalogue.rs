//! Everything that one ComfyUI can do, as it was when it was asked.

use std::collections::{BTreeMap, HashMap};

use super::{
    listing::System,
    node::Node,
    template::{SavedWorkflow, Template, Uses},
};

/// What was there and is not kept, because it was broken or beyond a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    pub nodes: usize,
    pub inputs: usize,
    pub outputs: usize,
    pub templates: usize,
    pub saved: usize,
    pub models: usize,
    pub docs: usize,
}

impl LeftOut {
    pub fn total(&self) -> usize {
        let Self {
            nodes,
            inputs,
            outputs,
            templates,
            saved,
            models,
            docs,
        } = *self;
        nodes + inputs + outputs + templates + saved + models + docs
    }
}

/// A file below one of ComfyUI's folders of models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    pub folder: String,
    /// With its folders below that, as ComfyUI lists it.
    pub name: String,
}

/// The page of a node, in Markdown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Docs {
    pub en: String,
    pub zh: String,
}

impl Docs {
    /// In the language that is asked for, else in the other.
    pub fn either(&self, chinese: bool) -> &str {
        match (chinese, self.en.is_empty(), self.zh.is_empty()) {
            (true, _, false) | (false, true, _) => &self.zh,
            (true, _, true) | (false, false, _) => &self.en,
        }
    }
}

/// What a catalogue is made of.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    pub system: System,
    pub nodes: Vec<Node>,
    pub templates: Vec<Template>,
    pub saved: Vec<SavedWorkflow>,
    pub models: Vec<Model>,
    /// By class.
    pub docs: BTreeMap<String, Docs>,
    pub left_out: LeftOut,
}

/// Read-only, and shared by everyone who asks.
#[derive(Debug, Default)]
pub struct Catalogue {
    parts: Parts,
    by_class: HashMap<String, usize>,
    /// Classes and titles in lower case, without blanks: what people type.
    by_spelling: HashMap<String, usize>,
}

impl Catalogue {
    pub fn new(mut parts: Parts) -> Self {
        parts.nodes.sort_by(|a, b| a.class.cmp(&b.class));
        // Sorting is stable, so of two with one name the later one is the second.
        parts.nodes.reverse();
        parts.nodes.dedup_by(|a, b| a.class == b.class);
        parts.nodes.reverse();
        let mut by_class = HashMap::with_capacity(parts.nodes.len());
        let mut by_spelling = HashMap::with_capacity(parts.nodes.len() * 2);
        for (at, node) in parts.nodes.iter().enumerate() {
            by_class.insert(node.class.clone(), at);
            by_spelling.insert(spelling(&node.class), at);
        }
        for (at, node) in parts.nodes.iter().enumerate() {
            by_spelling.entry(spelling(&node.title)).or_insert(at);
        }
        Self {
            parts,
            by_class,
            by_spelling,
        }
    }

    pub fn system(&self) -> &System {
        &self.parts.system
    }

    /// Sorted by class, each class once.
    pub fn nodes(&self) -> &[Node] {
        &self.parts.nodes
    }

    pub fn templates(&self) -> &[Template] {
        &self.parts.templates
    }

    pub fn saved(&self) -> &[SavedWorkflow] {
        &self.parts.saved
    }

    pub fn models(&self) -> &[Model] {
        &self.parts.models
    }

    pub fn left_out(&self) -> LeftOut {
        self.parts.left_out
    }

    /// By its class, exactly as a workflow names it.
    pub fn node(&self, class: &str) -> Option<&Node> {
        self.parts.nodes.get(*self.by_class.get(class)?)
    }

    /// By its class or title as a person writes it: case, blanks, `_` and `-` do not count.
    pub fn node_called(&self, name: &str) -> Option<&Node> {
        self.node(name).or_else(|| {
            self.parts
                .nodes
                .get(*self.by_spelling.get(&spelling(name))?)
        })
    }

    pub fn docs(&self, class: &str) -> Option<&Docs> {
        self.parts.docs.get(class)
    }

    pub fn documented(&self) -> usize {
        self.parts.docs.len()
    }

    pub fn template(&self, name: &str) -> Option<&Template> {
        self.parts.templates.iter().find(|t| t.name == name)
    }

    pub fn saved_workflow(&self, path: &str) -> Option<&SavedWorkflow> {
        self.parts.saved.iter().find(|s| s.path == path)
    }

    /// Whether this file is in this folder of models, also below a folder of its own.
    pub fn has_model(&self, folder: &str, name: &str) -> bool {
        let file = |path: &str| path.rsplit(['/', '\\']).next().unwrap_or("").to_owned();
        self.parts
            .models
            .iter()
            .any(|m| m.folder == folder && (m.name == name || file(&m.name) == name))
    }

    /// Classes that a workflow uses and that are not installed.
    pub fn missing_classes<'a>(&'a self, uses: &'a Uses) -> impl Iterator<Item = &'a str> {
        let classes = uses.classes.iter().map(String::as_str);
        classes.filter(|class| self.node(class).is_none())
    }
}

fn spelling(name: &str) -> String {
    name.chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '_' | '-'))
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comfy::Nodes;

    #[test]
    fn nodes_are_found_by_class_and_as_people_write_them() {
        let text = br#"{"CLIPTextEncode":{"display_name":"CLIP Text Encode (Prompt)"},
            "KSampler":{"display_name":"Old"},"KSampler":{"display_name":"KSampler"},
            "clip_text_encode":{}}"#;
        let catalogue = Catalogue::new(Parts {
            nodes: Nodes::read(text).expect("an object").nodes,
            ..Parts::default()
        });
        let class = |name| catalogue.node_called(name).map(|n| n.class.as_str());
        for (row, name, want) in [
            ("the class itself", "CLIPTextEncode", Some("CLIPTextEncode")),
            (
                "another class that differs in case",
                "clip_text_encode",
                Some("clip_text_encode"),
            ),
            (
                "a title",
                "clip text encode (prompt)",
                Some("CLIPTextEncode"),
            ),
            ("blanks and case", "k sampler", Some("KSampler")),
            ("none", "IPAdapter", None),
        ] {
            assert_eq!(class(name), want, "{row}");
        }
        let one = catalogue.node("KSampler").expect("it is there");
        assert_eq!(
            (catalogue.nodes().len(), one.title.as_str()),
            (3, "KSampler")
        );
    }

    #[test]
    fn a_model_is_found_below_a_folder_of_its_own() {
        let model = |name: &str| Model {
            folder: "loras".into(),
            name: name.into(),
        };
        let catalogue = Catalogue::new(Parts {
            models: vec![model("sdxl/a.safetensors"), model("win\\b.safetensors")],
            ..Parts::default()
        });
        assert!(catalogue.has_model("loras", "a.safetensors"));
        assert!(catalogue.has_model("loras", "b.safetensors"));
        assert!(!catalogue.has_model("checkpoints", "a.safetensors"));
        assert!(!catalogue.has_model("loras", "c.safetensors"));
    }

    #[test]
    fn docs_fall_back_to_the_other_language() {
        let docs = |en: &str, zh: &str| Docs {
            en: en.into(),
            zh: zh.into(),
        };
        assert_eq!(docs("e", "z").either(true), "z");
        assert_eq!(docs("e", "").either(true), "e");
        assert_eq!(docs("", "z").either(false), "z");
        assert_eq!(docs("e", "z").either(false), "e");
    }
}
