//! How what was refused could be allowed: a rule in YAML, or a comment that says what helps.
//!
//! In the body of every refusal, and what `airlock explain` ends with. It writes text and decides nothing.

use std::fmt::Write;

use crate::net::{AddressClass, Authority, Host, Port, classify};

use super::Reason;

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
        Reason::NoRuleMatched | Reason::HostKnownRequestNot
            if method == "CONNECT" && authority.host.as_ip().is_some() =>
        {
            NAMELESS.into()
        }
        Reason::NoRuleMatched | Reason::HostKnownRequestNot => {
            rule_yaml(authority, method, path, false)
        }
        Reason::UpgradeNotAllowed => rule_yaml(authority, method, path, true),
        Reason::AddressClosed => upstream_yaml(authority),
        Reason::AllowExpired => {
            "# the rule named here has ended: give it a later until, or none".into()
        }
        Reason::NotForYou => {
            "# the rule named here is for other users and keys: add this one to its users".into()
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
        | Reason::SniMismatch
        | Reason::ClientHelloInvalid
        | Reason::ClientHelloTimeout
        | Reason::TlsHandshakeFailed => {
            "# no rule can allow it: the client has to send it differently".into()
        }
        Reason::SniMissing => NAMELESS.into(),
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
        | Reason::StateUnavailable
        | Reason::PolicyFault
        | Reason::ClientGone
        | Reason::Internal => "# no rule refused it: it failed on the way".into(),
    }
}

/// A ClientHello for an address holds no name that could be judged (RFC 6066 3).
const NAMELESS: &str = "# no rule can allow it: TLS has to say which name it is for, and that is no address: use \
                        the host's name, or http:// where a rule for ips allows it";

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
