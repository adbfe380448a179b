//! The shell that ComfyUI is started from: do its variables lead the plugin here (WIRE.md 0.1, 0.3)?
//!
//! Pure: the environment comes in as a map. A proxy of the user's own, in a shell that is not the
//! plugin's, looks the same from here; the fixes say what `airlock exec` would set.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use super::Finding;
use crate::{
    config::Config,
    net::{Authority, BaseUrl, DomainPattern, Host, Port},
};

const EXEC: &str = "start ComfyUI with `airlock exec -- python main.py`, or run \
                    `eval \"$(airlock env)\"` in its shell";
/// Base URLs that the plugin reads, and what they must end with (WIRE.md 0.3).
const BASE_URLS: [(&str, &str); 3] = [
    ("BACKEND_BASE_URL", ""),
    ("CC_OPENAI_BASE_URL", "/v1"),
    ("WORKFLOW_LLM_BASE_URL", "/v1"),
];

pub fn examine(config: &Config, environment: &HashMap<String, String>) -> Vec<Finding> {
    let hosts: Vec<String> = config
        .policy
        .intercepted_hosts()
        .iter()
        .map(|pattern| match pattern {
            DomainPattern::Exact(name) => name.to_string(),
            DomainPattern::Below(name) => format!("any.{name}"),
        })
        .collect();
    let shell = Shell {
        variables: environment,
        explicit: config.listeners.explicit,
        reverse: config.listeners.reverse.as_ref().map(|r| r.listen),
        hosts: &hosts,
    };
    shell.examine()
}

/// Whether https requests of programs started from this shell come to us.
pub fn leads_here(config: &Config, environment: &HashMap<String, String>) -> bool {
    let shell = Shell {
        variables: environment,
        explicit: config.listeners.explicit,
        reverse: None,
        hosts: &[],
    };
    shell.leads_here()
}

struct Shell<'a> {
    variables: &'a HashMap<String, String>,
    explicit: Option<SocketAddr>,
    reverse: Option<SocketAddr>,
    /// Names that must go through the proxy.
    hosts: &'a [String],
}

