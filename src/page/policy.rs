//! The rules as the browser enforces them: `Content-Security-Policy` and `Connection-Allowlist`.
//!
//! By default the page reaches its own origin and nothing else. A rule opens a host to the page when
//! it names the front door among its `entries` and says nothing that a browser cannot keep: what the
//! page sends there goes straight from the browser, past every other check, so a rule that narrows
//! methods, paths or clients opens nothing here, nor does one whose host another rule denies or
//! answers on this machine. Scripts, frames and workers come from our own origin in every case.
//!
//! The values are those that were tried on ComfyUI's page: without `unsafe-eval` and inline scripts,
//! with inline styles. CSP alone leaves name look-ups, navigation and WebRTC open; where the browser
//! knows `Connection-Allowlist` (Chromium from 152) they are closed as well.

use crate::{
    net::{DomainPattern, Entry, Port},
    policy::{CompiledPolicy, Mode, Ports, Rule, RuleAction},
};

use super::{OWN_RULES, REPORT_PATH, html::ScriptHash};

/// Sources beyond this many would make a head that servers and browsers refuse.
const MOST_SOURCES: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSettings {
    /// Send `Connection-Allowlist`, which closes links to the outside too.
    pub connection_allowlist: bool,
}

/// What every response of the front door tells the browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PagePolicy {
    mode: Mode,
    before_scripts: String,
    after_scripts: String,
    connections: Option<String>,
    /// Rules that name the front door and open nothing, and why: for the person who wrote them.
    pub notes: Vec<String>,
}

impl PagePolicy {
    pub fn compile(policy: &CompiledPolicy, settings: PageSettings) -> Self {
        let mut notes = Vec::new();
        let mut open = Open::default();
        let named = policy.rules().iter().filter(|rule| {
            matches!(rule.action, RuleAction::Tunnel | RuleAction::Forward)
                && rule.entries.contains(&Entry::FrontDoor)
                // What the door itself sends on says nothing about where the page may go.
                && !rule.name.as_str().starts_with(OWN_RULES)
        });
        for rule in named {
            match obstacle(rule, policy) {
                Some(why) => notes.push(format!(
                    "rule {} does not open its hosts to the page: {why}",
                    rule.name
                )),
                None => open.add(rule, &mut notes),
            }
        }
        let reach: String = open.sources.iter().map(|s| format!(" {s}")).collect();
        Self {
            mode: policy.mode(),
            before_scripts: "default-src 'none'; script-src 'self'".into(),
            after_scripts: format!(
                "; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:{reach}; \
                 font-src 'self' data:; media-src 'self' data: blob:{reach}; \
                 connect-src 'self'{reach}; worker-src 'self' blob:; manifest-src 'self'; \
                 frame-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'; \
                 frame-ancestors 'none'; report-uri {REPORT_PATH}"
            ),
            connections: settings.connection_allowlist.then(|| {
                let patterns: String = open.patterns.iter().map(|p| format!(" \"{p}\"")).collect();
                format!("(response-origin{patterns})")
            }),
            notes,
        }
    }

    /// The headers, with the hashes of a document's inline import maps.
    pub fn headers(&self, scripts: &[ScriptHash]) -> Vec<(&'static str, String)> {
        let mut csp = self.before_scripts.clone();
        for hash in scripts {
            csp.push(' ');
            csp.push_str(hash.as_str());
        }
        csp.push_str(&self.after_scripts);
        let (csp_name, connections_name) = match self.mode {
            Mode::Enforce => ("content-security-policy", "connection-allowlist"),
            Mode::Report => (
                "content-security-policy-report-only",
                "connection-allowlist-report-only",
            ),
        };
        let mut headers = vec![(csp_name, csp)];
        headers.extend(
            self.connections
                .iter()
                .map(|value| (connections_name, value.clone())),
        );
        headers
    }
}

