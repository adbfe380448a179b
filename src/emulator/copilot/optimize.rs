//! The workflow behind a card, with its settings fitted to what the user said last (WIRE.md 14).
//!
//! Settings alone are changed, and each change is checked: an existing node, an existing setting, a
//! value that this ComfyUI takes. By rule, what is not allowed here becomes what is (a model file that is
//! not installed, a value out of bounds); then by the user's LLM, whose changes that do not fit are dropped.
//! Both are written into the workflow. Only with the API's form do they stand in `optimized_params`, too:
//! the page sets those at once, and a workflow in its own form is not there yet when it does. Without an LLM
//! the rules are all, and where they find nothing the list is empty: that is what the page takes for
//! "nothing to change".

use std::{collections::BTreeSet, fmt::Write, time::Duration};

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{CopilotResponder, invoke::NO_COMFYUI, own_key::OwnKey};
use crate::{
    comfy::{Catalogue, Kind, WorkflowId, sound},
    comfyui::{Knowledge, Unavailable},
    emulator::{
        asking::{Cost, Question, Unanswered, Whom},
        fields::Fields,
        http::{failure, json as json_answer, note},
        language::{Language, Phrase},
        prompts,
        tools::explain,
    },
    handler::{Exchange, LocalResponse},
    llm::structured::Shape,
    workflow::{
        self, NodeId, Prompt,
        order::renumbered,
        repair,
        tune::{self, Setting, Tuned, Wish},
        widgets,
    },
};

const COST: Cost = Cost {
    time: Duration::from_secs(60),
    tries: 2,
    tokens: 2_048,
    bytes: 32 << 10,
};
/// Of what the user said, of the list of settings, and of one value in it.
const MAX_SAID: usize = 2 << 10;
const MAX_LISTED: usize = 10 << 10;
const MAX_VALUE: usize = 400;
/// Allowed values of a choice that are listed.
const MAX_ALLOWED: usize = 12;
const MAX_CHANGES: usize = 24;
/// Missing classes that are named, and letters of each.
const MAX_NAMED: usize = 8;
const MAX_CLASS: usize = 100;
/// Nodes of the page that have no links, and no meaning for ComfyUI.
const NOTES: [&str; 2] = ["MarkdownNote", "Note"];

pub const NO_ID: Phrase = Phrase {
    en: "This card is not one of Airlock's: the vendor's catalogue of workflows is gone. Ask in the chat for a \
         workflow, and take one of the cards that come.",
    zh: "此卡片不是由 Airlock 生成的：云端的工作流目录已不存在。请在聊天中重新查找工作流，并使用新的卡片。",
};
pub const GONE: Phrase = Phrase {
    en: "Your ComfyUI does not have this workflow any more. Ask in the chat for another one.",
    zh: "您的 ComfyUI 中已没有此工作流。请在聊天中重新查找。",
};
const LACKS: Phrase = Phrase {
    en: "This workflow was saved in the API's form, which ComfyUI's page can load only with all of its nodes, and \
         these are not installed here: ",
    zh: "此工作流以 API 格式保存，只有在其所有节点都已安装时页面才能加载，而以下节点未安装：",
};
const BROKEN: Phrase = Phrase {
    en: "This file is no workflow that Airlock can read: ",
    zh: "Airlock 无法读取此工作流文件：",
};

#[derive(Deserialize)]
struct Said {
    changes: Vec<SaidChange>,
}

#[derive(Deserialize)]
struct SaidChange {
    node: Value,
    setting: String,
    value: Value,
}

/// Changes of the LLM, and how many of them were no good.
#[derive(Debug)]
struct Proposed {
    prompt: Prompt,
    dropped: Vec<String>,
}

