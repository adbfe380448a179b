//! What of an upstream's response head may reach a client.
//!
//! [`ill_formed`] finds heads that another reader could take in another way: Pingora's own parser
//! forgives other transfer codings and repeated lengths (it refuses control characters, and joins folded
//! lines). [`clean`] takes out what is for
//! the next hop alone, what passes for ours, and what makes a browser open a connection of its own:
//! beside the page that it was asked for, and past this program. Called by `pipeline` for forwarded
//! requests, and by the front door, as [`clean_headers`], for what it fetches itself; values are looked at, never logged.

mod leads;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use pingora::http::ResponseHeader;

use super::forward::{named, nominated};
use leads::{cookie_is_for, link_is_idle, lower, refresh_stays};

use crate::{net::Host, page::cookie::sets_ours};

/// Why this head is not passed on.
pub fn ill_formed(response: &ResponseHeader) -> Option<&'static str> {
    let headers = &response.headers;
    if !(100..600).contains(&response.status.as_u16()) {
        return Some("its status is not one of HTTP's");
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = match (lengths.next(), lengths.next()) {
        (None, _) => None,
        (Some(length), None) => match decimal(length) {
            Some(length) => Some(length),
            None => return Some("Content-Length is not one plain decimal number"),
        },
        (Some(_), Some(_)) => return Some("more than one Content-Length"),
    };
    let bodiless = response.status.is_informational() || response.status == StatusCode::NO_CONTENT;
    if bodiless && length.is_some_and(|n| n > 0) {
        return Some("a body where none may be");
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => None,
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            let chunks_may_be = response.version == Version::HTTP_11 && !bodiless;
            (!chunks_may_be).then_some("chunks where none may be")
        }
        (Some(_), _) => Some("Transfer-Encoding is not exactly one chunked"),
    }
}

fn decimal(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    let digits = !text.is_empty() && text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Strips what an upstream must not say to the client, and what it says to the next hop alone.
/// `host`: the one that was judged.
pub fn clean(response: &mut ResponseHeader, host: &Host) {
    let switches = response.status == StatusCode::SWITCHING_PROTOCOLS;
    // What is looked into is rare, and asking for each by its name costs more than one pass.
    if !response.headers.iter().any(concerns) {
        return;
    }
    for name in nominated(&response.headers) {
        if !(switches && name == header::UPGRADE) {
            response.remove_header(&name);
        }
    }
    for name in named(&response.headers, opens_a_door) {
        response.remove_header(&name);
    }
    if !switches {
        response.remove_header(&header::UPGRADE);
    }
    keep_if(response, &header::LINK, |link| link_is_idle(link, host));
    keep_if(response, &header::REFRESH, |refresh| {
        refresh_stays(refresh, host)
    });
    keep_if(response, &header::SET_COOKIE, |cookie| {
        cookie_is_for(cookie, host) && !sets_ours(cookie)
    });
    without_reports(response);
}

/// Whether [`clean`] has to look at a head with such a header.
fn concerns((name, value): (&HeaderName, &HeaderValue)) -> bool {
    match name.as_str() {
        // What nearly every server says, which nominates nothing that another arm would not find.
        "connection" => !matches!(value.as_bytes(), b"keep-alive" | b"close"),
        "upgrade" | "link" | "refresh" | "set-cookie" | "content-security-policy" => true,
        _ => opens_a_door(name),
    }
}

/// As [`clean`], for a response that was not fetched by Pingora.
pub fn clean_headers(status: StatusCode, headers: &mut HeaderMap, host: &Host) {
    let Ok(mut response) = ResponseHeader::build(status, Some(headers.len())) else {
        // A status that does not exist has no header worth passing on.
        return headers.clear();
    };
    for (name, value) in headers.iter() {
        // It was a header before.
        let _ = response.append_header(name, value);
    }
    clean(&mut response, host);
    headers.clear();
    headers.extend(response.headers.iter().map(|(n, v)| (n.clone(), v.clone())));
}

/// Response headers that would open another door beside this one, pass for ours, or are the proxy's
/// behind us alone.
fn opens_a_door(name: &HeaderName) -> bool {
    match name.as_str() {
        // Other servers and protocols for the same name; Alt-Svc may carry keys for encrypted hellos.
        "alt-svc" | "alternate-protocol" | "nel" | "report-to" | "reporting-endpoints" => true,
        // Reports in the background, whose addresses stand in them.
        "expect-ct" | "public-key-pins" | "public-key-pins-report-only" => true,
        "content-security-policy-report-only" => true,
        // Look-ups and loads that nobody clicked on.
        "x-dns-prefetch-control" | "speculation-rules" => true,
        "keep-alive" | "trailer" => true,
        name => [
            "x-airlock-",
            "x_airlock_",
            "proxy-",
            "attribution-reporting-",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix)),
    }
}

