//! What would happen to one request, in words: which rule, why, and the rule that would allow it.
//!
//! Called by `cli explain`. It asks the same checkpoints in the same order as the edge and the pipeline do,
//! and stops where they would need the network: at what a name resolves to. A request without a body and
//! without headers of its own is meant, from a client that may ask.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
};

use serde::Serialize;
use time::OffsetDateTime;

use crate::net::{Authority, AuthorityError, Entry, Host, Port};

use super::{
    Action, AddressPolicy, CompiledPolicy, ConnectionAction, Decision, Flow, PathError, Reason,
    RequestFacts, RequestSize, Responder, RuleName, Terms, address, allowing::how_to_allow, path,
    secrets,
};

/// What would happen to one request. Field names are the `--json` contract of `airlock explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// `deny`, `tunnel`, `forward` or `respond`; `intercept` for a CONNECT that is looked into.
    pub action: String,
    pub rule: RuleName,
    pub reason: Reason,
    /// A rule to paste into the configuration; absent where the request is allowed.
    pub how_to_allow: Option<String>,
    /// Who answers, for `respond`.
    pub responder: Option<Responder>,
    /// Report mode: what enforce mode would say.
    pub would_deny: Option<Reason>,
    /// What is done with the connection (TLS only).
    pub connection: Option<ConnectionAction>,
    pub host: String,
    pub port: u16,
    /// As it was judged.
    pub path: String,
    /// The author's words for the rule.
    pub rule_reason: Option<String>,
}

