//! A decision in words: which rule, why, and the rule that would allow it.
//!
//! Called by `cli explain`; [`how_to_allow`] is also in the body of every refusal.

use std::{fmt::Write, net::IpAddr};

use serde::Serialize;
use time::OffsetDateTime;

use crate::net::{AddressClass, Authority, AuthorityError, Entry, Host, Port, classify};

use super::{
    Action, CompiledPolicy, ConnectionAction, Decision, Flow, PathError, Reason, RequestFacts,
    RequestSize, Responder, RuleName, path,
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

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    #[error("not a web address: write http://host/path, https://host/path, or CONNECT host:port")]
    Scheme,
    #[error("{0}")]
    Authority(#[from] AuthorityError),
    #[error("{0}")]
    Path(#[from] PathError),
}

impl From<crate::net::HostError> for ExplainError {
    fn from(e: crate::net::HostError) -> Self {
        Self::Authority(e.into())
    }
}

/// Judges `method url` as if `client` had sent it by `entry`.
pub fn explain(
    policy: &CompiledPolicy,
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
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, raw_path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let default = if tls { Port::HTTPS } else { Port::HTTP };
    let authority = Authority::parse(authority, Some(default))?;
    let path = path::canonical(raw_path)?;

    let connection = tls.then(|| {
        let flow = Flow {
            entry,
            client,
            authority: &authority,
        };
        policy.decide_connection(&flow, now)
    });
    let request = || {
        let facts = RequestFacts {
            entry,
            client,
            authority: &authority,
            method,
            path: &path,
            upgrade,
            size: RequestSize {
                query_bytes: query.len() as u64,
                ..RequestSize::default()
            },
        };
        policy.decide_request(&facts, now)
    };
    let connection_action = connection.as_ref().map(|c| c.action);
    let (action, responder, decided) = match connection {
        Some(d) if d.action != ConnectionAction::Intercept || method == "CONNECT" => {
            (d.action.as_str(), None, strip(d))
        }
        Some(_) | None => {
            let d = request();
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
    let how_to_allow = (action == "deny").then(|| how_to_allow(reason, &authority, method, &path));
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

/// What to write into the configuration so that this request is allowed: a rule in YAML where one
/// helps, else a comment that says what does.
///
/// `method` is `CONNECT` (and `path` ignored) where a connection was refused.
pub fn how_to_allow(reason: Reason, authority: &Authority, method: &str, path: &str) -> String {
    let class = match &authority.host {
        Host::Ip(ip) => classify(*ip),
        Host::Name(_) => AddressClass::Public,
    };
    if class != AddressClass::Public && !class.openable() && may_be_allowed(reason) {
        return format!(
            "# no rule can allow it: {} addresses are never dialled",
            class.as_str()
        );
    }
    match reason {
        Reason::RuleAllows => "# it is allowed already".into(),
        Reason::RuleDenies => {
            "# a deny rule wins over every allow: remove or narrow the rule named here".into()
        }
        Reason::NoRuleMatched | Reason::HostKnownRequestNot => {
            rule_yaml(authority, method, path, false)
        }
        Reason::UpgradeNotAllowed => rule_yaml(authority, method, path, true),
        Reason::AddressClosed => upstream_yaml(authority),
        Reason::AllowExpired => {
            "# the rule named here has ended: give it a later until, or none".into()
        }
        Reason::ReadOnly => {
            "# the rule named here is read_only: GET and HEAD without a body. For more, write a rule \
             for this method and path above it"
                .into()
        }
        Reason::QueryTooLarge => "# raise max_query_bytes in the rule named here".into(),
        Reason::HeadersTooLarge => "# raise max_header_bytes in the rule named here".into(),
        Reason::BudgetSpent => {
            "# wait for the next hour or day, or raise the budget of the rule named here".into()
        }
        Reason::SecretFound => {
            "# if it is meant to go there: secrets: off (or redact) in the rule for this host".into()
        }
        Reason::BodyEncoded => {
            "# send it unencoded, or write encoded_bodies: true in the rule for this host".into()
        }
        Reason::OwnListener => "# no rule can allow it: it is an address of airlock itself".into(),
        Reason::BadAuthority
        | Reason::AuthorityMismatch
        | Reason::MalformedRequest
        | Reason::AmbiguousFraming
        | Reason::HeadTooLarge
        | Reason::HeadTimeout
        | Reason::BodyTooLarge
        | Reason::BodyTimeout
        | Reason::WrongEntry
        | Reason::NotTls
        | Reason::SniMissing
        | Reason::SniMismatch
        | Reason::ClientHelloInvalid
        | Reason::ClientHelloTimeout
        | Reason::TlsHandshakeFailed => {
            "# no rule can allow it: the client has to send it differently".into()
        }
        Reason::HostNotAllowed => format!(
            "front_door:\n  hosts: [{}] # only if this name is yours",
            authority.host
        ),
        Reason::PlainWebsocket => format!(
            "front_door:\n  plain_websockets: [{}] # whoever listens in between reads it",
            authority.host
        ),
        Reason::OriginNotAllowed => {
            "# no rule can allow it: open ComfyUI by the address of the front door".into()
        }
        Reason::LoginRequired
        | Reason::TokenMalformed
        | Reason::TokenBadSignature
        | Reason::TokenBadPayload
        | Reason::TokenExpired
        | Reason::TokenNotHere
        | Reason::SessionUnknown
        | Reason::SessionRevoked
        | Reason::SessionExpired
        | Reason::SessionMismatch
        | Reason::LoginWrong => {
            "# log in at /airlock/login, or make a token (`airlock session issue`) or an API key \
             (`airlock key add`)"
                .into()
        }
        Reason::ProxyLoginRequired => {
            "# put an API key into the proxy's address: http://key:KEY@host:port, with KEY from \
             `airlock key add`"
                .into()
        }
        Reason::KeyUnknown | Reason::KeyExpired => {
            "# make a new API key: `airlock key add NAME`, or `airlock key rotate NAME`".into()
        }
        Reason::KeyTooMany | Reason::KeyBusy | Reason::LoginThrottled | Reason::LoginBusy => {
            "# wait for as long as Retry-After says".into()
        }
        Reason::PageUnknown => {
            "# send Origin with the address of the front door, or a token in place of the cookie"
                .into()
        }
        Reason::LoginInTheClear => format!(
            "front_door:\n  plain_websockets: [{}] # whoever listens in between reads the password",
            authority.host
        ),
        Reason::RoleTooLow => "# ask an admin: `airlock user list` shows who is what".into(),
        Reason::SessionIdForeign | Reason::SessionIdsFull => {
            "# begin a new chat: its session id is another user's, or there are too many".into()
        }
        Reason::CheckpointForeign => {
            "# no rule can allow it: a saved workflow is only for the user for whom it was saved"
                .into()
        }
        Reason::EchRefused => {
            "# turn Encrypted ClientHello off in the client, or intercept this host: give its rule \
             action: forward"
                .into()
        }
        Reason::PolicyChanged => {
            "# the policy was changed while it was open: ask again, and see what the new one says"
                .into()
        }
        Reason::LockedDown => {
            "# no rule can allow it: end the lockdown (airlock lockdown off)".into()
        }
        Reason::UpstreamProxyRefused => {
            "# airlock allows it: ask who runs the proxy named in egress.upstream_proxy".into()
        }
        Reason::GuardTraversal => guard_off("traversal", "names that lead anywhere"),
        Reason::GuardUploadTypes => guard_off("upload_types", "files of any kind"),
        Reason::GuardImagePixels => guard_off("image_pixels", "pictures of any size"),
        Reason::GuardPrompt => guard_off("prompt", "workflows of any size"),
        Reason::GuardCodeNodes => guard_off("code_nodes", "workflows that run code"),
        Reason::GuardInstallRoutes => {
            format!("# an admin may; or, for everyone:\n{}", guard_off("install_routes", "everyone installs"))
        }
        Reason::GuardManagerFiles => guard_off("manager_files", "its security level among them"),
        Reason::GuardUnreadable => {
            "# no rule can allow it: the client has to send it unencoded and as UTF-8".into()
        }
        Reason::RateLimited | Reason::TooManyOpen => {
            "# no rule refused it: wait, or raise the limit named here (limits.rates)".into()
        }
        Reason::CircuitOpen => {
            "# no rule refused it: ComfyUI is down; it is asked again by itself (front_door.breaker)"
                .into()
        }
        Reason::ResolveFailed
        | Reason::ResolveTimeout
        | Reason::ConnectFailed
        | Reason::ConnectTimeout
        | Reason::UpstreamTlsFailed
        | Reason::UpstreamFailed
        | Reason::UpstreamTimeout
        | Reason::Overloaded
        | Reason::AuditUnavailable
        | Reason::PolicyFault
        | Reason::ClientGone
        | Reason::Internal => "# no rule refused it: it failed on the way".into(),
    }
}

/// `what` is let through then.
fn guard_off(guard: &str, what: &str) -> String {
    format!("front_door:\n  guards:\n    {guard}: off # {what}")
}

/// Whether a rule or a setting would otherwise be proposed.
fn may_be_allowed(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NoRuleMatched
            | Reason::HostKnownRequestNot
            | Reason::UpgradeNotAllowed
            | Reason::AddressClosed
    )
}

fn rule_yaml(authority: &Authority, method: &str, path: &str, upgrade: bool) -> String {
    let connect = method == "CONNECT";
    let (key, destination) = match &authority.host {
        Host::Name(name) => ("hosts", name.to_string()),
        Host::Ip(ip) => ("ips", format!("\"{ip}\"")),
    };
    let defaults: &[Port] = if connect {
        &[Port::HTTPS]
    } else {
        &[Port::HTTP, Port::HTTPS]
    };
    let mut out = format!("rules:\n  - name: allow-{}\n", name_for(authority));
    // Writing to a String cannot fail.
    let _ = writeln!(out, "    {key}: [{destination}]");
    if !defaults.contains(&authority.port) {
        let _ = writeln!(out, "    ports: [{}]", authority.port);
    }
    if !connect {
        let _ = writeln!(out, "    methods: [{}]", quoted(method));
        let _ = writeln!(out, "    paths: [{}]", quoted(&pattern_for(path)));
    }
    if upgrade {
        out.push_str("    upgrade: true\n");
    }
    let _ = writeln!(
        out,
        "    action: {}",
        if connect { "tunnel" } else { "forward" }
    );
    // A rule opens the host; a private address opens by being named as an upstream as well.
    if let Host::Ip(ip) = &authority.host
        && classify(*ip) != AddressClass::Public
    {
        out.push_str(&upstream_yaml(authority));
    }
    out
}

fn upstream_yaml(authority: &Authority) -> String {
    format!(
        "# the address is private; it opens for exactly this host and port by\nupstreams:\n  - name: \
         {}\n    url: http://{authority}\n",
        name_for(authority)
    )
}

/// Letters, digits and '-': a name that YAML takes without quotes.
fn name_for(authority: &Authority) -> String {
    let host = authority.host.to_string();
    host.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect()
}

/// A path holding '*' cannot be a pattern: its folder stands for it.
fn pattern_for(path: &str) -> String {
    match path.find('*') {
        None if path.is_empty() => "/*".to_owned(),
        None => path.to_owned(),
        Some(at) => {
            let folder = path
                .get(..at)
                .and_then(|p| p.rsplit_once('/'))
                .map_or("", |(f, _)| f);
            format!("{folder}/*")
        }
    }
}

/// Double-quoted YAML; method and path hold no control characters once they were judged.
fn quoted(text: &str) -> String {
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"/-_.*".contains(&b))
        && !text.starts_with(['*', '-']);
    if plain {
        return text.to_owned();
    }
    let inner: String = text
        .chars()
        .filter(|c| !c.is_control())
        .flat_map(|c| {
            let escaped = matches!(c, '"' | '\\');
            escaped
                .then_some('\\')
                .into_iter()
                .chain(std::iter::once(c))
        })
        .collect();
    format!("\"{inner}\"")
}
