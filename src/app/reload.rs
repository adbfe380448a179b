//! A new configuration into the running program: read and compiled beside the old one, swapped at
//! once, and what it refuses is cut.
//!
//! Triggers: SIGHUP (`cli run`), the file watch ([`Reloader::watch`]) and `POST /reload`. Everything
//! that can fail comes first; a broken file changes nothing. Rules, packs, mode, private addresses,
//! the CAs of upstreams and the names of our own CA are reloaded; the rest is named as wanting a
//! restart.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio_util::sync::CancellationToken;

use super::{build, error::StartError};
use crate::{
    admin::{ReloadReport, ReloadStatus},
    config::{
        self, AuditConfig, ComfyUiConfig, Config, EgressConfig, Limits, Listeners, LlmConfig,
        ModelsConfig, SelftestConfig, SessionConfig, UsersConfig, WebSearchConfig,
        watch::{Stamp, Watch},
    },
    policy::{AddressPolicy, CompiledPolicy, diff},
    proxy::Services,
    tls::{ClientTls, LeafCache, RootCa, SystemRoots, write_bundle},
    upstream::{ech::EchGuard, private_ca::PrivateCas},
};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Lines of a list that are logged and answered; a thousand rules need not be read one by one.
const LINES: usize = 20;

/// What asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    Sighup,
    File,
    Admin,
}

impl Trigger {
    pub fn as_str(self) -> &'static str {
        match self {
            Trigger::Sighup => "sighup",
            Trigger::File => "file",
            Trigger::Admin => "admin",
        }
    }
}

/// What stays as it was at the start.
#[derive(Clone)]
struct Fixed {
    state_dir: PathBuf,
    listeners: Listeners,
    llm: LlmConfig,
    models: ModelsConfig,
    comfyui: Option<ComfyUiConfig>,
    web_search: Option<WebSearchConfig>,
    audit: AuditConfig,
    limits: Limits,
    selftest: SelftestConfig,
    egress: EgressConfig,
    session: SessionConfig,
    users: UsersConfig,
}

impl Fixed {
    fn of(config: &Config) -> Self {
        Self {
            state_dir: config.state_dir.clone(),
            listeners: config.listeners.clone(),
            llm: config.llm.clone(),
            models: config.models.clone(),
            comfyui: config.comfyui.clone(),
            web_search: config.web_search.clone(),
            audit: config.audit.clone(),
            limits: config.limits.clone(),
            selftest: config.selftest.clone(),
            egress: config.egress.clone(),
            session: config.session.clone(),
            users: config.users.clone(),
        }
    }

    fn changed_in(&self, config: &Config) -> Vec<String> {
        let Self {
            state_dir,
            listeners,
            llm,
            models,
            comfyui,
            web_search,
            audit,
            limits,
            selftest,
            egress,
            session,
            users,
        } = self;
        [
            ("state_dir", *state_dir != config.state_dir),
            ("listeners", *listeners != config.listeners),
            ("llm", *llm != config.llm),
            ("models", *models != config.models),
            ("comfyui", *comfyui != config.comfyui),
            ("web_search", *web_search != config.web_search),
            ("audit", *audit != config.audit),
            ("limits", *limits != config.limits),
            ("selftest", *selftest != config.selftest),
            ("egress", *egress != config.egress),
            ("session", *session != config.session),
            ("users", *users != config.users),
        ]
        .into_iter()
        .filter(|(_, changed)| *changed)
        .map(|(name, _)| name.to_owned())
        .collect()
    }

    /// The LLM and the proxy that are in use stay where they are, whatever the new file says.
    fn keep_open(&self, addresses: &mut AddressPolicy) {
        match &self.llm.base_url {
            Some(url) => addresses.permit_private(url.authority.clone()),
            None if self.llm.discover => {
                let ports = self.llm.discover_ports.iter();
                ports.for_each(|url| addresses.permit_private(url.authority.clone()));
            }
            None => {}
        }
        if let Some(comfyui) = &self.comfyui {
            addresses.permit_private(comfyui.url.authority.clone());
        }
        if let Some(search) = &self.web_search {
            addresses.permit_private(search.endpoint.authority.clone());
        }
        if let Some(proxy) = &self.egress.upstream_proxy {
            addresses.permit_private(proxy.authority.clone());
        }
    }
}

/// What was loaded last, for the control plane.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    pub packs: Vec<String>,
    pub last: Option<ReloadStatus>,
}

