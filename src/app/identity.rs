//! Sessions, users and keys as the composition root builds and keeps them.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::{
    config::Config,
    session::{FirstAdmin, Identity, Records, SecretSource, Settings, now},
};

/// How often what requests left in memory is written, and the expired are swept.
const TICK_EVERY: Duration = Duration::from_secs(10);

pub fn settings(config: &Config) -> Settings {
    let session = &config.session;
    Settings {
        state_dir: config.state_dir.clone(),
        secret: SecretSource {
            current: session.secret.clone(),
            previous: session.previous_secret.clone(),
        },
        lifetime: session.lifetime,
        max_lifetime: session.max_lifetime,
        max_sessions: session.max_sessions,
    }
}

/// Reads everything, and makes the first admin where one is needed.
pub fn open(
    config: &Config,
    records: Arc<dyn Records>,
) -> Result<(Arc<Identity>, Option<FirstAdmin>), StartError> {
    let identity = Identity::open(records, settings(config), now())?;
    let admin = match config.users.required {
        true => {
            // Whoever came by before anybody had to log in was let in as an admin.
            let ended = identity.end_local(now()).map_err(StartError::EndLocal)?;
            if ended > 0 {
                tracing::info!(
                    ended,
                    "people log in from now on: ended the sessions of before"
                );
            }
            identity.first_admin(now())?
        }
        false => None,
    };
    Ok((Arc::new(identity), admin))
}

/// Until `closing`. The last tick is [`tick`]'s, when nothing is open any more.
pub async fn keep(identity: Arc<Identity>, closing: CancellationToken) {
    while closing
        .run_until_cancelled(tokio::time::sleep(TICK_EVERY))
        .await
        .is_some()
    {
        let identity = identity.clone();
        let _ = tokio::task::spawn_blocking(move || tick(&identity)).await;
    }
}

/// Blocking.
pub fn tick(identity: &Identity) {
    if let Err(e) = identity.tick(now()) {
        tracing::warn!(error = %e, "last activity of sessions not saved");
    }
}
