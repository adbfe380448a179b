//! Which LLM is used now, and what it serves: found, remembered, looked at again.
//!
//! A call never waits for a look-up that is not needed: a known list is used while it is
//! refreshed behind. All waiting is bounded by [`super::settings::Timeouts`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use tokio::sync::Mutex;

use super::{
    discovery::{self, ProbeResult, ServerKind},
    link::Link,
    settings::GatewaySettings,
};
use crate::{
    llm::{models::ModelList, problem::Problem},
    metrics::Metrics,
    net::BaseUrl,
    upstream::http_client::HttpClient,
};

/// A list older than this is refreshed behind the next use.
const FRESH: Duration = Duration::from_secs(10);
/// A failed look-up is not repeated before this.
const AGAIN: Duration = Duration::from_secs(2);

/// The LLM in use.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub base: BaseUrl,
    pub kind: ServerKind,
    /// `None`: it does not tell, or has not been asked with success.
    pub models: Option<ModelList>,
    /// Found by ourselves, so it may be replaced by another.
    pub discovered: bool,
    pub(super) link: Link,
    listed_at: Instant,
}

/// What `airlock doctor`, the admin page and `/ready` tell of the LLM.
#[derive(Clone, Debug)]
pub struct Status {
    /// Base URL in use or configured.
    pub url: Option<String>,
    pub kind: Option<ServerKind>,
    pub up: bool,
    pub discovered: bool,
    pub models: Vec<String>,
    /// The newest problem, until a call succeeds.
    pub problem: Option<String>,
}

pub struct Directory {
    settings: Arc<GatewaySettings>,
    client: HttpClient,
    metrics: Arc<Metrics>,
    current: ArcSwapOption<Upstream>,
    /// The newest one that answered, gone or not.
    last: ArcSwapOption<Upstream>,
    problem: ArcSwapOption<Problem>,
    /// One look-up at a time; holds when the last one failed.
    looking: Mutex<Option<Instant>>,
}

impl Directory {
    pub fn new(settings: Arc<GatewaySettings>, client: HttpClient, metrics: Arc<Metrics>) -> Self {
        Self {
            settings,
            client,
            metrics,
            current: ArcSwapOption::empty(),
            last: ArcSwapOption::empty(),
            problem: ArcSwapOption::empty(),
            looking: Mutex::new(None),
        }
    }

    /// The LLM to call. Looks for it the first time, and after it was lost.
    pub async fn current(self: &Arc<Self>) -> Result<Arc<Upstream>, Problem> {
        if let Some(upstream) = self.current.load_full() {
            // A look-up under way is enough.
            if upstream.listed_at.elapsed() > FRESH && self.looking.try_lock().is_ok() {
                let this = self.clone();
                tokio::spawn(async move { this.look(Some(FRESH)).await });
            }
            return Ok(upstream);
        }
        self.look(None).await
    }

    /// The LLM with a list no older than [`FRESH`], else what was last known.
    pub async fn listed(self: &Arc<Self>) -> Result<Arc<Upstream>, Problem> {
        match self.current.load_full() {
            // A look that brought no list stands as long: an LLM that hangs on its list must not
            // cost every caller the whole wait (it freezes ComfyUI, WIRE.md 0.4).
            Some(upstream) if upstream.listed_at.elapsed() <= FRESH => Ok(upstream),
            _ => self.look(Some(FRESH)).await,
        }
    }

    /// What was last known, for a list that must not be empty.
    pub fn last_known(&self) -> Option<Arc<Upstream>> {
        self.last.load_full()
    }

    /// Looks again now: a model was missing that the list had.
    pub async fn refresh(self: &Arc<Self>) -> Result<Arc<Upstream>, Problem> {
        self.look(Some(Duration::ZERO)).await
    }

    /// A call could not connect. Gives another LLM if one was found meanwhile.
    pub async fn lost(
        self: &Arc<Self>,
        upstream: &Upstream,
        problem: &Problem,
    ) -> Option<Arc<Upstream>> {
        self.note_down(&upstream.base, problem);
        if !upstream.discovered {
            return None;
        }
        let known = self.current.load_full()?;
        if known.base != upstream.base {
            return Some(known);
        }
        self.current.store(None);
        self.look(None).await.ok()
    }

    /// A call was answered. Costs next to nothing where that is no news.
    pub fn answers(&self, upstream: &Upstream) {
        if self.problem.load().is_some() {
            self.note_up(&upstream.base);
        }
    }
    fn note_up(&self, base: &BaseUrl) {
        self.metrics.llm_up(&base.authority.to_string(), true);
        self.problem.store(None);
    }
    pub fn note_down(&self, base: &BaseUrl, problem: &Problem) {
        self.metrics.llm_up(&base.authority.to_string(), false);
        self.problem.store(Some(Arc::new(problem.clone())));
    }