impl CopilotResponder {
    pub(super) async fn optimized(
        &self,
        fields: Option<Fields<'_>>,
        own_key: OwnKey,
        exchange: &Exchange,
        language: Language,
    ) -> LocalResponse {
        let refuse = |detail: &'static str, words: &str| {
            note(exchange, "stand-in", detail);
            failure(StatusCode::OK, words)
        };
        let id = fields
            .as_ref()
            .and_then(|f| f.read::<String>("workflow_id"));
        let Some(id) = id.and_then(|id| WorkflowId::parse(&id)) else {
            return refuse("no such card", NO_ID.in_language(language));
        };
        // ComfyUI judges paths too; one that climbs is no path of a card.
        if matches!(&id, WorkflowId::Saved(path) if path.split(['/', '\\']).any(|part| part == ".."))
        {
            return refuse("no such workflow", GONE.in_language(language));
        }
        let said = fields.and_then(|f| f.read::<String>("prompt"));
        let said = sound::text(said.unwrap_or_default().trim(), MAX_SAID);
        let Some(comfyui) = &self.comfyui else {
            return refuse("comfyui is off", NO_COMFYUI.in_language(language));
        };
        // What was made here was made for a request already.
        let said = match &id {
            WorkflowId::Generated(_) => String::new(),
            WorkflowId::Template(_) | WorkflowId::Saved(_) => said,
        };
        let found = async {
            let known = comfyui.knowledge().await?;
            let file = match &id {
                WorkflowId::Generated(key) => self.made.find(key).map(|made| made.workflow.clone()),
                WorkflowId::Template(_) | WorkflowId::Saved(_) => comfyui.workflow(&id).await?,
            };
            Ok::<_, Unavailable>((known, file))
        };
        let (known, file) = match found.await {
            Ok((known, Some(file))) => (known, file),
            Ok((_, None)) => return refuse("no such workflow", GONE.in_language(language)),
            Err(why) => return refuse("comfyui cannot be asked", &format!("{why}.")),
        };
        let before = match workflow::read(&file, &known.catalogue) {
            Ok(prompt) => prompt,
            Err(why) => {
                let words = format!("{}{why}", BROKEN.in_language(language));
                return refuse("not a workflow", &words);
            }
        };
        // As the page has it, where the page can: its layout, its groups and its colours stay.
        let lacks = lacks_class(&before, &known.catalogue);
        let shown = page_form(file, lacks, &known.catalogue);
        if shown.is_none() && lacks {
            // The page loads nothing of it, and guides nobody to the nodes.
            let words = self.not_loadable(&before, &known.catalogue, language);
            return refuse("api form with missing nodes", &words.await);
        }
        let before = match shown {
            Some(_) => before,
            None => renumbered(&before),
        };
        let mut after = before.clone();
        repair::repair(&mut after, &known.catalogue);
        let mut dropped = Vec::new();
        let mut without = None;
        if !said.is_empty() {
            let whom = own_key.whom();
            match self.proposed(&after, &said, &known, &whom, exchange).await {
                Ok(proposed) => {
                    after = proposed.prompt;
                    dropped = proposed.dropped;
                }
                Err(why) => without = Some(why),
            }
        }
        let tuned = tune::differences(&before, &after, &known.catalogue);
        let detail = match &without {
            Some(why) => format!(
                "workflow given, {} settings by rule: {}",
                tuned.len(),
                why.code()
            ),
            None => format!(
                "workflow given, {} settings, {} dropped",
                tuned.len(),
                dropped.len()
            ),
        };
        let detail = match &own_key {
            OwnKey::None => detail,
            OwnKey::Unused(unused) => format!("{detail}; {}", unused.detail()),
            OwnKey::For(keyed) => format!("{detail}; the page's own key was for {}", keyed.url()),
        };
        let mut left_out = Vec::new();
        if let OwnKey::Unused(unused) = &own_key {
            left_out.push(unused.words(language).to_owned());
        }
        if let (OwnKey::For(keyed), Some(why)) = (&own_key, &without) {
            left_out.push(format!(
                "{} was asked with your key and gave no answer that could be used ({})",
                keyed.url(),
                why.code()
            ));
        }
        if !dropped.is_empty() {
            left_out.push(format!(
                "not changed, because it does not fit: {}",
                dropped.join("; ")
            ));
        }
        exchange.note.set(|note| {
            if without.is_some() || note.answered_by.is_none() {
                note.answered_by = Some("stand-in".into());
            }
            note.detail = Some(detail);
        });
        let (workflow, set) = match shown {
            None => (after.to_value(), &*tuned),
            // With a class that is missing, the page can load its own form alone.
            Some(mut file) => match write(&mut file, &tuned, &known.catalogue) || lacks {
                true => (file, &[][..]),
                false => (renumbered(&after).to_value(), &[][..]),
            },
        };
        answer(workflow, set, &left_out.join(". "))
    }

    /// Which nodes a workflow in the API's form lacks, and where they are from.
    async fn not_loadable(
        &self,
        prompt: &Prompt,
        catalogue: &Catalogue,
        language: Language,
    ) -> String {
        let missing = missing_classes(prompt, catalogue);
        let lists = self.manager_lists.clone();
        let packs = tokio::task::spawn_blocking(move || lists.packs()).await;
        let packs = packs.unwrap_or_default();
        let mut named: Vec<String> = missing
            .iter()
            .take(MAX_NAMED)
            .map(|class| {
                let class = sound::text(class, MAX_CLASS);
                match packs.repository(&class) {
                    Some(address) => format!("{class} ({address})"),
                    None => class,
                }
            })
            .collect();
        if missing.len() > MAX_NAMED {
            named.push(format!("+{}", missing.len() - MAX_NAMED));
        }
        format!("{}{}.", LACKS.in_language(language), named.join(", "))
    }

    async fn proposed(
        &self,
        prompt: &Prompt,
        said: &str,
        known: &Knowledge,
        whom: &Whom,
        exchange: &Exchange,
    ) -> Result<Proposed, Unanswered> {
        let catalogue = &known.catalogue;
        let listed = listed(&tune::settings(prompt, catalogue));
        let question = Question {
            system: prompts::OPTIMIZE.fill(&[]),
            user: format!("Request: {said}\n\nSettings:\n{listed}"),
            cost: COST,
        };
        let check = |answer: Said| checked(answer, prompt, catalogue);
        let shape = shape();
        self.asking
            .object_by(whom, &question, &shape, exchange, check)
            .await
    }
}

