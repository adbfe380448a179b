//! `/airlock/receipt` and what is below it: the page, its signed copy, its news, its two files.
//!
//! | path | what |
//! |---|---|
//! | `/airlock/receipt` | the page; `?session=ID` for one chat or session |
//! | `/airlock/receipt.json` | the same, signed |
//! | `/airlock/receipt/live` | server-sent events: the changing part of the page, whenever it changes |
//! | `/airlock/receipt/style.css`, `script.js` | the page's own files: it allows no others |
//!
//! What is said comes from a [`ReceiptSource`]; here is only how a browser gets it. A person sees what
//! is theirs ([`Viewer`]); what is another's does not exist for them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    handler::{Handler, LocalBody, LocalRequest, LocalResponse},
    page::RECEIPT_PATH,
    receipt::{Receipt, Viewer, page},
    token::Principal,
};

/// Pages that follow the news at a time.
const FOLLOWERS: usize = 32;
/// A follower asks again after this, and is asked again who they are.
const FOLLOW_FOR: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Without news, a line is sent so that a connection that is gone is noticed.
const HEARTBEAT: u32 = 15;
/// No script, no style and no picture but ours, no frame around it, nowhere to send anything.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Implemented by the composition root, which knows the ledger, the policy and the keys.
pub trait ReceiptSource: Send + Sync {
    /// `None`: nothing is known of this session, or it is not this person's.
    fn receipt(
        &self,
        session: Option<&str>,
        viewer: &Viewer,
        browser: Option<&HeaderMap>,
    ) -> Option<Receipt>;
    /// The JSON with its signature.
    fn signed(&self, receipt: &Receipt) -> Option<Value>;
    /// Grows when there is something new to see.
    fn changes(&self) -> u64;
}

pub struct ReceiptPages {
    source: Arc<dyn ReceiptSource>,
    followers: Arc<Semaphore>,
}

/// What a request asks to see.
#[derive(Clone)]
struct Asked {
    session: Option<String>,
    viewer: Viewer,
    headers: HeaderMap,
}

impl ReceiptPages {
    pub fn new(source: Arc<dyn ReceiptSource>) -> Self {
        Self {
            source,
            followers: Arc::new(Semaphore::new(FOLLOWERS)),
        }
    }

    fn receipt(&self, asked: &Asked) -> Option<Receipt> {
        let session = asked.session.as_deref();
        self.source
            .receipt(session, &asked.viewer, Some(&asked.headers))
    }

    fn page(&self, asked: &Asked) -> LocalResponse {
        let Some(receipt) = self.receipt(asked) else {
            return unknown();
        };
        match page::page(&receipt, asked.session.as_deref()) {
            Ok(html) => answer(StatusCode::OK, HTML, html.into()),
            Err(e) => broken(&e),
        }
    }

    fn json(&self, asked: &Asked) -> LocalResponse {
        let Some(receipt) = self.receipt(asked) else {
            return unknown();
        };
        match self.source.signed(&receipt) {
            Some(signed) => answer(
                StatusCode::OK,
                "application/json",
                format!("{signed:#}\n").into(),
            ),
            None => broken(&"it cannot be signed"),
        }
    }

    fn live(&self, asked: Asked) -> LocalResponse {
        if self.receipt(&asked).is_none() {
            return unknown();
        }
        let Ok(place) = self.followers.clone().try_acquire_owned() else {
            let words = "airlock: too many receipts are open; close one, or reload by hand\n";
            return answer(
                StatusCode::SERVICE_UNAVAILABLE,
                TEXT,
                words.to_owned().into(),
            );
        };
        let follower = Follower {
            source: self.source.clone(),
            asked,
            seen: None,
            until: Instant::now() + FOLLOW_FOR,
            _place: place,
        };
        let news = stream::unfold(follower, |mut follower| async {
            let news = follower.next().await?;
            Some((Ok(Bytes::from(news)), follower))
        });
        answer(
            StatusCode::OK,
            "text/event-stream",
            LocalBody::Stream(Box::pin(news)),
        )
    }
}

