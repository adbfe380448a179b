//! The undecrypted relay of an allowed tunnel, after the SNI check.

use std::{sync::Arc, time::Duration};

use pingora::protocols::l4::stream::Stream as L4Stream;

use tokio::time::Instant;

use super::{accept::Edge, connect::Judged};
use crate::{
    policy::Reason,
    proxy::{Allowance, Connection, Denial, Doing, Finish, Metered, Outcome, Subject},
    upstream::counted::{Counted, Counts},
};

/// A tunnel without a byte for this long has nothing under way.
const QUIET: Duration = Duration::from_millis(500);
/// Bytes of each direction's copy buffer.
const BUFFER: usize = 16 << 10;

/// Dials a checked address and copies both ways until either side is done. `ech`: the ClientHello may
/// hide a second name.
pub async fn relay(
    edge: &Arc<Edge>,
    mut l4: L4Stream,
    connection: &Arc<Connection>,
    judged: &Judged,
    ech: bool,
    mut finish: Finish,
) {
    let authority = &judged.authority;
    let patience = edge.services.limits.connect_timeout;
    let dialed = match edge.services.dialer.dial(authority, patience).await {
        Ok(dialed) => dialed,
        Err(e) => {
            let mut denial = Denial::early(e.reason, e.detail);
            denial.authority = Some(authority.clone());
            finish.unreached(&denial);
            return finish.done(Outcome::default());
        }
    };
    let subject = Subject {
        authority: authority.clone(),
        address: (!dialed.through_proxy).then(|| dialed.address.socket()),
        terms: judged.terms.clone(),
        who: connection.visitor.as_ref().map(|v| v.principal.clone()),
        looked: None,
        trusted: None,
        doing: Doing::Tunnel { ech },
    };
    let standing = match edge.services.stand(connection, judged.epoch, subject) {
        Ok(standing) => standing,
        Err(reason) => {
            let mut denial = Denial::early(reason, "while it was dialled");
            denial.authority = Some(authority.clone());
            finish.denied(&denial);
            return finish.done(Outcome::default());
        }
    };
    let leaves = dialed.leaves_machine();
    let upstream_name = match dialed.through_proxy {
        true => format!("proxy {}", dialed.address.socket()),
        false => dialed.address.socket().to_string(),
    };
    let allowance = Allowance::of(
        &edge.services.budgets,
        judged.terms.as_deref(),
        &judged.rule,
        &authority.host,
        connection.client.ip(),
        connection.visitor.as_ref().map(|v| &*v.principal),
    );
    let metered = Metered::new(dialed.stream, allowance);
    let (mut upstream, counts) = Counted::new(metered);
    let copied = tokio::select! {
        biased;
        () = drained(edge, &counts) => Ok(()),
        () = connection.leash.pulled() => Ok(()),
        copied = tokio::io::copy_bidirectional_with_sizes(&mut l4, &mut upstream, BUFFER, BUFFER) => {
            copied.map(drop)
        }
    };
    drop(standing);
    if let Some(why) = connection.leash.why() {
        finish.failed(why, None);
    } else if upstream.inner().is_spent() {
        let words = "the rule's budget is spent";
        finish.failed(Reason::BudgetSpent, Some(words.into()));
    } else if copied.is_err() {
        // A reset is how many clients end a tunnel; the counts stand all the same.
        finish.failed(Reason::ClientGone, Some("closed by reset".into()));
    }
    let (sent, received) = (counts.written(), counts.read());
    let mut outcome = Outcome {
        status: Some(200),
        bytes_in: sent,
        bytes_out: received,
        left_machine_bytes: if leaves { sent } else { 0 },
        ..Outcome::default()
    };
    outcome.note.answered_by = Some("tunnel".into());
    outcome.note.upstream = Some(upstream_name);
    finish.done(outcome);
}

/// Resolves when we stop and nothing passes any more, or little is left of the time to stop in. What
/// is under way may end; a tunnel that is merely kept open is no reason to wait.
async fn drained(edge: &Edge, counts: &Counts) {
    edge.closing.cancelled().await;
    let deadline = Instant::now() + edge.services.limits.drain_timeout.mul_f32(0.9);
    loop {
        let before = counts.read() + counts.written();
        tokio::time::sleep(QUIET.min(deadline.saturating_duration_since(Instant::now()))).await;
        if counts.read() + counts.written() == before || Instant::now() >= deadline {
            return;
        }
    }
}
