//! One search of the web, at the endpoint that the user named (`web_search`), which answers as SearXNG does.
//!
//! Judged by the policy, dialled through `upstream`, recorded, like every request of our own. Bounded in
//! length, size and time; no redirect is followed. What comes back are texts of strangers: they are made
//! plain here, so that no markup, picture or invisible letter of theirs reaches the chat.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use crate::{
    comfy::sound,
    config::{Secret, WebSearchConfig},
    handler::egress::{Checkpoint, Ended, OwnRequest, Passage},
    net::BaseUrl,
    policy::Reason,
    upstream::http_client::{HttpClient, Origin, Response, SendError},
};

const WITHIN: Duration = Duration::from_secs(8);
const MAX_BODY: usize = 1 << 20;
const AT_ONCE: usize = 4;
/// Characters of what is looked for: more is no question, and nothing that should leave.
const MAX_QUESTION: usize = 200;
const MAX_TITLE: usize = 200;
const MAX_URL: usize = 500;
const MAX_ABOUT: usize = 600;
const USER_AGENT: &str = concat!("airlock/", env!("CARGO_PKG_VERSION"));

/// One hit, made plain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub title: String,
    pub url: String,
    pub about: String,
}

pub struct WebSearch {
    endpoint: BaseUrl,
    key: Option<Secret<String>>,
    host: String,
    client: HttpClient,
    checkpoint: Arc<dyn Checkpoint>,
    places: Semaphore,
}

impl WebSearch {
    pub fn new(
        config: &WebSearchConfig,
        client: HttpClient,
        checkpoint: Arc<dyn Checkpoint>,
    ) -> Self {
        let WebSearchConfig { endpoint, key } = config.clone();
        Self {
            host: endpoint.authority.host.to_string(),
            endpoint,
            key,
            client,
            checkpoint,
            places: Semaphore::new(AT_ONCE),
        }
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    /// At most `most` hits; the error goes on the host's name: `did not answer in time`.
    pub async fn search(
        &self,
        question: &str,
        most: usize,
        by: IpAddr,
    ) -> Result<Vec<Page>, String> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err("is asked by too many at once".into());
        };
        let target = self.target(question);
        let headers = self.headers();
        let authority = &self.endpoint.authority;
        let passage = self.checkpoint.pass(&OwnRequest {
            client: by,
            authority,
            target: &target,
            headers: &headers,
            body: None,
        });
        let passage = passage.map_err(|refused| format!("was not asked: {refused}"))?;
        let until = Instant::now() + WITHIN;
        let mut status = None;
        let answer = self.ask(&*passage, headers, until, &mut status).await;
        let failed = answer.as_ref().err().cloned();
        passage.end(Ended { status, failed });
        pages(&answer.map_err(|(_, words)| words)?, most)
    }

    fn target(&self, question: &str) -> String {
        let line: String = question
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(MAX_QUESTION)
            .collect();
        let words = utf8_percent_encode(line.trim(), NON_ALPHANUMERIC);
        let path = match self.endpoint.path.as_str() {
            "" => "/",
            path => path,
        };
        format!("{path}?q={words}&format=json")
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::ACCEPT, json);
        let plain = HeaderValue::from_static("identity");
        headers.insert(header::ACCEPT_ENCODING, plain);
        if let Some(key) = &self.key {
            let bearer = zeroize::Zeroizing::new(format!("Bearer {}", key.expose()));
            if let Ok(mut value) = HeaderValue::from_str(&bearer) {
                value.set_sensitive(true);
                headers.insert(header::AUTHORIZATION, value);
            }
        }
        headers
    }

    async fn ask(
        &self,
        passage: &dyn Passage,
        headers: HeaderMap,
        until: Instant,
        status: &mut Option<u16>,
    ) -> Result<Vec<u8>, (Reason, String)> {
        let mut request = Request::new(Bytes::new());
        *request.headers_mut() = headers;
        let uri = passage.target().parse();
        *request.uri_mut() = uri.map_err(|_| {
            let words = "has no address that can be asked";
            (Reason::MalformedRequest, words.to_owned())
        })?;
        let late = || {
            let words = "did not answer in time".to_owned();
            (Reason::UpstreamTimeout, words)
        };
        let origin = Origin::of(&self.endpoint);
        let send = self.client.send(&origin, request, passage.egress());
        let response = tokio::select! {
            biased;
            reason = passage.cut() => return Err((reason, format!("was cut off: {reason}"))),
            sent = timeout_at(until, send) => sent.map_err(|_| late())?.map_err(unsent)?,
        };
        let Response {
            status: code,
            headers: _,
            mut body,
        } = response;
        *status = Some(code.as_u16());
        if code != StatusCode::OK {
            return Err((Reason::UpstreamFailed, strange(code)));
        }
        let mut all = Vec::new();
        loop {
            let piece = tokio::select! {
                biased;
                reason = passage.cut() => return Err((reason, format!("was cut off: {reason}"))),
                piece = timeout_at(until, body.chunk()) => piece.map_err(|_| late())?,
            };
            let Some(piece) = piece else {
                return Ok(all);
            };
            let broken = |e| (Reason::UpstreamFailed, format!("broke off: {e}"));
            let piece = piece.map_err(broken)?;
            passage.received(piece.len() as u64);
            if all.len() + piece.len() > MAX_BODY {
                let words = "answered with more than a megabyte".to_owned();
                return Err((Reason::UpstreamFailed, words));
            }
            all.extend_from_slice(&piece);
        }
    }
}