/// Somebody who looks on.
struct Follower {
    source: Arc<dyn ReceiptSource>,
    asked: Asked,
    /// The changes of what they have seen.
    seen: Option<u64>,
    until: Instant,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    /// The next event; `None` when their time is over, or what they looked at is gone.
    async fn next(&mut self) -> Option<String> {
        let mut quiet = 0;
        loop {
            let changes = self.source.changes();
            if self.seen != Some(changes) {
                let asked = &self.asked;
                let session = asked.session.as_deref();
                let receipt = self
                    .source
                    .receipt(session, &asked.viewer, Some(&asked.headers))?;
                let part = page::part(&receipt).ok()?;
                self.seen = Some(changes);
                return Some(event(&part));
            }
            if Instant::now() >= self.until {
                return None;
            }
            if quiet >= HEARTBEAT {
                return Some(":\n\n".to_owned());
            }
            quiet += 1;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// As EventSource reads it: each line on its own. It is back a second after its time is over.
fn event(part: &str) -> String {
    let mut out = String::with_capacity(part.len() + 4096);
    out.push_str("retry: 1000\nevent: receipt\n");
    for line in part.lines().filter(|line| !line.is_empty()) {
        out.push_str("data: ");
        out.push_str(line);
        out.push('\n');
    }
    out.push('\n');
    out
}

#[async_trait]
impl Handler for ReceiptPages {
    async fn handle(&self, request: LocalRequest) -> LocalResponse {
        let note = &request.exchange.note;
        note.set(|note| note.answered_by = Some("front door".into()));
        let uri = &request.parts.uri;
        let below = uri.path().strip_prefix(RECEIPT_PATH).unwrap_or_default();
        match below {
            "/style.css" => {
                return answer(StatusCode::OK, "text/css", page::STYLE.to_owned().into());
            }
            "/script.js" => {
                let script = page::SCRIPT.to_owned();
                return answer(StatusCode::OK, "text/javascript", script.into());
            }
            _ => {}
        }
        let session = match session_of(uri.query()) {
            Ok(session) => session,
            Err(words) => return answer(StatusCode::BAD_REQUEST, TEXT, words.to_owned().into()),
        };
        let asked = Asked {
            session,
            viewer: viewer(request.exchange.principal.as_deref()),
            headers: request.parts.headers,
        };
        match below {
            "" | "/" => self.page(&asked),
            ".json" => self.json(&asked),
            "/live" => {
                note.set(|note| note.open_ended = true);
                self.live(asked)
            }
            _ => {
                let words = "airlock: there is no such part of the receipt\n";
                answer(StatusCode::NOT_FOUND, TEXT, words.to_owned().into())
            }
        }
    }

    /// A GET has none.
    fn max_body(&self) -> usize {
        64 << 10
    }
}

/// Somebody who need not say who they are is the one person there is.
fn viewer(principal: Option<&Principal>) -> Viewer {
    Viewer::of(principal.map(|principal| (&principal.username, principal.role)))
}

/// `session=ID`, or nothing; what else stands there is a mistake that nobody should take for all.
fn session_of(query: Option<&str>) -> Result<Option<String>, &'static str> {
    const WRONG: &str = "airlock: write ?session=ID, with the ID that the receipt lists\n";
    let Some(query) = query.filter(|query| !query.is_empty()) else {
        return Ok(None);
    };
    let id = query.strip_prefix("session=").ok_or(WRONG)?;
    let id = percent_encoding::percent_decode_str(id)
        .decode_utf8()
        .map_err(|_| WRONG)?;
    let plain = (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    match plain && !query.contains('&') {
        true => Ok(Some(id.into_owned())),
        false => Err(WRONG),
    }
}

fn unknown() -> LocalResponse {
    let words = "airlock: nothing is known of this chat or session since the start; /airlock/receipt \
                 lists those that are\n";
    answer(StatusCode::NOT_FOUND, TEXT, words.to_owned().into())
}

fn broken(e: &dyn std::fmt::Display) -> LocalResponse {
    tracing::error!(error = %e, "the receipt cannot be shown");
    let words = "airlock: the receipt cannot be shown; the log says why\n";
    answer(
        StatusCode::INTERNAL_SERVER_ERROR,
        TEXT,
        words.to_owned().into(),
    )
}

fn answer(status: StatusCode, kind: &'static str, body: LocalBody) -> LocalResponse {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_session_is_asked_for_by_its_name_and_in_no_other_way() {
        for (query, wanted) in [
            (None, Ok(None)),
            (Some(""), Ok(None)),
            (Some("session=abc-1"), Ok(Some("abc-1"))),
            (Some("session=a%2Fb"), Ok(Some("a/b"))),
            (Some("session="), Err(())),
            (Some("session=a&session=b"), Err(())),
            (Some("session=a%20b"), Err(())),
            (Some("session=%0d%0a"), Err(())),
            (Some("session=%ff"), Err(())),
            (Some("chat=a"), Err(())),
        ] {
            let found = session_of(query).map_err(drop);
            assert_eq!(found, wanted.map(|id| id.map(str::to_owned)), "{query:?}");
        }
        let long = format!("session={}", "a".repeat(129));
        assert!(session_of(Some(&long)).is_err());
    }

    #[test]
    fn an_event_keeps_the_part_whole_and_ends_with_an_empty_line() {
        let said = event("<p>\n\n  a</p>\r\n<p>b</p>");
        assert!(said.ends_with("\n\n"));
        assert_eq!(said.matches("\n\n").count(), 1, "{said}");
        assert!(
            said.contains("data: <p>\ndata:   a</p>\ndata: <p>b</p>\n"),
            "{said}"
        );
    }
}
