//! From text and environment to a [`Config`], or to all mistakes at once.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use crate::{
    net::{DomainPattern, Entry, Host, classify},
    packs,
    policy::{
        AddressPolicy, CompiledPolicy, Mode, PathPattern, Ports, Rule, RuleAction, RuleName, Terms,
        secrets::{Detector, SecretMode},
    },
    weights::Source,
};

use super::{
    AuditConfig, Config, ConfigErrors, EncryptedClientHello, Limits, Listeners, LlmConfig,
    ReverseRoute, SelftestConfig, SessionConfig, UsersConfig, Whereabouts, comfyui, egress,
    env::{self, Switches},
    error::Errors,
    front_door, identity, models,
    places::Places,
    providers, reach,
    reader::Field,
    rules::{read_mode, read_rules},
    sections, terms, tree, web_search,
};

/// The generation of a policy that was loaded at start; a reload counts on.
const FIRST_GENERATION: u64 = 1;
const DEFAULT_PACK: &str = "comfyui-copilot";

/// Compiles `yaml`. `base` is where relative paths start; `source` names the text in errors.
pub fn compile(
    yaml: &str,
    source: &str,
    base: PathBuf,
    env: &HashMap<String, String>,
) -> Result<Config, ConfigErrors> {
    let places = Places { base, env };
    let mut errors = Errors::default();
    let config = tree::parse(yaml, &mut errors)
        .and_then(|root| read(Field::root(root), source, &places, &mut errors));
    match config {
        Some(config) if errors.is_empty() => Ok(config),
        Some(_) | None => Err(errors.into_errors(source)),
    }
}

/// Where the airlock of this configuration keeps its state and is asked, as far as the text tells:
/// a command must find the one that runs even while its file is broken.
pub(super) fn whereabouts(
    yaml: &str,
    base: PathBuf,
    env: &HashMap<String, String>,
) -> Option<Whereabouts> {
    let places = Places { base, env };
    // `compile` has told them.
    let mut ignored = Errors::default();
    let mut s = Field::root(tree::parse(yaml, &mut ignored)?).section(&mut ignored)?;
    let in_file = s
        .take("state_dir")
        .and_then(|f| places.path(f, &mut ignored));
    let listeners = s.take("listeners").map_or_else(Listeners::default, |f| {
        sections::listeners(f, &places, &mut ignored)
    });
    Some(Whereabouts {
        state_dir: state_dir(&places, in_file)?,
        admin: listeners.admin,
    })
}

fn state_dir(places: &Places<'_>, in_file: Option<PathBuf>) -> Option<PathBuf> {
    places
        .var("AIRLOCK_STATE_DIR")
        .map(PathBuf::from)
        .or(in_file)
        .or_else(|| env::default_state_dir(places))
}

