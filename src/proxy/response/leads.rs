//! Where the value of a response header leads a browser: to its own host, or elsewhere.
//!
//! `Link`, `Refresh` and `Set-Cookie` are kept as long as they stay with the host that was judged. Each
//! is read here as browsers read it, and where they differ, by what any of them does: what is not plain
//! goes. Called by `response`; pure.

use http::HeaderValue;

use crate::net::{Authority, Host, Port};

/// Relations that make a browser connect, look up or load by itself.
const LOADS: [&str; 9] = [
    "preconnect",
    "prefetch",
    "preload",
    "prerender",
    "stylesheet",
    "icon",
    "manifest",
    "dictionary",
    "serviceworker",
];

/// Whether a line of links may pass. Links of one line are not told apart: with one that loads among
/// them all go, which costs a hint and nothing else.
pub fn link_is_idle(link: &HeaderValue, host: &Host) -> bool {
    let text = lower(link);
    // `rel="pre\connect"` is `preconnect`: in quotes a backslash makes nothing of what follows it.
    if text.contains('\\') || LOADS.iter().any(|word| text.contains(word)) {
        return false;
    }
    // Firefox fetches the next page ahead. Pages of an API stay on their host.
    let targets = || text.split('<').skip(1);
    !text.contains("next")
        || targets().all(|rest| {
            rest.split_once('>')
                .is_some_and(|(url, _)| is_on(url.trim(), host))
        })
}

/// `5; url=/next` stays on its host; another one is a load that nobody clicked on. (HTML, "shared
/// declarative refresh steps".)
pub fn refresh_stays(refresh: &HeaderValue, host: &Host) -> bool {
    let text = lower(refresh);
    let time = text.trim_start();
    let rest = time.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    if rest.len() == time.len() {
        return false;
    }
    let rest = rest.trim_start();
    let rest = rest.strip_prefix([';', ',']).unwrap_or(rest).trim();
    // Only at the very beginning: behind it the word is a part of the address.
    let url = rest
        .strip_prefix("url")
        .and_then(|rest| rest.trim_start().strip_prefix('='))
        .map_or(rest, str::trim_start);
    let url = ['"', '\'']
        .iter()
        .find_map(|quote| url.strip_prefix(*quote)?.strip_suffix(*quote))
        .unwrap_or(url);
    url.is_empty() || is_on(url, host)
}

/// Whether this address, absolute or relative, is one of this host. `url` is in lower case.
fn is_on(url: &str, host: &Host) -> bool {
    // Browsers read a backslash as a slash, and skip tabs; quotes and blanks end an address for some.
    let plain = |c: char| !(c.is_whitespace() || c.is_control() || "\\\"'<>".contains(c));
    if !url.chars().all(plain) {
        return false;
    }
    let rest = url
        .strip_prefix("https:")
        .or_else(|| url.strip_prefix("http:"))
        .unwrap_or(url);
    match rest.strip_prefix("//") {
        Some(rest) => {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            Authority::parse(authority, Some(Port::HTTP)).is_ok_and(|to| to.host == *host)
        }
        // No host of its own; with another scheme it is no path.
        None => rest.len() == url.len() && !scheme_first(url),
    }
}

fn scheme_first(url: &str) -> bool {
    let end = url.find(['/', '?', '#']).unwrap_or(url.len());
    url.get(..end).is_some_and(|start| start.contains(':'))
}

/// A cookie for the host that was judged, or a domain that it is in. Of several domains each has to be:
/// the last one counts (RFC 6265 5.3), or the last that is not empty.
pub fn cookie_is_for(cookie: &HeaderValue, host: &Host) -> bool {
    let text = lower(cookie);
    text.split(';')
        .skip(1)
        .filter_map(|attribute| {
            let (name, value) = attribute.split_once('=')?;
            (name.trim() == "domain").then(|| value.trim().trim_start_matches('.'))
        })
        .all(|domain| domain.is_empty() || is_in(host, domain))
}

fn is_in(host: &Host, domain: &str) -> bool {
    match host {
        Host::Ip(ip) => domain == ip.to_string(),
        Host::Name(name) => {
            domain == &**name
                || (domain.contains('.')
                    && name
                        .strip_suffix(domain)
                        .is_some_and(|rest| rest.ends_with('.')))
        }
    }
}

pub fn lower(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase()
}
