//! The `web_search` section: a search endpoint of the user's own, and the rule that follows from it.
//! Called by `compile`.
//!
//! It opens exactly that one path of that one host, for reading, to Airlock itself alone.

use super::{
    Secret,
    error::Errors,
    models::{reading, token, unread_on_its_way},
    places::Places,
    reader::Field,
};
use crate::{
    net::{BaseUrl, DomainPattern, Host},
    policy::{PathPattern, Rule},
};

/// Where `bing_search` of the chat searches the web. It speaks JSON as SearXNG does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSearchConfig {
    /// With its path: `http://127.0.0.1:8888/search`.
    pub endpoint: BaseUrl,
    /// Shown to it as a bearer.
    pub key: Option<Secret<String>>,
}

/// `None`: no web is searched.
pub(super) fn web_search(
    field: Option<Field>,
    places: &Places<'_>,
    errors: &mut Errors,
    notes: &mut Vec<String>,
) -> Option<WebSearchConfig> {
    let field = field.filter(|f| !f.is_off())?;
    let mut s = field.section(errors)?;
    let like = "a URL such as http://127.0.0.1:8888/search";
    let endpoint = s.require("endpoint", like, errors);
    let endpoint = endpoint.and_then(|f| f.parse(errors, like, unread_on_its_way));
    let key = token(&mut s, places, errors);
    s.close(errors);
    let endpoint = endpoint?;
    notes.push(format!(
        "the chat's web search asks {}: what is searched for goes there",
        endpoint.authority.host
    ));
    Some(WebSearchConfig { endpoint, key })
}

/// The one rule of it. `None` never comes of a URL that was read.
pub(super) fn rule(search: &WebSearchConfig) -> Option<Rule> {
    let BaseUrl {
        authority, path, ..
    } = &search.endpoint;
    let (hosts, ips) = match &authority.host {
        Host::Name(name) => (vec![DomainPattern::Exact(name.clone())], vec![]),
        Host::Ip(ip) => (vec![], vec![*ip]),
    };
    let path = match path.as_str() {
        "" => "/",
        path => path,
    };
    Some(Rule {
        ips,
        paths: vec![PathPattern::parse(path).ok()?],
        reason: Some("airlock itself searches the web here".into()),
        ..reading("web_search".into(), hosts, authority.port, None)
    })
}
