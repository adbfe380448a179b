//! One request to a hub, and what its redirects lead to. Every hop is a request of its own: judged by the
//! policy, dialled through `upstream`, recorded.
//!
//! The hub's key goes to the hub's endpoint and to no other host, so it is gone at the first redirect that
//! leaves it. Never from https to http. Answers are bounded in size and time; a pause that the hub asks for
//! (429, Retry-After) is kept for everybody.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use parking_lot::Mutex;
use serde_json::Value;

use super::{Requester, SourceError};
use crate::{
    config::Secret,
    handler::egress::{Checkpoint, Ended, OwnRequest, Passage},
    metrics::Metrics,
    net::{Authority, BaseUrl, Scheme},
    policy::Reason,
    upstream::http_client::{Body, HttpClient, Origin, SendError},
    weights::Source,
};

const MAX_JSON: usize = 8 << 20;
const MAX_HOPS: usize = 5;
const MAX_TARGET: usize = 8 << 10;
/// Until an answer begins, at each hop.
const HEAD_TIME: Duration = Duration::from_secs(20);
/// A hub that wants a longer pause is asked again after this.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// Where it does not say how long.
const USUAL_PAUSE: Duration = Duration::from_secs(10);
const USER_AGENT: &str = concat!("airlock/", env!("CARGO_PKG_VERSION"));

/// What a hub is made of.
pub struct HubDeps {
    pub source: Source,
    pub endpoint: BaseUrl,
    pub key: Option<Secret<String>>,
    pub client: HttpClient,
    pub checkpoint: Arc<dyn Checkpoint>,
    pub metrics: Arc<Metrics>,
    /// Called when the last byte of a file has come: ComfyUI will have a new model.
    pub landed: Arc<dyn Fn() + Send + Sync>,
}

pub struct Hub {
    deps: HubDeps,
    /// Nobody asks before.
    quiet_until: Mutex<Option<Instant>>,
}

/// The answer at the end of all redirects; the record of its hop is still open.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
    pub passage: Box<dyn Passage>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer({})", self.status)
    }
}

impl Answer {
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Closes the record.
    pub fn done(self, failed: Option<(Reason, String)>) {
        let status = Some(self.status.as_u16());
        self.passage.end(Ended { status, failed });
    }
}

/// Where the next hop goes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    origin: Origin,
    target: String,
}

impl Hub {
    pub fn new(deps: HubDeps) -> Self {
        Self {
            deps,
            quiet_until: Mutex::default(),
        }
    }

    pub fn source(&self) -> Source {
        self.deps.source
    }

    pub fn has_key(&self) -> bool {
        self.deps.key.is_some()
    }

    /// A small JSON document below the endpoint.
    pub async fn json(&self, target: &str, by: Requester) -> Result<Value, SourceError> {
        let outcome = self.read_json(target, by).await;
        self.count(&outcome);
        outcome
    }

    async fn read_json(&self, target: &str, by: Requester) -> Result<Value, SourceError> {
        let mut answer = self.follow(target, None, by).await?;
        if let Err(e) = self.judge_status(&answer) {
            answer.done(None);
            return Err(e);
        }
        let kind = answer.header(header::CONTENT_TYPE).unwrap_or_default();
        if !kind.to_ascii_lowercase().contains("json") {
            let detail = "it is no JSON";
            answer.done(Some((Reason::UpstreamFailed, detail.into())));
            return Err(self.unusable(detail));
        }
        let read = self.read_whole(&mut answer).await;
        let failed = read
            .as_ref()
            .err()
            .map(|e| (Reason::UpstreamFailed, e.to_string()));
        answer.done(failed);
        let bytes = read?;
        serde_json::from_slice(&bytes).map_err(|_| self.unusable("it is broken JSON"))
    }

    async fn read_whole(&self, answer: &mut Answer) -> Result<Vec<u8>, SourceError> {
        let mut bytes = Vec::new();
        loop {
            let chunk = tokio::select! {
                biased;
                reason = answer.passage.cut() => return Err(self.refused(&self.deps.endpoint.authority, reason)),
                chunk = tokio::time::timeout(HEAD_TIME, answer.body.chunk()) => chunk,
            };
            match chunk {
                Err(_) => return Err(SourceError::TooSlow(self.deps.source)),
                Ok(None) => return Ok(bytes),
                Ok(Some(Err(detail))) => return Err(self.unreachable(detail)),
                Ok(Some(Ok(chunk))) => {
                    answer.passage.received(chunk.len() as u64);
                    if bytes.len() + chunk.len() > MAX_JSON {
                        return Err(self.unusable("it does not end"));
                    }
                    bytes.extend_from_slice(&chunk);
                }
            }
        }
    }

