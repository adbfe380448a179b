//! The composition root: turns a [`Config`] into running services, and stops them.
//!
//! Nothing else constructs a service. The order is fixed: state and keys, then every port is bound,
//! and only then is anything served, so that a wrong setting stops the start before any effect.

mod build;
mod comfyui;
mod control;
mod descriptors;
mod error;
#[cfg(test)]
mod fault_tests;
pub mod identity;
pub mod llm;
mod models;
mod receipts;
pub mod reload;
mod selftest;
mod status;

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use pingora::time::fast_timeout::set_fast_timeout_to_tokio_threshold;
use tokio_util::sync::CancellationToken;

pub use build::make_state_dir;
pub use error::StartError;
use reload::Reloader;

use crate::{
    admin::{Admin, AdminState},
    audit::AuditRecord,
    config::Config,
    gateway::Gateway,
    listener::{Door, Edge, Listening},
    metrics::Metrics,
    proxy::{cut_what_ends, cut_who_left},
    session::{FirstAdmin, Identity},
    store::{Store, Totals},
};

/// How often the totals are written.
const SAVE_EVERY: Duration = Duration::from_secs(30);

pub struct App;

impl App {
    /// Starts everything; returns when every listener is bound and serving.
    ///
    /// `environment` is consulted for the system's CA bundle only; the configuration has read it
    /// already for everything else.
    pub async fn start(
        config: Config,
        environment: &HashMap<String, String>,
    ) -> Result<Running, StartError> {
        let began = Instant::now();
        // Pingora's own timers stay in a tree until they are due, also those of a read that came at
        // once: five minutes of them, under load. Tokio's go with whoever waited.
        set_fast_timeout_to_tokio_threshold(Some(Duration::ZERO));
        let built = build::build(&config, environment)?;
        let doors = bind(&config).await?;
        let admin = match config.listeners.admin {
            Some(address) => Some(Admin::bind(address).await?),
            None => None,
        };

        let mut own: Vec<SocketAddr> = doors.iter().map(|d| d.address).collect();
        own.extend(admin.as_ref().map(|a| a.address));
        built.services.dialer.set_own_listeners(own);

        let mut addresses: Vec<(&'static str, SocketAddr)> = Vec::new();
        let edge = Edge::new(built.services.clone(), built.ca_file.clone());
        for door in doors {
            addresses.push((name_of(door.door), door.address));
            edge.serve(door);
        }
        addresses.extend(admin.as_ref().map(|a| ("admin", a.address)));

        let closing = CancellationToken::new();
        let reloader = Arc::new(Reloader::new(
            &config,
            environment,
            built.services.clone(),
            built.roots,
        ));
        let controls = Arc::new(control::Controls {
            services: built.services.clone(),
            reloader: reloader.clone(),
            state_dir: config.state_dir.clone(),
            identity: built.identity.clone(),
            receipts: built.receipts,
            library: built.library,
            local_models: built.local_models.clone(),
            turn: tokio::sync::Mutex::default(),
        });
        let selftests = selftest::SelfTests::new(
            &config,
            built.services.clone(),
            controls.clone(),
            &addresses,
        );
        let selftests = Arc::new(selftests);
        let health = status::AppHealth::new(
            built.services.clone(),
            built.gateway.clone(),
            built.comfyui,
            reloader.clone(),
            selftests.clone(),
            &addresses,
            began,
        );
        let health = Arc::new(health);
        if let Some(admin) = admin {
            let state = AdminState {
                metrics: built.services.metrics.clone(),
                health: health.clone(),
                control: controls,
                token: built.token,
            };
            let stop = closing.clone();
            tokio::spawn(admin.serve(state, async move { stop.cancelled().await }));
        }
        let saver = Saver {
            store: built.store,
            totals: built.services.totals.clone(),
        };
        let saver = Arc::new(saver);
        tokio::spawn(saver.clone().run(closing.clone()));
        tokio::spawn(identity::keep(built.identity.clone(), closing.clone()));
        tokio::spawn(reloader.clone().watch(closing.clone()));
        tokio::spawn(cut_what_ends(built.services.clone(), closing.clone()));
        tokio::spawn(cut_who_left(built.services.clone(), closing.clone()));
        // RSA keys take long to make, and the page waits for this one.
        let copilot = built.copilot.clone();
        tokio::spawn(async move { copilot.prepare().await });
        let (local_models, stop) = (built.local_models.clone(), closing.clone());
        tokio::spawn(async move { local_models.tend(stop).await });
        let gateway = built.gateway.clone();
        tokio::spawn(async move {
            let llm = gateway.warm_up().await;
            match (&llm.url, llm.up) {
                (Some(url), true) => tracing::info!("the LLM at {url} answers"),
                _ => tracing::warn!("{}", llm.problem.as_deref().unwrap_or("no LLM found")),
            }
        });

        health.set_ready(true);
        tokio::task::spawn_blocking(crate::prefetch::learn);
        tokio::spawn(selftests.run(closing.clone()));
        let metrics = &built.services.metrics;
        metrics.started(
            time::OffsetDateTime::now_utc().unix_timestamp(),
            began.elapsed(),
        );
        Ok(Running {
            addresses,
            notes: built.notes,
            ca_bundle: built.ca_bundle,
            services: built.services,
            reloader,
            gateway: built.gateway,
            edge,
            saver,
            identity: built.identity,
            first_admin: built.first_admin,
            health,
            closing,
        })
    }
}

async fn bind(config: &Config) -> Result<Vec<Listening>, StartError> {
    let l = &config.listeners;
    let wanted = [
        (Door::Explicit, l.explicit),
        (Door::Reverse, l.reverse.as_ref().map(|r| r.listen)),
        (Door::TransparentTls, l.transparent_tls),
        (Door::TransparentHttp, l.transparent_http),
        (Door::FrontDoor, l.front_door.as_ref().map(|d| d.listen)),
    ];
    let mut bound = Vec::new();
    for (door, address) in wanted {
        if let Some(address) = address {
            bound.push(Listening::bind(door, address).await?);
        }
    }
    Ok(bound)
}

fn name_of(door: Door) -> &'static str {
    match door {
        Door::Explicit => "explicit",
        Door::Reverse => "reverse",
        Door::TransparentTls => "transparent_tls",
        Door::TransparentHttp => "transparent_http",
        Door::FrontDoor => "front_door",
    }
}