/// A success, with words about what was left out; the page shows none, a person who looks does.
fn answer(workflow: Value, tuned: &[Tuned], message: &str) -> LocalResponse {
    let params: Vec<Value> = tuned
        .iter()
        .map(|t| json!([t.node.as_str(), t.class, t.at, t.input, t.value]))
        .collect();
    json_answer(
        StatusCode::OK,
        &json!({
            "success": true,
            "data": {"workflow": workflow, "optimized_params": params},
            "message": message,
        }),
    )
}

fn shape() -> Shape {
    Shape {
        name: "changes",
        schema: json!({
            "type": "object",
            "properties": {"changes": {"type": "array", "items": {
                "type": "object",
                "properties": {
                    "node": {"type": "string"},
                    "setting": {"type": "string"},
                    "value": {"type": ["string", "number", "boolean"]},
                },
                "required": ["node", "setting", "value"],
                "additionalProperties": false,
            }}},
            "required": ["changes"],
            "additionalProperties": false,
        }),
    }
}

/// What fits is put in. Where nothing fits, the model is told why and may try again.
fn checked(answer: Said, prompt: &Prompt, catalogue: &Catalogue) -> Result<Proposed, String> {
    let mut out = Proposed {
        prompt: prompt.clone(),
        dropped: Vec::new(),
    };
    let mut applied = 0;
    for change in answer.changes.into_iter().take(MAX_CHANGES) {
        let SaidChange {
            node,
            setting,
            value,
        } = change;
        let wish = Wish {
            node: match node {
                Value::String(id) => id,
                other => other.to_string(),
            },
            input: setting,
            value,
        };
        match tune::apply(&mut out.prompt, catalogue, &wish) {
            Ok(()) => applied += 1,
            Err(why) => out.dropped.push(sound::text(&why, MAX_VALUE)),
        }
    }
    match applied == 0 && !out.dropped.is_empty() {
        true => Err(out.dropped.join("; ")),
        false => Ok(out),
    }
}

