//! What the control plane may ask of the running program: a reload, the kill switch, and changes of
//! sessions, users and keys.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{
    receipts::Receipts,
    reload::{Reloader, Trigger},
};
use crate::{
    admin::{Control, LockdownReport, ReloadReport},
    front_door::ReceiptSource,
    models::{Found, Library, Requester, SourceError, local::Local},
    policy::Lockdown,
    proxy::Services,
    receipt::Viewer,
    session::{self, Identity},
    store,
    weights::{Query, Source, Summary},
};

/// For the first list of local models.
const LIST_WITHIN: Duration = Duration::from_secs(3);

pub struct Controls {
    pub services: Arc<Services>,
    pub reloader: Arc<Reloader>,
    pub state_dir: PathBuf,
    pub identity: Arc<Identity>,
    pub receipts: Arc<Receipts>,
    pub library: Arc<Library>,
    pub local_models: Arc<Local>,
    /// One change at a time, so that file and gate agree.
    pub turn: tokio::sync::Mutex<()>,
}

/// The `--json` contract of `airlock models search`.
fn told(asked: &[Source], found: &Found) -> serde_json::Value {
    let Found { summaries, notes } = found;
    let model = |summary: &Summary| {
        let Summary {
            id,
            updated,
            downloads,
            tags,
        } = summary;
        serde_json::json!({
            "id": id.to_string(), "source": id.source().as_str(), "name": id.name(), "tags": tags,
            "downloads": downloads, "updated": updated, "url": id.page(),
        })
    };
    let note = |(source, why): &(Source, SourceError)| {
        serde_json::json!({
            "source": source.as_str(), "code": why.code(), "problem": why.to_string(),
        })
    };
    let silent = |source: &&Source| notes.iter().any(|(noted, _)| noted == *source);
    let hubs: Vec<&Source> = asked.iter().filter(|s| **s != Source::Local).collect();
    serde_json::json!({
        "asked": asked.iter().map(|s| s.as_str()).collect::<Vec<_>>(),
        "models": summaries.iter().map(model).collect::<Vec<_>>(),
        "notes": notes.iter().map(note).collect::<Vec<_>>(),
        "local_only": hubs.iter().all(silent),
    })
}

/// As it was left at the last stop. Called before anything is dialled.
pub fn restore(services: &Services, state_dir: &std::path::Path) -> Option<String> {
    let (level, remark) = store::lockdown::load(state_dir);
    services.dialer.gate().set(level);
    services.metrics.lockdown(level);
    remark.or_else(|| {
        (level != Lockdown::Off).then(|| {
            format!("locked down ({level}), as it was left; `airlock lockdown off` ends it")
        })
    })
}

#[async_trait]
impl Control for Controls {
    async fn reload(&self) -> ReloadReport {
        self.reloader.reload(Trigger::Admin).await
    }

    /// Shuts first and writes down second; opens only once the file is gone. So whatever fails, it
    /// ends shut.
    async fn lockdown(&self, wanted: Lockdown) -> LockdownReport {
        let _turn = self.turn.lock().await;
        let gate = self.services.dialer.gate();
        let tighter = wanted > gate.level();
        let mut cut = 0;
        if tighter {
            gate.set(wanted);
            cut = self.services.sweep();
        }
        let state_dir = self.state_dir.clone();
        let written =
            tokio::task::spawn_blocking(move || store::lockdown::save(&state_dir, wanted)).await;
        let problem = match written {
            Ok(Ok(())) => None,
            Ok(Err(e)) => Some(e.to_string()),
            Err(e) => Some(e.to_string()),
        };
        if !tighter && problem.is_none() {
            gate.set(wanted);
        }
        let level = gate.level();
        self.services.metrics.lockdown(level);
        tracing::warn!(lockdown = %level, cut, "lockdown is {level}");
        if let Some(problem) = &problem {
            tracing::error!("{problem}");
        }
        LockdownReport {
            lockdown: level,
            cut,
            problem,
        }
    }

    async fn identity(&self, request: session::Request) -> Result<serde_json::Value, String> {
        let identity = self.identity.clone();
        let asked = request.kind();
        let done = tokio::task::spawn_blocking(move || {
            let answer = identity.perform(request, session::now());
            answer.map_err(|e| e.to_string())
        });
        let done = done.await.map_err(|e| e.to_string())?;
        match &done {
            Ok(_) => tracing::info!(asked, "the owner asked for {asked}"),
            Err(e) => tracing::warn!(asked, "the owner asked for {asked}: {e}"),
        }
        done
    }

    async fn receipt(&self, session: Option<String>) -> Result<serde_json::Value, String> {
        let session = session.as_deref();
        let receipt = self
            .receipts
            .receipt(session, &Viewer::Everything, None)
            .ok_or("nothing is known of this chat or session since the start")?;
        let signed = self.receipts.signed(&receipt);
        signed.ok_or_else(|| "the receipt cannot be signed".to_owned())
    }

    async fn models(&self, query: Query, most: usize) -> serde_json::Value {
        // A person waits, and no event loop of ComfyUI's.
        self.local_models.listed(LIST_WITHIN).await;
        let by = Requester(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
        let found = self.library.search(&query, most, by).await;
        let asked: Vec<Source> = self.library.sources().collect();
        told(&asked, &found)
    }
}