/// Why a rule cannot be put into the browser's words.
fn obstacle(rule: &Rule, policy: &CompiledPolicy) -> Option<String> {
    if !rule.methods.is_empty() || !rule.paths.is_empty() || !rule.clients.is_empty() {
        return Some("a browser cannot be told about methods, paths or clients".into());
    }
    if rule.terms.is_some() {
        return Some("a browser keeps no budget, no bound and no end".into());
    }
    let at_this_entry = |r: &&Rule| r.entries.is_empty() || r.entries.contains(&Entry::FrontDoor);
    for other in policy.rules().iter().filter(at_this_entry) {
        let overlaps = || {
            let mut pairs = rule
                .hosts
                .iter()
                .flat_map(|a| other.hosts.iter().map(move |b| (a, b)));
            pairs.any(|(a, b)| overlap(a, b))
        };
        match other.action {
            RuleAction::Deny
                if other.mode.unwrap_or(policy.mode()) == Mode::Enforce && overlaps() =>
            {
                return Some(format!("rule {} denies something there", other.name));
            }
            RuleAction::Respond(_) if overlaps() => {
                return Some(format!("rule {} answers it on this machine", other.name));
            }
            RuleAction::Deny
            | RuleAction::Respond(_)
            | RuleAction::Tunnel
            | RuleAction::Forward => {}
        }
    }
    None
}

/// Whether some name is matched by both.
fn overlap(a: &DomainPattern, b: &DomainPattern) -> bool {
    let below = |name: &str, suffix: &str| {
        name.strip_suffix(suffix)
            .is_some_and(|head| head.ends_with('.'))
    };
    match (a, b) {
        (DomainPattern::Exact(a), DomainPattern::Exact(b)) => a == b,
        (DomainPattern::Exact(name), DomainPattern::Below(suffix))
        | (DomainPattern::Below(suffix), DomainPattern::Exact(name)) => below(name, suffix),
        (DomainPattern::Below(a), DomainPattern::Below(b)) => a == b || below(a, b) || below(b, a),
    }
}

/// Hosts open to the page, in the words of the two headers.
#[derive(Default)]
struct Open {
    sources: Vec<String>,
    patterns: Vec<String>,
}

impl Open {
    fn add(&mut self, rule: &Rule, notes: &mut Vec<String>) {
        if !rule.ips.is_empty() {
            notes.push(format!(
                "rule {} names addresses, which a browser takes in no policy: name hosts",
                rule.name
            ));
        }
        for host in &rule.hosts {
            for (secure, port) in endpoints(rule) {
                if self.sources.len() >= MOST_SOURCES {
                    notes.push(format!(
                        "rule {}: {host} is not open to the page, {MOST_SOURCES} others are",
                        rule.name
                    ));
                    return;
                }
                self.endpoint(host, secure, &port, rule.upgrade);
            }
        }
    }

    fn endpoint(&mut self, host: &DomainPattern, secure: bool, port: &str, upgrade: bool) {
        let scheme = if secure { "https" } else { "http" };
        push_new(&mut self.sources, format!("{scheme}://{host}{port}"));
        if upgrade {
            let scheme = if secure { "wss" } else { "ws" };
            push_new(&mut self.sources, format!("{scheme}://{host}{port}"));
        }
        // For CSP, `http:` takes https in; for the allowlist, a WebSocket is an http URL.
        push_new(&mut self.patterns, format!("https://{host}{port}"));
        if !secure {
            push_new(&mut self.patterns, format!("http://{host}{port}"));
        }
    }
}

fn push_new(list: &mut Vec<String>, value: String) {
    if !list.contains(&value) {
        list.push(value);
    }
}

/// Whether TLS is spoken, and `:port` where it is not the scheme's own.
fn endpoints(rule: &Rule) -> Vec<(bool, String)> {
    let only_tls = rule.action == RuleAction::Tunnel;
    match &rule.ports {
        Ports::Any => vec![(only_tls, ":*".into())],
        Ports::List(ports) => ports
            .iter()
            .map(|port| match *port {
                Port::HTTPS => (true, String::new()),
                Port::HTTP if !only_tls => (false, String::new()),
                other => (only_tls, format!(":{other}")),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests;
