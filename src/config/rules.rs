//! A YAML rule into a runtime [`Rule`]. Used for the user's rules and, by `packs`, for packs.

use std::{collections::HashSet, net::IpAddr, sync::Arc};

use ipnet::IpNet;

use crate::{
    net::{AddressClass, DomainPattern, Entry, Port, classify},
    policy::{Mode, PathPattern, Ports, Responder, Rule, RuleAction, RuleName},
};

use super::{
    error::Errors,
    reader::{Field, Section},
    terms::read_terms,
    tree::Value,
};

const MAX_NAME: usize = 64;

/// Reads a list of rules. `pack` puts its name before the rules' names.
pub(crate) fn read_rules(field: Field, pack: Option<&str>, errors: &mut Errors) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut names = HashSet::new();
    for field in field.list(errors).unwrap_or_default() {
        let (path, line) = (field.path.clone(), field.line);
        let Some(rule) = read_rule(field, pack, errors) else {
            continue;
        };
        if !names.insert(rule.name.clone()) {
            let message = format!(
                "another rule is named {}: give each its own name",
                rule.name
            );
            errors.add(&format!("{path}.name"), Some(line), message);
        }
        rules.push(rule);
    }
    rules
}

fn read_rule(field: Field, pack: Option<&str>, errors: &mut Errors) -> Option<Rule> {
    let mut s = field.section(errors)?;
    let name = s
        .require("name", "what-it-is-for", errors)
        .and_then(|f| f.parse(errors, "a name", |text| rule_name(text, pack)));
    let action = read_action(&mut s, errors);
    let hosts = s.take("hosts").map(|f| {
        f.some_list(errors, |f, errors| {
            f.parse(
                errors,
                "a host such as example.com or *.example.com",
                DomainPattern::parse,
            )
        })
    });
    let ips = s.take("ips").map(|f| f.some_list(errors, read_ip));
    if hosts.is_none() && ips.is_none() {
        s.error(
            errors,
            "names no destination: write hosts: [example.com] or ips: [192.0.2.1]",
        );
    }
    let ports = s.take("ports").map(|f| f.some_list(errors, read_port));
    let methods = s.take("methods").map(|f| f.some_list(errors, read_method));
    let paths = s.take("paths").map(|f| {
        f.some_list(errors, |f, errors| {
            f.parse(
                errors,
                "a path such as /v1/models or /v1/*",
                PathPattern::parse,
            )
        })
    });
    let clients = s.take("clients").map(|f| f.some_list(errors, read_network));
    let entries = s.take("entries").map(|f| f.some_list(errors, read_entry));
    let upgrade = s
        .take("upgrade")
        .and_then(|f| f.boolean(errors))
        .unwrap_or_default();
    let mode = s.take("mode").and_then(|f| read_mode(f, errors));
    let terms = read_terms(&mut s, action, methods.as_deref(), upgrade, errors);
    let reason = s.take("reason").and_then(|f| f.text(errors));

    match action {
        Some(RuleAction::Tunnel) if methods.is_some() || paths.is_some() || upgrade => s.error(
            errors,
            "a tunnel is not decrypted, so methods, paths and upgrade cannot be seen: \
             leave them out, or write action: forward",
        ),
        Some(RuleAction::Deny) if upgrade => {
            s.error(
                errors,
                "upgrade says what an allow allows: leave it out of a deny",
            );
        }
        _ => {}
    }
    s.close(errors);

    let action = action?;
    Some(Rule {
        name: name?,
        hosts: hosts.unwrap_or_default(),
        ips: ips.unwrap_or_default(),
        ports: ports.map_or_else(|| action.default_ports(), Ports::List),
        methods: methods.unwrap_or_default(),
        paths: paths.unwrap_or_default(),
        clients: clients.unwrap_or_default(),
        entries: entries.unwrap_or_default(),
        action,
        upgrade,
        mode,
        reason: reason.map(Arc::from),
        terms,
    })
}

/// Names are metric labels and stand before a '/' in packs.
fn rule_name(text: &str, pack: Option<&str>) -> Result<RuleName, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if text.is_empty() || text.len() > MAX_NAME || !text.bytes().all(plain) {
        return Err(format!(
            "is no rule name: write at most {MAX_NAME} letters, digits, '-', '_' and '.'"
        ));
    }
    if text == "none" {
        return Err("\"none\" stands for no rule in logs: choose another name".into());
    }
    Ok(match pack {
        Some(pack) => RuleName::new(format!("{pack}/{text}")),
        None => RuleName::new(text),
    })
}