    /// The beginning of a file below the endpoint, wherever the hub keeps it.
    pub async fn file(
        &self,
        target: &str,
        range: Option<&str>,
        by: Requester,
    ) -> Result<Answer, SourceError> {
        let outcome = match self.follow(target, range, by).await {
            Ok(answer) => match self.judge_status(&answer) {
                Ok(()) => Ok(answer),
                Err(e) => {
                    answer.done(None);
                    Err(e)
                }
            },
            Err(e) => Err(e),
        };
        self.count(&outcome);
        outcome
    }

    async fn follow(
        &self,
        target: &str,
        range: Option<&str>,
        by: Requester,
    ) -> Result<Answer, SourceError> {
        self.wait_out()?;
        let mut place = Place {
            origin: Origin::of(&self.deps.endpoint),
            target: self.deps.endpoint.target(target),
        };
        for _ in 0..=MAX_HOPS {
            let answer = self.hop(&place, range, by).await?;
            if !answer.status.is_redirection() || answer.status == StatusCode::NOT_MODIFIED {
                return Ok(answer);
            }
            let next = answer
                .header(header::LOCATION)
                .and_then(|location| place.next(location));
            let Some(next) = next else {
                let detail = "it redirects to nowhere";
                answer.done(Some((Reason::UpstreamFailed, detail.into())));
                return Err(self.unusable(detail));
            };
            if place.origin.tls && !next.origin.tls {
                let detail = "it redirects from https to http";
                answer.done(Some((Reason::UpstreamFailed, detail.into())));
                return Err(self.unusable(detail));
            }
            // Without a session Civitai leads to its login page.
            if next.target.starts_with("/login") {
                answer.done(None);
                return Err(SourceError::Gated(self.deps.source));
            }
            answer.done(None);
            place = next;
        }
        Err(self.unusable("it redirects in circles"))
    }

    async fn hop(
        &self,
        place: &Place,
        range: Option<&str>,
        by: Requester,
    ) -> Result<Answer, SourceError> {
        let headers = self.headers(place, range);
        let authority = &place.origin.authority;
        let passage = self
            .deps
            .checkpoint
            .pass(&OwnRequest {
                client: by.0,
                authority,
                target: &place.target,
                headers: &headers,
                body: None,
            })
            .map_err(|refused| self.refused(authority, refused.0))?;
        let mut request = Request::new(Bytes::new());
        *request.headers_mut() = headers;
        match passage.target().parse() {
            Ok(uri) => *request.uri_mut() = uri,
            Err(_) => {
                let detail = "its address is none";
                end(passage, Reason::MalformedRequest, detail);
                return Err(self.unusable(detail));
            }
        }
        let sent = tokio::select! {
            biased;
            reason = passage.cut() => Err((self.refused(authority, reason), reason, "cut".to_owned())),
            sent = tokio::time::timeout(
                HEAD_TIME,
                self.deps.client.send(&place.origin, request, passage.egress()),
            ) => match sent {
                Err(_) => Err((
                    SourceError::TooSlow(self.deps.source),
                    Reason::UpstreamTimeout,
                    "no answer in time".to_owned(),
                )),
                Ok(Err(e)) => Err(self.unsent(authority, e)),
                Ok(Ok(response)) => Ok(response),
            },
        };
        match sent {
            Ok(response) => Ok(Answer {
                status: response.status,
                headers: response.headers,
                body: response.body,
                passage,
            }),
            Err((error, reason, detail)) => {
                end(passage, reason, &detail);
                Err(error)
            }
        }
    }

    fn unsent(&self, authority: &Authority, error: SendError) -> (SourceError, Reason, String) {
        match error {
            SendError::Dial(e) => {
                let told = match e.reason {
                    Reason::AddressClosed | Reason::OwnListener | Reason::LockedDown => {
                        self.refused(authority, e.reason)
                    }
                    _ => self.unreachable(e.detail.clone()),
                };
                (told, e.reason, e.detail)
            }
            SendError::Tls(detail) => (
                self.unreachable(detail.clone()),
                Reason::UpstreamTlsFailed,
                detail,
            ),
            SendError::Broken(detail) => (
                self.unreachable(detail.clone()),
                Reason::UpstreamFailed,
                detail,
            ),
        }
    }

    fn headers(&self, place: &Place, range: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
        if let Some(range) = range.and_then(|r| HeaderValue::from_str(r).ok()) {
            headers.insert(header::RANGE, range);
        }
        let at_home = place.origin == Origin::of(&self.deps.endpoint);
        if let Some(key) = self.deps.key.as_ref().filter(|_| at_home) {
            let bearer = zeroize::Zeroizing::new(format!("Bearer {}", key.expose()));
            if let Ok(mut value) = HeaderValue::from_str(&bearer) {
                value.set_sensitive(true);
                headers.insert(header::AUTHORIZATION, value);
            }
        }
        headers
    }