pub struct Reloader {
    services: Arc<Services>,
    /// As it was at the start.
    environment: HashMap<String, String>,
    file: Option<PathBuf>,
    watch: Mutex<Watch>,
    fixed: Fixed,
    roots: SystemRoots,
    loaded: ArcSwap<Loaded>,
    /// One at a time; holds the names that our CA stands for.
    turn: tokio::sync::Mutex<Vec<String>>,
}

/// A new configuration, ready to be swapped in.
struct Prepared {
    policy: Arc<CompiledPolicy>,
    addresses: AddressPolicy,
    private_cas: PrivateCas,
    ech: EchGuard,
    /// With the names it stands for, where they are others than before.
    leafs: Option<(Vec<String>, Arc<LeafCache>)>,
    packs: Vec<String>,
    loosened: Vec<String>,
    restart_needed: Vec<String>,
    notes: Vec<String>,
}

impl Reloader {
    pub(super) fn new(
        config: &Config,
        environment: &HashMap<String, String>,
        services: Arc<Services>,
        roots: SystemRoots,
    ) -> Self {
        services.metrics.policy_loaded(config.policy.generation());
        let (file, stamp) = match &config.file {
            Some(file) => (Some(file.path.clone()), file.stamp),
            None => (None, None),
        };
        Self {
            services,
            environment: environment.clone(),
            file,
            watch: Mutex::new(Watch::new(stamp)),
            fixed: Fixed::of(config),
            roots,
            loaded: ArcSwap::from_pointee(Loaded {
                packs: config.packs.clone(),
                last: None,
            }),
            turn: tokio::sync::Mutex::new(build::intercepted(&config.policy)),
        }
    }

    pub fn loaded(&self) -> Arc<Loaded> {
        self.loaded.load_full()
    }

    /// Looks at the file every second until `closing`. Without a file there is nothing to watch.
    pub(super) async fn watch(self: Arc<Self>, closing: CancellationToken) {
        if self.file.is_none() {
            return;
        }
        let nap = || tokio::time::sleep(LOOK_EVERY);
        while closing.run_until_cancelled(nap()).await.is_some() {
            let own = self.clone();
            // A file on a hung network mount must not hold up a worker.
            let looked = tokio::task::spawn_blocking(move || {
                let now = own.file.as_deref().and_then(Stamp::of);
                own.watch.lock().look(now)
            });
            if looked.await.unwrap_or(false) {
                self.reload(Trigger::File).await;
            }
        }
    }

    /// Loads the configuration again. Never fails: the report says what came of it.
    pub async fn reload(self: &Arc<Self>, trigger: Trigger) -> ReloadReport {
        let mut names = self.turn.lock().await;
        let began = Instant::now();
        let (own, known) = (self.clone(), names.clone());
        // Compiling a long file takes a while, and a panic in it must not end anything.
        let prepared = tokio::task::spawn_blocking(move || own.prepare(&known)).await;
        let report = match prepared {
            Ok(Ok(prepared)) => self.apply(prepared, &mut names),
            Ok(Err(errors)) => self.refuse(errors),
            Err(_) => self.refuse(vec!["the configuration could not be compiled".into()]),
        };
        self.tell(trigger, &report, began.elapsed());
        report
    }

