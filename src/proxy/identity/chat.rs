//! What passes between the page and the plugin, and belongs to a session: ids of chats and of checkpoints.
//!
//! The plugin hands the `session_id` of a chat's body on as `X-Session-Id`. [`ChatWatch`] reads it as the
//! body passes and ties it to the signed session before ComfyUI has the whole body; another's stops the
//! request. [`CheckpointWatch`] reads the id that the plugin gives to a saved workflow.

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use pingora::http::RequestHeader;
use serde::Deserialize;

use super::{Doorkeeper, Identified};
use crate::{
    page::{FieldValue, FieldWatch},
    policy::Reason,
    proxy::{arrival::Arrival, outgoing::Stopped},
    session::VendorId,
    token::SessionId,
};

const FIELD: &str = "session_id";
/// Routes of the plugin whose body names a chat.
const OF_A_CHAT: [&str; 4] = [
    "/chat/invoke",
    "/debug-agent",
    "/save-workflow-checkpoint",
    "/update-workflow-ui",
];
const SAVES: &str = "/save-workflow-checkpoint";
const RESTORES: &str = "/restore-workflow-checkpoint";
/// Bytes of an answer that names a checkpoint; the plugin's has about a hundred.
const MAX_ANSWER: usize = 16 << 10;

/// The body of one request to the plugin.
pub struct ChatWatch(FieldWatch);

impl ChatWatch {
    /// `None`: nothing to look for. A body that cannot be read here could name anybody's chat.
    pub fn begin(arrival: &Arrival, request: &RequestHeader) -> Result<Option<Self>, Stopped> {
        let named = OF_A_CHAT.iter().any(|r| arrival.path().ends_with(r));
        if arrival.for_comfyui().is_none() || request.method != Method::POST || !named {
            return Ok(None);
        }
        match readable(&request.headers) {
            true => Ok(Some(Self(FieldWatch::new(FIELD)))),
            false => Err(Stopped {
                reason: Reason::BodyEncoded,
                detail: "a chat is sent as plain JSON in UTF-8".into(),
            }),
        }
    }

    pub fn push(
        &mut self,
        keeper: &Doorkeeper,
        known: &Identified,
        piece: &[u8],
    ) -> Result<(), Stopped> {
        for value in self.0.push(piece) {
            match value {
                FieldValue::Text(text) if text.is_empty() => {}
                FieldValue::Text(text) => {
                    // With a space before it, it would be another's on its way back.
                    let id: VendorId = text.parse().map_err(|_| foreign("it is no session id"))?;
                    tie(keeper, known, &id)?;
                }
                FieldValue::TooLong => return Err(foreign("it is no session id")),
            }
        }
        Ok(())
    }
}

fn tie(keeper: &Doorkeeper, known: &Identified, id: &VendorId) -> Result<(), Stopped> {
    let sessions = &keeper.identity.sessions;
    match (&known.active, &known.principal) {
        (Some(active), _) => {
            let now = crate::session::now();
            sessions.bind(active, id, now).map_err(|why| Stopped {
                reason: super::Unwelcome::from(why).reason,
                detail: why.to_string(),
            })
        }
        (None, Some(principal)) => match sessions.owner_of(id) {
            Some(owner) if owner != principal.username => {
                Err(foreign("this session id belongs to somebody else"))
            }
            Some(_) | None => Ok(()),
        },
        (None, None) => Ok(()),
    }
}

fn foreign(detail: &str) -> Stopped {
    Stopped {
        reason: Reason::SessionIdForeign,
        detail: detail.into(),
    }
}

/// ComfyUI inflates a body, and reads it in the charset that its type names.
fn readable(headers: &HeaderMap) -> bool {
    let plain = |v: &http::HeaderValue| v.as_bytes().eq_ignore_ascii_case(b"identity");
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let charset = |v: &http::HeaderValue| {
        let text = String::from_utf8_lossy(v.as_bytes()).to_ascii_lowercase();
        match text.split_once("charset") {
            None => true,
            Some((_, rest)) => {
                let name = rest.trim_start_matches([' ', '=', '"', '\'']);
                let name = name.trim_end_matches([' ', '"', '\'', ';']);
                matches!(name, "utf-8" | "utf8")
            }
        }
    };
    codings.all(plain) && headers.get_all(header::CONTENT_TYPE).iter().all(charset)
}

/// The checkpoint that a request restores, in its query.
pub fn restored(arrival: &Arrival) -> Option<&str> {
    arrival.for_comfyui()?;
    let query = arrival.target.get(arrival.path_length + 1..)?;
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut ids = pairs.filter(|(name, _)| *name == "checkpoint_id");
    let (_, id) = ids.next().filter(|_| arrival.path().ends_with(RESTORES))?;
    Some(id)
}

/// The answer to a saved workflow.
pub struct CheckpointWatch {
    session: SessionId,
    seen: Vec<u8>,
}

#[derive(Deserialize)]
struct Saved {
    data: SavedData,
}

#[derive(Deserialize)]
struct SavedData {
    checkpoint_id: CheckpointId,
}

/// A number in the plugin of today.
#[derive(Deserialize)]
#[serde(untagged)]
enum CheckpointId {
    Number(u64),
    Text(String),
}

impl CheckpointWatch {
    pub fn begin(known: &Identified, arrival: &Arrival, method: &Method) -> Option<Self> {
        let saves = arrival.path().ends_with(SAVES) && method == Method::POST;
        arrival.for_comfyui().filter(|_| saves)?;
        Some(Self {
            session: known.active.as_ref()?.session_id(),
            seen: Vec::new(),
        })
    }

    pub fn push(&mut self, keeper: &Doorkeeper, piece: Option<&Bytes>, last: bool) {
        let piece = piece.map_or(&[][..], |bytes| &bytes[..]);
        if self.seen.len() + piece.len() <= MAX_ANSWER {
            self.seen.extend_from_slice(piece);
        }
        if !last {
            return;
        }
        if let Ok(Saved { data }) = serde_json::from_slice(&self.seen) {
            let id = match data.checkpoint_id {
                CheckpointId::Number(n) => n.to_string(),
                CheckpointId::Text(text) => text,
            };
            keeper.identity.sessions.note_checkpoint(self.session, &id);
        }
        self.seen.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_could_be_read_in_another_way_is_not_readable() {
        for (name, lines, want) in [
            ("nothing said", vec![], true),
            ("json", vec![("content-type", "application/json")], true),
            (
                "utf-8",
                vec![("content-type", "application/json; charset=UTF-8")],
                true,
            ),
            (
                "utf-8 in quotes",
                vec![("content-type", "application/json; charset=\"utf-8\"")],
                true,
            ),
            (
                "utf-16",
                vec![("content-type", "application/json; charset=utf-16")],
                false,
            ),
            (
                "two of them",
                vec![(
                    "content-type",
                    "application/json; charset=utf-8; charset=utf-7",
                )],
                false,
            ),
            ("gzip", vec![("content-encoding", "gzip")], false),
            ("identity", vec![("content-encoding", "identity")], true),
            (
                "both",
                vec![("content-encoding", "identity"), ("content-encoding", "br")],
                false,
            ),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(name, value.parse().unwrap());
            }
            assert_eq!(readable(&headers), want, "{name}");
        }
    }
}
