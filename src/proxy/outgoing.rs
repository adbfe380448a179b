//! What a forwarded request may send, beyond having been allowed: no secret, and no more than its
//! budget. (What its rule's end cuts, [`super::live`] and [`super::expiry`] cut.)
//!
//! Made by the pipeline when it forwards, and asked about the head once, and about every piece of the
//! body. Nothing of it holds for answers of this process.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use pingora::http::RequestHeader;

use super::{
    arrival::Arrival,
    budget::Allowance,
    looked::{self, LookedInto},
    services::Services,
};
use crate::{
    guard::{Asked, Refused, Watch},
    policy::{
        Decision, Reason, RequestSize,
        secrets::{self, Kind, Scanner, Search, SecretMode, Seen, Spot},
    },
    token::{Principal, Role},
};

/// Why it may not be sent on, with words for the record; they never hold the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    pub reason: Reason,
    pub detail: String,
}

/// State of one forwarded request.
pub struct Outgoing {
    search: Search,
    scanner: Option<Scanner>,
    allowance: Option<Allowance>,
    /// Path and query to send in place of what came.
    target: Option<Vec<u8>>,
    /// Headers to send in place of what came, each with all its lines.
    headers: Vec<(HeaderName, Vec<HeaderValue>)>,
    upload: Option<Upload>,
    /// Looks into what ComfyUI is sent.
    watch: Watch,
}

/// How large a body may be that is sent on to ComfyUI.
#[derive(Clone, Copy, Debug)]
struct Upload {
    most: u64,
    seen: u64,
}

impl Upload {
    fn grow(&mut self, bytes: u64) -> Result<(), Stopped> {
        self.seen = self.seen.saturating_add(bytes);
        match self.seen > self.most {
            true => Err(Stopped {
                reason: Reason::BodyTooLarge,
                detail: format!("front_door.upload_bytes allows {}", self.most),
            }),
            false => Ok(()),
        }
    }
}

impl Outgoing {
    /// Judges the head.
    pub fn begin<A>(
        services: &Services,
        request: &RequestHeader,
        arrival: &Arrival,
        decision: &Decision<A>,
        who: Option<&Principal>,
    ) -> Result<Self, Stopped> {
        let terms = decision.terms.as_deref();
        let search = Search::under(services.policy.load().secrets(), terms);
        let host = &arrival.authority.host;
        let client = arrival.connection.client.ip();
        let allowance = Allowance::of(&services.budgets, terms, &decision.rule, host, client, who);
        let mut outgoing = Self {
            search,
            scanner: None,
            allowance,
            target: None,
            headers: Vec::new(),
            upload: upload_of(services, arrival),
            watch: guarded(services, request, arrival, who.map(|who| who.role))?,
        };
        if let (Some(mut upload), Some(length)) = (outgoing.upload, arrival.framing.declared()) {
            upload.grow(length)?;
        }
        outgoing.judge_encoding(request, arrival)?;
        outgoing.judge_head(services, &request.headers, arrival)?;
        if outgoing.allowance.is_some() {
            outgoing.spend(head_size(request))?;
        }
        Ok(outgoing)
    }

    fn judge_encoding(&self, request: &RequestHeader, arrival: &Arrival) -> Result<(), Stopped> {
        if self.search.mode == SecretMode::Off || self.search.encoded_bodies {
            return Ok(());
        }
        if looked::is_encoded(&request.headers) && arrival.framing.has_body() {
            return Err(Stopped {
                reason: Reason::BodyEncoded,
                detail: "secrets cannot be seen in an encoded body".into(),
            });
        }
        Ok(())
    }

    fn judge_head(
        &mut self,
        services: &Services,
        headers: &HeaderMap,
        arrival: &Arrival,
    ) -> Result<(), Stopped> {
        let Search { mode, detector, .. } = &self.search;
        let mode = *mode;
        if mode == SecretMode::Off {
            return Ok(());
        }
        let host = &arrival.authority.host;
        let found = secrets::target(detector, mode, host, &arrival.target)
            .map_err(|kind| blocked(services, kind))?;
        if let Some(Seen { bytes, masked }) = found {
            count_masked(services, &masked);
            self.target = Some(bytes);
        }
        // Host is judged already, and written anew.
        for name in headers.keys().filter(|name| **name != header::HOST) {
            let mut changed = false;
            let mut lines = Vec::new();
            for value in headers.get_all(name) {
                let text = value.as_bytes();
                let found = secrets::header(detector, mode, host, name.as_str(), text)
                    .map_err(|kind| blocked(services, kind))?;
                let Some(Seen { bytes, masked }) = found else {
                    lines.push(value.clone());
                    continue;
                };
                count_masked(services, &masked);
                changed = true;
                let masked = HeaderValue::from_bytes(&bytes)
                    .map_err(|_| blocked_words("a header cannot be masked"))?;
                lines.push(masked);
            }
            if changed {
                self.headers.push((name.clone(), lines));
            }
        }
        Ok(())
    }

