//! What of a request's identity goes on to others: nothing as it came, and to the plugin a short token.
//!
//! ComfyUI and its nodes see every header. Our cookie, tokens and API keys are taken out on every way, and
//! where the plugin works for a person it gets a fresh token that it hands on to its LLM and MCP servers.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, header};
use pingora::http::RequestHeader;

use super::{
    Doorkeeper, Identified,
    shown::{Shown, of_text},
};
use crate::{
    page::cookie,
    proxy::{arrival::Arrival, carries::Carries},
};

/// How long the plugin can use what it was given: the longest turn of its agents, and some.
const CARRIED: Duration = Duration::from_secs(3600);

/// For answers of this process.
pub fn without_ours(keeper: &Doorkeeper, headers: &mut HeaderMap) {
    cookie::strip(headers);
    if let Some(kept) = others(keeper, headers) {
        headers.remove(header::AUTHORIZATION);
        for line in kept {
            headers.append(header::AUTHORIZATION, line);
        }
    }
}

/// For what is sent on. Says whether something was taken out of `Authorization`.
fn strip_ours(keeper: &Doorkeeper, upstream: &mut RequestHeader) -> pingora::Result<bool> {
    if let Some(lines) = cookie::without_ours(&upstream.headers) {
        upstream.remove_header(&header::COOKIE);
        for line in lines {
            upstream.append_header(header::COOKIE, line)?;
        }
    }
    let Some(kept) = others(keeper, &upstream.headers) else {
        return Ok(false);
    };
    upstream.remove_header(&header::AUTHORIZATION);
    for line in kept {
        upstream.append_header(header::AUTHORIZATION, line)?;
    }
    Ok(true)
}

/// The lines of `Authorization` that are none of ours; `None` where all of them are.
fn others(keeper: &Doorkeeper, headers: &HeaderMap) -> Option<Vec<HeaderValue>> {
    let lines = headers.get_all(header::AUTHORIZATION);
    let kept: Vec<_> = lines.iter().filter(|l| !is_ours(keeper, l)).collect();
    (kept.len() < lines.iter().count()).then(|| kept.into_iter().cloned().collect())
}

/// The last word of the line, whatever its scheme is, or all words behind the first: a token in groups.
fn is_ours(keeper: &Doorkeeper, line: &HeaderValue) -> bool {
    let text = line.to_str().unwrap_or_default().trim();
    let word = text.rsplit(' ').next().unwrap_or_default();
    let words = text.split_once(' ').map_or(word, |(_, words)| words.trim());
    [word, words].iter().any(|text| match of_text(text) {
        Shown::Key(_) => true,
        Shown::Token(token) => keeper
            .identity
            .sessions
            .signed(&token, crate::session::now()),
        Shown::Nothing | Shown::Other | Shown::Foreign | Shown::Unclear => false,
    })
}

/// What ComfyUI gets to know of who asks.
pub fn towards_comfyui(
    keeper: &Doorkeeper,
    known: &Identified,
    arrival: &Arrival,
    upstream: &mut RequestHeader,
) -> pingora::Result<()> {
    let ours = Carries::COOKIE | Carries::AUTHORIZATION;
    let stripped = arrival.carries.any(ours) && strip_ours(keeper, upstream)?;
    if arrival.for_comfyui().is_none() || !runs_an_agent(&upstream.method, arrival.path()) {
        return Ok(());
    }
    match &known.active {
        Some(active) => {
            let now = crate::session::now();
            let token = keeper.identity.sessions.token_for(active, CARRIED, now);
            upstream.insert_header(header::AUTHORIZATION, format!("Bearer {token}"))
        }
        // Without the header the plugin refuses to chat.
        None if stripped => upstream.insert_header(header::AUTHORIZATION, "Bearer null"),
        None => Ok(()),
    }
}

/// Routes of the plugin that take the key of `Authorization` for their LLM and MCP requests. ComfyUI
/// serves each below `/api` once more.
fn runs_an_agent(method: &Method, path: &str) -> bool {
    method == Method::POST
        && ["/chat/invoke", "/debug-agent"]
            .iter()
            .any(|r| path.ends_with(r))
}
