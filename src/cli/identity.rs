//! How `session`, `secret`, `user` and `key` reach what they change, and how they show it.
//!
//! One process at a time holds the store. Where no airlock runs on this state folder, the command
//! opens it and does the work itself; else it asks that airlock, by its control plane and with the
//! token of the state folder.

use std::{
    io::{IsTerminal, Read},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use serde_json::Value;
use time::{OffsetDateTime, macros::format_description};
use zeroize::Zeroizing;

use super::settings::{Running, environment, runtime};
use crate::{
    app,
    config::{self, parse_duration},
    session::{Identity, Request, now},
    store::{Store, StoreError, token::AdminToken},
    upstream::control::{self, ControlError},
};

/// Another command holds the store for as long as it takes to hash a password.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// `--config` and `--json`, of every command here.
#[derive(clap::Args)]
pub struct Common {
    #[command(flatten)]
    running: Running,
    /// Print JSON; times are seconds since 1970
    #[arg(long)]
    json: bool,
}

impl Common {
    /// Does it, and prints the answer as JSON, or by `words` for a person.
    pub fn perform(&self, request: Request, words: impl Fn(&Value)) -> anyhow::Result<Value> {
        let answer = self.ask(request)?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&answer)?);
        } else {
            words(&answer);
        }
        Ok(answer)
    }

    fn ask(&self, request: Request) -> anyhow::Result<Value> {
        let environment = environment();
        let found = config::whereabouts(self.running.config.config.as_deref(), &environment)?;
        let own = || self.running.config.load(&environment);
        if !found.state_dir.exists() {
            app::make_state_dir(&own()?)?;
        }
        for _ in 0..TRIES {
            match Store::open(&found.state_dir) {
                Ok(store) => {
                    let settings = app::identity::settings(&own()?);
                    let identity = Identity::open(Arc::new(store), settings, now())?;
                    return Ok(identity.perform(request, now())?);
                }
                Err(StoreError::InUse { .. }) => {}
                Err(e) => return Err(e.into()),
            }
            // Another command is done soon; an airlock is asked.
            let (state, admin) = self.running.whereabouts(&environment)?;
            match runtime()?.block_on(elsewhere(&state, admin, &request))? {
                Some(answer) => return Ok(answer),
                None => continue,
            }
        }
        Err(StoreError::InUse {
            path: found.state_dir,
        }
        .into())
    }
}

/// By the airlock that runs; `None`: none does.
async fn elsewhere(
    state: &Path,
    admin: SocketAddr,
    request: &Request,
) -> anyhow::Result<Option<Value>> {
    let body = Zeroizing::new(serde_json::to_string(request)?);
    let asked = match AdminToken::load(state)? {
        Some(token) => control::post(admin, "/identity", &token, &body).await,
        None => Err(ControlError::NotRunning(admin)),
    };
    match asked {
        Ok((200, answer)) => {
            let answer = serde_json::from_str(&answer).context("no JSON came back")?;
            Ok(Some(answer))
        }
        Ok((422, words)) => anyhow::bail!("{}", words.trim()),
        Ok((status, words)) => anyhow::bail!("refused ({status}): {}", words.trim()),
        Err(ControlError::NotRunning(_)) => {
            tokio::time::sleep(PAUSE).await;
            Ok(None)
        }
        Err(e) => Err(e.into()),
    }
}

/// `12h`, as in the configuration.
pub fn duration(text: &str) -> Result<Duration, String> {
    let seconds = |d: &Duration| d.as_secs() > 0 && d.subsec_nanos() == 0;
    parse_duration(text)
        .filter(seconds)
        .ok_or_else(|| "write whole seconds with a unit, as in 90s, 30m or 12h".to_owned())
}

/// A secret that is not given on the command line, where others on this machine could read it.
pub fn from_stdin(what: &str) -> anyhow::Result<String> {
    const MAX: u64 = 8 << 10;
    let mut input = std::io::stdin().lock();
    if std::io::stdin().is_terminal() {
        eprintln!("{what}, then Enter and Ctrl-D:");
    }
    let mut text = String::new();
    input
        .by_ref()
        .take(MAX)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {what} from standard input"))?;
    let text = text.trim_end_matches(['\r', '\n']);
    anyhow::ensure!(
        !text.is_empty(),
        "{what} is empty: write it to standard input"
    );
    Ok(text.to_owned())
}

/// Text as it is; a dash for what is not there.
pub fn text(value: &Value, key: &str) -> String {
    match value.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(yes)) => yes.to_string(),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => "-".to_owned(),
    }
}

/// Seconds since 1970, for a person.
pub fn moment(value: &Value, key: &str) -> String {
    let shape = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    let seconds = value.get(key).and_then(Value::as_i64);
    seconds
        .and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok())
        .and_then(|t| t.format(&shape).ok())
        .unwrap_or_else(|| "-".to_owned())
}

/// The rows of a list, and what to say where there are none.
pub fn rows<'a>(answer: &'a Value, key: &str) -> &'a [Value] {
    answer.get(key).and_then(Value::as_array).map_or(&[], |v| v)
}
