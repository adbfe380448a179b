//! `urltestdata.json`: what browsers make of a URL. A host that we take is theirs, or it is refused.
//!
//! We are stricter by design: user information, percent escapes, odd slashes, numbers as addresses
//! and names that IDNA mapping changes are refused here and repaired there. How much stricter is
//! counted, so that it can be seen to change.

use std::net::IpAddr;

use airlock::{
    listener::head::Target,
    net::{Host, Port},
};
use serde_json::Value;

use super::{
    readings::{parsed, reading},
    vendor,
};

/// Schemes whose host is a domain or an address; any other scheme's host is an opaque string.
const SPECIAL: [&str; 5] = ["http:", "https:", "ws:", "wss:", "ftp:"];

pub struct Case {
    pub input: String,
    /// `None`: must fail.
    pub url: Option<Url>,
}

pub struct Url {
    protocol: String,
    pub hostname: String,
    port: String,
}

impl Url {
    fn special(&self) -> bool {
        SPECIAL.contains(&self.protocol.as_str())
    }

    fn port(&self) -> Port {
        match self.port.as_str() {
            "" => Port::HTTP,
            port => Port::parse(port).expect("a port"),
        }
    }
}

pub fn cases() -> Vec<Case> {
    let all: Vec<Value> =
        serde_json::from_str(&vendor("wpt/urltestdata.json")).expect("the file is JSON");
    let text = |case: &Value, key: &str| case[key].as_str().expect("a string").to_owned();
    all.iter()
        .filter(|case| case.is_object())
        .map(|case| Case {
            input: text(case, "input"),
            url: (case["failure"] != true).then(|| Url {
                protocol: text(case, "protocol"),
                hostname: text(case, "hostname"),
                port: text(case, "port"),
            }),
        })
        .collect()
}

/// What stands between `//` and the next delimiter: the text a client would put into Host.
pub fn raw_authority(input: &str) -> Option<&str> {
    let (_, rest) = input.split_once("//")?;
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    rest.get(..end).filter(|text| !text.is_empty())
}

/// Theirs, in our spelling: a browser keeps the trailing dot and writes IPv4-mapped IPv6 in hex.
fn same(ours: &Host, theirs: &str) -> bool {
    match ours {
        Host::Name(name) => {
            let theirs = theirs.strip_suffix('.').unwrap_or(theirs);
            **name == *theirs
        }
        Host::Ip(ip) => theirs.trim_matches(['[', ']']).parse::<IpAddr>() == Ok(*ip),
    }
}

#[test]
fn a_url_on_the_request_line_is_the_browsers_or_refused() {
    let (mut failing, mut taken) = (0, 0);
    let cases = cases();
    for case in &cases {
        failing += usize::from(case.url.is_none());
        let bytes = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", case.input);
        let Some(head) = parsed(bytes.as_bytes()) else {
            continue;
        };
        // Anything else has no host, or is relative to one that is judged by itself.
        let Target::Absolute { authority, .. } = head.target else {
            continue;
        };
        let Some(url) = &case.url else {
            panic!("{:?} must fail and was read as {authority}", case.input);
        };
        assert_eq!(url.protocol, "http:", "{:?}", case.input);
        assert!(
            same(&authority.host, &url.hostname),
            "{:?} is {:?} for a browser and {authority} for us",
            case.input,
            url.hostname
        );
        assert_eq!(authority.port, url.port(), "{:?}", case.input);
        taken += 1;
    }
    assert_eq!((cases.len(), failing, taken), (819, 272, 59));
}

#[test]
fn the_host_of_a_url_is_the_browsers_or_refused_at_every_entry() {
    let (mut tried, mut taken, mut opaque) = (0, 0, 0);
    for case in cases() {
        let Some(text) = raw_authority(&case.input) else {
            continue;
        };
        tried += 1;
        let Some(host) = reading(text) else {
            continue;
        };
        match &case.url {
            // The host may be good and the rest of the URL not.
            None => println!("{:?} must fail; its host reads {host}", case.input),
            Some(url) if url.special() && case.input.starts_with(url.protocol.as_str()) => {
                assert!(
                    same(&host, &url.hostname),
                    "{text:?} of {:?} is {:?} for a browser and {host} for us",
                    case.input,
                    url.hostname
                );
                taken += 1;
            }
            Some(_) => opaque += 1,
        }
    }
    assert_eq!((tried, taken, opaque), (510, 109, 75));
}

#[test]
fn the_host_that_a_browser_sends_is_one_host_here() {
    let (mut tried, mut taken) = (0, 0);
    for url in cases().into_iter().filter_map(|case| case.url) {
        if !url.special() || url.hostname.is_empty() {
            continue;
        }
        tried += 1;
        if let Some(host) = reading(&url.hostname) {
            assert!(same(&host, &url.hostname), "{} is {host}", url.hostname);
            taken += 1;
        }
    }
    assert_eq!((tried, taken), (248, 243));
}