fn read(root: Field, source: &str, places: &Places<'_>, errors: &mut Errors) -> Option<Config> {
    let mut s = root.section(errors)?;
    let version = s.require("version", "1", errors);
    if let Some(other) = version.filter(|v| !matches!(v.value, tree::Value::Integer(1))) {
        other.error(errors, "is not known to this program: write version: 1");
    }
    let in_file = s.take("state_dir").and_then(|f| places.path(f, errors));
    let mode = s
        .take("mode")
        .and_then(|f| read_mode(f, errors))
        .unwrap_or_default();
    let mut listeners = s.take("listeners").map_or_else(Listeners::default, |f| {
        sections::listeners(f, places, errors)
    });
    listeners.front_door = front_door::front_door(s.take("front_door"), places, errors);
    let comfyui = comfyui::comfyui(
        s.take("comfyui"),
        listeners.front_door.as_ref(),
        places,
        errors,
    );
    let packs = s
        .take("packs")
        .map_or_else(|| vec![DEFAULT_PACK.to_owned()], |f| read_packs(f, errors));
    let rules = s
        .take("rules")
        .map(|f| read_rules(f, None, errors))
        .unwrap_or_default();
    let mut llm = s
        .take("llm")
        .map_or_else(LlmConfig::default, |f| sections::llm(f, places, errors));
    let models = s.take("models");
    let web_search = s.take("web_search");
    let audit = s
        .take("audit")
        .map_or_else(AuditConfig::default, |f| sections::audit(f, places, errors));
    let limits = s
        .take("limits")
        .map_or_else(Limits::default, |f| sections::limits(f, errors));
    let selftest = s
        .take("selftest")
        .map_or_else(SelftestConfig::default, |f| sections::selftest(f, errors));
    let encrypted_client_hello = s
        .take("tls")
        .map_or_else(EncryptedClientHello::default, |f| sections::tls(f, errors));
    let upstreams = s
        .take("upstreams")
        .map(|f| sections::upstreams(f, places, errors))
        .unwrap_or_default();
    let egress = s
        .take("egress")
        .map(|f| egress::egress(f, places, errors))
        .unwrap_or_default();
    let mut session = s
        .take("session")
        .map_or_else(SessionConfig::default, |f| identity::session(f, errors));
    let users = s
        .take("users")
        .map_or_else(UsersConfig::default, |f| identity::users(f, errors));
    let secrets = s
        .take("secrets")
        .map(|f| terms::secrets(f, errors))
        .unwrap_or_default();
    s.close(errors);

    let Switches {
        no_external,
        mut notes,
    } = env::apply(&mut llm, places, errors);
    identity::secrets(&mut session, places, errors);
    let mut models = models::models(models, places, errors, &mut notes)?;
    let mut web_search = web_search::web_search(web_search, places, errors, &mut notes);
    check_listeners(&listeners, errors);
    reach::check(&listeners, users.required, errors, &mut notes);
    egress::check(&egress, &listeners, errors);
    notes.extend(egress::note(&egress));
    let state_dir = state_dir(places, in_file);
    if state_dir.is_none() {
        errors.add(
            "state_dir",
            None,
            "is unknown: set state_dir, AIRLOCK_STATE_DIR or HOME",
        );
    }

    let mut addresses = AddressPolicy::new();
    let routes = listeners.reverse.iter().flat_map(|r| &r.routes);
    match &llm.base_url {
        Some(url) => addresses.permit_private(url.authority.clone()),
        None if llm.discover => {
            llm.discover_ports
                .iter()
                .for_each(|u| addresses.permit_private(u.authority.clone()));
        }
        None => {}
    }
    routes
        .clone()
        .for_each(|r| addresses.permit_private(r.upstream.authority.clone()));
    let door = listeners.front_door.iter();
    door.clone()
        .for_each(|d| addresses.permit_private(d.comfyui.authority.clone()));
    comfyui
        .iter()
        .for_each(|c| addresses.permit_private(c.url.authority.clone()));
    upstreams
        .iter()
        .for_each(|u| addresses.permit_private(u.url.authority.clone()));
    if models.comfyui.is_none() {
        models.comfyui = door.clone().map(|d| d.comfyui.clone()).next();
    }
    models
        .comfyui
        .iter()
        .for_each(|url| addresses.permit_private(url.authority.clone()));
    models
        .hubs()
        .filter(|(_, hub)| hub.is_chosen())
        .for_each(|(_, hub)| addresses.permit_private(hub.endpoint.authority.clone()));
    web_search
        .iter()
        .for_each(|s| addresses.permit_private(s.endpoint.authority.clone()));
    llm.providers
        .iter()
        .for_each(|p| addresses.permit_private(p.base_url.authority.clone()));
    if let Some(proxy) = &egress.upstream_proxy {
        addresses.permit_private(proxy.authority.clone());
    }

    let mut all = rules;
    note_shadowed(&all, mode, &mut notes);
    all.extend(routes.map(route_rule));
    for name in &packs {
        match packs::load(name) {
            Ok(rules) => all.extend(rules),
            Err(e) => errors.add("packs", None, e.to_string()),
        }
    }
    all.extend(models::rules(&models));
    all.extend(web_search.as_ref().and_then(web_search::rule));
    all.extend(providers::rules(&llm.providers));
    if no_external {
        addresses.close_public();
        models.sources.retain(|s| *s == Source::Local);
        web_search = None;
        llm.providers.clear();
        all.retain(|rule| match rule.action {
            RuleAction::Deny | RuleAction::Respond(_) => true,
            RuleAction::Tunnel | RuleAction::Forward => {
                notes.push(format!(
                    "rule {} dropped: DISABLE_EXTERNAL_CONNECTIONS",
                    rule.name
                ));
                false
            }
        });
    }
    notes.extend(llm.providers.iter().map(|p| {
        format!(
            "cards of workflows may ask {}, with the key of the plugin's settings: what a card holds goes there",
            p.base_url.authority.host
        )
    }));
    // Its own server, whatever is closed outside; the addresses above hold for it, too.
    all.extend(listeners.front_door.iter().flat_map(front_door::rules));
    note_closed_addresses(&all, &addresses, &mut notes);
    if mode == Mode::Report {
        notes.push("mode is report: what policy would refuse is let through and noted".into());
    }

    let own = secrets.own.iter().map(|s| s.expose().as_str());
    let detector = Detector::new(secrets.mode, own);
    Some(Config {
        source: source.to_owned(),
        file: None,
        state_dir: state_dir?,
        mode,
        listeners,
        packs,
        policy: Arc::new(CompiledPolicy::new(all, mode, FIRST_GENERATION).with_secrets(detector)),
        addresses,
        llm,
        models,
        comfyui,
        web_search,
        audit,
        limits,
        selftest,
        encrypted_client_hello,
        upstreams,
        egress,
        session,
        users,
        secrets,
        notes,
    })
}

