//! The `models` section: where the model dialog's searches and downloads go, and the rules that follow
//! from it. Called by `compile`.
//!
//! A source that is named opens exactly its hosts, for reading, to Airlock itself alone: the rules are of
//! [`Entry::Models`], by which no client comes.

use std::{fs, path::PathBuf, sync::Arc};

use super::{
    Secret,
    error::Errors,
    places::Places,
    reader::{Field, Section},
    sections,
};
use crate::{
    net::{AddressClass, BaseUrl, DomainPattern, Entry, Host, Port, Scheme, classify},
    policy::{
        Ports, Rule, RuleAction, RuleName, Terms,
        secrets::SecretMode,
        terms::{READ_ONLY_HEADER_BYTES, READ_ONLY_QUERY_BYTES},
    },
    weights::{Format, Formats, Source},
};

/// `ALLOWED_MODEL_SOURCES=local,huggingface`.
const SOURCES: &str = "ALLOWED_MODEL_SOURCES";
const HUGGING_FACE: &str = "https://huggingface.co";
const CIVITAI: &str = "https://civitai.com";
/// Stores that huggingface.co redirects to; as in the pack `model-downloads`.
const HUGGING_FACE_STORES: [&str; 8] = [
    "cdn-lfs.huggingface.co",
    "cdn-lfs-us-1.huggingface.co",
    "cdn-lfs-eu-1.huggingface.co",
    "cdn-lfs.hf.co",
    "cdn-lfs-us-1.hf.co",
    "cdn-lfs-eu-1.hf.co",
    "cas-bridge.xethub.hf.co",
    "*.cdn.hf.co",
];
/// Stores that civitai.com redirects to.
const CIVITAI_STORES: [&str; 2] = [
    "b2.civitai.com",
    "civitai-delivery-worker-prod.5ac0637cfd0766c97916cefa3764fbdf.r2.cloudflarestorage.com",
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelsConfig {
    /// In the order in which their hits are shown.
    pub sources: Vec<Source>,
    /// ComfyUI's models folder, where Airlock can see it.
    pub dir: Option<PathBuf>,
    /// A ComfyUI whose models are listed; absent: the one behind the front door, if any.
    pub comfyui: Option<BaseUrl>,
    /// Beside safetensors.
    pub formats: Formats,
    pub huggingface: HubConfig,
    pub civitai: HubConfig,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubConfig {
    pub endpoint: BaseUrl,
    /// Its token or key; sent to the endpoint and nowhere else.
    pub key: Option<Secret<String>>,
    /// Hosts that its downloads are redirected to.
    pub download_hosts: Vec<DomainPattern>,
    /// The endpoint is the user's own choice.
    chosen: bool,
}

impl HubConfig {
    /// `None` only for constants that are no URL, which a test would show.
    fn usual(endpoint: &str, stores: &[&str]) -> Option<Self> {
        Some(Self {
            endpoint: BaseUrl::parse(endpoint).ok()?,
            key: None,
            download_hosts: stores
                .iter()
                .filter_map(|h| DomainPattern::parse(h).ok())
                .collect(),
            chosen: false,
        })
    }

    /// It may be at a private address: the configuration names it.
    pub fn is_chosen(&self) -> bool {
        self.chosen
    }
}

impl ModelsConfig {
    pub fn hub(&self, source: Source) -> Option<&HubConfig> {
        match source {
            Source::Local => None,
            Source::HuggingFace => Some(&self.huggingface),
            Source::Civitai => Some(&self.civitai),
        }
    }

    /// Hubs that are on.
    pub fn hubs(&self) -> impl Iterator<Item = (Source, &HubConfig)> {
        let on = self.sources.iter().copied();
        on.filter_map(|source| Some((source, self.hub(source)?)))
    }
}

/// The section over its defaults, and the environment over the section. `None` never comes of a file.
pub(super) fn models(
    field: Option<Field>,
    places: &Places<'_>,
    errors: &mut Errors,
    notes: &mut Vec<String>,
) -> Option<ModelsConfig> {
    let mut out = ModelsConfig {
        sources: vec![Source::Local],
        dir: None,
        comfyui: None,
        formats: Formats::default(),
        huggingface: HubConfig::usual(HUGGING_FACE, &HUGGING_FACE_STORES)?,
        civitai: HubConfig::usual(CIVITAI, &CIVITAI_STORES)?,
    };
    if let Some(mut s) = field.and_then(|f| f.section(errors)) {
        read(&mut s, &mut out, places, errors);
        s.close(errors);
    }
    if let Some(text) = places.var(SOURCES) {
        let named: Vec<&str> = text
            .split(',')
            .map(str::trim)
            .filter(|s| !s.is_empty())
            .collect();
        match named
            .iter()
            .map(|n| source(n))
            .collect::<Result<Vec<_>, _>>()
        {
            Ok(sources) => {
                if sources != out.sources && out.sources != [Source::Local] {
                    notes.push(format!("{SOURCES} is set and wins over models.sources"));
                }
                out.sources = sources;
                out.sources.sort_unstable();
                out.sources.dedup();
            }
            Err(e) => errors.env(SOURCES, e),
        }
    }
    usual_key(
        "HF_TOKEN",
        Source::HuggingFace,
        &mut out,
        places,
        notes,
        errors,
    );
    usual_key(
        "CIVITAI_API_TOKEN",
        Source::Civitai,
        &mut out,
        places,
        notes,
        errors,
    );
    let hosts = hubs_of(&out);
    if !hosts.is_empty() {
        notes.push(format!(
            "models are searched at {hosts}: what is typed into the model dialog goes there"
        ));
    }
    Some(out)
}

fn hubs_of(models: &ModelsConfig) -> String {
    let hosts: Vec<_> = models
        .hubs()
        .map(|(_, hub)| hub.endpoint.authority.host.to_string())
        .collect();
    hosts.join(" and ")
}

fn source(text: &str) -> Result<Source, String> {
    Source::parse(text).ok_or_else(|| {
        format!("{text:?} is no source of models: write local, huggingface or civitai")
    })
}

fn read(s: &mut Section, out: &mut ModelsConfig, places: &Places<'_>, errors: &mut Errors) {
    if let Some(field) = s.take("sources") {
        let mut sources = Vec::new();
        for field in field.list(errors).unwrap_or_default() {
            let (path, line) = (field.path.clone(), field.line);
            let Some(source) = field.parse(errors, "local, huggingface or civitai", source) else {
                continue;
            };
            match sources.contains(&source) {
                true => errors.add(
                    &path,
                    Some(line),
                    format!("{source} is there twice: keep one"),
                ),
                false => sources.push(source),
            }
        }
        out.sources = sources;
    }
    out.dir = places.dir(s, errors, "ComfyUI's models folder");
    out.comfyui = s.take("comfyui").and_then(|f| {
        f.parse(
            errors,
            "a URL such as http://127.0.0.1:8188",
            BaseUrl::parse,
        )
    });
    if let Some(field) = s.take("allow_formats") {
        let fields = field.list(errors).unwrap_or_default();
        let formats = fields.into_iter().filter_map(|f| {
            f.parse(errors, "ckpt, pt, pth or bin", |text| {
                let found = Format::ALL.into_iter().find(|f| f.as_str() == text);
                found.ok_or_else(|| {
                    format!("{text:?} is no format of weights: write ckpt, pt, pth or bin")
                })
            })
        });
        out.formats = Formats::with(formats.collect());
    }
    if let Some(field) = s.take("huggingface") {
        hub(field, &mut out.huggingface, places, errors);
    }
    if let Some(field) = s.take("civitai") {
        hub(field, &mut out.civitai, places, errors);
    }
}

fn hub(field: Field, out: &mut HubConfig, places: &Places<'_>, errors: &mut Errors) {
    let Some(mut s) = field.section(errors) else {
        return;
    };
    let endpoint = s.take("endpoint").and_then(|f| {
        f.parse(
            errors,
            "a URL such as https://huggingface.co",
            unread_on_its_way,
        )
    });
    if let Some(endpoint) = endpoint {
        out.chosen = endpoint != out.endpoint;
        out.endpoint = endpoint;
    }
    out.key = token(&mut s, places, errors);
    if let Some(field) = s.take("download_hosts") {
        let fields = field.list(errors).unwrap_or_default();
        out.download_hosts = fields
            .into_iter()
            .filter_map(|f| {
                f.parse(
                    errors,
                    "a host such as cdn.example.com",
                    DomainPattern::parse,
                )
            })
            .collect();
    }
    s.close(errors);
}

/// A URL that keys and questions may be sent to: encrypted, or near.
pub(super) fn unread_on_its_way(text: &str) -> Result<BaseUrl, String> {
    let url = BaseUrl::parse(text).map_err(|e| e.to_string())?;
    if url.scheme == Scheme::Http && !is_near(&url.authority.host) {
        let words = "is not encrypted on its way through the internet: write https://";
        return Err(words.to_owned());
    }
    Ok(url)
}

/// This machine, or one of the same house.
fn is_near(host: &Host) -> bool {
    match host {
        Host::Ip(ip) => classify(*ip) != AddressClass::Public,
        Host::Name(name) => !name.contains('.') || name.ends_with(".localhost"),
    }
}

/// From a variable or a file; the message must not show it.
pub(super) fn token(
    s: &mut Section,
    places: &Places<'_>,
    errors: &mut Errors,
) -> Option<Secret<String>> {
    let variable = s.take("token_env");
    let file = s.take("token_file");
    if variable.is_some() && file.is_some() {
        s.error(
            errors,
            "names the token twice: keep one of token_env, token_file",
        );
        return None;
    }
    if let Some(field) = variable {
        return field.parse(errors, "the name of a variable", |name| {
            let value = places.var(name).ok_or_else(|| {
                format!("variable {name} is not set: set it, or leave token_env out")
            })?;
            sections::key(value).map_err(str::to_owned)
        });
    }
    file?.parse(errors, "a file name", |name| {
        let path = places.resolve(name);
        let text = fs::read_to_string(&path)
            .map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        sections::key(text.trim_end_matches(['\r', '\n'])).map_err(str::to_owned)
    })
}

/// The variable that other programs read as well, for the hub itself and no mirror of it.
fn usual_key(
    name: &'static str,
    source: Source,
    models: &mut ModelsConfig,
    places: &Places<'_>,
    notes: &mut Vec<String>,
    errors: &mut Errors,
) {
    let on = models.sources.contains(&source);
    let hub = match source {
        Source::Local => return,
        Source::HuggingFace => &mut models.huggingface,
        Source::Civitai => &mut models.civitai,
    };
    let Some(text) = places.var(name).filter(|_| on && hub.key.is_none()) else {
        return;
    };
    if hub.chosen {
        notes.push(format!(
            "{name} is set and not sent to {}: name it in models.{source}.token_env if it should be",
            hub.endpoint.authority.host
        ));
        return;
    }
    match sections::key(text) {
        Ok(key) => {
            notes.push(format!(
                "{name} is set and sent to {} alone",
                hub.endpoint.authority.host
            ));
            hub.key = Some(key);
        }
        Err(e) => errors.env(name, e),
    }
}

/// Two rules for each hub that is on.
pub(super) fn rules(models: &ModelsConfig) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (source, hub) in models.hubs() {
        let (hosts, ips) = match &hub.endpoint.authority.host {
            Host::Name(name) => (vec![DomainPattern::Exact(name.clone())], vec![]),
            Host::Ip(ip) => (vec![], vec![*ip]),
        };
        rules.push(Rule {
            ips,
            reason: Some("airlock itself searches models here".into()),
            ..reading(
                format!("models/{source}"),
                hosts,
                hub.endpoint.authority.port,
                None,
            )
        });
        if !hub.download_hosts.is_empty() {
            rules.push(Rule {
                reason: Some("airlock itself fetches models here".into()),
                ..reading(
                    format!("models/{source}-files"),
                    hub.download_hosts.clone(),
                    Port::HTTPS,
                    // The hub wrote the address, signed with a key id of its store's.
                    Some(SecretMode::Off),
                )
            });
        }
    }
    rules
}

/// Allows GETs without a body of Airlock's own.
pub(super) fn reading(
    name: String,
    hosts: Vec<DomainPattern>,
    port: Port,
    secrets: Option<SecretMode>,
) -> Rule {
    Rule {
        name: RuleName::new(name),
        hosts,
        ips: vec![],
        ports: Ports::List(vec![port]),
        methods: vec!["GET".into()],
        paths: vec![],
        clients: vec![],
        entries: vec![Entry::Models],
        action: RuleAction::Forward,
        upgrade: false,
        mode: None,
        reason: None,
        terms: Some(Arc::new(Terms {
            read_only: true,
            max_query_bytes: Some(READ_ONLY_QUERY_BYTES),
            max_header_bytes: Some(READ_ONLY_HEADER_BYTES),
            secrets,
            ..Terms::default()
        })),
    }
}
