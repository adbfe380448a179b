//! The running program's state, for the control plane.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use super::{
    reload::{Loaded, Reloader},
    selftest::SelfTests,
};
use crate::{
    admin::{Health, LlmStatus, Status},
    comfyui::ComfyUi,
    gateway::Gateway,
    proxy::Services,
};

pub struct AppHealth {
    ready: AtomicBool,
    services: Arc<Services>,
    gateway: Arc<Gateway>,
    comfyui: Option<Arc<ComfyUi>>,
    reloader: Arc<Reloader>,
    selftests: Arc<SelfTests>,
    began: Instant,
    fixed: Status,
}

impl AppHealth {
    pub fn new(
        services: Arc<Services>,
        gateway: Arc<Gateway>,
        comfyui: Option<Arc<ComfyUi>>,
        reloader: Arc<Reloader>,
        selftests: Arc<SelfTests>,
        addresses: &[(&'static str, SocketAddr)],
        began: Instant,
    ) -> Self {
        let fixed = Status {
            version: env!("CARGO_PKG_VERSION"),
            listeners: addresses
                .iter()
                .map(|(n, a)| ((*n).to_owned(), a.to_string()))
                .collect(),
            ..Status::default()
        };
        Self {
            ready: AtomicBool::new(false),
            services,
            gateway,
            comfyui,
            reloader,
            selftests,
            began,
            fixed,
        }
    }

    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
        self.services.metrics.ready(ready);
    }
}

impl Health for AppHealth {
    fn status(&self) -> Status {
        let policy = self.services.policy.load();
        let llm = self.gateway.status();
        let Loaded { packs, last } = (*self.reloader.loaded()).clone();
        Status {
            mode: policy.mode().as_str().to_owned(),
            packs,
            lockdown: self.services.dialer.gate().level(),
            reload: last,
            selftest: self.selftests.last(),
            ready: self.ready.load(Ordering::Relaxed),
            rules: policy.rule_count(),
            policy_generation: policy.generation(),
            llm: Some(LlmStatus {
                url: llm.url,
                kind: llm.kind.map(|k| k.as_str().to_owned()),
                up: llm.up,
                models: llm.models,
                problem: llm.problem,
            }),
            comfyui: self.comfyui.as_ref().map(|c| c.status()),
            drift: self.services.metrics.drifts(),
            audit_healthy: self.services.audit.healthy(),
            uptime_seconds: self.began.elapsed().as_secs(),
            totals: self.services.totals.snapshot(),
            ..self.fixed.clone()
        }
    }
}
