//! The end of every connection and request: exactly one audit record, and the metrics.
//!
//! [`Finish`] is made when something is decided and consumed by [`Finish::done`]. Dropped without
//! that (a panic, a cancelled task), it records the decision as ended by an internal error.

use std::{borrow::Cow, net::IpAddr, sync::Arc, time::Instant};

use time::OffsetDateTime;
use uuid::Uuid;

use super::{denial::Denial, services::Services};
use crate::{
    audit::{AuditKind, AuditRecord},
    handler::{EgressMeter, NoteFields},
    metrics::{Ending, Sizes},
    net::{Authority, Entry},
    policy::{Decision, Reason, Responder, RuleName},
    session::VendorId,
    token::Principal,
};

/// How it ended.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub status: Option<u16>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub left_machine_bytes: u64,
    pub note: NoteFields,
}

/// An open audit record.
pub struct Finish {
    services: Arc<Services>,
    record: Option<Box<AuditRecord>>,
    /// What has left so far, for an end that nobody tells us about.
    egress: Option<EgressMeter>,
    started: Instant,
}

impl Finish {
    pub fn begin(
        services: &Arc<Services>,
        kind: AuditKind,
        id: Uuid,
        entry: Entry,
        client: IpAddr,
        started: Instant,
    ) -> Self {
        let judged = (
            OffsetDateTime::now_utc(),
            services.policy.load().generation(),
        );
        Self::judged(services, kind, id, entry, client, started, judged)
    }

    /// `judged`: when, and under which generation of the policy; a newer one may stand by now.
    pub fn judged(
        services: &Arc<Services>,
        kind: AuditKind,
        id: Uuid,
        entry: Entry,
        client: IpAddr,
        started: Instant,
        judged: (OffsetDateTime, u64),
    ) -> Self {
        let (time, generation) = judged;
        let record = AuditRecord {
            time,
            id,
            kind,
            entry,
            client,
            session: None,
            user: None,
            authority: None,
            method: None,
            path: None,
            action: "deny",
            rule: RuleName::none(),
            reason: Reason::Internal,
            would_deny: None,
            ended: None,
            status: None,
            answered_by: None,
            upstream: None,
            detail: None,
            bytes_in: 0,
            bytes_out: 0,
            left_machine_bytes: 0,
            duration_us: 0,
            generation,
            chat: None,
            responder: None,
        };
        Self {
            services: services.clone(),
            record: Some(Box::new(record)),
            egress: None,
            started,
        }
    }

    pub fn metered(&mut self, egress: &EgressMeter) {
        self.egress = Some(egress.clone());
    }

    pub fn request(&mut self, authority: &Authority, method: &http::Method, target: &str) {
        if let Some(record) = &mut self.record {
            record.authority = Some(authority.clone());
            record.method = Some(method_word(method));
            record.path = (!target.is_empty()).then(|| AuditRecord::path_of(target));
        }
    }

    pub fn authority(&mut self, authority: &Authority) {
        if let Some(record) = &mut self.record {
            record.authority = Some(authority.clone());
        }
    }

    pub fn decided<A>(&mut self, decision: &Decision<A>, action: &'static str) {
        if let Some(record) = &mut self.record {
            record.action = action;
            record.rule = decision.rule.clone();
            record.reason = decision.reason;
            record.would_deny = decision.would_deny;
        }
    }

    /// Who is to answer it here.
    pub fn answered_by(&mut self, responder: Responder) {
        if let Some(record) = &mut self.record {
            record.responder = Some(responder);
        }
    }

    /// The chat that it is part of, as the plugin calls it; a name that is none is left out.
    pub fn part_of(&mut self, chat: &http::HeaderValue) {
        let name = chat
            .to_str()
            .ok()
            .and_then(|text| text.parse::<VendorId>().ok());
        if let (Some(record), Some(name)) = (&mut self.record, name) {
            record.chat = Some(name.as_str().into());
        }
    }

    /// Whom the record names.
    pub fn made_by(&mut self, principal: &Principal) {
        if let Some(record) = &mut self.record {
            record.session = principal.session;
            record.user = Some(principal.username.clone());
        }
    }

    /// The policy that decided; a newer one may stand by now.
    pub fn judged_under(&mut self, generation: u64) {
        if let Some(record) = &mut self.record {
            record.generation = generation;
        }
    }

    /// What began as an allow ended in a refusal (closed address, SNI, upstream), or as it was denied.
    pub fn denied(&mut self, denial: &Denial) {
        if let Some(record) = &mut self.record {
            record.action = "deny";
            record.answered_by = Some("airlock".into());
            record.reason = denial.reason;
            record.detail = denial.detail.clone();
            record.status = Some(denial.status());
        }
    }

