//! The LLM writes a new workflow, and is told exactly what is wrong until it is right.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{
    Draft, Failure,
    adapt::MAX_NAME,
    bases::{Bases, blocking, not_here},
    describe, told,
    wish::Wish,
};
use crate::{
    comfy::{Catalogue, Node, sound},
    comfyui::Knowledge,
    emulator::{
        asking::{Asking, Cost, Question, Unanswered},
        mcp_transport::ToolCaller,
        prompts::WORKFLOW_INVENT,
        tools::search_node,
    },
    llm::structured::Shape,
    workflow::{self, Fault, Prompt, check::accepted},
};

/// Answers that are asked for, the first included.
pub const TRIES: usize = 4;
const TOKENS: u32 = 4_096;
const MAX_BYTES: usize = 128 << 10;
/// Classes that are told, those that the search finds, and the text of all.
const MAX_CLASSES: usize = 36;
const FOUND: usize = 14;
const MAX_CLASSES_TEXT: usize = 9 << 10;
/// Text of the workflow that is shown as an example.
const MAX_EXAMPLE: usize = 4 << 10;
/// Nodes of a new workflow; what small models write does not end by itself.
const MAX_NODES: usize = 120;

/// Classes that most workflows of ComfyUI are made of.
const STAPLES: [&str; 15] = [
    "CheckpointLoaderSimple",
    "CLIPTextEncode",
    "EmptyLatentImage",
    "KSampler",
    "VAEDecode",
    "SaveImage",
    "LoadImage",
    "VAEEncode",
    "LoraLoader",
    "UNETLoader",
    "CLIPLoader",
    "VAELoader",
    "UpscaleModelLoader",
    "ImageUpscaleWithModel",
    "ImageScale",
];

/// Why there is none.
pub struct Failed {
    why: Unanswered,
    /// Of the last workflow that could be read.
    faults: Vec<Fault>,
}

impl Failed {
    pub fn words(&self, bases: &Bases) -> Failure {
        let Self { why, faults } = self;
        let missing = not_here(faults);
        let mut words = format!("no workflow was made. {}", bases.missing_words());
        match (why, missing.is_empty()) {
            (Unanswered::Unusable(_), false) => words.push_str(&format!(
                "What was written anew needs what is not installed here: {}. Install it, or ask for \
                 something that does without.",
                told(&missing)
            )),
            (Unanswered::Unusable(last), true) => words.push_str(&format!(
                "{TRIES} attempts to write one anew failed; the last one, because: {}",
                sound::text(last, 1_500)
            )),
            (Unanswered::Busy | Unanswered::Late(_) | Unanswered::Llm(_), _) => {
                words.push_str(&format!("The LLM could not be used for a new one: {why}"));
            }
        }
        Failure(words)
    }
}

pub async fn invent(
    asking: &Asking,
    wish: &Wish,
    bases: &Bases,
    known: &Knowledge,
    caller: &ToolCaller,
    until: Instant,
) -> Result<Draft, Failed> {
    let catalogue = &*known.catalogue;
    let question = Question {
        system: system(wish, bases, known),
        user: wish.request(),
        cost: Cost {
            time: until.saturating_duration_since(Instant::now()),
            tries: TRIES,
            tokens: TOKENS,
            bytes: MAX_BYTES,
        },
    };
    let mut seen = Seen::default();
    let shape = shape();
    let asked = asking.object(&question, &shape, &caller.exchange, |said| {
        seen.judge(&said, catalogue)
    });
    let made = asked.await;
    made.map_err(|why| Failed {
        why,
        faults: seen.faults,
    })
}

#[derive(Default)]
struct Seen {
    tries: usize,
    faults: Vec<Fault>,
}

impl Seen {
    fn judge(&mut self, said: &Map<String, Value>, catalogue: &Catalogue) -> Result<Draft, String> {
        self.tries += 1;
        let name = said.get("name").and_then(Value::as_str).unwrap_or("");
        let name = sound::text(name.trim(), MAX_NAME).replace('\n', " ");
        let said = Value::Object(said.clone());
        let mut prompt = Prompt::read(&said).map_err(|e| e.to_string())?;
        if prompt.nodes.len() > MAX_NODES {
            return Err(format!(
                "it has more than {MAX_NODES} nodes: write a smaller one"
            ));
        }
        let mut repairs = workflow::repair(&mut prompt, catalogue);
        let faults = workflow::check(&prompt, catalogue);
        if !accepted(&faults) {
            let words = told(&blocking(&faults));
            self.faults = faults;
            return Err(words);
        }
        // A node that leads nowhere is something that was wanted and forgotten.
        if !faults.is_empty() && self.tries < TRIES {
            return Err(told(&faults));
        }
        repairs.extend(workflow::drop_idle(&mut prompt, catalogue));
        Ok(Draft {
            name: match name.is_empty() {
                true => "New workflow".to_owned(),
                false => name,
            },
            prompt,
            from: None,
            changes: Vec::new(),
            repairs,
            remark: String::new(),
        })
    }
}

fn system(wish: &Wish, bases: &Bases, known: &Knowledge) -> String {
    let catalogue = &*known.catalogue;
    let mut classes: Vec<&Node> = Vec::new();
    let mut named: BTreeSet<&str> = BTreeSet::new();
    let example = bases.offered().first();
    let of_example = example
        .into_iter()
        .flat_map(|base| base.prompt.nodes.values());
    let of_example = of_example.filter_map(|node| catalogue.node(&node.class));
    let staples = STAPLES.iter().filter_map(|class| catalogue.node(class));
    let question = format!("{} {}", wish.question(), wish.instruction);
    let found = search_node::nodes(known, &question, FOUND);
    for class in found.into_iter().chain(of_example).chain(staples) {
        if classes.len() < MAX_CLASSES && !class.is_api && named.insert(&class.class) {
            classes.push(class);
        }
    }
    let mut lines = String::new();
    for class in classes {
        let line = describe::signature(class);
        if lines.len() + line.len() < MAX_CLASSES_TEXT {
            lines.push_str(&line);
            lines.push('\n');
        }
    }
    let example = example.map(|base| {
        let nodes = describe::as_list(&base.prompt).to_string();
        format!(
            "\nA workflow that runs here, as an example ({}):\n{nodes}",
            base.title
        )
    });
    let example = example.filter(|text| text.len() <= MAX_EXAMPLE);
    WORKFLOW_INVENT.fill(&[
        ("classes", lines.trim_end()),
        ("example", &example.unwrap_or_default()),
    ])
}

/// As OpenAI's strict mode wants it: no object with members of any name, so inputs are a list.
fn shape() -> Shape {
    let value = json!({"anyOf": [
        {"type": "string"},
        {"type": "number"},
        {"type": "boolean"},
        {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}
    ]});
    let input = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["name", "value"],
        "properties": {"name": {"type": "string"}, "value": value}
    });
    let node = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["id", "class_type", "inputs"],
        "properties": {
            "id": {"type": "string"},
            "class_type": {"type": "string"},
            "inputs": {"type": "array", "items": input}
        }
    });
    Shape {
        name: "workflow",
        schema: json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["name", "nodes"],
            "properties": {
                "name": {"type": "string"},
                "nodes": {"type": "array", "items": node}
            }
        }),
    }
}
