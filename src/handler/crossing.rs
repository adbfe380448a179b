//! Which headers cross from one side to the other, whoever sends a request on: `proxy::forward` or
//! the front door's own fetch.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Request headers that end here: hop-by-hop ones, ours, and those that say where a request came
/// from or goes to. A client cannot steer the next hop, which learns nothing about this network.
pub fn stays_here(name: &HeaderName) -> bool {
    match name.as_str() {
        "connection" | "keep-alive" | "te" | "trailer" | "upgrade" | "http2-settings" => true,
        "forwarded" | "via" | "x-real-ip" => true,
        "x-http-method" | "x-http-method-override" | "x-method-override" => true,
        name => [
            "proxy-",
            "x-airlock-",
            "x-forwarded-",
            "x-original-",
            "x-rewrite-",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix)),
    }
}

/// Response headers that would open another door beside this one, pass for ours, or are the proxy's
/// behind us alone.
pub fn opens_a_door(name: &HeaderName) -> bool {
    match name.as_str() {
        "alt-svc" | "nel" | "report-to" | "reporting-endpoints" | "keep-alive" => true,
        name => name.starts_with("x-airlock-") || name.starts_with("proxy-"),
    }
}

/// A link that makes a browser connect or look up by itself. Links are not told apart: with one such
/// among them all go, which costs a hint and nothing else.
pub fn makes_connect(link: &HeaderValue) -> bool {
    let text = String::from_utf8_lossy(link.as_bytes()).to_ascii_lowercase();
    ["preconnect", "prefetch", "preload", "prerender"]
        .iter()
        .any(|word| text.contains(word))
}

/// Header names that `Connection` nominates as hop-by-hop.
pub fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .filter_map(|token| HeaderName::try_from(token.trim()).ok())
        // Framing and routing are ours to judge, not the client's to remove (CVE-2026-105299).
        .filter(|name| {
            ![
                header::HOST,
                header::CONTENT_LENGTH,
                header::TRANSFER_ENCODING,
            ]
            .contains(name)
        })
        .collect()
}

/// Takes out of a response what an upstream must not say to the client, and what it says to the next
/// hop alone.
pub fn strip_response(headers: &mut HeaderMap) {
    let mut gone = nominated(headers);
    gone.push(header::CONNECTION);
    if headers.get_all(header::LINK).iter().any(makes_connect) {
        gone.push(header::LINK);
    }
    gone.extend(headers.keys().filter(|name| opens_a_door(name)).cloned());
    gone.iter().for_each(|name| {
        headers.remove(name);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_by_hop_nomination_cannot_remove_framing_or_host() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONNECTION,
            "close, X-Secret, Host, Content-Length".parse().unwrap(),
        );
        let names = nominated(&headers);
        assert!(names.contains(&HeaderName::from_static("x-secret")));
        assert!(!names.contains(&header::HOST) && !names.contains(&header::CONTENT_LENGTH));
    }

    #[test]
    fn what_an_upstream_must_not_say_is_taken_out() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("alt-svc", "h3=\":443\""),
            ("x-airlock-decision", "allow"),
            ("link", "</a>; rel=PREload"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("x-kept", "1"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        strip_response(&mut headers);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x-kept"]);
    }
}
