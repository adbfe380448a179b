//! Name look-ups: bounded in number and time, answered once per name for a few seconds.
//!
//! The system's resolver is used (mDNS and container DNS count for a local LLM), behind its hosts file,
//! which is read here: names are absolute, and never completed by a search domain.
//! Only `dial` calls this, and only for a destination that policy has already allowed.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::hosts;
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
            let named = {
                let name = name.clone();
                let read = move || hosts::look_up(Path::new(hosts::HOSTS), &name);
                tokio::task::spawn_blocking(read).await.unwrap_or_default()
            };
            if !named.is_empty() {
                return Ok(named.into_iter().take(ADDRESSES_PER_NAME).collect());
            }
            if let Some(own) = own_loopback(&name) {
                return Ok(own);
            }
            let name = absolute(&name);
            #[allow(
                clippy::disallowed_methods,
                reason = "the one place that resolves names"
            )]
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            found.map(|all| {
                all.map(|a: SocketAddr| a.ip())
                    .take(ADDRESSES_PER_NAME)
                    .collect::<Vec<IpAddr>>()
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

/// With a final dot no search domain is put behind it, whatever `resolv.conf` says: `sparkle` must not
/// become `sparkle.example.org`, which somebody else may own.
fn absolute(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

/// `localhost` and what is below it are this machine; no name server is asked (RFC 6761 6.3).
fn own_loopback(name: &str) -> Option<Vec<IpAddr>> {
    (name == "localhost" || name.ends_with(".localhost"))
        .then(|| vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_asked_for_as_they_are() {
        for name in ["sparkle", "a.b", "a.b."] {
            let asked = absolute(name);
            assert!(asked.ends_with('.') && !asked.ends_with(".."), "{asked}");
        }
        assert!(own_loopback("localhost").is_some());
        assert!(own_loopback("x.localhost").is_some());
        assert!(own_loopback("localhost.evil.test").is_none());
        assert!(own_loopback("notlocalhost").is_none());
    }

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
