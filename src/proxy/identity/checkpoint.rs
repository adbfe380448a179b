//! Workflow checkpoints of the plugin as they pass: for whom each was saved, and who asks for one.
//!
//! The plugin gives a saved workflow to whoever names its number. Where people log in, the number counts
//! only in the hands of the user for whom it was given out: [`CheckpointWatch`] reads it in the plugin's
//! answers, [`asked`] and [`may_have`] judge it where a request names one, in its query or its body. Whose a
//! number is, `session::checkpoint` knows.

use bytes::Bytes;
use http::Method;
use percent_encoding::percent_decode;
use serde::Deserialize;
use serde_json::Value;

use super::{Doorkeeper, Identified, kept::Unkept};
use crate::{
    page::FieldValue,
    policy::Reason,
    proxy::{arrival::Arrival, outgoing::Stopped},
    session::{CheckpointId, Deed},
    token::{SessionId, Username},
};

/// What its number is called: where it is restored, where the page writes to it, and in a chat.
pub const NAMES: [&str; 3] = ["version_id", "checkpoint_id", "workflow_checkpoint_id"];
const SAVES: &str = "/save-workflow-checkpoint";
const UPDATES: &str = "/update-workflow-ui";
/// Of a last segment: also routes that a newer plugin may have.
const CHECKPOINT: &str = "workflow-checkpoint";
/// The plugin saves before and after what its agents do, and says so in the last line of their answers.
const AGENTS: [&str; 2] = ["/chat/invoke", "/debug-agent"];
/// Bytes of an answer that names a checkpoint; the plugin's has about a hundred.
const MAX_SAVED: usize = 16 << 10;
/// As `page::LastLine`: there is a workflow in the line that names its checkpoints.
const MAX_LINE: usize = 8 << 20;

/// Whether a path is for checkpoints.
pub fn is_about(path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let last = path.rsplit('/').next().unwrap_or_default();
    last.contains(CHECKPOINT) || path.ends_with(UPDATES)
}

/// For a request whose query names some: whether they are this one's. A deed, where its session is new to it.
pub fn asked(
    keeper: &Doorkeeper,
    known: &Identified,
    arrival: &Arrival,
) -> Result<Option<Deed>, Stopped> {
    let mut deed = None;
    if arrival.for_comfyui().is_none() || !is_about(arrival.path()) {
        return Ok(deed);
    }
    let query = arrival.target.get(arrival.path_length + 1..);
    for id in in_query(query.unwrap_or_default()) {
        judge(keeper, known, &id)?;
        if let (Some(active), false) = (&known.active, id.is_empty()) {
            let sessions = &keeper.identity.sessions;
            deed = deed.max(sessions.note_checkpoint(active.session_id(), &id));
        }
    }
    Ok(deed)
}

/// For a body that names one.
pub fn may_have(
    keeper: &Doorkeeper,
    known: &Identified,
    value: &FieldValue,
) -> Result<(), Stopped> {
    match value {
        FieldValue::Bare(bare) if bare == "null" => Ok(()),
        FieldValue::Text(id) | FieldValue::Bare(id) => judge(keeper, known, id),
        FieldValue::TooLong if keeper.users_required => Err(foreign()),
        FieldValue::TooLong => Ok(()),
    }
}

fn judge(keeper: &Doorkeeper, known: &Identified, id: &str) -> Result<(), Stopped> {
    // The plugin takes an empty one for none.
    if !keeper.users_required || id.is_empty() {
        return Ok(());
    }
    let user = known.principal.as_ref().map(|p| &p.username);
    let id = id.parse::<CheckpointId>().ok();
    let now = crate::session::now();
    let checkpoints = &keeper.identity.checkpoints;
    match (user, id) {
        (Some(user), Some(id)) if checkpoints.is_of(&id, user, now) => Ok(()),
        (Some(_), Some(_) | None) | (None, _) => Err(foreign()),
    }
}

fn foreign() -> Stopped {
    Stopped {
        reason: Reason::CheckpointForeign,
        detail: "this workflow checkpoint is not known to be yours".into(),
    }
}

/// Every value, in whatever spelling: which of two counts is for others to say.
fn in_query(query: &str) -> Vec<String> {
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode(text.as_bytes())
            .decode_utf8_lossy()
            .into_owned()
    };
    query
        .split(['&', ';'])
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, _)| NAMES.contains(&decoded(name).as_str()))
        .map(|(_, value)| decoded(value))
        .collect()
}

/// An answer of the plugin that may name checkpoints.
pub struct CheckpointWatch {
    user: Option<Username>,
    session: Option<SessionId>,
    saves: bool,
    seen: Vec<u8>,
    /// The rest of a line that is too long.
    skips: bool,
}

#[derive(Deserialize)]
struct Saved {
    data: Value,
}

#[derive(Deserialize)]
struct Line {
    ext: Option<Vec<Item>>,
}

#[derive(Deserialize)]
struct Item {
    r#type: String,
    data: Option<Value>,
}

