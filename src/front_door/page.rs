//! Scripts and documents of ComfyUI: fetched whole, rewritten, served with a tag of their own.
//!
//! What ComfyUI said about the unchanged bytes (length, coding, tags, ranges) is not passed on. The
//! browser asks again each time and mostly hears 304. What turns out to be neither a script nor a
//! document streams through.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};

use super::{FrontDoor, down, values};
use crate::{
    handler::{Exchange, Handler, LocalBody, LocalRequest, LocalResponse, StreamAbort},
    limit::whole_seconds,
    net::{Authority, Port},
    page::{Coding, FETCH_DEST, Kind, Rewrite, Rewritten, validator},
    policy::Reason,
    upstream::http_client::{Body, SendError},
};

/// Bytes of a script or document, inflated. The largest of ComfyUI's page has about four million.
const LARGEST: usize = 32 << 20;
/// Until the head comes, and between two pieces of the body: ComfyUI loads models in its event loop.
const PATIENCE: Duration = Duration::from_secs(300);

/// Whether the front door fetches this itself, to rewrite it. Everything else streams through.
pub fn wants(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return false;
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    match ending {
        Some("js" | "mjs" | "cjs" | "html" | "htm") => return true,
        // Files are downloaded by their names: a picture, a workflow, a model.
        Some(_) => {}
        None if name.is_empty() => return true,
        None => {}
    }
    let dest = headers.get(FETCH_DEST).map(|v| v.as_bytes());
    match dest {
        Some(
            b"script" | b"worker" | b"sharedworker" | b"serviceworker" | b"audioworklet"
            | b"paintworklet",
        ) => true,
        // A download of any size is a navigation, too; only ComfyUI's own addresses of files are.
        Some(b"document" | b"iframe" | b"frame" | b"embed" | b"object") => {
            ending.is_none() && !matches!(path, "/view" | "/api/view")
        }
        Some(_) | None => false,
    }
}

/// Request headers that ask about bytes which the browser never gets to see.
const ABOUT_OTHER_BYTES: [HeaderName; 7] = [
    header::ACCEPT_ENCODING,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
];
/// The same in a response.
const OF_OTHER_BYTES: [HeaderName; 8] = [
    header::ACCEPT_RANGES,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::TRANSFER_ENCODING,
];

/// Why there is no answer of ComfyUI's to pass on.
struct Failed {
    reason: Reason,
    detail: String,
}

impl Failed {
    fn new(reason: Reason, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { reason, detail }
    }

    /// In words for a person who sees them in place of the page.
    fn problem(&self) -> &'static str {
        match self.reason {
            Reason::ConnectFailed => "it refuses connections, or has not been started",
            Reason::CircuitOpen => "it could not be reached for a while",
            Reason::ConnectTimeout | Reason::UpstreamTimeout => "it does not answer",
            Reason::ResolveFailed | Reason::ResolveTimeout => "its name is not known",
            Reason::LockedDown => "airlock is locked down",
            Reason::AddressClosed | Reason::OwnListener => "its address is closed",
            _ => "its answer cannot be used",
        }
    }
}

#[async_trait]
impl Handler for FrontDoor {
    async fn handle(&self, request: LocalRequest) -> LocalResponse {
        let exchange = request.exchange.clone();
        exchange.note.set(|note| {
            note.answered_by = Some("upstream".into());
            note.upstream = Some(self.comfyui.authority.to_string());
        });
        let is_script = request
            .parts
            .headers
            .get("sec-fetch-dest")
            .is_some_and(|dest| dest != "document");
        match self.serve(request).await {
            Ok(response) => response,
            Err(failed) => {
                let problem = failed.problem();
                let status =
                    StatusCode::from_u16(failed.reason.status()).unwrap_or(StatusCode::BAD_GATEWAY);
                exchange.note.set(|note| {
                    note.failed = Some(failed.reason);
                    note.detail = Some(failed.detail);
                });
                let mut response = match is_script {
                    true => down::script(status, problem),
                    false => down::page(status, problem),
                };
                self.dress(response.headers_mut(), None);
                response
            }
        }
    }

    /// A GET has none.
    fn max_body(&self) -> usize {
        64 << 10
    }
}

