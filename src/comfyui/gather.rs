//! One round of questions to ComfyUI, and what is remembered between two of them.
//!
//! The short answers are asked for each time: classes, the index of templates, lists of models and saved
//! workflows. Files are asked for once: those of templates by their tags, saved ones by size and date,
//! docs once for a version of ComfyUI.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use http::HeaderValue;
use serde_json::Value;

use super::{
    client::{Ask, Client, Fetched, parse},
    trouble::Trouble,
};
use crate::comfy::{
    Docs, LeftOut, Model, Nodes, Parts, SavedFile, SavedWorkflow, System, Template, Uses, listing,
    sound, template::segment,
};

const SECOND: Duration = Duration::from_secs(1);
pub(super) const SYSTEM: Ask = ask("/system_stats", 1 << 20, 5);
/// ComfyUI looks through its folders of models for it.
const OBJECT_INFO: Ask = ask("/object_info", 64 << 20, 60);
const INDEX: Ask = ask("/templates/index.json", 8 << 20, 10);
pub(super) const TEMPLATE: Ask = ask("a template", 4 << 20, 10);
const MODELS: Ask = ask("/models", 4 << 20, 20);
/// Each job stands there with its whole workflow.
pub(super) const QUEUE: Ask = ask("/queue", 64 << 20, 10);
const SAVED: Ask = ask("/userdata", 4 << 20, 10);
pub(super) const SAVED_FILE: Ask = ask("a saved workflow", 4 << 20, 10);
const DOC: Ask = ask("a page of docs", 256 << 10, 10);

/// Questions on their way at a time: ComfyUI has one thread for them, and for the page's.
const AT_ONCE: usize = 6;
/// Saved workflows that are read, the newest ones; the others are known by name.
const MAX_READ: usize = 300;
/// Bytes of a saved workflow that is read.
const MAX_SAVED: u64 = 4 << 20;
/// Classes that are asked for docs in one round.
const MAX_ASKED: usize = 3_000;
/// Of one page of docs.
const MAX_DOC: usize = 32 << 10;

const fn ask(what: &'static str, max: usize, seconds: u64) -> Ask {
    Ask {
        what,
        max,
        within: Duration::from_secs(seconds),
    }
}

/// What is kept between two rounds.
#[derive(Default)]
pub(super) struct Memory {
    /// Tags of the index of templates in both languages, and what it said.
    index: Option<([Option<HeaderValue>; 2], Vec<Template>)>,
    /// How often that has changed.
    indexes: u64,
    uses: HashMap<String, (Option<HeaderValue>, Option<Uses>)>,
    saved: HashMap<String, (SavedFile, Uses)>,
    docs: BTreeMap<String, Docs>,
    /// Classes that have been asked about, for this version.
    asked: HashMap<String, ()>,
    version: String,
}

/// The short answers.
pub(super) struct Outline {
    pub(super) parts: Parts,
    files: Vec<SavedFile>,
    templates_changed: bool,
    /// Changes when anything does.
    pub(super) print: u64,
}

