//! A caller that has asked for too much: who is asked, and how the refusal is told.
//!
//! The words are for whoever reads them. An SDK of OpenAI's waits as long as `retry-after-ms` says and
//! tries again; the plugin shows the `message` of a 429 as the answer (WIRE 2.4). An MCP client gets a
//! JSON-RPC error, and a person a page that asks again by itself.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, header};
use pingora::{
    http::{RequestHeader, ResponseHeader},
    proxy::Session,
};
use serde_json::json;

use super::{
    answer, arrival::Arrival, context::RequestContext, denial::Denial, pipeline::Pipeline,
};
use crate::{
    front_door,
    limit::{Bound, Caller, Lane, whole_seconds},
    net::Entry,
    policy::{Action, Decision, Reason, Responder},
    token::Via,
};

/// Longer than this an SDK should not sleep: it says so at once instead.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who reads the refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Program,
    McpClient,
    Person,
}

/// A refusal that ends by itself.
#[derive(Debug)]
struct Later {
    denial: Denial,
    wait: Duration,
    reader: Reader,
}

/// The lane of a request that was allowed; `None`: it has no limits (forwarded by a proxy's entry).
fn lane(action: Action, entry: Entry) -> Option<Lane> {
    match (action, entry) {
        (Action::Respond(Responder::Llm), _) => Some(Lane::Llm),
        (Action::Forward | Action::Respond(_), Entry::FrontDoor) => Some(Lane::FrontDoor),
        (Action::Respond(_), Entry::Explicit | Entry::Reverse | Entry::Transparent) => {
            Some(Lane::Answers)
        }
        // Our own are bounded where they are made.
        (Action::Forward | Action::Respond(_), Entry::Models)
        | (Action::Forward, Entry::Explicit | Entry::Reverse | Entry::Transparent)
        | (Action::Deny, _) => None,
    }
}

/// A person looks at a page that a browser shows; scripts, pictures and programs read JSON.
fn reader(action: Action, request: &RequestHeader) -> Reader {
    match action {
        Action::Respond(Responder::Mcp) => Reader::McpClient,
        Action::Forward | Action::Respond(_) | Action::Deny => {
            let dest = request.headers.get("sec-fetch-dest");
            match dest.is_some_and(|dest| dest == "document") && request.method == Method::GET {
                true => Reader::Person,
                false => Reader::Program,
            }
        }
    }
}

impl Pipeline {
    /// Takes the caller's places, which the context holds until the request ends. False: there are
    /// none, and it has been told so.
    pub(super) async fn within_limits(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
        arrival: &Arrival,
        decision: &Decision<Action>,
    ) -> pingora::Result<bool> {
        let connection = &arrival.connection;
        let Some(lane) = lane(decision.action, connection.entry) else {
            return Ok(true);
        };
        let limiter = &self.services.limiter;
        let refused = match limiter.enter(&context.caller(), connection.client.ip(), lane) {
            Ok(seats) => {
                context.seats = seats;
                return Ok(true);
            }
            Err(refused) => refused,
        };
        let (group, lane, bound) = (refused.group, refused.lane, refused.bound);
        let metrics = &self.services.metrics;
        metrics.limited(group.as_str(), lane.as_str(), bound.as_str());
        let reason = match bound {
            Bound::Rate => Reason::RateLimited,
            Bound::Concurrent => Reason::TooManyOpen,
        };
        let later = Later {
            denial: Denial {
                reason,
                detail: Some(refused.words()),
                ..self.denial(session, arrival, decision)
            },
            wait: refused.wait,
            reader: reader(decision.action, session.req_header()),
        };
        if let Some(finish) = &mut context.finish {
            finish.denied(&later.denial);
        }
        // Boxed, so that requests which pass do not carry its size.
        Box::pin(later.tell(session)).await?;
        Ok(false)
    }

    /// Leave for Pingora to dial, which only ComfyUI's circuit refuses. False: it has been told so.
    pub(super) async fn may_dial(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
        arrival: &Arrival,
        decision: &Decision<Action>,
    ) -> pingora::Result<bool> {
        if arrival.for_comfyui().is_none() {
            return Ok(true);
        }
        let open = match self.services.breaker.enter() {
            Ok(pass) => {
                context.pass = Some(pass);
                return Ok(true);
            }
            Err(open) => open,
        };
        let later = Later {
            denial: Denial {
                reason: Reason::CircuitOpen,
                ..self.denial(session, arrival, decision)
            },
            wait: open.wait,
            reader: Reader::Program,
        };
        if let Some(finish) = &mut context.finish {
            finish.unreached(&later.denial);
        }
        Box::pin(later.tell(session)).await?;
        Ok(false)
    }
}

impl Later {
    /// Writes it.
    async fn tell(&self, session: &mut Session) -> pingora::Result<()> {
        let (kind, body) = self.body();
        let mut header = self.denial.header(body.len())?;
        header.insert_header(header::CONTENT_TYPE, kind)?;
        self.when(&mut header)?;
        answer::write_refusal(session, header, body).await
    }

    fn when(&self, header: &mut ResponseHeader) -> pingora::Result<()> {
        header.insert_header(header::RETRY_AFTER, whole_seconds(self.wait))?;
        let millis = self.wait.as_millis().max(1);
        header.insert_header("retry-after-ms", millis.to_string())?;
        if self.wait > PATIENCE {
            header.insert_header("x-should-retry", "false")?;
        }
        Ok(())
    }

    fn body(&self) -> (&'static str, Bytes) {
        const JSON: &str = "application/json";
        match self.reader {
            Reader::Program => (JSON, self.denial.body()),
            Reader::McpClient => {
                let body = json!({
                    "jsonrpc": "2.0",
                    "id": null,
                    // Of the range that JSON-RPC leaves to servers.
                    "error": {
                        "code": -32029,
                        "message": self.denial.message(),
                        "data": {
                            "code": self.denial.reason.code(),
                            "retry_after_ms": u64::try_from(self.wait.as_millis()).unwrap_or(u64::MAX),
                        },
                    },
                });
                (JSON, body.to_string().into())
            }
            Reader::Person => {
                let why = self.denial.detail.as_deref().unwrap_or_default();
                let page = front_door::busy(whole_seconds(self.wait), why);
                ("text/html; charset=utf-8", page.into())
            }
        }
    }
}

impl RequestContext {
    /// Whom a request is counted for.
    fn caller(&self) -> Caller {
        let Some(principal) = &self.principal else {
            return Caller::Address;
        };
        match (principal.via, principal.session) {
            // It may name another than who asks, whose places must not be taken.
            (Via::Plugin, _) => Caller::Address,
            (_, Some(session)) => Caller::Session(session),
            (Via::ApiKey, None) => Caller::ApiKey(principal.username.clone()),
            (Via::Open | Via::Cookie | Via::Bearer | Via::Chat, None) => Caller::Address,
        }
    }
}
