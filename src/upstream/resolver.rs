//! Name look-ups: bounded in number and time, answered once per name for a few seconds.
//!
//! The system's resolver is used (`/etc/hosts`, mDNS and container DNS all count for a local LLM).
//! Only `dial` calls this, and only for a destination that policy has already allowed.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::{metrics::Metrics, policy::Reason};

/// How long an answer stands. Short: every dial checks the address again anyway.
const ANSWER_LIFE: Duration = Duration::from_secs(5);
/// A blocking look-up holds a thread until the system gives up, whatever our own timeout says.
const LOOKUPS_AT_ONCE: usize = 32;
const ANSWERS_HELD: usize = 1024;
const ADDRESSES_PER_NAME: usize = 16;

type Answers = HashMap<Arc<str>, (Instant, Arc<[IpAddr]>)>;

pub struct Resolver {
    metrics: Arc<Metrics>,
    timeout: Duration,
    slots: Arc<Semaphore>,
    answers: Mutex<Answers>,
}

impl Resolver {
    pub fn new(metrics: Arc<Metrics>, timeout: Duration) -> Self {
        Self {
            metrics,
            timeout,
            slots: Arc::new(Semaphore::new(LOOKUPS_AT_ONCE)),
            answers: Mutex::default(),
        }
    }

    /// All addresses of a canonical name; never empty.
    pub async fn resolve(&self, name: &Arc<str>) -> Result<Arc<[IpAddr]>, Reason> {
        if let Some(held) = self.held(name) {
            return Ok(held);
        }
        let answer = self.look_up(name).await;
        self.metrics.dns_query(match &answer {
            Ok(_) => "ok",
            Err(reason) => reason.code(),
        });
        let addresses: Arc<[IpAddr]> = answer?.into();
        self.hold(name.clone(), addresses.clone());
        Ok(addresses)
    }

    fn held(&self, name: &str) -> Option<Arc<[IpAddr]>> {
        let answers = self.answers.lock();
        let (since, addresses) = answers.get(name)?;
        (since.elapsed() < ANSWER_LIFE).then(|| addresses.clone())
    }

    fn hold(&self, name: Arc<str>, addresses: Arc<[IpAddr]>) {
        let mut answers = self.answers.lock();
        if answers.len() >= ANSWERS_HELD {
            answers.retain(|_, (since, _)| since.elapsed() < ANSWER_LIFE);
            if answers.len() >= ANSWERS_HELD {
                answers.clear();
            }
        }
        answers.insert(name, (Instant::now(), addresses));
    }

    async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, Reason> {
        let permit =
            match tokio::time::timeout(self.timeout, self.slots.clone().acquire_owned()).await {
                Ok(Ok(permit)) => permit,
                Ok(Err(_)) | Err(_) => return Err(Reason::Overloaded),
            };
        let name = name.to_owned();
        let lookup = tokio::spawn(async move {
            // The permit lives as long as the blocking look-up, not as long as our patience.
            let _permit = permit;
            #[allow(
                clippy::disallowed_methods,
                reason = "the one place that resolves names"
            )]
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            found.map(|all| {
                all.map(|a: SocketAddr| a.ip())
                    .take(ADDRESSES_PER_NAME)
                    .collect()
            })
        });
        match tokio::time::timeout(self.timeout, lookup).await {
            Err(_) => Err(Reason::ResolveTimeout),
            Ok(Ok(Ok(found))) => {
                let mut found: Vec<IpAddr> = found;
                found.dedup();
                if found.is_empty() {
                    Err(Reason::ResolveFailed)
                } else {
                    Ok(found)
                }
            }
            Ok(Ok(Err(_)) | Err(_)) => Err(Reason::ResolveFailed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn localhost_resolves_to_loopback_and_is_asked_once() {
        let metrics = Arc::new(Metrics::new());
        let resolver = Resolver::new(metrics.clone(), Duration::from_secs(5));
        let name: Arc<str> = "localhost".into();
        for _ in 0..3 {
            let addresses = resolver.resolve(&name).await.unwrap();
            assert!(addresses.iter().all(|a| a.is_loopback()));
        }
        assert!(
            metrics
                .render()
                .contains(r#"airlock_dns_queries_total{outcome="ok"} 1"#)
        );
    }
}
