//! One rule in runtime form. Built by `config` from YAML and by `packs`; matched here, field by
//! field. A field that is empty does not restrict, except hosts and addresses: a rule names its
//! destinations.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use time::OffsetDateTime;

use crate::net::{DomainPattern, Entry, Port};

use super::{Mode, PathPattern, Responder, RuleName, Terms};

/// What a rule does. `Tunnel` judges connections, `Forward` and `Respond` judge requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuleAction {
    Deny,
    Tunnel,
    Forward,
    Respond(Responder),
}

impl RuleAction {
    pub fn as_str(self) -> &'static str {
        match self {
            RuleAction::Deny => "deny",
            RuleAction::Tunnel => "tunnel",
            RuleAction::Forward => "forward",
            RuleAction::Respond(_) => "respond",
        }
    }

    /// The ports of a rule that names none. A deny covers every port, so that it cannot be
    /// walked around.
    pub fn default_ports(self) -> Ports {
        match self {
            RuleAction::Deny => Ports::Any,
            RuleAction::Tunnel => Ports::List(vec![Port::HTTPS]),
            RuleAction::Forward | RuleAction::Respond(_) => {
                Ports::List(vec![Port::HTTP, Port::HTTPS])
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    Any,
    List(Vec<Port>),
}

impl Ports {
    pub fn contains(&self, port: Port) -> bool {
        match self {
            Ports::Any => true,
            Ports::List(ports) => ports.contains(&port),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Unique; `pack/rule` for a rule of a pack.
    pub name: RuleName,
    pub hosts: Vec<DomainPattern>,
    /// Destinations written as literal addresses.
    pub ips: Vec<IpAddr>,
    pub ports: Ports,
    /// Upper-case methods; empty: all.
    pub methods: Vec<Box<str>>,
    /// Empty: all.
    pub paths: Vec<PathPattern>,
    /// Networks that clients are in; empty: all.
    pub clients: Vec<IpNet>,
    /// Empty: all.
    pub entries: Vec<Entry>,
    pub action: RuleAction,
    /// Whether a WebSocket (any Upgrade) may be opened.
    pub upgrade: bool,
    /// Stands above the mode of the whole policy where given.
    pub mode: Option<Mode>,
    /// Why the rule is there, in its author's words.
    pub reason: Option<Arc<str>>,
    /// What it demands beyond matching; shared with its decisions.
    pub terms: Option<Arc<Terms>>,
}

/// Whoever asks a rule of this name gets a panic, in test builds alone: see `app::fault_tests`.
#[cfg(test)]
pub const FAULTY: &str = "faulty-by-a-test";
/// The same for a request with this method, whatever the rule.
#[cfg(test)]
pub const FAULT: &str = "FAULT";

impl Rule {
    /// Port, client and entry: what is known before a request is read.
    pub(super) fn matches_connection(&self, entry: Entry, client: IpAddr, port: Port) -> bool {
        #[cfg(test)]
        assert_ne!(self.name.as_str(), FAULTY, "a test's fault in a rule");
        self.ports.contains(port)
            && (self.entries.is_empty() || self.entries.contains(&entry))
            && (self.clients.is_empty() || self.clients.iter().any(|net| net.contains(&client)))
    }

    /// False once its `until` has come.
    pub(super) fn is_live(&self, now: OffsetDateTime) -> bool {
        self.terms.as_ref().is_none_or(|terms| !terms.ended(now))
    }

    /// Methods are case-sensitive; paths are matched by the index.
    pub(super) fn matches_method(&self, method: &str) -> bool {
        #[cfg(test)]
        assert_ne!(method, FAULT, "a test's fault in a request");
        self.methods.is_empty() || self.methods.iter().any(|m| **m == *method)
    }

    /// True where the rule cannot be judged without seeing the request.
    pub(super) fn needs_request(&self) -> bool {
        !self.methods.is_empty() || !self.paths.is_empty()
    }

    /// True where TLS to the hosts of this rule is terminated here. By [`Entry::Models`] nobody connects.
    pub(super) fn intercepts_tls(&self) -> bool {
        if !self.entries.is_empty() && self.entries.iter().all(|e| *e == Entry::Models) {
            return false;
        }
        let decrypts = match self.action {
            RuleAction::Deny | RuleAction::Tunnel => false,
            RuleAction::Forward | RuleAction::Respond(_) => true,
        };
        decrypts
            && match &self.ports {
                Ports::Any => true,
                Ports::List(ports) => ports.iter().any(|p| *p != Port::HTTP),
            }
    }
}