/// `action: deny | tunnel | forward`, or `respond: NAME` (also inside `action`).
fn read_action(s: &mut Section, errors: &mut Errors) -> Option<RuleAction> {
    let action = s.take("action");
    let respond = s.take("respond");
    match (action, respond) {
        (Some(action), Some(_)) => {
            action.error(errors, "stands beside respond: write one of the two");
            None
        }
        (None, Some(respond)) => read_responder(respond, errors).map(RuleAction::Respond),
        (Some(action), None) => match &action.value {
            Value::Map(_) => {
                let mut inner = action.section(errors)?;
                let responder = inner.require("respond", "llm", errors);
                inner.close(errors);
                responder
                    .and_then(|f| read_responder(f, errors))
                    .map(RuleAction::Respond)
            }
            _ => action.parse(errors, "deny, tunnel or forward", |text| match text {
                "deny" => Ok(RuleAction::Deny),
                "tunnel" => Ok(RuleAction::Tunnel),
                "forward" => Ok(RuleAction::Forward),
                "respond" => {
                    Err("does not say who answers: write respond: llm in its place".into())
                }
                "allow" => {
                    Err("is not precise enough: write tunnel (undecrypted) or forward".into())
                }
                other => Err(format!(
                    "{other:?} is no action: write deny, tunnel or forward, or use respond: llm"
                )),
            }),
        },
        (None, None) => {
            s.error(
                errors,
                "does not say what to do: write action: deny, tunnel or forward, or respond: llm",
            );
            None
        }
    }
}

fn read_responder(field: Field, errors: &mut Errors) -> Option<Responder> {
    // The front door's own answers are for its own paths, which no rule of a user's has to name.
    let nameable = || {
        let all = Responder::ALL.into_iter();
        all.filter(|r| *r != Responder::FrontDoor)
    };
    field.parse(errors, "the name of a responder", |text| {
        nameable().find(|r| r.as_str() == text).ok_or_else(|| {
            let names: Vec<_> = nameable().map(Responder::as_str).collect();
            format!(
                "{text:?} is no responder: write one of {}",
                names.join(", ")
            )
        })
    })
}

fn read_ip(field: Field, errors: &mut Errors) -> Option<IpAddr> {
    const WHAT: &str = "a single address such as 192.0.2.1";
    field.parse(errors, WHAT, |text| {
        if text.contains('/') {
            return Err("a destination is one address, not a network: write each address".into());
        }
        let ip: IpAddr = text
            .parse()
            .map_err(|_| format!("{text:?} is no address: write {WHAT}"))?;
        match classify(ip) {
            AddressClass::Public => Ok(ip),
            class if class.openable() => Ok(ip),
            class => Err(format!(
                "{ip} is of class {class}, which is never dialled: leave it out"
            )),
        }
    })
}

pub(crate) fn read_port(field: Field, errors: &mut Errors) -> Option<Port> {
    let number = field.integer(errors, 1, 65535)?;
    u16::try_from(number).ok().and_then(Port::new)
}

fn read_method(field: Field, errors: &mut Errors) -> Option<Box<str>> {
    field.parse(errors, "a method such as GET", |text| {
        let upper = text.to_ascii_uppercase();
        if text == "*" {
            return Err("'*' is no method: leave methods out to allow all".to_owned());
        }
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-') {
            return Err(format!("{text:?} is no method: write one such as GET"));
        }
        if text == "CONNECT" {
            return Err("CONNECT is judged by action: write action: tunnel".to_owned());
        }
        if upper != text {
            return Err(format!("methods are upper-case: write {upper}"));
        }
        Ok(upper.into_boxed_str())
    })
}

pub(crate) fn read_network(field: Field, errors: &mut Errors) -> Option<IpNet> {
    field.parse(errors, "a network such as 10.0.0.0/8", |text| {
        let net = match text.parse::<IpNet>() {
            Ok(net) => net,
            Err(_) => text.parse::<IpAddr>().map(IpNet::from).map_err(|_| {
                format!("{text:?} is no network: write one such as 10.0.0.0/8 or fd00::/8")
            })?,
        };
        if net.trunc() != net {
            return Err(format!(
                "address bits stand behind the prefix: write {}",
                net.trunc()
            ));
        }
        Ok(net)
    })
}

fn read_entry(field: Field, errors: &mut Errors) -> Option<Entry> {
    field.parse(
        errors,
        "explicit, reverse, transparent, front_door or models",
        |text| {
            Entry::ALL
                .into_iter()
                .find(|e| e.as_str() == text)
                .ok_or_else(|| {
                    format!(
                        "{text:?} is no entry: write explicit, reverse, transparent, front_door or models"
                    )
                })
        },
    )
}

pub(crate) fn read_mode(field: Field, errors: &mut Errors) -> Option<Mode> {
    field.parse(errors, "enforce or report", |text| match text {
        "enforce" => Ok(Mode::Enforce),
        "report" => Ok(Mode::Report),
        other => Err(format!("{other:?} is no mode: write enforce or report")),
    })
}