impl FrontDoor {
    async fn serve(&self, request: LocalRequest) -> Result<LocalResponse, Failed> {
        let LocalRequest {
            mut parts,
            body: _,
            exchange,
        } = request;
        let known = parts.headers.remove(header::IF_NONE_MATCH);
        ABOUT_OTHER_BYTES.iter().for_each(|name| {
            parts.headers.remove(name);
        });
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::TRANSFER_ENCODING);
        let asked = Request::from_parts(parts, Bytes::new());
        let is_head = asked.method() == Method::HEAD;
        let mut answer = self.send(copy(&asked), &exchange).await?;
        let mut kind = kind_of(&answer.headers);
        if is_head && kind.is_some() {
            // The head of a rewritten body follows from the body.
            let mut whole = copy(&asked);
            *whole.method_mut() = Method::GET;
            answer = self.send(whole, &exchange).await?;
            kind = kind_of(&answer.headers);
        }
        let mut response = Response::new(LocalBody::Empty);
        *response.status_mut() = answer.status;
        let Some(kind) = kind.filter(|_| has_body(answer.status)) else {
            *response.headers_mut() = answer.headers;
            let headers = response.headers_mut();
            headers.remove(header::TRANSFER_ENCODING);
            self.dress(headers, None);
            if has_body(answer.status) {
                *response.body_mut() = passed_on(answer.body);
            }
            return Ok(response);
        };
        let rewritten = self.rewrite(kind, &answer.headers, answer.body).await?;
        let headers = response.headers_mut();
        *headers = answer.headers;
        OF_OTHER_BYTES.iter().for_each(|name| {
            headers.remove(name);
        });
        self.dress(headers, Some(&rewritten));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if answer.status != StatusCode::OK {
            *response.body_mut() = rewritten.body.into();
            return Ok(response);
        }
        if let Ok(tag) = HeaderValue::from_str(&rewritten.etag) {
            headers.insert(header::ETAG, tag);
        }
        let has_it = known.and_then(|v| v.to_str().ok().map(str::to_owned));
        if has_it.is_some_and(|known| validator::matches(&known, &rewritten.etag)) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            *response.body_mut() = rewritten.body.into();
        }
        Ok(response)
    }

    async fn send(
        &self,
        request: Request<Bytes>,
        exchange: &Exchange,
    ) -> Result<crate::upstream::http_client::Response, Failed> {
        let called = request
            .headers()
            .get(header::HOST)
            .and_then(|v| v.to_str().ok());
        let called = called.and_then(|v| Authority::parse(v, Some(Port::HTTP)).ok());
        let host = called.map_or_else(|| self.comfyui.authority.host.clone(), |a| a.host);
        let pass = self.breaker.enter().map_err(|open| {
            let seconds = whole_seconds(open.wait);
            Failed::new(Reason::CircuitOpen, format!("asked again in {seconds} s"))
        })?;
        let sending = self.client.send(&self.comfyui, request, &exchange.egress);
        match tokio::time::timeout(PATIENCE, sending).await {
            Err(_) => Err(Failed::new(Reason::UpstreamTimeout, "no answer in time")),
            Ok(Ok(mut response)) => {
                pass.reached();
                (self.clean)(response.status, &mut response.headers, &host);
                Ok(response)
            }
            Ok(Err(SendError::Dial(e))) => {
                pass.ended(e.reason);
                Err(Failed::new(e.reason, e.detail))
            }
            Ok(Err(SendError::Tls(words))) => {
                pass.ended(Reason::UpstreamTlsFailed);
                Err(Failed::new(Reason::UpstreamTlsFailed, words))
            }
            Ok(Err(SendError::Broken(words))) => Err(Failed::new(Reason::UpstreamFailed, words)),
        }
    }

    async fn rewrite(
        &self,
        kind: Kind,
        headers: &HeaderMap,
        mut body: Body,
    ) -> Result<Rewritten, Failed> {
        let broken = |e: &dyn std::fmt::Display| Failed::new(Reason::UpstreamFailed, e.to_string());
        // Never closed; were it, nothing could be rewritten, and nothing is served unrewritten.
        let _turn = self.rewrites.acquire().await.map_err(|e| broken(&e))?;
        let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
        let coding = match (codings.next().map(|v| v.to_str()), codings.next()) {
            (None, _) => Coding::Identity,
            (Some(Ok(value)), None) => Coding::parse(value).map_err(|e| broken(&e))?,
            (Some(_), _) => return Err(Failed::new(Reason::UpstreamFailed, "unknown coding")),
        };
        let replacements = self.told.load().replacements.clone();
        let mut rewrite =
            Rewrite::new(kind, coding, replacements, LARGEST).map_err(|e| broken(&e))?;
        loop {
            let chunk = tokio::time::timeout(PATIENCE, body.chunk())
                .await
                .map_err(|_| Failed::new(Reason::UpstreamTimeout, "its body stopped"))?;
            match chunk {
                None => break,
                Some(chunk) => {
                    let chunk = chunk.map_err(|e| broken(&e))?;
                    rewrite.push(&chunk).map_err(|e| broken(&e))?;
                }
            }
        }
        let rewritten = rewrite.finish().map_err(|e| broken(&e))?;
        if rewritten.replaced > 0 {
            self.metrics.page_rewritten(rewritten.replaced);
        }
        Ok(rewritten)
    }

    /// Puts in what the browser is told, beside what ComfyUI said itself.
    fn dress(&self, headers: &mut HeaderMap, rewritten: Option<&Rewritten>) {
        let told = self.told.load();
        let own = match rewritten {
            Some(rewritten) if !rewritten.scripts.is_empty() => {
                values(&told.page, &rewritten.scripts)
            }
            Some(_) | None => told.headers.clone(),
        };
        for (name, value) in own {
            headers.append(name, value);
        }
    }
}

fn copy(request: &Request<Bytes>) -> Request<Bytes> {
    let mut copy = Request::new(Bytes::new());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

fn kind_of(headers: &HeaderMap) -> Option<Kind> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Kind::of(value)
}

fn has_body(status: StatusCode) -> bool {
    !status.is_informational()
        && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// A body that is none of ours to read, piece by piece.
fn passed_on(body: Body) -> LocalBody {
    let pieces = stream::unfold(Some(body), |body| async {
        let mut body = body?;
        match tokio::time::timeout(PATIENCE, body.chunk()).await {
            Ok(None) => None,
            Ok(Some(Ok(chunk))) => Some((Ok(chunk), Some(body))),
            Ok(Some(Err(e))) => Some((Err(StreamAbort(e)), None)),
            Err(_) => Some((Err(StreamAbort("its body stopped".into())), None)),
        }
    });
    LocalBody::Stream(Box::pin(pieces))
}