fn unsent(error: SendError) -> (Reason, String) {
    match error {
        SendError::Dial(e) => (e.reason, format!("could not be reached: {}", e.detail)),
        SendError::Tls(e) => (
            Reason::UpstreamTlsFailed,
            format!("could not be reached: {e}"),
        ),
        SendError::Broken(e) => (Reason::UpstreamFailed, format!("broke off: {e}")),
    }
}

fn strange(code: StatusCode) -> String {
    let status = code.as_u16();
    match code {
        StatusCode::FORBIDDEN => format!(
            "answered with status {status}; SearXNG does so while json is not under search.formats in its settings"
        ),
        code if code.is_redirection() => format!(
            "answered with status {status}, a redirect, which is not followed: web_search.endpoint is to name where it leads"
        ),
        _ => format!("answered with status {status}"),
    }
}

/// `{"results": [{"title", "url", "content"}]}`; a hit that is odd costs only itself.
fn pages(body: &[u8], most: usize) -> Result<Vec<Page>, String> {
    let answer: Value = serde_json::from_slice(body)
        .map_err(|_| "answered with something that is no JSON".to_owned())?;
    let results = answer.get("results").and_then(Value::as_array);
    let results = results.ok_or("answered in JSON without \"results\"")?;
    let page = |result: &Value| {
        let text = |name: &str| result.get(name).and_then(Value::as_str).unwrap_or_default();
        let url = address(text("url"))?;
        Some(Page {
            title: plain(text("title"), MAX_TITLE),
            url,
            about: plain(text("content"), MAX_ABOUT),
        })
    };
    Ok(results.iter().filter_map(page).take(most).collect())
}

/// As it can stand in a text: no letter of it ends a link or begins markup.
fn address(url: &str) -> Option<String> {
    let web = url.starts_with("https://") || url.starts_with("http://");
    let plain = |b: u8| b.is_ascii_graphic() && !b"<>\"'`()[]{}|\\^".contains(&b);
    (web && url.len() <= MAX_URL && url.bytes().all(plain)).then(|| url.to_owned())
}

/// One line without markup, and without letters that nobody sees.
fn plain(text: &str, max: usize) -> String {
    let seen = text.chars().filter(|c| !is_invisible(*c));
    let line: String = seen
        .map(|c| match c {
            '<' | '>' | '`' | '[' | ']' | '|' => ' ',
            c if c.is_control() => ' ',
            c => c,
        })
        .take(max)
        .collect();
    let words: Vec<&str> = line.split_whitespace().collect();
    sound::text(&words.join(" "), max)
}

/// Zero-width ones, those that turn the direction of reading, and Unicode's tags.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hits_are_made_plain_and_odd_ones_left_out() {
        let long = "x".repeat(5000);
        let answer = json!({"query": "q", "results": [
            {"title": "A **guide**", "url": "https://docs.test/a?b=c#d", "content": "One\n two\u{202e}\u{200b}.", "engine": "e"},
            {"title": "<img src=x>", "url": "http://a.test/", "content": "![p](https://evil.test/?q=) `rm`"},
            {"title": "script", "url": "javascript:alert(1)", "content": ""},
            {"title": "markup", "url": "https://a.test/)![x](https://evil.test/", "content": ""},
            {"title": long, "url": "https://long.test/", "content": long},
            {"title": 7, "url": "https://seven.test/"},
            "no hit", null,
        ]});
        let found = pages(answer.to_string().as_bytes(), 10).unwrap();
        let page = |title: &str, url: &str, about: &str| Page {
            title: title.into(),
            url: url.into(),
            about: about.into(),
        };
        assert_eq!(
            found[..2],
            [
                page("A **guide**", "https://docs.test/a?b=c#d", "One two."),
                page(
                    "img src=x",
                    "http://a.test/",
                    "! p (https://evil.test/?q=) rm"
                ),
            ]
        );
        assert_eq!(
            (found[2].title.len(), found[2].about.len()),
            (MAX_TITLE, MAX_ABOUT)
        );
        assert_eq!(found[3], page("", "https://seven.test/", ""));
        assert_eq!(found.len(), 4);
        assert_eq!(pages(answer.to_string().as_bytes(), 1).unwrap().len(), 1);
        for (name, body) in [
            ("no JSON", "<html>"),
            ("no results", "{}"),
            ("results that are none", "{\"results\": {}}"),
        ] {
            assert!(pages(body.as_bytes(), 3).is_err(), "{name}");
        }
    }

    #[test]
    fn a_redirect_and_a_refusal_say_what_to_do() {
        assert!(strange(StatusCode::FOUND).contains("is to name where it leads"));
        assert!(strange(StatusCode::FORBIDDEN).contains("search.formats"));
    }
}
