//! What the page draws (WIRE.md 4.2): cards of workflows and nodes, made of a catalogue.
//!
//! Pictures are paths on ComfyUI's own origin, which is the page's, by the front door and without it.

use serde_json::{Value, json};

use crate::comfy::{Catalogue, Docs, Node, SavedWorkflow, Template, Uses, WorkflowId, sound};

/// Of a card, and of a line for the model.
const MAX_DESCRIPTION: usize = 400;
/// Names of what is missing that are told.
const MAX_NAMED: usize = 4;

/// What a workflow wants and this ComfyUI has not.
#[derive(Debug, Default)]
pub struct Missing {
    pub classes: Vec<String>,
    pub files: Vec<String>,
}

impl Missing {
    pub fn of(catalogue: &Catalogue, uses: Option<&Uses>) -> Self {
        let Some(uses) = uses else {
            return Self::default();
        };
        let files = uses.files.iter();
        Self {
            classes: catalogue.missing_classes(uses).map(str::to_owned).collect(),
            files: files
                .filter(|f| !catalogue.has_model(&f.folder, &f.name))
                .map(|f| format!("{}/{}", f.folder, f.name))
                .collect(),
        }
    }

    /// Empty where nothing is missing.
    pub fn words(&self, chinese: bool) -> String {
        let mut out = String::new();
        let (nodes, files) = match chinese {
            true => ("缺少节点：", "缺少模型："),
            false => ("Missing nodes: ", "Missing models: "),
        };
        for (label, names) in [(nodes, &self.classes), (files, &self.files)] {
            if names.is_empty() {
                continue;
            }
            if !out.is_empty() {
                out.push(' ');
            }
            out.push_str(label);
            let named: Vec<&str> = names.iter().take(MAX_NAMED).map(String::as_str).collect();
            out.push_str(&named.join(", "));
            if names.len() > MAX_NAMED {
                out.push_str(&format!(" (+{})", names.len() - MAX_NAMED));
            }
            out.push('.');
        }
        out
    }
}

/// A card, and its line for the model.
#[derive(Debug)]
pub struct Card {
    pub json: Value,
    pub line: String,
}

pub fn template(catalogue: &Catalogue, template: &Template, chinese: bool) -> Card {
    let id = WorkflowId::Template(template.name.clone());
    let missing = Missing::of(catalogue, template.uses.as_ref()).words(chinese);
    let mut about = template.description.either(chinese).to_owned();
    if template.is_api {
        about.push_str(match chinese {
            true => "（调用付费的云端服务，需要联网。）",
            false => " (Calls a paid cloud service: it needs the Internet.)",
        });
    }
    let name = template.title.either(chinese);
    let tags: Vec<&str> = template.tags.iter().map(|t| t.either(chinese)).collect();
    workflow(
        &id,
        name,
        &about,
        &missing,
        &template.picture(),
        "ComfyUI template",
        &tags,
    )
}

pub fn saved(catalogue: &Catalogue, saved: &SavedWorkflow, chinese: bool) -> Card {
    let id = WorkflowId::Saved(saved.path.clone());
    let missing = Missing::of(catalogue, Some(&saved.uses)).words(chinese);
    let about = match chinese {
        true => format!("您保存的工作流：{}。", saved.path),
        false => format!("A workflow that you saved: {}.", saved.path),
    };
    workflow(
        &id,
        saved.title(),
        &about,
        &missing,
        "",
        "Your workflows",
        &[],
    )
}

fn workflow(
    id: &WorkflowId,
    name: &str,
    about: &str,
    missing: &str,
    image: &str,
    source: &str,
    tags: &[&str],
) -> Card {
    let about = sound::text(about, MAX_DESCRIPTION);
    let description = match missing {
        "" => about,
        missing => format!("{about} {missing}"),
    };
    Card {
        line: format!("- {name} [{id}] ({source}): {description}"),
        json: json!({
            "id": id.to_string(),
            "name": name,
            "description": description,
            "image": image,
            "source": source,
            "tags": tags,
        }),
    }
}

/// An installed node; one without a description is told by the first words of its docs.
pub fn node(node: &Node, docs: Option<&Docs>) -> Card {
    let about = match (node.description.trim(), docs) {
        ("", Some(docs)) => opening(docs.either(false)),
        (text, _) => text,
    };
    let about = sound::text(&about.replace('\n', " "), MAX_DESCRIPTION);
    let mut line = format!(
        "- {} \"{}\" ({}): {about}",
        node.class, node.title, node.category
    );
    let inputs: Vec<String> = node
        .inputs
        .iter()
        .filter(|i| !i.takes_value())
        .map(|i| format!("{} {}", i.name, i.link_type().as_str()))
        .collect();
    let outputs: Vec<&str> = node.outputs.iter().map(|o| o.socket.as_str()).collect();
    line.push_str(&format!(
        " IN: {}. OUT: {}.",
        or_none(&sound::text(&inputs.join(", "), MAX_DESCRIPTION)),
        or_none(&sound::text(&outputs.join(", "), MAX_DESCRIPTION)),
    ));
    Card {
        line,
        json: json!({
            "name": node.class,
            "name_oral": node.title,
            "description": about,
            "image": "",
            "github_url": "",
            "github_stars": 0,
            "from_index": 0,
            "to_index": 0,
            "is_existed": true,
        }),
    }
}

/// The first line of a page that is a sentence.
fn opening(page: &str) -> &str {
    let sentence = |line: &&str| line.chars().next().is_some_and(char::is_alphanumeric);
    page.lines().map(str::trim).find(sentence).unwrap_or("")
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}
