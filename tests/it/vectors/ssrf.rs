//! URLs that are used against SSRF filters. None of them is dialled: under the default policy nothing
//! is even looked up, and where rules allow everything the address checkpoint still refuses.
//!
//! Resolver and connector are counting stand-ins. The resolver answers as the attacker's would: every
//! name lives at the metadata service, at loopback or behind a wrapping of it.

use std::net::{IpAddr, SocketAddr};

use airlock::{
    listener::head::Target,
    net::{Authority, Entry, Host, Port},
    policy::{
        Action, AddressPolicy, CompiledPolicy, ConnectionAction, Flow, Mode, RequestFacts,
        RequestSize, address, path,
    },
};
use time::OffsetDateTime;

use super::{
    readings::{parsed, reading},
    vendor,
    wpt::raw_authority,
};

/// What names of the list lead to, one after the other.
const ANSWERS: [&str; 6] = [
    "169.254.169.254",
    "127.0.0.1",
    "::1",
    "::ffff:10.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "fd00:ec2::254",
];

/// The stand-ins for resolver and connector, and how often policy let each be asked.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    names: usize,
    addresses: usize,
    dials: usize,
}

impl Asked {
    fn resolve(&mut self, host: &Host) -> Vec<IpAddr> {
        match host {
            Host::Ip(ip) => vec![*ip],
            Host::Name(_) => {
                self.names += 1;
                ANSWERS.iter().map(|a| a.parse().unwrap()).collect()
            }
        }
    }

    fn dial(&mut self, authority: &Authority) {
        for ip in self.resolve(&authority.host) {
            self.addresses += 1;
            let socket = SocketAddr::new(ip, authority.port.number());
            self.dials +=
                usize::from(address::check(authority, socket, &AddressPolicy::new(), &[]).is_ok());
        }
    }
}

/// The way of a request and of a CONNECT for this authority, past all three checkpoints.
fn walk(policy: &CompiledPolicy, authority: &Authority, target: &str, asked: &mut Asked) {
    let client = IpAddr::from([127, 0, 0, 1]);
    for entry in Entry::ALL {
        let flow = Flow {
            entry,
            client,
            authority,
        };
        match policy
            .decide_connection(&flow, OffsetDateTime::UNIX_EPOCH)
            .action
        {
            ConnectionAction::Deny => {}
            ConnectionAction::Tunnel | ConnectionAction::Intercept => asked.dial(authority),
        }
        let Ok(path) = path::canonical(target.split('?').next().unwrap_or_default()) else {
            continue;
        };
        let facts = RequestFacts {
            entry,
            client,
            authority,
            method: "GET",
            path: &path,
            upgrade: false,
            size: RequestSize::default(),
        };
        match policy
            .decide_request(&facts, OffsetDateTime::UNIX_EPOCH)
            .action
        {
            Action::Deny => {}
            Action::Forward | Action::Respond(_) => asked.dial(authority),
        }
    }
}

/// Every reading of a URL: as a request line, and its host wherever a host stands.
fn authorities(url: &str) -> Vec<(Authority, String)> {
    let mut found = Vec::new();
    let line = format!("GET {url} HTTP/1.1\r\nHost: a\r\n\r\n");
    if let Some(Target::Absolute { authority, path }) = parsed(line.as_bytes()).map(|h| h.target) {
        found.push((authority, path));
    }
    let Some(text) = raw_authority(url) else {
        return found;
    };
    for host in [Some(text), text.rsplit_once(':').map(|(host, _)| host)] {
        if let Some(host) = host.and_then(reading) {
            found.push((Authority::new(host.clone(), Port::HTTP), "/".into()));
            found.push((Authority::new(host, Port::HTTPS), "/".into()));
        }
    }
    found
}

#[test]
fn nothing_of_the_list_is_dialled_whatever_the_rules_say() {
    let closed = CompiledPolicy::new(Vec::new(), Mode::Enforce, 1);
    // Report mode lets everything through to the address checkpoint.
    let open = CompiledPolicy::new(Vec::new(), Mode::Report, 1);
    let list = vendor("ssrf/urls.txt");
    let (mut urls, mut readable) = (0, 0);
    let mut everything = Asked::default();
    for url in list.lines() {
        urls += 1;
        let found = authorities(url);
        readable += usize::from(!found.is_empty());
        for (authority, target) in found {
            let mut asked = Asked::default();
            walk(&closed, &authority, &target, &mut asked);
            assert_eq!(asked, Asked::default(), "{url} as {authority}, by default");
            walk(&open, &authority, &target, &mut asked);
            assert_eq!(asked.dials, 0, "{url} as {authority}, all allowed");
            everything.names += asked.names;
            everything.addresses += asked.addresses;
        }
    }
    assert_eq!((urls, readable), (147, 113));
    // The way is open as far as the last checkpoint, or nothing was shown.
    assert_eq!(
        everything,
        Asked {
            names: 212 * Entry::ALL.len(),
            addresses: 1799 * Entry::ALL.len(),
            dials: 0
        }
    );
}

#[test]
fn the_stand_ins_would_notice_a_dial() {
    let mut asked = Asked::default();
    let open = CompiledPolicy::new(Vec::new(), Mode::Report, 1);
    let public = Authority::parse("8.8.8.8:80", None).unwrap();
    walk(&open, &public, "/", &mut asked);
    // A connection and a request by each entry.
    assert_eq!(asked.dials, 2 * Entry::ALL.len());
}
