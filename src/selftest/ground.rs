//! What the corpus has to know of the policy that it is run against: whom it may name, and whose
//! answer it may ask for. Made from a running policy, or written down by a test.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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

const PORTS: [Port; 2] = [Port::HTTP, Port::HTTPS];
const ENTRIES: [Entry; 4] = [
    Entry::Explicit,
    Entry::Reverse,
    Entry::Transparent,
    Entry::FrontDoor,
];
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
    /// Addresses that a connection to these comes from.
    pub clients: Vec<IpAddr>,
    /// Hosts that a rule names for another port, path or entry than those that are tried.
    pub known: Vec<String>,
    /// The policy is known, so that every refusal has exactly one reason.
    pub exact: bool,
}

impl Ground {
    /// Where a policy lets every reserved name through (report mode does), [`is_safe`] takes out
    /// what must not be sent.
    pub fn of(policy: &CompiledPolicy, vendor: &Host, own: Vec<SocketAddr>) -> Self {
        let clients = clients_of(&own);
        let rules = Rules {
            policy,
            clients: &clients,
        };
        let closed = |name: &&str| rules.closes(name) && rules.closes(&format!("a.{name}"));
        let stranger = STRANGERS.into_iter().find(closed).unwrap_or(STRANGERS[0]);
        let vendor = vendor.as_name().and_then(|name| rules.answered(name));
        let mut places: Vec<(u8, Place)> = policy
            .intercepted_hosts()
            .iter()
            .filter_map(|pattern| match pattern {
                DomainPattern::Exact(name) => {
                    let place = rules.answered(name)?;
                    Some((rules.preference(&place)?, place))
                }
                DomainPattern::Below(_) => None,
            })
            .collect();
        places.sort_by_key(|(preference, _)| *preference);
        let list = policy.rules();
        Self {
            answered: places.into_iter().next().map(|(_, place)| place),
            vendor,
            limited: list.iter().find_map(|rule| rules.limited(rule)),
            read_only: list.iter().find_map(|rule| rules.read_only(rule)),
            tunnelled: list.iter().find_map(|rule| match rule.action {
                RuleAction::Tunnel => rule.hosts.iter().find_map(exact_name),
                RuleAction::Deny | RuleAction::Forward | RuleAction::Respond(_) => None,
            }),
            wildcard: list.iter().find_map(|rule| match rule.action {
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
            clients,
            known: Vec::new(),
            exact: false,
        }
    }

    /// The policy of docs/EGRESS.md, as `tests/it/corpus` and `tests/matrix` set it up.
    pub fn documented(own: Vec<SocketAddr>) -> Self {
        let place = |host: &str, path: &str| {
            Some(Place {
                host: host.into(),
                path: path.into(),
                method: "GET".into(),
            })
        };
        Self {
            answered: place("inside.test", "/open/a.png"),
            vendor: place("inside.test", "/open/a.png"),
            limited: place("inside.test", "/open/a.png"),
            read_only: place("read.test", "/a.png"),
            tunnelled: Some("allowed.test".into()),
            wildcard: Some("w.test".into()),
            international: Some(["bücher.test".into(), "xn--bcher-kva.test".into()]),
            stranger: STRANGERS[0].into(),
            clients: clients_of(&own),
            own,
            // The upstream of a reverse route.
            known: vec!["127.0.0.1".into()],
            exact: true,
        }
    }

    /// Whom a request in this lane is sent to so that nothing but its form can refuse it.
    pub fn place(&self, lane: Lane) -> Option<&Place> {
        match lane {
            Lane::Reverse | Lane::FrontDoor => self.vendor.as_ref(),
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
pub fn is_safe(ground: &Ground, policy: &CompiledPolicy, case: &Case) -> bool {
    let (Some(authority), Script::Wire { .. }) = (&case.destination, &case.script) else {
        return true;
    };
    let clients = &ground.clients;
    Rules { policy, clients }.close(authority)
}

/// Whom a listener sees when it is called from this machine: itself, or loopback.
fn clients_of(listeners: &[SocketAddr]) -> Vec<IpAddr> {
    let mut clients = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    for ip in listeners.iter().map(SocketAddr::ip) {
        if !ip.is_loopback() && !ip.is_unspecified() && !clients.contains(&ip) {
            clients.push(ip);
        }
    }
    clients
}

/// A policy, asked on behalf of every client that a case may come from.
struct Rules<'a> {
    policy: &'a CompiledPolicy,
    clients: &'a [IpAddr],
}

impl Rules<'_> {
    /// Every action that a request meets, over all clients and entries.
    fn actions(&self, authority: &Authority, place: &Place, upgrade: bool) -> Vec<Action> {
        let now = OffsetDateTime::now_utc();
        let of = |client: IpAddr, entry: Entry| {
            let facts = RequestFacts {
                entry,
                client,
                authority,
                method: &place.method,
                path: &place.path,
                upgrade,
                size: RequestSize::default(),
            };
            self.policy.decide_request(&facts, now).action
        };
        let clients = self.clients.iter();
        clients
            .flat_map(|client| ENTRIES.map(|entry| of(*client, entry)))
            .collect()
    }

    /// No connection and no plain GET gets anywhere.
    fn close(&self, authority: &Authority) -> bool {
        let now = OffsetDateTime::now_utc();
        let connects = |client: IpAddr, entry: Entry| {
            let flow = Flow {
                entry,
                client,
                authority,
            };
            self.policy.decide_connection(&flow, now).action != ConnectionAction::Deny
        };
        let mut clients = self.clients.iter();
        let root = Place {
            host: String::new(),
            path: "/".into(),
            method: "GET".into(),
        };
        !clients.any(|client| ENTRIES.into_iter().any(|entry| connects(*client, entry)))
            && self
                .actions(authority, &root, false)
                .iter()
                .all(|action| *action == Action::Deny)
    }

    fn closes(&self, name: &str) -> bool {
        PORTS.into_iter().all(|port| {
            let text = format!("{name}:{port}");
            Authority::parse(&text, None).is_ok_and(|authority| self.close(&authority))
        })
    }

    /// The answer that every entry gives on both ports, if it is one and the same.
    fn everywhere(&self, place: &Place) -> Option<Responder> {
        let host = Host::parse(&place.host).ok()?;
        let mut found = None;
        for port in PORTS {
            let authority = Authority::new(host.clone(), port);
            for action in self.actions(&authority, place, false) {
                match action {
                    Action::Respond(by) if found.is_none_or(|f| f == by) => found = Some(by),
                    Action::Respond(_) | Action::Forward | Action::Deny => return None,
                }
            }
        }
        found
    }

    fn refused_everywhere(&self, place: &Place, upgrade: bool) -> bool {
        let Ok(host) = Host::parse(&place.host) else {
            return false;
        };
        PORTS.into_iter().all(|port| {
            let authority = Authority::new(host.clone(), port);
            self.actions(&authority, place, upgrade)
                .iter()
                .all(|action| *action == Action::Deny)
        })
    }

    /// A GET that stays here, where no WebSocket may be opened.
    fn answered(&self, name: &str) -> Option<Place> {
        PATHS.into_iter().find_map(|path| {
            let place = Place {
                host: name.to_owned(),
                path: path.to_owned(),
                method: "GET".to_owned(),
            };
            self.preference(&place)?;
            self.refused_everywhere(&place, true).then_some(place)
        })
    }

    /// Which answers are the most harmless; `None` for those that must not be asked for. The
    /// gateway to the LLM is left alone: it has an upstream of its own.
    fn preference(&self, place: &Place) -> Option<u8> {
        match self.everywhere(place)? {
            Responder::Image => Some(0),
            Responder::Copilot => Some(1),
            Responder::ModelScope => Some(2),
            Responder::Sink => Some(3),
            Responder::Llm | Responder::Mcp | Responder::FrontDoor => None,
        }
    }

    fn limited(&self, rule: &Rule) -> Option<Place> {
        let host = rule.hosts.iter().find_map(exact_name)?;
        let path = rule.paths.iter().find_map(|pattern| match pattern {
            PathPattern::Exact(path) => Some(path.to_string()),
            PathPattern::Below(path) => Some(format!("{path}a")),
            PathPattern::Ending(_) => None,
        })?;
        let method = rule.methods.first().map_or("GET", |m| m).to_owned();
        let place = Place { host, path, method };
        let outside = |path: &str| Place {
            path: path.to_owned(),
            ..place.clone()
        };
        let limited = self.everywhere(&place).is_some()
            && ["/airlock-selftest", "/"]
                .iter()
                .all(|path| self.refused_everywhere(&outside(path), false));
        limited.then_some(place)
    }

    fn read_only(&self, rule: &Rule) -> Option<Place> {
        let place = self.answered(&rule.hosts.iter().find_map(exact_name)?)?;
        let writes = ["POST", "DELETE", "OPTIONS", "GETX"].iter().all(|method| {
            let writing = Place {
                method: (*method).to_owned(),
                ..place.clone()
            };
            self.refused_everywhere(&writing, false)
        });
        writes.then_some(place)
    }
}

fn exact_name(pattern: &DomainPattern) -> Option<String> {
    match pattern {
        DomainPattern::Exact(name) => Some(name.to_string()),
        DomainPattern::Below(_) => None,
    }
}