/// Drops the values of a header that do not pass; the others keep their order.
fn keep_if(
    response: &mut ResponseHeader,
    name: &HeaderName,
    passes: impl Fn(&HeaderValue) -> bool,
) {
    let all: Vec<HeaderValue> = response.headers.get_all(name).iter().cloned().collect();
    if all.iter().all(&passes) {
        return;
    }
    response.remove_header(name);
    for value in all.into_iter().filter(passes) {
        // It was a value of this very header before.
        let _ = response.append_header(name.clone(), value);
    }
}

/// Takes the addresses of reports out of content security policies, and nothing else.
fn without_reports(response: &mut ResponseHeader) {
    let name = header::CONTENT_SECURITY_POLICY;
    let reports = |directive: &str| {
        let word = directive.split_whitespace().next().unwrap_or_default();
        word.eq_ignore_ascii_case("report-uri") || word.eq_ignore_ascii_case("report-to")
    };
    let policies: Vec<HeaderValue> = response.headers.get_all(&name).iter().cloned().collect();
    let tells = |policy: &HeaderValue| lower(policy).contains("report-");
    if !policies.iter().any(tells) {
        return;
    }
    response.remove_header(&name);
    for policy in policies {
        let text = String::from_utf8_lossy(policy.as_bytes());
        // A comma begins another policy of the same line.
        let kept: Vec<String> = text
            .split(',')
            .map(|one| {
                let kept: Vec<&str> = one.split(';').filter(|d| !reports(d)).collect();
                kept.join(";")
            })
            .collect();
        if let Ok(value) = HeaderValue::from_str(&kept.join(",")) {
            let _ = response.append_header(name.clone(), value);
        }
    }
}

