//! Why the configured LLM does not answer, and what to do about exactly that.

use super::{Finding, Tools};
use crate::{
    config::Config,
    gateway::discovery::ProbeResult,
    llm::problem::{Problem, RefusalKind},
    net::{BaseUrl, Scheme},
    policy::Reason,
};

const CHECK: &str = "llm";

/// `seen`: LLMs that were found elsewhere, which may be the ones that were meant.
pub async fn explain(
    base: &BaseUrl,
    problem: &Problem,
    tools: &Tools,
    config: &Config,
    seen: &[ProbeResult],
) -> Finding {
    let (words, mut fix) = match problem {
        Problem::Unreachable { detail, .. } => {
            // Dialled once more, for the reason as a value.
            let dialled = tools
                .dialer
                .dial_own(&base.authority, config.llm.connect_timeout)
                .await;
            match dialled {
                Ok(_) => (
                    format!("{base} refused one connection and took the next"),
                    "it may just be starting: run doctor again".to_owned(),
                ),
                Err(e) => (format!("{base}: {detail}"), unreachable(base, e.reason)),
            }
        }
        Problem::Tls { detail, .. } => (format!("{base}: TLS failed: {detail}"), tls(base, detail)),
        Problem::Slow { .. } => (
            format!("{base} took the connection and gave no model list"),
            "look at the server's log: it may still be loading, or hang".to_owned(),
        ),
        Problem::Broken { detail, .. } => (
            format!("{base} gave no HTTP answer: {detail}"),
            if base.scheme == Scheme::Https {
                "look at the server's log".to_owned()
            } else {
                "if the server speaks TLS, write https:// in LOCAL_LLM_BASE_URL".to_owned()
            },
        ),
        Problem::NotOpenAi { detail, .. } => (
            format!("{base} is no OpenAI-compatible server: {detail}"),
            path_fix(base),
        ),
        Problem::Refused(refusal) => {
            let words = format!(
                "{base} answered with status {}: {}",
                refusal.status, refusal.message
            );
            let fix = match refusal.kind {
                RefusalKind::Key => match config.llm.api_key {
                    Some(_) => "the server refuses this key: correct LOCAL_LLM_API_KEY (or \
                                llm.api_key_env, llm.api_key_file)"
                        .to_owned(),
                    None => "the server wants a key: set LOCAL_LLM_API_KEY".to_owned(),
                },
                RefusalKind::Redirect => {
                    "set LOCAL_LLM_BASE_URL to the address it redirects to".to_owned()
                }
                RefusalKind::Loading => {
                    "the model is loading: wait, then run doctor again".to_owned()
                }
                _ if matches!(refusal.status, 404 | 405) => path_fix(base),
                RefusalKind::ModelMissing
                | RefusalKind::ContextTooLong
                | RefusalKind::ToolsUnsupported
                | RefusalKind::ImagesUnsupported
                | RefusalKind::Template
                | RefusalKind::RateLimited
                | RefusalKind::Other => "look at the server's log".to_owned(),
            };
            (words, fix)
        }
        Problem::NoneFound { .. } | Problem::BadRequest { .. } => (
            problem.explain(),
            "correct llm.base_url and llm.api_key".to_owned(),
        ),
    };
    if let Some(other) = seen.iter().find(|s| s.url.authority != base.authority) {
        fix = format!(
            "{fix}; or use the {} found at {}",
            other.kind.as_str(),
            other.url
        );
    }
    Finding::fail(CHECK, words, fix)
}

fn unreachable(base: &BaseUrl, reason: Reason) -> String {
    let host = &base.authority.host;
    match reason {
        Reason::ResolveFailed => format!(
            "the name {host} is not known here: correct it, add it to /etc/hosts, or write the address"
        ),
        Reason::ResolveTimeout => {
            format!(
                "the name server does not answer: write the address of {host} in place of its name"
            )
        }
        Reason::ConnectFailed if host.as_ip().is_some_and(|ip| ip.is_loopback()) => format!(
            "nothing listens on port {}: start the LLM, or correct the port",
            base.authority.port.number()
        ),
        Reason::ConnectFailed => format!(
            "nothing listens on port {} of {host}: start the LLM, and have it listen on the network \
             (Ollama: OLLAMA_HOST=0.0.0.0, others: --host 0.0.0.0), not on 127.0.0.1 alone",
            base.authority.port.number()
        ),
        Reason::ConnectTimeout => format!(
            "{host} does not answer: is it on, is this the right address, does a firewall drop port {}?",
            base.authority.port.number()
        ),
        Reason::AddressClosed => {
            "this address cannot be opened: write the LLM's own address in LOCAL_LLM_BASE_URL"
                .to_owned()
        }
        Reason::OwnListener => {
            "this is airlock's own port: write the LLM's address in LOCAL_LLM_BASE_URL".to_owned()
        }
        other => format!("`airlock explain` and docs/DENIALS.md tell of {other}"),
    }
}

/// rustls has no stable words for these; what is not recognised still shows in the finding.
fn tls(base: &BaseUrl, detail: &str) -> String {
    let says = |words: &str| detail.to_ascii_lowercase().contains(words);
    if says("unknownissuer") || says("unknown issuer") {
        "its certificate is signed by a private CA: name that CA's PEM file in llm.ca_file"
            .to_owned()
    } else if says("not valid for name") || says("notvalidforname") {
        format!(
            "its certificate is for another name than {}: use that name",
            base.authority.host
        )
    } else if says("expired") {
        "its certificate has ended: renew it on that machine".to_owned()
    } else if says("invalidcontenttype") || says("corrupt message") {
        "it does not speak TLS on this port: write http:// in LOCAL_LLM_BASE_URL".to_owned()
    } else {
        "look at its certificate, and name its CA in llm.ca_file; verification cannot be turned off"
            .to_owned()
    }
}

fn path_fix(base: &BaseUrl) -> String {
    let path = if base.path.ends_with("/v1") {
        "is the port the LLM's? Another program may be there".to_owned()
    } else {
        format!("the address usually ends in /v1: try {base}/v1")
    };
    format!("correct LOCAL_LLM_BASE_URL; {path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_own_fix() {
        let here = BaseUrl::parse("http://127.0.0.1:8000/v1").unwrap();
        let there = BaseUrl::parse("https://sparkle:13000").unwrap();
        for (name, fix, want) in [
            (
                "a wrong name",
                unreachable(&there, Reason::ResolveFailed),
                "/etc/hosts",
            ),
            (
                "refused here",
                unreachable(&here, Reason::ConnectFailed),
                "start the LLM",
            ),
            (
                "refused there",
                unreachable(&there, Reason::ConnectFailed),
                "OLLAMA_HOST=0.0.0.0",
            ),
            (
                "a firewall",
                unreachable(&there, Reason::ConnectTimeout),
                "firewall",
            ),
            (
                "ourselves",
                unreachable(&here, Reason::OwnListener),
                "own port",
            ),
            (
                "a private CA",
                tls(&there, "invalid peer certificate: UnknownIssuer"),
                "llm.ca_file",
            ),
            (
                "another name",
                tls(
                    &there,
                    "invalid peer certificate: certificate not valid for name \"x\"",
                ),
                "another name",
            ),
            (
                "no TLS",
                tls(
                    &there,
                    "received corrupt message of type InvalidContentType",
                ),
                "http://",
            ),
            ("no /v1", path_fix(&there), "https://sparkle:13000/v1"),
            ("another program", path_fix(&here), "Another program"),
        ] {
            assert!(fix.contains(want), "{name}: {fix}");
        }
    }
}