/// A started airlock.
pub struct Running {
    addresses: Vec<(&'static str, SocketAddr)>,
    notes: Vec<String>,
    ca_bundle: PathBuf,
    services: Arc<crate::proxy::Services>,
    reloader: Arc<Reloader>,
    gateway: Arc<Gateway>,
    edge: Arc<Edge>,
    saver: Arc<Saver>,
    identity: Arc<Identity>,
    first_admin: Option<FirstAdmin>,
    health: Arc<status::AppHealth>,
    closing: CancellationToken,
}

impl Running {
    /// Bound listeners by name: `explicit`, `reverse`, `transparent_tls`, `transparent_http`, `admin`.
    pub fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> + '_ {
        self.addresses.iter().copied()
    }

    pub fn address(&self, name: &str) -> Option<SocketAddr> {
        self.addresses
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, a)| *a)
    }

    /// What a person should know about this start.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// System roots and our root, for `SSL_CERT_FILE`.
    pub fn ca_bundle(&self) -> &Path {
        &self.ca_bundle
    }

    pub fn metrics(&self) -> &Metrics {
        &self.services.metrics
    }

    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Where this start made one; its password is shown once, by the command.
    pub fn first_admin(&self) -> Option<&FirstAdmin> {
        self.first_admin.as_ref()
    }

    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Loads the configuration again when asked to.
    pub fn reloader(&self) -> &Arc<Reloader> {
        &self.reloader
    }

    /// The last audit records, oldest first.
    pub fn recent(&self) -> Vec<AuditRecord> {
        self.services.audit.recent()
    }

    /// Cancelled, a [`Self::stop`] that is under way waits for nothing any more.
    pub fn at_once(&self) -> CancellationToken {
        self.edge.at_once()
    }

    /// Stops accepting, lets requests in flight end, writes what must be written.
    pub async fn stop(self) {
        // Who asks is told at once, while what is open may still end.
        self.health.set_ready(false);
        self.edge.drain().await;
        self.closing.cancel();
        self.saver.save();
        identity::tick(&self.identity);
        self.services.audit.flush();
    }
}

/// Writes the totals now and then; losing half a minute of them in a crash is no harm.
struct Saver {
    store: Arc<Store>,
    totals: Arc<Totals>,
}

impl Saver {
    async fn run(self: Arc<Self>, closing: CancellationToken) {
        let mut last = self.totals.snapshot();
        while closing
            .run_until_cancelled(tokio::time::sleep(SAVE_EVERY))
            .await
            .is_some()
        {
            if self.totals.snapshot() != last {
                last = self.totals.snapshot();
                let saver = self.clone();
                let _ = tokio::task::spawn_blocking(move || saver.save()).await;
            }
        }
    }

    fn save(&self) {
        if let Err(e) = self.store.save_totals(&self.totals.snapshot()) {
            tracing::warn!(error = %e, "totals not saved");
        }
    }
}