/// The names that are left, for tests.
#[cfg(test)]
fn names(headers: &http::HeaderMap) -> Vec<&str> {
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host::parse("a.site.test").unwrap()
    }

    fn cleaned(headers: &[(&'static str, &str)]) -> ResponseHeader {
        let mut response = ResponseHeader::build(200, None).unwrap();
        for (name, value) in headers {
            response.append_header(*name, *value).unwrap();
        }
        clean(&mut response, &host());
        response
    }

    #[test]
    fn an_upstream_cannot_open_another_door_or_forge_our_marker() {
        let response = cleaned(&[
            ("alt-svc", "h3=\":443\""),
            ("x-airlock-decision", "allow"),
            ("proxy-status", "airlock"),
            ("link", "<https://evil.test>; rel=\"Preconnect\""),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("upgrade", "h2c"),
            ("trailer", "x"),
            ("speculation-rules", "\"/rules.json\""),
            ("attribution-reporting-register-source", "{}"),
            ("content-security-policy-report-only", "default-src 'self'"),
            ("x-dns-prefetch-control", "on"),
            ("alternate-protocol", "443:quic"),
            ("x_airlock_decision", "allow"),
            ("x-kept", "1"),
        ]);
        assert_eq!(names(&response.headers), ["connection", "x-kept"]);
    }

    #[test]
    fn each_is_found_where_it_stands_alone() {
        for (name, value) in [
            ("connection", "x-hop"),
            ("upgrade", "h2c"),
            ("alt-svc", "h3=\":443\""),
            ("link", "<https://evil.test>; rel=preconnect"),
            ("refresh", "0; url=https://evil.test/"),
            ("set-cookie", "a=b; domain=evil.test"),
            ("content-security-policy", "report-uri https://evil.test/"),
        ] {
            let response = cleaned(&[(name, value), ("x-hop", "1")]);
            let left = format!("{:?}", response.headers);
            match name {
                "connection" => assert!(!left.contains("x-hop\": "), "{left}"),
                _ => assert!(!left.contains(value), "{name}: {left}"),
            }
        }
    }

    #[test]
    fn links_that_load_nothing_stay() {
        let response = cleaned(&[
            ("link", "</next>; rel=next"),
            ("link", "<https://evil.test/x.js>; rel=modulepreload"),
            ("link", "<//evil.test>; rel=dns-prefetch"),
        ]);
        let links: Vec<_> = response.headers.get_all("link").iter().collect();
        assert_eq!(links, ["</next>; rel=next"]);
    }

    #[test]
    fn a_link_is_read_as_browsers_read_it() {
        for (value, kept) in [
            ("</a>; rel=\"pre\\connect\"", false),
            ("</s.css>; rel=stylesheet", false),
            (
                "<https://evil.test/d>; rel=\"compression-dictionary\"",
                false,
            ),
            ("<https://evil.test/2>; rel=next", false),
            (
                "<https://a.site.test/2>; rel=next, <//evil.test/9>; rel=last",
                false,
            ),
            (
                "<https://a.site.test/2>; rel=\"next\", </9>; rel=\"last\"",
                true,
            ),
            ("<https://a.site.test:x@evil.test/2>; rel=next", false),
            ("<//evil.test/2; rel=next", false),
            ("<https://other.test/licence>; rel=license", true),
        ] {
            let response = cleaned(&[("link", value)]);
            assert_eq!(response.headers.contains_key("link"), kept, "{value}");
        }
    }

    #[test]
    fn a_refresh_stays_on_its_host() {
        for (value, kept) in [
            ("5", true),
            ("0; url=/next", true),
            ("0;URL='/next?a=b:c'", true),
            ("0; url=https://a.site.test/x", true),
            ("0; url=//a.site.test", true),
            ("0; url=https://evil.test/", false),
            ("0; url=https://a.site.test@evil.test/", false),
            ("0; url=//evil.test", false),
            ("0; url=\\\\evil.test", false),
            ("0; url=/\\evil.test", false),
            ("0; url=https:/evil.test", false),
            ("0; url=https:evil.test", false),
            ("0; url=javascript:alert(1)", false),
            ("0; https://evil.test/", false),
            ("0; url=https://b.site.test/", false),
            // Without `url=` the rest is the address, whatever stands in it.
            ("0; //evil.test/?url=/x", false),
            ("0; https://evil.test/?url=/x", false),
            ("0, //evil.test/?url=/x", false),
            ("0 //evil.test/?url=/x", false),
            ("0; /x?url=//evil.test", true),
            // A user name is none of the host, with a password or without.
            ("0; url=https://a.site.test:x@evil.test/", false),
            ("0; url=//a.site.test:443@evil.test/", false),
            ("0; url=https://a.site.test:8443/", true),
            ("0; url=\"//evil.test\"", false),
            ("0; url='//a.site.test'", true),
            ("0; url=\"/x\"//evil.test", false),
            ("0; url=/x\ty", false),
            ("1.5", true),
            ("5;", true),
            ("0; url=", true),
            ("x; url=/x", false),
        ] {
            let response = cleaned(&[("refresh", value)]);
            assert_eq!(response.headers.contains_key("refresh"), kept, "{value}");
        }
    }

    #[test]
    fn a_cookie_is_for_its_host_or_a_domain_above_it() {
        for (value, kept) in [
            ("a=1", true),
            ("a=1; Domain=a.site.test; Path=/", true),
            ("a=1; domain=.site.test", true),
            ("a=1; Domain=", true),
            ("a=domain=evil.test", true),
            ("a=1; Domain=evil.test", false),
            ("a=1; Domain=test", false),
            ("a=1; Domain=ite.test", false),
            ("a=1; Domain=b.a.site.test", false),
            ("a=1; Domain=a.site.test; Domain=evil.test", false),
            // Some count the last one, and some the last that is not empty.
            ("a=1; Domain=evil.test; Domain=", false),
            ("a=1; Domain=evil.test; Domain=a.site.test", false),
        ] {
            let response = cleaned(&[("set-cookie", "first=1"), ("set-cookie", value)]);
            let left = response.headers.get_all("set-cookie").iter().count();
            assert_eq!(left, 1 + usize::from(kept), "{value}");
        }
    }

    #[test]
    fn a_policy_for_content_keeps_all_but_its_reports() {
        for (value, kept) in [
            ("default-src 'self'", "default-src 'self'"),
            (
                "default-src 'self'; Report-URI https://evil.test/r; img-src *; report-to x",
                "default-src 'self'; img-src *",
            ),
            ("report-uri /r, script-src 'none'", ", script-src 'none'"),
        ] {
            let response = cleaned(&[("content-security-policy", value)]);
            assert_eq!(response.headers["content-security-policy"], kept);
        }
    }

    #[test]
    fn heads_that_could_be_read_in_two_ways_are_found() {
        let raw = |bytes: &'static [u8]| {
            pingora::http::header_value_from_raw(bytes::Bytes::from_static(bytes))
        };
        type Row = (&'static str, u16, Vec<(&'static str, HeaderValue)>, bool);
        let rows: Vec<Row> = vec![
            (
                "a plain one",
                200,
                vec![("content-length", raw(b"3"))],
                true,
            ),
            (
                "chunks",
                200,
                vec![("transfer-encoding", raw(b"Chunked"))],
                true,
            ),
            (
                "a 204 that says 0",
                204,
                vec![("content-length", raw(b"0"))],
                true,
            ),
            ("obs-text", 200, vec![("x", raw(b"caf\xe9"))], true),
            (
                "two lengths alike",
                200,
                vec![("content-length", raw(b"3")), ("content-length", raw(b"3"))],
                false,
            ),
            (
                "two lengths in one",
                200,
                vec![("content-length", raw(b"3, 3"))],
                false,
            ),
            (
                "a length with a plus",
                200,
                vec![("content-length", raw(b"+3"))],
                false,
            ),
            (
                "another coding",
                200,
                vec![("transfer-encoding", raw(b"gzip, chunked"))],
                false,
            ),
            (
                "a made-up coding",
                200,
                vec![("transfer-encoding", raw(b"xchunked"))],
                false,
            ),
            (
                "chunked twice",
                200,
                vec![
                    ("transfer-encoding", raw(b"chunked")),
                    ("transfer-encoding", raw(b"chunked")),
                ],
                false,
            ),
            (
                "a 204 with a body",
                204,
                vec![("content-length", raw(b"3"))],
                false,
            ),
            (
                "a 103 with chunks",
                103,
                vec![("transfer-encoding", raw(b"chunked"))],
                false,
            ),
            ("a status of 999", 999, vec![], false),
        ];
        for (name, status, headers, good) in rows {
            let mut response = ResponseHeader::build(status, None).unwrap();
            response.set_version(Version::HTTP_11);
            for (name, value) in headers {
                response.append_header(name, value).unwrap();
            }
            assert_eq!(ill_formed(&response).is_none(), good, "{name}");
        }
        let mut old = ResponseHeader::build(200, None).unwrap();
        old.set_version(Version::HTTP_10);
        old.append_header("transfer-encoding", "chunked").unwrap();
        assert!(ill_formed(&old).is_some(), "HTTP/1.0 has no chunks");
    }
}
