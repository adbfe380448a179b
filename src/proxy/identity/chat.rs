//! What the page's requests to the plugin name in their bodies: a chat, and saved workflows.
//!
//! The plugin hands the `session_id` of a chat's body on as `X-Session-Id`. [`ChatWatch`] reads it as the
//! body passes and ties it to the signed session before ComfyUI has the whole body; another's stops the
//! request, as does a workflow checkpoint of another's ([`checkpoint`]).

use http::{HeaderMap, Method, header};
use pingora::http::RequestHeader;

use super::{Doorkeeper, Identified, checkpoint};
use crate::{
    page::{FieldValue, FieldWatch},
    policy::Reason,
    proxy::{arrival::Arrival, outgoing::Stopped},
    session::{Deed, VendorId},
};

const CHAT: &str = "session_id";
const FIELDS: [&str; 4] = [
    CHAT,
    checkpoint::NAMES[0],
    checkpoint::NAMES[1],
    checkpoint::NAMES[2],
];
/// Routes of the plugin whose body names a chat. Those of checkpoints do, too.
const OF_A_CHAT: [&str; 2] = ["/chat/invoke", "/debug-agent"];

/// The body of one request to the plugin.
pub struct ChatWatch(FieldWatch);

impl ChatWatch {
    /// `None`: nothing to look for. A body that cannot be read here could name anybody's chat.
    pub fn begin(arrival: &Arrival, request: &RequestHeader) -> Result<Option<Self>, Stopped> {
        let path = arrival.path();
        let named = OF_A_CHAT.iter().any(|r| path.ends_with(r)) || checkpoint::is_about(path);
        let has_body = !matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS);
        if arrival.for_comfyui().is_none() || !has_body || !named {
            return Ok(None);
        }
        match readable(&request.headers) {
            true => Ok(Some(Self(FieldWatch::new(&FIELDS)))),
            false => Err(Stopped {
                reason: Reason::BodyEncoded,
                detail: "a chat is sent as plain JSON in UTF-8".into(),
            }),
        }
    }

    /// A deed: ComfyUI gets no more of it before that is kept.
    pub fn push(
        &mut self,
        keeper: &Doorkeeper,
        known: &Identified,
        piece: &[u8],
    ) -> Result<Option<Deed>, Stopped> {
        let mut deed = None;
        for (key, value) in self.0.push(piece) {
            match key {
                CHAT => match value {
                    FieldValue::Text(text) if text.is_empty() => {}
                    // One person alone has nobody to take it from.
                    FieldValue::Bare(bare) if bare == "null" || !keeper.users_required => {}
                    FieldValue::Text(text) => {
                        // With a space before it, it would be another's on its way back.
                        let id: VendorId =
                            text.parse().map_err(|_| foreign("it is no session id"))?;
                        deed = deed.max(tie(keeper, known, &id)?);
                    }
                    FieldValue::Bare(_) | FieldValue::TooLong => {
                        return Err(foreign("it is no session id"));
                    }
                },
                _ => checkpoint::may_have(keeper, known, &value)?,
            }
        }
        Ok(deed)
    }
}

fn tie(keeper: &Doorkeeper, known: &Identified, id: &VendorId) -> Result<Option<Deed>, Stopped> {
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
            Some(_) | None => Ok(None),
        },
        (None, None) => Ok(None),
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