/// How far a round is.
pub(super) trait Progress: Sync {
    fn doing(&self, what: &'static str, done: usize, of: usize);
}

/// Asks for the short answers.
pub(super) async fn outline(
    client: &Client,
    memory: &mut Memory,
    progress: &dyn Progress,
) -> Result<Outline, Trouble> {
    progress.doing("nodes", 0, 1);
    let system = System::read(&client.json("/system_stats", SYSTEM).await?);
    if memory.version != version(&system) {
        *memory = Memory {
            version: version(&system),
            ..Memory::default()
        };
    }
    let mut print = DefaultHasher::new();
    let bytes = client.get("/object_info", None, OBJECT_INFO).await?.body();
    let bytes = bytes.ok_or(Trouble::Form {
        what: OBJECT_INFO.what,
        detail: "it is not there".into(),
    })?;
    bytes.hash(&mut print);
    // Megabytes of JSON: not on a thread that serves requests.
    let read = tokio::task::spawn_blocking(move || Nodes::read(&bytes)).await;
    let Nodes {
        nodes,
        mut left_out,
    } = read
        .map_err(|e| Trouble::Index(e.to_string()))?
        .map_err(|e| Trouble::Form {
            what: OBJECT_INFO.what,
            detail: e.to_string(),
        })?;
    progress.doing("templates", 0, 1);
    let (templates, templates_changed) = templates(client, memory, &mut left_out).await?;
    memory.indexes.hash(&mut print);
    progress.doing("models", 0, 1);
    let models = models(client, &mut left_out).await;
    for Model { folder, name } in &models {
        (folder, name).hash(&mut print);
    }
    let list = "/userdata?dir=workflows&recurse=true&split=false&full_info=true";
    // Without a user's folder there is none, and a server of several users says no.
    let files = match client.json(list, SAVED).await {
        Ok(answer) => listing::saved(&answer, &mut left_out),
        Err(Trouble::Status { .. }) => Vec::new(),
        Err(e) => return Err(e),
    };
    for SavedFile {
        path,
        size,
        modified,
    } in &files
    {
        (path, size, modified).hash(&mut print);
    }
    Ok(Outline {
        parts: Parts {
            system,
            nodes,
            templates,
            saved: files.iter().map(|f| saved(memory, f)).collect(),
            models,
            docs: memory.docs.clone(),
            left_out,
        },
        files,
        templates_changed,
        print: print.finish(),
    })
}

/// What decides which templates and docs there are.
fn version(system: &System) -> String {
    format!("{} {}", system.version, system.templates_version)
}

fn saved(memory: &Memory, file: &SavedFile) -> SavedWorkflow {
    let known = memory.saved.get(&file.path).filter(|(f, _)| f == file);
    SavedWorkflow {
        path: file.path.clone(),
        uses: known.map(|(_, uses)| uses.clone()).unwrap_or_default(),
    }
}

async fn templates(
    client: &Client,
    memory: &mut Memory,
    left_out: &mut LeftOut,
) -> Result<(Vec<Template>, bool), Trouble> {
    let known = memory.index.as_ref().map(|(tags, _)| tags.clone());
    let [en_tag, zh_tag] = known.unwrap_or_default();
    let en = client
        .get("/templates/index.json", en_tag.as_ref(), INDEX)
        .await?;
    let zh = client
        .get("/templates/index.zh.json", zh_tag.as_ref(), INDEX)
        .await?;
    if let (Fetched::Unchanged, Fetched::Unchanged | Fetched::Absent, Some((_, templates))) =
        (&en, &zh, &memory.index)
    {
        return Ok((with_uses(templates.clone(), memory), false));
    }
    // One of the two changed: both are read anew.
    let (en, en_tag) = whole(client, "/templates/index.json", en).await?;
    let (zh, zh_tag) = whole(client, "/templates/index.zh.json", zh).await?;
    let templates = match &en {
        Some(en) => Template::read_index(en, zh.as_ref(), left_out),
        // An older ComfyUI without the package of templates.
        None => Vec::new(),
    };
    let known = memory.index.as_ref().map(|(_, templates)| templates);
    let changed = known != Some(&templates);
    memory.indexes += u64::from(changed);
    memory.index = Some(([en_tag, zh_tag], templates.clone()));
    Ok((with_uses(templates, memory), changed))
}

/// The body of an answer that may have been left out for its tag. A translation that is no JSON is none.
async fn whole(
    client: &Client,
    path: &str,
    fetched: Fetched,
) -> Result<(Option<Value>, Option<HeaderValue>), Trouble> {
    let fetched = match fetched {
        Fetched::Unchanged => client.get(path, None, INDEX).await?,
        other => other,
    };
    match fetched {
        Fetched::Body { bytes, tag } => Ok((parse(&bytes, INDEX.what).ok(), tag)),
        Fetched::Unchanged | Fetched::Absent => Ok((None, None)),
    }
}

fn with_uses(mut templates: Vec<Template>, memory: &Memory) -> Vec<Template> {
    for template in &mut templates {
        let known = memory.uses.get(&template.name);
        template.uses = known.and_then(|(_, uses)| uses.clone());
    }
    templates
}

/// A folder that cannot be listed costs only its own models.
async fn models(client: &Client, left_out: &mut LeftOut) -> Vec<Model> {
    let folders = match client.json("/models", MODELS).await {
        Ok(answer) => listing::folders(&answer, left_out),
        Err(_) => {
            left_out.models += 1;
            return Vec::new();
        }
    };
    let mut models = Vec::new();
    for folder in folders {
        let path = format!("/models/{}", segment(&folder));
        match client.json(&path, MODELS).await {
            Ok(answer) => {
                let more = listing::files(&folder, &answer, models.len(), left_out);
                models.extend(more);
            }
            Err(_) => left_out.models += 1,
        }
    }
    models
}

/// Asks for the files that the outline names and that are not known yet, and puts them into it.
/// False where there was nothing to ask for.
pub(super) async fn details(
    client: &Client,
    memory: &mut Memory,
    outline: &mut Outline,
    progress: &dyn Progress,
) -> Result<bool, Trouble> {
    let asked = read_templates(client, memory, outline, progress).await?
        | read_saved(client, memory, outline, progress).await?
        | read_docs(client, memory, outline, progress).await?;
    let parts = &mut outline.parts;
    parts.templates = with_uses(std::mem::take(&mut parts.templates), memory);
    parts.saved = outline.files.iter().map(|f| saved(memory, f)).collect();
    parts.docs = memory.docs.clone();
    Ok(asked)
}

async fn read_templates(
    client: &Client,
    memory: &mut Memory,
    outline: &Outline,
    progress: &dyn Progress,
) -> Result<bool, Trouble> {
    let wanted: Vec<(String, Option<HeaderValue>)> = outline
        .parts
        .templates
        .iter()
        .filter(|t| outline.templates_changed || !memory.uses.contains_key(&t.name))
        .map(|t| {
            let tag = memory.uses.get(&t.name).and_then(|(tag, _)| tag.clone());
            (t.name.clone(), tag)
        })
        .collect();
    let count = wanted.len();
    let mut answers = stream::iter(wanted)
        .map(async |(name, tag)| {
            let path = format!("/templates/{}.json", segment(&name));
            let fetched = client.get(&path, tag.as_ref(), TEMPLATE).await;
            (name, fetched)
        })
        .buffer_unordered(AT_ONCE);
    let mut done = 0;
    while let Some((name, fetched)) = answers.next().await {
        done += 1;
        progress.doing("templates", done, count);
        let known = match fetched.or_else(unless_gone)? {
            Fetched::Unchanged => continue,
            Fetched::Absent => (None, None),
            Fetched::Body { bytes, tag } => {
                let workflow = parse(&bytes, TEMPLATE.what).ok();
                (tag, workflow.as_ref().map(Uses::of))
            }
        };
        memory.uses.insert(name, known);
    }
    Ok(count > 0)
}

/// One file that cannot be read is left out; a ComfyUI that is gone ends the round.
fn unless_gone(e: Trouble) -> Result<Fetched, Trouble> {
    match e {
        Trouble::Status { .. } | Trouble::TooLarge { .. } | Trouble::Form { .. } => {
            Ok(Fetched::Absent)
        }
        Trouble::Down(_)
        | Trouble::Slow
        | Trouble::Closed(_)
        | Trouble::Broken(_)
        | Trouble::Index(_) => Err(e),
    }
}

async fn read_saved(
    client: &Client,
    memory: &mut Memory,
    outline: &Outline,
    progress: &dyn Progress,
) -> Result<bool, Trouble> {
    let files = &outline.files;
    memory
        .saved
        .retain(|path, _| files.iter().any(|f| f.path == *path));
    let wanted: Vec<SavedFile> = files
        .iter()
        .take(MAX_READ)
        .filter(|f| f.size <= MAX_SAVED)
        .filter(|f| {
            memory
                .saved
                .get(&f.path)
                .is_none_or(|(known, _)| known != *f)
        })
        .cloned()
        .collect();
    let count = wanted.len();
    let mut answers = stream::iter(wanted)
        .map(async |file| {
            let fetched = client.get(&saved_path(&file.path), None, SAVED_FILE).await;
            (file, fetched)
        })
        .buffer_unordered(AT_ONCE);
    let mut done = 0;
    while let Some((file, fetched)) = answers.next().await {
        done += 1;
        progress.doing("saved workflows", done, count);
        let body = fetched.or_else(unless_gone)?.body();
        let workflow = body.and_then(|b| parse(&b, SAVED_FILE.what).ok());
        let uses = workflow.as_ref().map(Uses::of).unwrap_or_default();
        memory.saved.insert(file.path.clone(), (file, uses));
    }
    Ok(count > 0)
}

/// ComfyUI takes the whole path as one segment.
pub(super) fn saved_path(path: &str) -> String {
    format!("/userdata/{}", segment(&format!("workflows/{path}")))
}

async fn read_docs(
    client: &Client,
    memory: &mut Memory,
    outline: &Outline,
    progress: &dyn Progress,
) -> Result<bool, Trouble> {
    let wanted: Vec<String> = outline
        .parts
        .nodes
        .iter()
        // The package of docs is ComfyUI's own and knows no custom nodes.
        .filter(|n| n.custom_pack().is_none() && !memory.asked.contains_key(&n.class))
        .take(MAX_ASKED)
        .map(|n| n.class.clone())
        .collect();
    let count = wanted.len();
    let mut answers = stream::iter(wanted)
        .map(async |class| {
            let docs = docs(client, &class).await;
            (class, docs)
        })
        .buffer_unordered(AT_ONCE);
    let mut done = 0;
    while let Some((class, docs)) = answers.next().await {
        done += 1;
        progress.doing("docs", done, count);
        if let Some(docs) = docs? {
            memory.docs.insert(class.clone(), docs);
        }
        memory.asked.insert(class, ());
    }
    Ok(count > 0)
}

async fn docs(client: &Client, class: &str) -> Result<Option<Docs>, Trouble> {
    let spellings = [Some(class.to_owned()), folder_of(class)];
    for folder in spellings.into_iter().flatten() {
        let Some(en) = page(client, &folder, "en").await? else {
            continue;
        };
        let zh = page(client, &folder, "zh").await?.unwrap_or_default();
        return Ok(Some(Docs { en, zh }));
    }
    Ok(None)
}

async fn page(client: &Client, folder: &str, language: &str) -> Result<Option<String>, Trouble> {
    let path = format!("/docs/{}/{language}.md", segment(folder));
    let fetched = client.get(&path, None, DOC).await.or_else(unless_gone)?;
    let text = |bytes: &[u8]| sound::text(&String::from_utf8_lossy(bytes), MAX_DOC);
    Ok(fetched
        .body()
        .map(|b| text(&b))
        .filter(|t| !t.trim().is_empty()))
}

/// The package of docs writes `ClipTextEncode` for the class `CLIPTextEncode`. `None` where the two are
/// the same.
fn folder_of(class: &str) -> Option<String> {
    let chars: Vec<char> = class.chars().collect();
    let mut out = String::with_capacity(class.len());
    for (at, c) in chars.iter().enumerate() {
        let upper = |at: Option<usize>| {
            at.and_then(|a| chars.get(a))
                .is_some_and(|c| c.is_uppercase())
        };
        let begins =
            !upper(at.checked_sub(1)) || chars.get(at + 1).is_some_and(|next| next.is_lowercase());
        match c.is_uppercase() && !begins {
            true => out.extend(c.to_lowercase()),
            false => out.push(*c),
        }
    }
    // `KSampler` keeps its two capitals.
    (out != class).then_some(out)
}

/// How long a round may take in all; it is given up then, and what is known stays.
pub(super) const ROUND: Duration = SECOND.saturating_mul(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docs_are_looked_for_under_the_spelling_of_their_folder() {
        for (class, folder) in [
            ("CLIPTextEncode", Some("ClipTextEncode")),
            ("VAEDecode", Some("VaeDecode")),
            ("CLIPTextEncodeSDXL", Some("ClipTextEncodeSdxl")),
            ("UNETLoader", Some("UnetLoader")),
            ("KSampler", None),
            ("LoadImage", None),
        ] {
            assert_eq!(folder_of(class).as_deref(), folder, "{class}");
        }
    }

    #[test]
    fn a_saved_workflow_is_one_segment() {
        assert_eq!(
            saved_path("a b/c.json"),
            "/userdata/workflows%2Fa%20b%2Fc.json"
        );
    }
}
