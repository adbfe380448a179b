//! Requests of this process's own through the request checkpoint: [`Checkpoint`] of `handler::egress`.
//!
//! They are judged as requests of [`Entry::Models`], by the same policy, terms, budgets, secrets and kill
//! switch as a client's, stand among what is live, and leave one audit record each. Report mode does not
//! stretch to them: where the rules would refuse, our own sources do not go.
//!
//! Made by `app` before the services are there, and joined with them once they are.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use async_trait::async_trait;
use http::{HeaderMap, Method};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    arrival::Connection,
    budget::Allowance,
    denial::Denial,
    finish::{Finish, Outcome},
    live::{Asked, Doing, Leash, Standing, Subject},
    looked::LookedInto,
    outgoing::field_bytes,
    services::Services,
};
use crate::{
    audit::AuditKind,
    handler::{
        EgressMeter, NoteFields,
        egress::{Checkpoint, Ended, OwnRequest, Passage, Refused},
    },
    net::{Authority, Entry},
    policy::{
        Action, Decision, Reason, RequestFacts, RequestSize, guarded, path,
        secrets::{self, Scanner, Search, SecretMode, Spot},
    },
};

/// Bytes of a request line and its Host, beside what the caller counts.
const LINE: u64 = 64;

/// The checkpoint for our own requests. Before [`OwnRequests::join`] it lets nothing through.
#[derive(Default)]
pub struct OwnRequests {
    services: OnceLock<Weak<Services>>,
}

impl OwnRequests {
    pub fn join(&self, services: &Arc<Services>) {
        // Joined once, by the composition root.
        let _ = self.services.set(Arc::downgrade(services));
    }
}

impl Checkpoint for OwnRequests {
    fn pass(&self, request: &OwnRequest<'_>) -> Result<Box<dyn Passage>, Refused> {
        let services = self.services.get().and_then(Weak::upgrade);
        let services = services.ok_or(Refused(Reason::Internal))?;
        pass(&services, request).map(|open| Box::new(open) as Box<dyn Passage>)
    }
}

fn pass(services: &Arc<Services>, request: &OwnRequest<'_>) -> Result<Open, Refused> {
    let OwnRequest {
        client,
        authority,
        target,
        headers,
        body,
    } = *request;
    let method = request.method();
    let id = Uuid::new_v4();
    let mut finish = Finish::begin(
        services,
        AuditKind::Request,
        id,
        Entry::Models,
        client,
        Instant::now(),
    );
    let (raw_path, query) = target.split_once('?').unwrap_or((target, ""));
    finish.request(authority, &method, target);
    let refuse = |mut finish: Finish, decision: Option<&Decision<Action>>, reason, detail: &str| {
        finish.denied(&Denial {
            reason,
            rule: decision.map_or_else(crate::policy::RuleName::none, |d| d.rule.clone()),
            authority: Some(authority.clone()),
            detail: (!detail.is_empty()).then(|| detail.to_owned()),
            method: method.to_string(),
            path: String::new(),
        });
        finish.done(Outcome::default());
        Err(Refused(reason))
    };
    let path = match path::canonical(raw_path) {
        Ok(path) => path,
        Err(e) => return refuse(finish, None, Reason::MalformedRequest, &e.to_string()),
    };
    let size = RequestSize {
        query_bytes: query.len() as u64,
        header_bytes: field_bytes(headers),
        has_body: body.is_some(),
    };
    // From before the decision: what changes in between is seen by `stand`.
    let epoch = services.live.epoch();
    let policy = services.policy.load_full();
    finish.judged_under(policy.generation());
    let facts = RequestFacts {
        entry: Entry::Models,
        client,
        authority,
        method: method.as_str(),
        path: &path,
        upgrade: false,
        size,
    };
    let now = OffsetDateTime::now_utc();
    let decision = guarded(Action::Deny, || policy.decide_request(&facts, now));
    finish.decided(&decision, decision.action.as_str());
    let refusal = match decision.action {
        Action::Forward => decision.would_deny,
        Action::Deny => Some(decision.reason),
        // An answer of ours in its place means: it is not to be sent.
        Action::Respond(_) => Some(Reason::RuleDenies),
    };
    let refusal = refusal.or_else(|| services.overrules_request(decision.action, false));
    // Nobody's of whom a rule could know.
    let terms = decision.terms.as_deref();
    let foreign = terms.is_some_and(|terms| !terms.are_for(None));
    let refusal = refusal.or(foreign.then_some(Reason::NotForYou));
    if let Some(reason) = refusal {
        return refuse(finish, Some(&decision), reason, "");
    }
    let target = match query {
        "" => path.into_owned(),
        query => format!("{path}?{query}"),
    };
    let search = Search::under(policy.secrets(), terms);
    if let Err(reason) = may_be_sent(services, &search, &decision, request, &target, size) {
        finish.hide_path();
        return refuse(finish, Some(&decision), reason, "");
    }
    let connection = Arc::new(Connection {
        entry: Entry::Models,
        client: SocketAddr::new(client, 0),
        tls: false,
        bound_to: None,
        visitor: None,
        leash: Leash::default(),
        head_waits: Default::default(),
    });
    let subject = Subject {
        authority: authority.clone(),
        address: None,
        terms: decision.terms.clone(),
        who: None,
        // Its headers are ours.
        looked: (search.mode != SecretMode::Off)
            .then(|| Arc::new(LookedInto::new(&search, &HeaderMap::new(), body.is_some()))),
        trusted: None,
        doing: Doing::Forward(Asked::of_our_own(method.clone(), &target, size)),
    };
    let standing = match services.stand(&connection, epoch, subject) {
        Ok(standing) => standing,
        Err(reason) => return refuse(finish, Some(&decision), reason, ""),
    };
    let egress = EgressMeter::default();
    finish.metered(&egress);
    Ok(Open {
        finish: Some(finish),
        connection,
        _standing: standing,
        egress,
        sent: body.map_or(0, |body| body.len() as u64),
        received: AtomicU64::new(0),
        method,
        authority: authority.clone(),
        target,
    })
}