    /// Everything that takes time or can fail.
    fn prepare(&self, known_names: &[String]) -> Result<Prepared, Vec<String>> {
        let one = |e: StartError| vec![e.to_string()];
        if let Some(file) = &self.file {
            // Before it is read: what is written meanwhile is another change.
            let stamp = Stamp::of(file);
            self.watch.lock().took(stamp);
        }
        let config = config::load(self.file.as_deref(), &self.environment)
            .map_err(|e| e.errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let old = self.services.policy.load_full();
        let generation = old.generation() + 1;
        let tls = ClientTls::new(self.roots.store());
        let private_cas = build::private_cas(&config, &tls)
            .map_err(one)?
            .following(&self.services.private_cas.load(), generation);
        let ech = build::ech_guard(&config, &self.services.dialer, &tls).map_err(one)?;
        let restart_needed = self.fixed.changed_in(&config);
        let mut addresses = config.addresses.clone();
        self.fixed.keep_open(&mut addresses);
        let mut notes = config.notes.clone();

        let names = build::intercepted(&config.policy);
        let leafs = if names == known_names {
            None
        } else {
            let (leafs, note) = self.certify(&names).map_err(one)?;
            notes.extend(note);
            Some((names, leafs))
        };
        let policy = CompiledPolicy::renumbered(config.policy, generation);
        let mut loosened = diff::loosened(&old, &policy);
        loosened.extend(addresses.opened_since(&self.services.dialer.policy()));
        loosened.extend(private_cas.opened_since(&self.services.private_cas.load()));
        loosened.extend(ech.opened_since(&self.services.ech.load()));
        Ok(Prepared {
            policy,
            addresses,
            private_cas,
            ech,
            leafs,
            packs: config.packs,
            loosened,
            restart_needed,
            notes,
        })
    }

    /// Issues our root again, for other names, and the bundle with it.
    fn certify(&self, names: &[String]) -> Result<(Arc<LeafCache>, Option<String>), StartError> {
        let (root, event) = RootCa::load_or_create(&self.fixed.state_dir, names)?;
        write_bundle(&root, &self.roots).map_err(|e| StartError::Bundle(e.to_string()))?;
        let leafs = LeafCache::new(
            Arc::new(root),
            self.fixed.limits.leaf_cache,
            self.services.metrics.clone(),
        )?;
        Ok((Arc::new(leafs), build::note_of(&event)))
    }

    /// Swaps. Certificates and addresses first, so that what the policy allows can be done.
    fn apply(&self, prepared: Prepared, names: &mut Vec<String>) -> ReloadReport {
        let Prepared {
            policy,
            addresses,
            private_cas,
            ech,
            leafs,
            packs,
            loosened,
            restart_needed,
            mut notes,
        } = prepared;
        let services = &self.services;
        if let Some((new, leafs)) = leafs {
            services.leafs.store(leafs);
            *names = new;
        }
        services.private_cas.store(Arc::new(private_cas));
        services.ech.store(Arc::new(ech));
        services.dialer.set_policy(addresses);
        let old = services.policy.swap(policy.clone());
        if let Some(door) = &services.front_door {
            notes.extend(door.follow(&policy));
        }
        let cut = services.sweep();
        services.metrics.policy_loaded(policy.generation());
        // Freeing a hundred thousand rules is no work for whoever serves requests.
        drop(tokio::task::spawn_blocking(move || drop(old)));
        self.loaded.rcu(|loaded| Loaded {
            packs: packs.clone(),
            last: loaded.last.clone(),
        });
        ReloadReport {
            ok: true,
            generation: policy.generation(),
            rules: policy.rule_count(),
            errors: Vec::new(),
            loosened: shortened(loosened),
            restart_needed,
            notes: shortened(notes),
            cut,
        }
    }

    fn refuse(&self, errors: Vec<String>) -> ReloadReport {
        let policy = self.services.policy.load();
        ReloadReport {
            ok: false,
            generation: policy.generation(),
            rules: policy.rule_count(),
            errors,
            ..ReloadReport::default()
        }
    }

    /// Log, metrics, status.
    fn tell(&self, trigger: Trigger, report: &ReloadReport, took: Duration) {
        let ReloadReport {
            ok,
            generation,
            rules,
            errors,
            loosened,
            restart_needed,
            notes,
            cut,
        } = report;
        let trigger = trigger.as_str();
        self.services.metrics.policy_reloaded(*ok);
        if *ok {
            tracing::info!(trigger, generation, rules, cut, ?took, "policy reloaded");
        } else {
            for error in errors {
                tracing::error!(trigger, "configuration refused: {error}");
            }
            tracing::error!(trigger, generation, "the older policy stands");
        }
        if !loosened.is_empty() {
            let lines = loosened.join("; ");
            tracing::warn!(
                trigger,
                generation,
                "the reload loosens the policy: {lines}"
            );
        }
        for name in restart_needed {
            tracing::warn!("{name} changed, and is in force after a restart only");
        }
        notes.iter().for_each(|note| tracing::info!("{note}"));
        let at = OffsetDateTime::now_utc();
        let status = ReloadStatus {
            ok: *ok,
            at: at.format(&Rfc3339).unwrap_or_else(|_| at.to_string()),
            trigger,
            errors: errors.clone(),
            restart_needed: restart_needed.clone(),
        };
        self.loaded.rcu(|loaded| Loaded {
            packs: loaded.packs.clone(),
            last: Some(status.clone()),
        });
    }
}

/// A long list's beginning, and how much more there is.
fn shortened(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(LINES);
    if more > 0 {
        lines.truncate(LINES);
        lines.push(format!("and {more} more"));
    }
    lines
}
