//! Checks that no connection can make: what a configuration may not hold, and addresses that only a
//! name server could answer. They call the running program's own code with made-up input.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf};

use crate::{
    config,
    net::{Authority, DomainPattern, Port},
    policy::{
        Reason,
        address::{AddressPolicy, check},
    },
};

pub fn refuses_pattern(pattern: &str) -> Result<(), String> {
    match DomainPattern::parse(pattern) {
        Err(_) => Ok(()),
        Ok(pattern) => Err(format!("it was taken as {pattern}")),
    }
}

/// `yaml` behind `version: 1` is no configuration.
pub fn refuses_config(yaml: &str) -> Result<(), String> {
    let text = format!("version: 1\nstate_dir: /nonexistent\n{yaml}\n");
    match config::compile(&text, "a case", PathBuf::from("."), &HashMap::new()) {
        Err(_) => Ok(()),
        Ok(_) => Err("it was taken".into()),
    }
}

/// An allowed name that resolves to these addresses leads to none of them, unless all are open.
pub fn judges_answers(answers: &[&str], open: bool) -> Result<(), String> {
    let name = Authority::parse("allowed.test:443", None).map_err(|e| e.to_string())?;
    let judged: Result<Vec<_>, Reason> = answers
        .iter()
        .map(|ip| {
            let ip = ip.parse().map_err(|_| Reason::Internal)?;
            check(&name, SocketAddr::new(ip, 443), &AddressPolicy::new(), &[])
        })
        .collect();
    match (judged, open) {
        (Ok(_), true) | (Err(Reason::AddressClosed), false) => Ok(()),
        (Ok(_), false) => Err("it would be dialled".into()),
        (Err(reason), _) => Err(format!("refused: {reason}")),
    }
}

/// Even where the configuration names it as an upstream.
pub fn cannot_be_opened(ip: &str) -> Result<(), String> {
    let text = if ip.contains(':') {
        format!("[{ip}]:443")
    } else {
        format!("{ip}:443")
    };
    let literal = Authority::parse(&text, None).map_err(|e| e.to_string())?;
    let name = Authority::parse("allowed.test:443", None).map_err(|e| e.to_string())?;
    let address = SocketAddr::new(ip.parse().map_err(|_| "no address")?, 443);
    let mut policy = AddressPolicy::new();
    policy.permit_private(literal.clone());
    policy.permit_private(name.clone());
    for authority in [literal, name] {
        match check(&authority, address, &policy, &[]) {
            Err(Reason::AddressClosed) => {}
            Err(reason) => return Err(format!("refused: {reason}")),
            Ok(_) => return Err(format!("{authority} would be dialled")),
        }
    }
    Ok(())
}

/// An own listener is closed to every spelling of its address, opened or not.
pub fn is_own(listener: &str, asked: &str) -> Result<(), String> {
    let listener: SocketAddr = listener.parse().map_err(|_| "no address")?;
    let asked: SocketAddr = asked.parse().map_err(|_| "no address")?;
    let port = Port::new(asked.port()).ok_or("port 0")?;
    let host = crate::net::Host::parse("loop.test").map_err(|e| e.to_string())?;
    let name = Authority::new(host, port);
    let mut policy = AddressPolicy::new();
    policy.permit_private(name.clone());
    match check(&name, asked, &policy, &[listener]) {
        Err(Reason::OwnListener) => Ok(()),
        Err(reason) => Err(format!("refused: {reason}")),
        Ok(_) => Err("it would be dialled".into()),
    }
}