fn read_packs(field: Field, errors: &mut Errors) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for field in field.list(errors).unwrap_or_default() {
        let seen = out.clone();
        let name = field.parse(errors, "the name of a pack", |text| {
            if seen.iter().any(|name| name == text) {
                return Err(format!("pack {text} is there twice: keep one"));
            }
            if !packs::names().any(|name| name == text) {
                let names: Vec<_> = packs::names().collect();
                return Err(format!(
                    "{text:?} is no pack: write one of {}",
                    names.join(", ")
                ));
            }
            Ok(text.to_owned())
        });
        out.extend(name);
    }
    out
}

/// Two listeners on one address cannot both be bound.
fn check_listeners(listeners: &Listeners, errors: &mut Errors) {
    let addresses = listeners.addresses();
    for (i, (name, addr)) in addresses.iter().enumerate() {
        for (other, taken) in addresses.iter().take(i) {
            if collide(*addr, *taken) {
                let message = format!("{addr} is taken by {other} ({taken}): choose another port");
                errors.add(name, None, message);
            }
        }
    }
}

pub(super) fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let wide = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || wide)
}

/// A route is itself the user's word that its upstream may be reached, by the reverse entry alone.
fn route_rule(route: &ReverseRoute) -> Rule {
    let prefix = route.path_prefix.trim_end_matches('/');
    let (hosts, ips) = match &route.upstream.authority.host {
        Host::Name(name) => (vec![DomainPattern::Exact(name.clone())], vec![]),
        Host::Ip(ip) => (vec![], vec![*ip]),
    };
    let mut paths = vec![PathPattern::Below(format!("{prefix}/").into())];
    if !prefix.is_empty() {
        paths.push(PathPattern::Exact(prefix.into()));
    }
    Rule {
        name: RuleName::new(format!("route{}", route.path_prefix)),
        hosts,
        ips,
        ports: Ports::List(vec![route.upstream.authority.port]),
        methods: vec![],
        paths,
        clients: vec![],
        entries: vec![Entry::Reverse],
        action: RuleAction::Forward,
        upgrade: route.upgrade,
        mode: None,
        reason: None,
        // A server of the user's own: its requests are between the two of them.
        terms: Some(Arc::new(Terms {
            secrets: Some(SecretMode::Off),
            encoded_bodies: true,
            ..Terms::default()
        })),
    }
}

/// An allow whose every destination is denied without condition can never match.
fn note_shadowed(rules: &[Rule], mode: Mode, notes: &mut Vec<String>) {
    let mut hosts: HashMap<&DomainPattern, &RuleName> = HashMap::new();
    let mut ips: HashMap<IpAddr, &RuleName> = HashMap::new();
    for deny in rules.iter().filter(|r| denies_whole_hosts(r, mode)) {
        hosts.extend(deny.hosts.iter().map(|h| (h, &deny.name)));
        ips.extend(deny.ips.iter().map(|ip| (*ip, &deny.name)));
    }
    if hosts.is_empty() && ips.is_empty() {
        return;
    }
    let host_denied_by = |pattern: &DomainPattern| {
        hosts.get(pattern).copied().or_else(|| {
            let name = pattern.base();
            let suffixes = name
                .match_indices('.')
                .filter_map(|(at, _)| name.get(at + 1..));
            suffixes
                .map(|s| DomainPattern::Below(s.into()))
                .find_map(|p| hosts.get(&p).copied())
        })
    };
    for rule in rules.iter().filter(|r| r.action != RuleAction::Deny) {
        let by_host = rule.hosts.iter().map(host_denied_by);
        let by_ip = rule.ips.iter().map(|ip| ips.get(ip).copied());
        let denied: Option<Vec<&RuleName>> = by_host.chain(by_ip).collect();
        if let Some(name) = denied.and_then(|names| names.first().copied()) {
            notes.push(format!(
                "rule {} can never match: rule {name} denies it",
                rule.name
            ));
        }
    }
}

fn denies_whole_hosts(rule: &Rule, mode: Mode) -> bool {
    rule.action == RuleAction::Deny
        && rule.mode.unwrap_or(mode) == Mode::Enforce
        && rule.ports == Ports::Any
        && rule.methods.is_empty()
        && rule.paths.is_empty()
        && rule.clients.is_empty()
        && rule.entries.is_empty()
}

/// A rule that names a private address does not open it.
fn note_closed_addresses(rules: &[Rule], addresses: &AddressPolicy, notes: &mut Vec<String>) {
    for rule in rules
        .iter()
        .filter(|r| matches!(r.action, RuleAction::Tunnel | RuleAction::Forward))
    {
        let Ports::List(ports) = &rule.ports else {
            continue;
        };
        for ip in rule.ips.iter().filter(|ip| classify(**ip).openable()) {
            let open = |port| {
                let authority = crate::net::Authority::new(Host::Ip(*ip), port);
                addresses.permits_private(&authority)
            };
            if !ports.iter().copied().any(open) {
                notes.push(format!(
                    "rule {} names {ip}, which stays closed ({}): name it under upstreams too",
                    rule.name,
                    classify(*ip)
                ));
            }
        }
    }
}
