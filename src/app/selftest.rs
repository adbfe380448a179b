//! Rounds of self-tests by the running process: at its start, and on a clock.
//!
//! What they find is in the health, the metrics and the log; an escape can shut everything.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio_util::sync::CancellationToken;

use super::control::Controls;
use crate::{
    admin::{Control, SelftestStatus},
    config::{Config, OnEscape, SelftestConfig},
    net::Host,
    policy::Lockdown,
    proxy::Services,
    selftest::{Doors, Meter, Report, Selection, Subject, Traits},
};

/// Failures that are logged one by one.
const LINES: usize = 20;
/// How often a round is played again because the policy was changed under it.
const AGAIN: usize = 2;

/// What becomes of a round's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worth {
    /// It holds.
    Told,
    /// Its cases were chosen by a policy that is gone: what it let through may be allowed now.
    PlayedAgain,
    /// Everything was shut meanwhile, and nothing got out: what was not answered says nothing.
    Dropped,
}

impl Worth {
    /// `last`: it will not be played again. Whatever is in doubt is told then.
    fn of(report: &Report, reloaded: bool, locked: bool, last: bool) -> Self {
        if report.ok {
            Worth::Told
        } else if locked && report.escapes == 0 {
            Worth::Dropped
        } else if reloaded && !locked && !last {
            Worth::PlayedAgain
        } else {
            Worth::Told
        }
    }
}

pub struct SelfTests {
    services: Arc<Services>,
    controls: Arc<Controls>,
    settings: SelftestConfig,
    doors: Doors,
    vendor: Host,
    root: PathBuf,
    head_timeout: Duration,
    client_hello_timeout: Duration,
    last: ArcSwapOption<SelftestStatus>,
}

