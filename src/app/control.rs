//! What the control plane may ask of the running program: a reload, the kill switch, and changes of
//! sessions, users and keys.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;

use super::{
    receipts::Receipts,
    reload::{Reloader, Trigger},
};
use crate::{
    admin::{Control, LockdownReport, ReloadReport},
    front_door::ReceiptSource,
    policy::Lockdown,
    proxy::Services,
    receipt::Viewer,
    session::{self, Identity},
    store,
};

pub struct Controls {
    pub services: Arc<Services>,
    pub reloader: Arc<Reloader>,
    pub state_dir: PathBuf,
    pub identity: Arc<Identity>,
    pub receipts: Arc<Receipts>,
    /// One change at a time, so that file and gate agree.
    pub turn: tokio::sync::Mutex<()>,
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
}