impl Shell<'_> {
    fn examine(&self) -> Vec<Finding> {
        let mut findings = vec![self.proxy()];
        findings.extend(self.no_proxy());
        findings.extend(
            BASE_URLS
                .iter()
                .filter_map(|(name, end)| self.base_url(name, end)),
        );
        findings.extend(self.openai_key());
        findings
    }

    fn exact(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(|v| v.trim())
            .filter(|v| !v.is_empty())
    }

    /// Python reads the lower-case spelling before the other.
    fn either(&self, name: &str) -> Option<&str> {
        self.exact(&name.to_ascii_lowercase())
            .or_else(|| self.exact(name))
    }

    /// What takes https requests, and the variable that says so.
    fn https_proxy(&self) -> Option<(&'static str, &str)> {
        ["HTTPS_PROXY", "ALL_PROXY"]
            .into_iter()
            .find_map(|name| Some((name, self.either(name)?)))
    }

    fn leads_here(&self) -> bool {
        self.explicit.is_some_and(|explicit| {
            self.https_proxy()
                .is_some_and(|(_, proxy)| leads_to(proxy, explicit).is_ok())
        })
    }

    fn proxy(&self) -> Finding {
        const CHECK: &str = "shell_proxy";
        let Some(explicit) = self.explicit else {
            return match self.https_proxy() {
                None => Finding::ok(CHECK, "listeners.explicit is off, and no proxy is set"),
                Some((name, proxy)) => Finding::warn(
                    CHECK,
                    format!(
                        "{name} is {}, and airlock's own proxy is off",
                        redacted(proxy)
                    ),
                    "give listeners.explicit an address, for example 127.0.0.1:3128",
                ),
            };
        };
        let Some((name, proxy)) = self.https_proxy() else {
            if self.either("HTTP_PROXY").is_some() {
                return Finding::fail(
                    CHECK,
                    "HTTP_PROXY alone is set, which https requests do not use: the plugin's \
                     requests go straight to the vendor",
                    format!("set HTTPS_PROXY to http://{explicit} as well, or: {EXEC}"),
                );
            }
            return Finding::warn(
                CHECK,
                "no proxy is set here: programs started from this shell do not come to airlock",
                EXEC,
            );
        };
        for (name, value) in [
            (name, Some(proxy)),
            ("HTTP_PROXY", self.either("HTTP_PROXY")),
        ] {
            let Some(value) = value else { continue };
            if let Err(problem) = leads_to(value, explicit) {
                return Finding::fail(
                    CHECK,
                    format!("{name} is {}: {problem}", redacted(value)),
                    format!("set it to http://{explicit}, or: {EXEC} (it replaces the variable)"),
                );
            }
        }
        let spelt_twice = self.exact("https_proxy").zip(self.exact("HTTPS_PROXY"));
        if spelt_twice.is_some_and(|(lower, upper)| lower != upper) {
            return Finding::warn(
                CHECK,
                "https_proxy and HTTPS_PROXY differ; programs disagree on which one counts",
                "set both to the same value, as `airlock env` does",
            );
        }
        Finding::ok(CHECK, format!("{name} leads to airlock at {explicit}"))
    }

    fn no_proxy(&self) -> Option<Finding> {
        const CHECK: &str = "shell_no_proxy";
        let list = self.either("NO_PROXY").unwrap_or_default();
        let entries: Vec<&str> = list
            .split([',', ' '])
            .map(str::trim)
            .filter(|e| !e.is_empty())
            .collect();
        if entries.contains(&"*") {
            return Some(Finding::fail(
                CHECK,
                "NO_PROXY is *: nothing comes to airlock",
                format!("set it to 127.0.0.1,localhost,::1, or: {EXEC}"),
            ));
        }
        let around = entries
            .iter()
            .find_map(|e| Some((e, self.hosts.iter().find(|h| covers(e, h))?)));
        if let Some((entry, host)) = around {
            return Some(Finding::fail(
                CHECK,
                format!("NO_PROXY holds {entry}, so {host} is reached without airlock"),
                format!("take {entry} out of NO_PROXY and no_proxy"),
            ));
        }
        // Without a proxy there is nothing to keep loopback out of.
        self.either("HTTP_PROXY")
            .or_else(|| self.either("ALL_PROXY"))?;
        let missing: Vec<&str> = ["127.0.0.1", "localhost"]
            .into_iter()
            .filter(|h| !entries.contains(h))
            .collect();
        Some(if missing.is_empty() {
            Finding::ok(
                CHECK,
                "loopback goes without the proxy, everything else by it",
            )
        } else {
            Finding::warn(
                CHECK,
                format!(
                    "NO_PROXY lacks {}: programs ask for a server on this machine by the proxy, \
                     which refuses it",
                    missing.join(" and "),
                ),
                "add 127.0.0.1,localhost,::1 to NO_PROXY and no_proxy",
            )
        })
    }

    fn base_url(&self, name: &'static str, end: &str) -> Option<Finding> {
        const CHECK: &str = "shell_base_urls";
        let value = self.exact(name)?;
        let Some(reverse) = self.reverse else {
            return Some(Finding::warn(
                CHECK,
                format!(
                    "{name} is {}, and listeners.reverse is off",
                    redacted(value)
                ),
                "give listeners.reverse an address, or unset the variable",
            ));
        };
        let want = format!("http://{}{end}", dialled(reverse));
        let url = match BaseUrl::parse(value) {
            Ok(url) => url,
            Err(e) => {
                return Some(Finding::fail(
                    CHECK,
                    format!("{name} {e}"),
                    format!("set it to {want}"),
                ));
            }
        };
        let here = leads_to(&format!("http://{}", url.authority), reverse).is_ok();
        Some(if !here {
            Finding::warn(
                CHECK,
                format!(
                    "{name} leads to {}, not to airlock at {reverse}",
                    url.authority
                ),
                format!("set it to {want}, or unset it where the proxy variables are set"),
            )
        } else if url.scheme == crate::net::Scheme::Https {
            Finding::fail(
                CHECK,
                format!("{name} says https, and airlock's reverse port speaks plain http"),
                format!("set it to {want}"),
            )
        } else if url.path != end {
            let problem = match end {
                "" => "must have no path".to_owned(),
                end => format!("must end with {end}"),
            };
            Finding::fail(
                CHECK,
                format!("{name} is {value}: it {problem}"),
                format!("set it to {want}"),
            )
        } else {
            Finding::ok(CHECK, format!("{name} leads to airlock at {reverse}"))
        })
    }

    /// openai-agents uploads its traces with this key, whatever else is set (WIRE.md 8).
    fn openai_key(&self) -> Option<Finding> {
        self.exact("OPENAI_API_KEY")?;
        let end = if self.leads_here() {
            "airlock answers these uploads itself and throws them away"
        } else {
            "started from this shell, without airlock's proxy, they leave this machine"
        };
        Some(Finding::warn(
            "shell_openai_key",
            format!(
                "OPENAI_API_KEY is set: the plugin's agents then upload whole prompts to \
                 api.openai.com as traces; {end}"
            ),
            "unset OPENAI_API_KEY before ComfyUI starts; OPENAI_AGENTS_DISABLE_TRACING has no \
             effect in the plugin",
        ))
    }
}

