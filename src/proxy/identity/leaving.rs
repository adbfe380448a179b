//! Ends what people and programs have open when their session or key has ended.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::proxy::services::Services;

/// Until `closing`. A session is marked before this is told, so that whoever opens something meanwhile
/// judges again and is refused.
pub async fn cut_who_left(services: Arc<Services>, closing: CancellationToken) {
    let identity = services.doorkeeper.identity.clone();
    let (sessions, keys) = (identity.sessions.endings(), identity.keys.endings());
    loop {
        tokio::select! {
            biased;
            () = closing.cancelled() => return,
            () = sessions.notified() => {}
            () = keys.notified() => {}
        }
        let cut = services.sweep();
        if cut > 0 {
            tracing::info!(cut, "sessions have ended: cut what they had open");
        }
    }
}