/// Secrets in what was typed, and the bytes that the rule has left.
fn may_be_sent(
    services: &Services,
    search: &Search,
    decision: &Decision<Action>,
    request: &OwnRequest<'_>,
    target: &str,
    size: RequestSize,
) -> Result<(), Reason> {
    let Search { mode, detector, .. } = search;
    let host = &request.authority.host;
    match secrets::target(detector, *mode, host, target) {
        Ok(None) => {}
        // A masked query asks for something else: not sent at all.
        Ok(Some(_)) => return Err(Reason::SecretFound),
        Err(kind) => {
            services.metrics.secret_found(kind.as_str(), "block");
            return Err(Reason::SecretFound);
        }
    }
    if let Some(body) = request.body {
        let host = host.clone();
        // Nothing of it is masked: a question with stars in it is another question.
        let mut scanner = Scanner::new(detector.clone(), *mode, Spot::Body, host);
        let kind = match scanner.push(body, true) {
            Ok(seen) => seen.masked.first().copied(),
            Err(kind) => Some(kind),
        };
        if let Some(kind) = kind {
            services.metrics.secret_found(kind.as_str(), "block");
            return Err(Reason::SecretFound);
        }
    }
    let allowance = Allowance::of(
        &services.budgets,
        decision.terms.as_deref(),
        &decision.rule,
        host,
        request.client,
        None,
    );
    let body = request.body.map_or(0, |body| body.len() as u64);
    let bytes = target.len() as u64 + size.header_bytes + body + LINE;
    match allowance {
        Some(allowance) if !allowance.spend(bytes) => Err(Reason::BudgetSpent),
        Some(_) | None => Ok(()),
    }
}

struct Open {
    finish: Option<Finish>,
    connection: Arc<Connection>,
    _standing: Standing,
    egress: EgressMeter,
    /// Bytes of the body.
    sent: u64,
    received: AtomicU64,
    method: Method,
    authority: Authority,
    target: String,
}

impl Open {
    fn close(&mut self, status: Option<u16>, failed: Option<(Reason, String)>) {
        let Some(mut finish) = self.finish.take() else {
            return;
        };
        if let Some((reason, detail)) = failed {
            let denial = Denial {
                reason,
                rule: crate::policy::RuleName::none(),
                authority: None,
                detail: Some(detail),
                method: self.method.to_string(),
                path: String::new(),
            };
            // A closed address is a refusal, whatever the rules said before it was known.
            match reason {
                Reason::AddressClosed | Reason::OwnListener | Reason::LockedDown
                    if status.is_none() =>
                {
                    finish.denied(&denial);
                }
                _ => finish.failed(reason, denial.detail),
            }
        }
        finish.done(Outcome {
            status,
            bytes_in: self.sent,
            bytes_out: self.received.load(Ordering::Relaxed),
            left_machine_bytes: self.egress.bytes(),
            note: NoteFields {
                upstream: Some(self.authority.to_string()),
                ..NoteFields::default()
            },
        });
    }
}

#[async_trait]
impl Passage for Open {
    fn target(&self) -> &str {
        &self.target
    }

    fn egress(&self) -> &EgressMeter {
        &self.egress
    }

    fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    async fn cut(&self) -> Reason {
        self.connection.leash.pulled().await;
        self.connection.leash.why().unwrap_or(Reason::PolicyChanged)
    }

    fn end(mut self: Box<Self>, ended: Ended) {
        let Ended { status, failed } = ended;
        self.close(status, failed);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.close(
            None,
            Some((Reason::ClientGone, "nobody waits for it any more".into())),
        );
    }
}
