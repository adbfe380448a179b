//! The undecrypted relay of an allowed tunnel, after the SNI check.

use std::{sync::Arc, time::Duration};

use pingora::protocols::l4::stream::Stream as L4Stream;

use super::accept::Edge;
use crate::{
    net::Authority,
    policy::Reason,
    proxy::{Allowance, Denial, Finish, Metered, Outcome},
    upstream::counted::Counted,
};

/// Bytes of each direction's copy buffer.
const BUFFER: usize = 16 << 10;

/// How far the rule that allowed a tunnel lets it go.
#[derive(Debug, Default)]
pub struct Permit {
    /// Until the rule ends; `None`: without end.
    pub remaining: Option<Duration>,
    pub allowance: Option<Allowance>,
}

async fn end_of(remaining: Option<Duration>) {
    match remaining {
        Some(rest) => tokio::time::sleep(rest).await,
        None => std::future::pending().await,
    }
}

/// Dials a checked address and copies both ways until either side is done.
///
/// `terms` of the rule that allowed it: the tunnel is cut when the rule ends or its budget is spent.
pub async fn relay(
    edge: &Arc<Edge>,
    mut l4: L4Stream,
    authority: &Authority,
    permit: Permit,
    mut finish: Finish,
) {
    let patience = edge.services.limits.connect_timeout;
    let dialed = match edge.services.dialer.dial(authority, patience).await {
        Ok(dialed) => dialed,
        Err(e) => {
            let mut denial = Denial::early(e.reason, e.detail);
            denial.authority = Some(authority.clone());
            finish.denied(&denial);
            return finish.done(Outcome::default());
        }
    };
    let leaves = dialed.leaves_machine();
    let upstream_name = dialed.address.socket().to_string();
    let mut upstream = Counted::new(Metered::new(dialed.stream, permit.allowance));
    let mut ended = false;
    let copied = tokio::select! {
        biased;
        () = edge.closing.cancelled() => Ok(()),
        () = end_of(permit.remaining) => {
            ended = true;
            Ok(())
        }
        copied = tokio::io::copy_bidirectional_with_sizes(&mut l4, &mut upstream, BUFFER, BUFFER) => {
            copied.map(drop)
        }
    };
    if ended {
        finish.failed(Reason::AllowExpired, Some("the rule ended".into()));
    } else if upstream.inner().is_spent() {
        finish.failed(
            Reason::BudgetSpent,
            Some("the rule's budget is spent".into()),
        );
    } else if copied.is_err() {
        // A reset is how many clients end a tunnel; the counts stand all the same.
        finish.failed(Reason::ClientGone, Some("closed by reset".into()));
    }
    let (sent, received) = (upstream.written(), upstream.read());
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
