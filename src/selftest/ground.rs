//! What the corpus has to know of the policy that it is run against: whom it may name, and whose
//! answer it may ask for. Made from a running policy, or written down by a test.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use time::OffsetDateTime;

use crate::{
    net::{Authority, DomainPattern, Entry, Host, Port},
    policy::{
        Action, CompiledPolicy, ConnectionAction, Flow, PathPattern, RequestFacts, RequestSize,
        Responder, Rule, RuleAction,
    },
};

use super::{
    case::{Case, Script},
    lane::Lane,
};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ENTRIES: [Entry; 3] = [Entry::Explicit, Entry::Reverse, Entry::Transparent];
/// Reserved names that are nobody's (RFC 6761), in the order in which they are tried.
const STRANGERS: [&str; 3] = ["evil.test", "evil.invalid", "evil.example"];
/// GETs that stand-ins answer without counting them as unknown, and one that nobody knows.
const PATHS: [&str; 3] = ["/api/chat/announcement", "/", "/airlock-selftest"];

/// A request that is answered in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub host: String,
    pub path: String,
    pub method: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ground {
    /// A host that is answered here, by a GET, over every entry.
    pub answered: Option<Place>,
    /// The same for the host that the reverse entry stands for.
    pub vendor: Option<Place>,
    /// A host of whose paths only this one, and what is below it, is answered.
    pub limited: Option<Place>,
    /// A host that answers GET and HEAD alone.
    pub read_only: Option<Place>,
    /// A host whose connections are relayed undecrypted.
    pub tunnelled: Option<String>,
    /// Names below this one are relayed; it itself is not.
    pub wildcard: Option<String>,
    /// An international name that is answered here: U-label and A-label.
    pub international: Option<[String; 2]>,
    /// A name below a reserved domain that no rule names.
    pub stranger: String,
    /// Addresses that airlock itself listens on.
    pub own: Vec<SocketAddr>,
    /// Hosts that a rule names for another port, path or entry than those that are tried.
    pub known: Vec<String>,
    /// The policy is known, so that every refusal has exactly one reason.
    pub exact: bool,
}

impl Ground {
    /// Where a policy lets every reserved name through (report mode does), [`is_safe`] takes out
    /// what must not be sent.
    pub fn of(policy: &CompiledPolicy, vendor: &Host, own: Vec<SocketAddr>) -> Self {
        let closed =
            |name: &&str| is_closed(policy, name) && is_closed(policy, &format!("a.{name}"));
        let stranger = STRANGERS.into_iter().find(closed).unwrap_or(STRANGERS[0]);
        let vendor = vendor.as_name().and_then(|name| answered(policy, name));
        let mut places: Vec<(u8, Place)> = policy
            .intercepted_hosts()
            .iter()
            .filter_map(|pattern| match pattern {
                DomainPattern::Exact(name) => {
                    let place = answered(policy, name)?;
                    Some((preference(policy, &place)?, place))
                }
                DomainPattern::Below(_) => None,
            })
            .collect();
        places.sort_by_key(|(preference, _)| *preference);
        Self {
            answered: places.into_iter().next().map(|(_, place)| place),
            vendor,
            limited: policy.rules().iter().find_map(|rule| limited(policy, rule)),
            read_only: policy
                .rules()
                .iter()
                .find_map(|rule| read_only(policy, rule)),
            tunnelled: policy.rules().iter().find_map(|rule| match rule.action {
                RuleAction::Tunnel => rule.hosts.iter().find_map(exact_name),
                RuleAction::Deny | RuleAction::Forward | RuleAction::Respond(_) => None,
            }),
            wildcard: policy.rules().iter().find_map(|rule| match rule.action {
                RuleAction::Deny => None,
                RuleAction::Tunnel | RuleAction::Forward | RuleAction::Respond(_) => {
                    rule.hosts.iter().find_map(|h| match h {
                        DomainPattern::Below(name) => Some(name.to_string()),
                        DomainPattern::Exact(_) => None,
                    })
                }
            }),
            international: None,
            stranger: stranger.to_owned(),
            own,
            known: Vec::new(),
            exact: false,
        }
    }

    /// Whom a request in this lane is sent to so that nothing but its form can refuse it.
    pub fn place(&self, lane: Lane) -> Option<&Place> {
        match lane {
            Lane::Reverse => self.vendor.as_ref(),
            Lane::ExplicitPlain
            | Lane::ConnectTunnel
            | Lane::ConnectIntercepted
            | Lane::TransparentTls
            | Lane::TransparentHttp => self.answered.as_ref(),
            Lane::Admin | Lane::InProcess => None,
        }
    }

    /// Names that rules allow, to be misspelled.
    pub fn allowed(&self) -> Vec<&str> {
        let answered = self.answered.iter().map(|p| p.host.as_str());
        answered.chain(self.tunnelled.as_deref()).collect()
    }
}