impl SelfTests {
    pub fn new(
        config: &Config,
        services: Arc<Services>,
        controls: Arc<Controls>,
        addresses: &[(&'static str, SocketAddr)],
    ) -> Self {
        let of = |name: &str| addresses.iter().find(|(n, _)| *n == name).map(|(_, a)| *a);
        Self {
            services,
            controls,
            settings: config.selftest.clone(),
            doors: Doors {
                explicit: of("explicit"),
                reverse: of("reverse"),
                transparent_tls: of("transparent_tls"),
                transparent_http: of("transparent_http"),
                front_door: of("front_door"),
                admin: of("admin"),
                asking: config.asking(),
            },
            vendor: config.listeners.reverse.clone().unwrap_or_default().host,
            root: config.state_dir.join("ca/root.pem"),
            head_timeout: config.limits.head_timeout,
            client_hello_timeout: config.limits.client_hello_timeout,
            last: ArcSwapOption::empty(),
        }
    }

    /// The last round's outcome.
    pub fn last(&self) -> Option<SelftestStatus> {
        self.last.load().as_deref().cloned()
    }

    /// Plays rounds as configured, until `closing`.
    pub async fn run(self: Arc<Self>, closing: CancellationToken) {
        if self.settings.at_start {
            closing.run_until_cancelled(self.round()).await;
        }
        let Some(every) = self.settings.every else {
            return;
        };
        let nap = || tokio::time::sleep(every);
        while closing.run_until_cancelled(nap()).await.is_some() {
            closing.run_until_cancelled(self.round()).await;
        }
    }

    async fn round(&self) {
        for last in (0..=AGAIN).map(|n| n == AGAIN) {
            match self.play(last).await {
                Worth::PlayedAgain => tracing::info!("self-test: the policy was changed under it"),
                Worth::Told | Worth::Dropped => return,
            }
        }
    }

    async fn play(&self, last: bool) -> Worth {
        let locked = || self.services.dialer.gate().level() != Lockdown::Off;
        // Nothing gets out then, and what should be answered is not: the last outcome stands.
        if locked() {
            tracing::info!("locked down: no self-test");
            return Worth::Dropped;
        }
        let traits = Traits {
            vendor: &self.vendor,
            root: &self.root,
            head_timeout: self.head_timeout,
            client_hello_timeout: self.client_hello_timeout,
        };
        let policy = self.services.policy.load_full();
        let meter = Meter::Here(self.services.metrics.clone());
        match Subject::new(&policy, self.doors.clone(), &traits, meter) {
            Ok(subject) => {
                let report = subject.round(&policy, &Selection::default()).await;
                let reloaded = self.services.policy.load().generation() != policy.generation();
                let worth = Worth::of(&report, reloaded, locked(), last);
                if worth == Worth::Told {
                    self.tell(&report).await;
                }
                worth
            }
            Err(e) => {
                tracing::error!("no self-test: {e}");
                Worth::Dropped
            }
        }
    }

    async fn tell(&self, report: &Report) {
        let now = OffsetDateTime::now_utc();
        let (cases, escapes, failed) = (report.cases, report.escapes, report.failed.len());
        let metrics = &self.services.metrics;
        metrics.selftested(cases, failed, escapes, now.unix_timestamp());
        self.last.store(Some(Arc::new(SelftestStatus {
            ok: report.ok,
            at: now.format(&Rfc3339).unwrap_or_default(),
            cases,
            escapes,
            failed,
        })));
        for (entry, cases) in &report.wants_key {
            tracing::info!(entry, cases, "self-test: not played, a key is wanted there");
        }
        for note in &report.notes {
            tracing::info!("self-test: {note}");
        }
        for failure in report.failed.iter().take(LINES) {
            let (group, entry) = (failure.group, failure.entry);
            let case = &failure.case;
            let detail = &failure.detail;
            if failure.escape {
                tracing::error!(group, entry, "self-test: {case} got through: {detail}");
            } else {
                tracing::warn!(group, entry, "self-test: {case}: {detail}");
            }
        }
        tracing::info!(cases, escapes, failed, "self-test");
        match self.settings.on_escape {
            OnEscape::Lockdown if escapes > 0 => {
                tracing::error!("a way through was found: locking down");
                self.controls.lockdown(Lockdown::All).await;
            }
            OnEscape::Lockdown | OnEscape::Report => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{
        app::{build, reload::Reloader},
        config,
    };

    fn with(on_escape: &str, folder: &std::path::Path) -> SelfTests {
        let yaml = format!(
            "version: 1\nstate_dir: {}\nselftest: {{on_escape: {on_escape}}}\n",
            folder.display()
        );
        let environment = HashMap::new();
        let config = config::compile(&yaml, "a test", folder.to_owned(), &environment).unwrap();
        let built = build::build(&config, &environment).unwrap();
        let services = built.services;
        let reloader = Reloader::new(&config, &environment, services.clone(), built.roots);
        let controls = Arc::new(Controls {
            services: services.clone(),
            reloader: Arc::new(reloader),
            state_dir: config.state_dir.clone(),
            identity: built.identity.clone(),
            receipts: built.receipts.clone(),
            library: built.library.clone(),
            local_models: built.local_models.clone(),
            turn: tokio::sync::Mutex::default(),
        });
        SelfTests::new(&config, services, controls, &[])
    }

    #[test]
    fn a_reload_or_a_lockdown_under_a_round_raises_no_false_alarm_and_hides_no_escape() {
        use Worth::{Dropped, PlayedAgain, Told};
        for (name, ok, escapes, [reloaded, locked, last], worth) in [
            ("a clean round", true, 0, [false, false, false], Told),
            (
                "a clean round, whatever came in between",
                true,
                0,
                [true, true, false],
                Told,
            ),
            ("an escape", false, 1, [false, false, false], Told),
            ("an odd answer", false, 0, [false, false, false], Told),
            (
                "an escape, by rules of before",
                false,
                1,
                [true, false, false],
                PlayedAgain,
            ),
            (
                "an escape, again and again",
                false,
                1,
                [true, false, true],
                Told,
            ),
            (
                "no answer, for everything is shut",
                false,
                0,
                [false, true, false],
                Dropped,
            ),
            (
                "no answer, and new rules",
                false,
                0,
                [true, true, false],
                Dropped,
            ),
            (
                "an escape before everything was shut",
                false,
                1,
                [true, true, false],
                Told,
            ),
        ] {
            let report = Report {
                ok,
                escapes,
                ..Report::default()
            };
            assert_eq!(Worth::of(&report, reloaded, locked, last), worth, "{name}");
        }
    }

    #[tokio::test]
    async fn an_escape_is_told_and_shuts_everything_where_that_is_wished() {
        for (on_escape, escapes, shut) in [
            ("report", 0, Lockdown::Off),
            ("report", 2, Lockdown::Off),
            ("lockdown", 0, Lockdown::Off),
            ("lockdown", 2, Lockdown::All),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let tests = with(on_escape, folder.path());
            assert!(tests.last().is_none());
            let report = Report {
                ok: escapes == 0,
                escapes,
                cases: 9,
                ..Report::default()
            };
            tests.tell(&report).await;
            let gate = tests.services.dialer.gate();
            assert_eq!(gate.level(), shut, "{on_escape} with {escapes}");
            let last = tests.last().unwrap();
            assert_eq!(
                (last.ok, last.cases, last.escapes),
                (escapes == 0, 9, escapes)
            );
            let page = tests.services.metrics.render();
            let counted = format!("airlock_selftest_escapes_total {escapes}\n");
            assert!(page.contains(&counted), "{page}");
        }
    }
}