    /// Puts the masked parts of the head in, and begins the body anew: an attempt that failed on a
    /// reused connection is made again with the same body. `upgraded` streams are not looked into.
    pub fn attempt(
        &mut self,
        arrival: &Arrival,
        upstream: &mut RequestHeader,
    ) -> pingora::Result<()> {
        if let Some(target) = &self.target {
            upstream.set_raw_path(target)?;
        }
        for (name, lines) in &self.headers {
            // Those that do not cross at all are gone already.
            if upstream.remove_header(name).is_some() {
                for value in lines {
                    upstream.append_header(name, value)?;
                }
            }
        }
        if let Some(upload) = &mut self.upload {
            upload.seen = 0;
        }
        self.watch.again();
        let scans = self.search.mode != SecretMode::Off && !arrival.upgrade;
        self.scanner = scans.then(|| {
            let host = arrival.authority.host.clone();
            let Search { mode, detector, .. } = &self.search;
            Scanner::new(detector.clone(), *mode, Spot::Body, host)
        });
        Ok(())
    }

    /// For judging it again, if it was looked into at all.
    pub fn looked_into(&self, headers: &HeaderMap, arrival: &Arrival) -> Option<LookedInto> {
        let looked = self.search.mode != SecretMode::Off;
        let has_body = arrival.framing.has_body();
        looked.then(|| LookedInto::new(&self.search, headers, has_body))
    }

    /// Judges a piece of the body; what may be sent of it, and of what was held before, is left there.
    pub fn body(
        &mut self,
        services: &Services,
        body: &mut Option<Bytes>,
        last: bool,
    ) -> Result<(), Stopped> {
        let length = body.as_ref().map_or(0, Bytes::len) as u64;
        if let Some(upload) = &mut self.upload {
            upload.grow(length)?;
        }
        self.watch
            .push(body.as_deref().unwrap_or_default(), last)
            .map_err(stopped)?;
        self.spend(length)?;
        let Some(scanner) = &mut self.scanner else {
            return Ok(());
        };
        let piece = body.as_deref().unwrap_or_default();
        if piece.is_empty() && !last {
            return Ok(());
        }
        let Seen { bytes, masked } = scanner
            .push(piece, last)
            .map_err(|kind| blocked(services, kind))?;
        count_masked(services, &masked);
        // Without a body Pingora would take this piece for the last one.
        *body = (!last || !bytes.is_empty() || body.is_some()).then(|| bytes.into());
        Ok(())
    }

    /// Whether every byte is drawn from a budget, behind an upgrade too.
    pub fn is_metered(&self) -> bool {
        self.allowance.is_some()
    }

    fn spend(&self, bytes: u64) -> Result<(), Stopped> {
        match &self.allowance {
            Some(allowance) if bytes > 0 && !allowance.spend(bytes) => Err(Stopped {
                reason: Reason::BudgetSpent,
                detail: "the bytes of this hour or day are spent".into(),
            }),
            Some(_) | None => Ok(()),
        }
    }
}

fn blocked(services: &Services, kind: Kind) -> Stopped {
    services.metrics.secret_found(kind.as_str(), "block");
    blocked_words(&format!("a secret of kind {}", kind.as_str()))
}

fn blocked_words(detail: &str) -> Stopped {
    Stopped {
        reason: Reason::SecretFound,
        detail: detail.to_owned(),
    }
}

fn count_masked(services: &Services, kinds: &[Kind]) {
    for kind in kinds {
        services.metrics.secret_found(kind.as_str(), "redact");
    }
}

/// What the terms of a rule judge of a request.
pub fn size_of(request: &RequestHeader, arrival: &Arrival) -> RequestSize {
    let query = arrival.target.len().saturating_sub(arrival.path_length);
    RequestSize {
        // The '?' is not part of it.
        query_bytes: query.saturating_sub(1) as u64,
        header_bytes: field_bytes(&request.headers),
        has_body: arrival.framing.has_body(),
    }
}

/// What ComfyUI may be asked at the front door.
fn guarded(
    services: &Services,
    request: &RequestHeader,
    arrival: &Arrival,
    role: Option<Role>,
) -> Result<Watch, Stopped> {
    let door = services.routes.door.as_ref();
    let Some(door) = door.filter(|_| arrival.for_comfyui().is_some()) else {
        return Ok(Watch::Nothing);
    };
    let behind = arrival
        .target
        .get(arrival.path_length..)
        .unwrap_or_default();
    let asked = Asked {
        method: &request.method,
        path: arrival.path(),
        query: behind.strip_prefix('?').unwrap_or(behind),
        headers: &request.headers,
        role,
    };
    door.guards.head(&asked).map_err(stopped)
}

fn stopped(refused: Refused) -> Stopped {
    let Refused { reason, words } = refused;
    Stopped {
        reason,
        detail: words,
    }
}

fn upload_of(services: &Services, arrival: &Arrival) -> Option<Upload> {
    // What passes after an upgrade is no body.
    arrival.for_comfyui().filter(|_| !arrival.upgrade)?;
    let most = services.routes.door.as_ref()?.upload_bytes?;
    Some(Upload { most, seen: 0 })
}

/// Bytes of a request head on the wire, near enough for an honest sum.
pub fn head_size(header: &RequestHeader) -> u64 {
    let line = header.method.as_str().len() + header.raw_path().len() + 12;
    (line + 2) as u64 + field_bytes(&header.headers)
}

/// Names, values, and four bytes for the rest of each line.
pub fn field_bytes(headers: &HeaderMap) -> u64 {
    let lines = headers.iter();
    lines
        .map(|(name, value)| (name.as_str().len() + value.len() + 4) as u64)
        .sum()
}