    pub fn status(&self) -> Status {
        let current = self.current.load_full();
        let problem = self.problem.load_full();
        let url = current
            .as_ref()
            .map(|u| &u.base)
            .or(self.settings.base_url.as_ref());
        let models = current.as_ref().and_then(|u| u.models.as_ref());
        Status {
            url: url.map(BaseUrl::to_string),
            kind: current.as_ref().map(|u| u.kind),
            up: current.is_some() && problem.is_none(),
            discovered: current.as_ref().is_some_and(|u| u.discovered),
            models: models
                .into_iter()
                .flat_map(|l| l.models.iter().map(|m| m.id.clone()))
                .collect(),
            problem: problem.map(|p| p.explain()),
        }
    }

    /// Asks the configured LLM for its list, or looks for one. `fresh`: how old a list may be to be
    /// taken instead; `None` takes any.
    async fn look(self: &Arc<Self>, fresh: Option<Duration>) -> Result<Arc<Upstream>, Problem> {
        let mut failed_at = self.looking.lock().await;
        // Someone else may have looked while we waited.
        if let Some(upstream) = self.current.load_full()
            && fresh.is_none_or(|fresh| {
                upstream.models.is_some() && upstream.listed_at.elapsed() < fresh
            })
        {
            return Ok(upstream);
        }
        if failed_at.is_some_and(|at| at.elapsed() < AGAIN) {
            return match (self.current.load_full(), self.problem.load_full()) {
                (Some(known), _) => Ok(known),
                (None, Some(problem)) => Err((*problem).clone()),
                (None, None) => Err(self.none_found()),
            };
        }
        // Boxed: a call rarely has to look, and would carry their place along.
        let result = match &self.settings.base_url {
            Some(base) => Box::pin(self.look_at(base)).await,
            None => Box::pin(self.look_around()).await,
        };
        match result {
            Ok(upstream) => {
                *failed_at = None;
                self.note_up(&upstream.base);
                let upstream = Arc::new(upstream);
                self.last.store(Some(upstream.clone()));
                self.current.store(Some(upstream.clone()));
                Ok(upstream)
            }
            Err(problem) => {
                *failed_at = Some(Instant::now());
                match &self.settings.base_url {
                    Some(base) => self.note_down(base, &problem),
                    None => {
                        // It may be down for a moment: its list stays for the page, in `problem`'s light.
                        if let Some(known) = self.current.load_full() {
                            self.note_down(&known.base, &problem);
                        } else {
                            self.problem.store(Some(Arc::new(problem.clone())));
                        }
                    }
                }
                self.current.load_full().ok_or(problem)
            }
        }
    }

    async fn look_at(&self, base: &BaseUrl) -> Result<Upstream, Problem> {
        let probe = discovery::probe(
            &self.client,
            base,
            self.settings.api_key.as_ref(),
            self.settings.timeouts.models,
        );
        match probe.await {
            Ok(found) => Upstream::found(found, Some(&self.settings)),
            Err(problem) => match problem {
                // It is there, but gives no list; calls may well work.
                Problem::Refused(_) | Problem::NotOpenAi { .. } | Problem::Slow { .. } => {
                    let known = self.current.load_full().and_then(|u| u.models.clone());
                    Ok(Upstream {
                        link: Link::to(base, self.settings.api_key.as_ref())?,
                        base: base.clone(),
                        kind: ServerKind::Other,
                        models: known,
                        discovered: false,
                        listed_at: Instant::now(),
                    })
                }
                Problem::NoneFound { .. }
                | Problem::Unreachable { .. }
                | Problem::Tls { .. }
                | Problem::Broken { .. }
                | Problem::BadRequest { .. } => Err(problem),
            },
        }
    }

    async fn look_around(&self) -> Result<Upstream, Problem> {
        if !self.settings.discover {
            return Err(self.none_found());
        }
        let timeouts = &self.settings.timeouts;
        // The one in use goes first, so that a second server's start changes nothing.
        if let Some(known) = self.current.load_full()
            && let Ok(found) =
                discovery::probe(&self.client, &known.base, None, timeouts.models).await
        {
            return Upstream::found(found, None);
        }
        let urls = &self.settings.discover_urls;
        let found = discovery::discover(&self.client, urls, timeouts.discovery).await;
        Upstream::found(found.ok_or_else(|| self.none_found())?, None)
    }

    fn none_found(&self) -> Problem {
        let tried: &[BaseUrl] = if self.settings.discover {
            &self.settings.discover_urls
        } else {
            &[]
        };
        Problem::NoneFound {
            tried: tried.iter().map(BaseUrl::to_string).collect(),
        }
    }
}

impl Upstream {
    /// `configured`: by whom; `None` if we came upon it. Such a one never sees the key.
    fn found(probe: ProbeResult, configured: Option<&GatewaySettings>) -> Result<Self, Problem> {
        let key = configured.and_then(|settings| settings.api_key.as_ref());
        Ok(Self {
            link: Link::to(&probe.url, key)?,
            base: probe.url,
            kind: probe.kind,
            models: Some(probe.models),
            discovered: configured.is_none(),
            listed_at: Instant::now(),
        })
    }
}