/// Whether a proxy variable's value means our listener. What it means instead, otherwise.
fn leads_to(value: &str, listen: SocketAddr) -> Result<(), String> {
    let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(format!(
            "a proxy at {scheme}:// is not airlock, which speaks plain http"
        ));
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, a)| a);
    let elsewhere = || format!("that is not airlock, which listens on {listen}");
    let found = Authority::parse(authority, Some(Port::HTTP)).map_err(|e| e.to_string())?;
    let same_host = match &found.host {
        Host::Ip(ip) => {
            *ip == listen.ip()
                || ip.is_loopback() && reached_by_loopback(listen.ip())
                || listen.ip().is_unspecified()
        }
        Host::Name(name) if &**name == "localhost" => reached_by_loopback(listen.ip()),
        // A name of this machine on a network, which only its resolver could tell.
        Host::Name(_) => !listen.ip().is_loopback(),
    };
    if same_host && found.port.number() == listen.port() {
        Ok(())
    } else {
        Err(elsewhere())
    }
}

fn reached_by_loopback(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified()
}

/// The address that a client on this machine writes.
fn dialled(listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => {
            SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, listen.port()))
        }
        IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, listen.port()))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => listen,
    }
}

/// requests compares endings without regard to labels, so that is what counts.
fn covers(entry: &str, host: &str) -> bool {
    let entry = entry.trim_start_matches('*').to_ascii_lowercase();
    let entry = entry.strip_suffix(":443").unwrap_or(&entry);
    !entry.is_empty() && (host.ends_with(entry) || entry.strip_prefix('.') == Some(host))
}