impl CheckpointWatch {
    pub fn begin(known: &Identified, arrival: &Arrival, method: &Method) -> Option<Self> {
        arrival.for_comfyui().filter(|_| method == Method::POST)?;
        let saves = arrival.path().ends_with(SAVES);
        if !saves && !AGENTS.iter().any(|agent| arrival.path().ends_with(agent)) {
            return None;
        }
        let user = known.principal.as_ref().map(|p| p.username.clone());
        let user = user.filter(|user| *user != Username::local());
        let session = known.active.as_ref().map(|active| active.session_id());
        (user.is_some() || session.is_some()).then_some(Self {
            user,
            session,
            saves,
            seen: Vec::new(),
            skips: false,
        })
    }

    /// What is the user's from now on is on disk when it returns; [`Unkept`]: it may have taken something from
    /// another, and is not.
    pub fn push(
        &mut self,
        keeper: &Doorkeeper,
        piece: Option<&Bytes>,
        last: bool,
    ) -> Result<(), Unkept> {
        let mut deed = None;
        let mut piece = piece.map_or(&[][..], |bytes| &bytes[..]);
        if self.saves {
            if self.seen.len() + piece.len() <= MAX_SAVED {
                self.seen.extend_from_slice(piece);
            }
            if last {
                deed = self.saved(keeper);
            }
            return keeper.keep_now(deed);
        }
        while let Some(end) = memchr::memchr(b'\n', piece) {
            let (line, rest) = piece.split_at(end);
            self.hold(line);
            deed = deed.max(self.line(keeper));
            piece = rest.get(1..).unwrap_or_default();
        }
        self.hold(piece);
        if last {
            deed = deed.max(self.line(keeper));
        }
        // Nothing is taken from anybody: without the disk the answer goes on, and a kill may forget it.
        let _ = keeper.keep_now(deed);
        Ok(())
    }

    fn hold(&mut self, piece: &[u8]) {
        self.skips |= self.seen.len() + piece.len() > MAX_LINE;
        if self.skips {
            self.seen = Vec::new();
        } else {
            self.seen.extend_from_slice(piece);
        }
    }

    fn saved(&mut self, keeper: &Doorkeeper) -> Option<Deed> {
        let seen = std::mem::take(&mut self.seen);
        let Saved { data } = serde_json::from_slice(&seen).ok()?;
        let mut deed = None;
        for id in ids(&data) {
            if let Some(user) = &self.user {
                let now = crate::session::now();
                deed = deed.max(keeper.identity.checkpoints.saved(&id, user, now));
            }
            deed = deed.max(self.note(keeper, &id));
        }
        deed
    }

    fn line(&mut self, keeper: &Doorkeeper) -> Option<Deed> {
        let mut deed = None;
        let named = |name: &str| {
            let quoted = format!("\"{name}\"");
            memchr::memmem::find(&self.seen, quoted.as_bytes()).is_some()
        };
        if NAMES.iter().any(|name| named(name)) {
            let line = serde_json::from_slice::<Line>(&self.seen);
            let items = line.ok().and_then(|line| line.ext).unwrap_or_default();
            let of_a_checkpoint = |item: &Item| {
                item.r#type.ends_with("_checkpoint") || item.r#type.ends_with("_complete")
            };
            let named = items.into_iter().filter(of_a_checkpoint);
            for id in named
                .filter_map(|item| item.data)
                .flat_map(|data| ids(&data))
            {
                if let Some(user) = &self.user {
                    let now = crate::session::now();
                    deed = deed.max(keeper.identity.checkpoints.named(&id, user, now));
                }
                deed = deed.max(self.note(keeper, &id));
            }
        }
        self.seen.clear();
        self.skips = false;
        deed
    }

    fn note(&self, keeper: &Doorkeeper, id: &CheckpointId) -> Option<Deed> {
        let sessions = &keeper.identity.sessions;
        sessions.note_checkpoint(self.session?, id.as_str())
    }
}

/// Of one object: the same number under two names, as a rule.
fn ids(data: &Value) -> Vec<CheckpointId> {
    let named = NAMES.iter().filter_map(|name| data.get(name));
    named
        .filter_map(|value| match value {
            Value::Number(n) => n.to_string().parse().ok(),
            Value::String(text) => text.parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_a_checkpoint_in_every_spelling() {
        for (name, query, want) in [
            ("plainly", "version_id=12", vec!["12"]),
            ("among others", "a=1&version_id=12&b", vec!["12"]),
            ("twice", "version_id=1&version_id=2", vec!["1", "2"]),
            ("behind a semicolon", "a=1;version_id=2", vec!["2"]),
            ("in escapes", "version%5Fid=%31%32", vec!["12"]),
            ("with a space", "version_id=+12", vec![" 12"]),
            ("the other name", "checkpoint_id=3", vec!["3"]),
            ("empty", "version_id=", vec![""]),
            ("another field", "my_version_id=12", vec![]),
            ("nothing", "", vec![]),
        ] {
            assert_eq!(in_query(query), want, "{name}");
        }
    }

    #[test]
    fn routes_of_checkpoints_are_known_by_their_last_segment() {
        for (path, want) in [
            ("/api/restore-workflow-checkpoint", true),
            ("/api/api/save-workflow-checkpoint", true),
            ("/api/delete-workflow-checkpoint", true),
            ("/api/update-workflow-ui", true),
            ("/api/restore-workflow-checkpoint/", true),
            ("/api/restore-workflow-checkpoint/x", false),
            ("/api/chat/invoke", false),
            ("/models/checkpoints", false),
        ] {
            assert_eq!(is_about(path), want, "{path}");
        }
    }
}