/// What stands around the rules and has its say as well.
#[derive(Clone, Debug, Default)]
pub struct Around {
    pub addresses: AddressPolicy,
    pub own_listeners: Vec<SocketAddr>,
    /// ComfyUI behind the front door, whose paths keep their encoded slashes.
    pub comfyui: Option<Authority>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    #[error("not a web address: write http://host/path, https://host/path, or CONNECT host:port")]
    Scheme,
    #[error("{0}")]
    Authority(#[from] AuthorityError),
    #[error("{0}")]
    Path(#[from] PathError),
    #[error("query holds a character that must be percent-encoded: encode it")]
    Query,
    #[error("a WebSocket is opened by GET: write GET")]
    Upgrade,
}

impl From<crate::net::HostError> for ExplainError {
    fn from(e: crate::net::HostError) -> Self {
        Self::Authority(e.into())
    }
}

/// Judges `method url` as if `client` had sent it by `entry`.
pub fn explain(
    policy: &CompiledPolicy,
    around: &Around,
    method: &str,
    url: &str,
    entry: Entry,
    client: IpAddr,
    now: OffsetDateTime,
) -> Result<Explanation, ExplainError> {
    let Scheme { tls, upgrade, rest } = match split_scheme(url) {
        Some(scheme) => scheme,
        // `CONNECT host:443`, as it stands in a refusal.
        None if method == "CONNECT" && !url.contains("://") => Scheme {
            tls: true,
            upgrade: false,
            rest: url,
        },
        None => return Err(ExplainError::Scheme),
    };
    let rest = rest.split('#').next().unwrap_or(rest);
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let (raw_path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let default = if tls { Port::HTTPS } else { Port::HTTP };
    let authority = Authority::parse(authority, Some(default))?;
    let read = match entry == Entry::FrontDoor && around.comfyui.as_ref() == Some(&authority) {
        true => path::canonical_with_slashes(raw_path),
        false => path::canonical(raw_path),
    };
    // A base URL and the front door are spoken to in requests alone, and so are our own sources.
    let connects = match entry {
        Entry::Explicit | Entry::Transparent => tls,
        Entry::Reverse | Entry::FrontDoor | Entry::Models => false,
    };
    let judge = Judge {
        policy,
        around,
        entry,
        client,
        authority: &authority,
        now,
    };
    let connection = connects.then(|| judge.connection());
    let connection_action = connection.as_ref().map(|c| c.action);
    let (action, responder, decided) = match connection {
        Some(d) if d.action != ConnectionAction::Intercept || method == "CONNECT" => {
            (d.action.as_str(), None, strip(d))
        }
        _ if method == "CONNECT" => (Action::Deny.as_str(), None, refused(Reason::WrongEntry)),
        Some(_) | None => {
            let path = read.clone()?;
            let in_query = |c: char| c.is_ascii_graphic() && !"\"<>".contains(c);
            if !query.unwrap_or_default().chars().all(in_query) {
                return Err(ExplainError::Query);
            }
            if upgrade && method != "GET" {
                return Err(ExplainError::Upgrade);
            }
            let target = match query {
                Some(query) => format!("{path}?{query}"),
                None => path.to_string(),
            };
            let d = judge.request(method, &target, path.len(), upgrade);
            let responder = match d.action {
                Action::Respond(by) => Some(by),
                Action::Deny | Action::Forward => None,
            };
            (d.action.as_str(), responder, strip(d))
        }
    };
    let Decision {
        action: (),
        rule,
        reason,
        would_deny,
        terms: _,
    } = decided;
    // No rule for requests makes a TLS connection name an address, nor has it a path that is none.
    let asked = match (&authority.host, connection_action, &read) {
        (Host::Ip(_), Some(_), _) | (_, _, Err(_)) => "CONNECT",
        (Host::Ip(_) | Host::Name(_), _, Ok(_)) => method,
    };
    // A connection that ends it is not asked for a path.
    let path = read.unwrap_or(Cow::Borrowed(raw_path));
    let how_to_allow = (action == "deny").then(|| how_to_allow(reason, &authority, asked, &path));
    let rule_reason = policy
        .rule(&rule)
        .and_then(|r| r.reason.as_deref())
        .map(str::to_owned);
    Ok(Explanation {
        action: action.to_owned(),
        rule,
        reason,
        how_to_allow,
        responder,
        would_deny,
        connection: connection_action,
        host: authority.host.to_string(),
        port: authority.port.number(),
        path: path.into_owned(),
        rule_reason,
    })
}

/// The checkpoints, one after the other.
struct Judge<'a> {
    policy: &'a CompiledPolicy,
    around: &'a Around,
    entry: Entry,
    client: IpAddr,
    authority: &'a Authority,
    now: OffsetDateTime,
}

impl Judge<'_> {
    fn connection(&self) -> Decision<ConnectionAction> {
        let flow = Flow {
            entry: self.entry,
            client: self.client,
            authority: self.authority,
        };
        let decision = self.policy.decide_connection(&flow, self.now);
        let overruled = match decision.action {
            ConnectionAction::Deny => None,
            // Its address is looked at before the ClientHello, where a refusal can still be said.
            ConnectionAction::Tunnel => self.closed().or(self.nameless()),
            ConnectionAction::Intercept if self.authority.host.is_localhost() => {
                Some(Reason::TlsHandshakeFailed)
            }
            ConnectionAction::Intercept => self.nameless(),
        };
        overrule(decision, ConnectionAction::Deny, overruled)
    }

    /// `target`: path and query as they are sent on.
    fn request(
        &self,
        method: &str,
        target: &str,
        path_length: usize,
        upgrade: bool,
    ) -> Decision<Action> {
        let facts = RequestFacts {
            entry: self.entry,
            client: self.client,
            authority: self.authority,
            method,
            path: target.get(..path_length).unwrap_or(target),
            upgrade,
            size: RequestSize {
                // The '?' is not part of it.
                query_bytes: target.len().saturating_sub(path_length + 1) as u64,
                ..RequestSize::default()
            },
        };
        let decision = self.policy.decide_request(&facts, self.now);
        let overruled = match decision.action {
            Action::Deny | Action::Respond(_) => None,
            Action::Forward => self
                .secret(target, decision.terms.as_deref())
                .or_else(|| self.closed()),
        };
        overrule(decision, Action::Deny, overruled)
    }

    fn secret(&self, target: &str, terms: Option<&Terms>) -> Option<Reason> {
        let detector = self.policy.secrets();
        let mode = detector.mode_under(terms);
        secrets::target(detector, mode, &self.authority.host, target)
            .err()
            .map(|_| Reason::SecretFound)
    }

    /// Why it would not be dialled, as far as that can be said without asking a name server.
    fn closed(&self) -> Option<Reason> {
        let Around {
            addresses,
            own_listeners,
            comfyui: _,
        } = self.around;
        if let Host::Ip(ip) = self.authority.host {
            let socket = SocketAddr::new(ip, self.authority.port.number());
            return address::check(self.authority, socket, addresses, own_listeners).err();
        }
        // Nobody is asked for names of this machine.
        match self.authority.host.is_localhost() || addresses.closes_public() {
            true if !addresses.permits_private(self.authority) => Some(Reason::AddressClosed),
            true | false => None,
        }
    }

    fn nameless(&self) -> Option<Reason> {
        self.authority.host.as_ip().map(|_| Reason::SniMissing)
    }
}

fn overrule<A>(decision: Decision<A>, deny: A, by: Option<Reason>) -> Decision<A> {
    match by {
        Some(reason) => Decision {
            action: deny,
            reason,
            ..decision
        },
        None => decision,
    }
}

fn refused(reason: Reason) -> Decision<()> {
    Decision {
        action: (),
        rule: RuleName::none(),
        reason,
        would_deny: None,
        terms: None,
    }
}

struct Scheme<'a> {
    tls: bool,
    /// A WebSocket address stands for a request that asks to upgrade.
    upgrade: bool,
    rest: &'a str,
}

fn split_scheme(url: &str) -> Option<Scheme<'_>> {
    let (scheme, rest) = url.split_once("://")?;
    let (tls, upgrade) = match scheme.to_ascii_lowercase().as_str() {
        "https" => (true, false),
        "http" => (false, false),
        "wss" => (true, true),
        "ws" => (false, true),
        _ => return None,
    };
    Some(Scheme { tls, upgrade, rest })
}

fn strip<A>(d: Decision<A>) -> Decision<()> {
    let Decision {
        action: _,
        rule,
        reason,
        would_deny,
        terms,
    } = d;
    Decision {
        action: (),
        rule,
        reason,
        would_deny,
        terms,
    }
}
