//! What a receipt is made of, brought together: the ledger, the policy, the kill switch, the totals,
//! the keys. For the front door's page and for the control plane.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, Weak},
};

use http::HeaderMap;
use serde_json::Value;

use crate::{
    audit::Book,
    front_door::ReceiptSource,
    policy::Mode,
    proxy::Services,
    receipt::{Around, Ever, Plane, Receipt, Told, Viewer, seal},
    session::{Identity, now},
    store::TotalsSnapshot,
};

pub struct Receipts {
    book: Arc<Book>,
    identity: Arc<Identity>,
    /// `front_door.connection_allowlist`; `None`: there is no front door.
    allowlist: Option<bool>,
    /// They hold a handler that holds this.
    services: OnceLock<Weak<Services>>,
}

impl Receipts {
    pub fn new(book: Arc<Book>, identity: Arc<Identity>, allowlist: Option<bool>) -> Self {
        Self {
            book,
            identity,
            allowlist,
            services: OnceLock::new(),
        }
    }

    /// Until then there is no receipt.
    pub fn about(&self, services: &Arc<Services>) {
        let _ = self.services.set(Arc::downgrade(services));
    }
}

impl ReceiptSource for Receipts {
    fn receipt(
        &self,
        session: Option<&str>,
        viewer: &Viewer,
        browser: Option<&HeaderMap>,
    ) -> Option<Receipt> {
        let services = self.services.get()?.upgrade()?;
        let policy = services.policy.load();
        let purposes: HashMap<&str, &str> = policy
            .rules()
            .iter()
            .filter_map(|rule| Some((rule.name.as_str(), rule.reason.as_deref()?)))
            .collect();
        let told = Told {
            front_door: self.allowlist.is_some(),
            allowlist: self.allowlist.unwrap_or_default(),
            enforced: match policy.mode() {
                Mode::Enforce => true,
                Mode::Report => false,
            },
        };
        let TotalsSnapshot {
            answered_here,
            forwarded,
            refused,
            left_machine_bytes,
        } = services.totals.snapshot();
        let around = Around {
            now: now(),
            mode: policy.mode().as_str(),
            lockdown: services.dialer.gate().level().as_str(),
            ever: Some(Ever {
                answered_here,
                sent_on: forwarded,
                refused,
                bytes_left_machine: left_machine_bytes,
            }),
            browser: Plane::of(told, browser),
            purpose: &|rule| purposes.get(rule).map(|words| (*words).to_owned()),
        };
        self.book
            .read(|ledger| Receipt::of(ledger, session, viewer, &around))
    }

    fn signed(&self, receipt: &Receipt) -> Option<Value> {
        let receipt = serde_json::to_value(receipt).ok()?;
        seal::sign(&receipt, &self.identity.sessions.keys())
    }

    fn changes(&self) -> u64 {
        self.book.read(|ledger| ledger.changes())
    }
}
