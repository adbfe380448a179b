//! Groups into rules: CONNECT only is a tunnel, requests seen are a forward of just those methods
//! and paths. One rule never allows a combination that was not seen, except where its comment says
//! that a folder stands for many paths.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    gather::{Destination, Gathered, RequestKey},
    paths::{self, SeenPath},
    risk::{self, Warning},
    tally::Seen,
};
use crate::net::{Authority, Host, Port};

/// What the caller chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Refusals count as wishes too, not only what report mode let through.
    pub include_denied: bool,
    /// Rules with a warning are live as well, where they load at all.
    pub with_warned: bool,
}

/// Everything that was learned. Field names are the `--json` contract of `airlock learn`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Learned {
    pub rules: Vec<LearnedRule>,
    /// Records read.
    pub records: u64,
    /// Records that gave rise to no rule.
    pub skipped: Vec<Skipped>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Skipped {
    pub why: &'static str,
    pub words: &'static str,
    pub records: u64,
}

/// One rule, with what a person needs to judge it.
#[derive(Clone, Debug, Serialize)]
pub struct LearnedRule {
    pub name: String,
    /// `tunnel` or `forward`.
    pub action: &'static str,
    /// One name, or none where `ips` holds the address.
    pub hosts: Vec<String>,
    pub ips: Vec<String>,
    pub ports: Vec<u16>,
    /// Empty for a tunnel.
    pub methods: Vec<String>,
    pub paths: Vec<String>,
    pub upgrade: bool,
    /// False where the rule is written as a comment.
    pub live: bool,
    /// Why a person should look twice.
    pub warnings: Vec<String>,
    pub notes: Vec<String>,
    pub seen: Seen,
}

pub(super) fn propose(gathered: Gathered, options: &Options) -> Learned {
    let Gathered {
        destinations,
        records,
        left_out,
    } = gathered;
    let mut hosts: BTreeMap<Host, Vec<(Port, Destination)>> = BTreeMap::new();
    for (Authority { host, port }, destination) in destinations {
        hosts.entry(host).or_default().push((port, destination));
    }
    let mut rules: Vec<LearnedRule> = hosts
        .into_iter()
        .flat_map(|(host, ports)| of_host(&host, ports))
        .map(|draft| draft.into_rule(options))
        .collect();
    name_all(&mut rules);
    let skipped = left_out
        .into_iter()
        .map(|(why, records)| Skipped {
            why: why.code(),
            words: why.words(),
            records,
        })
        .collect();
    Learned {
        rules,
        records,
        skipped,
    }
}