    /// The destination was refused when its address was known (a refusal like any other), or could
    /// not be reached (the decision stands).
    pub fn unreached(&mut self, denial: &Denial) {
        match denial.reason {
            Reason::ResolveFailed
            | Reason::ResolveTimeout
            | Reason::ConnectFailed
            | Reason::ConnectTimeout
            | Reason::UpstreamTlsFailed
            | Reason::UpstreamProxyRefused
            | Reason::UpstreamFailed
            | Reason::UpstreamTimeout
            | Reason::CircuitOpen
            | Reason::Internal => self.failed(denial.reason, denial.detail.clone()),
            _ => self.denied(denial),
        }
        if let Some(record) = &mut self.record {
            record.status = Some(denial.status());
        }
    }

    /// The path holds what no record may hold.
    pub fn hide_path(&mut self) {
        if let Some(record) = &mut self.record {
            record.path = None;
        }
    }

    /// It broke off after the decision, which stands.
    pub fn failed(&mut self, reason: Reason, detail: Option<String>) {
        if let Some(record) = &mut self.record {
            record.ended = Some(reason);
            record.detail = detail;
        }
    }

    /// Writes the record. The only way to end a decision in peace.
    pub fn done(mut self, outcome: Outcome) {
        self.close(outcome);
    }

    fn close(&mut self, outcome: Outcome) {
        let Some(mut record) = self.record.take() else {
            return;
        };
        let Outcome {
            status,
            bytes_in,
            bytes_out,
            left_machine_bytes,
            note,
        } = outcome;
        record.status = status.or(record.status);
        record.bytes_in = bytes_in;
        record.bytes_out = bytes_out;
        record.left_machine_bytes = left_machine_bytes;
        record.duration_us = self.started.elapsed().as_micros() as u64;
        record.answered_by = note.answered_by.or(record.answered_by);
        record.upstream = note.upstream.or(record.upstream);
        record.detail = note.detail.or(record.detail);
        self.count(&record);
        self.services.audit.record(*record);
    }

    fn count(&self, record: &AuditRecord) {
        let metrics = &self.services.metrics;
        if let Some(ended) = record.ended {
            metrics.broken_off(record.entry, ended.code());
        }
        // Names of destinations come from rules and configuration only, never from a client.
        let (answered_by, destination) = match record.action {
            "deny" => ("airlock", "refused"),
            "respond" => ("local", "local"),
            "tunnel" => ("tunnel", record.rule.as_str()),
            // Its requests are counted one by one.
            "intercept" => ("airlock", "local"),
            _ => ("upstream", record.rule.as_str()),
        };
        let intercepted = record.action == "intercept";
        let a_request =
            record.kind == AuditKind::Request || matches!(record.action, "tunnel" | "deny");
        let ending = Ending {
            entry: record.entry,
            action: record.action,
            rule: record.rule.as_str(),
            reason: record.reason.code(),
            answered_by: (a_request && !intercepted).then_some(answered_by),
            destination,
            status: record.status.unwrap_or(0),
        };
        let sizes = Sizes {
            sent: record.bytes_in,
            received: record.bytes_out,
            left_machine: record.left_machine_bytes,
        };
        metrics.ended(&ending, if intercepted { Sizes::default() } else { sizes });
        let totals = &self.services.totals;
        match record.action {
            "intercept" => return,
            "deny" => totals.count_refused(),
            "respond" => totals.count_answered_here(),
            _ => totals.count_forwarded(),
        }
        totals.add_left_machine(record.left_machine_bytes);
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        if self.record.is_some() {
            // Nobody closed it: a panic, or a task that was cut at the end of a drain.
            let panicked = std::thread::panicking();
            let (reason, words) = if panicked {
                (Reason::Internal, "panic")
            } else {
                (Reason::ClientGone, "cut")
            };
            self.failed(reason, Some(words.into()));
            let left_machine_bytes = self.egress.as_ref().map_or(0, EgressMeter::bytes);
            self.close(Outcome {
                left_machine_bytes,
                ..Outcome::default()
            });
        }
    }
}

fn method_word(method: &http::Method) -> Cow<'static, str> {
    use http::Method;
    match *method {
        Method::GET => "GET".into(),
        Method::POST => "POST".into(),
        Method::PUT => "PUT".into(),
        Method::HEAD => "HEAD".into(),
        Method::DELETE => "DELETE".into(),
        Method::OPTIONS => "OPTIONS".into(),
        Method::CONNECT => "CONNECT".into(),
        _ => method.as_str().to_owned().into(),
    }
}
