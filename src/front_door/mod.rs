//! Airlock before ComfyUI: the page as the browser gets it, and what the browser says back.
//!
//! [`FrontDoor`] holds the headers that tell a browser what the page may reach, and the addresses that
//! are rewritten; both change with the policy. [`page`] fetches scripts and documents from ComfyUI and rewrites
//! them, which takes the whole body, because its tag and the hashes of its scripts stand in the head;
//! everything else streams through `proxy::forward`. [`cards`] keeps what the tools of a chat gave for the last
//! line of its answer. [`own`] is what is below `/airlock/`: [`reports`] takes `POST /airlock/csp`, [`login`] lets
//! people in and out, and [`receipts`] shows what was sent where.
//!
//! It dials through `upstream` alone, and decides nothing: the request checkpoint has, before.

mod cards;
mod down;
mod login;
mod own;
mod page;
mod receipts;
mod reports;

use std::{sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::{
    comfyui::{ComfyUi, News},
    limit::breaker::Breaker,
    metrics::Metrics,
    net::{DomainPattern, Host},
    page::{COPILOT_PATH, PagePolicy, PageSettings, Replacements, ScriptHash},
    policy::{CompiledPolicy, Responder, RuleAction},
    upstream::http_client::{HttpClient, Origin},
};

pub use cards::{Cards, GENERATES, RECALLS};
pub use down::busy;
pub use login::{LoginPages, ORIGIN_SEEN};
pub use own::OwnPages;
pub use page::wants;
pub use receipts::{ReceiptPages, ReceiptSource};
pub use reports::ReportResponder;

/// Bodies that are rewritten at a time; the others wait. A page loads six at once.
const REWRITES: usize = 8;

/// Takes out of a response what an upstream must not say to a client; `proxy` has it, for whatever is
/// forwarded. The host is the one that the client called.
pub type Clean = fn(StatusCode, &mut HeaderMap, &Host);

pub struct FrontDoorDeps {
    pub clean: Clean,
    pub comfyui: Origin,
    pub client: HttpClient,
    /// The same that `proxy` asks.
    pub breaker: Arc<Breaker>,
    pub settings: PageSettings,
    pub metrics: Arc<Metrics>,
    /// What the tools of the chat gave, for its last line.
    pub cards: Arc<Cards>,
    /// What the tools answer from; told of what the page saves.
    pub known: Option<Arc<ComfyUi>>,
}

pub struct FrontDoor {
    clean: Clean,
    comfyui: Origin,
    client: HttpClient,
    breaker: Arc<Breaker>,
    settings: PageSettings,
    metrics: Arc<Metrics>,
    cards: Arc<Cards>,
    known: Option<Arc<ComfyUi>>,
    told: ArcSwap<Told>,
    rewrites: Semaphore,
}

/// What follows from the policy.
struct Told {
    page: PagePolicy,
    /// For what is no document: without hashes.
    headers: Vec<(HeaderName, HeaderValue)>,
    replacements: Replacements,
}

impl Told {
    fn of(policy: &CompiledPolicy, settings: PageSettings) -> Self {
        let page = PagePolicy::compile(policy, settings);
        Self {
            headers: values(&page, &[]),
            page,
            replacements: Replacements::new(vendor_hosts(policy), COPILOT_PATH),
        }
    }
}

/// Hosts that the stand-in for the vendor answers: what the page's scripts have compiled in.
fn vendor_hosts(policy: &CompiledPolicy) -> impl Iterator<Item = &str> {
    let answered = RuleAction::Respond(Responder::Copilot);
    let rules = policy.rules().iter().filter(move |r| r.action == answered);
    rules.flat_map(|r| &r.hosts).filter_map(|host| match host {
        DomainPattern::Exact(name) => Some(&**name),
        // A pattern is no address that could stand in a script.
        DomainPattern::Below(_) => None,
    })
}

fn values(page: &PagePolicy, scripts: &[ScriptHash]) -> Vec<(HeaderName, HeaderValue)> {
    page.headers(scripts)
        .into_iter()
        .filter_map(|(name, value)| {
            // Made of host patterns and our own words: always a value.
            let value = HeaderValue::from_str(&value).ok()?;
            Some((HeaderName::from_static(name), value))
        })
        .collect()
}

impl FrontDoor {
    pub fn new(deps: FrontDoorDeps, policy: &CompiledPolicy) -> Self {
        let FrontDoorDeps {
            clean,
            comfyui,
            client,
            breaker,
            settings,
            metrics,
            cards,
            known,
        } = deps;
        Self {
            clean,
            comfyui,
            client,
            breaker,
            settings,
            metrics,
            cards,
            known,
            told: ArcSwap::from_pointee(Told::of(policy, settings)),
            rewrites: Semaphore::new(REWRITES),
        }
    }

    /// From now on the browser is told this policy. Returns what a person should know about it.
    pub fn follow(&self, policy: &CompiledPolicy) -> Vec<String> {
        self.told.store(Arc::new(Told::of(policy, self.settings)));
        self.notes()
    }

    /// Rules that were meant to open something to the page, and cannot.
    pub fn notes(&self) -> Vec<String> {
        self.told.load().page.notes.clone()
    }

    /// The cards of one session's turn, taken out.
    pub fn cards(&self, session: &str, since: Instant) -> Option<Value> {
        self.cards.take(session, since)
    }

    /// ComfyUI did what the page asked of it; a workflow that it saved is news for the chat.
    pub fn done(&self, method: &Method, path: &str) {
        if let Some(known) = self
            .known
            .as_ref()
            .filter(|_| changes_workflows(method, path))
        {
            known.news(News::There);
        }
    }

    /// Calls `add` with each header for a response that is no rewritten document.
    pub fn tell<E>(
        &self,
        mut add: impl FnMut(&HeaderName, &HeaderValue) -> Result<(), E>,
    ) -> Result<(), E> {
        let told = self.told.load();
        told.headers
            .iter()
            .try_for_each(|(name, value)| add(name, value))
    }
}

/// Saved, moved or removed, below the folder of workflows in a user's data.
fn changes_workflows(method: &Method, path: &str) -> bool {
    let path = path.strip_prefix("/api").unwrap_or(path);
    let Some(file) = path.strip_prefix("/userdata/workflows") else {
        return false;
    };
    let below =
        file.starts_with('/') || file.get(..3).is_some_and(|s| s.eq_ignore_ascii_case("%2f"));
    below && [Method::POST, Method::PUT, Method::DELETE].contains(method)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workflow_that_is_saved_is_told_from_everything_else() {
        for (method, path, want) in [
            (Method::POST, "/api/userdata/workflows%2Fcat.json", true),
            (Method::POST, "/userdata/workflows%2fa%2Fcat.json", true),
            (Method::POST, "/userdata/workflows/cat.json", true),
            (
                Method::POST,
                "/api/userdata/workflows%2Fa.json/move/workflows%2Fb.json",
                true,
            ),
            (Method::DELETE, "/api/userdata/workflows%2Fcat.json", true),
            (Method::GET, "/api/userdata/workflows%2Fcat.json", false),
            (Method::POST, "/api/userdata/comfy.settings.json", false),
            (Method::POST, "/api/userdata/workflows.json", false),
            (Method::POST, "/api/userdata/workflows%2", false),
            (Method::POST, "/api/prompt", false),
        ] {
            assert_eq!(changes_workflows(&method, path), want, "{method} {path}");
        }
    }
}