    /// A pause that was asked for holds, however many want something.
    fn wait_out(&self) -> Result<(), SourceError> {
        let until = *self.quiet_until.lock();
        match until.and_then(|until| until.checked_duration_since(Instant::now())) {
            Some(pause) if !pause.is_zero() => Err(SourceError::Busy {
                from: self.deps.source,
                pause,
            }),
            Some(_) | None => Ok(()),
        }
    }

    fn judge_status(&self, answer: &Answer) -> Result<(), SourceError> {
        let from = self.deps.source;
        match answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(SourceError::Gated(from)),
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(SourceError::NotKnown),
            StatusCode::TOO_MANY_REQUESTS => {
                let pause = answer
                    .header(header::RETRY_AFTER)
                    .and_then(|v| v.trim().parse().ok())
                    .map_or(USUAL_PAUSE, Duration::from_secs)
                    .min(LONGEST_PAUSE);
                *self.quiet_until.lock() = Instant::now().checked_add(pause);
                Err(SourceError::Busy { from, pause })
            }
            status => Err(SourceError::Status {
                from,
                status: status.as_u16(),
            }),
        }
    }

    fn count<T>(&self, outcome: &Result<T, SourceError>) {
        let code = outcome.as_ref().err().map_or("ok", SourceError::code);
        self.deps
            .metrics
            .model_request(self.deps.source.as_str(), code);
    }

    /// The last byte of a file has come.
    pub fn landed(&self) {
        (self.deps.landed)();
    }

    pub fn received(&self, bytes: u64) {
        self.deps
            .metrics
            .model_bytes(self.deps.source.as_str(), bytes);
    }

    fn refused(&self, authority: &Authority, reason: Reason) -> SourceError {
        SourceError::Refused {
            host: authority.host.to_string(),
            reason,
        }
    }

    fn unreachable(&self, detail: String) -> SourceError {
        SourceError::Unreachable {
            from: self.deps.source,
            detail,
        }
    }

    pub fn unusable(&self, detail: &str) -> SourceError {
        SourceError::Answer {
            from: self.deps.source,
            detail: detail.to_owned(),
        }
    }
}

fn end(passage: Box<dyn Passage>, reason: Reason, detail: &str) {
    passage.end(Ended {
        status: None,
        failed: Some((reason, detail.to_owned())),
    });
}

impl Place {
    /// What a `Location` means from here. `None`: nothing that can be asked for.
    fn next(&self, location: &str) -> Option<Self> {
        let location = location.split('#').next().unwrap_or_default();
        if location.len() > MAX_TARGET {
            return None;
        }
        if location.starts_with('/') && !location.starts_with("//") {
            return Some(Self {
                origin: self.origin.clone(),
                target: location.to_owned(),
            });
        }
        let (scheme, rest) = location.split_once("://")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return None,
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let authority = Authority::parse(authority, Some(scheme.default_port())).ok()?;
        let slash = if target.starts_with('/') { "" } else { "/" };
        Some(Self {
            origin: Origin::new(scheme, authority),
            target: format!("{slash}{target}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_read_as_the_next_request_or_not_at_all() {
        let here = Place {
            origin: Origin::of(&BaseUrl::parse("https://hub.test").unwrap()),
            target: "/a/resolve/main/x".into(),
        };
        for (row, location, want) in [
            (
                "a store",
                "https://cdn.test/f?sig=1#x",
                Some((true, "cdn.test:443", "/f?sig=1")),
            ),
            (
                "a port",
                "http://cdn.test:81",
                Some((false, "cdn.test:81", "/")),
            ),
            (
                "only a query",
                "https://cdn.test?x=1",
                Some((true, "cdn.test:443", "/?x=1")),
            ),
            (
                "the same host",
                "/api/resolve-cache/x",
                Some((true, "hub.test:443", "/api/resolve-cache/x")),
            ),
            (
                "the metadata service",
                "http://169.254.169.254/latest",
                Some((false, "169.254.169.254:80", "/latest")),
            ),
            ("another scheme", "file:///etc/passwd", None),
            ("no scheme", "//cdn.test/f", None),
            ("a relative path", "x", None),
            ("user information", "https://a@cdn.test/f", None),
            ("nothing", "", None),
        ] {
            let next = here.next(location);
            let next = next.as_ref().map(|p| {
                (
                    p.origin.tls,
                    p.origin.authority.to_string(),
                    p.target.as_str(),
                )
            });
            let want = want.map(|(tls, authority, target)| (tls, authority.to_owned(), target));
            assert_eq!(next, want, "{row}");
        }
        assert_eq!(here.next(&format!("/{}", "a".repeat(MAX_TARGET))), None);
    }
}
