//! Cuts what is open when the rule that allowed it ends (`until`).
//!
//! One task for the process, started by `app`. It judges everything open again whenever a rule has
//! ended, as a reload does; so what another rule allows goes on.

use std::{sync::Arc, time::Duration};

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::services::Services;

/// The clock may be set, and the machine may sleep: the time left is looked at anew this often.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Runs until `closing`.
pub async fn cut_what_ends(services: Arc<Services>, closing: CancellationToken) {
    // Ends up to here have been dealt with.
    let mut seen = OffsetDateTime::now_utc();
    loop {
        let next = services.policy.load().next_end(seen);
        let due = async {
            match next {
                Some(end) => tokio::time::sleep(until(end).min(LOOK_AGAIN)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = closing.cancelled() => return,
            () = services.live.changed() => {}
            () = due => {}
        }
        let now = OffsetDateTime::now_utc();
        if next.is_some_and(|end| end <= now) {
            let services = services.clone();
            // A panic in it must not end this task.
            match tokio::task::spawn_blocking(move || services.sweep()).await {
                Ok(0) => {}
                Ok(cut) => tracing::info!(cut, "a rule has ended"),
                Err(_) => tracing::error!("what a rule's end cuts could not be found"),
            }
            seen = now;
        }
        // It was set back: those ends are still to come.
        seen = seen.min(now);
    }
}

fn until(end: OffsetDateTime) -> Duration {
    // A negative rest is none.
    (end - OffsetDateTime::now_utc())
        .try_into()
        .unwrap_or_default()
}
