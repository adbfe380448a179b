//! The `llm.providers` list: LLMs that may be asked with the OpenAI key that the page seals for this
//! machine (WIRE.md 10, 14), and the rules that follow from it. Called by `sections` and `compile`.
//!
//! Each opens exactly one path of one host, to Airlock itself alone, and holds no key: who has none in the
//! plugin's settings asks nobody by it.

use std::sync::Arc;

use super::{
    error::Errors, model::Provider, models::unread_on_its_way, reader::Field, sections::model_name,
};
use crate::{
    net::{BaseUrl, DomainPattern, Entry, Host},
    policy::{PathPattern, Ports, Rule, RuleAction, RuleName},
};

/// Behind a provider's base URL: the one path that is asked.
pub const COMPLETIONS: &str = "/chat/completions";
const MAX_PROVIDERS: usize = 16;

pub(super) fn providers(field: Field, errors: &mut Errors) -> Vec<Provider> {
    let (path, line) = (field.path.clone(), field.line);
    let mut out: Vec<Provider> = Vec::new();
    for field in field.list(errors).unwrap_or_default() {
        let (path, line) = (field.path.clone(), field.line);
        let Some(provider) = provider(field, errors) else {
            continue;
        };
        match out.iter().any(|p| p.base_url == provider.base_url) {
            true => errors.add(&path, Some(line), "stands there twice: keep one of them"),
            false => out.push(provider),
        }
    }
    if out.len() > MAX_PROVIDERS {
        let words = format!("are too many: name at most {MAX_PROVIDERS}");
        errors.add(&path, Some(line), words);
    }
    out
}

fn provider(field: Field, errors: &mut Errors) -> Option<Provider> {
    let mut s = field.section(errors)?;
    let like = "a URL such as https://api.openai.com/v1";
    let base_url = s.require("base_url", like, errors);
    let base_url = base_url.and_then(|f| f.parse(errors, like, unread_on_its_way));
    let model = s
        .require("model", "gpt-4.1-mini", errors)
        .and_then(|f| f.parse(errors, "a model name", model_name));
    s.close(errors);
    Some(Provider {
        base_url: base_url?,
        model: model?,
    })
}

/// One rule for each. `None` never comes of a URL that was read.
pub(super) fn rules(providers: &[Provider]) -> impl Iterator<Item = Rule> {
    (1..).zip(providers).filter_map(|(number, provider)| {
        let BaseUrl {
            scheme: _,
            authority,
            path,
        } = &provider.base_url;
        let (hosts, ips) = match &authority.host {
            Host::Name(name) => (vec![DomainPattern::Exact(name.clone())], vec![]),
            Host::Ip(ip) => (vec![], vec![*ip]),
        };
        Some(Rule {
            name: RuleName::new(format!("llm.providers/{number}")),
            hosts,
            ips,
            ports: Ports::List(vec![authority.port]),
            methods: vec!["POST".into()],
            paths: vec![PathPattern::parse(&format!("{path}{COMPLETIONS}")).ok()?],
            clients: vec![],
            entries: vec![Entry::Models],
            action: RuleAction::Forward,
            upgrade: false,
            mode: None,
            reason: Some(Arc::from(
                "airlock itself asks here, with the key that the page sealed",
            )),
            terms: None,
        })
    })
}