/// A line for each setting, as many as a small model can read. Texts come first: most requests are about
/// what a picture shows.
fn listed(settings: &[Setting<'_>]) -> String {
    let is_text = |s: &&Setting<'_>| matches!(s.input.kind, Kind::Text { multiline: true });
    let texts = settings.iter().filter(is_text);
    let others = settings.iter().filter(|s| !is_text(s));
    let mut out = String::new();
    for setting in texts.chain(others) {
        let line = line(setting);
        if out.len() + line.len() > MAX_LISTED {
            break;
        }
        out.push_str(&line);
    }
    out
}

fn line(setting: &Setting<'_>) -> String {
    let short = |value: &Value| sound::text(&value.to_string(), MAX_VALUE);
    let mut out = format!("node {} {}", setting.id, setting.class.class);
    if !setting.node.title.is_empty() && setting.node.title != setting.class.title {
        let _ = write!(out, " \"{}\"", sound::text(&setting.node.title, 80));
    }
    let _ = write!(out, ", setting {}", setting.input.name);
    match &setting.input.kind {
        Kind::Int(bounds) | Kind::Float(bounds) => {
            // Beyond that a float is not the number that ComfyUI wrote.
            let exact = |bound: Option<f64>| bound.filter(|b| b.abs() < explain::EXACT);
            if let (Some(min), Some(max)) = (exact(bounds.min), exact(bounds.max)) {
                let _ = write!(out, " ({min} to {max})");
            }
        }
        Kind::Choice(choices) => {
            let allowed: Vec<String> = choices.values.iter().take(MAX_ALLOWED).map(short).collect();
            let more = if choices.values.len() > MAX_ALLOWED {
                ", ..."
            } else {
                ""
            };
            let _ = write!(out, " (one of {}{more})", allowed.join(", "));
        }
        Kind::Flag => out.push_str(" (true or false)"),
        Kind::Text { .. } | Kind::Socket(_) => {}
    }
    let _ = writeln!(out, " = {}", short(setting.value));
    out
}

/// The file as the page has it, without its notes: the page takes them for nodes that are missing. `None`
/// where it holds more that only the page knows (reroutes, primitives, subgraphs): then the API's form is
/// what the page can load. With a class that is missing (`lacks`) it loads nothing in that form.
fn page_form(mut file: Value, lacks: bool, catalogue: &Catalogue) -> Option<Value> {
    let nodes = file.get_mut("nodes")?.as_array_mut()?;
    let class = |node: &Value| node.get("type").and_then(Value::as_str).map(str::to_owned);
    nodes.retain(|node| !class(node).is_some_and(|class| NOTES.contains(&&*class)));
    let known = |node: &Value| class(node).is_some_and(|class| catalogue.node(&class).is_some());
    (lacks || nodes.iter().all(known)).then_some(file)
}

fn lacks_class(prompt: &Prompt, catalogue: &Catalogue) -> bool {
    !missing_classes(prompt, catalogue).is_empty()
}

fn missing_classes<'p>(prompt: &'p Prompt, catalogue: &Catalogue) -> BTreeSet<&'p str> {
    let classes = prompt.nodes.values().map(|node| node.class.as_str());
    classes
        .filter(|class| catalogue.node(class).is_none())
        .collect()
}

/// Puts the settings into the page's form. False where it has no place for one of them.
fn write(file: &mut Value, tuned: &[Tuned], catalogue: &Catalogue) -> bool {
    let Some(nodes) = file.get_mut("nodes").and_then(Value::as_array_mut) else {
        return tuned.is_empty();
    };
    let mut all = true;
    for setting in tuned {
        let is_it =
            |node: &&mut Value| node.get("id").and_then(NodeId::of).as_ref() == Some(&setting.node);
        let class = catalogue.node(&setting.class);
        let node = nodes.iter_mut().find(is_it);
        all &= node.is_some_and(|node| widgets::put(node, class, &setting.input, &setting.value));
    }
    all
}