/// False where the rules would let this case out: it is then not a case, and must not be sent.
pub fn is_safe(policy: &CompiledPolicy, case: &Case) -> bool {
    let (Some(authority), Script::Wire { .. }) = (&case.destination, &case.script) else {
        return true;
    };
    closed_to(policy, authority)
}

fn is_closed(policy: &CompiledPolicy, name: &str) -> bool {
    [Port::HTTP, Port::HTTPS].into_iter().all(|port| {
        let text = format!("{name}:{port}");
        Authority::parse(&text, None).is_ok_and(|authority| closed_to(policy, &authority))
    })
}

/// No connection and no plain GET gets anywhere.
fn closed_to(policy: &CompiledPolicy, authority: &Authority) -> bool {
    ENTRIES.into_iter().all(|entry| {
        let flow = Flow {
            entry,
            client: CLIENT,
            authority,
        };
        let connection = policy
            .decide_connection(&flow, OffsetDateTime::now_utc())
            .action;
        connection == ConnectionAction::Deny
            && request(policy, entry, authority, "GET", "/") == Action::Deny
    })
}

fn request(
    policy: &CompiledPolicy,
    entry: Entry,
    authority: &Authority,
    method: &str,
    path: &str,
) -> Action {
    let facts = RequestFacts {
        entry,
        client: CLIENT,
        authority,
        method,
        path,
        upgrade: false,
        size: RequestSize::default(),
    };
    policy
        .decide_request(&facts, OffsetDateTime::now_utc())
        .action
}

/// The answer that every entry gives on both ports, if it is one and the same.
fn everywhere(policy: &CompiledPolicy, place: &Place) -> Option<Responder> {
    let mut found = None;
    for port in [Port::HTTP, Port::HTTPS] {
        let authority = Authority::new(Host::parse(&place.host).ok()?, port);
        for entry in ENTRIES {
            match request(policy, entry, &authority, &place.method, &place.path) {
                Action::Respond(by) if found.is_none_or(|f| f == by) => found = Some(by),
                Action::Respond(_) | Action::Forward | Action::Deny => return None,
            }
        }
    }
    found
}

/// A GET that stays here. The gateway to the LLM is left alone: it has an upstream of its own.
fn answered(policy: &CompiledPolicy, name: &str) -> Option<Place> {
    PATHS.into_iter().find_map(|path| {
        let place = Place {
            host: name.to_owned(),
            path: path.to_owned(),
            method: "GET".to_owned(),
        };
        preference(policy, &place)?;
        Some(place)
    })
}

/// Which answers are the most harmless; `None` for those that must not be asked for.
fn preference(policy: &CompiledPolicy, place: &Place) -> Option<u8> {
    match everywhere(policy, place)? {
        Responder::Image => Some(0),
        Responder::Copilot => Some(1),
        Responder::ModelScope => Some(2),
        Responder::Sink => Some(3),
        Responder::Llm | Responder::Mcp => None,
    }
}

fn exact_name(pattern: &DomainPattern) -> Option<String> {
    match pattern {
        DomainPattern::Exact(name) => Some(name.to_string()),
        DomainPattern::Below(_) => None,
    }
}

fn limited(policy: &CompiledPolicy, rule: &Rule) -> Option<Place> {
    let host = rule.hosts.iter().find_map(exact_name)?;
    let path = rule.paths.iter().find_map(|pattern| match pattern {
        PathPattern::Exact(path) => Some(path.to_string()),
        PathPattern::Below(path) => Some(format!("{path}a")),
        PathPattern::Ending(_) => None,
    })?;
    let method = rule.methods.first().map_or("GET", |m| m).to_owned();
    let place = Place { host, path, method };
    let outside = Place {
        path: "/airlock-selftest".to_owned(),
        ..place.clone()
    };
    (everywhere(policy, &place).is_some() && refused_everywhere(policy, &outside)).then_some(place)
}

fn read_only(policy: &CompiledPolicy, rule: &Rule) -> Option<Place> {
    let place = answered(policy, &rule.hosts.iter().find_map(exact_name)?)?;
    let writing = Place {
        method: "POST".to_owned(),
        ..place.clone()
    };
    refused_everywhere(policy, &writing).then_some(place)
}

fn refused_everywhere(policy: &CompiledPolicy, place: &Place) -> bool {
    let Ok(host) = Host::parse(&place.host) else {
        return false;
    };
    [Port::HTTP, Port::HTTPS].into_iter().all(|port| {
        let authority = Authority::new(host.clone(), port);
        ENTRIES.into_iter().all(|entry| {
            request(policy, entry, &authority, &place.method, &place.path) == Action::Deny
        })
    })
}