/// A rule before it has a name.
struct Draft {
    host: Host,
    ports: BTreeSet<Port>,
    /// `None`: a tunnel.
    requests: Option<Requests>,
    warnings: Vec<Warning>,
    notes: Vec<String>,
    seen: Seen,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requests {
    methods: Vec<String>,
    paths: Vec<String>,
    upgrade: bool,
}

fn of_host(host: &Host, ports: Vec<(Port, Destination)>) -> Vec<Draft> {
    let mut drafts: Vec<Draft> = Vec::new();
    for (port, destination) in ports {
        for draft in of_destination(host, port, destination) {
            // The same on another port is one rule.
            let same = drafts
                .iter_mut()
                .find(|d| d.requests == draft.requests && d.warnings == draft.warnings);
            match same {
                Some(other) => {
                    other.ports.extend(draft.ports);
                    other.seen.merge(&draft.seen);
                    other.notes.extend(draft.notes);
                    other.notes.dedup();
                }
                None => drafts.push(draft),
            }
        }
    }
    drafts
}

fn of_destination(host: &Host, port: Port, destination: Destination) -> Vec<Draft> {
    let Destination {
        tunnels,
        requests,
        refused_later,
        address_closed,
        passed,
    } = destination;
    let mut warnings = risk::of_host(host);
    if address_closed {
        warnings.push(Warning::AddressClosed);
    } else if passed == 0 {
        let reasons: Vec<_> = refused_later.into_iter().collect();
        warnings.push(Warning::NothingPassed(reasons.join(", ")));
    }
    let mut notes = Vec::new();
    if risk::is_private_name(host) {
        notes.push(
            "a name of your own network: `upstreams:` has to name the host and port too".to_owned(),
        );
    }
    let draft = |requests, seen| Draft {
        host: host.clone(),
        ports: BTreeSet::from([port]),
        requests,
        warnings: warnings.clone(),
        notes: notes.clone(),
        seen,
    };
    if requests.is_empty() {
        return vec![draft(None, tunnels)];
    }
    let mut drafts: Vec<Draft> = by_methods(requests)
        .into_iter()
        .flat_map(|(shape, paths)| of_requests(shape, paths, &draft))
        .collect();
    if tunnels.count > 0
        && let Some(first) = drafts.first_mut()
    {
        first.notes.push(format!(
            "also seen {} times as a tunnel, which this rule decrypts",
            tunnels.count
        ));
    }
    drafts
}

/// The methods that one path was asked with, and whether to upgrade.
type Shape = (BTreeSet<String>, bool);

/// Paths by the very methods they were seen with, so that a rule allows no other combination.
fn by_methods(requests: BTreeMap<RequestKey, Seen>) -> BTreeMap<Shape, Vec<(SeenPath, Seen)>> {
    let mut paths: BTreeMap<(String, bool, bool), (BTreeSet<String>, Seen)> = BTreeMap::new();
    for (key, seen) in requests {
        let RequestKey {
            path,
            below,
            method,
            upgrade,
        } = key;
        let (methods, all) = paths.entry((path, below, upgrade)).or_default();
        methods.insert(method);
        all.merge(&seen);
    }
    let mut shapes: BTreeMap<Shape, Vec<(SeenPath, Seen)>> = BTreeMap::new();
    for ((path, below, upgrade), (methods, seen)) in paths {
        shapes
            .entry((methods, upgrade))
            .or_default()
            .push((SeenPath { path, below }, seen));
    }
    shapes
}

fn of_requests(
    (methods, upgrade): Shape,
    paths: Vec<(SeenPath, Seen)>,
    draft: &impl Fn(Option<Requests>, Seen) -> Draft,
) -> Option<Draft> {
    let mut seen = Seen::default();
    paths.iter().for_each(|(_, s)| seen.merge(s));
    let list: Vec<SeenPath> = paths.into_iter().map(|(path, _)| path).collect();
    let paths::Patterns {
        patterns,
        widened,
        cut,
        unwritable,
    } = paths::generalise(&list);
    let (good, bad): (Vec<String>, Vec<String>) = methods.into_iter().partition(|m| is_method(m));
    let requests = Requests {
        methods: good,
        paths: patterns.iter().map(ToString::to_string).collect(),
        upgrade,
    };
    let mut out = draft(Some(requests), seen);
    if !bad.is_empty() {
        out.warnings.push(Warning::Method);
    }
    if unwritable > 0 {
        out.warnings.push(Warning::Path);
    }
    if widened {
        out.notes.push(format!(
            "{} paths were seen: the folders allow more than these",
            list.len()
        ));
    }
    if cut {
        out.notes
            .push("a path was cut in the log, or holds '*': its folder stands for it".to_owned());
    }
    Some(out)
}

/// What a rule's `methods` take.
fn is_method(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
}

impl Draft {
    fn into_rule(self, options: &Options) -> LearnedRule {
        let Draft {
            host,
            ports,
            requests,
            warnings,
            notes,
            seen,
        } = self;
        let loads = warnings.iter().all(Warning::loads);
        let live = loads && (warnings.is_empty() || options.with_warned);
        let (hosts, ips) = match &host {
            Host::Name(name) => (vec![name.to_string()], vec![]),
            Host::Ip(ip) => (vec![], vec![ip.to_string()]),
        };
        let action = if requests.is_some() {
            "forward"
        } else {
            "tunnel"
        };
        let (methods, paths, upgrade) = match requests {
            Some(r) => (r.methods, r.paths, r.upgrade),
            None => (vec![], vec![], false),
        };
        LearnedRule {
            name: String::new(),
            action,
            hosts,
            ips,
            ports: ports.into_iter().map(Port::number).collect(),
            methods,
            paths,
            upgrade,
            live,
            warnings: warnings.iter().map(ToString::to_string).collect(),
            notes,
            seen,
        }
    }
}

/// Longest name of a rule, with room for a number behind it.
const MAX_NAME: usize = 56;

/// `learned-HOST`, with `-2` and so on where a host has several.
fn name_all(rules: &mut [LearnedRule]) {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for rule in rules {
        let host = rule.hosts.first().or(rule.ips.first());
        let plain: String = host
            .map_or("", String::as_str)
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '.' {
                    c
                } else {
                    '-'
                }
            })
            .collect();
        let mut base = format!("learned-{plain}");
        base.truncate(MAX_NAME);
        let name = (1_u32..)
            .map(|n| match n {
                1 => base.clone(),
                n => format!("{base}-{n}"),
            })
            .find(|name| !taken.contains(name))
            .unwrap_or(base);
        taken.insert(name.clone());
        rule.name = name;
    }
}