/// A URL without the password that proxies sometimes carry.
fn redacted(value: &str) -> String {
    match value.rsplit_once('@') {
        Some((before, host)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            let marks = if scheme.is_empty() { "" } else { "://" };
            format!("{scheme}{marks}***@{host}")
        }
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status::{self, Fail, Ok as Fine, Warn};

    /// Name and value.
    type Variables<'a> = &'a [(&'a str, &'a str)];

    fn look(set: &[(&str, &str)]) -> Vec<Finding> {
        let variables = set
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let hosts = [
            "comfyui-copilot-server.onrender.com".to_owned(),
            "modelscope.cn".to_owned(),
        ];
        Shell {
            variables: &variables,
            explicit: Some("127.0.0.1:3128".parse().unwrap()),
            reverse: Some("127.0.0.1:8787".parse().unwrap()),
            hosts: &hosts,
        }
        .examine()
    }

    fn of(findings: &[Finding], check: &str) -> Option<Status> {
        findings
            .iter()
            .filter(|f| f.check == check)
            .map(|f| f.status)
            .max()
    }

    #[test]
    fn proxy_variables() {
        let rows: &[(&str, Variables<'_>, Status)] = &[
            ("none is set", &[], Warn),
            (
                "as airlock env sets it",
                &[("HTTPS_PROXY", "http://127.0.0.1:3128")],
                Fine,
            ),
            (
                "lower case alone",
                &[("https_proxy", "http://127.0.0.1:3128/")],
                Fine,
            ),
            (
                "without a scheme",
                &[("HTTPS_PROXY", "localhost:3128")],
                Fine,
            ),
            ("for all", &[("ALL_PROXY", "http://127.0.0.1:3128")], Fine),
            (
                "HTTP_PROXY only",
                &[("HTTP_PROXY", "http://127.0.0.1:3128")],
                Fail,
            ),
            (
                "another port",
                &[("HTTPS_PROXY", "http://127.0.0.1:8080")],
                Fail,
            ),
            (
                "another host",
                &[("HTTPS_PROXY", "http://proxy.corp:3128")],
                Fail,
            ),
            (
                "TLS to the proxy",
                &[("HTTPS_PROXY", "https://127.0.0.1:3128")],
                Fail,
            ),
            ("SOCKS", &[("ALL_PROXY", "socks5://127.0.0.1:3128")], Fail),
            (
                "http elsewhere",
                &[
                    ("HTTPS_PROXY", "http://127.0.0.1:3128"),
                    ("HTTP_PROXY", "http://x:1"),
                ],
                Fail,
            ),
            (
                "the lower case one counts",
                &[
                    ("https_proxy", "http://x:1"),
                    ("HTTPS_PROXY", "http://127.0.0.1:3128"),
                ],
                Fail,
            ),
            (
                "two spellings of one place",
                &[
                    ("https_proxy", "http://localhost:3128"),
                    ("HTTPS_PROXY", "http://127.0.0.1:3128"),
                ],
                Warn,
            ),
        ];
        for (name, set, want) in rows {
            let got = look(set);
            assert_eq!(of(&got, "shell_proxy"), Some(*want), "{name}: {got:?}");
        }
    }

    #[test]
    fn exceptions_from_the_proxy() {
        let proxy = ("HTTPS_PROXY", "http://127.0.0.1:3128");
        let plain = ("HTTP_PROXY", "http://127.0.0.1:3128");
        let rows: &[(&str, &str, Option<Status>)] = &[
            ("loopback only", "127.0.0.1,localhost,::1", Some(Fine)),
            ("spaces", "127.0.0.1, localhost", Some(Fine)),
            ("nothing", "", Some(Warn)),
            ("localhost forgotten", "127.0.0.1", Some(Warn)),
            ("everything", "127.0.0.1,localhost,*", Some(Fail)),
            (
                "the vendor's host",
                "localhost,comfyui-copilot-server.onrender.com",
                Some(Fail),
            ),
            ("its domain", ".onrender.com", Some(Fail)),
            ("its domain with a star", "*.onrender.com", Some(Fail)),
            (
                "the name itself by a dotted entry",
                ".modelscope.cn",
                Some(Fail),
            ),
            ("with a port", "onrender.com:443", Some(Fail)),
            (
                "an ending within a label, as requests matches",
                "render.com",
                Some(Fail),
            ),
            (
                "a name above none of them",
                "127.0.0.1,localhost,example.com",
                Some(Fine),
            ),
        ];
        for (name, list, want) in rows {
            let got = look(&[proxy, plain, ("NO_PROXY", list)]);
            assert_eq!(of(&got, "shell_no_proxy"), *want, "{name}: {got:?}");
        }
        assert_eq!(
            of(&look(&[]), "shell_no_proxy"),
            None,
            "no proxy, nothing to except"
        );
    }

    #[test]
    fn base_urls() {
        let rows: &[(&str, &str, &str, Status)] = &[
            (
                "right",
                "CC_OPENAI_BASE_URL",
                "http://127.0.0.1:8787/v1",
                Fine,
            ),
            (
                "a slash at the end",
                "CC_OPENAI_BASE_URL",
                "http://127.0.0.1:8787/v1/",
                Fine,
            ),
            (
                "by name",
                "WORKFLOW_LLM_BASE_URL",
                "http://localhost:8787/v1",
                Fine,
            ),
            (
                "without /v1",
                "CC_OPENAI_BASE_URL",
                "http://127.0.0.1:8787",
                Fail,
            ),
            (
                "without a path",
                "BACKEND_BASE_URL",
                "http://127.0.0.1:8787",
                Fine,
            ),
            (
                "with a path",
                "BACKEND_BASE_URL",
                "http://127.0.0.1:8787/v1",
                Fail,
            ),
            ("https", "BACKEND_BASE_URL", "https://127.0.0.1:8787", Fail),
            (
                "the proxy's port",
                "BACKEND_BASE_URL",
                "http://127.0.0.1:3128",
                Warn,
            ),
            (
                "an LLM itself",
                "CC_OPENAI_BASE_URL",
                "http://sparkle:8000/v1",
                Warn,
            ),
            ("no URL", "CC_OPENAI_BASE_URL", "127.0.0.1:8787", Fail),
        ];
        for (name, variable, value, want) in rows {
            let got = look(&[(variable, value)]);
            assert_eq!(of(&got, "shell_base_urls"), Some(*want), "{name}: {got:?}");
        }
    }

    #[test]
    fn an_openai_key_is_a_leak_and_no_password_is_shown() {
        let with = look(&[
            ("OPENAI_API_KEY", "sk-secret"),
            ("HTTPS_PROXY", "http://u:pw@x:1"),
        ]);
        assert_eq!(of(&with, "shell_openai_key"), Some(Warn));
        let shown = format!("{with:?}");
        assert!(
            !shown.contains("sk-secret") && !shown.contains("pw@"),
            "{shown}"
        );
        assert_eq!(of(&look(&[]), "shell_openai_key"), None);
    }

    #[test]
    fn a_listener_on_every_interface_is_reached_by_any_of_them() {
        let listen = "0.0.0.0:3128".parse().unwrap();
        for value in [
            "http://127.0.0.1:3128",
            "http://10.0.0.5:3128",
            "http://airlock:3128",
        ] {
            assert_eq!(leads_to(value, listen), Ok(()), "{value}");
        }
        assert_eq!(dialled(listen).to_string(), "127.0.0.1:3128");
    }
}
