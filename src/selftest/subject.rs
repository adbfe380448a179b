//! A running instance as a round needs it, from its policy and addresses.

use std::{path::Path, time::Duration};

use rustls::RootCertStore;

use super::{
    driver::{Doors, Driver},
    ground::Ground,
    meter::Meter,
    report::Report,
    round::{Round, Selection},
};
use crate::{
    net::Host,
    policy::CompiledPolicy,
    tls::{ClientTls, TlsConfigError},
};

/// Beyond the longest timeout that a case waits for.
const GRACE: Duration = Duration::from_secs(5);

pub struct Subject {
    pub ground: Ground,
    pub driver: Driver,
    pub meter: Meter,
}

/// What is known of an instance from its configuration.
pub struct Traits<'a> {
    /// The host that the reverse entry stands for.
    pub vendor: &'a Host,
    /// PEM file of its root.
    pub root: &'a Path,
    pub head_timeout: Duration,
    pub client_hello_timeout: Duration,
}

impl Subject {
    pub fn new(
        policy: &CompiledPolicy,
        doors: Doors,
        traits: &Traits<'_>,
        meter: Meter,
    ) -> Result<Self, TlsConfigError> {
        let tls = ClientTls::new(RootCertStore::empty()).config_for(Some(traits.root))?;
        Ok(Self {
            ground: Ground::of(policy, traits.vendor, doors.all()),
            driver: Driver {
                doors,
                tls,
                patience: traits.head_timeout.max(traits.client_hello_timeout) + GRACE,
            },
            meter,
        })
    }

    pub async fn round(&self, policy: &CompiledPolicy, selection: &Selection) -> Report {
        let round = Round {
            ground: &self.ground,
            policy,
            driver: &self.driver,
            meter: &self.meter,
            selection,
        };
        round.play().await
    }
}
